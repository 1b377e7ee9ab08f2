// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Everything that only the loader can put right in an object's BTF: sizes of data sections, offsets of static and global
 * variables, the linkage of a hidden function; and maps whose types the kernel wants to know.
 *
 *   clang-19 -g -O2 -target bpfel -mcpu=v3 -ffile-prefix-map=$PWD=. -fdebug-compilation-dir=. -c globals.bpf.c -o globals.bpfel.o && llvm-strip-19 -g globals.bpfel.o
 */
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name

struct {
	__uint(type, 1); /* BPF_MAP_TYPE_HASH */
	__uint(max_entries, 8);
	__type(key, u32);
	__type(value, u64);
} counts SEC(".maps");

struct {
	__uint(type, 29); /* BPF_MAP_TYPE_TASK_STORAGE: not made without BTF */
	__uint(map_flags, 1); /* BPF_F_NO_PREALLOC */
	__type(key, int);
	__type(value, u64);
} per_task SEC(".maps");

struct {
	__uint(type, 12); /* BPF_MAP_TYPE_ARRAY_OF_MAPS */
	__uint(max_entries, 2);
	__uint(key_size, 4);
	struct {
		__uint(type, 2); /* BPF_MAP_TYPE_ARRAY */
		__uint(max_entries, 1);
		__type(key, u32);
		__type(value, u32);
	} *values[];
} outer SEC(".maps");

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;

const volatile u32 limit = 7;
const volatile u64 second_limit = 9;
u64 total;
static u64 hidden_total;
u32 start = 3;

__attribute__((noinline)) int twice(u32 x)
{
	total += x;
	return x * 2;
}

/* Hidden, and so verified with its callers: alone, `p` could be anything. */
__attribute__((noinline, visibility("hidden"))) int through(u64 *p)
{
	hidden_total += *p + start;
	return 0;
}

SEC("socket") int count(void *ctx)
{
	u32 key = limit;
	u64 *value = bpf_map_lookup_elem(&counts, &key);

	if (!value)
		return 0;
	*value += twice(key) + second_limit;
	return through(value);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What an object's BTF decides, beside externs of a program that is not loaded: a global function is verified by itself,
 * a callback and a value with a lock are found by their types.
 *
 *   clang-19 -g -O2 -target bpfel -mcpu=v3 -ffile-prefix-map=$PWD=. -fdebug-compilation-dir=. -c externs.bpf.c -o externs.bpfel.o && llvm-strip-19 -g externs.bpfel.o
 */
typedef unsigned int u32;
typedef unsigned long long u64;
#define SEC(name) __attribute__((section(name), used))
#define EXTERN(name) __attribute__((section(name), weak))
#define __uint(name, value) int (*name)[value]
#define __type(name, value) typeof(value) *name

static long (*bpf_loop)(u32 count, void *callback, void *context, u64 flags) = (void *)181;
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_spin_lock)(void *lock) = (void *)93;
static long (*bpf_spin_unlock)(void *lock) = (void *)94;

extern void bpf_rcu_read_lock(void) EXTERN(".ksyms");
struct cgroup {
	u64 flags;
};

extern void bpf_cgroup_release(struct cgroup *) EXTERN(".ksyms");
extern const int bpf_prog_active EXTERN(".ksyms");
extern int LINUX_KERNEL_VERSION EXTERN(".kconfig");
extern char CONFIG_DEFAULT_HOSTNAME[3] EXTERN(".kconfig");
extern u64 CONFIG_HZ EXTERN(".kconfig");

struct bpf_spin_lock {
	u32 val;
};

struct value {
	struct bpf_spin_lock lock;
	u32 count;
};

struct {
	__uint(type, 1); /* BPF_MAP_TYPE_HASH */
	__uint(max_entries, 16);
	__type(key, u32);
	__type(value, struct value);
} locked SEC(".maps");

static int step(u32 index, void *context)
{
	return 0;
}

/* Its callers pass enough; by itself it may not read beyond the number that its parameter points to. */
__attribute__((noinline)) int reads(u64 *numbers)
{
	return numbers[3];
}

SEC("tc") int callback(void *ctx)
{
	bpf_loop(5, step, 0, 0);
	return 0;
}

SEC("tc") int lock(void *ctx)
{
	u32 key = 0;
	struct value *value = bpf_map_lookup_elem(&locked, &key);

	if (value) {
		bpf_spin_lock(&value->lock);
		value->count++;
		bpf_spin_unlock(&value->lock);
	}
	return 0;
}

SEC("tc") int global(u32 *ctx)
{
	u64 numbers[4] = {ctx[0], ctx[0], ctx[0], ctx[0]};

	return reads(numbers);
}

SEC("?tc") int not_loaded(struct cgroup **ctx)
{
	if (bpf_rcu_read_lock)
		bpf_rcu_read_lock();
	if (bpf_cgroup_release)
		bpf_cgroup_release(ctx[0]);
	return (&bpf_prog_active ? bpf_prog_active : 0) + LINUX_KERNEL_VERSION + CONFIG_DEFAULT_HOSTNAME[0] + CONFIG_HZ;
}

SEC("license") char LICENSE[] = "GPL";

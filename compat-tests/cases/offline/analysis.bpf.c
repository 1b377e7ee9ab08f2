// SPDX-License-Identifier: GPL-2.0-only OR MIT
// clang-19 -target bpfel -mcpu=v3 -O2 -g -ffile-prefix-map=$PWD=. -fdebug-compilation-dir=. -c analysis.bpf.c -o analysis.bpfel.o && llvm-strip-19 -g analysis.bpfel.o
#define SEC(name) __attribute__((section(name), used))
typedef unsigned int u32;
typedef unsigned long long u64;

static void *(*map_lookup_elem)(void *, const void *) = (void *)1;

struct {
	int (*type)[2];
	int *key;
	u64 (*value)[4];
	int (*max_entries)[1];
} values SEC(".maps");

SEC("xdp") int tested(void *context)
{
	int key = 0;
	u64 *value = map_lookup_elem(&values, &key);
	return value ? value[3] : 0;
}

SEC("xdp") int untested(u32 *context)
{
	int key = context[1] - context[0];
	u64 *value = map_lookup_elem(&values, &key);
	return value[3];
}

SEC("xdp") int beyond(void *context)
{
	int key = 0;
	u64 *value = map_lookup_elem(&values, &key);
	return value ? value[4] : 0;
}

SEC("xdp") int indexed(void *context)
{
	int key = 0;
	u64 *value = map_lookup_elem(&values, &key);
	u64 index = value ? value[0] : 4;
	return index < 4 ? value[index] : 0;
}

SEC("xdp") int unindexed(void *context)
{
	int key = 0;
	u64 *value = map_lookup_elem(&values, &key);
	return value ? value[(u32)value[0] & 7] : 0;
}

SEC("xdp") __attribute__((naked)) int unset(void *context) { asm volatile("r0 = r6; exit;"); }
SEC("xdp") __attribute__((naked)) int number(void *context) { asm volatile("r1 = 4096; r0 = *(u8 *)(r1 + 0); exit;"); }
SEC("xdp") __attribute__((naked)) int packet(void *context) { asm volatile("r1 = *(u32 *)(r1 + 0); r0 = *(u8 *)(r1 + 0); exit;"); }
SEC("xdp") __attribute__((naked)) int endless(void *context) { asm volatile("r2 = *(u32 *)(r1 + 4); r3 = *(u32 *)(r1 + 0); r2 -= r3; r0 = 0; if r2 == 5 goto +1; goto -3; exit;"); }

char LICENSE[] SEC("license") = "Dual MIT/GPL";

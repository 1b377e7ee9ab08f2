// SPDX-License-Identifier: GPL-2.0-only OR MIT
// clang-19 -target bpfel -mcpu=v3 -O2 -g -ffile-prefix-map=$PWD=. -fdebug-compilation-dir=. -c rules.bpf.c -o rules.bpfel.o && llvm-strip-19 -g rules.bpfel.o
#define SEC(name) __attribute__((section(name), used))
typedef unsigned long long u64;

static void *(*map_lookup_elem)(void *, const void *) = (void *)1;
static long (*tail_call)(void *, void *, unsigned int) = (void *)12;

struct bpf_spin_lock {
	unsigned int val;
};

struct guarded {
	struct bpf_spin_lock lock;
	int value;
};

struct {
	int (*type)[2];
	int *key;
	struct guarded *value;
	int (*max_entries)[1];
} guarded SEC(".maps");

SEC("kprobe/two") int locked(void *context) { int key = 0; return map_lookup_elem(&guarded, &key) ? 1 : 0; }
SEC("xdp") int unlocked(void *context) { int key = 0; return map_lookup_elem(&guarded, &key) ? 1 : 0; }
SEC("xdp") int simple(unsigned int *context) { return context[0] ? 1 : 2; }
SEC("xdp") __attribute__((naked)) int frame(void *context) { asm volatile("r10 = 0; r0 = 0; exit;"); }
SEC("xdp") __attribute__((naked)) int unreached(void *context) { asm volatile("r0 = 0; exit; r0 = 1; exit;"); }
SEC("xdp") __attribute__((naked)) int too_early(void *context) { asm volatile("r0 = *(u32 *)(r1 - 4); exit;"); }

SEC("xdp") int wrong_map(void *context) { return tail_call(context, &guarded, 0); }

char LICENSE[] SEC("license") = "Dual MIT/GPL";

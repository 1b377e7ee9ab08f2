// SPDX-License-Identifier: GPL-2.0-only OR MIT
// clang-19 -target bpfel -mcpu=v3 -O2 -g -ffile-prefix-map=$PWD=. -fdebug-compilation-dir=. -c functions.bpf.c -o functions.bpfel.o && llvm-strip-19 -g functions.bpfel.o
#define SEC(name) __attribute__((section(name), used))
#define GLOBAL __attribute__((noinline))

struct xdp_md {
	unsigned int data, data_end, data_meta;
};
struct whole {
	long value;
};
struct somewhere;

GLOBAL int numbers(int a, long b) { asm volatile(""); return a + b; }
GLOBAL int context(struct xdp_md *a) { asm volatile(""); return a->data; }
GLOBAL int memory(struct whole *a) { asm volatile(""); return a ? a->value : 0; }
GLOBAL int nowhere(struct somewhere *a) { asm volatile(""); return a != 0; }
GLOBAL void *address(int a) { asm volatile(""); return (void *)(long)a; }

SEC("xdp") int takes_numbers(struct xdp_md *ctx) { return numbers(ctx->data, 1); }
SEC("xdp") int takes_context(struct xdp_md *ctx) { return context(ctx); }
SEC("xdp") int takes_memory(struct xdp_md *ctx) { struct whole of = { ctx->data }; return memory(&of); }
SEC("xdp") int takes_nothing_known(struct xdp_md *ctx) { return nowhere((void *)ctx); }
SEC("xdp") int returns_address(struct xdp_md *ctx) { return (long)address(ctx->data) & 1; }

char LICENSE[] SEC("license") = "Dual MIT/GPL";

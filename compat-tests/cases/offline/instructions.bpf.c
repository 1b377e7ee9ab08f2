// SPDX-License-Identifier: GPL-2.0-only OR MIT
// clang-19 -target bpfel -mcpu=v3 -O2 -g -ffile-prefix-map=$PWD=. -fdebug-compilation-dir=. -c instructions.bpf.c -o instructions.bpfel.o && llvm-strip-19 -g instructions.bpfel.o
#define SEC(name) __attribute__((section(name), used))
#define ASM(name, ...) SEC("xdp") __attribute__((naked)) int name(void *context) { asm volatile(__VA_ARGS__); }
#define USE_STACK asm volatile("r0 = 0; *(u8 *)(r10 - 300) = r0;" ::: "r0", "memory")
#define FUNCTION static __attribute__((noinline)) long
typedef unsigned long long u64;

static long (*tail_call)(void *, void *, unsigned int) = (void *)12;
static long (*for_each_map_elem)(void *, void *, void *, u64) = (void *)164;

struct {
	int (*type)[2];
	int *key;
	int *value;
	int (*max_entries)[1];
} programs SEC(".maps");

ASM(reserved, ".byte 0xb7,0x10,0,0,0,0,0,0; exit;")
ASM(divides, "r0 = 1; r0 /= 0; exit;")
// A kernel divides by 0 only where it comes, and looks at every operation code.
ASM(never_divides, "r0 = 0; if r0 == 0 goto +1; r0 /= 0; exit;")
ASM(never_unknown, "r0 = 0; if r0 == 0 goto +1; .byte 0xff,0,0,0,0,0,0,0; exit;")
ASM(younger, "r0 = 0; .byte 0xe5,0,1,0,0,0,0,0; r0 = 1; exit;")

FUNCTION deep(long a) { USE_STACK; return a; }
FUNCTION deeper(long a) { USE_STACK; return deep(a) + 1; }
SEC("xdp") int stacked(int *context) { return deeper(context[0]); }
SEC("xdp") int shallow(int *context) { return deep(context[0]); }

__attribute__((noinline)) int round_again(int a);
__attribute__((noinline)) int in_circles(int a) { return a > 3 ? round_again(a - 1) : 2; }
__attribute__((noinline)) int round_again(int a) { asm volatile(""); return a > 5 ? in_circles(a - 1) : 1; }
SEC("xdp") int recursive(int *context) { return in_circles(context[0]); }

FUNCTION tail(void *context) { tail_call(context, &programs, 0); return 1; }
SEC("xdp") int tail_behind(int *context) { USE_STACK; return tail(context) + 1; }

static __attribute__((noinline)) void no_number(void *context) { tail_call(context, &programs, 0); asm volatile(""); }
SEC("xdp") int tail_of_nothing(int *context) { no_number(context); return 1; }

ASM(endless, "r0 = 0; .byte 0x05,0,0xff,0xff,0,0,0,0;")

FUNCTION called_back(void *map, void *key, void *value, void *context) { return 0; }
SEC("xdp") int calls_back(int *context) { return for_each_map_elem(&programs, called_back, 0, 0) & 1; }

char LICENSE[] SEC("license") = "Dual MIT/GPL";

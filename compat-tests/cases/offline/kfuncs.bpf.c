// SPDX-License-Identifier: GPL-2.0-only OR MIT
// clang-19 -target bpfel -mcpu=v3 -O2 -g -ffile-prefix-map=$PWD=. -fdebug-compilation-dir=. -c kfuncs.bpf.c -o kfuncs.bpfel.o && llvm-strip-19 -g kfuncs.bpfel.o
#define SEC(name) __attribute__((section(name), used))
typedef unsigned long long u64;

extern int callable(int) SEC(".ksyms");
extern int optional(int) __attribute__((section(".ksyms"), weak));

SEC("xdp") int calls(void *context) { return callable(1); }
SEC("kprobe/two") int calls_elsewhere(void *context) { return callable(1); }
SEC("xdp") int asks(void *context) { return optional ? optional(1) : 0; }
SEC("xdp") int does_not_ask(void *context) { return optional(1); }
SEC("tp_btf/made") int through_a_number(u64 *arguments) { return *(int *)arguments[0]; }

char LICENSE[] SEC("license") = "Dual MIT/GPL";

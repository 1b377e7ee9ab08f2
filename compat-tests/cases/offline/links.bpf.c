// SPDX-License-Identifier: GPL-2.0-only OR MIT
// clang-19 -target bpfel -mcpu=v3 -O2 -g -ffile-prefix-map=$PWD=. -fdebug-compilation-dir=. -c links.bpf.c -o links.bpfel.o && llvm-strip-19 -g links.bpfel.o
#define SEC(name) __attribute__((section(name), used))

extern int no_such_kfunc(int) SEC(".ksyms");

SEC("xdp") int links(void *context) { return no_such_kfunc(1); }
SEC("xdp") int does_not(void *context) { return 0; }

char LICENSE[] SEC("license") = "Dual MIT/GPL";

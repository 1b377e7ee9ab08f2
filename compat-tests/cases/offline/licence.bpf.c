// SPDX-License-Identifier: GPL-2.0-only OR MIT
// clang-19 -target bpfel -mcpu=v3 -O2 -g -ffile-prefix-map=$PWD=. -fdebug-compilation-dir=. -c licence.bpf.c -o licence.bpfel.o && llvm-strip-19 -g licence.bpfel.o
#define SEC(name) __attribute__((section(name), used))

extern int callable(int) SEC(".ksyms");

SEC("xdp") int calls(void *context) { return callable(1); }
SEC("xdp") int calls_nothing(void *context) { return 0; }

char LICENSE[] SEC("license") = "MIT";

// SPDX-License-Identifier: GPL-2.0-only OR MIT
// clang-19 -target bpfel -mcpu=v3 -O2 -g -ffile-prefix-map=$PWD=. -fdebug-compilation-dir=. -c maps.bpf.c -o maps.bpfel.o && llvm-strip-19 -g maps.bpfel.o
#define SEC(name) __attribute__((section(name), used))

// Arrays are indexed by 32 bits.
struct {
	int (*type)[2];
	unsigned long long *key;
	int *value;
	int (*max_entries)[1];
} wide SEC(".maps");

SEC("xdp") int uses_none(void *context) { return 0; }

char LICENSE[] SEC("license") = "Dual MIT/GPL";

// SPDX-License-Identifier: GPL-2.0-only OR MIT
// clang-19 -target bpfel -mcpu=v3 -O2 -g -ffile-prefix-map=$PWD=. -fdebug-compilation-dir=. -c arguments.bpf.c -o arguments.bpfel.o && llvm-strip-19 -g arguments.bpfel.o
#define SEC(name) __attribute__((section(name), used))
typedef unsigned long long u64;

u64 kept;

SEC("fentry/pointers") int integers(volatile u64 *arguments) { kept = arguments[0]; return 0; }
SEC("fentry/pointers") int text(volatile u64 *arguments) { kept = arguments[1]; return 0; }
SEC("fentry/pointers") int nothing(volatile u64 *arguments) { kept = arguments[2]; return 0; }
SEC("fentry/pointers") int pointer(volatile u64 *arguments) { kept = arguments[3]; return 0; }
SEC("fentry/pointers") int structure(volatile u64 *arguments) { kept = arguments[4]; return 0; }
SEC("fentry/pointers") int half(volatile unsigned int *arguments) { kept = arguments[8]; return 0; }
SEC("fentry/two") int narrow(volatile unsigned int *arguments) { kept = arguments[0]; return 0; }
SEC("fexit/pointers") int result(volatile u64 *arguments) { kept = arguments[5]; return 0; }

char LICENSE[] SEC("license") = "Dual MIT/GPL";

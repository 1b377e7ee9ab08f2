// SPDX-License-Identifier: GPL-2.0-only OR MIT
// clang-19 -target bpfel -mcpu=v3 -O2 -g -ffile-prefix-map=$PWD=. -fdebug-compilation-dir=. -c returns.bpf.c -o returns.bpfel.o && llvm-strip-19 -g returns.bpfel.o
#define SEC(name) __attribute__((section(name), used))
typedef unsigned long long u64;

static u64 (*get_current_pid_tgid)(void) = (void *)14;

SEC("fentry/two") int nothing(u64 *context) { return 0; }
SEC("fentry/two") int something(u64 *context) { return 1; }
SEC("kprobe/two") int anything(void *context) { return 7; }
SEC("fentry/two") int unknown(u64 *context) { return get_current_pid_tgid(); }
SEC("fexit/two") int on_one_way(u64 *context) { return context[0] ? -1 : 0; }
SEC("fexit/two") __attribute__((naked)) int pointer(u64 *context) { asm volatile("r0 = r10; exit;"); }

char LICENSE[] SEC("license") = "Dual MIT/GPL";

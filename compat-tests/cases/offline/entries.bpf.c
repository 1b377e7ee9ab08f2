// SPDX-License-Identifier: GPL-2.0-only OR MIT
// clang-19 -target bpfel -mcpu=v3 -O2 -g -ffile-prefix-map=$PWD=. -fdebug-compilation-dir=. -c entries.bpf.c -o entries.bpfel.o && llvm-strip-19 -g entries.bpfel.o
#define SEC(name) __attribute__((section(name), used))
typedef unsigned long long u64;

static u64 (*get_current_pid_tgid)(void) = (void *)14;
static u64 (*get_socket_cookie)(void *) = (void *)46;
static long (*copy_from_user)(void *, unsigned int, const void *) = (void *)148;
static long (*loop)(unsigned int, void *, void *, u64) = (void *)181;

SEC("fentry/two") int second(u64 *arguments) { return arguments[1]; }
SEC("fentry/two") int third(u64 *arguments) { return arguments[2]; }
SEC("fexit/two") int result(u64 *arguments) { return arguments[2]; }
SEC("fentry/by_value") int too_wide(u64 *arguments) { return arguments[0]; }
SEC("fentry/gone") int gone(u64 *arguments) { return arguments[0]; }
SEC("fentry/in_module") int in_module(u64 *arguments) { return 0; }
SEC("tp_btf/made") int length(u64 *arguments) { return arguments[1]; }
SEC("tp_btf/made") int beyond(u64 *arguments) { return arguments[2]; }
SEC("xdp") int packet(unsigned int *context) { return context[2]; }
SEC("xdp") int ifindex(unsigned int *context) { return context[3]; }
SEC("kprobe/two") int helper(void *context) { return get_current_pid_tgid(); }
SEC("kprobe/two") int younger_helper(void *context) { return loop(1, 0, 0, 0); }
SEC("kprobe/two") int stranger_helper(void *context) { return get_socket_cookie(context); }
SEC("kprobe/two") int wakeful_helper(void *context) { u64 to; return copy_from_user(&to, 8, (void *)8); }
SEC("syscall") int younger_type(void *context) { return 0; }

char LICENSE[] SEC("license") = "Dual MIT/GPL";

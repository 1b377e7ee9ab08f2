// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What the kernel must define: options that decide a branch, variables and functions. Wherever an answer is not what it
 * is with libbpf, an instruction is reached that no kernel takes.
 *
 *   clang-19 -g -O2 -target bpfel -mcpu=v3 -ffile-prefix-map=$PWD=. -fdebug-compilation-dir=. -c linked.bpf.c -o linked.bpfel.o && llvm-strip-19 -g linked.bpfel.o
 */
typedef unsigned int u32;
typedef unsigned long long u64;
#define SEC(name) __attribute__((section(name), used))
#define KCONFIG __attribute__((section(".kconfig")))
#define KSYM __attribute__((section(".ksyms")))
#define WEAK __attribute__((weak))

static long (*no_such_helper)(void) = (void *)9999;

extern int LINUX_KERNEL_VERSION KCONFIG;
extern _Bool LINUX_HAS_SYSCALL_WRAPPER KCONFIG;
extern _Bool CONFIG_BPF_SYSCALL KCONFIG WEAK;
extern u64 CONFIG_PORTOLAN_OF_NO_KERNEL KCONFIG WEAK;

extern const int bpf_prog_active KSYM;
extern const void __per_cpu_start KSYM WEAK;
extern const void portolan_of_no_kernel KSYM WEAK;

extern void bpf_rcu_read_lock(void) KSYM WEAK;
extern void bpf_rcu_read_unlock(void) KSYM WEAK;
extern void bpf_portolan_of_no_kernel(void) KSYM WEAK;

SEC("raw_tp/sys_enter") int options(void *ctx)
{
	if (LINUX_KERNEL_VERSION < 0x040000 || !CONFIG_BPF_SYSCALL || CONFIG_PORTOLAN_OF_NO_KERNEL)
		no_such_helper();
	return LINUX_HAS_SYSCALL_WRAPPER;
}

SEC("raw_tp/sys_enter") int symbols(void *ctx)
{
	if (&portolan_of_no_kernel)
		no_such_helper();
	return (u64)&__per_cpu_start + (u64)&bpf_prog_active;
}

SEC("raw_tp/sys_enter") int functions(void *ctx)
{
	if (bpf_rcu_read_lock) {
		bpf_rcu_read_lock();
		bpf_rcu_read_unlock();
	}
	if (bpf_portolan_of_no_kernel)
		bpf_portolan_of_no_kernel();
	return 0;
}

SEC("raw_tp/sys_enter") int untested(void *ctx)
{
	bpf_portolan_of_no_kernel();
	return 0;
}

SEC("license") char LICENSE[] = "GPL";

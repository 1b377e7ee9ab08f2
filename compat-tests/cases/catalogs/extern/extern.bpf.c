// SPDX-License-Identifier: GPL-2.0-only OR MIT
// clang-19 -target bpfel -mcpu=v1 -O2 -g -c extern.bpf.c -o objects/kernel-version-kconfig.bpfel.o && llvm-strip-19 -g objects/*.o
extern int LINUX_KERNEL_VERSION __attribute__((section(".kconfig"), weak));

__attribute__((section("socket"), used)) int version(void *context)
{
	return LINUX_KERNEL_VERSION;
}

char LICENSE[] __attribute__((section("license"), used)) = "Dual MIT/GPL";

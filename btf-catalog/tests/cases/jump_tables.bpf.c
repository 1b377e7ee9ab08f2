// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A jump by a register (since v6.19), whose targets stand in a table, beside a program without one.
 *
 *   clang-19 -g -O2 -target bpfel -ffile-prefix-map=$PWD=. -fdebug-compilation-dir=. -c jump_tables.bpf.c -o jump_tables.bpfel.o && llvm-strip-19 -g jump_tables.bpfel.o
 */
#define SEC(name) __attribute__((section(name), used))

SEC("socket")
__attribute__((naked)) int by_table(void *ctx)
{
	asm volatile(".pushsection .jumptables,\"\",@progbits\n"
		     "table:\n"
		     "	.quad zero - socket\n"
		     "	.quad one - socket\n"
		     ".size table, 16\n"
		     ".global table\n"
		     ".popsection\n"
		     "	r0 = table ll\n"
		     "	r0 = *(u64 *)(r0 + 8)\n"
		     "	.8byte 0x0d\n" /* gotox r0 */
		     "zero:\n"
		     "	r0 = 0\n"
		     "	exit\n"
		     "one:\n"
		     "	r0 = 1\n"
		     "	exit\n" ::: "r0");
}

SEC("socket")
int plain(void *ctx)
{
	return 0;
}

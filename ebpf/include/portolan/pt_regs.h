/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The registers a kprobe sees. A program which includes this file is built per architecture, and `cargo xtask ebpf`
 * goes by that include. Layouts are UAPI and do not change:
 * arch/x86/include/uapi/asm/ptrace.h, arch/arm64/include/uapi/asm/ptrace.h.
 */
#ifndef PORTOLAN_PT_REGS_H
#define PORTOLAN_PT_REGS_H

#include <portolan/bpf.h>

#if defined(ARCH_x86_64)
struct pt_regs {
	__u64 r15, r14, r13, r12, rbp, rbx;
	__u64 r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
};
#define pt_regs_param1(regs) ((regs)->rdi)
#elif defined(ARCH_aarch64)
struct pt_regs {
	__u64 regs[31];
};
#define pt_regs_param1(ctx) ((ctx)->regs[0])
#else
#error "the registers of this architecture are not described"
#endif

#endif

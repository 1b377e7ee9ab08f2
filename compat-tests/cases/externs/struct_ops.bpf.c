// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Structures that the object gives to the kernel: one that every kernel has, with a member that none has left at zero; one
 * that is not created, since no kernel would take it.
 *
 *   clang-19 -g -O2 -target bpfel -mcpu=v3 -ffile-prefix-map=$PWD=. -fdebug-compilation-dir=. -c struct_ops.bpf.c -o struct_ops.bpfel.o && llvm-strip-19 -g struct_ops.bpfel.o
 */
typedef unsigned int u32;
typedef unsigned long long u64;
#define SEC(name) __attribute__((section(name), used))

struct sock;

struct tcp_congestion_ops___ours {
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
	u64 portolan_of_no_kernel;
};

SEC("struct_ops/ssthresh") u32 ssthresh(u64 *ctx)
{
	return 2;
}

SEC("struct_ops/undo_cwnd") u32 undo_cwnd(u64 *ctx)
{
	return 2;
}

SEC("struct_ops/cong_avoid") void cong_avoid(u64 *ctx)
{
}

SEC("struct_ops/left") u32 left(u64 *ctx)
{
	return 0;
}

SEC(".struct_ops") struct tcp_congestion_ops___ours taken = {
	.ssthresh = (void *)ssthresh,
	.cong_avoid = (void *)cong_avoid,
	.undo_cwnd = (void *)undo_cwnd,
	.name = "portolan",
};

SEC("?.struct_ops.link") struct tcp_congestion_ops___ours not_created = {
	.undo_cwnd = (void *)left,
	.portolan_of_no_kernel = 1,
};

SEC("license") char LICENSE[] = "GPL";

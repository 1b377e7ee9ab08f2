// struct_ops: types, members, links, licences.

//# o_missing_type empty
struct no_such_ops {
    u32 (*a)(struct sock *);
};
SEC("struct_ops/x") u32 x_s(u64 *ctx) { return 2; }
SEC(".struct_ops") struct no_such_ops ops = {.a = (void *)x_s};

//# o_nonops empty
struct list_head_ops {
    u32 (*a)(struct sock *);
};
SEC("struct_ops/x") u32 x_s(u64 *ctx) { return 2; }
SEC(".struct_ops") struct list_head_ops ops = {.a = (void *)x_s};

//# o_schedext
SEC("struct_ops/x") void x_s(u64 *ctx) {}
SEC(".struct_ops.link") struct sched_ext_ops ops = {.enqueue = (void *)x_s, .name = "x"};

//# o_tcp empty
SEC("struct_ops/x") u32 x_ssthresh(u64 *ctx) { return 2; }
SEC("struct_ops/y") u32 x_undo(u64 *ctx) { return 2; }
SEC("struct_ops/z") void x_cong(u64 *ctx) {}
SEC(".struct_ops")
struct tcp_congestion_ops ops = {.ssthresh = (void *)x_ssthresh,
    .undo_cwnd = (void *)x_undo,
    .cong_avoid = (void *)x_cong,
    .name = "bpf_x"};

//# o_tcp_arg
SEC("struct_ops/x") u32 x_ssthresh(u64 *ctx) { return ctx[1]; }
SEC(".struct_ops") struct tcp_congestion_ops ops = {.ssthresh = (void *)x_ssthresh, .name = "bpf_x"};

//# o_tcp_link empty
SEC("struct_ops/x") u32 x_ssthresh(u64 *ctx) { return 2; }
SEC(".struct_ops.link") struct tcp_congestion_ops ops = {.ssthresh = (void *)x_ssthresh, .name = "bpf_x"};

//# o_tcp_member empty
struct tcp_congestion_ops___n {
    u32 (*ssthresh)(struct sock *);
    u32 (*nosuch)(struct sock *);
    char name[16];
};
SEC("struct_ops/x") u32 x_s(u64 *ctx) { return 2; }
SEC(".struct_ops") struct tcp_congestion_ops___n ops = {.nosuch = (void *)x_s, .name = "bpf_x"};

//# o_tcp_nogpl licence=MIT empty
SEC("struct_ops/x") u32 x_ssthresh(u64 *ctx) { return 2; }
SEC(".struct_ops") struct tcp_congestion_ops ops = {.ssthresh = (void *)x_ssthresh, .name = "bpf_x"};

//# o_tcp_sleep empty
SEC("struct_ops.s/x") u32 x_ssthresh(u64 *ctx) { return 2; }
SEC(".struct_ops") struct tcp_congestion_ops ops = {.ssthresh = (void *)x_ssthresh, .name = "bpf_x"};

//# o_tcp_unsup empty
SEC("struct_ops/x") u32 x_i(u64 *ctx) { return 2; }
SEC(".struct_ops") struct tcp_congestion_ops ops = {.get_info = (void *)x_i, .name = "bpf_x"};

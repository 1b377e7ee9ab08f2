// Which fields of its context a program may read and write, by program type and attach type.

//# x_addr_ip4_in6
SEC("cgroup/connect6") int p(struct bpf_sock_addr *ctx) { return ctx->user_ip4 & 1; }

//# x_addr_ip6_in4
SEC("cgroup/connect4") int p(struct bpf_sock_addr *ctx) { return ctx->user_ip6[1] & 1; }

//# x_addr_msgsrc
SEC("cgroup/connect4") int p(struct bpf_sock_addr *ctx) { return ctx->msg_src_ip4 & 1; }

//# x_addr_w_family
SEC("cgroup/connect4") int p(struct bpf_sock_addr *ctx) {
    ctx->family = 1;
    return 1;
}

//# x_addr_w_port
SEC("cgroup/connect4") int p(struct bpf_sock_addr *ctx) {
    ctx->user_port = 1;
    return 1;
}

//# x_cgskb_tstamp
SEC("cgroup_skb/egress") int p(struct __sk_buff *ctx) {
    ctx->tstamp = 1;
    return 1;
}

//# x_dev_w
SEC("cgroup/dev") int p(struct bpf_cgroup_dev_ctx *ctx) {
    ctx->major = 1;
    return 1;
}

//# x_flow_len
SEC("flow_dissector") int p(struct __sk_buff *ctx) { return ctx->len; }

//# x_flow_w
SEC("flow_dissector") int p(struct __sk_buff *ctx) {
    ctx->flow_keys->thoff = 4;
    return 0;
}

//# x_lwt_tcclass
SEC("lwt_in") int p(struct __sk_buff *ctx) { return ctx->tc_classid; }

//# x_reuse_len8
SEC("sk_reuseport") int p(struct sk_reuseport_md *ctx) { return *(u64 *)&ctx->len; }

//# x_reuse_migr
SEC("sk_reuseport/migrate") int p(struct sk_reuseport_md *ctx) { return ctx->migrating_sk != 0; }

//# x_sklookup_cookie
SEC("sk_lookup") int p(struct bpf_sk_lookup *ctx) { return ctx->cookie & 1; }

//# x_sklookup_ifx
SEC("sk_lookup") int p(struct bpf_sk_lookup *ctx) { return ctx->ingress_ifindex & 1; }

//# x_sklookup_w
SEC("sk_lookup") int p(struct bpf_sk_lookup *ctx) {
    ctx->family = 1;
    return 1;
}

//# x_skmsg_sk
SEC("sk_msg") int p(struct sk_msg_md *ctx) { return ctx->sk != 0; }

//# x_skskb_family
SEC("sk_skb/stream_verdict") int p(struct __sk_buff *ctx) {
    KEEP(ctx->family);
    return 0;
}

//# x_sock_mark_w
SEC("cgroup/sock_create") int p(struct bpf_sock *ctx) {
    ctx->mark = 1;
    return 1;
}

//# x_sock_mark_w_post
SEC("cgroup/post_bind4") int p(struct bpf_sock *ctx) {
    ctx->mark = 1;
    return 1;
}

//# x_sock_rel_w
SEC("cgroup/sock_release") int p(struct bpf_sock *ctx) {
    ctx->mark = 1;
    return 1;
}

//# x_sock_src
SEC("cgroup/sock_create") int p(struct bpf_sock *ctx) { return ctx->src_port & 1; }

//# x_sock_src6_post4
SEC("cgroup/post_bind4") int p(struct bpf_sock *ctx) { return ctx->src_ip6[0] & 1; }

//# x_sock_src_post
SEC("cgroup/post_bind4") int p(struct bpf_sock *ctx) { return ctx->src_port & 1; }

//# x_sock_tstamp
SEC("socket") int p(struct __sk_buff *ctx) { return ctx->tstamp; }

//# x_socket_data
SEC("socket") int p(struct __sk_buff *ctx) { return ctx->data; }

//# x_sockops_args
SEC("sockops") int p(struct bpf_sock_ops *ctx) {
    ctx->reply = 1;
    return ctx->args[1];
}

//# x_sockops_hwts
SEC("sockops") int p(struct bpf_sock_ops *ctx) { return ctx->skb_hwtstamp & 1; }

//# x_sockops_skbdata
SEC("sockops") int p(struct bpf_sock_ops *ctx) { return ctx->skb_len & 1; }

//# x_sockops_w
SEC("sockops") int p(struct bpf_sock_ops *ctx) {
    ctx->family = 1;
    return 1;
}

//# x_sockopt_level_get
SEC("cgroup/getsockopt") int p(struct bpf_sockopt *ctx) {
    ctx->level = 0;
    return 1;
}

//# x_sockopt_retval_get
SEC("cgroup/getsockopt") int p(struct bpf_sockopt *ctx) {
    ctx->retval = 0;
    return 1;
}

//# x_sockopt_retval_set
SEC("cgroup/setsockopt") int p(struct bpf_sockopt *ctx) {
    ctx->retval = 0;
    return 1;
}

//# x_syscall_ctx
SEC("syscall") int p(void *ctx) { return *(u64 *)((char *)ctx + 70000); }

//# x_syscall_ctxw
SEC("syscall") int p(void *ctx) {
    *(u64 *)((char *)ctx + 8) = 1;
    return 0;
}

//# x_sysctl_pos_w
SEC("cgroup/sysctl") int p(struct bpf_sysctl *ctx) {
    ctx->file_pos = 1;
    return 1;
}

//# x_sysctl_w
SEC("cgroup/sysctl") int p(struct bpf_sysctl *ctx) {
    ctx->write = 1;
    return 1;
}

//# x_tc_8_len
SEC("tc") int p(struct __sk_buff *ctx) { return *(volatile u64 *)ctx; }

//# x_tc_cb
SEC("tc") int p(struct __sk_buff *ctx) {
    ctx->cb[2] = ctx->cb[1];
    return 0;
}

//# x_tc_cb5
SEC("tc") int p(struct __sk_buff *ctx) { return ctx->cb[5]; }

//# x_tc_family
SEC("tc") int p(struct __sk_buff *ctx) { return ctx->family; }

//# x_tc_half_len
SEC("tc") int p(struct __sk_buff *ctx) { return *(volatile u16 *)&ctx->len; }

//# x_tc_hwtstamp
SEC("tc") int p(struct __sk_buff *ctx) { return ctx->hwtstamp; }

//# x_tc_len_w
SEC("tc") int p(struct __sk_buff *ctx) {
    ctx->len = 1;
    return 0;
}

//# x_tc_mark_w
SEC("tc") int p(struct __sk_buff *ctx) {
    ctx->mark = 1;
    return 0;
}

//# x_tc_remoteport
SEC("tc") int p(struct __sk_buff *ctx) { return ctx->remote_port; }

//# x_tc_sk
SEC("tc") int p(struct __sk_buff *ctx) { return ctx->sk ? ctx->sk->mark : 0; }

//# x_tc_tstamp
SEC("tc") int p(struct __sk_buff *ctx) {
    ctx->tstamp = 1;
    return 0;
}

//# x_tc_tstamp_type
SEC("tc") int p(struct __sk_buff *ctx) { return ctx->tstamp_type; }

//# x_xdp_cb
SEC("lwt_out") int p(struct __sk_buff *ctx) {
    ctx->cb[2] = 1;
    return 0;
}

//# x_xdp_half
SEC("xdp") int p(struct xdp_md *ctx) { return *(volatile u16 *)&ctx->ingress_ifindex; }

//# x_xdp_w
SEC("xdp") int p(struct xdp_md *ctx) {
    ctx->data = 1;
    return 0;
}

//# x_cgskb_hwtstamp
SEC("cgroup_skb/ingress") int p(struct __sk_buff *ctx) {
    KEEP(ctx->hwtstamp);
    return 1;
}

//# x_flow_gso_segs
SEC("flow_dissector") int p(struct __sk_buff *ctx) {
    KEEP(ctx->gso_segs);
    return 0;
}

//# x_kprobe_split
SEC("kprobe/do_nanosleep") int p(char *ctx) {
    KEEP(*(u64 *)(ctx + 4));
    return 0;
}

//# x_perf_half
SEC("perf_event") int p(struct bpf_perf_event_data *ctx) {
    KEEP(*(volatile u32 *)&ctx->regs.ip);
    return 0;
}

//# x_socket_hwtstamp
SEC("socket") int p(struct __sk_buff *ctx) {
    KEEP(ctx->hwtstamp);
    return 0;
}

//# x_sysctl_pos_w1
SEC("cgroup/sysctl") int p(struct bpf_sysctl *ctx) {
    *(volatile u8 *)&ctx->file_pos = 1;
    return 1;
}

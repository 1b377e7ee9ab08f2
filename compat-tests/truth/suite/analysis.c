// What the verifier itself must find out: null checks, references, packet and map bounds.

//# w_arg_wrong
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 x = 0;
    bpf_perf_event_read_value((void *)&x, 0, 0, 24);
    return 0;
}

//# w_getsk_storage
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, u64);
} m SEC(".maps");
SEC("tc") int p(struct __sk_buff *ctx) {
    bpf_sk_storage_get(&m, ctx->sk, 0, 1);
    return 0;
}

//# w_key_short
MAP(m, BPF_MAP_TYPE_HASH, struct in6_addr, u64, 8);
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u32 k = 0;
    return bpf_map_lookup_elem(&m, &k) != 0;
}

//# w_key_uninit
MAP(m, BPF_MAP_TYPE_HASH, u64, u64, 8);
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u64 k[1];
    asm volatile("" ::"r"(k));
    return bpf_map_lookup_elem(&m, k) != 0;
}

//# w_kprobe_deref
SEC("kprobe/do_nanosleep") int p(struct pt_regs *ctx) {
    u64 *a = (void *)PT_REGS_PARM1(ctx);
    return *a;
}

//# w_nullcheck
MAP(m, BPF_MAP_TYPE_HASH, u32, u64, 8);
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u32 k = 0;
    u64 *v = bpf_map_lookup_elem(&m, &k);
    return *v;
}

//# w_oob_global
u64 g[4];
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 i = ctx[1];
    return g[i & 7];
}

//# w_oob_map
MAP(m, BPF_MAP_TYPE_HASH, u32, u64, 8);
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u32 k = 0;
    volatile u64 *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    return v[1];
}

//# w_output_var
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4096);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    char b[64] = {};
    bpf_ringbuf_output(&m, b, ctx[1], 0);
    return 0;
}

//# w_pkt_bound
SEC("xdp") int p(struct xdp_md *ctx) {
    u8 *d = (void *)(long)ctx->data;
    u8 *e = (void *)(long)ctx->data_end;
    if (d + 14 > e) return 1;
    return d[12];
}

//# w_pkt_bound_short
SEC("xdp") int p(struct xdp_md *ctx) {
    u8 *d = (void *)(long)ctx->data;
    u8 *e = (void *)(long)ctx->data_end;
    if (d + 10 > e) return 1;
    return d[12];
}

//# w_pkt_nobound
SEC("xdp") int p(struct xdp_md *ctx) {
    u8 *d = (void *)(long)ctx->data;
    return d[12];
}

//# w_pkt_socket
SEC("socket") int p(struct __sk_buff *ctx) {
    u8 *d = (void *)(long)ctx->data;
    return (long)d;
}

//# w_pkt_stale
SEC("xdp") int p(struct xdp_md *ctx) {
    u8 *d = (void *)(long)ctx->data;
    u8 *e = (void *)(long)ctx->data_end;
    if (d + 14 > e) return 1;
    bpf_xdp_adjust_head(ctx, 4);
    return d[1];
}

//# w_pkt_write_cgskb
SEC("cgroup_skb/egress") int p(struct __sk_buff *ctx) {
    u8 *d = (void *)(long)ctx->data;
    u8 *e = (void *)(long)ctx->data_end;
    if (d + 14 > e) return 1;
    d[1] = 2;
    return 1;
}

//# w_pkt_write_lwtin
SEC("lwt_in") int p(struct __sk_buff *ctx) {
    u8 *d = (void *)(long)ctx->data;
    u8 *e = (void *)(long)ctx->data_end;
    if (d + 14 > e) return 1;
    d[1] = 2;
    return 0;
}

//# w_probe_read_size
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    char b[64];
    bpf_probe_read_kernel(b, 100, (void *)ctx[0]);
    return 0;
}

//# w_probe_read_varsize
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    char b[64];
    u64 n = ctx[1];
    bpf_probe_read_kernel(b, n & 63, (void *)ctx[0]);
    return b[3];
}

//# w_ringbuf_leak
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4096);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u64 *v = bpf_ringbuf_reserve(&m, 8, 0);
    return 0;
}

//# w_ringbuf_use_after
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4096);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    volatile u64 *v = bpf_ringbuf_reserve(&m, 8, 0);
    if (!v) return 0;
    bpf_ringbuf_submit((void *)v, 0);
    *v = 1;
    return 0;
}

//# w_sk_field
SEC("cgroup_skb/egress") int p(struct __sk_buff *ctx) {
    struct bpf_sock *s = ctx->sk;
    return s->family;
}

//# w_sk_leak
SEC("tc") int p(struct __sk_buff *ctx) {
    struct bpf_sock_tuple t = {};
    struct bpf_sock *s = bpf_sk_lookup_tcp(ctx, &t, sizeof t.ipv4, -1, 0);
    return s != 0;
}

//# w_sk_release_null
SEC("tc") int p(struct __sk_buff *ctx) {
    struct bpf_sock_tuple t = {};
    struct bpf_sock *s = bpf_sk_lookup_tcp(ctx, &t, sizeof t.ipv4, -1, 0);
    bpf_sk_release(s);
    return 0;
}

//# w_tp_deref
SEC("tracepoint/sched/sched_switch") int p(u64 *ctx) {
    u64 *a = (void *)ctx[1];
    return *a;
}

//# w_write_rodata
const volatile u64 g = 4;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    *(volatile u64 *)&g = 1;
    return 0;
}

//# w_sk_narrow
SEC("tc") int p(struct __sk_buff *ctx) {
    struct bpf_sock *sk = ctx->sk;
    if (!sk) return 0;
    sk = bpf_sk_fullsock(sk);
    if (!sk) return 0;
    KEEP(*(volatile u16 *)&sk->mark);
    return 0;
}

//# w_tcp_wide
SEC("tc") int p(struct __sk_buff *ctx) {
    struct bpf_sock *sk = ctx->sk;
    if (!sk) return 0;
    struct bpf_tcp_sock *tcp = bpf_tcp_sock(sk);
    if (!tcp) return 0;
    KEEP(*(volatile u64 *)&tcp->snd_cwnd);
    return 0;
}

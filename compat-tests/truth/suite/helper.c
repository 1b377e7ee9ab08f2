// Helpers by program type, attach type, map and argument; XDP with fragments.

//# h_bind_bind
SEC("cgroup/bind4") int p(void *ctx) {
    struct sockaddr_in a = {};
    bpf_bind(ctx, (void *)&a, sizeof a);
    return 1;
    return 0;
}

//# h_bind_conn
SEC("cgroup/connect4") int p(void *ctx) {
    struct sockaddr_in a = {};
    bpf_bind(ctx, (void *)&a, sizeof a);
    return 1;
    return 0;
}

//# h_comm_tc
SEC("tc") int p(void *ctx) {
    char b[16];
    bpf_get_current_comm(b, 16);
    return 0;
}

//# h_cookie_fentry
SEC("fentry/do_nanosleep") int p(void *ctx) {
    return bpf_get_attach_cookie(ctx) & 0;
    return 0;
}

//# h_cookie_lsm
SEC("lsm/file_open") int p(void *ctx) {
    return bpf_get_attach_cookie(ctx) & 0;
    return 0;
}

//# h_cookie_rawtp
SEC("raw_tp/sys_enter") int p(void *ctx) {
    return bpf_get_attach_cookie(ctx) & 0;
    return 0;
}

//# h_cookie_tpbtf
SEC("tp_btf/sched_switch") int p(void *ctx) {
    return bpf_get_attach_cookie(ctx) & 0;
    return 0;
}

//# h_copyfu_kprobe
SEC("kprobe/do_nanosleep") int p(void *ctx) {
    char b[8];
    bpf_copy_from_user(b, 8, 0);
    return 0;
}

//# h_copyfu_nosleep
SEC("fentry/do_nanosleep") int p(void *ctx) {
    char b[8];
    bpf_copy_from_user(b, 8, 0);
    return 0;
}

//# h_copyfut
SEC("lsm.s/file_open") int p(void *ctx) {
    char b[8];
    bpf_copy_from_user_task(b, 8, 0, (void *)bpf_get_current_task_btf(), 0);
    return 0;
}

//# h_dpath
SEC("fentry/do_nanosleep") int p(void *ctx) {
    char b[8];
    bpf_d_path(0, b, 8);
    return 0;
}

//# h_dpath_bad
SEC("fentry/do_filp_open") int p(void *ctx) {
    struct file *f = (void *)((u64 *)ctx)[0];
    char b[8];
    bpf_d_path(&f->f_path, b, 8);
    return 0;
}

//# h_dpath_lsm
SEC("lsm/file_open") int p(void *ctx) {
    struct file *f = (void *)((u64 *)ctx)[0];
    char b[8];
    bpf_d_path(&f->f_path, b, 8);
    return 0;
}

//# h_dpath_ok
SEC("fentry/filp_close") int p(void *ctx) {
    struct file *f = (void *)((u64 *)ctx)[0];
    char b[8];
    bpf_d_path(&f->f_path, b, 8);
    return 0;
}

//# h_dynptr_rb
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4096);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    struct bpf_dynptr d;
    bpf_ringbuf_reserve_dynptr(&m, 8, 0, &d);
    bpf_ringbuf_submit_dynptr(&d, 0);
    return 0;
}

//# h_dynptr_rb_leak
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4096);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    struct bpf_dynptr d;
    bpf_ringbuf_reserve_dynptr(&m, 8, 0, &d);
    return 0;
}

//# h_funcarg_kprobe
SEC("kprobe/do_nanosleep") int p(void *ctx) {
    u64 v;
    bpf_get_func_arg(ctx, 0, &v);
    return 0;
}

//# h_funcarg_tpbtf
SEC("tp_btf/sched_switch") int p(void *ctx) {
    u64 v;
    bpf_get_func_arg(ctx, 0, &v);
    return 0;
}

//# h_funcip_fentry
SEC("fentry/do_nanosleep") int p(void *ctx) {
    return bpf_get_func_ip(ctx) & 0;
    return 0;
}

//# h_funcip_kprobe
SEC("kprobe/do_nanosleep") int p(void *ctx) {
    return bpf_get_func_ip(ctx) & 0;
    return 0;
}

//# h_funcip_tpbtf
SEC("tp_btf/sched_switch") int p(void *ctx) {
    return bpf_get_func_ip(ctx) & 0;
    return 0;
}

//# h_funcret_fentry
SEC("fentry/do_nanosleep") int p(void *ctx) {
    u64 v;
    bpf_get_func_ret(ctx, &v);
    return 0;
}

//# h_funcret_fexit
SEC("fexit/do_nanosleep") int p(void *ctx) {
    u64 v;
    bpf_get_func_ret(ctx, &v);
    return 0;
}

//# h_kallsyms
SEC("syscall") int p(void *ctx) {
    u64 r;
    static const char n[] = "x";
    bpf_kallsyms_lookup_name(n, 2, 0, &r);
    return 0;
}

//# h_netkit empty
SEC("netkit/primary") int p(void *ctx) {
    ;
    return 0;
}

//# h_nf empty
SEC("netfilter") int p(void *ctx) {
    return 1;
    return 0;
}

//# h_nf_ctx
SEC("netfilter") int p(struct bpf_nf_ctx *ctx) {
    return ctx->state->hook & 1;
    return 0;
}

//# h_override
SEC("kprobe/__x64_sys_nanosleep") int p(void *ctx) {
    bpf_override_return(ctx, 0);
    return 0;
}

//# h_pidtgid_tc
SEC("tc") int p(void *ctx) {
    bpf_get_current_pid_tgid();
    return 0;
}

//# h_retval_conn
SEC("cgroup/connect4") int p(void *ctx) {
    return bpf_get_retval() & 1;
    return 0;
}

//# h_retval_getpeer
SEC("cgroup/getpeername4") int p(void *ctx) {
    bpf_get_retval();
    return 1;
    return 0;
}

//# h_retval_skb
SEC("cgroup_skb/egress") int p(void *ctx) {
    return bpf_get_retval() & 1;
    return 0;
}

//# h_setretval_dev
SEC("cgroup/dev") int p(void *ctx) {
    bpf_set_retval(-1);
    return 0;
}

//# h_setsockopt_bind
SEC("cgroup/bind4") int p(void *ctx) {
    int v = 1;
    bpf_setsockopt(ctx, 1, 2, &v, 4);
    return 1;
    return 0;
}

//# h_setsockopt_getpeer
SEC("cgroup/getpeername4") int p(void *ctx) {
    int v = 1;
    bpf_setsockopt(ctx, 1, 2, &v, 4);
    return 1;
    return 0;
}

//# h_setsockopt_post
SEC("cgroup/post_bind4") int p(void *ctx) {
    int v = 1;
    bpf_setsockopt(ctx, 1, 2, &v, 4);
    return 1;
    return 0;
}

//# h_setsockopt_sendmsg
SEC("cgroup/sendmsg4") int p(void *ctx) {
    int v = 1;
    bpf_setsockopt(ctx, 1, 2, &v, 4);
    return 1;
    return 0;
}

//# h_setsockopt_unix
SEC("cgroup/connect_unix") int p(void *ctx) {
    int v = 1;
    bpf_setsockopt(ctx, 1, 2, &v, 4);
    return 1;
    return 0;
}

//# h_sleep_data
u64 gg;
SEC("fentry.s/__x64_sys_nanosleep") int p(void *ctx) {
    gg++;
    return 0;
}

//# h_sleep_hash
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __type(key, u32);
    __type(value, u32);
    __uint(max_entries, 4);
    __uint(map_flags, BPF_F_NO_PREALLOC);
} m SEC(".maps");
SEC("fentry.s/__x64_sys_nanosleep") int p(void *ctx) {
    u32 k = 0;
    bpf_map_lookup_elem(&m, &k);
    return 0;
}

//# h_sleep_lpm
struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __type(key, u64);
    __type(value, u32);
    __uint(max_entries, 4);
    __uint(map_flags, BPF_F_NO_PREALLOC);
} m SEC(".maps");
SEC("fentry.s/__x64_sys_nanosleep") int p(void *ctx) {
    u64 k = 0;
    bpf_map_lookup_elem(&m, &k);
    return 0;
}

//# h_sleep_percpu
MAP(m, BPF_MAP_TYPE_PERCPU_HASH, u32, u32, 4);
SEC("fentry.s/__x64_sys_nanosleep") int p(void *ctx) {
    u32 k = 0;
    bpf_map_lookup_elem(&m, &k);
    return 0;
}

//# h_sleep_perf
struct {
    __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
    __uint(key_size, 4);
    __uint(value_size, 4);
} m SEC(".maps");
SEC("fentry.s/__x64_sys_nanosleep") int p(void *ctx) {
    u32 k = 0;
    bpf_perf_event_output(ctx, &m, 0, &k, 4);
    return 0;
}

//# h_sleep_progarray
MAP(m, BPF_MAP_TYPE_PROG_ARRAY, u32, u32, 2);
SEC("fentry.s/__x64_sys_nanosleep") int p(void *ctx) {
    bpf_tail_call(ctx, &m, 0);
    return 0;
}

//# h_sleep_queue
struct {
    __uint(type, BPF_MAP_TYPE_QUEUE);
    __type(value, u32);
    __uint(max_entries, 4);
} m SEC(".maps");
SEC("fentry.s/__x64_sys_nanosleep") int p(void *ctx) {
    u32 k = 0;
    bpf_map_push_elem(&m, &k, 0);
    return 0;
}

//# h_sleep_ringbuf
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4096);
} m SEC(".maps");
SEC("fentry.s/__x64_sys_nanosleep") int p(void *ctx) {
    u32 k = 0;
    bpf_ringbuf_output(&m, &k, 4, 0);
    return 0;
}

//# h_sleep_stackmap
struct {
    __uint(type, BPF_MAP_TYPE_STACK_TRACE);
    __uint(key_size, 4);
    __uint(value_size, 80);
    __uint(max_entries, 4);
} m SEC(".maps");
SEC("fentry.s/__x64_sys_nanosleep") int p(void *ctx) {
    bpf_get_stackid(ctx, &m, 0);
    return 0;
}

//# h_sleep_taskst
struct {
    __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, u64);
} m SEC(".maps");
SEC("lsm.s/file_open") int p(void *ctx) {
    u64 *v = bpf_task_storage_get(&m, bpf_get_current_task_btf(), 0, 1);
    return 0;
}

//# h_snprintf
SEC("raw_tp/sys_enter") int p(void *ctx) {
    char b[8];
    static const char f[] = "%d";
    u64 a = 1;
    bpf_snprintf(b, 8, f, &a, 8);
    return 0;
}

//# h_snprintf_badfmt
SEC("raw_tp/sys_enter") int p(void *ctx) {
    char b[8];
    static const char f[] = "%y";
    u64 a = 1;
    bpf_snprintf(b, 8, f, &a, 8);
    return 0;
}

//# h_snprintf_stackfmt
SEC("raw_tp/sys_enter") int p(void *ctx) {
    char b[8];
    char f[3] = "%d";
    u64 a = 1;
    bpf_snprintf(b, 8, f, &a, 8);
    return 0;
}

//# h_sockopt_setsock
SEC("cgroup/setsockopt") int p(struct bpf_sockopt *ctx) {
    struct bpf_sock *s = ctx->sk;
    int v = 1;
    if (s) bpf_setsockopt(s, 1, 2, &v, 4);
    return 1;
    return 0;
}

//# h_strncmp
SEC("raw_tp/sys_enter") int p(void *ctx) {
    char b[4] = "abc";
    static const char f[] = "abc";
    return bpf_strncmp(b, 4, f);
    return 0;
}

//# h_strncmp_stack
SEC("raw_tp/sys_enter") int p(void *ctx) {
    char b[4] = "abc";
    char f[4] = "abc";
    return bpf_strncmp(b, 4, f);
    return 0;
}

//# h_strtol_xdp
SEC("xdp") int p(void *ctx) {
    long v;
    char s[4] = "1";
    bpf_strtol(s, 4, 0, &v);
    return 0;
}

//# h_sys_bpf
SEC("syscall") int p(void *ctx) {
    union bpf_attr a = {};
    bpf_sys_bpf(0, &a, sizeof a);
    return 0;
}

//# h_sys_bpf_tp
SEC("raw_tp/sys_enter") int p(void *ctx) {
    union bpf_attr a = {};
    bpf_sys_bpf(0, &a, sizeof a);
    return 0;
}

//# h_tcpsock_sendmsg
SEC("cgroup/getsockopt") int p(struct bpf_sockopt *ctx) {
    struct bpf_sock *s = ctx->sk;
    if (s) bpf_tcp_sock(s);
    return 1;
    return 0;
}

//# h_tcx empty
SEC("tcx/ingress") int p(void *ctx) {
    ;
    return 0;
}

//# h_trace_vprintk
SEC("raw_tp/sys_enter") int p(void *ctx) {
    static const char f[] = "%d";
    u64 a = 1;
    bpf_trace_vprintk(f, 3, &a, 8);
    return 0;
}

//# h_unix empty
SEC("cgroup/connect_unix") int p(void *ctx) {
    return 1;
    return 0;
}

//# h_unix_field
SEC("cgroup/connect_unix") int p(struct bpf_sock_addr *ctx) {
    return ctx->user_port & 1;
    return 0;
}

//# h_xdp_cpumap empty
SEC("xdp/cpumap") int p(void *ctx) {
    return 2;
    return 0;
}

//# h_xdp_cpumap_frags empty
SEC("xdp.frags/cpumap") int p(void *ctx) {
    return 2;
    return 0;
}

//# h_xdp_devmap empty
SEC("xdp/devmap") int p(void *ctx) {
    return 2;
    return 0;
}

//# h_xdp_egress
SEC("xdp") int p(struct xdp_md *ctx) {
    return ctx->egress_ifindex;
    return 0;
}

//# h_xdp_egress_dm
SEC("xdp/devmap") int p(struct xdp_md *ctx) {
    return ctx->egress_ifindex;
    return 0;
}

//# h_xdp_frags empty
SEC("xdp.frags") int p(void *ctx) {
    return 2;
    return 0;
}

//# h_xdp_frags_buff
SEC("xdp.frags") int p(void *ctx) {
    return bpf_xdp_get_buff_len(ctx);
    return 0;
}

//# h_xdp_frags_helper
MAP(m, BPF_MAP_TYPE_DEVMAP, u32, u32, 2);
SEC("xdp.frags") int p(void *ctx) {
    return bpf_redirect_map(&m, 0, 0);
    return 0;
}

//# h_classid_xdp
SEC("xdp") int p(void *ctx) {
    KEEP(((u64(*)(void))BPF_FUNC_get_cgroup_classid)());
    return 2;
}

//# h_perf_read_tc
MAP(m, BPF_MAP_TYPE_PERF_EVENT_ARRAY, u32, u32, 4);
SEC("tc") int p(void *ctx) {
    KEEP(bpf_perf_event_read(&m, 0));
    return 0;
}

//# h_setsockopt_sockopt_ctx
SEC("cgroup/setsockopt") int p(void *ctx) {
    int on = 1;
    bpf_setsockopt(ctx, 1, 2, &on, sizeof on);
    return 1;
}

//# h_signal_tc
SEC("tc") int p(void *ctx) {
    bpf_send_signal(9);
    return 0;
}

//# h_sock_cookie_lsm
SEC("lsm/file_open") int p(void *ctx) {
    KEEP(bpf_get_socket_cookie(ctx));
    return 0;
}

//# h_sock_cookie_reuseport
SEC("sk_reuseport") int p(void *ctx) {
    KEEP(bpf_get_socket_cookie(ctx));
    return 1;
}

//# h_sock_cookie_syscall
SEC("syscall") int p(void *ctx) {
    KEEP(bpf_get_socket_cookie(ctx));
    return 0;
}

//# h_taskst_xdp
struct {
    __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, u64);
} m SEC(".maps");
SEC("xdp") int p(void *ctx) {
    bpf_task_storage_delete(&m, bpf_get_current_task_btf());
    return 2;
}

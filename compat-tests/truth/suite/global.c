// Global functions: what their arguments and results may be, as the object's own BTF tells.

//# g_6args
__noinline int g(int a, int b, int c, int d, int e) {
    asm volatile("");
    return a + b + c + d + e;
}
SEC("raw_tp/sys_enter") int p(u64 *ctx) { return g(1, 2, 3, 4, 5); }

//# g_arena empty
__noinline int g(void __arg_arena *x) { return 0; }
SEC("raw_tp/sys_enter") int p(u64 *ctx) { return g(0); }

//# g_argctx
__noinline int g(void *x __arg_ctx) {
    u64 *c = x;
    return c[1] == 0;
}
SEC("raw_tp/sys_enter") int p(u64 *ctx) { return g(ctx); }

//# g_argnullable
__noinline int g(struct task_struct *x __arg_trusted __arg_nullable) { return x ? x->pid : 0; }
SEC("tp_btf/sched_switch") int BPF_PROG(p, bool b, struct task_struct *t) {
    g(0);
    return 0;
}

//# g_bounds
__noinline int g(int i) {
    asm volatile("");
    return i & 3;
}
u32 arr[4];
SEC("raw_tp/sys_enter") int p(u64 *ctx) { return arr[g(ctx[1])]; }

//# g_bounds_ok
__noinline u32 g(int i) {
    asm volatile("");
    return i & 3;
}
u32 arr[4];
SEC("raw_tp/sys_enter") int p(u64 *ctx) { return arr[g(ctx[1]) & 3]; }

//# g_ctx_ok
__noinline int g(struct xdp_md *c) { return c->data_end - c->data; }
SEC("xdp") int p(struct xdp_md *ctx) { return g((void *)ctx); }

//# g_ctx_wrong
__noinline int g(struct __sk_buff *c) { return c->len; }
SEC("xdp") int p(struct xdp_md *ctx) { return g((void *)ctx); }

//# g_kptr
__noinline int g(struct task_struct *t) {
    if (!t) return 0;
    return t->pid;
}
SEC("tp_btf/sched_switch") int BPF_PROG(p, bool b, struct task_struct *t) { return g(t) & 0; }

//# g_longptr
__noinline int g(char *x, int n) { return x ? *x : n; }
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    char v = 1;
    return g(&v, 2);
}

//# g_nonnull
__noinline int g(u64 *x __arg_nonnull) { return *x; }
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 v = ctx[1];
    return g(&v);
}

//# g_ptr_nonull
__noinline int g(u64 *x) { return *x; }
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 v = ctx[1];
    return g(&v);
}

//# g_ptr_null
__noinline int g(u64 *x) {
    if (!x) return 0;
    return *x;
}
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 v = ctx[1];
    return g(&v);
}

//# g_retptr
u64 q;
__noinline u64 *g(int x) {
    asm volatile("");
    return &q;
}
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    KEEP(g(ctx[1]));
    return 0;
}

//# g_struct
__noinline int g(struct in6_addr *x) { return x ? x->in6_u.u6_addr32[1] : 0; }
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    struct in6_addr v = {};
    return g(&v);
}

//# g_struct_small
__noinline int g(struct in6_addr *x) { return x ? x->in6_u.u6_addr32[1] : 0; }
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 v = 0;
    return g((void *)&v);
}

//# g_trusted
__noinline int g(struct task_struct *t __arg_trusted) { return t->pid; }
SEC("tp_btf/sched_switch") int BPF_PROG(p, bool b, struct task_struct *t) {
    g(t);
    return 0;
}

//# g_unused_bad empty
__noinline int g(u64 *x) { return *x; }
SEC("raw_tp/sys_enter") int p(u64 *ctx) { return 0; }

//# g_void
__noinline void g(u64 *x) {
    if (x) *x = 1;
}
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 v = ctx[1];
    g(&v);
    return v;
}

//# g_void_ok
u64 q;
__noinline void g(int x) { q = x; }
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    g(ctx[1]);
    return 0;
}

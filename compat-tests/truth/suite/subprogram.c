// Subprograms: frames, stack, recursion, tail calls, callbacks.

//# s_callback
static __noinline long cb(u32 i, void *c) { return 0; }
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    bpf_loop(10, cb, 0, 0);
    return 0;
}

//# s_callback_args
static __noinline long cb(u32 i, int *c) { return *c; }
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    bpf_loop(10, cb, 0, 0);
    return 0;
}

//# s_callback_elem
MAP(m, BPF_MAP_TYPE_HASH, u32, u64, 4);
static __noinline long cb(void *mm, u32 *k, u64 *v, void *c) {
    *v += 1;
    return 0;
}
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    bpf_for_each_map_elem(&m, cb, 0, 0);
    return 0;
}

//# s_callback_ret
static __noinline long cb(u32 i, void *c) { return 5; }
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    bpf_loop(10, cb, 0, 0);
    return 0;
}

//# s_frames8
static __noinline int f0(int x) {
    asm volatile("");
    return x;
}
static __noinline int f1(int x) {
    asm volatile("");
    return f0(x) + 1;
}
static __noinline int f2(int x) {
    asm volatile("");
    return f1(x) + 1;
}
static __noinline int f3(int x) {
    asm volatile("");
    return f2(x) + 1;
}
static __noinline int f4(int x) {
    asm volatile("");
    return f3(x) + 1;
}
static __noinline int f5(int x) {
    asm volatile("");
    return f4(x) + 1;
}
static __noinline int f6(int x) {
    asm volatile("");
    return f5(x) + 1;
}
SEC("raw_tp/sys_enter") int p(u64 *ctx) { return f6(ctx[1]); }

//# s_frames9
static __noinline int f0(int x) {
    asm volatile("");
    return x;
}
static __noinline int f1(int x) {
    asm volatile("");
    return f0(x) + 1;
}
static __noinline int f2(int x) {
    asm volatile("");
    return f1(x) + 1;
}
static __noinline int f3(int x) {
    asm volatile("");
    return f2(x) + 1;
}
static __noinline int f4(int x) {
    asm volatile("");
    return f3(x) + 1;
}
static __noinline int f5(int x) {
    asm volatile("");
    return f4(x) + 1;
}
static __noinline int f6(int x) {
    asm volatile("");
    return f5(x) + 1;
}
static __noinline int f7(int x) {
    asm volatile("");
    return f6(x) + 1;
}
SEC("raw_tp/sys_enter") int p(u64 *ctx) { return f7(ctx[1]); }

//# s_frames9_global
__weak __noinline int f0(int x) {
    asm volatile("");
    return x;
}
__weak __noinline int f1(int x) {
    asm volatile("");
    return f0(x) + 1;
}
__weak __noinline int f2(int x) {
    asm volatile("");
    return f1(x) + 1;
}
__weak __noinline int f3(int x) {
    asm volatile("");
    return f2(x) + 1;
}
__weak __noinline int f4(int x) {
    asm volatile("");
    return f3(x) + 1;
}
__weak __noinline int f5(int x) {
    asm volatile("");
    return f4(x) + 1;
}
__weak __noinline int f6(int x) {
    asm volatile("");
    return f5(x) + 1;
}
__weak __noinline int f7(int x) {
    asm volatile("");
    return f6(x) + 1;
}
SEC("raw_tp/sys_enter") int p(u64 *ctx) { return f7(ctx[1]); }

//# s_recursion
__noinline int a(int x);
__noinline int b(int x) { return x > 3 ? a(x - 1) : 2; }
__noinline int a(int x) {
    asm volatile("");
    return x > 5 ? b(x - 1) + 1 : 1;
}
SEC("raw_tp/sys_enter") int p(u64 *ctx) { return a(ctx[1]); }

//# s_stack_sum
static __noinline int a(u64 x) {
    volatile char b[300];
    b[0] = x;
    asm volatile("" ::"r"(b) : "memory");
    return b[0];
}
static __noinline int b(u64 x) {
    volatile char b[300];
    b[0] = x;
    asm volatile("" ::"r"(b) : "memory");
    return b[0] + a(x);
}
SEC("raw_tp/sys_enter") int p(u64 *ctx) { return b(ctx[1]); }

//# s_stack_sum_kprobe
static __noinline int a(u64 x) {
    volatile char b[300];
    b[0] = x;
    asm volatile("" ::"r"(b) : "memory");
    return b[0];
}
static __noinline int b(u64 x) {
    volatile char b[300];
    b[0] = x;
    asm volatile("" ::"r"(b) : "memory");
    return b[0] + a(x);
}
SEC("kprobe/do_nanosleep") int p(u64 *ctx) { return b(ctx[1]); }

//# s_stack_sum_ok
static __noinline int a(u64 x) {
    volatile char b[200];
    b[0] = x;
    asm volatile("" ::"r"(b) : "memory");
    return b[0];
}
static __noinline int b(u64 x) {
    volatile char b[200];
    b[0] = x;
    asm volatile("" ::"r"(b) : "memory");
    return b[0] + a(x);
}
SEC("raw_tp/sys_enter") int p(u64 *ctx) { return b(ctx[1]); }

//# s_tailcall_sub
MAP(m, BPF_MAP_TYPE_PROG_ARRAY, u32, u32, 2);
static __noinline int a(void *c) {
    bpf_tail_call(c, &m, 0);
    asm volatile("");
    return 1;
}
SEC("tc") int p(struct __sk_buff *ctx) { return a(ctx); }

//# s_tailcall_sub_int
MAP(m, BPF_MAP_TYPE_PROG_ARRAY, u32, u32, 2);
static __noinline u64 a(void *c) {
    bpf_tail_call(c, &m, 0);
    asm volatile("");
    return 1;
}
SEC("tc") int p(struct __sk_buff *ctx) { return a(ctx); }

//# s_tailcall_sub_stack
MAP(m, BPF_MAP_TYPE_PROG_ARRAY, u32, u32, 2);
static __noinline int a(void *c) {
    bpf_tail_call(c, &m, 0);
    asm volatile("");
    return 1;
}
SEC("tc") int p(struct __sk_buff *ctx) {
    volatile char b[300];
    b[1] = 1;
    asm volatile("" ::"r"(b) : "memory");
    return a(ctx);
}

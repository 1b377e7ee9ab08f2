// Tests in front of a helper or a field that old kernels do not have: which of them the verifier decides.

//# gd_after_ret empty
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    return 0;
    r = 1;
    return r & 1;
}

//# gd_and_mask
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    int e = HAS_TAI;
    if ((e | 2) & 1) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_asm_or
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    u64 e = HAS_TAI;
    asm volatile("" : "+r"(e));
    if (e) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_bss
volatile u64 on;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (on) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_cbk
static __noinline long cb(u32 i, void *c) {
    if (HAS_TAI) bpf_ktime_get_tai_ns();
    return 0;
}
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop)) bpf_loop(5, cb, 0, 0);
    return r & 1;
}

//# gd_cmp32
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    int e = HAS_TAI;
    if ((u32)e << 31 >> 31) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_data
bool on = 0;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (on) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_enum
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (HAS_TAI) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_enum_and_rt
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (HAS_TAI && ctx[1]) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_enum_else
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (!HAS_TAI) r = 1;
    else r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_enum_inv
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (!HAS_TAI) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_enum_or_rt
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (HAS_TAI || ctx[1]) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_enumval
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (bpf_core_enum_value(enum bpf_func_id, BPF_FUNC_get_stack) == 67) r = 1;
    else r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_enumval_missing
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    r = bpf_core_enum_value(enum bpf_func_id, BPF_FUNC_ktime_get_tai_ns);
    return r & 1;
}

//# gd_field
struct task_struct___x {
    int no_such_field;
} __core;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    struct task_struct___x *t = (void *)0;
    if (bpf_core_field_exists(t->no_such_field)) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_field_missing
struct task_struct___y {
    int nofield;
} __core;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    struct task_struct___y *t = (void *)bpf_get_current_task();
    r = BPF_CORE_READ(t, nofield);
    return r & 1;
}

//# gd_field_state
struct task_struct___o {
    long state;
} __core;
struct task_struct___n {
    unsigned __state;
} __core;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    struct task_struct___n *t = (void *)bpf_get_current_task();
    if (bpf_core_field_exists(t->__state)) r = BPF_CORE_READ(t, __state);
    else r = BPF_CORE_READ((struct task_struct___o *)t, state);
    return r & 1;
}

//# gd_field_state_mix
struct task_struct___o {
    long state;
} __core;
struct task_struct___n {
    unsigned __state;
} __core;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    struct task_struct___n *t = (void *)bpf_get_current_task();
    if (!bpf_core_field_exists(t->__state)) r = BPF_CORE_READ(t, __state);
    else r = BPF_CORE_READ((struct task_struct___o *)t, state);
    return r & 1;
}

//# gd_glob_arg
__noinline __weak u64 f(int e) {
    if (e) return bpf_ktime_get_tai_ns();
    return 0;
}
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    r = f(HAS_TAI);
    return r & 1;
}

//# gd_glob_dead
__noinline __weak u64 f(void) { return bpf_ktime_get_tai_ns(); }
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (HAS_TAI) r = f();
    return r & 1;
}

//# gd_glob_inside
__noinline __weak u64 f(void) {
    if (HAS_TAI) return bpf_ktime_get_tai_ns();
    return 0;
}
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    r = f();
    return r & 1;
}

//# gd_glob_ret
__noinline __weak int f(void) { return HAS_TAI; }
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (f()) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_kc_bool
extern bool CONFIG_BPF_LSM __kconfig __weak;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (CONFIG_BPF_LSM) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_kc_boolmod
extern bool CONFIG_NETFILTER_XTABLES __kconfig;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (CONFIG_NETFILTER_XTABLES) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_kc_cookie
extern u32 LINUX_HAS_BPF_COOKIE __kconfig;
SEC("kprobe/do_nanosleep") int p(u64 *ctx) {
    u64 r = 0;
    if (LINUX_HAS_BPF_COOKIE) r = bpf_get_attach_cookie(ctx);
    return r & 1;
}

//# gd_kc_hz
extern int CONFIG_HZ __kconfig;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (CONFIG_HZ == 250) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_kc_missing
extern bool CONFIG_NO_SUCH __kconfig __weak;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (CONFIG_NO_SUCH) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_kc_str
extern char CONFIG_DEFAULT_HOSTNAME[20] __kconfig;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (CONFIG_DEFAULT_HOSTNAME[0] == '(') r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_kc_str_short
extern char CONFIG_CC_VERSION_TEXT[4] __kconfig;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    r = CONFIG_CC_VERSION_TEXT[0];
    return r & 1;
}

//# gd_kc_strong_missing
extern int CONFIG_NO_SUCH __kconfig;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    r = CONFIG_NO_SUCH;
    return r & 1;
}

//# gd_kc_syscallwr
extern u32 LINUX_HAS_SYSCALL_WRAPPER __kconfig;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (!LINUX_HAS_SYSCALL_WRAPPER) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_kc_tri
extern enum libbpf_tristate CONFIG_IPV6 __kconfig;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (CONFIG_IPV6 == TRI_YES) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_kc_tri_mod
extern enum libbpf_tristate CONFIG_NETFILTER_XTABLES __kconfig;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (CONFIG_NETFILTER_XTABLES == TRI_MODULE) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_kc_u8_hz
extern unsigned char CONFIG_NR_CPUS __kconfig;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    r = CONFIG_NR_CPUS;
    return r & 1;
}

//# gd_kf_weak
extern u64 bpf_nosuch(void) __ksym __weak;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (bpf_nosuch) r = bpf_nosuch();
    return r & 1;
}

//# gd_kf_weak_exists
extern u64 bpf_nosuch(void) __ksym __weak;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (bpf_ksym_exists(bpf_nosuch)) r = bpf_nosuch();
    return r & 1;
}

//# gd_kf_weak_inv
extern u64 bpf_nosuch(void) __ksym __weak;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (!bpf_nosuch) r = bpf_nosuch();
    return r & 1;
}

//# gd_kf_weak_unguard
extern u64 bpf_nosuch(void) __ksym __weak;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    r = bpf_nosuch();
    return r & 1;
}

//# gd_ks_nonpercpu
extern const struct task_struct init_task __ksym;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    r = init_task.pid;
    return r & 1;
}

//# gd_ks_rq_badtype
struct rqq {
    int a;
};
extern const struct rqq runqueues __ksym;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    KEEP(&runqueues);
    return r & 1;
}

//# gd_ks_strong
extern const void nosuchvar __ksym;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    r = (u64)&nosuchvar;
    return r & 1;
}

//# gd_ks_this
extern const int bpf_prog_active __ksym;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    r = *(int *)bpf_this_cpu_ptr(&bpf_prog_active);
    return r & 1;
}

//# gd_ks_typed
extern const int bpf_prog_active __ksym;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    int *x = bpf_per_cpu_ptr(&bpf_prog_active, 0);
    r = x ? *x : 0;
    return r & 1;
}

//# gd_ks_typed_rq
extern const struct rq runqueues __ksym;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    struct rq *x = bpf_per_cpu_ptr(&runqueues, 0);
    r = x ? x->cpu : 0;
    return r & 1;
}

//# gd_ks_typeless
extern const void init_task __ksym;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    KEEP(&init_task);
    return r & 1;
}

//# gd_ks_weak
extern const void nosuchvar __ksym __weak;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (&nosuchvar) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_ks_write
extern struct rq runqueues __ksym;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    struct rq *x = bpf_this_cpu_ptr(&runqueues);
    x->cpu = 1;
    return r & 1;
}

//# gd_loop
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    int e = HAS_TAI;
    for (int i = 0; i < ctx[1] && i < 50; i++)
        if (e) r += bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_loopcount
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    int n = HAS_TAI ? 3 : 0;
    for (volatile int i = 0; i < n; i++) r += bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_mapguard
MAP(m, BPF_MAP_TYPE_ARRAY, u32, u32, 1);
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    u32 k = 0;
    u32 *v = bpf_map_lookup_elem(&m, &k);
    if (v && *v) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_neg
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    long e = HAS_TAI;
    if (-e < 0) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_nested
const volatile int on = 1;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (on) {
        if (HAS_TAI) r = bpf_ktime_get_tai_ns();
    };
    return r & 1;
}

//# gd_none
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_rodata0
const volatile bool on = 0;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (on) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_rodata1
const volatile bool on = 1;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (on) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_rodata_arr
const volatile int a[4] = {0, 1, 0, 0};
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (a[2]) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_rodata_arr_idx
const volatile int a[4] = {0, 0, 0, 0};
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (a[ctx[1] & 3]) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_stack
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    volatile int e = HAS_TAI;
    if (e) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_stack_struct
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    volatile struct {
        int a, b;
    } s = {1, HAS_TAI};
    if (s.b) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_sub_arg
static __noinline u64 f(int e) {
    if (e) return bpf_ktime_get_tai_ns();
    return 0;
}
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    r = f(HAS_TAI);
    return r & 1;
}

//# gd_sub_dead
static __noinline u64 f(void) { return bpf_ktime_get_tai_ns(); }
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (HAS_TAI) r = f();
    return r & 1;
}

//# gd_sub_ret
static __noinline int f(void) {
    asm volatile("");
    return HAS_TAI;
}
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (f()) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_switch
const volatile int mode = 2;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    switch (mode) {
    case 1:
        r = bpf_ktime_get_tai_ns();
        break;
    case 2:
        r = 3;
        break;
    case 3:
        r = bpf_ktime_get_ns();
    };
    return r & 1;
}

//# gd_typeexists
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (bpf_core_type_exists(struct bpf_iter_num)) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_typesize
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (bpf_core_type_size(struct task_struct) > 100000) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_unused_glob empty
__noinline __weak u64 f(void) { return bpf_ktime_get_tai_ns(); }
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    r = 1;
    return r & 1;
}

//# gd_unused_static empty
static __used __noinline u64 f(void) { return bpf_ktime_get_tai_ns(); }
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    r = 1;
    return r & 1;
}

//# gd_version
extern int LINUX_KERNEL_VERSION __kconfig;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (LINUX_KERNEL_VERSION >= (6 << 16 | 1 << 8)) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_version_div
extern int LINUX_KERNEL_VERSION __kconfig;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if ((u32)LINUX_KERNEL_VERSION / 65536 >= 6) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_version_inv
extern int LINUX_KERNEL_VERSION __kconfig;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (LINUX_KERNEL_VERSION < (6 << 16 | 1 << 8)) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_version_mod
extern int LINUX_KERNEL_VERSION __kconfig;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if ((u32)LINUX_KERNEL_VERSION % 65536 >= 256) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_version_range
extern int LINUX_KERNEL_VERSION __kconfig;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (LINUX_KERNEL_VERSION > (5 << 16) && LINUX_KERNEL_VERSION < (6 << 16)) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_version_shift
extern int LINUX_KERNEL_VERSION __kconfig;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if ((LINUX_KERNEL_VERSION >> 16) >= 6) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

//# gd_version_sub
extern int LINUX_KERNEL_VERSION __kconfig;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 r = 0;
    if (LINUX_KERNEL_VERSION - (6 << 16) >= 0) r = bpf_ktime_get_tai_ns();
    return r & 1;
}

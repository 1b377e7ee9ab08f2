// Kernel functions by program type, prototype, flags, licence and weakness.

//# k_arena_alloc
extern void *bpf_arena_alloc_pages(void *m, void *a, u32 n, int i, u64 f) __ksym;
struct {
    __uint(type, BPF_MAP_TYPE_ARENA);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 10);
} m SEC(".maps");
SEC("syscall") int p(void *ctx) { return bpf_arena_alloc_pages(&m, 0, 1, -1, 0) != 0; }

//# k_cgroupfid
extern struct cgroup *bpf_cgroup_from_id(u64 i) __ksym;
extern void bpf_cgroup_release(struct cgroup *c) __ksym;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    struct cgroup *c = bpf_cgroup_from_id(1);
    if (c) bpf_cgroup_release(c);
    return 0;
}

//# k_cpumask
extern struct bpf_cpumask *bpf_cpumask_create(void) __ksym;
extern void bpf_cpumask_release(struct bpf_cpumask *) __ksym;
SEC("tp_btf/task_newtask") int p(u64 *ctx) {
    struct bpf_cpumask *m = bpf_cpumask_create();
    if (m) bpf_cpumask_release(m);
    return 0;
}

//# k_cpumask_xdp
extern struct bpf_cpumask *bpf_cpumask_create(void) __ksym;
extern void bpf_cpumask_release(struct bpf_cpumask *) __ksym;
SEC("xdp") int p(u64 *ctx) {
    struct bpf_cpumask *m = bpf_cpumask_create();
    if (m) bpf_cpumask_release(m);
    return 0;
}

//# k_ct empty
extern struct nf_conn *bpf_xdp_ct_lookup(struct xdp_md *c, struct bpf_sock_tuple *t, u32 n, void *o, u32 on)
    __ksym;
SEC("xdp") int p(struct xdp_md *ctx) { return 0; }

//# k_dynptr_skb
extern int bpf_dynptr_from_skb(struct __sk_buff *s, u64 f, struct bpf_dynptr *p) __ksym;
SEC("tc") int p(struct __sk_buff *ctx) {
    struct bpf_dynptr d;
    bpf_dynptr_from_skb(ctx, 0, &d);
    return 0;
}

//# k_dynptr_xdp_tc
extern int bpf_dynptr_from_xdp(struct xdp_md *s, u64 f, struct bpf_dynptr *p) __ksym;
SEC("tc") int p(struct __sk_buff *ctx) {
    struct bpf_dynptr d;
    bpf_dynptr_from_xdp((void *)ctx, 0, &d);
    return 0;
}

//# k_file_xattr
extern int bpf_get_file_xattr(struct file *f, const char *n, struct bpf_dynptr *v) __ksym;
SEC("lsm.s/file_open") int p(u64 *ctx) {
    struct bpf_dynptr d;
    char b[8];
    bpf_dynptr_from_mem(b, 8, 0, &d);
    return bpf_get_file_xattr((void *)ctx[0], "user.a", &d) & 0;
}

//# k_irq
extern void bpf_local_irq_save(unsigned long *f) __ksym;
extern void bpf_local_irq_restore(unsigned long *f) __ksym;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    unsigned long f;
    bpf_local_irq_save(&f);
    bpf_local_irq_restore(&f);
    return 0;
}

//# k_iter_task
extern int bpf_iter_task_new(struct bpf_iter_task *it, struct task_struct *t, unsigned f) __ksym;
extern void bpf_iter_task_destroy(struct bpf_iter_task *it) __ksym;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    struct bpf_iter_task i;
    bpf_iter_task_new(&i, 0, 1);
    bpf_iter_task_destroy(&i);
    return 0;
}

//# k_iternum
extern int bpf_iter_num_new(struct bpf_iter_num *it, int s, int e) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    struct bpf_iter_num i;
    int *v;
    bpf_iter_num_new(&i, 0, 10);
    while ((v = bpf_iter_num_next(&i)));
    bpf_iter_num_destroy(&i);
    return 0;
}

//# k_iternum_leak
extern int bpf_iter_num_new(struct bpf_iter_num *it, int s, int e) __ksym;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    struct bpf_iter_num i;
    bpf_iter_num_new(&i, 0, 10);
    return 0;
}

//# k_noset
extern void schedule(void) __ksym;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    schedule();
    return 0;
}

//# k_objnew
extern void *bpf_obj_new_impl(u64 id, void *m) __ksym;
extern void bpf_obj_drop_impl(void *p, void *m) __ksym;
struct nd {
    u64 x;
};
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    void *p = bpf_obj_new_impl(bpf_core_type_id_local(struct nd), 0);
    if (p) bpf_obj_drop_impl(p, 0);
    return 0;
}

//# k_preempt
extern void bpf_preempt_disable(void) __ksym;
extern void bpf_preempt_enable(void) __ksym;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    bpf_preempt_disable();
    bpf_preempt_enable();
    return 0;
}

//# k_proto
extern struct task_struct *bpf_task_acquire(struct cgroup *p) __ksym;
SEC("tp_btf/task_newtask") int p(u64 *ctx) { return bpf_task_acquire((void *)ctx[0]) != 0; }

//# k_proto_args
extern struct task_struct *bpf_task_from_pid(s32 p, s32 q) __ksym;
SEC("raw_tp/sys_enter") int p(u64 *ctx) { return bpf_task_from_pid(1, 2) != 0; }

//# k_rcu
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    bpf_rcu_read_lock();
    bpf_rcu_read_unlock();
    return 0;
}

//# k_rcu_nounlock
extern void bpf_rcu_read_lock(void) __ksym;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    bpf_rcu_read_lock();
    return 0;
}

//# k_sleepable_ns
extern int bpf_copy_from_user_str(void *d, u32 n, const void *s, u64 f) __ksym;
SEC("tp_btf/sched_switch") int p(u64 *ctx) {
    char b[8];
    bpf_copy_from_user_str(b, 8, 0, 0);
    return 0;
}

//# k_sleepable_s
extern int bpf_copy_from_user_str(void *d, u32 n, const void *s, u64 f) __ksym;
SEC("fentry.s/__x64_sys_nanosleep") int p(u64 *ctx) {
    char b[8];
    bpf_copy_from_user_str(b, 8, 0, 0);
    return 0;
}

//# k_strcmp
extern int bpf_strcmp(const char *a, const char *b) __ksym;
SEC("raw_tp/sys_enter") int p(u64 *ctx) { return bpf_strcmp("a", "b") & 0; }

//# k_task_kprobe
extern struct task_struct *bpf_task_acquire(struct task_struct *p) __ksym;
extern void bpf_task_release(struct task_struct *p) __ksym;
SEC("kprobe/do_nanosleep") int p(u64 *ctx) {
    struct task_struct *t = bpf_task_acquire((void *)bpf_get_current_task_btf());
    if (t) bpf_task_release(t);
    return 0;
}

//# k_task_leak
extern struct task_struct *bpf_task_acquire(struct task_struct *p) __ksym;
extern void bpf_task_release(struct task_struct *p) __ksym;
SEC("tp_btf/task_newtask") int p(u64 *ctx) {
    struct task_struct *t = bpf_task_acquire((void *)ctx[0]);
    return 0;
}

//# k_task_nogpl licence=MIT
extern struct task_struct *bpf_task_acquire(struct task_struct *p) __ksym;
extern void bpf_task_release(struct task_struct *p) __ksym;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    struct task_struct *t = bpf_task_acquire((void *)0);
    return 0;
}

//# k_task_nonull
extern struct task_struct *bpf_task_acquire(struct task_struct *p) __ksym;
extern void bpf_task_release(struct task_struct *p) __ksym;
SEC("tp_btf/task_newtask") int p(u64 *ctx) {
    struct task_struct *t = bpf_task_acquire((void *)ctx[0]);
    bpf_task_release(t);
    return 0;
}

//# k_task_ok
extern struct task_struct *bpf_task_acquire(struct task_struct *p) __ksym;
extern void bpf_task_release(struct task_struct *p) __ksym;
SEC("tp_btf/task_newtask") int p(u64 *ctx) {
    struct task_struct *t = bpf_task_acquire((void *)ctx[0]);
    if (t) bpf_task_release(t);
    return 0;
}

//# k_task_socket
extern struct task_struct *bpf_task_from_pid(s32 p) __ksym;
extern void bpf_task_release(struct task_struct *p) __ksym;
SEC("socket") int p(void *ctx) {
    struct task_struct *t = bpf_task_from_pid(1);
    if (t) bpf_task_release(t);
    return 0;
}

//# k_task_tc
extern struct task_struct *bpf_task_acquire(struct task_struct *p) __ksym;
extern void bpf_task_release(struct task_struct *p) __ksym;
SEC("tc") int p(u64 *ctx) {
    struct task_struct *t = bpf_task_acquire((void *)bpf_get_current_task_btf());
    if (t) bpf_task_release(t);
    return 0;
}

//# k_task_untrusted
extern struct task_struct *bpf_task_acquire(struct task_struct *p) __ksym;
extern void bpf_task_release(struct task_struct *p) __ksym;
SEC("tp_btf/task_newtask") int p(u64 *ctx) {
    struct task_struct *t = (void *)ctx[0];
    t = bpf_task_acquire(t->group_leader->real_parent);
    if (t) bpf_task_release(t);
    return 0;
}

//# k_task_xdp
extern struct task_struct *bpf_task_from_pid(s32 p) __ksym;
extern void bpf_task_release(struct task_struct *p) __ksym;
SEC("xdp") int p(void *ctx) {
    struct task_struct *t = bpf_task_from_pid(1);
    if (t) bpf_task_release(t);
    return 0;
}

//# k_throw
extern void bpf_throw(u64 c) __ksym;
SEC("tc") int p(void *ctx) {
    bpf_throw(0);
    return 0;
}

//# k_unused_strong
extern void bpf_nosuch2(void) __ksym;
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    if (ctx[1] == 5) bpf_nosuch2();
    return 0;
}

//# k_wq
extern int bpf_wq_init(struct bpf_wq *w, void *m, unsigned f) __ksym;
struct val {
    struct bpf_wq w;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("tc") int p(u64 *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (v) bpf_wq_init(&v->w, &m, 0);
    return 0;
}

//# k_xdpmeta
extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *c, u64 *t) __ksym;
SEC("xdp") int p(struct xdp_md *ctx) {
    u64 t;
    return bpf_xdp_metadata_rx_timestamp(ctx, &t) & 0;
}

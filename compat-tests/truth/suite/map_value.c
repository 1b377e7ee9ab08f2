// Fields in map values (locks, timers, lists, kernel pointers) by map and program type.

//# val_dynptr_inmap
struct val {
    struct bpf_dynptr d;
    u64 x;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("tc") int p(struct __sk_buff *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    v->x = 1;
    return 0;
}

//# val_kptr
struct val {
    struct task_struct __kptr *t;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("tc") int p(struct __sk_buff *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    v->t ? 0 : 0;
    return 0;
}

//# val_kptr_untrusted
struct val {
    struct task_struct __kptr_untrusted *t;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("tc") int p(struct __sk_buff *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    v->t ? 0 : 0;
    return 0;
}

//# val_kptr_xchg
extern void bpf_task_release(struct task_struct *) __ksym;
struct val {
    struct task_struct __kptr *t;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("tc") int p(struct __sk_buff *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    void *o = bpf_kptr_xchg(&v->t, 0);
    if (o) bpf_task_release(o);
    return 0;
}

//# val_listhead
struct nodeq {
    struct bpf_list_node n;
    u64 d;
};
struct nodeq dummyq;
struct val {
    struct bpf_spin_lock l;
    struct bpf_list_head h __attribute__((btf_decl_tag("contains:nodeq:n")));
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("tc") int p(struct __sk_buff *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    (void)0;
    return 0;
}

//# val_percpu_kptr
struct xx {
    u64 a;
};
struct val {
    struct xx __attribute__((btf_type_tag("percpu_kptr"))) * t;
    u64 x;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("tc") int p(struct __sk_buff *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    v->x = 1;
    return 0;
}

//# val_rbroot_nolock
struct nodeq {
    struct bpf_rb_node n;
    u64 d;
};
struct nodeq dummyq;
struct val {
    struct bpf_rb_root h __attribute__((btf_decl_tag("contains:nodeq:n")));
    u64 x;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("tc") int p(struct __sk_buff *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    v->x = 1;
    return 0;
}

//# val_refcount
struct val {
    struct bpf_refcount r;
    u64 x;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("tc") int p(struct __sk_buff *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    v->x = 1;
    return 0;
}

//# val_resspin
struct val {
    struct bpf_res_spin_lock r;
    u64 x;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("tc") int p(struct __sk_buff *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    v->x = 1;
    return 0;
}

//# val_spin
struct val {
    struct bpf_spin_lock l;
    u64 x;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("tc") int p(struct __sk_buff *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    bpf_spin_lock(&v->l);
    v->x++;
    bpf_spin_unlock(&v->l);
    return 0;
}

//# val_spin_helper
struct val {
    struct bpf_spin_lock l;
    u64 x;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("tc") int p(struct __sk_buff *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    bpf_spin_lock(&v->l);
    v->x = bpf_ktime_get_ns();
    bpf_spin_unlock(&v->l);
    return 0;
}

//# val_spin_kprobe
struct val {
    struct bpf_spin_lock l;
    u64 x;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("kprobe/do_nanosleep") int p(void *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    bpf_spin_lock(&v->l);
    v->x++;
    bpf_spin_unlock(&v->l);
    return 0;
}

//# val_spin_kprobe_unused
struct val {
    struct bpf_spin_lock l;
    u64 x;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("kprobe/do_nanosleep") int p(void *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    v->x++;
    return 0;
}

//# val_spin_noun
struct val {
    struct bpf_spin_lock l;
    u64 x;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("tc") int p(struct __sk_buff *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    bpf_spin_lock(&v->l);
    v->x++;
    return 0;
}

//# val_spin_raw_tp
struct val {
    struct bpf_spin_lock l;
    u64 x;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    bpf_spin_lock(&v->l);
    v->x++;
    bpf_spin_unlock(&v->l);
    return 0;
}

//# val_spin_socket
struct val {
    struct bpf_spin_lock l;
    u64 x;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("socket") int p(struct __sk_buff *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    v->x++;
    return 0;
}

//# val_taskwork
struct val {
    struct bpf_task_work r;
    u64 x;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("tc") int p(struct __sk_buff *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    v->x = 1;
    return 0;
}

//# val_timer
struct val {
    struct bpf_timer t;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("tc") int p(struct __sk_buff *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    bpf_timer_init(&v->t, &m, 0);
    return 0;
}

//# val_timer_lru
struct val {
    struct bpf_timer t;
    u64 x;
};
MAP(m, BPF_MAP_TYPE_PERCPU_ARRAY, u32, struct val, 1);
SEC("tc") int p(struct __sk_buff *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    v->x = 1;
    return 0;
}

//# val_timer_tracing
struct val {
    struct bpf_timer t;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    bpf_timer_init(&v->t, &m, 0);
    return 0;
}

//# val_timer_unused
struct val {
    struct bpf_timer t;
    u64 x;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("tc") int p(struct __sk_buff *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    v->x = 1;
    return 0;
}

//# val_timer_write
struct val {
    struct bpf_timer t;
    u64 x;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("tc") int p(struct __sk_buff *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    *(u64 *)&v->t = 1;
    return 0;
}

//# val_two_timers
struct val {
    struct bpf_timer t;
    struct bpf_timer u;
    u64 x;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("tc") int p(struct __sk_buff *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    v->x = 1;
    return 0;
}

//# val_uptr
struct val {
    struct task_struct __attribute__((btf_type_tag("uptr"))) * t;
    u64 x;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("tc") int p(struct __sk_buff *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    v->x = 1;
    return 0;
}

//# val_wq
struct val {
    struct bpf_wq w;
    u64 x;
};
MAP(m, BPF_MAP_TYPE_ARRAY, u32, struct val, 1);
SEC("tc") int p(struct __sk_buff *ctx) {
    u32 k = 0;
    struct val *v = bpf_map_lookup_elem(&m, &k);
    if (!v) return 0;
    v->x = 1;
    return 0;
}

// Maps that the kernel creates, or does not: key, value, flags, entries.

//# map_arena
struct {
    __uint(type, BPF_MAP_TYPE_ARENA);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 10);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    void *x = &m;
    asm volatile("" ::"r"(x));
    return 0;
}

//# map_array_inner
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(key_size, 4);
    __uint(value_size, 8);
    __uint(max_entries, 8);
    __uint(map_flags, BPF_F_INNER_MAP);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u64 k = 0;
    return bpf_map_lookup_elem(&m, &k) != 0;
}

//# map_array_key8
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(key_size, 8);
    __uint(value_size, 8);
    __uint(max_entries, 8);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u64 k = 0;
    return bpf_map_lookup_elem(&m, &k) != 0;
}

//# map_array_noprealloc
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(key_size, 4);
    __uint(value_size, 8);
    __uint(max_entries, 8);
    __uint(map_flags, BPF_F_NO_PREALLOC);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u64 k = 0;
    return bpf_map_lookup_elem(&m, &k) != 0;
}

//# map_array_rdonly_wronly
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(key_size, 4);
    __uint(value_size, 8);
    __uint(max_entries, 8);
    __uint(map_flags, BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u64 k = 0;
    return bpf_map_lookup_elem(&m, &k) != 0;
}

//# map_bloom
struct {
    __uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
    __uint(value_size, 8);
    __uint(max_entries, 8);
    __uint(map_extra, 3);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u64 k = 0;
    return bpf_map_peek_elem(&m, &k);
}

//# map_bloom_extra
struct {
    __uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
    __uint(value_size, 8);
    __uint(max_entries, 8);
    __uint(map_extra, 20);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u64 k = 0;
    return bpf_map_peek_elem(&m, &k);
}

//# map_bloom_key empty
struct {
    __uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
    __uint(key_size, 4);
    __uint(value_size, 8);
    __uint(max_entries, 8);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u64 k = 0;
    return 0;
}

//# map_hash_bigkey empty
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(key_size, 600);
    __uint(value_size, 8);
    __uint(max_entries, 1);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u64 k = 0;
    return 0;
}

//# map_hash_flag_bit20
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(key_size, 4);
    __uint(value_size, 8);
    __uint(max_entries, 8);
    __uint(map_flags, 1 << 20);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u64 k = 0;
    return bpf_map_lookup_elem(&m, &k) != 0;
}

//# map_hash_mmap
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(key_size, 4);
    __uint(value_size, 8);
    __uint(max_entries, 8);
    __uint(map_flags, BPF_F_MMAPABLE);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u64 k = 0;
    return bpf_map_lookup_elem(&m, &k) != 0;
}

//# map_hash_zero_key
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(key_size, 0);
    __uint(value_size, 8);
    __uint(max_entries, 8);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u64 k = 0;
    return bpf_map_lookup_elem(&m, &k) != 0;
}

//# map_lpm_prealloc
struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(key_size, 8);
    __uint(value_size, 8);
    __uint(max_entries, 8);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u64 k = 0;
    return bpf_map_lookup_elem(&m, &k) != 0;
}

//# map_lru_nocommon_hash
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(key_size, 4);
    __uint(value_size, 8);
    __uint(max_entries, 8);
    __uint(map_flags, BPF_F_NO_COMMON_LRU);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u64 k = 0;
    return bpf_map_lookup_elem(&m, &k) != 0;
}

//# map_lru_noprealloc
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(key_size, 4);
    __uint(value_size, 8);
    __uint(max_entries, 8);
    __uint(map_flags, BPF_F_NO_PREALLOC);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u64 k = 0;
    return bpf_map_lookup_elem(&m, &k) != 0;
}

//# map_mim_mim
struct in {
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
    __uint(max_entries, 4);
    __uint(key_size, 4);
    __uint(value_size, 4);
};
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, 2);
    __type(key, u32);
    __array(values, struct in);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u32 k = 0;
    void *i = bpf_map_lookup_elem(&m, &k);
    return i != 0;
}

//# map_mim_noflag
struct in {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4096);
};
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, 2);
    __type(key, u32);
    __array(values, struct in);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u32 k = 0;
    void *i = bpf_map_lookup_elem(&m, &k);
    return i != 0;
}

//# map_percpu_big
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(key_size, 4);
    __uint(value_size, 65536);
    __uint(max_entries, 1);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u64 k = 0;
    u32 z = 0;
    return bpf_map_lookup_elem(&m, &z) != 0;
}

//# map_percpu_cgroup_storage
struct {
    __uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
    __type(key, struct bpf_cgroup_storage_key);
    __type(value, u64);
    __uint(max_entries, 5);
} m SEC(".maps");
SEC("cgroup_skb/egress") int p(struct __sk_buff *ctx) {
    u64 *v = bpf_get_local_storage(&m, 0);
    *v = 1;
    return 1;
}

//# map_perf_value8
struct {
    __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
    __uint(key_size, 4);
    __uint(value_size, 8);
    __uint(max_entries, 8);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u64 k = 0;
    return bpf_perf_event_output(ctx, &m, 0, &k, 8);
}

//# map_queue_key
struct {
    __uint(type, BPF_MAP_TYPE_QUEUE);
    __uint(key_size, 4);
    __uint(value_size, 8);
    __uint(max_entries, 8);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u64 k = 0;
    return bpf_map_peek_elem(&m, &k);
}

//# map_ringbuf_ovw
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4096);
    __uint(map_flags, 1 << 19);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u64 v = 0;
    bpf_ringbuf_output(&m, &v, 8, 0);
    return 0;
}

//# map_ringbuf_smallsz
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(key_size, 4);
    __uint(max_entries, 4096);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u64 v = 0;
    bpf_ringbuf_output(&m, &v, 8, 0);
    return 0;
}

//# map_sk_storage_nobtf empty
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(key_size, 4);
    __uint(value_size, 8);
    __uint(map_flags, BPF_F_NO_PREALLOC);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u64 k = 0;
    return 0;
}

//# map_task_storage
struct {
    __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, u64);
} m SEC(".maps");
SEC("tp_btf/sched_switch") int BPF_PROG(p, bool pr, struct task_struct *a) {
    u64 *v = bpf_task_storage_get(&m, a, 0, 1);
    return 0;
}

//# map_task_storage_flag empty
struct {
    __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
    __type(key, int);
    __type(value, u64);
} m SEC(".maps");
SEC("tp_btf/sched_switch") int BPF_PROG(p, bool pr, struct task_struct *a) { return 0; }

//# map_type99
struct {
    __uint(type, 99);
    __uint(key_size, 4);
    __uint(value_size, 8);
    __uint(max_entries, 8);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u64 k = 0;
    return bpf_map_lookup_elem(&m, &k) != 0;
}

//# map_user_ringbuf
struct {
    __uint(type, BPF_MAP_TYPE_USER_RINGBUF);
    __uint(max_entries, 4096);
} m SEC(".maps");
static long cb(struct bpf_dynptr *d, void *c) { return 0; }
SEC("raw_tp/sys_enter") int p(void *ctx) {
    bpf_user_ringbuf_drain(&m, cb, 0, 0);
    return 0;
}

//# map_array_8m empty
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(key_size, 4);
    __uint(value_size, 8 << 20);
    __uint(max_entries, 1);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) { return 0; }

//# map_hash_buckets empty
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(key_size, 4);
    __uint(value_size, 8);
    __uint(max_entries, 3000000000);
    __uint(map_flags, BPF_F_NO_PREALLOC);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) { return 0; }

//# map_sk_storage_big empty
struct value {
    char bytes[65536];
};
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct value);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) { return 0; }

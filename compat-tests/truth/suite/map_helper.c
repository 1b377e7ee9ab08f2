// Maps in the hands of helpers that are not for them.

//# pair_cgroup_under_array
MAP(m, BPF_MAP_TYPE_ARRAY, u32, u32, 16);
SEC("kprobe/do_nanosleep") int p(void *ctx) {
    u32 k = 0;
    u64 v = 0;
    bpf_current_task_under_cgroup(&m, 0);
    return 0;
}

//# pair_delete_array
MAP(m, BPF_MAP_TYPE_ARRAY, u32, u64, 16);
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u32 k = 0;
    u64 v = 0;
    bpf_map_delete_elem(&m, &k);
    return 0;
}

//# pair_devmap_lookup
MAP(m, BPF_MAP_TYPE_DEVMAP, u32, u32, 16);
SEC("xdp") int p(struct xdp_md *ctx) {
    u32 k = 0;
    u64 v = 0;
    return bpf_map_lookup_elem(&m, &k) != 0;
    return 0;
}

//# pair_foreach_array
MAP(m, BPF_MAP_TYPE_LPM_TRIE, u64, u64, 16);
static long cb(struct bpf_map *m, void *k, void *v, void *c) { return 0; }
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u32 k = 0;
    u64 v = 0;
    bpf_for_each_map_elem(&m, cb, 0, 0);
    return 0;
}

//# pair_foreach_lpm
MAP(m, BPF_MAP_TYPE_QUEUE, u32, u64, 16);
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u32 k = 0;
    u64 v = 0;
    bpf_map_pop_elem(&m, &v);
    return 0;
}

//# pair_lookup_perf
struct {
    __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
    __uint(key_size, 4);
    __uint(value_size, 4);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u32 k = 0;
    u64 *v = bpf_map_lookup_elem(&m, &k);
    return v != 0;
}

//# pair_lookup_prog_array
MAP(m, BPF_MAP_TYPE_PROG_ARRAY, u32, u32, 16);
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u32 k = 0;
    u64 v = 0;
    if (bpf_map_lookup_elem(&m, &k)) return 1;
    return 0;
}

//# pair_percpu_lookup_array
MAP(m, BPF_MAP_TYPE_ARRAY, u32, u64, 16);
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u32 k = 0;
    u64 v = 0;
    return bpf_map_lookup_percpu_elem(&m, &k, 0) != 0;
    return 0;
}

//# pair_perf_out_hash
MAP(m, BPF_MAP_TYPE_HASH, u32, u32, 16);
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u32 k = 0;
    u64 v = 0;
    bpf_perf_event_output(ctx, &m, 0, &v, 8);
    return 0;
}

//# pair_push_hash
MAP(m, BPF_MAP_TYPE_HASH, u32, u64, 16);
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u32 k = 0;
    u64 v = 0;
    bpf_map_push_elem(&m, &v, 0);
    return 0;
}

//# pair_redirect_hash
MAP(m, BPF_MAP_TYPE_HASH, u32, u32, 16);
SEC("xdp") int p(struct xdp_md *ctx) {
    u32 k = 0;
    u64 v = 0;
    bpf_redirect_map(&m, 0, 0);
    return 0;
}

//# pair_ringbuf_lookup
MAP(m, BPF_MAP_TYPE_HASH, u32, u64, 16);
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u32 k = 0;
    u64 v = 0;
    bpf_ringbuf_output(&m, &v, 8, 0);
    return 0;
}

//# pair_sockmap_lookup_kprobe
MAP(m, BPF_MAP_TYPE_SOCKMAP, u32, u32, 16);
SEC("kprobe/do_nanosleep") int p(void *ctx) {
    u32 k = 0;
    u64 v = 0;
    if (bpf_map_lookup_elem(&m, &k)) return 1;
    return 0;
}

//# pair_sockmap_update_raw
MAP(m, BPF_MAP_TYPE_SOCKMAP, u32, u32, 16);
SEC("xdp") int p(struct xdp_md *ctx) {
    u32 k = 0;
    u64 v = 0;
    bpf_map_update_elem(&m, &k, &v, 0);
    return 0;
}

//# pair_stackid_hash
MAP(m, BPF_MAP_TYPE_HASH, u32, u32, 16);
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u32 k = 0;
    u64 v = 0;
    bpf_get_stackid(ctx, &m, 0);
    return 0;
}

//# pair_tailcall_array
MAP(m, BPF_MAP_TYPE_ARRAY, u32, u32, 16);
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u32 k = 0;
    u64 v = 0;
    bpf_tail_call(ctx, &m, 0);
    return 0;
}

//# pair_update_ringbuf
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4096);
} m SEC(".maps");
SEC("raw_tp/sys_enter") int p(void *ctx) {
    u32 k = 0;
    u64 v = 0;
    bpf_map_update_elem(&m, &k, &v, 0);
    return 0;
}

//# pair_xsk_lookup
MAP(m, BPF_MAP_TYPE_XSKMAP, u32, u32, 16);
SEC("xdp") int p(struct xdp_md *ctx) {
    u32 k = 0;
    u64 v = 0;
    return bpf_map_lookup_elem(&m, &k) != 0;
    return 0;
}

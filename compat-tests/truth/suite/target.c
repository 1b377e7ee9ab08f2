// Attach targets of tracing and LSM programs, and what can be read of their arguments.

//# t_fentry_arg2
SEC("fentry/do_nanosleep") int p(u64 *ctx) {
    KEEP(ctx[1]);
    return 0;
}

//# t_fentry_arg3
SEC("fentry/do_nanosleep") int p(u64 *ctx) {
    KEEP(ctx[2]);
    return 0;
}

//# t_fentry_arg7
SEC("fentry/do_nanosleep") int p(u64 *ctx) {
    KEEP(ctx[7]);
    return 0;
}

//# t_fentry_bpfprog empty
SEC("fentry/__bpf_prog_enter") int p(u64 *ctx) { return 0; }

//# t_fentry_entry empty
SEC("fentry/exc_page_fault") int p(u64 *ctx) { return 0; }

//# t_fentry_enumarg
SEC("fentry/do_nanosleep") int p(u64 *ctx) {
    u64 *a = (void *)ctx[1];
    KEEP(*a);
    return 0;
}

//# t_fentry_inlined empty
SEC("fentry/__skb_pull") int p(u64 *ctx) { return 0; }

//# t_fentry_long
SEC("fentry/mmap_region") int p(u64 *ctx) {
    KEEP(ctx[5]);
    return 0;
}

//# t_fentry_many empty
SEC("fentry/__kmalloc_node_track_caller") int p(u64 *ctx) { return 0; }

//# t_fentry_many7
SEC("fentry/do_mmap") int p(u64 *ctx) {
    KEEP(ctx[0]);
    return 0;
}

//# t_fentry_many7b empty
SEC("fentry/__do_page_cache_ra") int p(u64 *ctx) { return 0; }

//# t_fentry_many9 empty
SEC("fentry/ip6_append_data") int p(u64 *ctx) { return 0; }

//# t_fentry_migrate empty
SEC("fentry/migrate_disable") int p(u64 *ctx) { return 0; }

//# t_fentry_missing empty
SEC("fentry/nosuchfn") int p(u64 *ctx) { return 0; }

//# t_fentry_mod empty
SEC("fentry/nf_conntrack_in") int p(u64 *ctx) { return 0; }

//# t_fentry_nogpl licence=MIT empty
SEC("fentry/do_nanosleep") int p(u64 *ctx) { return 0; }

//# t_fentry_nogpl_helper licence=MIT
SEC("fentry/do_nanosleep") int p(u64 *ctx) { return bpf_get_current_task() & 0; }

//# t_fentry_noinstr empty
SEC("fentry/do_int3") int p(u64 *ctx) { return 0; }

//# t_fentry_nonsense
SEC("fentry/do_nanosleep") int p(u64 *ctx) {
    struct task_struct *a = (void *)ctx[0];
    KEEP(a->pid);
    return 0;
}

//# t_fentry_noreturn empty
SEC("fentry/do_exit") int p(u64 *ctx) { return 0; }

//# t_fentry_notrace empty
SEC("fentry/__rcu_read_lock") int p(u64 *ctx) { return 0; }

//# t_fentry_off
SEC("fentry/do_nanosleep") int p(u64 *ctx) { return *(volatile u64 *)((char *)ctx + 4) & 0; }

//# t_fentry_preempt empty
SEC("fentry/preempt_count_add") int p(u64 *ctx) { return 0; }

//# t_fentry_sleep empty
SEC("fentry.s/do_nanosleep") int p(u64 *ctx) { return 0; }

//# t_fentry_sleep_sec empty
SEC("fentry.s/security_file_open") int p(u64 *ctx) { return 0; }

//# t_fentry_sleep_sys empty
SEC("fentry.s/__x64_sys_nanosleep") int p(u64 *ctx) { return 0; }

//# t_fentry_struct16 empty
SEC("fentry/vfs_setxattr") int p(u64 *ctx) { return 0; }

//# t_fentry_u32
SEC("fentry/do_nanosleep") int p(u64 *ctx) {
    KEEP(*(u32 *)ctx);
    return 0;
}

//# t_fentry_variadic empty
SEC("fentry/_printk") int p(u64 *ctx) { return 0; }

//# t_fentry_walk
SEC("fentry/do_nanosleep") int p(u64 *ctx) {
    struct hrtimer_sleeper *a = (void *)ctx[0];
    KEEP(a->task->pid);
    return 0;
}

//# t_fentry_write
SEC("fentry/do_nanosleep") int p(u64 *ctx) {
    ctx[0] = 1;
    return 0;
}

//# t_fexit_arg3
SEC("fexit/do_nanosleep") int p(u64 *ctx) {
    KEEP(ctx[3]);
    return 0;
}

//# t_fexit_noreturn empty
SEC("fexit/do_exit") int p(u64 *ctx) { return 0; }

//# t_fexit_ret2
SEC("fexit/do_nanosleep") int p(u64 *ctx) {
    KEEP(ctx[2]);
    return 0;
}

//# t_fexit_sleep empty
SEC("fexit.s/__x64_sys_nanosleep") int p(u64 *ctx) { return 0; }

//# t_fexit_void
SEC("fexit/exit_mm_release") int p(u64 *ctx) {
    KEEP(ctx[2]);
    return 0;
}

//# t_fmod_nano empty
SEC("fmod_ret/do_nanosleep") int p(u64 *ctx) { return 0; }

//# t_fmod_sec empty
SEC("fmod_ret/security_file_open") int p(u64 *ctx) { return 0; }

//# t_fmod_sys empty
SEC("fmod_ret/__x64_sys_nanosleep") int p(u64 *ctx) { return 0; }

//# t_freplace empty
SEC("freplace/foo") int p(u64 *ctx) { return 0; }

//# t_freplace_none empty
SEC("freplace") int p(u64 *ctx) { return 0; }

//# t_fsession empty
SEC("fsession/do_nanosleep") int p(u64 *ctx) { return 0; }

//# t_gpl_dual licence=Dual_BSD/GPL
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    bpf_printk("a");
    return 0;
}

//# t_iter_bpf_link empty
SEC("iter/bpf_link") int p(u64 *ctx) { return 0; }

//# t_iter_bpf_map empty
SEC("iter/bpf_map") int p(u64 *ctx) { return 0; }

//# t_iter_bpf_map_elem empty
SEC("iter/bpf_map_elem") int p(u64 *ctx) { return 0; }

//# t_iter_bpf_prog empty
SEC("iter/bpf_prog") int p(u64 *ctx) { return 0; }

//# t_iter_bpf_sk_storage_map empty
SEC("iter/bpf_sk_storage_map") int p(u64 *ctx) { return 0; }

//# t_iter_cgroup empty
SEC("iter/cgroup") int p(u64 *ctx) { return 0; }

//# t_iter_ctx
SEC("iter/task") int p(u64 *ctx) {
    struct bpf_iter__task *c = (void *)ctx;
    struct task_struct *k = c->task;
    KEEP(k->pid);
    return 0;
}

//# t_iter_ctx_ok
SEC("iter/task") int p(u64 *ctx) {
    struct bpf_iter__task *c = (void *)ctx;
    struct task_struct *k = c->task;
    if (!k) return 0;
    return k->pid & 0;
}

//# t_iter_dmabuf empty
SEC("iter/dmabuf") int p(u64 *ctx) { return 0; }

//# t_iter_ipv6_route empty
SEC("iter/ipv6_route") int p(u64 *ctx) { return 0; }

//# t_iter_kmem_cache empty
SEC("iter/kmem_cache") int p(u64 *ctx) { return 0; }

//# t_iter_ksym empty
SEC("iter/ksym") int p(u64 *ctx) { return 0; }

//# t_iter_netlink empty
SEC("iter/netlink") int p(u64 *ctx) { return 0; }

//# t_iter_nosuch empty
SEC("iter/nosuch") int p(u64 *ctx) { return 0; }

//# t_iter_oob
SEC("iter/task") int p(u64 *ctx) {
    KEEP(ctx[3]);
    return 0;
}

//# t_iter_seq
SEC("iter/task") int p(u64 *ctx) {
    struct bpf_iter__task *c = (void *)ctx;
    char s[] = "hello";
    bpf_seq_write(c->meta->seq, s, 5);
    return 0;
}

//# t_iter_sleep empty
SEC("iter.s/task") int p(u64 *ctx) { return 0; }

//# t_iter_sleep_cp
SEC("iter.s/task") int p(u64 *ctx) {
    char b[8];
    bpf_copy_from_user(b, 8, 0);
    return 0;
}

//# t_iter_sockmap empty
SEC("iter/sockmap") int p(u64 *ctx) { return 0; }

//# t_iter_task_file empty
SEC("iter/task_file") int p(u64 *ctx) { return 0; }

//# t_iter_task_vma empty
SEC("iter/task_vma") int p(u64 *ctx) { return 0; }

//# t_iter_tcp empty
SEC("iter/tcp") int p(u64 *ctx) { return 0; }

//# t_iter_udp empty
SEC("iter/udp") int p(u64 *ctx) { return 0; }

//# t_iter_unix empty
SEC("iter/unix") int p(u64 *ctx) { return 0; }

//# t_iter_write
SEC("iter/task") int p(u64 *ctx) {
    ctx[1] = 0;
    return 0;
}

//# t_kprobe_ctx
SEC("kprobe/do_nanosleep") int p(u64 *ctx) {
    KEEP(ctx[30]);
    return 0;
}

//# t_kprobe_ctxw
SEC("kprobe/do_nanosleep") int p(u64 *ctx) {
    ctx[3] = 1;
    return 0;
}

//# t_kprobe_missing empty
SEC("kprobe/nosuch") int p(u64 *ctx) { return 0; }

//# t_kprobe_multi empty
SEC("kprobe.multi/do_nano*") int p(u64 *ctx) { return 0; }

//# t_kprobe_session empty
SEC("kprobe.session/do_nano*") int p(u64 *ctx) { return 0; }

//# t_lsm_args
SEC("lsm/file_open") int p(u64 *ctx) {
    KEEP(ctx[3]);
    return 0;
}

//# t_lsm_args1
SEC("lsm/file_open") int p(u64 *ctx) {
    KEEP(ctx[1]);
    return 0;
}

//# t_lsm_bpf_token empty
SEC("lsm/bpf_token_create") int p(u64 *ctx) { return 0; }

//# t_lsm_bprm_helper
SEC("lsm/bprm_committed_creds") int p(u64 *ctx) {
    struct linux_binprm *b = (void *)ctx[0];
    bpf_bprm_opts_set(b, 0);
    return 0;
}

//# t_lsm_cg empty
SEC("lsm_cgroup/socket_bind") int p(u64 *ctx) { return 1; }

//# t_lsm_cg_no empty
SEC("lsm_cgroup/file_open") int p(u64 *ctx) { return 1; }

//# t_lsm_cg_task empty
SEC("lsm_cgroup/bprm_check_security") int p(u64 *ctx) { return 1; }

//# t_lsm_disabled empty
SEC("lsm/getprocattr") int p(u64 *ctx) { return 0; }

//# t_lsm_disabled2 empty
SEC("lsm/inode_getsecurity") int p(u64 *ctx) { return 0; }

//# t_lsm_ima
SEC("lsm.s/bprm_committed_creds") int p(u64 *ctx) {
    struct linux_binprm *b = (void *)ctx[0];
    char h[8];
    bpf_ima_inode_hash(b->file->f_inode, h, 8);
    return 0;
}

//# t_lsm_ima_nosleep
SEC("lsm/bprm_committed_creds") int p(u64 *ctx) {
    struct linux_binprm *b = (void *)ctx[0];
    char h[8];
    bpf_ima_inode_hash(b->file->f_inode, h, 8);
    return 0;
}

//# t_lsm_missing empty
SEC("lsm/nosuch") int p(u64 *ctx) { return 0; }

//# t_lsm_new empty
SEC("lsm/bdev_setintegrity") int p(u64 *ctx) { return 0; }

//# t_lsm_nogpl licence=Proprietary empty
SEC("lsm/file_open") int p(u64 *ctx) { return 0; }

//# t_lsm_sleep empty
SEC("lsm.s/file_open") int p(u64 *ctx) { return 0; }

//# t_lsm_sleep_no empty
SEC("lsm.s/task_free") int p(u64 *ctx) { return 0; }

//# t_nogpl_btf licence=MIT
SEC("raw_tp/sys_enter") int p(u64 *ctx) { return bpf_get_current_task_btf() != 0; }

//# t_nogpl_printk licence=BSD
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    bpf_printk("a");
    return 0;
}

//# t_perf_ctx
SEC("perf_event") int p(u64 *ctx) {
    KEEP(ctx[22]);
    return 0;
}

//# t_perf_ctx2
SEC("perf_event") int p(u64 *ctx) {
    KEEP(ctx[60]);
    return 0;
}

//# t_rawtp_arg9
SEC("raw_tp/sched_switch") int p(u64 *ctx) {
    KEEP(ctx[9]);
    return 0;
}

//# t_rawtp_missing empty
SEC("raw_tp/nosuch") int p(u64 *ctx) { return 0; }

//# t_rawtp_w empty
SEC("raw_tp.w/sys_enter") int p(u64 *ctx) { return 0; }

//# t_tp_missing empty
SEC("tracepoint/sched/nosuch") int p(u64 *ctx) { return 0; }

//# t_tp_off
SEC("tracepoint/sched/sched_switch") int p(u64 *ctx) {
    KEEP(ctx[500]);
    return 0;
}

//# t_tp_off1020
SEC("tracepoint/sched/sched_switch") int p(u64 *ctx) {
    KEEP(ctx[127]);
    return 0;
}

//# t_tp_write
SEC("tracepoint/sched/sched_switch") int p(u64 *ctx) {
    ctx[2] = 1;
    return 0;
}

//# t_tpbtf_args
SEC("tp_btf/sched_switch") int p(u64 *ctx) {
    KEEP(ctx[4]);
    return 0;
}

//# t_tpbtf_args3
SEC("tp_btf/sched_switch") int p(u64 *ctx) {
    KEEP(ctx[3]);
    return 0;
}

//# t_tpbtf_charstar
SEC("tp_btf/sched_process_exec") int p(u64 *ctx) {
    struct linux_binprm *b = (void *)ctx[2];
    KEEP(b->filename[0]);
    return 0;
}

//# t_tpbtf_missing empty
SEC("tp_btf/nosuch") int p(u64 *ctx) { return 0; }

//# t_tpbtf_nullable
SEC("tp_btf/sched_pi_setprio") int p(u64 *ctx) {
    struct task_struct *a = (void *)ctx[1];
    KEEP(a->pid);
    return 0;
}

//# t_tpbtf_nullable2
SEC("tp_btf/tcp_send_reset") int p(u64 *ctx) {
    struct sock *a = (void *)ctx[0];
    KEEP(a->__sk_common.skc_family);
    return 0;
}

//# t_tpbtf_oob
SEC("tp_btf/sched_switch") int p(u64 *ctx) {
    char *a = (void *)ctx[1];
    return *(volatile int *)(a + 100000) & 0;
}

//# t_tpbtf_scalar
SEC("tp_btf/sched_switch") int p(u64 *ctx) {
    u64 *a = (void *)ctx[0];
    KEEP(*a);
    return 0;
}

//# t_tpbtf_sysenter
SEC("tp_btf/sys_enter") int p(u64 *ctx) {
    struct pt_regs *r = (void *)ctx[0];
    KEEP(r->di);
    return 0;
}

//# t_tpbtf_walk
SEC("tp_btf/sched_switch") int p(u64 *ctx) {
    struct task_struct *a = (void *)ctx[1];
    KEEP(a->mm->owner->pid);
    return 0;
}

//# t_tpbtf_write
SEC("tp_btf/sched_switch") int p(u64 *ctx) {
    struct task_struct *a = (void *)ctx[1];
    a->pid = 1;
    return 0;
}

//# t_uprobe_multi empty
SEC("uprobe.multi/bin:f") int p(u64 *ctx) { return 0; }

//# t_uprobe_s
SEC("uprobe.s/bin:f") int p(u64 *ctx) {
    char b[8];
    bpf_copy_from_user(b, 8, (void *)0);
    return 0;
}

//# t_uprobe_session empty
SEC("uprobe.session/bin:f") int p(u64 *ctx) { return 0; }

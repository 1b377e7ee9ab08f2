// What a program may return, by program type and attach type.

//# ret_bind4_2 empty
SEC("cgroup/bind4") int p(void *ctx) { return 2; }

//# ret_bind4_4 empty
SEC("cgroup/bind4") int p(void *ctx) { return 4; }

//# ret_cgskb2 empty
SEC("cgroup_skb/egress") int p(void *ctx) { return 2; }

//# ret_cgskb_eg4 empty
SEC("cgroup_skb/egress") int p(void *ctx) { return 4; }

//# ret_cgskb_in2 empty
SEC("cgroup_skb/ingress") int p(void *ctx) { return 2; }

//# ret_cgsock2 empty
SEC("cgroup/sock_create") int p(void *ctx) { return 2; }

//# ret_conn4_2 empty
SEC("cgroup/connect4") int p(void *ctx) { return 2; }

//# ret_dev2 empty
SEC("cgroup/dev") int p(void *ctx) { return 2; }

//# ret_fentry1 empty
SEC("fentry/do_nanosleep") int p(void *ctx) { return 1; }

//# ret_fexit1 empty
SEC("fexit/do_nanosleep") int p(void *ctx) { return 1; }

//# ret_flow5 empty
SEC("flow_dissector") int p(void *ctx) { return 5; }

//# ret_fmodret5 empty
SEC("fmod_ret/security_file_open") int p(void *ctx) { return 5; }

//# ret_getpeer0 empty
SEC("cgroup/getpeername4") int p(void *ctx) { return 0; }

//# ret_getsockopt2 empty
SEC("cgroup/getsockopt") int p(void *ctx) { return 2; }

//# ret_iter1 empty
SEC("iter/task") int p(void *ctx) { return 1; }

//# ret_iter2 empty
SEC("iter/task") int p(void *ctx) { return 2; }

//# ret_ksess2 empty
SEC("kprobe.session/do_nanosleep") int p(void *ctx) { return 2; }

//# ret_lsm1 empty
SEC("lsm/file_open") int p(void *ctx) { return 1; }

//# ret_lsm_neg empty
SEC("lsm/file_open") int p(void *ctx) { return -1; }

//# ret_lsm_neg5000 empty
SEC("lsm/file_open") int p(void *ctx) { return -5000; }

//# ret_lsm_void1 empty
SEC("lsm/task_free") int p(void *ctx) { return 1; }

//# ret_lsmcg2 empty
SEC("lsm_cgroup/socket_bind") int p(void *ctx) { return 2; }

//# ret_nf7 empty
SEC("netfilter") int p(void *ctx) { return 7; }

//# ret_rawtp5 empty
SEC("raw_tp/sys_enter") int p(void *ctx) { return 5; }

//# ret_recv0 empty
SEC("cgroup/recvmsg4") int p(void *ctx) { return 0; }

//# ret_sklookup2 empty
SEC("sk_lookup") int p(void *ctx) { return 2; }

//# ret_skskb9 empty
SEC("sk_skb/stream_verdict") int p(void *ctx) { return 9; }

//# ret_sockops9 empty
SEC("sockops") int p(void *ctx) { return 9; }

//# ret_syscall77 empty
SEC("syscall") int p(void *ctx) { return 77; }

//# ret_sysctl2 empty
SEC("cgroup/sysctl") int p(void *ctx) { return 2; }

//# ret_tpbtf1 empty
SEC("tp_btf/sched_switch") int p(void *ctx) { return 1; }

//# ret_usess2 empty
SEC("uprobe.session/bin:f") int p(void *ctx) { return 2; }

//# ret_xdp77 empty
SEC("xdp") int p(void *ctx) { return 77; }

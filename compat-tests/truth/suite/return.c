// What a program may return, by program type and attach type.

//# ret_bind4_2
SEC("cgroup/bind4") int p(void *ctx) { return 2; }

//# ret_bind4_4
SEC("cgroup/bind4") int p(void *ctx) { return 4; }

//# ret_cgskb2
SEC("cgroup_skb/egress") int p(void *ctx) { return 2; }

//# ret_cgskb_eg4
SEC("cgroup_skb/egress") int p(void *ctx) { return 4; }

//# ret_cgskb_in2
SEC("cgroup_skb/ingress") int p(void *ctx) { return 2; }

//# ret_cgsock2
SEC("cgroup/sock_create") int p(void *ctx) { return 2; }

//# ret_conn4_2
SEC("cgroup/connect4") int p(void *ctx) { return 2; }

//# ret_dev2
SEC("cgroup/dev") int p(void *ctx) { return 2; }

//# ret_fentry1
SEC("fentry/do_nanosleep") int p(void *ctx) { return 1; }

//# ret_fexit1
SEC("fexit/do_nanosleep") int p(void *ctx) { return 1; }

//# ret_flow5
SEC("flow_dissector") int p(void *ctx) { return 5; }

//# ret_fmodret5
SEC("fmod_ret/security_file_open") int p(void *ctx) { return 5; }

//# ret_getpeer0
SEC("cgroup/getpeername4") int p(void *ctx) { return 0; }

//# ret_getsockopt2
SEC("cgroup/getsockopt") int p(void *ctx) { return 2; }

//# ret_iter1
SEC("iter/task") int p(void *ctx) { return 1; }

//# ret_iter2
SEC("iter/task") int p(void *ctx) { return 2; }

//# ret_ksess2
SEC("kprobe.session/do_nanosleep") int p(void *ctx) { return 2; }

//# ret_lsm1
SEC("lsm/file_open") int p(void *ctx) { return 1; }

//# ret_lsm_neg
SEC("lsm/file_open") int p(void *ctx) { return -1; }

//# ret_lsm_neg5000
SEC("lsm/file_open") int p(void *ctx) { return -5000; }

//# ret_lsm_void1
SEC("lsm/task_free") int p(void *ctx) { return 1; }

//# ret_lsmcg2
SEC("lsm_cgroup/socket_bind") int p(void *ctx) { return 2; }

//# ret_nf7
SEC("netfilter") int p(void *ctx) { return 7; }

//# ret_rawtp5
SEC("raw_tp/sys_enter") int p(void *ctx) { return 5; }

//# ret_recv0
SEC("cgroup/recvmsg4") int p(void *ctx) { return 0; }

//# ret_sklookup2
SEC("sk_lookup") int p(void *ctx) { return 2; }

//# ret_skskb9
SEC("sk_skb/stream_verdict") int p(void *ctx) { return 9; }

//# ret_sockops9
SEC("sockops") int p(void *ctx) { return 9; }

//# ret_syscall77
SEC("syscall") int p(void *ctx) { return 77; }

//# ret_sysctl2
SEC("cgroup/sysctl") int p(void *ctx) { return 2; }

//# ret_tpbtf1
SEC("tp_btf/sched_switch") int p(void *ctx) { return 1; }

//# ret_usess2
SEC("uprobe.session/bin:f") int p(void *ctx) { return 2; }

//# ret_xdp77
SEC("xdp") int p(void *ctx) { return 77; }

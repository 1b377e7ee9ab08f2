// SPDX-License-Identifier: GPL-2.0-only OR MIT
// The types of a small kernel that never was: what the predictions of ../../tests/predict.rs are made for.
// clang-19 -target bpfel -O2 -g -ffile-prefix-map=$PWD=. -fdebug-compilation-dir=. -c kernel.c -o kernel.bpfel.o && llvm-strip-19 -g kernel.bpfel.o
// and with -DYOUNGER to younger.bpfel.o, a kernel that lets programs read more arguments.
enum bpf_func_id { BPF_FUNC_unspec, BPF_FUNC_map_lookup_elem, BPF_FUNC_tail_call = 12, BPF_FUNC_get_current_pid_tgid = 14, BPF_FUNC_get_socket_cookie = 46, BPF_FUNC_copy_from_user = 148, BPF_FUNC_redirect_peer = 155,
#ifdef YOUNGER
	BPF_FUNC_get_func_arg = 183,
#endif
} helpers;
enum bpf_prog_type { BPF_PROG_TYPE_KPROBE = 2, BPF_PROG_TYPE_XDP = 6, BPF_PROG_TYPE_TRACING = 26, BPF_PROG_TYPE_LSM = 29 } programs;
enum bpf_attach_type { BPF_TRACE_RAW_TP = 23, BPF_TRACE_FENTRY, BPF_TRACE_FEXIT, BPF_MODIFY_RETURN, BPF_XDP = 37 } attach;
enum bpf_map_type { BPF_MAP_TYPE_ARRAY = 2,
#ifdef YOUNGER
	BPF_MAP_TYPE_TASK_STORAGE = 29,
#endif
} maps;

// Programs may call functions of this kernel.
struct bpf_kfunc_desc_tab {
	unsigned int nr_descs;
} kfuncs;

struct xdp_md {
	unsigned int data, data_end, data_meta;
} packet;

typedef void (*btf_trace_made)(void *data, int number, long length);
btf_trace_made made;

struct wide {
	long parts[3];
};

__attribute__((noinline)) int two(int first, long second)
{
	return first + second;
}

__attribute__((noinline)) int by_value(struct wide *wide, struct wide copy)
{
	return wide->parts[0] + copy.parts[1];
}

__attribute__((noinline)) int callable(int number)
{
	return number;
}

__attribute__((noinline)) int pointers(int *integers, const char *text, const void *nothing, int **integer, struct wide *wide)
{
	return *integers + *text + (nothing == integer) + wide->parts[0];
}

#ifdef YOUNGER
struct bpf_raw_tp_null_args {
	const char *func;
} tracepoints;

struct btf_type_tag_match {
	const char *tag;
} tags;

struct bpf_mem_alloc {
	void *cache;
} allocator;
#endif

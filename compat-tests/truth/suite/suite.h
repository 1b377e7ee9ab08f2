#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define __naked __attribute__((naked))
#define __used __attribute__((used))
#define __core __attribute__((preserve_access_index))
#define KEEP(value) asm volatile("" ::"r"(value)) /* reads a value of which nothing is made */
/* A map of BTF types. */
#define MAP(name, kind, of_key, of_value, entries)                                                           \
    struct {                                                                                                 \
        __uint(type, kind);                                                                                  \
        __type(key, of_key);                                                                                 \
        __type(value, of_value);                                                                             \
        __uint(max_entries, entries);                                                                        \
    } name SEC(".maps")

/* A helper that came with Linux 6.1, bpf_ktime_get_tai_ns(), is there. */
#define HAS_TAI bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_ktime_get_tai_ns)


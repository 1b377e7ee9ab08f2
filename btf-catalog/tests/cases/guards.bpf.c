// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Code for kernels of different age, each part behind a test that is decided when the object is loaded.
 *
 *   clang-19 -g -O2 -target bpfel -mcpu=v3 -ffile-prefix-map=$PWD=. -fdebug-compilation-dir=. -c guards.bpf.c -o guards.bpfel.o && llvm-strip-19 -g guards.bpfel.o
 */
typedef unsigned int u32;
typedef unsigned long long u64;
typedef _Bool bool;

#define SEC(name) __attribute__((section(name), used))
#define core __attribute__((preserve_access_index))
#define field_exists(field) __builtin_preserve_field_info(field, 2)
#define enum_value_exists(type, value) __builtin_preserve_enum_value(*(typeof(type) *)value, 0)

struct task { int pid; int state; } core;
struct task___new { unsigned int __state; } core;
enum feature { FEATURE_LOOP = 7 };

extern u32 LINUX_KERNEL_VERSION __attribute__((section(".kconfig")));
extern bool CONFIG_FAST __attribute__((section(".kconfig"), weak));

const volatile u32 verbose = 0;
const volatile char name[8] = "none";
u64 seen;

static u64 (*const ktime_get_ns)(void) = (void *)5;
static u64 (*const get_smp_processor_id)(void) = (void *)8;
static u64 (*const get_current_pid_tgid)(void) = (void *)14;
static long (*const loop)(u32, void *, void *, u64) = (void *)181;
static u64 (*const ktime_get_boot_ns)(void) = (void *)125;
static long (*const probe_read_kernel)(void *, u32, const void *) = (void *)113;

static long step(u32 index, void *data)
{
    seen += index;
    return 0;
}

SEC("raw_tp/switch")
int state(u64 *context)
{
    struct task *task = (void *)context[1];
    struct task___new *renamed = (void *)task;
    u32 state = 0;

    if (field_exists(renamed->__state))
        probe_read_kernel(&state, sizeof(state), &renamed->__state);
    else
        probe_read_kernel(&state, sizeof(state), &task->state);
    seen = state;
    return 0;
}

SEC("raw_tp/switch")
int repeat(u64 *context)
{
    if (enum_value_exists(enum feature, FEATURE_LOOP))
        loop(10, step, 0, 0);
    return 0;
}

SEC("raw_tp/switch")
int version(u64 *context)
{
    if (LINUX_KERNEL_VERSION >= (5 << 16 | 8 << 8))
        seen = ktime_get_boot_ns();
    else
        seen = ktime_get_ns();
    if (CONFIG_FAST)
        seen += get_smp_processor_id();
    return 0;
}

SEC("raw_tp/switch")
int chatty(u64 *context)
{
    if (verbose > 2 && name[0] == 'a')
        seen = get_current_pid_tgid();
    return 0;
}

SEC("raw_tp/switch")
int careless(u64 *context)
{
    struct task *task = (void *)context[1];
    u32 state = 0;

    probe_read_kernel(&state, sizeof(state), &task->state);
    seen = state;
    return 0;
}

char _license[] SEC("license") = "GPL";

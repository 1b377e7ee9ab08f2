// SPDX-License-Identifier: GPL-2.0-only OR MIT
// clang-19 -target bpfel -mcpu=v3 -O2 -g -ffile-prefix-map=$PWD=. -fdebug-compilation-dir=. -c limits.bpf.c -o limits.bpfel.o && llvm-strip-19 -g limits.bpfel.o
#define SEC(name) __attribute__((section(name), used))
#define USE_STACK(byte_sz) asm volatile("r0 = 0; *(u8 *)(r10 - " #byte_sz ") = r0;" ::: "r0", "memory")
#define FUNCTION static __attribute__((noinline)) long
#define MAP(name, number, key_type, entries) struct { int (*type)[number]; key_type *key; int *value; int (*max_entries)[entries]; } name SEC(".maps")
typedef unsigned long long u64;

static void *(*lookup)(void *, const void *) = (void *)1;
static long (*for_each_map_elem)(void *, void *, void *, u64) = (void *)164;
static void *(*get_local_storage)(void *, u64) = (void *)81;

struct cgroup_key { u64 inode; unsigned int attach_type; };
MAP(array, 2, int, 1);
struct { int (*type)[19]; struct cgroup_key *key; int *value; } storage SEC(".maps"), other SEC(".maps");

// 400 and 104 bytes: 512 by sixteens, 544 by thirty-twos.
FUNCTION deep(long a) { USE_STACK(104); return a; }
SEC("xdp") int by_sixteen(int *context) { USE_STACK(400); return deep(context[0]); }
SEC("xdp") int shallow(int *context) { USE_STACK(300); return deep(context[0]); }

FUNCTION called_back(void *map, void *key, void *value, void *context) { USE_STACK(240); return 0; }
SEC("xdp") int calls_back(int *context) { USE_STACK(400); return for_each_map_elem(&array, called_back, 0, 0) & 1; }

SEC("cgroup_skb/egress") int two_storages(void *context) { return *(int *)get_local_storage(&storage, 0) + *(int *)get_local_storage(&other, 0) & 1; }
SEC("cgroup_skb/egress") int one_storage(void *context) { return *(int *)get_local_storage(&storage, 0) & 1; }

#define FOUR(what, n) what(n##0) what(n##1) what(n##2) what(n##3)
#define SIXTEEN(what, n) FOUR(what, n##0) FOUR(what, n##1) FOUR(what, n##2) FOUR(what, n##3)
#define SIXTY_FOUR(what, n) SIXTEEN(what, n##0) SIXTEEN(what, n##1) SIXTEEN(what, n##2) SIXTEEN(what, n##3)
#define MANY(what, n) SIXTY_FOUR(what, n##0) SIXTY_FOUR(what, n##1) SIXTY_FOUR(what, n##2) SIXTY_FOUR(what, n##3)

#define DEFINE_MAP(n) MAP(map##n, 2, int, 1);
#define USE_MAP(n) asm volatile("r1 = %[map] ll" :: [map] "i"(&map##n) : "r1");
SIXTY_FOUR(DEFINE_MAP, n)
SEC("xdp") int many_maps(void *context) { SIXTY_FOUR(USE_MAP, n) return 2; }
SEC("xdp") int too_many_maps(void *context) { int key = 0; SIXTY_FOUR(USE_MAP, n) return !lookup(&array, &key); }

#define DEFINE_FUNCTION(n) FUNCTION function##n(long a) { asm volatile("" : "+r"(a)); return a; }
#define CALL(n) sum += function##n(sum);
MANY(DEFINE_FUNCTION, f)
SEC("xdp") int too_many_functions(int *context) { long sum = context[0]; MANY(CALL, f) return sum; }

char LICENSE[] SEC("license") = "Dual MIT/GPL";

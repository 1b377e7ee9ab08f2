// SPDX-License-Identifier: GPL-2.0-only OR MIT
// clang-19 -target bpfel -mcpu=v3 -O2 -g -ffile-prefix-map=$PWD=. -fdebug-compilation-dir=. -c map_use.bpf.c -o map_use.bpfel.o && llvm-strip-19 -g map_use.bpfel.o
#define SEC(name) __attribute__((section(name), used))

static void *(*lookup)(void *, const void *) = (void *)1;

struct bpf_spin_lock {
	unsigned int val;
};

struct value {
	struct bpf_spin_lock lock;
	int count;
};

struct {
	int (*type)[2];
	unsigned int *key;
	struct value *value;
	int (*max_entries)[1];
} locked SEC(".maps");

struct inner {
	int (*type)[1];
	unsigned int *key;
	unsigned int *value;
	int (*max_entries)[8];
	int (*map_flags)[1];
};

struct {
	int (*type)[12];
	unsigned int *key;
	unsigned int *value;
	int (*max_entries)[1];
	struct inner *values[];
} nested SEC(".maps");

SEC("raw_tp/made") int plain(void *context) { int key = 0; return !lookup(&locked, &key); }
SEC("raw_tp.w/made") int writable(void *context) { int key = 0; return !lookup(&locked, &key); }
SEC("perf_event") int holds(void *context) { int key = 0; return !lookup(&nested, &key); }
SEC("kprobe/two") int probes(void *context) { int key = 0; return !lookup(&nested, &key); }

char LICENSE[] SEC("license") = "Dual MIT/GPL";

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Maps as they were defined before BTF: in a section `maps`, in one each (gobpf), beside the programs of a type (v4l-utils).
 *
 *   clang-19 -O2 -target bpfel -c untyped_maps.bpf.c -o untyped_maps.bpfel.o, and -target bpfeb for untyped_maps.bpfeb.o
 */
#define SEC(name) __attribute__((section(name), used))

struct definition {
	unsigned int type;
	unsigned int key_size;
	unsigned int value_size;
	unsigned int max_entries;
	unsigned int map_flags;
};

struct definition_of_a_loader {
	struct definition common;
	unsigned int pinning;
	char namespace[12];
};

struct definition SEC("maps") first = { 1, 4, 8, 16, 1 };
struct definition SEC("maps") second = { 2, 4, 64, 2, 0 };
struct definition_of_a_loader SEC("maps/third") third = { { 5, 4, 8, 1, 0 }, 2, "host" };
struct definition SEC("socket/maps") fourth = { 2, 4, 4, 1, 0 };

static void *(*lookup)(void *map, const void *key) = (void *)1;

SEC("socket")
int both(void *ctx)
{
	unsigned int key = 0;
	unsigned long long *one = lookup(&first, &key), *two = lookup(&second, &key);

	return one && two ? *one + *two : 0;
}

SEC("socket")
int others(void *ctx)
{
	unsigned int key = 0;
	unsigned int *one = lookup(&third, &key), *two = lookup(&fourth, &key);

	return one && two ? *one + *two : 0;
}

/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * CO-RE: structures are declared with the members that are read and nothing else, marked KERNEL_TYPE; the compiler
 * records each access, and the loader writes the running kernel's offset in. Text after `___` in a structure's name
 * is ignored in the match.
 */
#ifndef PORTOLAN_CORE_H
#define PORTOLAN_CORE_H

#define KERNEL_TYPE __attribute__((preserve_access_index))

/* 1 if the kernel's structure has the member. enum bpf_core_relo_kind of include/uapi/linux/bpf.h: FIELD_EXISTS. */
#define core_field_exists(field) __builtin_preserve_field_info(field, 2)

/* The kernel's number of an enumerator: clang's kind 1 is the value (0 would ask whether it exists). */
#define core_enum_value(enum_type, value) __builtin_preserve_enum_value(*(enum_type *)value, 1)

/* The value of a member where pointers cannot be followed as they stand; zero if its memory cannot be read. */
#define core_read(probe_read, member)                                                                       \
	({                                                                                                  \
		typeof(member) value = 0;                                                                   \
		probe_read(&value, sizeof(value), __builtin_preserve_access_index(&(member)));              \
		value;                                                                                      \
	})

#endif

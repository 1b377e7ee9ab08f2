// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The types of a kernel that has task.state, and neither task.__state nor FEATURE_LOOP.
 *
 *   clang-19 -g -O2 -target bpfel -mcpu=v3 -ffile-prefix-map=$PWD=. -fdebug-compilation-dir=. -c types_old.c -o types_old.bpfel.o && llvm-strip-19 -g types_old.bpfel.o
 */
enum feature { FEATURE_MAP = 1 };
struct task { int pid; int state; };
struct task *task;
enum feature feature;

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The types of a kernel that renamed task.state to task.__state and has FEATURE_LOOP.
 *
 *   clang-19 -g -O2 -target bpfel -mcpu=v3 -ffile-prefix-map=$PWD=. -fdebug-compilation-dir=. -c types_new.c -o types_new.bpfel.o && llvm-strip-19 -g types_new.bpfel.o
 */
enum feature { FEATURE_MAP = 1, FEATURE_LOOP = 9 };
struct task { int pid; long flags; unsigned int __state; };
struct task *task;
enum feature feature;

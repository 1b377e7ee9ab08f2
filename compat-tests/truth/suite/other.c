// Sizes, loops, sections, licences, younger instruction sets.

//# z_big1m
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    asm volatile(".rept 1000010; r1=1; .endr" ::: "r1");
    return 0;
}

//# z_big5000
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    asm volatile(".rept 5000; r1=1; .endr" ::: "r1");
    return 0;
}

//# z_big70000
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    asm volatile(".rept 70000; r1=1; .endr" ::: "r1");
    return 0;
}

//# z_loop100
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    int r = 0;
    for (volatile int i = 0; i < 100; i++) r++;
    return r & 1;
}

//# z_loop2m
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    for (volatile int i = 0; i < 2000000; i++);
    return 0;
}

//# z_loop_unb
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    u64 n = ctx[1], r = 0;
    for (u64 i = 0; i < n; i++) {
        asm volatile("");
        r += i;
    }
    return r & 1;
}

//# z_sec_question empty
SEC("?raw_tp/sys_enter") int p(u64 *ctx) { return 0; }

//# z_sec_unknown empty
SEC("foo/bar") int p(u64 *ctx) { return 0; }

//# z_v4div cpu=v4
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    long a = ctx[1];
    return a / 3;
}

//# z_v4sext cpu=v4
SEC("raw_tp/sys_enter") int p(u64 *ctx) {
    volatile signed char a = ctx[1];
    return a;
}

// Single instructions: reserved fields, ranges of operands, jumps, stack slots, registers never written.

//# v_addpct
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r0 = 0;"
                 ".byte 0xbf,0xa1,255,255,0,0,0,0;"
                 "exit;");
}

//# v_addrcast
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r0 = 0;"
                 "r1 = 0;"
                 ".byte 0xbf,0x10,1,0,1,0,0,0;"
                 "r0 = 0;"
                 "exit;");
}

//# v_atomic8
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r2 = 1;"
                 "r0 = 0;"
                 "*(u64*)(r10 - 8) = r2;"
                 ".byte 0xd3,0x2a,0xf8,0xff,0,0,0,0;"
                 "exit;");
}

//# v_atomic_and
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r2 = 1;"
                 "r0 = 0;"
                 "*(u64*)(r10 - 8) = r2;"
                 ".byte 0xdb,0x2a,0xf8,0xff,0x50,0,0,0;"
                 "exit;");
}

//# v_atomic_bad
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r2 = 1;"
                 "r0 = 0;"
                 "*(u64*)(r10 - 8) = r2;"
                 ".byte 0xdb,0x2a,0xf8,0xff,0x20,0,0,0;"
                 "exit;");
}

//# v_atomic_ctx
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r2 = 1;"
                 "r0 = 0;"
                 ".byte 0xdb,0x21,0,0,0,0,0,0;"
                 "exit;");
}

//# v_atomic_fetch
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r2 = 1;"
                 "r0 = 0;"
                 "*(u64*)(r10 - 8) = r2;"
                 ".byte 0xdb,0x2a,0xf8,0xff,1,0,0,0;"
                 "exit;");
}

//# v_atomic_stack_uninit
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r2 = 1;"
                 "r0 = 0;"
                 ".byte 0xdb,0x2a,0xf8,0xff,0,0,0,0;"
                 "exit;");
}

//# v_badop
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r0 = 0;"
                 ".byte 0xff,0,0,0,0,0,0,0;"
                 "exit;");
}

//# v_bswap
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r0 = 8;"
                 ".byte 0xd7,0,0,0,16,0,0,0;"
                 "exit;");
}

//# v_call_unk999
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("call 999;"
                 "r0 = 0;"
                 "exit;");
}

//# v_callee_clob
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("call 5;"
                 "r0 = r1;"
                 "exit;");
}

//# v_ctx_mod
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r1 += 8;"
                 "r0 = *(u64*)(r1 + 0);"
                 "exit;");
}

//# v_ctx_rawtp_4
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r0 = *(u32*)(r1 + 0);"
                 "exit;");
}

//# v_ctx_rawtp_big
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r0 = *(u64*)(r1 + 104);"
                 "exit;");
}

//# v_ctx_store
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r0 = 0;"
                 "*(u64*)(r1 + 0) = r0;"
                 "exit;");
}

//# v_ctx_var
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r2 = *(u64*)(r1 + 0);"
                 "r2 &= 8;"
                 "r1 += r2;"
                 "r0 = *(u64*)(r1 + 0);"
                 "exit;");
}

//# v_deref_scalar
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r1 = 5;"
                 "r0 = *(u64*)(r1 + 0);"
                 "exit;");
}

//# v_div0
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r0 = 1;"
                 "r0 /= 0;"
                 "exit;");
}

//# v_exit_reserved
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r0 = 0;"
                 ".byte 0x95,0,1,0,0,0,0,0;");
}

//# v_fall_dead_uninit
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r1 = 0;"
                 "if r1 == 0 goto +1;"
                 "r0 = r5;"
                 "r0 = 0;"
                 "exit;");
}

//# v_gotox
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r0 = 0;"
                 ".byte 0x0d,0,0,0,0,0,0,0;"
                 "exit;");
}

//# v_half_uninit
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r2 = *(u64*)(r1 + 0);"
                 "if r2 == 0 goto +1;"
                 "r0 = 0;"
                 "exit;");
}

//# v_ja32
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r0 = 0;"
                 ".byte 0x06,0,0,0,0,0,0,0;"
                 "exit;");
}

//# v_jump_out
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r0 = 0;"
                 ".byte 0x05,0,0x40,0,0,0,0,0;"
                 "exit;");
}

//# v_ldabs_nor6
SEC("tc") __naked int p(void *ctx) {
    asm volatile(".byte 0x20,0,0,0,0,0,0,0;"
                 "exit;");
}

//# v_ldabs_tc
SEC("tc") __naked int p(void *ctx) {
    asm volatile("r6 = r1;"
                 ".byte 0x20,0,0,0,0,0,0,0;"
                 "exit;");
}

//# v_ldabs_tracing
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r6 = r1;"
                 ".byte 0x20,0,0,0,0,0,0,0;"
                 "exit;");
}

//# v_ldacq
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r2 = 1;"
                 "*(u64*)(r10 - 8) = r2;"
                 ".byte 0xdb,0xa0,0xf8,0xff,0x00,1,0,0;"
                 "r0 = 0;"
                 "exit;");
}

//# v_ldimm_src9
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile(".byte 0x18,0x90,0,0,0,0,0,0,0,0,0,0,0,0,0,0;"
                 "r0 = 0;"
                 "exit;");
}

//# v_ldsx
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r1 = 0;"
                 "*(u64*)(r10 - 8) = r1;"
                 ".byte 0x91,0xa0,0xf8,0xff,0,0,0,0;"
                 "exit;");
}

//# v_loop_inf
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r0 = 0;"
                 "l%=: goto l%=;" ::
                     : "memory");
}

//# v_maygoto
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r0 = 0;"
                 ".byte 0xe5,0,0,0,0,0,0,0;"
                 "exit;");
}

//# v_misalign
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r1 = 0;"
                 "*(u64*)(r10 - 9) = r1;"
                 "r0 = 0;"
                 "exit;");
}

//# v_movsx
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r0 = 8;"
                 ".byte 0xbf,0,8,0,0,0,0,0;"
                 "exit;");
}

//# v_noexit
SEC("raw_tp/sys_enter") __naked int p(void *ctx) { asm volatile("r0 = 0;"); }

//# v_ptr_leak_map
MAP(m, BPF_MAP_TYPE_ARRAY, u32, u64, 1);
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r0 = %[m] ll;"
                 "exit;" ::[m] "i"(&m));
}

//# v_ptr_mul
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r1 = r10;"
                 "r1 *= 2;"
                 "r0 = 0;"
                 "exit;");
}

//# v_r10write
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r10 = 0;"
                 "r0 = 0;"
                 "exit;");
}

//# v_reserved
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile(".byte 0xb7,0x10,0,0,0,0,0,0;"
                 "exit;");
}

//# v_retctx
SEC("tc") __naked int p(void *ctx) {
    asm volatile("r0 = r1;"
                 "exit;");
}

//# v_retptr
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r0 = r10;"
                 "exit;");
}

//# v_sdiv
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r0 = 8;"
                 "r1 = 3;"
                 ".byte 0x3f,0x10,1,0,0,0,0,0;"
                 "exit;");
}

//# v_shift64
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r0 = 1;"
                 "r0 <<= 64;"
                 "exit;");
}

//# v_stack520
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r1 = 0;"
                 "*(u64*)(r10 - 520) = r1;"
                 "r0 = 0;"
                 "exit;");
}

//# v_stack_pos
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r1 = 0;"
                 "*(u64*)(r10 + 8) = r1;"
                 "r0 = 0;"
                 "exit;");
}

//# v_stack_unin
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r0 = *(u64*)(r10 - 8);"
                 "exit;");
}

//# v_uninit_r0
SEC("raw_tp/sys_enter") __naked int p(void *ctx) { asm volatile("exit;"); }

//# v_uninit_r3
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r0 = r3;"
                 "exit;");
}

//# v_unreach
SEC("raw_tp/sys_enter") __naked int p(void *ctx) {
    asm volatile("r0 = 0;"
                 "exit;"
                 "r0 = 1;"
                 "exit;");
}

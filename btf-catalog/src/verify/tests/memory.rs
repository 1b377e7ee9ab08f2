//! Memory that the kernel keeps to itself, sockets, and what global functions are given.

use super::*;

/// `r0` is found in such a map, tested, and used by `then`.
fn found_in(map_type: MapType, then: &[Insn]) -> Option<String> {
    let tested = [&[if_eq(0, 0, then.len() as i16)], then, &[set(0, 0), RETURN]].concat();
    let verified = verified_of(&entry("xdp", &looked_up(&tested)), map(map_type), None, Traits::default());
    verified.refused().map(|fault| fault.why.clone())
}

#[test]
fn devices_in_maps_are_not_written() {
    let written = found_in(MapType::DEVMAP, &[insn(0x62, 0, 0, 0, 0)]);
    assert_eq!(written.as_deref(), Some("writes to the map map, which programs may not"));
    assert_eq!(found_in(MapType::DEVMAP, &[insn(0x61, 1, 0, 0, 0)]), None);
    assert_eq!(found_in(MapType::CPUMAP, &[insn(0x62, 0, 0, 0, 0)]), None);
}

#[test]
fn fields_of_sockets_are_read_as_they_are() {
    // The socket of a tc program's packet, a full one behind bpf_sk_fullsock(), one of TCP behind bpf_tcp_sock().
    let (full, tcp) = (95, 96);
    let read = |cast: Option<i32>, code: u8, off: i16| {
        let end = [insn(code, 1, 0, off, 0), set(0, 0), RETURN];
        let cast = cast.map_or_else(Vec::new, |cast| vec![copy(1, 0), helper(cast), if_eq(0, 0, 1)]);
        let found = [&[load(0, 1, 168), if_eq(0, 0, cast.len() as i16 + 1)], &cast[..], &end].concat();
        let verified = verified("tc", &found);
        (verified.refused().is_some(), verified.is_clean())
    };
    let (runs, refused) = ((false, true), (true, false));
    let [byte, half, word, double] = [0x71, 0x69, 0x61, 0x79];
    // family whole and in part; mark, of full sockets alone; addresses; dst_port and what is behind it.
    assert_eq!(read(None, word, 4), runs);
    assert_eq!(read(None, half, 4), runs);
    assert_eq!(read(None, half, 6), refused);
    assert_eq!(read(None, word, 16), refused);
    assert_eq!(read(Some(full), word, 16), runs);
    assert_eq!(read(Some(full), half, 16), refused);
    assert_eq!(read(Some(full), byte, 27), runs);
    assert_eq!(read(Some(full), double, 24), refused);
    assert_eq!(read(Some(full), half, 50), refused);
    // snd_cwnd, bytes_received, and what may come to be behind the end.
    assert_eq!(read(Some(tcp), word, 0), runs);
    assert_eq!(read(Some(tcp), half, 0), refused);
    assert_eq!(read(Some(tcp), double, 80), runs);
    assert_eq!(read(Some(tcp), word, 80), refused);
    assert_eq!(read(Some(tcp), word, 112), (false, false));
}

#[test]
fn what_the_kernel_keeps_in_a_value_is_not_touched() {
    let mut types = Writer::default();
    let int = types.int("int", 4, 0);
    let long = types.int("long", 8, 0);
    let timer = types.structure("bpf_timer", 8, &[("opaque", long, 0)]);
    let value_type = types.structure("value", 16, &[("a", int, 0), ("timer", timer, 64)]);
    let read = |off: i16, keeps_timers: Option<bool>| {
        let mut keeps = map(MapType::HASH);
        keeps.value_type = Some(TypeId(value_type));
        let then = [if_eq(0, 0, 1), insn(0x61, 1, 0, off, 0), set(0, 0), RETURN];
        let traits = Traits { keeps_timers, ..Traits::default() };
        let found = verified_of(&entry("tc", &looked_up(&then)), keeps, Some(types.btf()), traits);
        (found.refused().map(|fault| fault.why.clone()), found.is_clean())
    };
    // Beside it, all is as in any value.
    assert_eq!(read(0, Some(true)), (None, true));
    assert_eq!(read(8, Some(true)), (Some("accesses the timer in a map's value".to_owned()), false));
    assert_eq!(read(12, None), (None, false));
}

/// A call of a global function whose argument is a pointer to 8 bytes, or a number, with what `given` leaves in r1.
fn global_given(pointer: bool, given: &[Insn]) -> (Option<String>, bool) {
    let mut types = Writer::default();
    let long = types.int("long", 8, 0);
    let to_long = types.raw("", BtfKind::Ptr, false, 0, long, &[]);
    let argument = if pointer { to_long } else { long };
    let proto = types.raw("", BtfKind::FuncProto, false, 1, long, &[0, argument]);
    let function = types.raw("function", BtfKind::Func, false, 1, proto, &[]);
    let caller = [given, &[call(2), set(0, 0), RETURN]].concat();
    let mut whole = with_function("tc", &caller, true, &[set(0, 0), RETURN]);
    whole.functions[1].type_id = Some(TypeId(function));
    let traits = Traits { reads_unset_stack: Some(false), ..Traits::default() };
    let found = verified_of(&whole, map(MapType::HASH), Some(types.btf()), traits);
    (found.refused().map(|fault| fault.why.clone()), found.is_clean())
}

#[test]
fn global_functions_are_given_what_they_take() {
    let stack = |byte_sz: i16| [insn(0x7a, 10, 0, -8, 0), copy(1, 10), add(1, i32::from(-byte_sz))];
    let given = |pointer: bool, given: &[Insn]| global_given(pointer, given);
    assert_eq!(given(true, &stack(8)), (None, true));
    assert_eq!(given(true, &[set(1, 0)]), (None, true));
    assert_eq!(given(false, &[set(1, 7)]), (None, true));
    let refused = |pointer: bool, insns: &[Insn]| given(pointer, insns).0.unwrap_or_default();
    let beyond = refused(true, &stack(4));
    assert!(beyond.starts_with("accesses 8 bytes at -4 of the stack"), "{beyond}");
    assert_eq!(refused(true, &[copy(1, 10), add(1, -16)]), "reads stack that was never written");
    let number = refused(true, &[set(1, 7)]);
    assert_eq!(number, "gives the function function() a number as argument 1, which is a pointer");
    let pointer = refused(false, &[copy(1, 10)]);
    assert_eq!(pointer, "gives the function function() the stack as argument 1, which is a number");
    // Of the packet, some verifiers give nothing.
    let packet =
        [insn(0x61, 2, 1, 76, 0), insn(0x61, 3, 1, 80, 0), copy(1, 2), add(2, 8), insn(0x2d, 2, 3, 1, 0)];
    assert_eq!(given(true, &packet), (None, false));
}

#[test]
fn a_lock_counts_in_maps_that_take_it() {
    let mut types = Writer::default();
    let int = types.int("int", 4, 0);
    let lock = types.structure("bpf_spin_lock", 4, &[("val", int, 0)]);
    let value_type = types.structure("value", 16, &[("lock", lock, 0), ("a", int, 32)]);
    let two = types.structure("two", 16, &[("lock", lock, 0), ("other", lock, 32)]);
    let read = |map_type: MapType, value: u32, flags: u32| {
        let mut keeps = map(map_type);
        (keeps.value_type, keeps.flags) = (Some(TypeId(value)), flags);
        let then = [if_eq(0, 0, 1), insn(0x61, 1, 0, 0, 0), set(0, 0), RETURN];
        let found = verified_of(&entry("tc", &looked_up(&then)), keeps, Some(types.btf()), Traits::default());
        (found.refused().is_some(), found.is_clean())
    };
    assert_eq!(read(MapType::HASH, value_type, 0), (true, false));
    assert_eq!(read(MapType::ARRAY, value_type, 0), (true, false));
    // These are refused, and made again without types.
    for map_type in [MapType::LRU_HASH, MapType::PERCPU_HASH, MapType::PERCPU_ARRAY] {
        assert_eq!(read(map_type, value_type, 0), (false, false));
    }
    assert_eq!(read(MapType::HASH, two, 0), (false, false));
    assert_eq!(read(MapType::ARRAY, value_type, 1 << 7), (false, false));
}

#[test]
fn maps_that_programs_may_not_change_are_not_changed_by_helpers() {
    let changed = |flags: u32| {
        let (update, delete) = (2, 3);
        let map_insns = [insn(LD_IMM64, 1, 1, 0, 0), Insn::default()];
        let key = [insn(0x62, 10, 0, -4, 0), copy(2, 10), add(2, -4)];
        let value =
            [insn(0x7a, 10, 0, -16, 0), insn(0x7a, 10, 0, -24, 0), copy(3, 10), add(3, -24), set(4, 0)];
        let updates = [&key[..], &value, &map_insns, &[helper(update), set(0, 0), RETURN]].concat();
        let deletes = [&key[..], &map_insns, &[helper(delete), set(0, 0), RETURN]].concat();
        [updates, deletes].map(|insns| {
            let mut read_only = map(MapType::HASH);
            read_only.flags = flags;
            let found = verified_of(&entry("xdp", &insns), read_only, None, Traits::default());
            found.refused().map(|fault| fault.why.clone())
        })
    };
    assert_eq!(changed(0), [None, None]);
    let why = |name: &str| Some(format!("changes the map map by {name}(), which programs may not"));
    assert_eq!(changed(1 << 7), [why("bpf_map_update_elem"), why("bpf_map_delete_elem")]);
}

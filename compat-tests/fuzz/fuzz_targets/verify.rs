//! Entries of hostile objects, walked as the verifier does: an answer in bounded time, whatever the program's type.
#![no_main]

use btf_catalog::BpfObject;
use btf_catalog::object::SectionKind;
use btf_catalog::reach::Constants;
use btf_catalog::verify::{ReturnRange, Subject, Traits, verify};
use libfuzzer_sys::fuzz_target;

/// Sections of types that the walk tells apart: by their context, what they may return, whether they see packets.
const SECTIONS: [&str; 10] = [
    "xdp",
    "tc",
    "socket",
    "kprobe/f",
    "fentry/f",
    "lsm/f",
    "sockops",
    "cgroup/skb",
    "struct_ops/f",
    "freplace/f",
];
/// Entries of one object that are walked.
const ENTRIES: usize = 4;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, object)) = data.split_first() else { return };
    let Ok(mut object) = BpfObject::parse(object.to_vec()) else { return };
    let kind = SectionKind::from_name(SECTIONS[usize::from(choice) % SECTIONS.len()]);
    let mut entries = std::mem::take(&mut object.entries);
    entries.truncate(ENTRIES);
    let knows = |bit: u8| (choice & bit != 0).then_some(choice & 0x10 != 0);
    let traits = Traits {
        reads_unset_stack: knows(0x20),
        stack_grows_by_reads: knows(0x40),
        knows_array_entries: knows(0x80),
        takes_all_loops: knows(0x08),
        keeps_timers: knows(0x04),
        returns: (choice & 0x10 != 0).then_some(ReturnRange { min: 0, max: 1, half: choice & 0x20 != 0 }),
    };
    let constants = Constants::of(&object);
    for mut entry in entries {
        entry.kind.clone_from(&kind);
        let insns = entry.insns.clone();
        let subject = Subject { object: &object, entry: &entry, insns: &insns, constants: &constants };
        let verified = verify(subject, traits);
        for fault in &verified.faults {
            assert!(fault.insn_off < insns.len(), "{}: a fault beyond the program: {fault:?}", entry.name);
        }
        assert!(verified.refused().is_none() || !verified.is_clean());
        assert_eq!(verify(subject, traits), verified, "{}: two answers", entry.name);
    }
});

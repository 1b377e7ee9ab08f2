//! An object on a kernel, both hostile: relocated, judged, minimised for and written.
//!
//! The first two bytes say how much of the input is the kernel's BTF; the rest is the object.
#![no_main]

use btf_catalog::core::{CoreReloKind, KernelSide, Relocator, Resolution, TargetBtf};
use btf_catalog::kernel::{Kernel, KernelConfig};
use btf_catalog::minimize::Minimizer;
use btf_catalog::reach::{Constants, reach};
use btf_catalog::require::{Counting, call_chains, invalid_insns, needs};
use btf_catalog::{BpfObject, Btf, write};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use probe_matrix::derive::Offline;
use probe_matrix::predict::{Options, predict};
use std::sync::Arc;

fuzz_target!(|data: &[u8]| {
    let Some((len, rest)) = data.split_first_chunk::<2>() else { return };
    let (btf, object) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes(*len))));
    let bytes = Bytes::copy_from_slice(object);
    let Ok(object) = BpfObject::parse(bytes.clone()) else { return };
    let Ok(btf) = Btf::parse(btf.to_vec()) else { return };
    let types = TargetBtf::new(Arc::new(btf));
    let config = config();
    let side = KernelSide {
        types: &types,
        modules_whole: true,
        config: Some(&config),
        version: Some(0x06_0c_00),
        symbols: None,
    };

    let mut constants = Constants::of(&object);
    constants.externs = Some(Resolution::new(&object, &side));
    let mut minimizer = Minimizer::new(&types);
    minimizer.add("object", &object);
    let minimized = Btf::parse(minimizer.finish().btf).expect("a minimised BTF that can be read");
    let minimized = TargetBtf::new(Arc::new(minimized));
    let (mut whole, mut part) = (Relocator::new(&object, &types), Relocator::new(&object, &minimized));
    for entry in &object.entries {
        let relocated = whole.relocate(entry);
        let insns = relocated.as_ref().map_or(&entry.insns, |relocated| &relocated.insns);
        let reached = reach(&object, entry, insns, &constants);
        let _ = (needs(&object, entry, insns, Some(&reached)), call_chains(entry, insns, &reached.stack, Counting::LENIENT));
        let _ = invalid_insns(&object, entry, insns);
        // Ids are those of the BTF that is used, and types that answer no are left out of a part of it; the answers
        // are the same.
        if let (Ok(whole), Ok(part)) = (&relocated, &part.relocate(entry)) {
            for (whole, part) in whole.outcomes.iter().zip(&part.outcomes) {
                assert!(
                    whole.kind == CoreReloKind::TypeIdTarget || whole.outcome == part.outcome,
                    "{whole:?}, minimised {part:?}"
                );
            }
        }
    }

    if let Ok(written) = write::relocated(&bytes, &object, &side) {
        let bytes = Bytes::from(written.bytes);
        let again = BpfObject::parse(bytes.clone()).expect("a written object that can be read");
        assert!(again.entries.iter().all(|entry| entry.core_relos.is_empty()), "relocations are left");
        assert_eq!(again.entries.len(), object.entries.len(), "written with other entries");
        let twice = write::relocated(&bytes, &again, &side).expect("a written object that can be written");
        assert!(twice.bytes == bytes, "relocating what is relocated changes it");
    }

    let kernel = Kernel {
        btf: Some(types.vmlinux().bytes().clone()),
        config: Some(config.clone()),
        modules_whole: true,
        ..Kernel::default()
    };
    let verdicts = predict(&object, &Offline::new(&kernel), &Options::default());
    assert_eq!(verdicts.len(), object.entries.len());
});

fn config() -> KernelConfig {
    let options =
        [("CONFIG_NET", "y"), ("CONFIG_BPF_EVENTS", "m"), ("CONFIG_HZ", "250"), ("CONFIG_TEXT", "\"fuzz\"")];
    let options = options.map(|(option, value)| (option.to_owned(), value.to_owned()));
    KernelConfig { options: options.into(), source: "fuzz".to_owned() }
}

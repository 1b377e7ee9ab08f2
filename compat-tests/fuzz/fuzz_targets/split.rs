//! Split BTF over a base that is another's: a module's over vmlinux's, or over the distilled base that it brings along.
//!
//! The first two bytes say how much of the input is the base; the rest is the split BTF.
#![no_main]

use btf_catalog::{Btf, BtfKind, TypeId};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

fuzz_target!(|data: &[u8]| {
    let Some((len, rest)) = data.split_first_chunk::<2>() else { return };
    let (base, own) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes(*len))));
    let distilled = base.to_vec();
    let Ok(base) = Btf::parse(distilled.clone()) else { return };
    let base = Arc::new(base);
    // As a distilled base, it is put over itself.
    if let Ok(over) = Btf::parse_distilled(own.to_vec(), distilled, &base) {
        look(&over, &base);
    }
    let Ok(split) = Btf::parse_split(own.to_vec(), &base) else { return };
    look(&split, &base);
});

/// Asks everything of every type: ids one past the end are as legal to ask for as any.
fn look(split: &Btf, base: &Btf) {
    assert_eq!(split.type_count() as usize, base.type_count() as usize + split.own_ids().count());
    for id in (0..=split.type_count()).map(TypeId) {
        let ty = split.ty(id);
        let _ = (split.resolve(id).kind(), split.size_of(id));
        let _ = (ty.members().count(), ty.enumerators().count(), ty.params().count(), ty.secinfos().count());
        if !ty.name().is_empty() && ty.kind() != BtfKind::Unknown {
            let found = split.find_by_name_kind(ty.name(), ty.kind());
            let found = split.ty(found.expect("a type that its name does not find"));
            assert_eq!((found.name(), found.kind()), (ty.name(), ty.kind()));
        }
    }
}

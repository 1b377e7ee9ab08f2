//! BTF: whatever is accepted can be walked to the end, and split BTF over itself too.
#![no_main]

use btf_catalog::{Btf, TypeId};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

fuzz_target!(|data: &[u8]| {
    let Ok(btf) = Btf::parse(data.to_vec()) else { return };
    walk(&btf);
    if let Ok(split) = Btf::parse_split(data.to_vec(), &Arc::new(btf)) {
        walk(&split);
    }
});

fn walk(btf: &Btf) {
    // Ids one past the end are as legal to ask for as any.
    for id in (0..=btf.type_count()).map(TypeId) {
        let ty = btf.ty(id);
        let _ = (ty.name(), ty.size(), ty.type_id(), ty.int(), ty.array(), ty.extra());
        let _ = (ty.members().count(), ty.enumerators().count(), ty.params().count(), ty.secinfos().count());
        let _ = (btf.resolve(id).kind(), btf.size_of(id));
        let _ = btf.find_by_name_kind(ty.name(), ty.kind());
        let _ = btf.own_with_essential_name(ty.name(), ty.kind()).count();
    }
}

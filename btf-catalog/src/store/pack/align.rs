//! Which type of the base a type is: the one that a C header would declare in the same words.

use super::model::{Model, Role, Shape, split_info};
use crate::raw::BtfKind;
use std::collections::HashMap;

/// How deep anonymous types are followed. Deeper ones differ in their hash only by their kinds.
const DEPTH: u32 = 6;

/// One number for each type, equal where the declarations are: named types that it refers to count by kind and name.
pub(super) fn declarations(model: &Model) -> Vec<u64> {
    let strings: Vec<u64> =
        (0..model.strings.len() as u32).map(|number| hash_bytes(model.string(number))).collect();
    (0..model.len()).map(|ty| declaration(model, &strings, ty, true, DEPTH)).collect()
}

fn declaration(model: &Model, strings: &[u64], id: usize, root: bool, depth: u32) -> u64 {
    if id == 0 || id >= model.len() {
        return id.min(1) as u64;
    }
    let words = model.ty(id);
    let (kind, vlen) = split_info(words[1]);
    let name = words[0];
    // A forward declaration and what it declares are the same to those who point at it.
    if !root && name != 0 && !matches!(kind, BtfKind::Func | BtfKind::Var) {
        return mix(mix(7, strings[name as usize]), kind as u64);
    }
    let Some(shape) = Shape::of(kind).filter(|_| depth > 0) else {
        return mix(kind as u64, vlen as u64);
    };
    let refer = |id: u32| declaration(model, strings, id as usize, false, depth - 1);
    let mut hash = mix(mix(u64::from(words[1]), strings[name as usize]), 3);
    hash = mix(hash, if shape.third == Role::Ref { refer(words[2]) } else { u64::from(words[2]) });
    let roles = shape.fixed.iter().chain(shape.element.iter().cycle());
    for (word, role) in words[3..].iter().zip(roles) {
        let part = match role {
            Role::Name => strings[*word as usize],
            // What lies in a section is known by the section.
            Role::Ref if kind == BtfKind::Datasec => 0,
            // An anonymous struct is looked into once only.
            Role::Ref if root || shape.element.is_empty() || kind == BtfKind::FuncProto => refer(*word),
            Role::Ref => 0,
            Role::Value => u64::from(*word),
        };
        hash = mix(hash, part);
    }
    hash
}

/// For each type of `model`, the type of `base` that it is; each type of the base at most once.
///
/// `guess` is asked first what would be expected next, so that where several are equal the order decides.
pub(super) fn align(model: &Model, base: &Model, rank: &[u32]) -> Vec<Option<u32>> {
    let (ours, theirs) = (declarations(model), declarations(base));
    let mut by_hash: HashMap<u64, Vec<u32>> = HashMap::with_capacity(base.len());
    let mut by_name: HashMap<(&[u8], BtfKind), Vec<u32>> = HashMap::new();
    for (id, hash) in theirs.iter().enumerate().skip(1) {
        by_hash.entry(*hash).or_default().push(id as u32);
        let name = base.string(base.ty(id)[0]);
        if !name.is_empty() {
            by_name.entry((name, base.kind(id))).or_default().push(id as u32);
        }
    }
    let mut used = vec![false; base.len()];
    let mut last = 0i64;
    let mut aligned = vec![None; model.len()];
    let take = |of: &mut Vec<u32>, last: &mut i64, used: &mut Vec<bool>| {
        of.retain(|id| !used[*id as usize]);
        let nearest =
            of.iter().copied().min_by_key(|id| (i64::from(rank[*id as usize]) - *last - 1).abs())?;
        used[nearest as usize] = true;
        *last = i64::from(rank[nearest as usize]);
        Some(nearest)
    };
    for id in 1..model.len() {
        aligned[id] = by_hash.get_mut(&ours[id]).and_then(|of| take(of, &mut last, &mut used));
    }
    for id in 1..model.len() {
        let name = model.string(model.ty(id)[0]);
        if aligned[id].is_none() && !name.is_empty() {
            if let Some(near) = aligned[id - 1] {
                last = i64::from(rank[near as usize]);
            }
            let key = (name, model.kind(id));
            aligned[id] = by_name.get_mut(&key).and_then(|of| take(of, &mut last, &mut used));
        }
    }
    aligned
}

fn mix(hash: u64, part: u64) -> u64 {
    let hash = (hash.rotate_left(23) ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ hash >> 29
}

fn hash_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(bytes.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)))
}

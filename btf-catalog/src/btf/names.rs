//! Finding types by name: a hash table over essential names, and what an essential name is.

use super::{Btf, TypeId};
use memchr::{memchr, memmem};

/// A hash table over the essential names of a BTF's own types: one chain a bucket, each ascending by id.
pub(super) struct NameTable {
    heads: Vec<u32>,
    next: Vec<u32>,
    first_id: u32,
}

impl NameTable {
    const END: u32 = u32::MAX;

    pub(super) fn build(btf: &Btf) -> NameTable {
        let buckets = btf.offsets.len().next_power_of_two();
        let mut table = NameTable {
            heads: vec![Self::END; buckets],
            next: vec![Self::END; btf.offsets.len()],
            first_id: btf.first_id,
        };
        let strings = btf.own_strings();
        // Names with a flavour are rare: one sweep over all strings finds the blocks of 64 bytes that have one.
        let mut flavoured = vec![false; strings.len() / 64 + 2];
        for at in memmem::find_iter(strings, b"___") {
            flavoured[at / 64] = true;
        }
        // Backwards, so that each chain ascends.
        for id in (btf.first_id.max(1)..btf.type_count()).rev() {
            let ty = btf.ty(TypeId(id));
            let own = ty.name_off().checked_sub(btf.first_str).map(|off| off as usize);
            let hash = match own.and_then(|off| Some((off, strings.get(off..)?))) {
                Some((off, rest)) => {
                    let name = &rest[..memchr(0, rest).unwrap_or(rest.len())];
                    if name.is_empty() {
                        continue;
                    } else if flavoured[off / 64..=(off + name.len()) / 64].contains(&true) {
                        hash(essential_name(ty.name()))
                    } else {
                        hash_bytes(name)
                    }
                }
                // A string of the base, or none.
                None if ty.name().is_empty() => continue,
                None => hash(essential_name(ty.name())),
            };
            let bucket = table.bucket(hash);
            table.next[(id - btf.first_id) as usize] = std::mem::replace(&mut table.heads[bucket], id);
        }
        table
    }

    fn bucket(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.heads.len() - 1)
    }

    pub(super) fn chain(&self, name: &str) -> impl Iterator<Item = u32> + '_ {
        let mut at = self.heads[self.bucket(hash(name))];
        std::iter::from_fn(move || {
            let id = at;
            (id != Self::END).then(|| {
                at = self.next[(id - self.first_id) as usize];
                id
            })
        })
    }
}

fn hash(name: &str) -> u64 {
    hash_bytes(name.as_bytes())
}

/// Hashes a name eight bytes at a time, since an index hashes every name of a kernel.
fn hash_bytes(name: &[u8]) -> u64 {
    // 2^64 divided by the golden ratio.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    let (words, rest) = name.as_chunks::<8>();
    let hash = words.iter().fold(0, |hash, word| step(hash, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    step(hash, u64::from_le_bytes(last))
}

/// Essential name: the text before the last `X___Y` where neither X nor Y is `_`.
///
/// Same rule as libbpf's `bpf_core_essential_name_len()` (tools/lib/bpf/relo_core.c).
pub fn essential_name(name: &str) -> &str {
    let bytes = name.as_bytes();
    let separator =
        bytes.windows(5).rposition(|w| w[0] != b'_' && w[1..4] == *b"___" && w[4] != b'_').map(|at| at + 1);
    separator.map_or(name, |end| &name[..end])
}

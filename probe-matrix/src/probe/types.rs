//! The kinds of BTF that the kernel takes with a program: `BPF_BTF_LOAD`.

use super::Out;
use super::ask::{Needs, Node, probed, tell, unknown};
use crate::facts::{Fact, Support};
use crate::sys::errno_name;
use rustix::io::Errno;

/// Source of the facts here.
const BTF_LOAD: &str = "BPF_BTF_LOAD";

/// Type id of the integer that every BTF here begins with.
pub(crate) const INTEGER: u32 = 1;

const INT: u32 = 1;
const PTR: u32 = 2;
const STRUCT: u32 = 4;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const FLOAT: u32 = 16;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;

/// Linkage of a function that other objects may call; as `vlen` of a FUNC since v5.6.
const LINKAGE_GLOBAL: u32 = 1;

/// Offset of `x` in the names.
const X: u32 = 1;
/// Offset of `.d`, a section's name.
const SECTION: u32 = 3;
const NAMES: &[u8] = b"\0x\0.d\0";

/// A type's `info` word.
const fn info(kind: u32, vlen: u32) -> u32 {
    kind << 24 | vlen
}

/// A 32-bit signed integer called `x`: what every BTF here begins with.
const INTEGER_WORDS: [u32; 4] = [X, info(INT, 0), 4, 1 << 24 | 32];

/// A BTF of the integer and of what `words` describe, from type 2 on.
fn btf(words: &[u32]) -> Vec<u8> {
    const HEADER_SZ: u32 = 24;
    let types: Vec<u32> = [&INTEGER_WORDS[..], words].concat();
    let type_sz = types.len() as u32 * 4;
    let mut bytes = Vec::new();
    bytes.extend(0xeb9f_u16.to_ne_bytes());
    bytes.extend([1, 0]);
    for word in [HEADER_SZ, 0, type_sz, type_sz, NAMES.len() as u32].into_iter().chain(types) {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(NAMES);
    bytes
}

/// A BTF with one integer, of type id [`INTEGER`].
pub(crate) fn integer() -> Vec<u8> {
    btf(&[])
}

/// Kinds by the name of their fact, with a BTF that uses them.
fn questions() -> [(&'static str, Vec<u8>); 9] {
    let proto = [0, info(FUNC_PROTO, 0), 0];
    let function = |linkage| [&proto[..], &[X, info(FUNC, linkage), 2]].concat();
    let variable = [X, info(VAR, 0), INTEGER, 0];
    [
        ("func", btf(&function(0))),
        ("func_global", btf(&function(LINKAGE_GLOBAL))),
        ("var", btf(&variable)),
        ("datasec", btf(&[&variable[..], &[SECTION, info(DATASEC, 1), 4, 2, 0, 4]].concat())),
        ("float", btf(&[X, info(FLOAT, 0), 4])),
        ("decl_tag", btf(&[&variable[..], &[X, info(DECL_TAG, 0), 2, u32::MAX]].concat())),
        ("type_tag", btf(&[X, info(TYPE_TAG, 0), INTEGER, 0, info(PTR, 0), 2])),
        ("enum64", btf(&[0, info(ENUM64, 1), 8, X, 0, 1])),
        ("struct", btf(&[X, info(STRUCT, 1), 4, X, INTEGER, 0])),
    ]
}

/// Facts `bpf.btf.*`.
pub(crate) fn facts(node: &mut Node<'_>, out: &mut Out<'_>) {
    let base = node.kernel.btf_load(&integer(), None);
    let known = base.is_ok();
    let fact = match base {
        Ok(_) => probed(Support::Yes, BTF_LOAD),
        Err(errno) => refusal(node, errno),
    };
    tell(out, "bpf.btf.load", fact);
    for (name, bytes) in questions() {
        let fact = match node.kernel.btf_load(&bytes, None) {
            Ok(_) => probed(Support::Yes, BTF_LOAD),
            Err(errno) if known => refusal(node, errno),
            Err(errno) => unknown(errno, BTF_LOAD, "BTF without this kind is refused as well"),
        };
        tell(out, format!("bpf.btf.{name}"), fact);
    }
}

fn refusal(node: &Node<'_>, errno: Errno) -> Fact {
    node.no_answer(errno, Needs::Bpf, BTF_LOAD)
        .unwrap_or_else(|| probed(Support::No, BTF_LOAD).errno(errno_name(errno)))
}

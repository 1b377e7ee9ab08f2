//! A kernel that never was, of the types in `cases/offline/kernel.c`, and objects to be judged on it.

use btf_catalog::kernel::{Image, Kernel, KernelConfig, Module, Segment, Symbols};
use btf_catalog::{BpfObject, Btf, BtfKind};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::Path;

/// An object of the cases.
pub(crate) fn object(name: &str) -> BpfObject {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/offline").join(name);
    BpfObject::parse(std::fs::read(path).expect("a case")).expect("an object")
}

/// A configuration with these options on.
fn config(options: &[&str]) -> KernelConfig {
    let options = options.iter().map(|option| ((*option).to_owned(), "y".to_owned())).collect();
    KernelConfig { options, source: "a made-up kernel".to_owned() }
}

/// BTF of a module over `base`: one function, `in_module`, that takes nothing and returns nothing.
fn module(base: &Btf) -> Bytes {
    let (first_type, first_string) = (base.type_count() + 1, strings_len(base));
    let kind = |kind: BtfKind| (kind as u32) << 24;
    let types = [0, kind(BtfKind::FuncProto), 0, first_string + 1, kind(BtfKind::Func), first_type];
    let strings = b"\0in_module\0";
    let mut bytes = vec![0x9f, 0xeb, 1, 0];
    for word in
        [24, 0, types.len() as u32 * 4, types.len() as u32 * 4, strings.len() as u32].iter().chain(&types)
    {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(strings);
    bytes.into()
}

/// Length of a BTF's strings, the last word of its header of 24 bytes.
fn strings_len(btf: &Btf) -> u32 {
    u32::from_le_bytes(btf.bytes()[20..24].try_into().expect("four bytes"))
}

/// An image with functions of the kernel, and a set of those that XDP programs may call.
fn image(btf: &Btf) -> Image {
    const SET: u64 = 0x1000;
    let id = btf.find_by_name_kind("callable", BtfKind::Func).expect("a function");
    // Count, flags of the set; id, flags of the function.
    let words = [1, 1, id.0, 0].into_iter().flat_map(u32::to_le_bytes);
    let functions =
        ["two", "by_value", "callable", "pointers"].iter().zip(0x2000..).map(|(name, at)| (at, b'T', *name));
    let set = (SET, b'r', "__BTF_ID__set8__bpf_kfunc_check_set_xdp");
    Image {
        segments: vec![Segment { address: SET, data: words.collect::<Vec<u8>>().into() }],
        big_endian: false,
        symbols: Symbols::from_unsorted(functions.chain([set])),
    }
}

/// The made-up kernel, with one module.
pub(crate) fn kernel() -> Kernel {
    kernel_of("kernel.bpfel.o")
}

/// The made-up kernel with the types of an object.
pub(crate) fn kernel_of(types: &str) -> Kernel {
    let btf = object(types).btf.expect("its types");
    let module = Module { btf: Some(module(&btf)), ..Module::default() };
    Kernel {
        btf: Some(btf.bytes().clone()),
        image: Some(image(&btf)),
        modules: BTreeMap::from([("made".to_owned(), module)]),
        modules_whole: true,
        config: Some(config(&[
            "CONFIG_NET",
            "CONFIG_BPF_EVENTS",
            "CONFIG_KPROBE_EVENTS",
            "CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS",
        ])),
        ..Kernel::default()
    }
}

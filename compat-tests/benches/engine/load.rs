//! Reading vmlinux's BTF and finding one type by name, from bytes in memory.

use crate::inputs::{kernel, read};
use crate::turns::{Case, Turn, repeat};
use btf_catalog::{Btf, BtfKind};
use bytes::Bytes;

const TIMES: usize = 31;
/// A type that every kernel has, and that stands far behind in libbpf's linear search.
const NAME: &str = "xfrm_state";

/// Load and index of one kernel's BTF.
pub(crate) struct Load {
    pub(crate) name: &'static str,
    /// What the kernel's release begins with.
    pub(crate) release: &'static str,
}

impl Case for Load {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> String {
        format!("read the BTF of Linux {} and find struct {NAME}", self.release)
    }

    fn peers(&self) -> Vec<(&'static str, Result<(), String>)> {
        vec![
            ("portolan", Ok(())),
            ("floor: one pass over bytes", Ok(())),
            ("libbpf", Ok(())),
            ("aya-obj", Ok(())),
            ("btf-rs", Ok(())),
        ]
    }

    fn turn(&self, peer: &str) -> Result<Turn, String> {
        let data = Bytes::from(read(&kernel(self.release)?)?);
        let missing = || format!("{NAME} was not found");
        match peer {
            "portolan" => repeat(TIMES, || {
                let btf = Btf::parse(data.clone()).map_err(|error| error.to_string())?;
                btf.find_by_name_kind(NAME, BtfKind::Struct).ok_or_else(missing)?;
                Ok(btf)
            }),
            "libbpf" => repeat(TIMES, || {
                let btf = libbpf_peer::Btf::parse(&data).map_err(|errno| format!("errno {errno}"))?;
                btf.find_by_name(NAME).ok_or_else(missing)?;
                Ok(btf)
            }),
            "aya-obj" => repeat(TIMES, || {
                let btf = aya_obj::btf::Btf::parse(&data, object::Endianness::Little)
                    .map_err(|error| error.to_string())?;
                btf.id_by_type_name_kind(NAME, aya_obj::btf::BtfKind::Struct)
                    .map_err(|error| error.to_string())?;
                Ok(btf)
            }),
            "btf-rs" => repeat(TIMES, || {
                let btf = btf_rs::Btf::from_bytes(&data).map_err(|error| error.to_string())?;
                let found = btf.resolve_types_by_name(NAME).map_err(|error| error.to_string())?;
                if found.is_empty() { Err(missing()) } else { Ok(btf) }
            }),
            // What no reader can do without: every word of the types and every byte of the strings is looked at once.
            "floor: one pass over bytes" => repeat(TIMES, || {
                let (words, _) = data.as_chunks::<4>();
                Ok(std::hint::black_box(
                    words.iter().fold(0u32, |sum, word| sum.wrapping_add(u32::from_le_bytes(*word))),
                ))
            }),
            other => Err(format!("no peer {other:?}")),
        }
    }
}

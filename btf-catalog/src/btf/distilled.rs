//! Modules that bring their own base: `.BTF` over the few types of `.BTF.base`, put over vmlinux's types.
//!
//! Kernels since v6.11 build modules outside of their tree so: the numbers of vmlinux's types may differ from those that
//! the module was compiled against, and names and sizes say which types are meant.

use super::walk::rewrite;
use super::{Btf, BtfError, BtfKind, Type, TypeId};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

/// Arrays of arrays are followed that deep, as the kernel does (`MAX_RESOLVE_DEPTH`, kernel/bpf/btf.c).
const MAX_DIMENSIONS: usize = 32;

/// A type of the distilled base: what it was found to be.
#[derive(Clone, Copy, Default)]
struct Mapped {
    /// Whether a type of the module has it as a part, so that its size must be vmlinux's.
    embedded: bool,
    found: Option<TypeId>,
}

impl Btf {
    /// Reads a module's BTF that stands over a distilled base, as split BTF over `vmlinux`.
    ///
    /// Same rules as the kernel's `btf_relocate()` (tools/lib/bpf/btf_relocate.c, v6.12), with its quirks: where that
    /// fails, this does.
    pub fn parse_distilled(
        data: impl Into<Bytes>,
        distilled: impl Into<Bytes>,
        vmlinux: &Arc<Btf>,
    ) -> Result<Btf, BtfError> {
        let distilled = Arc::new(Btf::parse(distilled)?);
        let module = Btf::parse_split(data, &distilled)?;
        let unseen = [&*distilled, &module, vmlinux].iter().find_map(|btf| btf.stopped_at());
        if let Some((id, kind)) = unseen {
            return Err(BtfError::BaseStopped { id: id.0, kind });
        }
        if distilled.big_endian != vmlinux.big_endian {
            return Err(BtfError::BaseEndianness);
        }
        let map = module.map(&distilled, vmlinux)?;
        // Names of the distilled base are appended to the module's own.
        let (own_strings, base_strings) = (module.own_strings(), distilled.own_strings());
        let (base_end, own_len) = (distilled.str_end(), own_strings.len() as u32);
        let strings = |off: u32| match off {
            0 => 0,
            off if off < base_end => vmlinux.str_end() + own_len + off,
            off => off - base_end + vmlinux.str_end(),
        };
        let types = |id: u32| match map.get(id as usize) {
            Some(mapped) => mapped.0,
            None => id - distilled.type_count() + vmlinux.type_count(),
        };
        let mut data = module.data.to_vec();
        for id in module.own_ids() {
            let ty = module.ty(id);
            rewrite(&mut data[ty.byte_off()..], module.big_endian, strings, types).map_err(|kind| {
                BtfError::Type { id: id.0, off: ty.byte_off(), what: format!("of unknown kind {kind}") }
            })?;
        }
        let mut put = |field: usize, value: usize| {
            let word = value as u32;
            let bytes = if module.big_endian { word.to_be_bytes() } else { word.to_le_bytes() };
            data[field..field + 4].copy_from_slice(&bytes);
        };
        put(16, module.data.len() - module.header_len);
        put(20, own_strings.len() + base_strings.len());
        data.extend([own_strings, base_strings].concat());
        Btf::parse_split(data, vmlinux)
    }

    /// For each type of the distilled base, `void` included, the type of vmlinux that it is.
    fn map(&self, distilled: &Btf, vmlinux: &Btf) -> Result<Vec<TypeId>, BtfError> {
        use BtfKind::{Enum, Enum64, Float, Fwd, Int, Struct, Union};
        let wrong = |ty: Type, what: String| BtfError::Type {
            id: ty.id().0,
            off: ty.byte_off(),
            what: format!("{} of the distilled base {what}", ty.name()),
        };
        let mut map = vec![Mapped::default(); distilled.type_count() as usize];
        let mut by_name: HashMap<&str, Vec<TypeId>> = HashMap::new();
        for ty in distilled.own_ids().map(|id| distilled.ty(id)) {
            if ty.name().is_empty() || !matches!(ty.kind(), Int | Float | Enum | Struct | Union | Fwd) {
                return Err(wrong(ty, format!("is a {} that cannot be in one", ty.kind().name())));
            }
            by_name.entry(ty.name()).or_default().push(ty.id());
        }
        let composites = self.own_ids().map(|id| self.ty(id));
        for member in composites.filter(|ty| matches!(ty.kind(), Struct | Union)).flat_map(Type::members) {
            let mut part = self.resolve(member.ty);
            // No deeper: an array may have itself for its elements.
            for _ in 0..MAX_DIMENSIONS {
                let Some(array) = part.array() else { break };
                part = self.resolve(array.elem);
            }
            if let (Some(mapped), Struct | Union) = (map.get_mut(part.id().0 as usize), part.kind()) {
                mapped.embedded = true;
            }
        }
        let named = |ty: &Type| by_name.contains_key(ty.name());
        let mut composites: HashMap<&str, u32> = HashMap::new();
        for ty in vmlinux.own_ids().map(|id| vmlinux.ty(id)).filter(named) {
            if matches!(ty.kind(), Struct | Union) {
                *composites.entry(ty.name()).or_default() += 1;
            }
        }
        for ty in vmlinux.own_ids().map(|id| vmlinux.ty(id)) {
            let Some(of_name) = by_name.get(ty.name()) else { continue };
            let needs_size = match ty.kind() {
                Int | Float | Enum | Enum64 => true,
                Fwd => false,
                Struct | Union => composites.get(ty.name()).is_some_and(|count| *count > 1),
                _ => continue,
            };
            for id in of_name {
                let (distilled, mapped) = (distilled.ty(*id), &mut map[id.0 as usize]);
                let same_size = ty.size() == distilled.size();
                let same = match distilled.kind() {
                    // The kernel looks at one bit for what it says of a forward declaration and of a struct.
                    Fwd => match ty.kind() {
                        Fwd => ty.kind_flag() == distilled.kind_flag(),
                        Struct => !ty.kind_flag(),
                        Union => ty.kind_flag(),
                        _ => false,
                    },
                    Int => ty.kind() == Int && ty.int().map(|int| int.0) == distilled.int().map(|int| int.0),
                    Float => ty.kind() == Float,
                    Enum => matches!(ty.kind(), Enum | Enum64),
                    _ => !mapped.embedded || same_size,
                };
                if !same || needs_size && !same_size {
                    continue;
                }
                if let Some(other) = mapped.found.replace(ty.id()) {
                    return Err(wrong(distilled, format!("can be {other} and {} of vmlinux", ty.id())));
                }
            }
        }
        let missing = map.iter().skip(1).position(|mapped| mapped.found.is_none());
        if let Some(missing) = missing {
            let ty = distilled.ty(TypeId(missing as u32 + 1));
            return Err(wrong(
                ty,
                format!("is no type of vmlinux ({}, {} bytes)", ty.kind().name(), ty.size()),
            ));
        }
        Ok(map.into_iter().map(|mapped| mapped.found.unwrap_or_default()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BTF of these words with these strings.
    fn btf(words: &[u32], strings: &str) -> Vec<u8> {
        let types = words.len() as u32 * 4;
        let mut data = vec![0x9f, 0xeb, 1, 0];
        let header = [24, 0, types, types, strings.len() as u32];
        data.extend(header.iter().chain(words).flat_map(|word| word.to_le_bytes()));
        data.extend(strings.as_bytes());
        data
    }

    const fn info(kind: BtfKind, vlen: u32) -> u32 {
        (kind as u32) << 24 | vlen
    }

    /// vmlinux with `void *` first, then `struct a` of `size` bytes and `int`; `more` after them. Strings: 1 `a`, 3 `int`.
    fn vmlinux(size: u32, more: &[u32]) -> Arc<Btf> {
        use BtfKind::{Int, Ptr, Struct};
        let words = [0, info(Ptr, 0), 0, 1, info(Struct, 0), size, 3, info(Int, 0), 4, 0x0100_0020];
        Arc::new(Btf::parse(btf(&[&words, more].concat(), "\0a\0int\0")).unwrap())
    }

    /// A module's struct `m` that has an `int` and, as a part or by a pointer, a struct `a` of 8 bytes.
    fn module(embedded: bool, vmlinux: &Arc<Btf>) -> Result<Btf, BtfError> {
        use BtfKind::{Int, Ptr, Struct};
        let distilled = btf(&[1, info(Int, 0), 4, 0x0100_0020, 5, info(Struct, 0), 8], "\0int\0a\0");
        // Numbers behind the two of the base, names behind its seven bytes: 7 `m`, 9 `x`.
        let part = if embedded { 2 } else { 4 };
        let own = [7, info(Struct, 2), 16, 9, 1, 0, 5, part, 64, 0, info(Ptr, 0), 2];
        Btf::parse_distilled(btf(&own, "m\0x\0"), distilled, vmlinux)
    }

    #[test]
    fn types_of_the_distilled_base_are_those_of_vmlinux() {
        for (embedded, size) in [(true, 8), (false, 8), (false, 24)] {
            let vmlinux = vmlinux(size, &[]);
            let module = module(embedded, &vmlinux).unwrap();
            let id = module.find_by_name_kind("m", BtfKind::Struct).unwrap();
            let members: Vec<_> =
                module.ty(id).members().map(|member| (member.name.to_owned(), member.ty)).collect();
            let part = if embedded { TypeId(2) } else { TypeId(5) };
            assert_eq!((id, members), (TypeId(4), vec![("x".to_owned(), TypeId(3)), ("a".to_owned(), part)]));
            assert_eq!(module.ty(TypeId(5)).type_id(), TypeId(2));
        }
    }

    #[test]
    fn what_the_kernel_refuses_is_refused() {
        use BtfKind::{Int, Struct};
        let text = |vmlinux: &Arc<Btf>, embedded| module(embedded, vmlinux).unwrap_err().to_string();
        assert!(text(&vmlinux(24, &[]), true).contains("a of the distilled base is no type of vmlinux"));
        let two = text(&vmlinux(8, &[1, info(Struct, 0), 8]), false);
        assert!(two.contains("a of the distilled base can be [2] and [4] of vmlinux"), "{two}");
        // Of two of a name the size decides.
        assert!(module(true, &vmlinux(24, &[1, info(Struct, 0), 8])).is_ok());
        let distilled = btf(&[0, info(Int, 0), 4, 0x20], "\0");
        let error = Btf::parse_distilled(btf(&[], ""), distilled, &vmlinux(8, &[])).unwrap_err();
        assert!(error.to_string().contains("cannot be in one"), "{error}");
    }
}

//! Externs: the undefined symbols that a `.kconfig` or `.ksyms` section of the object's BTF declares.
//!
//! Their order, and the place of each option in the map that libbpf makes of `.kconfig`, are part of what the kernel
//! sees: `bpf_object__collect_externs()` of tools/lib/bpf/libbpf.c, v6.12.

use super::ObjectError;
use super::elf::File;
use crate::btf::{Btf, BtfKind, TypeId, essential_name};
use crate::raw::{INT_BOOL, INT_SIGNED};
use std::cmp::Reverse;
use std::collections::HashMap;

/// A symbol that the kernel or its configuration must provide.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extern {
    /// Its name.
    pub name: String,
    /// Whether the object copes without it.
    pub weak: bool,
    /// What it is.
    pub kind: ExternKind,
    /// Its `FUNC` or `VAR` in the object's BTF.
    pub decl: TypeId,
    /// Its type without modifiers and typedefs; void for a variable of which only the address is wanted.
    pub ty: TypeId,
    /// Where its value lies, for one of `.kconfig`.
    pub slot: Option<KconfigSlot>,
}

/// Bytes of the map that `.kconfig` becomes; a text of the kernel's configuration has a few hundred at most.
const MAX_KCONFIG_SZ: u32 = 1 << 20;

/// What an extern is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ExternKind {
    /// `.kconfig`: a configuration option, `LINUX_KERNEL_VERSION` or another value that libbpf provides.
    Kconfig,
    /// `.ksyms`: a function of the kernel, called by its BTF id.
    Kfunc,
    /// `.ksyms`: a variable of the kernel.
    Ksym,
}

/// The place of an option in the value of the map that `.kconfig` becomes, and how it is written there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KconfigSlot {
    /// Bytes from the start of the map's value.
    pub byte_off: u32,
    /// Bytes it takes.
    pub byte_sz: u32,
    /// How its value is written.
    pub format: KconfigFormat,
}

/// How the value of an option is written: libbpf's `enum kcfg_type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KconfigFormat {
    /// `bool`: `y` or off.
    Bool,
    /// `enum libbpf_tristate`: off 0, `y` 1, `m` 2.
    Tristate,
    /// `char`: the letter itself, or a number of one byte.
    Char {
        /// Whether it is signed.
        signed: bool,
    },
    /// An integer of 2, 4 or 8 bytes.
    Int {
        /// Whether it is signed.
        signed: bool,
    },
    /// An array of `char`: text without its quotes, cut to fit with its final NUL.
    Text,
}

impl Extern {
    /// The name that the kernel is asked for: that of a kfunc ends where its flavour (`___v2`) begins.
    pub fn kernel_name(&self) -> &str {
        if self.kind == ExternKind::Kfunc { essential_name(&self.name) } else { &self.name }
    }
}

/// All externs in libbpf's order: options by alignment from large to small, then size and name; then the others by name.
pub(super) fn read(file: &File, btf: Option<&Btf>) -> Result<Vec<Extern>, ObjectError> {
    let undefined: Vec<_> = file.symbols.iter().filter(|symbol| symbol.is_extern()).collect();
    let Some(first) = undefined.first() else {
        return Ok(Vec::new());
    };
    let btf = btf.ok_or_else(|| ObjectError::Extern {
        name: first.name.to_owned(),
        what: "undefined, and without .BTF nothing tells what it is".to_owned(),
    })?;
    // The first of a name counts, and the first section that lists it.
    let (mut decls, mut sections) = (HashMap::new(), HashMap::new());
    for ty in btf.own_ids().map(|id| btf.ty(id)) {
        match ty.kind() {
            BtfKind::Var | BtfKind::Func => _ = decls.entry(ty.name()).or_insert(ty),
            BtfKind::Datasec => {
                for (listed, ..) in ty.secinfos() {
                    sections.entry(listed).or_insert(ty.name());
                }
            }
            _ => {}
        }
    }
    let mut externs = Vec::with_capacity(undefined.len());
    for symbol in undefined {
        let bad = |what: &str| ObjectError::Extern { name: symbol.name.to_owned(), what: what.to_owned() };
        let decl = *decls.get(symbol.name).ok_or_else(|| bad("neither defined nor declared in .BTF"))?;
        let is_func = decl.kind() == BtfKind::Func;
        // BTF_FUNC_EXTERN and BTF_VAR_GLOBAL_EXTERN are both 2; a function keeps its linkage in `vlen`.
        let linkage = if is_func { Some(decl.vlen() as u32) } else { decl.extra() };
        if linkage != Some(2) {
            return Err(bad("undefined, though .BTF says that it is defined here"));
        }
        let ty = btf.resolve(decl.type_id());
        let (kind, slot) = match sections.get(&decl.id()).copied() {
            Some(".kconfig") if is_func => return Err(bad("a function in .kconfig")),
            Some(".kconfig") => {
                let slot = slot(btf, decl.type_id()).ok_or_else(|| {
                    bad("of a type that no option has: bool, char, integers, enum libbpf_tristate, char arrays")
                })?;
                (ExternKind::Kconfig, Some(slot))
            }
            Some(".ksyms") => (if is_func { ExternKind::Kfunc } else { ExternKind::Ksym }, None),
            Some(other) => return Err(bad(&format!("declared in section {other}, not .kconfig or .ksyms"))),
            None => return Err(bad("declared in no section of .BTF")),
        };
        let (name, weak) = (symbol.name.to_owned(), symbol.weak);
        externs.push(Extern { name, weak, kind, decl: decl.id(), ty: ty.id(), slot });
    }
    externs.sort_by(|a, b| key(btf, a).cmp(&key(btf, b)));
    let mut end = 0u32;
    for ext in &mut externs {
        if let Some(slot) = &mut ext.slot {
            slot.byte_off = end.next_multiple_of(align(btf, ext.ty));
            end = slot.byte_off.saturating_add(slot.byte_sz);
            if end > MAX_KCONFIG_SZ {
                let what = format!("passes the {MAX_KCONFIG_SZ} bytes of .kconfig that are read");
                return Err(ObjectError::Extern { name: ext.name.clone(), what });
            }
        }
    }
    Ok(externs)
}

fn key<'a>(btf: &Btf, ext: &'a Extern) -> (bool, Reverse<u32>, u32, &'a str) {
    match ext.slot {
        Some(slot) => (false, Reverse(align(btf, ext.ty)), slot.byte_sz, &ext.name),
        None => (true, Reverse(0), 0, &ext.name),
    }
}

/// Alignment in bytes of a type that an option may have.
fn align(btf: &Btf, ty: TypeId) -> u32 {
    let ty = btf.resolve(ty);
    if ty.array().is_some() { 1 } else { ty.size().clamp(1, 8) }
}

/// The slot of an option of that type, its offset still open; `None` for a type that no option has
/// (`find_kcfg_type()`).
fn slot(btf: &Btf, ty: TypeId) -> Option<KconfigSlot> {
    let resolved = btf.resolve(ty);
    let signed = |encoding| encoding & INT_SIGNED != 0;
    let format = match resolved.kind() {
        BtfKind::Int => match (resolved.int()?.0, resolved.size()) {
            (encoding, 1) if encoding & INT_BOOL != 0 => KconfigFormat::Bool,
            (encoding, _) if encoding & INT_BOOL != 0 => return None,
            (encoding, 1) => KconfigFormat::Char { signed: signed(encoding) },
            (encoding, 2 | 4 | 8) => KconfigFormat::Int { signed: signed(encoding) },
            _ => return None,
        },
        BtfKind::Enum if resolved.size() != 4 => return None,
        // Four bytes are written, whatever it is declared with.
        BtfKind::Enum64 if resolved.size() < 4 => return None,
        BtfKind::Enum | BtfKind::Enum64 if resolved.name() == "libbpf_tristate" => KconfigFormat::Tristate,
        BtfKind::Array => {
            let array = resolved.array().filter(|array| array.nelems > 0)?;
            let elem = btf.resolve(array.elem);
            let plain_char =
                elem.size() == 1 && elem.int().is_some_and(|(encoding, ..)| encoding & INT_BOOL == 0);
            if elem.kind() != BtfKind::Int || !plain_char {
                return None;
            }
            KconfigFormat::Text
        }
        _ => return None,
    };
    Some(KconfigSlot { byte_off: 0, byte_sz: btf.size_of(ty)?, format })
}

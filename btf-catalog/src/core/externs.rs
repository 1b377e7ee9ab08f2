//! Externs: what an object declares and the kernel or its configuration defines.
//!
//! The rules are those of libbpf's `bpf_object__resolve_externs()` and `bpf_object__relocate_data()` (libbpf.c,
//! v6.12). What differs is what is not known: a configuration, a module or an address that was not looked at leaves an
//! extern [`ExternOutcome::Unknown`], where libbpf on a live system can always look.

use super::candidate::TargetBtf;
use super::kconfig;
use super::matching::{Visits, types_compatible_at_root};
use crate::btf::{Btf, BtfKind, TypeId};
use crate::insn::{CALL, Insn, PSEUDO_BTF_ID, PSEUDO_KFUNC_CALL, PSEUDO_MAP_VALUE};
use crate::kernel::KernelConfig;
use crate::object::{BpfObject, Entry, Extern, ExternKind, KconfigSlot};
use std::ops::Range;

/// The immediate of the call that stands for a weak kfunc that the kernel does not have, plus the extern's index: the
/// verifier prints `invalid func unknown#2002000003` when it gets there. libbpf writes the same.
pub const POISON_KFUNC_BASE: i32 = 2_002_000_000;

/// A kernel as far as it is known: what externs are resolved against.
#[derive(Clone, Copy)]
pub struct KernelSide<'a> {
    /// Its types.
    pub types: &'a TargetBtf,
    /// Whether `types` has every module that it can have. Without, what is not found may still be in a module.
    pub modules_whole: bool,
    /// Its configuration, whole.
    pub config: Option<&'a KernelConfig>,
    /// `LINUX_VERSION_CODE`.
    pub version: Option<u32>,
    /// Looks a symbol up in kallsyms, modules included.
    pub symbols: Option<&'a dyn Fn(&str) -> KernelSymbol>,
}

/// What kallsyms knows of a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KernelSymbol {
    /// There is no such symbol.
    Missing,
    /// There is one; its address is only known once the kernel runs.
    Present,
    /// There is one, at this address.
    At(u64),
    /// There are several, at different addresses.
    Ambiguous,
    /// It may be where nobody looked, in a module for example.
    Unknown,
}

/// What came out of one extern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExternOutcome {
    /// An option that has a value: the bytes of its slot in [`Resolution::kconfig`].
    Value,
    /// A variable or function of the kernel, by its BTF id.
    Typed {
        /// Its `VAR` or `FUNC`.
        id: TypeId,
        /// Index of its module in [`TargetBtf::modules`]; `None` for the kernel itself.
        module: Option<usize>,
        /// For a function: place of its module's BTF in the load's `fd_array`, 0 for the kernel itself.
        fd_index: i16,
    },
    /// A symbol of which only the address is wanted. `None`: it is there, and its address only known at run time.
    Address(Option<u64>),
    /// Weak and not there (a function also when its signature differs): reads as zero; a call is poisoned.
    MissingWeak,
    /// Not there, or not what the object takes it for: libbpf refuses the object.
    Refused(String),
    /// Whether it is there, or what its value is, is not known.
    Unknown(String),
}

/// The answers to all externs of an object.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resolution {
    /// One outcome an extern, in the order of [`BpfObject::externs`].
    pub outcomes: Vec<ExternOutcome>,
    /// Value of the map that `.kconfig` becomes; empty without options. What is not known is 0 here.
    pub kconfig: Vec<u8>,
    /// The parts of `kconfig` that are not known, in bytes, ascending.
    pub kconfig_unknown: Vec<Range<usize>>,
    /// The modules, as indices into [`TargetBtf::modules`], whose BTF the load's `fd_array` holds from index 1 on.
    pub fd_array: Vec<usize>,
}

impl Resolution {
    /// Resolves the externs of `object`.
    pub fn new(object: &BpfObject, kernel: &KernelSide) -> Resolution {
        let mut resolution = Resolution::default();
        let slots = object.externs.iter().filter_map(|ext| ext.slot);
        let kconfig_sz = slots.map(|slot| slot.byte_off as usize + slot.byte_sz as usize).max().unwrap_or(0);
        resolution.kconfig = vec![0; kconfig_sz];
        let mut visits = Visits::default();
        for ext in &object.externs {
            let outcome = match (ext.slot, &object.btf) {
                (Some(slot), _) => resolution.option(ext, slot, kernel, object.big_endian),
                (None, Some(btf)) if ext.ty != TypeId(0) => resolution.typed(btf, ext, kernel, &mut visits),
                (None, _) => untyped(ext, kernel),
            };
            resolution.outcomes.push(outcome);
        }
        resolution
    }

    /// Why libbpf would refuse the object as a whole, if it would: the first extern that is not there.
    pub fn refused<'a>(&'a self, object: &'a BpfObject) -> Option<(&'a Extern, &'a str)> {
        object.externs.iter().zip(&self.outcomes).find_map(|(ext, outcome)| match outcome {
            ExternOutcome::Refused(why) => Some((ext, why.as_str())),
            _ => None,
        })
    }

    /// The bytes `range` of the `.kconfig` map's value, where all of them are known.
    pub fn known_kconfig(&self, range: Range<usize>) -> Option<&[u8]> {
        let from = self.kconfig_unknown.partition_point(|part| part.end <= range.start);
        let unknown = self.kconfig_unknown.get(from).is_some_and(|part| part.start < range.end);
        self.kconfig.get(range).filter(|_| !unknown)
    }

    /// Writes the answers into an entry's relocated instructions, as libbpf does. Open remain the descriptors that
    /// only a load knows: of the `.kconfig` map, and of the BTF of a variable's module; what is unknown is left alone.
    pub fn apply(&self, object: &BpfObject, entry: &Entry, insns: &mut [Insn]) {
        for reference in &entry.extern_refs {
            let (at, ext) = (reference.insn_off, reference.ext);
            let second = at + 1;
            match (&self.outcomes[ext], object.externs[ext].slot) {
                (
                    ExternOutcome::Value | ExternOutcome::MissingWeak | ExternOutcome::Unknown(_),
                    Some(slot),
                ) => {
                    (insns[at].src, insns[at].imm) = (PSEUDO_MAP_VALUE, 0);
                    insns[second].imm = slot.byte_off as i32;
                }
                (ExternOutcome::Typed { id, fd_index, .. }, _) if insns[at].code == CALL => {
                    (insns[at].src, insns[at].off, insns[at].imm) =
                        (PSEUDO_KFUNC_CALL, *fd_index, id.0 as i32);
                }
                (ExternOutcome::Typed { id, .. }, _) => {
                    (insns[at].src, insns[at].imm) = (PSEUDO_BTF_ID, id.0 as i32);
                    insns[second].imm = 0;
                }
                (ExternOutcome::MissingWeak, None) if insns[at].code == CALL => {
                    insns[at] = Insn { code: CALL, imm: POISON_KFUNC_BASE + ext as i32, ..Insn::default() };
                }
                (ExternOutcome::MissingWeak, None) => (insns[at].imm, insns[second].imm) = (0, 0),
                (ExternOutcome::Address(Some(address)), _) => {
                    insns[at].imm = *address as i32;
                    insns[second].imm = (address >> 32) as i32;
                }
                (ExternOutcome::Address(None) | ExternOutcome::Refused(_) | ExternOutcome::Unknown(_), _)
                | (ExternOutcome::Value, None) => {}
            }
        }
    }

    /// An option: its value goes to its slot.
    fn option(
        &mut self,
        ext: &Extern,
        slot: KconfigSlot,
        kernel: &KernelSide,
        big_endian: bool,
    ) -> ExternOutcome {
        let place = slot.byte_off as usize..slot.byte_off as usize + slot.byte_sz as usize;
        let bytes = match ext.name.as_str() {
            name if name.starts_with("CONFIG_") => match kernel.config {
                None => Err("the kernel's configuration is not at hand".to_owned()),
                Some(config) => match config.options.get(name) {
                    Some(text) => Ok(kconfig::from_text(slot, text, big_endian)),
                    None if ext.weak => return ExternOutcome::MissingWeak,
                    None => {
                        return ExternOutcome::Refused(
                            "the kernel's configuration does not set it".to_owned(),
                        );
                    }
                },
            },
            "LINUX_KERNEL_VERSION" => known(kernel.version.map(u64::from), "the kernel's version")
                .map(|value| kconfig::from_number(slot, value, big_endian)),
            "LINUX_HAS_BPF_COOKIE" => {
                known(has_bpf_cookie(kernel).map(u64::from), "whether the kernel has bpf_get_attach_cookie()")
                    .map(|value| kconfig::from_number(slot, value, big_endian))
            }
            "LINUX_HAS_SYSCALL_WRAPPER" => {
                known(has_syscall_wrapper(kernel).map(u64::from), "whether the kernel wraps its system calls")
                    .map(|value| kconfig::from_number(slot, value, big_endian))
            }
            // libbpf's later versions may know it; with 0 the object is asked to do without.
            name if name.starts_with("LINUX_") && ext.weak => Ok(kconfig::from_number(slot, 0, big_endian)),
            _ => {
                return ExternOutcome::Refused(
                    "neither CONFIG_… nor a value that libbpf provides".to_owned(),
                );
            }
        };
        match bytes {
            Ok(Ok(bytes)) => {
                self.kconfig[place].copy_from_slice(&bytes);
                ExternOutcome::Value
            }
            Ok(Err(why)) => ExternOutcome::Refused(why),
            Err(why) => {
                self.kconfig_unknown.push(place);
                ExternOutcome::Unknown(why)
            }
        }
    }

    /// A kfunc, or a variable whose type the object knows.
    fn typed(
        &mut self,
        local: &Btf,
        ext: &Extern,
        kernel: &KernelSide,
        visits: &mut Visits,
    ) -> ExternOutcome {
        let kind = if ext.kind == ExternKind::Kfunc { BtfKind::Func } else { BtfKind::Var };
        let Some((id, module)) = kernel.types.find(ext.kernel_name(), kind) else {
            if !kernel.modules_whole {
                return ExternOutcome::Unknown(
                    "not in the kernel itself; not all its modules were looked at".to_owned(),
                );
            }
            return if ext.weak {
                ExternOutcome::MissingWeak
            } else {
                ExternOutcome::Refused("not in the types of the kernel or of its modules".to_owned())
            };
        };
        let target = kernel.types.btf(module.map_or(0, |module| module + 1));
        let theirs = target.resolve(target.ty(id).type_id()).id();
        let compatible = types_compatible_at_root(local, ext.ty, target, theirs, visits);
        if compatible != Ok(true) {
            if kind == BtfKind::Func && ext.weak {
                return ExternOutcome::MissingWeak;
            }
            let what = if kind == BtfKind::Func { "signature" } else { "type" };
            return ExternOutcome::Refused(format!("the kernel's has another {what}"));
        }
        let fd_index = match module {
            Some(module) if kind == BtfKind::Func => {
                let known = self.fd_array.iter().position(|other| *other == module);
                let index = known.unwrap_or_else(|| {
                    self.fd_array.push(module);
                    self.fd_array.len() - 1
                });
                let Ok(index) = i16::try_from(index + 1) else {
                    return ExternOutcome::Refused(
                        "functions of more modules than a program can name".to_owned(),
                    );
                };
                index
            }
            _ => 0,
        };
        ExternOutcome::Typed { id, module, fd_index }
    }
}

fn known(value: Option<u64>, what: &str) -> Result<u64, String> {
    value.ok_or_else(|| format!("{what} is not known"))
}

fn untyped(ext: &Extern, kernel: &KernelSide) -> ExternOutcome {
    let Some(symbols) = kernel.symbols else {
        return ExternOutcome::Unknown("the kernel's symbols are not at hand".to_owned());
    };
    match symbols(&ext.name) {
        KernelSymbol::At(address) => ExternOutcome::Address(Some(address)),
        KernelSymbol::Present => ExternOutcome::Address(None),
        KernelSymbol::Missing if ext.weak => ExternOutcome::MissingWeak,
        KernelSymbol::Missing => ExternOutcome::Refused("the kernel has no such symbol".to_owned()),
        KernelSymbol::Ambiguous => ExternOutcome::Refused("the kernel has several such symbols".to_owned()),
        KernelSymbol::Unknown => {
            ExternOutcome::Unknown("it may be in a module that was not looked at".to_owned())
        }
    }
}

/// What libbpf finds out by loading a tracing program that calls `bpf_get_attach_cookie()` (since v5.15).
fn has_bpf_cookie(kernel: &KernelSide) -> Option<bool> {
    let helpers = kernel.types.vmlinux().find_by_name_kind("bpf_func_id", BtfKind::Enum)?;
    let mut names = kernel.types.vmlinux().ty(helpers).enumerators();
    Some(names.any(|helper| helper.name == "BPF_FUNC_get_attach_cookie"))
}

/// What libbpf finds out by asking for a kprobe on the wrapper of bpf(2).
fn has_syscall_wrapper(kernel: &KernelSide) -> Option<bool> {
    const WRAPPERS: [&str; 4] = ["__x64_sys_bpf", "__arm64_sys_bpf", "__s390x_sys_bpf", "__riscv_sys_bpf"];
    if let Some(config) = kernel.config {
        let is_on = |option: &str| config.options.get(option).is_some_and(|value| value == "y");
        return Some(is_on("CONFIG_ARCH_HAS_SYSCALL_WRAPPER") && is_on("CONFIG_KPROBES"));
    }
    let types = kernel.types.vmlinux();
    // Its types are there for functions of the kernel that are traced; that it is not proves nothing.
    WRAPPERS.iter().any(|name| types.find_by_name_kind(name, BtfKind::Func).is_some()).then_some(true)
}

//! What a kernel offers, told from its files: facts with the evidence `derived`, of a kernel that was never booted here.
//!
//! `data/derived.tsv` says which witnesses a fact rests on: enumerators and structures of the kernel's BTF, functions,
//! symbols of its image, options of its configuration. Enumerations over-report, since they are the same whatever was
//! compiled; they are therefore always joined with something that is only there where the code is.
//! `data/helpers_by_type.tsv` says which helpers each program type can be offered. No release is compared with anything.

mod helper;
mod kfunc;
mod offered;
mod target;
mod witness;

pub(crate) use helper::{Condition, condition};
pub(crate) use kfunc::CallingProgram;
pub(crate) use offered::Place;
pub(crate) use target::{Arguments, FunctionArguments, Overridable, Word};

use crate::facts::{Evidence, Fact, Facts, Support};
use crate::profile::{Depth, NodeProfile};
use btf_catalog::core::TargetBtf;
use btf_catalog::kernel::{Inside, Kernel, KernelConfig};
use btf_catalog::{Btf, BtfKind, HelperId, ProgType};
use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

/// A kernel's files, made ready to be asked. One serves many objects and threads.
pub struct Offline<'a> {
    kernel: &'a Kernel,
    /// Types of vmlinux, where the files have them and they can be read.
    pub vmlinux: Option<TargetBtf>,
    /// Enumerators of vmlinux that begin with `BPF_`, and the hooks of kernel functions.
    enumerators: HashSet<String>,
    modules: OnceLock<Modules>,
    inside: OnceLock<Option<Inside>>,
    notes: Vec<String>,
}

/// The types of modules, and what could not be read of them.
#[derive(Default)]
struct Modules {
    types: Vec<(String, Arc<Btf>)>,
    notes: Vec<String>,
}

/// What a configuration says of an option.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting<'a> {
    /// The configuration is not known.
    Unknown,
    Off,
    On(&'a str),
}

impl<'a> Offline<'a> {
    /// Reads the types of a kernel.
    pub fn new(kernel: &'a Kernel) -> Offline<'a> {
        let mut notes = kernel.notes.clone();
        let vmlinux = kernel.btf.clone().and_then(|bytes| match Btf::parse(bytes) {
            Ok(btf) => Some(Arc::new(btf)),
            Err(error) => {
                notes.push(format!("the BTF of vmlinux cannot be parsed: {error}"));
                None
            }
        });
        if let Some((id, kind)) = vmlinux.as_ref().and_then(|btf| btf.stopped_at()) {
            notes
                .push(format!("the BTF of vmlinux was read up to type {id}, whose kind {kind} is not known"));
        }
        let enumerators = vmlinux.as_ref().map_or_else(HashSet::new, |btf| bpf_enumerators(btf));
        let vmlinux = vmlinux.map(TargetBtf::new);
        Offline { kernel, vmlinux, enumerators, modules: OnceLock::new(), inside: OnceLock::new(), notes }
    }

    /// What was read.
    pub fn kernel(&self) -> &'a Kernel {
        self.kernel
    }

    /// Its configuration, where it is known.
    pub fn config(&self) -> Option<&'a KernelConfig> {
        self.kernel.config.as_ref()
    }

    /// What could not be read of these files, in words. Reads the types of the modules.
    pub fn notes(&self) -> Vec<String> {
        self.notes.iter().chain(&self.read_modules().notes).cloned().collect()
    }

    /// The types of the kernel's modules, parsed when they are first asked for. A module whose types cannot be read is
    /// left out, and [`Offline::notes`] says so.
    pub fn modules(&self) -> &[(String, Arc<Btf>)] {
        &self.read_modules().types
    }

    /// Whether all modules that the kernel has are among them.
    pub fn modules_whole(&self) -> bool {
        self.all_modules() && self.read_modules().notes.is_empty()
    }

    /// Whether all modules are there, readable or not. A kernel may be built without any.
    fn all_modules(&self) -> bool {
        let none = || self.kernel.modules.is_empty() && self.option("CONFIG_MODULES") == Setting::Off;
        self.kernel.modules_whole || none()
    }

    fn read_modules(&self) -> &Modules {
        self.modules.get_or_init(|| {
            let mut modules = Modules::default();
            let Some(vmlinux) = &self.vmlinux else { return modules };
            for (name, module) in &self.kernel.modules {
                let Some(bytes) = module.btf.clone() else { continue };
                let parsed = match module.btf_base.clone() {
                    Some(base) => Btf::parse_distilled(bytes, base, vmlinux.vmlinux()),
                    None => Btf::parse_split(bytes, vmlinux.vmlinux()),
                };
                match parsed {
                    Ok(btf) => modules.types.push((name.clone(), Arc::new(btf))),
                    Err(error) => {
                        modules.notes.push(format!("module {name}: its BTF cannot be parsed: {error}"));
                    }
                }
            }
            modules
        })
    }

    /// What the image tells beside its symbols, read when it is first asked for.
    pub(crate) fn inside(&self) -> Option<&Inside> {
        let read = || Some(Inside::read(self.kernel.image.as_ref()?, self.vmlinux.as_ref()?.vmlinux()));
        self.kernel.inside.as_ref().or_else(|| self.inside.get_or_init(read).as_ref())
    }

    /// The module whose types have something of that name and kind.
    pub fn module_with(&self, name: &str, kind: BtfKind) -> Option<&str> {
        let mut modules = self.modules().iter();
        modules
            .find(|(_, btf)| btf.find_by_name_kind(name, kind).is_some())
            .map(|(module, _)| module.as_str())
    }

    /// vmlinux's types with those of the named modules.
    pub fn types_with(&self, modules: Option<&BTreeSet<String>>) -> Option<TargetBtf> {
        let types = self.vmlinux.as_ref()?;
        let Some(names) = modules.filter(|names| !names.is_empty()) else { return Some(types.clone()) };
        let modules = self.modules().iter().filter(|(name, _)| names.contains(name)).cloned().collect();
        Some(TargetBtf::with_modules(Arc::clone(types.vmlinux()), modules))
    }

    /// `LINUX_VERSION_CODE`, which objects may read, as libbpf tells it (`get_kernel_version()`,
    /// tools/lib/bpf/libbpf_probes.c): Debian keeps it in the banner; Ubuntu in a file of the running system, so that it
    /// is not known here. Elsewhere it is the release's.
    pub fn version_code(&self) -> Option<u32> {
        let banner = self.kernel.banner.as_deref().unwrap_or_default();
        match banner.rsplit_once("Debian ") {
            Some((_, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => version_code(version),
            _ if banner.contains("-Ubuntu ") => None,
            _ => version_code(self.kernel.release.as_deref()?),
        }
    }

    /// Whether libbpf finds a version at all: it wants three numbers, which the release of a kernel before its first point
    /// release does not have everywhere (`7.3-cloud-amd64`). `None` where that is not known.
    pub(crate) fn tells_version(&self) -> Option<bool> {
        let banner = self.kernel.banner.as_deref()?;
        if banner.contains("-Ubuntu ") {
            return None;
        }
        let debian = banner.rsplit_once("Debian ").map(|(_, version)| version);
        let three = |text: &str| {
            let mut parts = text.splitn(3, '.');
            let number = |part: Option<&str>| part.is_some_and(|part| part.parse::<u32>().is_ok());
            number(parts.next())
                && number(parts.next())
                && parts.next().is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        Some(debian.is_some_and(three) || three(self.kernel.release.as_deref()?))
    }

    /// An option of the configuration.
    pub(crate) fn option(&self, name: &str) -> Setting<'_> {
        match self.config() {
            None => Setting::Unknown,
            Some(config) => config.get(name).map_or(Setting::Off, Setting::On),
        }
    }

    /// A number of the configuration.
    pub(crate) fn number_option(&self, name: &str) -> Option<u64> {
        match self.option(name) {
            Setting::On(value) => value.parse().ok(),
            Setting::Unknown | Setting::Off => None,
        }
    }

    /// One fact, by its name; `None` where files say nothing of such a fact.
    pub fn fact(&self, name: &str) -> Option<Fact> {
        if let Some(rest) = name.strip_prefix("bpf.helper.") {
            let (prog_type, helper) = rest.split_once('.')?;
            return match HelperId::from_name(helper) {
                Some(helper) => self.helper(ProgType::from_name(prog_type)?, helper),
                None => self.not_enumerated("bpf_func_id", helper.strip_prefix("helper_")?.parse().ok()?),
            };
        }
        if let Some(fact) = self.beyond(name) {
            return Some(fact);
        }
        if let Some(function) = name.strip_prefix("symbol.") {
            return self.symbol_fact(function);
        }
        if let Some((group, event)) = name.strip_prefix("tracepoint.").and_then(|rest| rest.split_once('.')) {
            return self.event(group, event);
        }
        let derived = |support, source: &str| Fact::new(support, Evidence::Derived, source);
        let text =
            |value: &Option<String>, source| Some(derived(Support::Yes, source).value(value.as_deref()?));
        match name {
            "btf.vmlinux" => Some(self.vmlinux_fact()),
            "kernel.release" => text(&self.kernel.release, "the kernel's files"),
            "kernel.arch" => text(&self.kernel.arch, "the kernel's files"),
            "kernel.banner" => text(&self.kernel.banner, "linux_banner"),
            "kernel.build_id" => {
                let hex = |id: &Vec<u8>| {
                    id.iter().fold(String::new(), |mut hex, byte| {
                        let _ = write!(hex, "{byte:02x}");
                        hex
                    })
                };
                text(&self.kernel.build_id.as_ref().map(hex), "the kernel's notes")
            }
            _ => self.witnessed(name),
        }
    }

    /// Map types and flags that have a number and no name here: a fact where the kernel's own enumerations do not have the
    /// number either.
    fn beyond(&self, name: &str) -> Option<Fact> {
        if let Some(number) = name.strip_prefix("bpf.map_type.map_") {
            return self.not_enumerated("bpf_map_type", number.parse().ok()?);
        }
        let bit: u32 = name.strip_prefix("bpf.map_flag.bit_")?.parse().ok()?;
        let btf = self.whole_vmlinux()?;
        let mut of_maps = btf
            .enums()
            .filter(|ty| ty.enumerators().any(|enumerator| enumerator.name == "BPF_F_NO_PREALLOC"));
        let flag = 1u64.checked_shl(bit)?;
        let known = of_maps.next()?.enumerators().any(|enumerator| enumerator.value == flag);
        (!known).then(|| {
            let why = format!("the kernel's BTF has no map flag {flag:#x}");
            Fact::new(Support::No, Evidence::Derived, "the kernel's BTF").reason(why)
        })
    }

    /// A no where an enumeration of the kernel does not have that number. The last of an enumeration, which only bounds it
    /// (`__MAX_BPF_MAP_TYPE`), does not count.
    fn not_enumerated(&self, enumeration: &str, number: u32) -> Option<Fact> {
        let btf = self.whole_vmlinux()?;
        let ty = btf.ty(btf.find_by_name_kind(enumeration, BtfKind::Enum)?);
        let same = |value: u64, name: &str| value == u64::from(number) && !name.starts_with("__");
        (!ty.enumerators().any(|enumerator| same(enumerator.value, enumerator.name))).then(|| {
            let why = format!("enum {enumeration} of the kernel's BTF has no {number}");
            Fact::new(Support::No, Evidence::Derived, "the kernel's BTF").reason(why)
        })
    }

    /// vmlinux's types where all of them were read.
    fn whole_vmlinux(&self) -> Option<&Btf> {
        self.vmlinux.as_ref().map(|btf| btf.vmlinux().as_ref()).filter(|btf| btf.stopped_at().is_none())
    }

    fn vmlinux_fact(&self) -> Fact {
        let fact = |support| Fact::new(support, Evidence::Derived, "the kernel's files");
        match (&self.vmlinux, self.option("CONFIG_DEBUG_INFO_BTF")) {
            (Some(_), _) => fact(Support::Yes),
            (None, Setting::Off) => fact(Support::No).reason("built without CONFIG_DEBUG_INFO_BTF"),
            (None, _) => fact(Support::Unknown).reason("the files have none that can be read"),
        }
    }

    /// Everything that the files tell, as a node profile. What only a running system has (mounts, what is attached,
    /// privileges) is not there, and so unknown.
    pub fn profile(&self) -> NodeProfile {
        let table = witness::names().map(str::to_owned);
        let helpers = ProgType::all()
            .flat_map(|prog| HelperId::all().map(move |helper| format!("bpf.helper.{prog}.{helper}")));
        let plain = ["btf.vmlinux", "kernel.release", "kernel.arch", "kernel.banner", "kernel.build_id"];
        let names = plain.into_iter().map(str::to_owned).chain(table).chain(helpers);
        let mut facts = self.collect(names);
        for (option, value) in self.config().into_iter().flat_map(|config| &config.options) {
            let source = self.config().map_or("", |config| &config.source);
            let fact = Fact::new(Support::Yes, Evidence::Derived, source).value(value.as_str());
            facts.insert(format!("kernel.config.{option}"), fact);
        }
        NodeProfile::new(Depth::Read, facts)
    }

    fn collect(&self, names: impl IntoIterator<Item = String>) -> Facts {
        let mut facts = Facts::default();
        for name in names {
            if let Some(fact) = self.fact(&name) {
                facts.insert(name, fact);
            }
        }
        facts
    }
}

/// The code of a version's first three numbers; the last is 255 at most, as in `KERNEL_VERSION()`.
fn version_code(version: &str) -> Option<u32> {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut next = || numbers.next()?.ok();
    let (major, minor, patch) = (next()?, next()?, next().unwrap_or(0));
    Some(major.min(255) << 16 | minor.min(255) << 8 | patch.min(255))
}

fn bpf_enumerators(btf: &Btf) -> HashSet<String> {
    let hooks = btf.find_by_name_kind("btf_kfunc_hook", BtfKind::Enum).map(|id| btf.ty(id));
    let hooks = hooks.into_iter().flat_map(|ty| ty.enumerators_named("BTF_KFUNC_HOOK_"));
    hooks.chain(btf.enums().flat_map(|ty| ty.enumerators_named("BPF_"))).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_the_distribution_tells() {
        let code = |release: &str, banner: &str| {
            let kernel = Kernel {
                release: Some(release.to_owned()),
                banner: Some(banner.to_owned()),
                ..Kernel::default()
            };
            Offline::new(&kernel).version_code()
        };
        let debian = "Linux version 5.10.0-46-cloud-amd64 (debian-kernel@lists.debian.org) (gcc-10 (Debian 10.2.1-6) \
                      10.2.1) #1 SMP Debian 5.10.262-1 (2026-09-20)";
        assert_eq!(code("5.10.0-46-cloud-amd64", debian), Some(u32::from_be_bytes([0, 5, 10, 255])));
        let debian = debian.replace("5.10.262", "5.10.42");
        assert_eq!(code("5.10.0-46-cloud-amd64", &debian), Some(u32::from_be_bytes([0, 5, 10, 42])));
        assert_eq!(code("5.15.0-105-generic", "Linux version 5.15.0-105 (buildd) #115-Ubuntu SMP Mon"), None);
        assert_eq!(
            code("6.6.3", "Linux version 6.6.3 (root@host) #1 SMP"),
            Some(u32::from_be_bytes([0, 6, 6, 3]))
        );
        assert_eq!(code("7.3-cloud-amd64", ""), Some(u32::from_be_bytes([0, 7, 3, 0])));
    }

    #[test]
    fn a_module_whose_types_cannot_be_read_costs_that_module_and_is_said() {
        // A header and no types: magic, version 1, 24 bytes, and one empty name.
        let header = [0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        let empty = bytes::Bytes::copy_from_slice(&header);
        let module = |btf: &bytes::Bytes, btf_base: Option<&bytes::Bytes>| btf_catalog::kernel::Module {
            btf: Some(btf.clone()),
            btf_base: btf_base.cloned(),
            functions: Vec::new(),
        };
        let broken = empty.slice(..20);
        let modules = [("good", module(&empty, None)), ("broken", module(&broken, None))];
        let modules = modules.into_iter().chain([("outside", module(&empty, Some(&empty)))]);
        let kernel = Kernel {
            btf: Some(empty.clone()),
            modules: modules.map(|(name, module)| (name.to_owned(), module)).collect(),
            modules_whole: true,
            ..Kernel::default()
        };
        let offline = Offline::new(&kernel);
        let names: Vec<&str> = offline.modules().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((names, offline.modules_whole()), (vec!["good", "outside"], false));
        let notes = offline.notes();
        assert!(notes.len() == 1 && notes[0].contains("broken"), "{notes:?}");
    }

    #[test]
    fn libbpf_wants_three_numbers() {
        let told = |release: &str, banner: &str| {
            let kernel = Kernel {
                release: Some(release.to_owned()),
                banner: Some(banner.to_owned()),
                ..Kernel::default()
            };
            Offline::new(&kernel).tells_version()
        };
        assert_eq!(
            told("7.3-cloud-amd64", "Linux version 7.3 #1 SMP Debian 7.3~rc7-1~exp1 (2026)"),
            Some(false)
        );
        assert_eq!(told("6.1.0-56-cloud-amd64", "Linux version 6.1.0 #1 SMP Debian 6.1.192-2"), Some(true));
        assert_eq!(told("6.6.3", "Linux version 6.6.3 #1 SMP"), Some(true));
        assert_eq!(told("5.15.0-105-generic", "Linux version 5.15.0-105 #115-Ubuntu SMP Mon"), None);
    }
}

//! What travels to the worker: an object's maps, BTF and relocated entries, with all bytes beside the JSON.

use super::map::MapSpec;
use super::sanitize;
use btf_catalog::core::{ExternOutcome, Resolution, TargetBtf};
use btf_catalog::insn::{self, Insn};
use btf_catalog::object::{Entry, MapDef};
use btf_catalog::{AttachType, BpfObject, Btf, MapType, ProgType, TypeId};
use bytes::Bytes;
use probe_matrix::sys::{F_SLEEPABLE, F_XDP_HAS_FRAGS};
use probe_matrix::worker::Job;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Duration;

/// `BPF_F_RDONLY_PROG`.
const F_RDONLY_PROG: u32 = 1 << 7;

/// The worker's verb for a load.
pub const VERB: &str = "load";

/// An entry as it is to be loaded: relocated, and its attach target looked up in the kernel's BTF.
#[derive(Clone, Debug)]
pub struct EntryLoad<'a> {
    /// The entry. Its map references still hold after relocation, which changes no instruction's place.
    pub entry: &'a Entry,
    /// Its instructions after CO-RE relocation.
    pub insns: &'a [Insn],
    /// Program type.
    pub prog_type: ProgType,
    /// Attach type to be verified for, if any.
    pub attach_type: Option<AttachType>,
    /// `BPF_F_*` flags: sleepable, XDP fragments.
    pub flags: u32,
    /// BTF id of the function, tracepoint or structure that it attaches to; 0 for none.
    pub attach_btf_id: u32,
    /// The module whose BTF `attach_btf_id` belongs to; `None` for vmlinux.
    pub attach_module: Option<&'a str>,
}

impl<'a> EntryLoad<'a> {
    /// The entry as its section's name wants it loaded, without a target in the kernel's BTF; `None` if no loader knows
    /// the section.
    pub fn new(entry: &'a Entry, insns: &'a [Insn]) -> Option<EntryLoad<'a>> {
        let kind = entry.kind.as_ref()?;
        let flag = |wanted: bool, flag: u32| if wanted { flag } else { 0 };
        Some(EntryLoad {
            entry,
            insns,
            prog_type: kind.prog_type,
            attach_type: kind.attach_type,
            flags: flag(kind.sleepable, F_SLEEPABLE) | flag(kind.xdp_frags, F_XDP_HAS_FRAGS),
            attach_btf_id: 0,
            attach_module: None,
        })
    }
}

/// How a load is done.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Longest time that the kernel may take for one entry.
    pub limit: Duration,
    /// Whether the verifier's log is wanted of accepted entries too.
    pub verbose: bool,
}

impl Default for LoadOptions {
    /// 10 s an entry: a program at the verifier's limit of a million instructions takes a second or two.
    fn default() -> LoadOptions {
        LoadOptions { limit: Duration::from_secs(10), verbose: false }
    }
}

/// The request, as JSON. Bytes are blobs, referred to by index.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LoadRequest {
    pub(super) license: String,
    /// The object's BTF, its externs defined.
    pub(super) btf: Option<usize>,
    pub(super) maps: Vec<MapSpec>,
    /// Modules whose BTF is referred to. The first ones are those of the `fd_array`, from its index 1 on.
    pub(super) modules: Vec<String>,
    pub(super) entries: Vec<EntrySpec>,
    pub(super) limit_ms: u64,
    pub(super) verbose: bool,
}

/// An entry, as it travels to the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EntrySpec {
    pub(super) name: String,
    pub(super) prog_type: ProgType,
    pub(super) attach_type: Option<AttachType>,
    /// Whether kernels that do not know the attach type take the program without it.
    pub(super) attach_type_optional: bool,
    pub(super) flags: u32,
    pub(super) attach_btf_id: u32,
    /// Index into [`LoadRequest::modules`].
    pub(super) attach_module: Option<usize>,
    /// Blob of instructions.
    pub(super) insns: usize,
    /// Blob of `struct bpf_func_info` records.
    pub(super) func_info: usize,
    /// Blob of `struct bpf_line_info` records.
    pub(super) line_info: usize,
    pub(super) map_refs: Vec<MapRefSpec>,
    /// References to variables of modules.
    pub(super) module_refs: Vec<ModuleRefSpec>,
    /// Whether it has functions beside its own: which of them are verified by themselves, and which may be called back
    /// or make tail calls, the kernel reads in BTF.
    pub(super) subprograms: bool,
}

/// A reference to a map, as it travels to the worker.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct MapRefSpec {
    pub(super) insn_off: usize,
    pub(super) map: usize,
    pub(super) value_off: Option<u32>,
}

/// A reference to a variable of a module, whose BTF the instruction behind names.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct ModuleRefSpec {
    pub(super) insn_off: usize,
    /// Index into [`LoadRequest::modules`].
    pub(super) module: usize,
}

/// What an object's externs came to, and the names of the modules that they are in.
#[derive(Clone, Copy, Debug)]
pub struct Linked<'a> {
    /// The answers; they must already be in the instructions ([`Resolution::apply`]).
    pub resolution: &'a Resolution,
    /// What they were resolved against.
    pub types: &'a TargetBtf,
}

/// The request for loading `entries` of `object`, and the bytes that go with it.
///
/// The object must have this machine's byte order: another one the verifier would read backwards.
pub fn request(
    object: &BpfObject,
    entries: &[EntryLoad<'_>],
    linked: Option<Linked<'_>>,
    options: LoadOptions,
) -> serde_json::Result<(serde_json::Value, Vec<Bytes>)> {
    let mut blobs = Blobs::default();
    let btf = object.btf.as_ref();
    let mut special = Special { btf, known: HashMap::new() };
    let mut maps: Vec<MapSpec> =
        object.maps.iter().map(|def| map_spec(def, &mut special, &mut blobs)).collect();
    let kconfig = linked.map(|linked| &linked.resolution.kconfig).filter(|value| !value.is_empty());
    if let Some(value) = kconfig {
        maps.push(kconfig_spec(value, &mut blobs));
    }
    let in_array = linked.iter().flat_map(|Linked { resolution, types }| {
        resolution.fd_array.iter().map(|module| types.modules()[*module].0.clone())
    });
    let mut modules: Vec<String> = in_array.collect();
    let entries =
        entries.iter().map(|load| entry_spec(object, load, linked, &mut modules, &mut blobs)).collect();
    let request = LoadRequest {
        license: object.license.clone(),
        btf: btf.map(|btf| match sanitize::with_externs_defined(btf) {
            Some(defined) => blobs.add(defined),
            None => blobs.add(btf.bytes().clone()),
        }),
        maps,
        modules,
        entries,
        limit_ms: options.limit.as_millis() as u64,
        verbose: options.verbose,
    };
    Ok((serde_json::to_value(request)?, blobs.0))
}

/// The same as a job for [`probe_matrix::worker::run`].
pub fn job(
    object: &BpfObject,
    entries: &[EntryLoad<'_>],
    linked: Option<Linked<'_>>,
    options: LoadOptions,
) -> serde_json::Result<Job> {
    let (request, blobs) = request(object, entries, linked, options)?;
    Ok(Job { verb: VERB.to_owned(), request, blobs })
}

/// Bytes that travel beside the JSON.
#[derive(Default)]
struct Blobs(Vec<Bytes>);

impl Blobs {
    fn add(&mut self, bytes: impl Into<Bytes>) -> usize {
        self.0.push(bytes.into());
        self.0.len() - 1
    }
}

/// Value types that have special fields, each looked through once: maps may share a large one.
struct Special<'o> {
    btf: Option<&'o Btf>,
    known: HashMap<TypeId, bool>,
}

impl Special<'_> {
    fn is(&mut self, ty: TypeId) -> bool {
        let Some(btf) = self.btf else { return false };
        *self.known.entry(ty).or_insert_with(|| sanitize::has_special_fields(btf, ty))
    }
}

fn map_spec(def: &MapDef, special: &mut Special, blobs: &mut Blobs) -> MapSpec {
    let is_storage = matches!(
        def.map_type,
        MapType::SK_STORAGE | MapType::INODE_STORAGE | MapType::TASK_STORAGE | MapType::CGRP_STORAGE
    );
    let is_special = def.value_type.is_some_and(|value_type| special.is(value_type));
    let inner = def.inner.as_deref().map(|inner| Box::new(map_spec(inner, special, blobs)));
    MapSpec {
        name: def.name.clone(),
        map_type: def.map_type,
        key_sz: def.key_size,
        value_sz: def.value_size,
        max_entries: def.max_entries,
        flags: def.flags,
        map_extra: def.map_extra,
        numa_node: def.numa_node.unwrap_or(0),
        key_type_id: def.key_type.map_or(0, |id| id.0),
        value_type_id: def.value_type.map_or(0, |id| id.0),
        needs_btf: is_storage || is_special || inner.as_ref().is_some_and(|inner| inner.needs_btf),
        inner,
        data: def.data.as_ref().map(|data| blobs.add(data.clone())),
        frozen: def.frozen,
    }
}

/// The map that `.kconfig` becomes: read-only to programs, and frozen, so that the verifier takes its values for
/// constants.
fn kconfig_spec(value: &[u8], blobs: &mut Blobs) -> MapSpec {
    MapSpec {
        name: ".kconfig".to_owned(),
        map_type: MapType::ARRAY,
        key_sz: 4,
        value_sz: value.len() as u32,
        max_entries: 1,
        flags: F_RDONLY_PROG,
        map_extra: 0,
        numa_node: 0,
        key_type_id: 0,
        value_type_id: 0,
        inner: None,
        data: Some(blobs.add(value.to_vec())),
        frozen: true,
        needs_btf: false,
    }
}

fn entry_spec(
    object: &BpfObject,
    load: &EntryLoad<'_>,
    linked: Option<Linked<'_>>,
    modules: &mut Vec<String>,
    blobs: &mut Blobs,
) -> EntrySpec {
    let entry = load.entry;
    // Records are given for all functions or for none: the kernel wants one at each function's start.
    let typed: Option<Vec<[u32; 2]>> = entry
        .functions
        .iter()
        .map(|function| Some([function.insn_off as u32, function.type_id?.0]))
        .collect();
    let func_info = words(typed.unwrap_or_default().iter().flatten());
    let lines = entry.lines.iter().map(|line| {
        let insn_off = line.byte_off / insn::INSN_SZ as u32;
        [insn_off, line.file_name_off, line.line_off, line.line_col]
    });
    let line_info = words(lines.collect::<Vec<_>>().iter().flatten());
    let mut map_refs: Vec<MapRefSpec> = entry
        .map_refs
        .iter()
        .map(|reference| MapRefSpec {
            insn_off: reference.insn_off,
            map: reference.map,
            value_off: reference.value_off,
        })
        .collect();
    let mut place = |name: &str| {
        modules.iter().position(|known| known == name).unwrap_or_else(|| {
            modules.push(name.to_owned());
            modules.len() - 1
        })
    };
    let mut module_refs = Vec::new();
    let answered =
        linked.iter().flat_map(|linked| entry.extern_refs.iter().map(move |reference| (linked, reference)));
    for (Linked { resolution, types }, reference) in answered {
        let insn_off = reference.insn_off;
        match (&resolution.outcomes[reference.ext], object.externs[reference.ext].slot) {
            (_, Some(slot)) => {
                let value_off = Some(slot.byte_off);
                map_refs.push(MapRefSpec { insn_off, map: object.maps.len(), value_off });
            }
            (ExternOutcome::Typed { module: Some(module), .. }, None)
                if load.insns[insn_off].is_ld_imm64() =>
            {
                module_refs.push(ModuleRefSpec { insn_off, module: place(&types.modules()[*module].0) });
            }
            _ => {}
        }
    }
    EntrySpec {
        name: entry.name.clone(),
        prog_type: load.prog_type,
        attach_type: load.attach_type,
        attach_type_optional: entry.kind.as_ref().is_some_and(|kind| kind.attach_type_optional),
        flags: load.flags,
        attach_btf_id: load.attach_btf_id,
        attach_module: load.attach_module.map(place),
        insns: blobs.add(insn::to_bytes(load.insns, cfg!(target_endian = "big"))),
        func_info: blobs.add(func_info),
        line_info: blobs.add(line_info),
        map_refs,
        module_refs,
        subprograms: entry.functions.len() > 1,
    }
}

fn words<'a>(words: impl Iterator<Item = &'a u32>) -> Vec<u8> {
    words.flat_map(|word| word.to_ne_bytes()).collect()
}

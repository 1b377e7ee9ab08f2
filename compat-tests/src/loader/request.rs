//! What travels to the worker: an object's maps, BTF and relocated entries, with all bytes beside the JSON.

use super::map::MapSpec;
use super::sanitize;
use btf_catalog::insn::{self, Insn};
use btf_catalog::object::{Entry, MapDef};
use btf_catalog::{AttachType, BpfObject, Btf, MapType, ProgType, TypeId};
use bytes::Bytes;
use probe_matrix::sys::{F_SLEEPABLE, F_XDP_HAS_FRAGS};
use probe_matrix::worker::Job;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Duration;

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
    /// Id of the loaded BTF object that `attach_btf_id` belongs to; 0 for vmlinux.
    pub attach_btf_obj_id: u32,
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
            attach_btf_obj_id: 0,
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
    pub(super) attach_btf_obj_id: u32,
    /// Blob of instructions.
    pub(super) insns: usize,
    /// Blob of `struct bpf_func_info` records.
    pub(super) func_info: usize,
    /// Blob of `struct bpf_line_info` records.
    pub(super) line_info: usize,
    pub(super) map_refs: Vec<MapRefSpec>,
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

/// The request for loading `entries` of `object`, and the bytes that go with it.
///
/// The object must have this machine's byte order: another one the verifier would read backwards.
pub fn request(
    object: &BpfObject,
    entries: &[EntryLoad<'_>],
    options: LoadOptions,
) -> serde_json::Result<(serde_json::Value, Vec<Bytes>)> {
    let mut blobs = Blobs::default();
    let btf = object.btf.as_ref();
    let mut special = Special { btf, known: HashMap::new() };
    let request = LoadRequest {
        license: object.license.clone(),
        btf: btf.map(|btf| match sanitize::with_externs_defined(btf) {
            Some(defined) => blobs.add(defined),
            None => blobs.add(btf.bytes().clone()),
        }),
        maps: object.maps.iter().map(|def| map_spec(def, &mut special, &mut blobs)).collect(),
        entries: entries.iter().map(|load| entry_spec(load, &mut blobs)).collect(),
        limit_ms: options.limit.as_millis() as u64,
        verbose: options.verbose,
    };
    Ok((serde_json::to_value(request)?, blobs.0))
}

/// The same as a job for [`probe_matrix::worker::run`].
pub fn job(object: &BpfObject, entries: &[EntryLoad<'_>], options: LoadOptions) -> serde_json::Result<Job> {
    let (request, blobs) = request(object, entries, options)?;
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

fn entry_spec(load: &EntryLoad<'_>, blobs: &mut Blobs) -> EntrySpec {
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
    EntrySpec {
        name: entry.name.clone(),
        prog_type: load.prog_type,
        attach_type: load.attach_type,
        attach_type_optional: entry.kind.as_ref().is_some_and(|kind| kind.attach_type_optional),
        flags: load.flags,
        attach_btf_id: load.attach_btf_id,
        attach_btf_obj_id: load.attach_btf_obj_id,
        insns: blobs.add(insn::to_bytes(load.insns, cfg!(target_endian = "big"))),
        func_info: blobs.add(func_info),
        line_info: blobs.add(line_info),
        map_refs: entry
            .map_refs
            .iter()
            .map(|reference| MapRefSpec {
                insn_off: reference.insn_off,
                map: reference.map,
                value_off: reference.value_off,
            })
            .collect(),
        subprograms: entry.functions.len() > 1,
    }
}

fn words<'a>(words: impl Iterator<Item = &'a u32>) -> Vec<u8> {
    words.flat_map(|word| word.to_ne_bytes()).collect()
}

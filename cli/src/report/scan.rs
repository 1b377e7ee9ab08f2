//! `ScanReport`: which objects were found where, and what each needs.

use super::matrix::Matrix;
use btf_catalog::object::{Entry, MapDef, Pinning};
use btf_catalog::reach::{Constants, Walk, before_relocation};
use btf_catalog::require::{self, EntryRequirements, Need, Needed};
use btf_catalog::scan::loaders::Loader;
use btf_catalog::scan::{Finds, Found, Place};
use btf_catalog::{BpfObject, Btf, ObjectError};
use probe_matrix::profile::Tool;
use probe_matrix::verdict::Verdict;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// Which objects were found where, and what each needs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ScanReport {
    /// What wrote it.
    pub tool: Tool,
    /// How much was looked at and found.
    pub summary: ScanSummary,
    /// The objects, in the order they were found; the same bytes at several places are one object.
    pub objects: Vec<ObjectEntry>,
    /// On which kernels the programs run; absent where no kernel was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix: Option<Matrix>,
    /// What should have been looked at and could not be, or not wholly: objects may be there that nobody has seen.
    pub incomplete: Vec<NoteEntry>,
    /// What was left out on purpose.
    pub notes: Vec<NoteEntry>,
}

/// How much was looked at and found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ScanSummary {
    /// Files.
    pub files: u64,
    /// Files that could not be opened or read.
    pub unreadable: u64,
    /// Paths that were given and of which nothing could be looked at.
    pub unusable: usize,
    /// Members of archives.
    pub members: u64,
    /// Bytes that were searched, unpacked.
    pub bytes: u64,
    /// Objects, each once, without those that are removed.
    pub objects: usize,
    /// Objects that later layers of their images delete or replace.
    pub removed: usize,
    /// Objects that cannot be read.
    pub damaged: usize,
    /// Places of objects.
    pub places: usize,
    /// Programs in the objects that are not removed.
    pub entries: usize,
}

/// An object.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ObjectEntry {
    /// A short name, from the place where it was found first; not unique.
    pub name: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Its size in bytes.
    pub bytes: usize,
    /// Everywhere it was found.
    pub places: Vec<PlaceEntry>,
    /// Whether later layers of its images delete or replace it everywhere, so that no container has it. It is not judged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
    /// Why it cannot be read; then nothing is known of its needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<ObjectNeeds>,
    /// What the loaders that were asked about cannot do with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loaders: Vec<LoaderEntry>,
}

/// Where an object is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PlaceEntry {
    /// The file, or the directory of a container image.
    pub path: String,
    /// Members of archives, from the outermost to the innermost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
    /// Bytes from the beginning of the innermost member, unpacked.
    pub offset: u64,
    /// How it is packed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed: Option<String>,
    /// The section of the executable around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// The symbol of the executable around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// The container image and its layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Whether a later layer of the image deletes or replaces it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
}

/// What a loader cannot do with an object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LoaderEntry {
    /// The loader and its version.
    pub loader: String,
    /// `runs` where it can do all that the object needs, `blocked` where it cannot, `unknown` where that depends on what was
    /// not looked at of this version.
    pub verdict: Verdict,
    /// What is not known of this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchecked: Option<String>,
    /// What the object needs and the loader cannot do.
    pub gaps: Vec<GapEntry>,
}

/// Something that an object needs and a loader cannot do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GapEntry {
    /// What: `section:tcx/ingress`, `relocation:type_matches`.
    pub feature: String,
    /// `object`: the loader refuses the object; `entry`: it refuses the programs; `silent`: it says nothing, and the
    /// programs do not do what they should.
    pub effect: String,
    /// The first version of the loader that was seen to have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The programs that need it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<String>,
    /// Where the loader was looked at.
    pub source: String,
}

/// What an object needs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectNeeds {
    /// Byte order of the machine it is built for: `little` or `big`.
    pub byte_order: String,
    /// Its licence.
    pub license: String,
    /// Whether the kernel lets it call GPL-only helpers.
    pub gpl_compatible: bool,
    /// Kinds of types in its BTF, which its loader must know.
    pub btf_kinds: Vec<String>,
    /// Its programs.
    pub entries: Vec<EntryNeeds>,
    /// Its maps.
    pub maps: Vec<MapNeeds>,
    /// What else its loader has to do, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_to_loader: Vec<String>,
}

/// What one program needs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "independent needs")]
pub struct EntryNeeds {
    /// Name of its function.
    pub name: String,
    /// Name of its section.
    pub section: String,
    /// Whether a loader loads it unasked.
    pub autoload: bool,
    /// Program type; absent for a section that no loader knows.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub prog_type: Option<String>,
    /// Attach type where the section fixes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach_type: Option<String>,
    /// Function, tracepoint or hook that it attaches to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The module that the target must belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_module: Option<String>,
    /// Whether it may sleep.
    pub sleepable: bool,
    /// Helpers that it calls.
    pub helpers: Vec<NeedEntry>,
    /// Those of them that its licence keeps it from calling.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub helpers_denied_by_license: Vec<String>,
    /// Kernel functions that it calls.
    pub kfuncs: Vec<NeedEntry>,
    /// Configuration values that it reads.
    pub kconfigs: Vec<NeedEntry>,
    /// Kernel variables that it refers to.
    pub ksyms: Vec<NeedEntry>,
    /// Maps that it uses.
    pub maps: Vec<NeedEntry>,
    /// Arguments that it reads of what it attaches to, counted from 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<NeedEntry>,
    /// Functions of its own: `name` of one that is verified with its callers, `global name` of one that is verified by
    /// itself, `callback name` of one whose address is taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<NeedEntry>,
    /// Accesses of its context that no kernel allows programs of its type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context_faults: Vec<NeedEntry>,
    /// Whether it may go on in another program (`bpf_tail_call()`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tail_calls: bool,
    /// The stack that it uses; absent where its functions call each other in circles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<StackEntry>,
    /// CO-RE relocations; above 0 the kernel's types must be known.
    pub core_relocations: usize,
    /// Whether the kernel's own BTF is needed to load it.
    pub needs_kernel_btf: bool,
    /// Parts of the instruction set beyond the first version.
    pub isa: Vec<NeedEntry>,
    /// Instructions, subprograms included.
    pub insns: usize,
    /// Whether it calls functions of its own.
    pub subprograms: bool,
    /// Whether it has loops that are not unrolled.
    pub loops: bool,
    /// Whether it reads registers of the traced function, which differ between architectures.
    pub reads_pt_regs: bool,
    /// Whether a branch may be decided when it is loaded, so that some of these needs may never be reached.
    pub guarded: bool,
}

/// One thing that a program needs, and where.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NeedEntry {
    /// Its name.
    pub name: String,
    /// Whether the verifier comes there: `sure`; `perhaps`, where the kernel or the verifier decides; `off`, where the
    /// constants of the object, with those of `--rodata`, switch it off.
    pub certainty: String,
    /// Source line of the first place, as surely reached as any: `foo.bpf.c:42`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// How much stack a program uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StackEntry {
    /// Bytes along the deepest chain of calls; kernels refuse more than 512.
    pub bytes: u32,
    /// Functions on the longest chain of calls; kernels refuse more than 8.
    pub frames: u32,
}

/// What one map needs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MapNeeds {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub map_type: String,
    /// Type of the maps inside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inner: Option<String>,
    /// `BPF_F_*`.
    pub flags: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Fields of a value that the kernel manages itself: `bpf_timer`, `kptr`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub value_fields: Vec<String>,
    /// Largest number of entries; bytes for a ring buffer.
    pub max_entries: u32,
    /// Whether it holds global variables.
    pub global_data: bool,
    /// Whether it wants a path in bpffs.
    pub pinned: bool,
}

/// Something that was not looked at, or could not be read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NoteEntry {
    /// Where.
    pub place: String,
    /// What.
    pub message: String,
}

impl ScanReport {
    /// The report of what a search found; nothing could be looked at of `unusable` of the paths that were given.
    pub fn new(finds: &Finds, parsed: &[Parsed], loaders: &[Loader], unusable: usize) -> ScanReport {
        let objects = finds.objects.iter().zip(parsed);
        let objects = objects.map(|(found, parsed)| ObjectEntry::new(found, parsed, loaders));
        let objects: Vec<ObjectEntry> = objects.collect();
        let present = || objects.iter().filter(|object| !object.removed);
        let needs = present().filter_map(|object| object.needs.as_ref());
        let summary = ScanSummary {
            files: finds.looked.files,
            unreadable: finds.looked.unreadable,
            unusable,
            members: finds.looked.members,
            bytes: finds.looked.byte_sz,
            objects: present().count(),
            removed: objects.len() - present().count(),
            damaged: present().filter(|object| object.error.is_some()).count(),
            places: present().map(|object| object.places.len()).sum(),
            entries: needs.map(|needs| needs.entries.len()).sum(),
        };
        let notes = |incomplete| {
            let notes = finds.notes.iter().filter(move |note| note.incomplete == incomplete);
            notes.map(|note| NoteEntry { place: note.place.clone(), message: note.what.clone() }).collect()
        };
        ScanReport {
            tool: Tool::default(),
            summary,
            objects,
            matrix: None,
            incomplete: notes(true),
            notes: notes(false),
        }
    }
}

/// An object that was found, and what is constant when it is loaded; or why it cannot be read.
pub type Parsed = Result<(BpfObject, Constants), ObjectError>;

impl ObjectEntry {
    fn new(found: &Found, parsed: &Parsed, loaders: &[Loader]) -> ObjectEntry {
        let (needs, loaders, error) = match parsed {
            Ok((object, constants)) => {
                let loaders = loaders.iter().map(|loader| LoaderEntry::new(loader, object)).collect();
                (Some(ObjectNeeds::of(object, constants)), loaders, None)
            }
            Err(error) => (None, Vec::new(), Some(error.to_string())),
        };
        ObjectEntry {
            name: short_name(&found.places[0]),
            sha256: found.digest.to_string(),
            bytes: found.bytes.len(),
            places: found.places.iter().map(PlaceEntry::from).collect(),
            removed: found.is_removed(),
            error,
            needs,
            loaders,
        }
    }
}

impl LoaderEntry {
    fn new(loader: &Loader, object: &BpfObject) -> LoaderEntry {
        let gaps = loader.gaps(object).into_iter().map(|gap| GapEntry {
            feature: gap.feature,
            effect: gap.effect.name().to_owned(),
            since: gap.since.map(str::to_owned),
            entries: gap.entries,
            source: gap.source.to_owned(),
        });
        let gaps: Vec<GapEntry> = gaps.collect();
        let verdict = match (gaps.is_empty(), loader.beyond()) {
            (true, None | Some(Ordering::Greater)) => Verdict::Runs,
            (false, None | Some(Ordering::Less)) => Verdict::Blocked,
            _ => Verdict::Unknown,
        };
        LoaderEntry { loader: loader.to_string(), verdict, unchecked: loader.unchecked(), gaps }
    }
}

/// The file name of the innermost member.
fn short_name(place: &Place) -> String {
    let innermost = place.members.last().unwrap_or(&place.path);
    let file = innermost.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if file.is_empty() { innermost.clone() } else { file.to_owned() }
}

impl From<&Place> for PlaceEntry {
    fn from(place: &Place) -> PlaceEntry {
        PlaceEntry {
            path: place.path.clone(),
            members: place.members.clone(),
            offset: place.off,
            packed: place.packed.map(str::to_owned),
            section: place.section.clone(),
            symbol: place.symbol.clone(),
            image: place.image.clone(),
            removed: place.removed,
        }
    }
}

impl ObjectNeeds {
    fn of(object: &BpfObject, constants: &Constants) -> ObjectNeeds {
        let requirements = require::derive(object);
        let kinds = object.btf.iter().flat_map(Btf::kinds_used);
        ObjectNeeds {
            byte_order: if requirements.big_endian { "big" } else { "little" }.to_owned(),
            license: requirements.license.clone(),
            gpl_compatible: requirements.gpl_compatible,
            btf_kinds: kinds.map(|kind| kind.name().to_owned()).collect(),
            entries: object
                .entries
                .iter()
                .zip(&requirements.entries)
                .map(|(entry, needs)| EntryNeeds::of(object, entry, needs, constants))
                .collect(),
            maps: object.maps.iter().map(|map| MapNeeds::of(object, map)).collect(),
            left_to_loader: object.left_to_loader.clone(),
        }
    }
}

impl EntryNeeds {
    fn of(object: &BpfObject, of: &Entry, entry: &EntryRequirements, constants: &Constants) -> EntryNeeds {
        let (insns, reach) = before_relocation(object, of, constants);
        let mut needs = require::needs(object, of, &insns, Some(&reach));
        // What the constants switch off is needed where they are set otherwise.
        let off = require::needs(object, of, &insns, None).into_iter();
        let off: Vec<Need> = off
            .filter(|off| needs.iter().all(|need| need.what != off.what))
            .map(|need| Need { walk: Walk::Never, ..need })
            .collect();
        needs.extend(off);
        let pick = |name: &dyn Fn(&Needed) -> Option<String>| -> Vec<NeedEntry> {
            let named = needs.iter().filter_map(|need| Some(NeedEntry::of(name(&need.what)?, need)));
            let mut named: Vec<NeedEntry> = named.collect();
            named.sort_by(|one, other| one.name.cmp(&other.name));
            named
        };
        let denied = entry.helpers.iter().filter(|helper| helper.gpl_only() && !object.gpl_compatible());
        let faults = reach.context.iter().filter_map(|access| {
            Some(NeedEntry {
                name: require::context_fault(entry.prog_type, entry.attach_type, access, &|_| None)?,
                certainty: certainty(reach.walk(access.insn_off)).to_owned(),
                source: require::source_line(object, of, access.insn_off).map(|line| line.to_string()),
            })
        });
        let stack = require::call_chains(of, &insns, &reach.stack, require::Counting::LENIENT);
        EntryNeeds {
            name: entry.name.clone(),
            section: entry.section.clone(),
            autoload: constants.loads(of),
            prog_type: entry.prog_type.name().filter(|name| *name != "unspec").map(str::to_owned),
            attach_type: entry.attach_type.map(|attach_type| attach_type.to_string()),
            target: entry.target.clone(),
            target_module: entry.target_module.clone(),
            sleepable: entry.sleepable,
            helpers: pick(&|what| match what {
                Needed::Helper(helper) => Some(helper.to_string()),
                _ => None,
            }),
            helpers_denied_by_license: denied.map(ToString::to_string).collect(),
            kfuncs: pick(&|what| match what {
                Needed::Kfunc(name) | Needed::MissingKfunc(name) => Some(name.clone()),
                _ => None,
            }),
            kconfigs: pick(&|what| match what {
                Needed::Kconfig(name) => Some(name.clone()),
                _ => None,
            }),
            ksyms: pick(&|what| match what {
                Needed::Ksym(name) => Some(name.clone()),
                _ => None,
            }),
            maps: pick(&|what| match what {
                Needed::Map(map) => Some(object.maps[*map].name.clone()),
                _ => None,
            }),
            arguments: pick(&|what| match what {
                Needed::Argument(argument) => Some(argument.to_string()),
                _ => None,
            }),
            functions: pick(&|what| match what {
                Needed::Subprogram(name) => Some(name.clone()),
                Needed::GlobalFunction(name) => Some(format!("global {name}")),
                Needed::Callback(name) => Some(format!("callback {name}")),
                _ => None,
            }),
            context_faults: faults.collect(),
            tail_calls: needs.iter().any(|need| need.what == Needed::TailCall),
            stack: stack.map(|stack| StackEntry { bytes: stack.stack_byte_sz, frames: stack.frames }),
            core_relocations: entry.core_relos,
            needs_kernel_btf: entry.attach_btf || !entry.kfuncs.is_empty() || !entry.ksyms.is_empty(),
            isa: pick(&|what| match what {
                Needed::Isa(feature) => Some(feature.name().to_owned()),
                _ => None,
            }),
            insns: entry.insns,
            subprograms: entry.subprograms,
            loops: entry.loops,
            reads_pt_regs: entry.reads_pt_regs,
            guarded: entry.guarded,
        }
    }
}

impl NeedEntry {
    fn of(name: String, need: &Need) -> NeedEntry {
        let source = need.line.as_ref().map(ToString::to_string);
        NeedEntry { name, certainty: certainty(need.walk).to_owned(), source }
    }
}

fn certainty(walk: Walk) -> &'static str {
    match walk {
        Walk::Sure => "sure",
        Walk::May => "perhaps",
        Walk::Never => "off",
    }
}

impl MapNeeds {
    fn of(object: &BpfObject, map: &MapDef) -> MapNeeds {
        let fields =
            object.btf.as_ref().zip(map.value_type).map(|(btf, id)| require::managed_fields(btf, id));
        MapNeeds {
            name: map.name.clone(),
            map_type: map.map_type.to_string(),
            inner: map.inner.as_ref().map(|inner| inner.map_type.to_string()),
            flags: map.flags,
            key_size: map.key_size,
            value_size: map.value_size,
            value_fields: fields.into_iter().flatten().map(str::to_owned).collect(),
            max_entries: map.max_entries,
            global_data: map.data.is_some(),
            pinned: map.pinning == Pinning::ByName,
        }
    }
}

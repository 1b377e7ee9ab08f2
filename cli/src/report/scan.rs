//! `ScanReport`: which objects were found where, and what each needs.

use super::matrix::Matrix;
use btf_catalog::require::{self, EntryRequirements, MapRequirement, Requirements};
use btf_catalog::scan::loaders::Loader;
use btf_catalog::scan::{Finds, Found, Place};
use btf_catalog::{BpfObject, Btf};
use probe_matrix::profile::Tool;
use serde::{Deserialize, Serialize};

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
    /// What was not looked at, or could not be read.
    pub notes: Vec<NoteEntry>,
}

/// How much was looked at and found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ScanSummary {
    /// Files.
    pub files: u64,
    /// Files that could not be opened or read.
    pub unreadable: u64,
    /// Members of archives.
    pub members: u64,
    /// Bytes that were searched, unpacked.
    pub bytes: u64,
    /// Objects, each once.
    pub objects: usize,
    /// Objects that cannot be read.
    pub damaged: usize,
    /// Places of objects.
    pub places: usize,
    /// Programs in the objects.
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
    pub helpers: Vec<String>,
    /// Those of them that its licence keeps it from calling.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub helpers_denied_by_license: Vec<String>,
    /// Kernel functions that it calls and cannot do without.
    pub kfuncs: Vec<String>,
    /// Configuration values that it reads.
    pub kconfigs: Vec<String>,
    /// Kernel variables that it refers to and cannot do without.
    pub ksyms: Vec<String>,
    /// Maps that it uses.
    pub maps: Vec<String>,
    /// CO-RE relocations; above 0 the kernel's types must be known.
    pub core_relocations: usize,
    /// Whether the kernel's own BTF is needed to load it.
    pub needs_kernel_btf: bool,
    /// Parts of the instruction set beyond the first version.
    pub isa: Vec<String>,
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
    /// The report of what a search found.
    pub fn new(finds: &Finds, loaders: &[Loader]) -> ScanReport {
        let objects = finds.objects.iter().map(|found| ObjectEntry::new(found, loaders));
        let objects: Vec<ObjectEntry> = objects.collect();
        let needs = objects.iter().filter_map(|object| object.needs.as_ref());
        let summary = ScanSummary {
            files: finds.looked.files,
            unreadable: finds.looked.unreadable,
            members: finds.looked.members,
            bytes: finds.looked.byte_sz,
            objects: objects.len(),
            damaged: objects.iter().filter(|object| object.error.is_some()).count(),
            places: objects.iter().map(|object| object.places.len()).sum(),
            entries: needs.map(|needs| needs.entries.len()).sum(),
        };
        let notes = finds.notes.iter();
        ScanReport {
            tool: Tool::default(),
            summary,
            objects,
            matrix: None,
            notes: notes
                .map(|note| NoteEntry { place: note.place.clone(), message: note.what.clone() })
                .collect(),
        }
    }
}

impl ObjectEntry {
    fn new(found: &Found, loaders: &[Loader]) -> ObjectEntry {
        let (needs, loaders, error) = match BpfObject::parse(found.bytes.clone()) {
            Ok(object) => {
                let loaders = loaders.iter().map(|loader| LoaderEntry::new(loader, &object)).collect();
                (Some(ObjectNeeds::of(&object)), loaders, None)
            }
            Err(error) => (None, Vec::new(), Some(error.to_string())),
        };
        ObjectEntry {
            name: short_name(&found.places[0]),
            sha256: found.digest.to_string(),
            bytes: found.bytes.len(),
            places: found.places.iter().map(PlaceEntry::from).collect(),
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
        LoaderEntry { loader: loader.to_string(), unchecked: loader.unchecked(), gaps: gaps.collect() }
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
    fn of(object: &BpfObject) -> ObjectNeeds {
        let requirements = require::derive(object);
        let kinds = object.btf.iter().flat_map(Btf::kinds_used);
        ObjectNeeds {
            byte_order: if requirements.big_endian { "big" } else { "little" }.to_owned(),
            license: requirements.license.clone(),
            gpl_compatible: requirements.gpl_compatible,
            btf_kinds: kinds.map(|kind| kind.name().to_owned()).collect(),
            entries: requirements.entries.iter().map(|entry| EntryNeeds::of(entry, &requirements)).collect(),
            maps: requirements.maps.iter().map(MapNeeds::from).collect(),
            left_to_loader: object.left_to_loader.clone(),
        }
    }
}

impl EntryNeeds {
    fn of(entry: &EntryRequirements, object: &Requirements) -> EntryNeeds {
        let denied = entry.helpers.iter().filter(|helper| helper.gpl_only() && !object.gpl_compatible);
        EntryNeeds {
            name: entry.name.clone(),
            section: entry.section.clone(),
            autoload: entry.autoload,
            prog_type: entry.prog_type.name().filter(|name| *name != "unspec").map(str::to_owned),
            attach_type: entry.attach_type.map(|attach_type| attach_type.to_string()),
            target: entry.target.clone(),
            target_module: entry.target_module.clone(),
            sleepable: entry.sleepable,
            helpers: entry.helpers.iter().map(ToString::to_string).collect(),
            helpers_denied_by_license: denied.map(ToString::to_string).collect(),
            kfuncs: entry.kfuncs.iter().cloned().collect(),
            kconfigs: entry.kconfigs.iter().cloned().collect(),
            ksyms: entry.ksyms.iter().cloned().collect(),
            maps: entry.maps.iter().map(|map| object.maps[*map].name.clone()).collect(),
            core_relocations: entry.core_relos,
            needs_kernel_btf: entry.attach_btf || !entry.kfuncs.is_empty() || !entry.ksyms.is_empty(),
            isa: entry.isa.iter().map(|feature| feature.name().to_owned()).collect(),
            insns: entry.insns,
            subprograms: entry.subprograms,
            loops: entry.loops,
            reads_pt_regs: entry.reads_pt_regs,
            guarded: entry.guarded,
        }
    }
}

impl From<&MapRequirement> for MapNeeds {
    fn from(map: &MapRequirement) -> MapNeeds {
        MapNeeds {
            name: map.name.clone(),
            map_type: map.map_type.to_string(),
            inner: map.inner.map(|inner| inner.to_string()),
            flags: map.flags,
            max_entries: map.max_entries,
            global_data: map.global_data,
            pinned: map.pinned,
        }
    }
}

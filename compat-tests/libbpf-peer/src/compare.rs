//! An object relocated twice, by libbpf and by us, and where the two differ.

use crate::peer::{Program, Refusal, Setup, prepare};
use btf_catalog::BpfObject;
use btf_catalog::core::{KernelSide, Relocator, Resolution, TargetBtf};
use btf_catalog::insn::{Insn, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE};
use btf_catalog::object::Entry;
use std::path::Path;

/// What both sides relocate against.
pub struct Against<'a> {
    /// For libbpf.
    pub setup: Setup,
    /// For us: the types of CO-RE relocations.
    pub target: &'a TargetBtf,
    /// For us: what externs are resolved against.
    pub kernel: KernelSide<'a>,
}

/// What came of comparing objects.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Objects compared.
    pub objects: usize,
    /// Entries compared.
    pub entries: usize,
    /// CO-RE relocations in them that both answered.
    pub relocations: usize,
    /// References to externs in them that both answered.
    pub externs: usize,
    /// Entries with the same instructions.
    pub equal: usize,
    /// Entries that both refuse.
    pub both_refuse: usize,
    /// Entries that differ: object, entry, how.
    pub differences: Vec<(String, String, String)>,
}

impl Tally {
    /// Adds the counts of another.
    pub fn add(&mut self, other: Tally) {
        self.objects += other.objects;
        self.entries += other.entries;
        self.relocations += other.relocations;
        self.externs += other.externs;
        self.equal += other.equal;
        self.both_refuse += other.both_refuse;
        self.differences.extend(other.differences);
    }
}

/// Compares every entry of the object at `path`, called `name` in the result.
///
/// # Panics
/// If there is no readable file at `path`.
pub fn compare(name: &str, path: &Path, against: &Against) -> Tally {
    let mut tally = Tally { objects: 1, ..Tally::default() };
    let data = std::fs::read(path).expect("the object is readable");
    let theirs = prepare(path, &against.setup);
    let ours = BpfObject::parse(data);
    let (theirs, object) = match (theirs, ours) {
        (Err(_), Err(_)) => {
            (tally.entries, tally.both_refuse) = (1, 1);
            return tally;
        }
        (Ok(theirs), Err(_)) if theirs.programs.iter().all(|program| program.insns.is_err()) => {
            (tally.entries, tally.both_refuse) = (theirs.programs.len(), theirs.programs.len());
            return tally;
        }
        (Ok(_), Err(error)) => {
            tally.entries = 1;
            tally.differs(name, "", format!("we refuse: {error}"));
            return tally;
        }
        (Err(refusal), Ok(object)) => (Err(refusal), object),
        (Ok(theirs), Ok(object)) => (Ok(theirs), object),
    };
    let resolution = Resolution::new(&object, &against.kernel);
    let refused = resolution.refused(&object).map(|(ext, why)| format!("extern {}: {why}", ext.name));
    let mut relocator = Relocator::new(&object, against.target);
    if theirs.is_err() && object.maps.iter().any(|map| map.untyped) {
        tally.differs(name, "maps", "libbpf refuses maps without types".to_owned());
        return tally;
    }
    let all_refused = theirs.as_ref().err().cloned();
    let (programs, kconfig) = theirs.map_or((Vec::new(), None), |theirs| (theirs.programs, theirs.kconfig));
    for (ext, slot) in object.externs.iter().filter_map(|ext| Some((ext, ext.slot?))) {
        let part = slot.byte_off as usize..(slot.byte_off + slot.byte_sz) as usize;
        if let Some(theirs) = kconfig.as_ref().map(|kconfig| kconfig.get(part.clone()))
            && theirs != resolution.kconfig.get(part.clone())
        {
            let what = format!("{:02x?} against {theirs:02x?}", &resolution.kconfig[part]);
            tally.differs(name, &format!(".kconfig {}", ext.name), what);
        }
    }
    for entry in &object.entries {
        tally.entries += 1;
        let ours = match &refused {
            Some(why) => Err(why.clone()),
            None => relocator.relocate(entry).map_err(|error| error.to_string()),
        };
        let missing = || all_refused.clone().ok_or("libbpf has no such program");
        let theirs = programs.iter().find(|program| program.name == entry.name).map_or_else(
            || missing().map(Err),
            |Program { insns, .. }| Ok(insns.as_ref().map_err(Refusal::clone)),
        );
        match (ours, theirs) {
            (_, Err(why)) => tally.differs(name, &entry.name, why.to_owned()),
            (Err(_), Ok(Err(_))) => tally.both_refuse += 1,
            (Ok(_), Ok(Err(refusal))) => {
                let why = refusal.warnings.replace('\n', "; ");
                // It makes their maps before it shows the instructions.
                let of_tables = why.contains("can't create jump table");
                let what = if of_tables { "jump tables" } else { &entry.name };
                tally.differs(name, what, format!("libbpf refuses, errno {}: {why}", refusal.errno));
            }
            (Err(why), Ok(Ok(_))) => tally.differs(name, &entry.name, format!("we refuse: {why}")),
            (Ok(mut relocated), Ok(Ok(theirs))) => {
                resolution.apply(&object, entry, &mut relocated.insns);
                with_map_references(entry, &mut relocated.insns);
                let read = |insn: &[u8; 8]| Insn::read(insn, cfg!(target_endian = "big"));
                let theirs = without_descriptors(theirs.iter().map(read).collect());
                let ours = without_descriptors(relocated.insns);
                tally.relocations += relocated.outcomes.len();
                tally.externs += entry.extern_refs.len();
                match ours.iter().zip(&theirs).position(|(ours, theirs)| ours != theirs) {
                    None if ours.len() == theirs.len() => tally.equal += 1,
                    None => {
                        let what = format!("{} against {} instructions", ours.len(), theirs.len());
                        tally.differs(name, &entry.name, what);
                    }
                    Some(at) => {
                        let what = format!("instruction {at}: {:?} against {:?}", ours[at], theirs[at]);
                        tally.differs(name, &entry.name, what);
                    }
                }
            }
        }
    }
    let unknown =
        programs.iter().filter(|program| object.entries.iter().all(|entry| entry.name != program.name));
    for program in unknown.filter(|program| program.insns.is_ok()) {
        tally.differs(name, &program.name, "we have no such entry".to_owned());
    }
    tally
}

impl Tally {
    fn differs(&mut self, object: &str, entry: &str, how: String) {
        self.differences.push((object.to_owned(), entry.to_owned(), how));
    }
}

/// Writes the references to maps as libbpf does, with descriptor 0.
fn with_map_references(entry: &Entry, insns: &mut [Insn]) {
    for reference in &entry.map_refs {
        let insn = &mut insns[reference.insn_off];
        (insn.src, insn.imm) = (PSEUDO_MAP_FD, 0);
        if let Some(off) = reference.value_off {
            insn.src = PSEUDO_MAP_VALUE;
            insns[reference.insn_off + 1].imm = off as i32;
        }
    }
}

/// What no relocation decides is left out: the descriptors of maps.
fn without_descriptors(mut insns: Vec<Insn>) -> Vec<Insn> {
    let mut next_is_half = false;
    for insn in &mut insns {
        if std::mem::take(&mut next_is_half) {
            continue;
        }
        next_is_half = insn.is_ld_imm64();
        if insn.is_ld_imm64() && matches!(insn.src, PSEUDO_MAP_FD | PSEUDO_MAP_VALUE) {
            insn.imm = 0;
        }
    }
    insns
}

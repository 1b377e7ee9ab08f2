//! What an entry needs once it is relocated: of the instructions that the verifier walks, not of all.

use btf_catalog::core::RelocatedEntry;
use btf_catalog::insn::Insn;
use btf_catalog::object::Entry;
use btf_catalog::reach::{Constants, Reach, Walk, reach};
use btf_catalog::require::{self, ContextReads, EntryRequirements, IsaFeature};
use btf_catalog::verify::{Subject, Traits, Verified, verify};
use btf_catalog::{BpfObject, HelperId};
use std::cell::{OnceCell, RefCell};
use std::sync::Arc;

/// `goto +0`: what stands for an instruction that is not looked at.
const NOTHING: Insn = Insn { code: 0x05, dst: 0, src: 0, off: 0, imm: 0 };

/// A relocated entry and what its instructions say for themselves, whatever the kernel: what the verifier walks of it, what
/// it needs there and what it finds wrong.
pub(super) struct Reached<'a> {
    pub(super) object: &'a BpfObject,
    pub(super) entry: &'a Entry,
    /// Its instructions, relocated.
    pub(super) insns: Vec<Insn>,
    /// What is walked.
    pub(super) reach: Reach,
    perhaps: OnceCell<EntryRequirements>,
    surely: OnceCell<EntryRequirements>,
    verified: RefCell<Vec<(Traits, Arc<Verified>)>>,
}

impl<'a> Reached<'a> {
    pub(super) fn new(
        object: &'a BpfObject,
        entry: &'a Entry,
        relocated: Option<&RelocatedEntry>,
        constants: &Constants,
    ) -> Reached<'a> {
        let mut insns = relocated.map_or_else(|| entry.insns.clone(), |relocated| relocated.insns.clone());
        if let Some(externs) = &constants.externs {
            externs.apply(object, entry, &mut insns);
        }
        let reach = reach(object, entry, &insns, constants);
        let (perhaps, surely, verified) = Default::default();
        Reached { object, entry, insns, reach, perhaps, surely, verified }
    }

    /// What the instructions need that may be walked.
    pub(super) fn perhaps(&self) -> &EntryRequirements {
        self.perhaps.get_or_init(|| self.needs(Walk::May))
    }

    /// What the instructions need that are surely walked.
    pub(super) fn surely(&self) -> &EntryRequirements {
        self.surely.get_or_init(|| self.needs(Walk::Sure))
    }

    /// What the verifier finds by its own analysis, where it is of these traits. `constants` are those that the entry was reached with.
    pub(super) fn verified(&self, constants: &Constants, traits: Traits) -> Arc<Verified> {
        if let Some((_, known)) = self.verified.borrow().iter().find(|(of, _)| *of == traits) {
            return Arc::clone(known);
        }
        let subject = Subject { object: self.object, entry: self.entry, insns: &self.insns, constants };
        let verified = Arc::new(verify(subject, traits));
        self.verified.borrow_mut().push((traits, Arc::clone(&verified)));
        verified
    }

    /// What the instructions need that are walked at least that surely.
    fn needs(&self, at_least: Walk) -> EntryRequirements {
        let kept = |insn_off: usize| self.reach.walk(insn_off) >= at_least;
        let kept_of = |(at, insn): (usize, &Insn)| {
            // The second half of a 64-bit load is walked with the first.
            let first = at.checked_sub(1).filter(|first| self.insns[*first].is_ld_imm64());
            if kept(first.unwrap_or(at)) { *insn } else { NOTHING }
        };
        let entry = self.entry;
        let walked = Entry {
            name: entry.name.clone(),
            section: entry.section.clone(),
            kind: entry.kind.clone(),
            autoload: true,
            insns: self.insns.iter().enumerate().map(kept_of).collect(),
            functions: entry.functions.clone(),
            map_refs: entry.map_refs.iter().copied().filter(|reference| kept(reference.insn_off)).collect(),
            extern_refs: entry
                .extern_refs
                .iter()
                .copied()
                .filter(|reference| kept(reference.insn_off))
                .collect(),
            core_relos: entry.core_relos.clone(),
            lines: Vec::new(),
        };
        let mut needs = require::of_entry(self.object, &walked);
        // What the verifier refuses at sight is told as what it stands for, not as a helper of that number.
        needs.helpers.retain(|helper| !is_poison(*helper));
        needs.context = self.context(at_least);
        needs.guarded = false;
        // Operation codes are looked at wherever they stand.
        needs.isa.extend(self.insns.iter().filter_map(|insn| IsaFeature::at_sight(*insn)));
        needs
    }

    fn context(&self, at_least: Walk) -> ContextReads {
        let walked = self.reach.context.iter().filter(|access| self.reach.walk(access.insn_off) >= at_least);
        let mut reads = ContextReads { more: self.reach.context_escapes, ..ContextReads::default() };
        for access in walked.filter(|access| !access.write) {
            reads.any = true;
            match access.off.and_then(|off| u32::try_from(off).ok()) {
                Some(off) => reads.end_byte = reads.end_byte.max(off.saturating_add(access.byte_sz)),
                None => reads.more = true,
            }
        }
        reads
    }

    /// Words of the context through which memory is accessed, where that is walked at least that surely.
    pub(super) fn dereferenced(&self, at_least: Walk) -> impl Iterator<Item = u32> {
        let end = self.entry.functions.get(1).map_or(self.insns.len(), |next| next.insn_off);
        let accesses = require::dereferenced_arguments(self.insns.get(..end).unwrap_or_default());
        accesses.into_iter().filter(move |(at, _)| self.reach.walk(*at) >= at_least).map(|(_, word)| word)
    }
}

/// Whether a helper's number is one that relocation writes where there is nothing to call.
fn is_poison(helper: HelperId) -> bool {
    /// The lowest of them: 0xbad2310. The kernel has 211 helpers and makes no more.
    const LOWEST: u32 = 195_896_080;
    helper.0 >= LOWEST
}

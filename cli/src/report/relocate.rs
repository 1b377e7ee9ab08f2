//! `RelocateReport`: what `portolan relocate` wrote.

use btf_catalog::core::ReloOutcome;
use btf_catalog::write::RelocatedObject;
use serde::{Deserialize, Serialize};

/// A relocated object and what came out of its relocations.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RelocateReport {
    /// The object that was read.
    pub object: String,
    /// Where the relocated one was written.
    pub output: String,
    /// The kernel's release, where its files tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// CO-RE relocations in all.
    pub relocations: usize,
    /// Those that found nothing usable: the verifier refuses the program if it gets there.
    pub poisoned: Vec<PoisonedEntry>,
    /// Options of the kernel's configuration that became read-only data.
    pub options: Vec<String>,
    /// What still needs BTF of the kernel that loads the object.
    pub needs_kernel_btf: Vec<KernelBtfEntry>,
    /// What was not looked at or could not be read of the kernel.
    pub notes: Vec<String>,
}

/// A relocation that found nothing usable.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PoisonedEntry {
    /// The section of the instruction.
    pub section: String,
    /// The instruction's number in its section.
    pub instruction: usize,
    /// What was asked: `struct task_struct.state`.
    pub access: String,
    /// Why there is no answer.
    pub why: String,
}

/// Something that still needs BTF of the kernel.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct KernelBtfEntry {
    /// The entry, or the section, that needs it.
    pub entry: String,
    /// What for.
    pub what: String,
}

impl RelocateReport {
    /// The report on one object.
    pub fn new(object: String, output: String, written: &RelocatedObject) -> RelocateReport {
        let poisoned =
            written.relocations.iter().filter_map(|(section, relocated)| match &relocated.outcome {
                ReloOutcome::Poisoned(why) => Some(PoisonedEntry {
                    section: section.clone(),
                    instruction: relocated.insn_off,
                    access: relocated.access.to_string(),
                    why: (*why).to_owned(),
                }),
                _ => None,
            });
        let needs = written.needs_kernel_btf.iter();
        RelocateReport {
            object,
            output,
            release: None,
            relocations: written.relocations.len(),
            poisoned: poisoned.collect(),
            options: written.options.clone(),
            needs_kernel_btf: needs
                .map(|(entry, what)| KernelBtfEntry { entry: entry.clone(), what: what.clone() })
                .collect(),
            notes: Vec::new(),
        }
    }
}

//! Verdicts that are remembered by what they rest on.
//!
//! Kernels of one series answer nearly everything alike, and fleets have many kernels of few series. What a verdict on an
//! entry rests on is known: the object and its constants, what the kernel makes of them before any rule is looked at (a
//! [`Situation`], and the entry's relocated instructions), and the answers that the kernel gives while the rules are gone
//! through. The next kernel is asked the same questions, without the rules: where it answers alike, the verdict is the one
//! that was [`Decided`]. Nothing else of a kernel reaches a verdict, since rules see it through [`Asked`] alone.

use super::asked::{Asked, Book, KernelFiles};
use super::decided::Decided;
use super::reached::Reached;
use super::{EntryVerdict, Predictor, resolve_externs};
use crate::derive::Offline;
use crate::facts::Support;
use btf_catalog::BpfObject;
use btf_catalog::core::{Answered, CoreError, RelocatedEntry, Relocator, StructOpsLink};
use btf_catalog::object::Entry;
use btf_catalog::reach::Constants;
use btf_catalog::require::{self, Requirements};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

/// Predicts the same objects for kernel after kernel, and decides only what was not decided for any before. Threads share
/// it: each with a kernel of its own, they take turns at the objects.
///
/// What is kept grows with the number of different verdicts and of differently relocated entries, not of kernels, and is
/// bounded. The verdicts are those of [`predict`](super::predict), whatever the order of the kernels.
pub struct Predictions<'a> {
    book: Mutex<Book>,
    objects: Vec<Mutex<Remembered<'a>>>,
}

impl<'a> Predictions<'a> {
    /// For these objects, each with what its loader sets ([`Options::constants`](super::Options::constants)).
    pub fn new(objects: impl IntoIterator<Item = (&'a BpfObject, Option<Constants>)>) -> Predictions<'a> {
        let remembered = |(object, constants): (&'a BpfObject, Option<Constants>)| Remembered {
            object,
            constants: constants.unwrap_or_else(|| Constants::of(object)),
            all: require::derive(object),
            situations: Vec::new(),
        };
        let objects = objects.into_iter().map(remembered).map(Mutex::new).collect();
        Predictions { book: Mutex::default(), objects }
    }

    /// The verdicts on all entries, object by object, each as if it were loaded alone, by libbpf and with all
    /// capabilities. `loaded_modules` is as in [`Options`](super::Options).
    pub fn on(
        &self,
        kernel: &Offline,
        loaded_modules: Option<&BTreeSet<String>>,
    ) -> Vec<Vec<Arc<EntryVerdict>>> {
        let types = kernel.types_with(loaded_modules);
        let kernel = KernelFiles { files: kernel, types: types.as_ref(), loaded_modules };
        let asked = Asked::new(kernel, &self.book);
        let mut verdicts = vec![Vec::new(); self.objects.len()];
        let mut left: Vec<usize> = (0..self.objects.len()).collect();
        while let Some(&first) = left.first() {
            let before = left.len();
            left.retain(|&at| {
                let mut object = match self.objects[at].try_lock() {
                    Ok(object) => object,
                    // What is remembered is whole whenever another thread can have died.
                    Err(TryLockError::Poisoned(object)) => object.into_inner(),
                    Err(TryLockError::WouldBlock) => return true,
                };
                verdicts[at] = object.on(&kernel, &asked);
                false
            });
            if left.len() == before {
                // Other threads are at all that are left.
                left.remove(0);
                let mut object = self.objects[first].lock().unwrap_or_else(PoisonError::into_inner);
                verdicts[first] = object.on(&kernel, &asked);
            }
        }
        verdicts
    }
}

/// An object, with what it came to on the kernels so far.
struct Remembered<'a> {
    object: &'a BpfObject,
    constants: Constants,
    all: Requirements,
    /// What became of each entry, by situation.
    situations: Vec<(Situation, Vec<Forms<'a>>)>,
}

/// What a kernel makes of an object as a whole, before any rule is looked at.
#[derive(PartialEq)]
pub(super) struct Situation {
    /// What is constant, the kernel's answers to the object's externs included where its types are known.
    pub(super) constants: Constants,
    /// The object's structures in the kernel's types, where these are known.
    pub(super) struct_ops: Option<StructOpsLink>,
}

/// The relocated forms of an entry, by what they come from.
type Forms<'a> = Vec<(Relocation, Form<'a>)>;

/// What decides how an entry is relocated.
#[derive(PartialEq)]
enum Relocation {
    /// The kernel's types are not known: it is not.
    None,
    /// The answers to its relocations.
    By(Answered),
    /// Not these alone: what came out.
    To(Result<RelocatedEntry, CoreError>),
}

/// What is known of an entry's relocated form.
struct Form<'a> {
    /// `None` where a kernel's types are not known.
    relocated: Option<Result<RelocatedEntry, CoreError>>,
    /// What its instructions say for themselves, once they were looked at.
    reached: Option<Reached<'a>>,
    decided: Decided,
}

impl<'a> Remembered<'a> {
    fn on(&mut self, kernel: &KernelFiles, asked: &Asked) -> Vec<Arc<EntryVerdict>> {
        let object = self.object;
        let mut constants = self.constants.clone();
        constants.externs = kernel.types.map(|types| resolve_externs(object, kernel, types));
        constants.verifies_uncalled = match asked.shown("member:bpf_func_info_aux.called").support {
            Support::Yes => Some(false),
            Support::No => Some(true),
            _ => None,
        };
        let link = |types| StructOpsLink::new(object, types, kernel.modules_whole());
        let situation = Situation { constants, struct_ops: kernel.types.map(link) };
        let no_entry_yet = || object.entries.iter().map(|_| Vec::new()).collect();
        let (situation, entries) = recall(&mut self.situations, situation, |_| no_entry_yet());
        let mut relocator = kernel.types.map(|types| Relocator::new(object, types));
        let verdict = |(entry, forms): (&'a Entry, &mut Forms<'a>)| {
            let relocation = match relocator.as_mut() {
                None => Relocation::None,
                Some(relocator) => match relocator.answered(entry) {
                    Some(answered) => Relocation::By(answered),
                    None => Relocation::To(relocator.relocate(entry)),
                },
            };
            let (_, form) = recall(forms, relocation, |relocation| Form {
                relocated: match relocation {
                    Relocation::None => None,
                    Relocation::By(answered) => {
                        relocator.as_ref().map(|relocator| relocator.relocate_by(entry, answered))
                    }
                    Relocation::To(relocated) => Some(relocated.clone()),
                },
                reached: None,
                decided: Decided::default(),
            });
            let Form { relocated, reached, decided } = form;
            if let Some(verdict) = decided.find(asked) {
                return verdict;
            }
            let predictor = Predictor { object, kernel: asked, situation, all: &self.all };
            let reached = reached.get_or_insert_with(|| {
                let relocated = relocated.as_ref().and_then(|relocated| relocated.as_ref().ok());
                Reached::new(object, entry, relocated, &situation.constants)
            });
            asked.begin_trail();
            let verdict = Arc::new(predictor.entry(reached, relocated.as_ref()));
            decided.insert(&asked.trail(), Arc::clone(&verdict));
            verdict
        };
        object.entries.iter().zip(entries).map(verdict).collect()
    }
}

/// So many situations of an object and forms of an entry are kept. Forms that have a number of the
/// kernel's own in them, a type's or a function's, are other ones on every kernel.
const MOST: usize = 64;

/// What was kept under a key, in place of what was not wanted for long; kernels come in series, so that the key of the last
/// call is tried first.
fn recall<K: PartialEq, V>(kept: &mut Vec<(K, V)>, key: K, fresh: impl FnOnce(&K) -> V) -> (&K, &mut V) {
    if let Some(at) = kept.iter().rposition(|(known, _)| *known == key) {
        let last = kept.len() - 1;
        kept.swap(at, last);
    } else {
        if kept.len() == MOST {
            kept.remove(0);
        }
        let value = fresh(&key);
        kept.push((key, value));
    }
    let (key, value) = kept.last_mut().expect("one was pushed or found");
    (key, value)
}

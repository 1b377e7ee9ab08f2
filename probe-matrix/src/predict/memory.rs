//! Verdicts that are remembered by what they rest on.
//!
//! Kernels of one series answer nearly everything alike, and fleets have many kernels of few series. What a verdict on an
//! entry rests on is known: the object and its constants, what the kernel makes of them before any rule is looked at (a
//! [`Situation`], and the entry's relocated instructions), and the answers that the kernel gives while the rules are gone
//! through. The next kernel is asked the same questions, without the rules: where it answers alike, the verdict is the one
//! that was [`Decided`]. Nothing else of a kernel reaches a verdict, since rules see it through [`Asked`] alone.

use super::asked::{Asked, Book, KernelFiles, Step};
use super::reached::Reached;
use super::{EntryVerdict, Predictor, resolve_externs};
use crate::derive::Offline;
use crate::facts::Support;
use btf_catalog::BpfObject;
use btf_catalog::core::{CoreError, RelocatedEntry, Relocator, StructOpsLink};
use btf_catalog::object::Entry;
use btf_catalog::reach::Constants;
use btf_catalog::require::{self, Requirements};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Predicts the same objects for one kernel after the other, and decides only what was not decided for any before.
///
/// What is kept grows with the number of different verdicts and of differently relocated entries, not of kernels, and is
/// bounded. The verdicts are those of [`predict`](super::predict), whatever the order of the kernels.
pub struct Predictions<'a> {
    book: RefCell<Book>,
    objects: Vec<Remembered<'a>>,
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
        Predictions { book: RefCell::default(), objects: objects.into_iter().map(remembered).collect() }
    }

    /// The verdicts on all entries, object by object, each as if it were loaded alone, by libbpf and with all
    /// capabilities. `loaded_modules` is as in [`Options`](super::Options).
    pub fn on(
        &mut self,
        kernel: &Offline,
        loaded_modules: Option<&BTreeSet<String>>,
    ) -> Vec<Vec<Arc<EntryVerdict>>> {
        let types = kernel.types_with(loaded_modules);
        let kernel = KernelFiles { files: kernel, types: types.as_ref(), loaded_modules };
        let asked = Asked::new(kernel, &self.book);
        self.objects.iter_mut().map(|object| object.on(&kernel, &asked)).collect()
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

/// The relocated forms of an entry. There are none where a kernel's types are not known.
type Forms<'a> = Vec<(Option<Result<RelocatedEntry, CoreError>>, Form<'a>)>;

/// What is known of an entry's relocated form.
#[derive(Default)]
struct Form<'a> {
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
        let (situation, entries) = recall(&mut self.situations, situation, no_entry_yet);
        let mut relocator = kernel.types.map(|types| Relocator::new(object, types));
        let verdict = |(entry, forms): (&'a Entry, &mut Forms<'a>)| {
            let relocated = relocator.as_mut().map(|relocator| relocator.relocate(entry));
            let (relocated, Form { reached, decided }) = recall(forms, relocated, Form::default);
            decided.find(asked).unwrap_or_else(|| {
                let predictor = Predictor { object, kernel: asked, situation, all: &self.all };
                let reached = reached.get_or_insert_with(|| {
                    let relocated = relocated.as_ref().and_then(|relocated| relocated.as_ref().ok());
                    Reached::new(object, entry, relocated, &situation.constants)
                });
                asked.begin_trail();
                let verdict = Arc::new(predictor.entry(reached, relocated.as_ref()));
                push(&mut decided.0, (asked.trail(), Arc::clone(&verdict)));
                verdict
            })
        };
        object.entries.iter().zip(entries).map(verdict).collect()
    }
}

/// So many situations of an object, forms of an entry and verdicts on a form are kept. Forms that have a number of the
/// kernel's own in them, a type's or a function's, are other ones on every kernel.
const MOST: usize = 64;

/// What was kept under a key; kernels come in series, so that the key of the last call is tried first.
fn recall<K: PartialEq, V>(kept: &mut Vec<(K, V)>, key: K, fresh: impl FnOnce() -> V) -> (&K, &mut V) {
    match kept.iter().rposition(|(known, _)| *known == key) {
        Some(at) => {
            let last = kept.len() - 1;
            kept.swap(at, last);
        }
        None => push(kept, (key, fresh())),
    }
    let (key, value) = kept.last_mut().expect("one was pushed or found");
    (key, value)
}

/// Adds what is likely to be wanted next, in place of what was not for long.
fn push<T>(kept: &mut Vec<T>, last: T) {
    if kept.len() == MOST {
        kept.remove(0);
    }
    kept.push(last);
}

/// Verdicts with the answers that led to them. What is asked next depends on what was answered before and on nothing else,
/// so that no more than one of them fits a kernel.
#[derive(Default)]
struct Decided(Vec<(Box<[Step]>, Arc<EntryVerdict>)>);

impl Decided {
    /// The verdict that the kernel's answers lead to, if any before led there.
    fn find(&mut self, kernel: &Asked) -> Option<Arc<EntryVerdict>> {
        let fits = |(steps, _): &(Box<[Step]>, _)| steps.iter().all(|step| kernel.answers_as(*step));
        let at = self.0.iter().rposition(fits)?;
        let last = self.0.len() - 1;
        // The next kernel is likely to be alike.
        self.0.swap(at, last);
        Some(Arc::clone(&self.0[last].1))
    }
}

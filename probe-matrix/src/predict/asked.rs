//! What verdicts ask of a kernel, question by question, so that it is known what a verdict rests on.
//!
//! Rules see a kernel through [`Asked`] alone, and it through [`Question`] alone: whatever a rule wants to know of a
//! kernel is one row of the table below. A verdict is then a function of the object and of the answers that were given on
//! the way to it; `memory` remembers it by these. Questions are by name: the numbers of a kernel's types differ between
//! kernels that are alike in everything else.

use crate::assess::{Ground, InTypes, all, tracepoint_arguments};
use crate::derive::{Arguments, CallingProgram, FunctionArguments, Offline, Overridable, Place};
use crate::facts::Fact;
use btf_catalog::core::TargetBtf;
use btf_catalog::{BtfKind, HelperId, ProgType, TypeId};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Makes of each row a question, the type of its answer, and the method of [`Asked`] that asks it.
macro_rules! questions {
    ($(
        $(#[$doc:meta])*
        $name:ident($($arg:ident: $kept:ty),*) -> $answer:ty = |$kernel:ident| $ask:expr;
    )*) => {
        /// Something that is asked of a kernel.
        #[derive(Clone, PartialEq, Eq, Hash, Debug)]
        #[expect(non_camel_case_types, reason = "named as the methods that ask them")]
        enum Question {
            $($name($($kept),*),)*
        }

        /// What a kernel says to a [`Question`] of the same name.
        #[derive(Clone, PartialEq, Debug)]
        #[expect(non_camel_case_types, reason = "named as the methods that ask for them")]
        enum Answer {
            $($name($answer),)*
        }

        impl Question {
            fn put_to(&self, kernel: &KernelFiles) -> Answer {
                match self {
                    $(Question::$name($($arg),*) => {
                        let $kernel = kernel;
                        Answer::$name($ask)
                    })*
                }
            }
        }

        impl Asked<'_, '_> {
            $(
                $(#[$doc])*
                pub(super) fn $name(&self, $($arg: impl Into<$kept>),*) -> $answer {
                    match self.ask(Question::$name($($arg.into()),*)) {
                        Answer::$name(answer) => answer,
                        other => unreachable!("answered as another question: {other:?}"),
                    }
                }
            )*
        }
    };
}

questions! {
    /// [`Offline::fact`].
    fact_of(name: String) -> Option<Fact> = |kernel| kernel.files.fact(name);
    /// [`Offline::shown`].
    shown(witness: &'static str) -> Fact = |kernel| kernel.files.shown(witness);
    /// [`Offline::offered_at`].
    offered_at(helper: HelperId, place: Place) -> Option<Fact>
        = |kernel| kernel.files.offered_at(*helper, place);
    /// [`Offline::tells_version`].
    tells_version() -> Option<bool> = |kernel| kernel.files.tells_version();
    /// Its byte order, where its types tell it.
    big_endian() -> Option<bool> = |kernel| kernel.types.map(|types| types.vmlinux().big_endian());
    /// Its machine, as `uname -m` prints it.
    arch() -> Option<String> = |kernel| kernel.files.kernel().arch.clone();
    /// [`Offline::call_frames`].
    call_frames() -> Option<u32> = |kernel| kernel.files.call_frames();
    /// [`Offline::number_option`].
    number_option(name: String) -> Option<u64> = |kernel| kernel.files.number_option(name);
    /// Whether it is known which modules are loaded.
    modules_told() -> bool = |kernel| kernel.loaded_modules.is_some();
    /// Whether all modules of the kernel are known.
    modules_whole() -> bool = |kernel| kernel.files.modules_whole();
    /// [`Offline::module_with`].
    module_with(name: String, kind: BtfKind) -> Option<String>
        = |kernel| kernel.files.module_with(name, *kind).map(str::to_owned);
    /// [`Ground::in_types`].
    in_types_of(name: String, kind: BtfKind) -> InTypes = |kernel| kernel.in_types(name, *kind);
    /// [`Ground::tracepoint_arguments`].
    arguments_at(name: String) -> Option<u32>
        = |kernel| kernel.types.and_then(|types| tracepoint_arguments(types, name));
    /// [`Offline::size_of`].
    size_of(name: String) -> Option<u32> = |kernel| kernel.files.size_of(name);
    /// [`Offline::has_symbol`].
    has_symbol(name: String) -> Option<bool> = |kernel| kernel.files.has_symbol(name);
    /// [`Offline::function`].
    function(name: String) -> Option<Arguments> = |kernel| kernel.files.function(name);
    /// [`Offline::callback`].
    callback(structure: String, member: String) -> Option<Arguments>
        = |kernel| kernel.files.callback(structure, member);
    /// [`Offline::context_name`].
    context_name(prog_type: ProgType) -> Option<String> = |kernel| kernel.files.context_name(*prog_type);
    /// [`Offline::function_arguments`].
    function_arguments() -> Option<FunctionArguments> = |kernel| kernel.files.function_arguments();
    /// [`Offline::tracepoint`].
    tracepoint(name: String) -> Option<Arguments> = |kernel| kernel.files.tracepoint(name);
    /// [`Offline::passes_structures`].
    passes_structures() -> bool = |kernel| kernel.files.passes_structures();
    /// [`Offline::in_set`].
    in_set(set: String, function: String) -> Option<bool> = |kernel| kernel.files.in_set(set, function);
    /// [`Offline::is_overridable`].
    is_overridable(function: String) -> Option<Overridable> = |kernel| kernel.files.is_overridable(function);
    /// [`Offline::kfunc_wants`].
    kfunc_wants(function: TypeId, program: CallingProgram) -> Option<&'static str>
        = |kernel| kernel.files.kfunc_wants(*function, program);
    /// [`Offline::offers_kfunc`].
    offers_kfunc(function: TypeId, prog_type: ProgType) -> Fact
        = |kernel| kernel.files.offers_kfunc(*function, *prog_type);
}

/// A kernel's files, and what is taken for its types.
#[derive(Clone, Copy)]
pub(super) struct KernelFiles<'k> {
    pub(super) files: &'k Offline<'k>,
    /// Its own types with those of the modules that are loaded.
    pub(super) types: Option<&'k TargetBtf>,
    /// Which modules are loaded, where that is known.
    pub(super) loaded_modules: Option<&'k BTreeSet<String>>,
}

impl KernelFiles<'_> {
    /// Whether what is missing in the types cannot be in a module that was not looked at.
    pub(super) fn modules_whole(&self) -> bool {
        self.loaded_modules.is_some() || self.files.modules_whole()
    }

    fn in_types(&self, name: &str, kind: BtfKind) -> InTypes {
        let Some(types) = self.types else { return InTypes::NoTypes };
        if all(types).any(|btf| btf.find_by_name_kind(name, kind).is_some()) {
            InTypes::Found
        } else if types.vmlinux().stopped_at().is_some() {
            InTypes::Unread("a part of vmlinux's".to_owned())
        } else if self.loaded_modules.is_some() {
            InTypes::Nowhere
        } else if let Some(module) = self.files.module_with(name, kind) {
            InTypes::Module(module.to_owned())
        } else if self.files.modules_whole() {
            InTypes::Nowhere
        } else {
            InTypes::ModulesUnknown
        }
    }
}

/// Every question that was asked of some kernel, and every answer that was given to it, by number.
#[derive(Default)]
pub(super) struct Book {
    numbers: HashMap<Question, u32>,
    asked: Vec<(Question, Vec<Answer>)>,
}

impl Book {
    fn number(&mut self, question: Question) -> u32 {
        if let Some(number) = self.numbers.get(&question) {
            return *number;
        }
        let number = self.asked.len() as u32;
        self.numbers.insert(question.clone(), number);
        self.asked.push((question, Vec::new()));
        number
    }

    /// The number of an answer to the question of that number.
    fn note(&mut self, question: u32, answer: Answer) -> u32 {
        let given = &mut self.asked[question as usize].1;
        let known = given.iter().position(|known| *known == answer);
        let number = known.unwrap_or_else(|| {
            given.push(answer);
            given.len() - 1
        });
        number as u32
    }
}

/// A question and the answer that it got, by their numbers in the [`Book`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Step {
    pub(super) question: u32,
    pub(super) answer: u32,
}

/// One kernel, to be asked.
pub(super) struct Asked<'k, 'b> {
    kernel: KernelFiles<'k>,
    book: &'b Mutex<Book>,
    /// What was asked of this kernel, by question.
    seen: RefCell<Vec<Seen>>,
    trail: RefCell<Trail>,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    answer: Option<u32>,
    /// The trail that the question was last asked on.
    trail: u32,
}

#[derive(Default)]
struct Trail {
    number: u32,
    /// Each question once.
    steps: Vec<Step>,
}

impl<'k, 'b> Asked<'k, 'b> {
    pub(super) fn new(kernel: KernelFiles<'k>, book: &'b Mutex<Book>) -> Asked<'k, 'b> {
        Asked { kernel, book, seen: RefCell::default(), trail: RefCell::default() }
    }

    /// The book, for as long as it takes to look something up: other threads want it too.
    fn book(&self) -> MutexGuard<'b, Book> {
        // What it has is whole whenever another thread can have died.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, question: Question) -> Answer {
        let question = self.book().number(question);
        let answer = self.answer(question);
        let mut trail = self.trail.borrow_mut();
        let last = &mut self.seen.borrow_mut()[question as usize].trail;
        if std::mem::replace(last, trail.number) != trail.number {
            trail.steps.push(Step { question, answer });
        }
        self.book().asked[question as usize].1[answer as usize].clone()
    }

    /// The kernel's answer to a question of the book. It is found out once.
    pub(super) fn answer(&self, question: u32) -> u32 {
        let mut seen = self.seen.borrow_mut();
        let at = question as usize;
        if seen.len() <= at {
            seen.resize(at + 1, Seen::default());
        }
        *seen[at].answer.get_or_insert_with(|| {
            // Some answers take long to find, such as the first about modules.
            let asked = self.book().asked[at].0.clone();
            let answer = asked.put_to(&self.kernel);
            self.book().note(question, answer)
        })
    }

    /// Begins a trail: what is asked from now on, in its order.
    pub(super) fn begin_trail(&self) {
        let mut trail = self.trail.borrow_mut();
        trail.number += 1;
        trail.steps.clear();
    }

    /// What was asked since.
    pub(super) fn trail(&self) -> Box<[Step]> {
        self.trail.borrow().steps.as_slice().into()
    }
}

impl Ground for Asked<'_, '_> {
    fn fact(&self, name: &str) -> Option<Cow<'_, Fact>> {
        self.fact_of(name).map(Cow::Owned)
    }

    fn in_types(&self, name: &str, kind: BtfKind) -> InTypes {
        self.in_types_of(name, kind)
    }

    fn tracepoint_arguments(&self, name: &str) -> Option<u32> {
        self.arguments_at(name)
    }
}

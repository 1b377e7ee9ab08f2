//! Functions of the kernel: what they do to references and to sections, by `data/kfunc_effects.tsv`. What they take and return
//! beside is not modelled, so that no walk with a call of one is clean.

use super::state::State;
use super::value::{Kind, Pointer, Region, Value};
use super::walk::{Refusal, Walker};
use std::collections::HashMap;
use std::sync::LazyLock;

/// What must be ended before a program ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Section {
    /// RCU-protected reads.
    Rcu,
    /// Code that must not be preempted.
    Preempt,
}

/// What a function of the kernel does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Effect {
    Acquires {
        /// Whether what it returns may be null for every kernel.
        null: bool,
    },
    Releases,
    Begins(Section),
    Ends(Section),
}

/// Panics on a malformed table: it is part of the program and read by its tests.
static TABLE: LazyLock<HashMap<&'static str, Vec<Effect>>> = LazyLock::new(|| {
    let rows = include_str!("../../data/kfunc_effects.tsv").lines().filter(|line| !line.starts_with('#'));
    let effect = |text: &str| match text {
        "acquires" => Effect::Acquires { null: true },
        "acquires~" => Effect::Acquires { null: false },
        "releases" => Effect::Releases,
        "begins:rcu" => Effect::Begins(Section::Rcu),
        "ends:rcu" => Effect::Ends(Section::Rcu),
        "begins:preempt" => Effect::Begins(Section::Preempt),
        "ends:preempt" => Effect::Ends(Section::Preempt),
        other => panic!("kfunc_effects.tsv: {other}"),
    };
    let row = |line: &'static str| {
        let (name, effects) = line.split_once('\t').expect("two columns");
        (name, effects.split(' ').map(effect).collect())
    };
    rows.map(row).collect()
});

impl Walker<'_> {
    /// Does what a function of the kernel does, and returns the value of `r0`.
    pub(super) fn kfunc(&mut self, at: usize, name: &str, state: &mut State) -> Result<Value, Refusal> {
        let mut result = self.unmodelled(&format!("the kernel function {name}()"));
        let effects = TABLE.get(name).map_or(&[][..], Vec::as_slice);
        for effect in effects {
            match effect {
                Effect::Releases => release(name, state)?,
                Effect::Begins(section) => state.sections.push((*section, at)),
                Effect::Ends(section) => {
                    let begun = state.sections.iter().rposition(|(begun, _)| begun == section);
                    let Some(begun) = begun else {
                        return Err(Refusal::sure(format!("calls {name}() without its counterpart")));
                    };
                    state.sections.remove(begun);
                }
                Effect::Acquires { null } => {
                    let id = self.fresh();
                    let pointer = Value::pointer(Pointer::or_null(Region::Kernel));
                    result = Value { id, reference: id, vague: !null, ..pointer };
                }
            }
        }
        self.doubt_arguments(state);
        if result.reference != 0 {
            state.references.push((result.reference, at));
        }
        Ok(result)
    }
}

/// Gives back what `r1` holds.
fn release(name: &str, state: &mut State) -> Result<(), Refusal> {
    let given = state.reg(1);
    match given.kind {
        Kind::Pointer(pointer) if pointer.or_null && given.reference != 0 => {
            let why = format!("gives {name}() {}", given.name());
            Err(Refusal { why, sure: !given.vague })
        }
        _ if given.reference != 0 => {
            // Some verifiers let it be read on, where RCU protects it.
            state.doubt_reference(given.reference);
            Ok(())
        }
        _ => {
            // Whatever is held may be what was given.
            while let Some((id, _)) = state.references.first().copied() {
                state.doubt_reference(id);
            }
            Ok(())
        }
    }
}

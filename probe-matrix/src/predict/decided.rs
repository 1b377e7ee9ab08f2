//! Verdicts by the answers that led to them.
//!
//! What is asked next depends on what was answered before and on nothing else, so that verdicts are the leaves of a tree:
//! each branches at a question that kernels answered differently. A kernel is asked along one way of it.

use super::EntryVerdict;
use super::asked::{Asked, Step};
use std::sync::Arc;

/// So many verdicts are kept; all are forgotten where one more is decided.
const MOST: usize = 64;

/// Verdicts on one form of an entry.
#[derive(Default)]
pub(super) struct Decided {
    count: usize,
    tree: Option<Tree<Arc<EntryVerdict>>>,
}

impl Decided {
    /// The verdict that the kernel's answers lead to, if any before led there.
    pub(super) fn find(&self, kernel: &Asked) -> Option<Arc<EntryVerdict>> {
        self.tree.as_ref()?.find(&|question| kernel.answer(question)).cloned()
    }

    /// Adds what was decided by these answers and not found.
    pub(super) fn insert(&mut self, trail: &[Step], verdict: Arc<EntryVerdict>) {
        match &mut self.tree {
            Some(tree) if self.count < MOST => {
                tree.insert(trail, verdict);
                self.count += 1;
            }
            _ => *self = Decided { count: 1, tree: Some(Tree::leaf(trail, verdict)) },
        }
    }
}

struct Tree<T> {
    /// What is asked first, with answers that all kernels gave that came here.
    agreed: Box<[Step]>,
    then: Then<T>,
}

enum Then<T> {
    /// Nothing more is asked.
    Leaf(T),
    /// A question, and what follows by its answer.
    Ask(u32, Vec<(u32, Tree<T>)>),
}

impl<T> Tree<T> {
    fn leaf(trail: &[Step], value: T) -> Tree<T> {
        Tree { agreed: trail.into(), then: Then::Leaf(value) }
    }

    fn find(&self, answer: &impl Fn(u32) -> u32) -> Option<&T> {
        let mut tree = self;
        loop {
            if tree.agreed.iter().any(|step| answer(step.question) != step.answer) {
                return None;
            }
            match &tree.then {
                Then::Leaf(value) => return Some(value),
                Then::Ask(question, ways) => {
                    let answer = answer(*question);
                    tree = &ways.iter().find(|(given, _)| *given == answer)?.1;
                }
            }
        }
    }

    fn insert(&mut self, trail: &[Step], value: T) {
        let same = self.agreed.iter().zip(trail).take_while(|(known, step)| known == step).count();
        let Some((step, rest)) = trail[same..].split_first() else {
            // The same questions and answers, to their end.
            *self = Tree::leaf(trail, value);
            return;
        };
        if let Some((known, agreed)) = self.agreed[same..].split_first() {
            // Kernels part here that did not before.
            let (question, answer) = (known.question, known.answer);
            let agreed = agreed.into();
            let then = std::mem::replace(&mut self.then, Then::Ask(question, Vec::new()));
            if let Then::Ask(_, ways) = &mut self.then {
                ways.push((answer, Tree { agreed, then }));
            }
            self.agreed = self.agreed[..same].into();
        }
        match &mut self.then {
            Then::Ask(question, ways) if *question == step.question => {
                match ways.iter_mut().find(|(given, _)| *given == step.answer) {
                    Some((_, tree)) => tree.insert(rest, value),
                    None => ways.push((step.answer, Tree::leaf(rest, value))),
                }
            }
            // Something else was asked after the same answers, or more: the last that was decided is kept.
            _ => *self = Tree::leaf(trail, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks a kernel, whose answers these are, what an examiner would: the next question depends on the answers so far.
    fn examine(answers: &[u32]) -> Vec<Step> {
        let (mut steps, mut sum) = (Vec::<Step>::new(), 0);
        while steps.len() < 3 + sum as usize % 4 {
            let asked = |question: u32| steps.iter().any(|step| step.question == question);
            let Some(question) = (0..8).map(|next| (sum * 3 + next) % 8).find(|next| !asked(*next)) else {
                break;
            };
            let answer = answers[question as usize];
            sum += answer * (question + 1);
            steps.push(Step { question, answer });
        }
        steps
    }

    #[test]
    fn each_kernel_finds_what_was_decided_by_its_answers() {
        // All that can answer eight questions in three ways, in a mixed order.
        let count = 3u32.pow(8);
        let kernel = |number: u32| (0..8).map(move |digit| number * 4099 % count / 3u32.pow(digit) % 3);
        let mut tree: Option<Tree<Vec<Step>>> = None;
        for number in (0..count).chain(0..count) {
            let kernel: Vec<u32> = kernel(number).collect();
            let trail = examine(&kernel);
            let found =
                tree.as_ref().and_then(|tree| tree.find(&|question| kernel[question as usize]).cloned());
            match (found, &mut tree) {
                (Some(found), _) => assert_eq!(found, trail),
                (None, Some(tree)) => {
                    tree.insert(&trail, trail.clone());
                    let found = tree.find(&|question| kernel[question as usize]);
                    assert_eq!(found, Some(&trail));
                }
                (None, None) => tree = Some(Tree::leaf(&trail, trail.clone())),
            }
        }
    }

    #[test]
    fn nothing_is_lost_but_what_is_asked_otherwise_after_equal_answers() {
        let step = |question, answer| Step { question, answer };
        let mut tree = Tree::leaf(&[step(0, 0), step(1, 0)], 'a');
        tree.insert(&[step(0, 0), step(1, 1)], 'b');
        assert_eq!((tree.find(&|_| 0), tree.find(&|question| question)), (Some(&'a'), Some(&'b')));
        tree.insert(&[step(0, 0), step(2, 0)], 'c');
        assert_eq!(tree.find(&|_| 0), Some(&'c'));
    }
}

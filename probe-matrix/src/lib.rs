//! What nodes offer and what fits on them.
//!
//! The matrix is pure: requirements against facts give verdicts, verdicts give a selection. Collecting facts (from this
//! host, through [`sys`]) sits at the edge.

pub mod assess;
pub mod derive;
pub mod facts;
pub mod predict;
pub mod probe;
pub mod profile;
pub mod reasons;
pub mod select;
pub mod sys;
pub mod verdict;
pub mod worker;

pub use facts::{Evidence, Fact, Facts, Support};

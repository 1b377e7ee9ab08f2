//! Reason codes: the table in `data/reasons.toml`, which code, documentation and tests share.

use crate::verdict::Reason;
use serde::Deserialize;
use std::sync::LazyLock;

/// One row of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReasonRow {
    /// `PTLnnnn`.
    pub code: String,
    /// A few words.
    pub title: String,
    /// What it means and how it comes about.
    pub explanation: String,
    /// What to do.
    pub remedy: String,
    /// What to do where nothing but the kernel's files is at hand, if that is something else.
    pub offline: Option<String>,
    /// Whether it is no longer given.
    #[serde(default)]
    pub retired: bool,
}

#[derive(Deserialize)]
struct Rows {
    reason: Vec<ReasonRow>,
}

/// The whole table, ascending by code.
///
/// # Panics
/// Never in a build whose tests pass: the table is part of the program.
pub fn table() -> &'static [ReasonRow] {
    static TABLE: LazyLock<Vec<ReasonRow>> = LazyLock::new(|| {
        toml::from_str::<Rows>(include_str!("../data/reasons.toml"))
            .expect("data/reasons.toml is well formed")
            .reason
    });
    &TABLE
}

/// The row of a code.
pub fn find(code: &str) -> Option<&'static ReasonRow> {
    table().iter().find(|row| row.code == code)
}

/// A reason with the remedy of its row.
pub fn reason(code: &str, subject: impl Into<String>, message: impl Into<String>) -> Reason {
    Reason {
        code: code.to_owned(),
        subject: subject.into(),
        message: message.into(),
        errno: None,
        remedy: find(code).map_or_else(String::new, |row| row.remedy.clone()),
    }
}

/// The reason, as it is told of a kernel that is known by its files alone.
pub(crate) fn offline(reason: Reason) -> Reason {
    let remedy = find(&reason.code).and_then(|row| row.offline.clone());
    Reason { remedy: remedy.unwrap_or(reason.remedy), ..reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_ascending_and_explained() {
        assert!(table().is_sorted_by(|a, b| a.code < b.code));
        for row in table() {
            assert!(row.code.len() == 7 && row.code.starts_with("PTL"), "{}", row.code);
            assert!(row.explanation.ends_with('.') && row.remedy.ends_with('.'), "{}", row.code);
            assert!(row.offline.as_ref().is_none_or(|remedy| remedy.ends_with('.')), "{}", row.code);
            assert!(!row.title.is_empty());
        }
    }
}

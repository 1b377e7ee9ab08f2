//! What `truth-init` and the host say to each other.
//!
//! The plan is a file of the initramfs, a line for each object: its path, a tab, the index of the first entry to be tried
//! alone, or `all`, which is to try all of it at once first. Answers are frames; their fields are separated by the byte
//! 0x1f, which neither names nor messages have.

/// Path of the plan in the guest.
pub const PLAN: &str = "plan";

/// Separates the fields of a payload.
pub const SEPARATOR: char = '\u{1f}';

/// Frame: the guest is up. Fields: kernel release, the file systems that it could not mount.
pub const HELLO: u8 = 1;
/// Frame: an entry is about to be loaded. Fields: object, index of the entry; [`WHOLE`] where it is the object that is
/// about to be opened, or to be loaded with all its entries.
pub const BEGIN: u8 = 2;
/// Stands for the index of an entry where all of the object is meant.
pub const WHOLE: &str = "all";
/// Frame: the outcome of an entry. Fields as in [`Row`].
pub const ROW: u8 = 3;
/// Frame: an entry, or opening an object, ended the process that did it, or took too long. Fields: object, index, how.
pub const LOST: u8 = 4;
/// Frame: all objects are through. No fields.
pub const DONE: u8 = 5;

/// The outcome of one entry in one kernel.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Row {
    /// The object's path in the plan.
    pub object: String,
    /// Index of the entry in the object; 0 where the object has none or cannot be opened.
    pub index: usize,
    /// Section; empty where there is no entry.
    pub section: String,
    /// Name of the function; empty where there is no entry.
    pub program: String,
    /// Program type in libbpf's words.
    pub prog_type: String,
    /// Attach type in libbpf's words.
    pub attach_type: String,
    /// Whether it is loaded unless a loader says otherwise.
    pub autoload: bool,
    /// Instructions before linking.
    pub insns: usize,
    /// Letters: `s` a map without a size, `i` a map of maps without an inner map, `o` the object could not be opened.
    pub marks: String,
    /// 0 or the errno.
    pub errno: i32,
    /// The end of what libbpf said.
    pub log: String,
}

impl Row {
    /// As a frame's payload.
    pub fn encode(&self) -> String {
        let fields = [
            self.object.as_str(),
            &self.index.to_string(),
            &self.section,
            &self.program,
            &self.prog_type,
            &self.attach_type,
            if self.autoload { "1" } else { "0" },
            &self.insns.to_string(),
            &self.marks,
            &self.errno.to_string(),
            &self.log,
        ];
        fields.join("\u{1f}")
    }

    /// Reads a payload; `None` if it is none.
    pub fn decode(payload: &str) -> Option<Row> {
        let mut fields = payload.splitn(11, SEPARATOR);
        let mut next = || fields.next().map(str::to_owned);
        Some(Row {
            object: next()?,
            index: next()?.parse().ok()?,
            section: next()?,
            program: next()?,
            prog_type: next()?,
            attach_type: next()?,
            autoload: next()? == "1",
            insns: next()?.parse().ok()?,
            marks: next()?,
            errno: next()?.parse().ok()?,
            log: next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Row;

    #[test]
    fn a_row_comes_back_as_it_was() {
        let row = Row {
            object: "a/b.o".into(),
            index: 7,
            section: "kprobe/x".into(),
            program: "x".into(),
            errno: 22,
            log: "two\nlines\u{1f}and a separator".into(),
            ..Row::default()
        };
        assert_eq!(Row::decode(&row.encode()), Some(row));
        assert_eq!(Row::decode("a\u{1f}b"), None);
    }
}

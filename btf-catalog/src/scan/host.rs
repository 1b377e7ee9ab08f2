//! The executable or library around an object: which section it lies in, which symbol covers it.

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use std::ops::Range;

/// Bytes of a symbol's name; mangled ones of C++ and Rust have thousands.
const NAME_MAX: usize = 64 << 10;

/// Places of an executable by their offset in the file.
pub(super) struct Host<'a> {
    sections: Vec<(Range<u64>, &'a [u8])>,
    symbols: Vec<(Range<u64>, &'a [u8])>,
}

impl<'a> Host<'a> {
    /// Reads the executable; `None` if it is none.
    pub(super) fn parse(data: &'a [u8]) -> Option<Host<'a>> {
        let file = object::File::parse(data).ok()?;
        let mut sections = Vec::new();
        // By section index: where a virtual address lies in the file.
        let mut starts = std::collections::HashMap::new();
        for section in file.sections() {
            let Some((off, size)) = section.file_range() else { continue };
            starts.insert(section.index(), (section.address(), off));
            sections.push((off..off.saturating_add(size), section.name_bytes().ok()?));
        }
        let symbols = file.symbols().chain(file.dynamic_symbols()).filter(|symbol| symbol.size() > 0);
        let symbols = symbols.filter_map(|symbol| {
            let (address, off) = starts.get(&symbol.section_index()?)?;
            let begin = symbol.address().checked_sub(*address)?.checked_add(*off)?;
            Some((begin..begin.saturating_add(symbol.size()), symbol.name_bytes().ok()?))
        });
        // Many symbols may share one long name, and each look at it costs all of it: such a table tells nothing.
        let symbols = symbols.take_while(|(_, name)| name.len() <= NAME_MAX);
        let symbols = symbols.filter(|(_, name)| !name.is_empty()).collect();
        Some(Host { sections, symbols })
    }

    /// The section that covers an offset.
    pub(super) fn section(&self, off: u64) -> Option<String> {
        covering(&self.sections, off)
    }

    /// The smallest symbol that covers an offset.
    pub(super) fn symbol(&self, off: u64) -> Option<String> {
        covering(&self.symbols, off)
    }
}

fn covering(ranges: &[(Range<u64>, &[u8])], off: u64) -> Option<String> {
    let covering = ranges.iter().filter(|(range, _)| range.contains(&off));
    covering
        .min_by_key(|(range, _)| range.end - range.start)
        .map(|(_, name)| String::from_utf8_lossy(name).into_owned())
}

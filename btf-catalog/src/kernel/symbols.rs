//! Symbols of a kernel, compact: 16 bytes each beside one string of all names.

use std::fmt;
use std::sync::OnceLock;

/// Bytes of a name. The kernel's own table takes 511 (`KSYM_NAME_LEN`, v6.1).
pub(super) const NAME: usize = 1024;
/// Bytes of all names, of which kernels have 5 million.
pub(super) const NAMES: usize = 256 << 20;

/// A symbol of a kernel image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Symbol<'a> {
    /// Virtual address, as linked (a booted kernel may have moved by KASLR).
    pub address: u64,
    /// Type as `/proc/kallsyms` shows it: `T`, `t`, `D`, …
    pub kind: u8,
    /// Its name. Several symbols may have the same one.
    pub name: &'a str,
}

impl Symbol<'_> {
    /// Whether it is in a text section: a function, or code of another kind.
    pub fn is_text(&self) -> bool {
        // A weak symbol is listed as `W` whatever its section is; those that kernels keep are functions.
        matches!(self.kind, b't' | b'T' | b'w' | b'W')
    }
}

/// Symbols in the order of their addresses, found by name or by address in logarithmic time.
#[derive(Clone, Default)]
pub struct Symbols {
    names: String,
    entries: Vec<Entry>,
    by_name: OnceLock<Vec<u32>>,
}

#[derive(Clone, Copy)]
struct Entry {
    address: u64,
    name_off: u32,
    name_len: u16,
    kind: u8,
}

impl fmt::Debug for Symbols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Symbols({})", self.entries.len())
    }
}

impl Symbols {
    /// The symbols of `(address, kind, name)`, whatever their order. Names of more than 1,024 bytes, and what follows
    /// 256 MiB of names, are no kernel's and are left out.
    pub fn from_unsorted<'a>(symbols: impl Iterator<Item = (u64, u8, &'a str)>) -> Symbols {
        let mut out = Symbols::default();
        for (address, kind, name) in symbols {
            if name.len() > NAME || out.names.len() > NAMES {
                continue;
            }
            let (name_off, name_len) = (out.names.len() as u32, name.len() as u16);
            out.names.push_str(name);
            out.entries.push(Entry { address, name_off, name_len, kind });
        }
        // Stable: symbols of one address keep the order in which the kernel lists them.
        out.entries.sort_by_key(|entry| entry.address);
        out
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn at(&self, index: usize) -> Symbol<'_> {
        let Entry { address, name_off, name_len, kind } = self.entries[index];
        let off = name_off as usize;
        Symbol { address, kind, name: &self.names[off..off + usize::from(name_len)] }
    }

    /// All, by address.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Symbol<'_>> + Clone {
        (0..self.entries.len()).map(|index| self.at(index))
    }

    fn by_name(&self) -> &[u32] {
        self.by_name.get_or_init(|| {
            let mut order: Vec<u32> = (0..self.entries.len() as u32).collect();
            order.sort_by_key(|index| self.at(*index as usize).name);
            order
        })
    }

    /// All of this name, by address.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Symbol<'a>> + 'a {
        self.with_prefix(name).take_while(move |symbol| symbol.name == name)
    }

    /// All whose names begin with `prefix`, by name.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = Symbol<'a>> + 'a {
        let order = self.by_name();
        let first = order.partition_point(|index| self.at(*index as usize).name < prefix);
        let found = order[first..].iter().map(|index| self.at(*index as usize));
        found.take_while(move |symbol| symbol.name.starts_with(prefix))
    }

    /// The first of this name.
    pub fn get<'a>(&'a self, name: &'a str) -> Option<Symbol<'a>> {
        self.named(name).next()
    }

    /// All that begin at addresses from `from` up to `to`, by address.
    pub fn within(&self, from: u64, to: u64) -> impl Iterator<Item = Symbol<'_>> {
        let first = self.entries.partition_point(|entry| entry.address < from);
        (first..self.entries.len()).map(|index| self.at(index)).take_while(move |symbol| symbol.address < to)
    }

    /// The address of the next symbol behind `address` that lies elsewhere.
    pub fn next_address(&self, address: u64) -> Option<u64> {
        let next = self.entries.partition_point(|entry| entry.address <= address);
        self.entries.get(next).map(|entry| entry.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_by_name_prefix_and_address() {
        let raw = [(30, b't', "b"), (10, b'T', "a"), (20, b'D', "ab"), (40, b't', "a")];
        let symbols = Symbols::from_unsorted(raw.into_iter());
        let addresses =
            |found: Vec<Symbol<'_>>| found.iter().map(|symbol| symbol.address).collect::<Vec<_>>();
        assert_eq!(addresses(symbols.iter().collect()), [10, 20, 30, 40]);
        assert_eq!(addresses(symbols.named("a").collect()), [10, 40]);
        assert_eq!(addresses(symbols.with_prefix("a").collect()), [10, 40, 20]);
        assert_eq!(addresses(symbols.within(20, 40).collect()), [20, 30]);
        assert_eq!(symbols.get("c"), None);
        assert_eq!(symbols.next_address(20), Some(30));
        assert_eq!(symbols.next_address(40), None);
        assert!(symbols.get("b").unwrap().is_text() && !symbols.get("ab").unwrap().is_text());
    }
}

//! Decodes the symbol table that a kernel carries for itself (kernel/kallsyms.c, scripts/kallsyms.c).
//!
//! No symbol tells where its tables are, so they are found by their shape. Names are sequences of tokens; `token_index`
//! is 256 ascending 16-bit offsets into `token_table`, which ends where it begins; `markers` is an ascending run of
//! words, one for every 256 names; the count of names stands before the names. Addresses lie before that (up to v6.3)
//! or behind `token_index`. Every guess is checked against the others, and the whole against `linux_banner`.

use super::image::{Image, Segment};
use super::symbols::Symbols;
use crate::raw::{u16_at, u32_at, u64_at};

/// Symbols that a kernel may have; distributions' have 200,000.
const SYMBOLS: usize = 4 << 20;
/// The longest name, unpacked (`KSYM_NAME_LEN` is 512 since v6.1).
const NAME: usize = 1024;
const TOKENS: usize = 256;
/// Places that look like a table of tokens, of which each is tried.
const CANDIDATES: usize = 16;

/// Where the tables are in a segment.
struct Tables<'a> {
    segment: &'a Segment,
    big_endian: bool,
    tokens: Vec<&'a [u8]>,
    /// The count of symbols and where it stands.
    num_syms: (usize, usize),
    /// Where the names begin.
    names: usize,
    /// The end of `token_index`.
    end: usize,
}

/// The symbols of an image.
pub(super) fn decode(image: &Image) -> Result<Symbols, String> {
    let mut problem = "no table of tokens was found (CONFIG_KALLSYMS)".to_owned();
    let candidates = image.segments.iter().flat_map(|segment| {
        token_tables(&segment.data, image.big_endian).map(move |(index, tokens)| (segment, index, tokens))
    });
    for (segment, index, (table, tokens)) in candidates.take(CANDIDATES) {
        match decode_from(image, segment, table, index, tokens) {
            Ok(symbols) => return Ok(symbols),
            Err(error) => problem = error,
        }
    }
    Err(problem)
}

/// Candidates for `(token_index, (token_table, tokens))`, as offsets in a segment.
fn token_tables(data: &[u8], big_endian: bool) -> impl Iterator<Item = (usize, (usize, Vec<&[u8]>))> {
    (0..data.len().saturating_sub(TOKENS * 2)).step_by(4).filter_map(move |index| {
        if data[index] != 0 || data[index + 1] != 0 {
            return None;
        }
        let at = |token: usize| usize::from(u16_at(data, index + token * 2, big_endian));
        // A token is one character at least, and its NUL.
        let ascending = (1..TOKENS).all(|token| at(token) >= at(token - 1) + 2);
        if !ascending {
            return None;
        }
        let last = at(TOKENS - 1);
        // The table ends, its padding aside, where the index begins; the last token's length is not in the index.
        (0..NAME / 4).find_map(|words| {
            let table = index.checked_sub(last + words * 4)? & !3;
            let tokens: Option<Vec<&[u8]>> = (0..TOKENS)
                .map(|token| {
                    let text = data.get(table + at(token)..index)?;
                    let end = memchr::memchr(0, text)?;
                    let right = match token {
                        255 => text[end..].iter().all(|byte| *byte == 0) && text.len() - end <= 8,
                        _ => at(token) + end + 1 == at(token + 1),
                    };
                    (end > 0 && right).then(|| &text[..end])
                })
                .collect();
            Some((index, (table, tokens?)))
        })
    })
}

/// The longest run of markers before the table of tokens: 0, then steps of 256 names of two bytes and more.
fn find_markers(data: &[u8], table: usize, big_endian: bool) -> Option<(usize, Vec<usize>)> {
    // Sequence numbers of 3 bytes a symbol lie between them in v6.2 and v6.3.
    let from = table.saturating_sub((SYMBOLS / 16 * 3).min(table)) & !3;
    let word = |at: usize| u32_at(data, at, big_endian) as usize;
    let step = |from: usize, to: usize| (512..=256 * (NAME / 2)).contains(&to.wrapping_sub(from));
    let mut best: Option<(usize, usize)> = None;
    let mut at = from;
    while at + 8 <= table {
        if word(at) != 0 || !step(0, word(at + 4)) {
            at += 4;
            continue;
        }
        let mut end = at + 8;
        while end + 4 <= table && step(word(end - 4), word(end)) {
            end += 4;
        }
        if best.is_none_or(|(start, stop)| stop - start < end - at) {
            best = Some((at, end));
        }
        at = end;
    }
    let (start, end) = best?;
    Some((start, (start..end).step_by(4).map(word).collect()))
}

/// The length of the packed name at `at`, and where its tokens begin. Lengths of 128 and more take two bytes (v6.1).
fn name_len(data: &[u8], at: usize) -> Option<(usize, usize)> {
    let low = usize::from(*data.get(at)?);
    if low & 0x80 == 0 {
        return Some((low, at + 1));
    }
    Some((low & 0x7f | usize::from(*data.get(at + 1)?) << 7, at + 2))
}

/// Where `count` names that begin at `at` end.
fn skip_names(data: &[u8], mut at: usize, count: usize) -> Option<usize> {
    for _ in 0..count {
        let (len, tokens) = name_len(data, at)?;
        at = tokens + len;
        if len == 0 || at > data.len() {
            return None;
        }
    }
    Some(at)
}

fn decode_from(
    image: &Image,
    segment: &Segment,
    table: usize,
    index: usize,
    tokens: Vec<&[u8]>,
) -> Result<Symbols, String> {
    let (data, big_endian) = (&segment.data[..], image.big_endian);
    let (markers_at, markers) =
        find_markers(data, table, big_endian).ok_or("no markers of names were found")?;
    let last = *markers.last().expect("two at least");
    // The names end at the markers, those behind the last marker are 256 at most.
    let highest = markers_at.saturating_sub(last + 4);
    let lowest = highest.saturating_sub(256 * NAME);
    let found = (lowest..=highest).rev().filter(|at| at % 4 == 0).find_map(|at| {
        let count = u32_at(data, at, big_endian) as usize;
        if count.div_ceil(256) != markers.len() || count > SYMBOLS {
            return None;
        }
        // Aligned to 8 bytes up to v6.x, to 4 since v7.0.
        [at + 4, at + 8].into_iter().find_map(|names| {
            if skip_names(data, names, 256)? != names + markers[1] {
                return None;
            }
            let end = skip_names(data, names + last, count - (markers.len() - 1) * 256)?;
            (end <= markers_at && markers_at - end < 8).then_some((at, count, names))
        })
    });
    let (num_syms, count, names) = found.ok_or("no count of names fits the markers")?;
    let tables =
        Tables { segment, big_endian, tokens, num_syms: (num_syms, count), names, end: index + TOKENS * 2 };
    let addresses = tables.addresses(image)?;
    tables.symbols(&addresses)
}

impl Tables<'_> {
    fn symbols(&self, addresses: &[u64]) -> Result<Symbols, String> {
        let mut text = String::new();
        let mut spans = Vec::with_capacity(addresses.len());
        let mut at = self.names;
        for address in addresses {
            let (len, tokens) = name_len(&self.segment.data, at).ok_or("the names end early")?;
            let packed = self.segment.data.get(tokens..tokens + len).ok_or("the names end early")?;
            at = tokens + len;
            let start = text.len();
            for token in packed {
                // Checked as it grows: tokens may be long.
                if text.len() - start > NAME {
                    break;
                }
                text.push_str(
                    std::str::from_utf8(self.tokens[usize::from(*token)]).map_err(|_| "a name is no text")?,
                );
            }
            if text.len() - start < 2 || text.len() - start > NAME {
                return Err(format!("a name has {} bytes", text.len() - start));
            }
            spans.push((*address, start, text.len()));
        }
        if spans.iter().any(|(_, start, _)| !text.as_bytes()[*start].is_ascii_alphabetic()) {
            return Err("a symbol's type is no letter".to_owned());
        }
        Ok(Symbols::from_unsorted(
            spans
                .iter()
                .map(|(address, start, end)| (*address, text.as_bytes()[*start], &text[start + 1..*end])),
        ))
    }

    /// The addresses, in whichever of the layouts the kernel's own banner is found.
    fn addresses(&self, image: &Image) -> Result<Vec<u64>, String> {
        let banner = self.index_of("Dlinux_banner").or_else(|| self.index_of("Rlinux_banner"));
        let banner = banner.ok_or("linux_banner is not among the symbols (CONFIG_KALLSYMS_ALL)")?;
        let is_banner = |layout: &Layout| {
            let text = self.address(*layout, banner).and_then(|address| image.read(address, 14));
            text.is_some_and(|text| text == b"Linux version ")
        };
        let layout = self.layouts().into_iter().find(is_banner);
        let layout = layout.ok_or("linux_banner is not where the table says, in no layout of it")?;
        let addresses = (0..self.num_syms.1).map(|index| self.address(layout, index));
        addresses.collect::<Option<_>>().ok_or_else(|| "the table of addresses ends early".to_owned())
    }

    fn index_of(&self, name: &str) -> Option<usize> {
        let mut at = self.names;
        let mut text = Vec::new();
        for index in 0..self.num_syms.1 {
            let (len, tokens) = name_len(&self.segment.data, at)?;
            at = tokens + len;
            text.clear();
            for token in self.segment.data.get(tokens..at)? {
                if text.len() > NAME {
                    break;
                }
                text.extend_from_slice(self.tokens[usize::from(*token)]);
            }
            if text.eq_ignore_ascii_case(name.as_bytes()) {
                return Some(index);
            }
        }
        None
    }

    /// Every place and kind of the addresses that the format has had, the newest first.
    fn layouts(&self) -> Vec<Layout> {
        let (num_syms, count) = self.num_syms;
        let mut layouts = Vec::new();
        let mut based = |offsets: usize, base: usize| {
            layouts.extend([true, false].map(|percpu| Layout::Based { offsets, base, percpu }));
        };
        // Tables are aligned to 4 or 8 bytes. Behind the tokens since v6.4, before the count of symbols earlier.
        for offsets in [self.end.next_multiple_of(4), self.end.next_multiple_of(8)] {
            for base in [4, 8].map(|align| (offsets + count * 4).next_multiple_of(align)) {
                based(offsets, base);
            }
        }
        for base in [8, 12].into_iter().filter_map(|before| num_syms.checked_sub(before)) {
            for bytes in [count * 4, (count * 4).next_multiple_of(8)] {
                if let Some(offsets) = base.checked_sub(bytes) {
                    based(offsets, base);
                }
            }
        }
        layouts.extend([4, 8].map(|align| Layout::Place(self.end.next_multiple_of(align))));
        layouts.push(Layout::Whole(self.end.next_multiple_of(8)));
        layouts.extend(num_syms.checked_sub(count * 8).map(Layout::Whole));
        layouts
    }

    /// The address of symbol `index`.
    fn address(&self, layout: Layout, index: usize) -> Option<u64> {
        let data = &self.segment.data[..];
        let offset = |at: usize| Some(i64::from(u32_at(data.get(at..at + 4)?, 0, self.big_endian) as i32));
        let whole = |at: usize| Some(u64_at(data.get(at..at + 8)?, 0, self.big_endian));
        match layout {
            Layout::Place(offsets) => {
                let at = offsets + index * 4;
                Some(self.segment.address.wrapping_add(at as u64).wrapping_add(offset(at)? as u64))
            }
            Layout::Based { offsets, base, percpu } => {
                let base = whole(base)?;
                let offset = offset(offsets + index * 4)?;
                Some(match percpu {
                    true if offset < 0 => base.wrapping_sub(1).wrapping_sub(offset as u64),
                    true => offset as u64,
                    false => base.wrapping_add(u64::from(offset as u32)),
                })
            }
            Layout::Whole(addresses) => whole(addresses + index * 8),
        }
    }
}

/// Where and how addresses are kept.
#[derive(Clone, Copy)]
enum Layout {
    /// 32-bit offsets, each from its own place (v7.0).
    Place(usize),
    /// 32-bit offsets from a base that is kept elsewhere. `percpu`: those of CPU-local symbols are addresses, all others
    /// count down from the base (`CONFIG_KALLSYMS_ABSOLUTE_PERCPU`, x86 up to v6.14).
    Based { offsets: usize, base: usize, percpu: bool },
    /// 64-bit addresses (without `CONFIG_KALLSYMS_BASE_RELATIVE`, up to v6.x).
    Whole(usize),
}

#[cfg(test)]
mod tests;

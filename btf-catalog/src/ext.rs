//! `.BTF.ext`: which function, source line and CO-RE relocation belongs to which instruction.
//!
//! Layout: `struct btf_ext_header` of libbpf's `libbpf_internal.h`; per section one `btf_ext_info_sec` with records of a
//! size given once, of which only the known leading part is read.

use crate::btf::{Btf, TypeId};
use crate::raw::{MAGIC, u16_at, u32_at};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;

/// What is wrong with bytes that should be `.BTF.ext`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(".BTF.ext: {0}")]
pub struct ExtError(String);

/// A function's beginning: `struct bpf_func_info`, with the offset in bytes from the section's start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FuncInfo {
    /// Bytes from the start of the section.
    pub byte_off: u32,
    /// The `FUNC` type.
    pub type_id: TypeId,
}

/// A source line's first instruction: `struct bpf_line_info`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineInfo {
    /// Bytes from the start of the section.
    pub byte_off: u32,
    /// File name, as an offset into the BTF's strings.
    pub file_name_off: u32,
    /// Text of the line, as an offset into the BTF's strings.
    pub line_off: u32,
    /// Line and column as the kernel packs them: `line << 10 | column`.
    pub line_col: u32,
}

/// A CO-RE relocation: `struct bpf_core_relo`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CoreReloRecord {
    /// Bytes from the start of the section to the instruction.
    pub byte_off: u32,
    /// The local type the access begins at.
    pub type_id: TypeId,
    /// The access string (`0:1:2`), as an offset into the BTF's strings.
    pub access_str_off: u32,
    /// `enum bpf_core_relo_kind`, unchecked.
    pub kind: u32,
    /// Its place among all records of the object: libbpf answers them in this order.
    pub order: u32,
}

/// All records of an object by section name, ascending by `byte_off`.
#[derive(Debug, Default)]
pub struct BtfExt {
    /// Functions.
    pub funcs: BTreeMap<String, Vec<FuncInfo>>,
    /// Source lines.
    pub lines: BTreeMap<String, Vec<LineInfo>>,
    /// CO-RE relocations.
    pub core_relos: BTreeMap<String, Vec<CoreReloRecord>>,
}

impl BtfExt {
    /// Reads `.BTF.ext`; section names are strings of the object's `btf`.
    pub fn parse(data: &[u8], btf: &Btf) -> Result<BtfExt, ExtError> {
        const WITH_CORE: usize = 32;
        if data.len() < 24 {
            return Err(ExtError(format!("the header needs 24 bytes, there are {}", data.len())));
        }
        let big = btf.big_endian();
        if u16_at(data, 0, big) != MAGIC {
            return Err(ExtError("does not begin with 0xeb9f in the byte order of .BTF".to_owned()));
        }
        let header_len = u32_at(data, 4, big) as usize;
        if header_len < 24 || header_len > data.len() {
            return Err(ExtError(format!("header of {header_len} bytes in {} bytes", data.len())));
        }
        let sub = |what: &'static str, field: usize| {
            let off = header_len as u64 + u64::from(u32_at(data, field, big));
            let end = off + u64::from(u32_at(data, field + 4, big));
            data.get(off as usize..end as usize)
                .ok_or_else(|| ExtError(format!("{what} end at byte {end} of {}", data.len())))
                .map(|data| Sub { what, data, big, btf })
        };
        let mut ext = BtfExt {
            funcs: sub("function records", 8)?
                .records(8, |w| FuncInfo { byte_off: w[0], type_id: TypeId(w[1]) })?,
            lines: sub("line records", 16)?.records(16, |w| LineInfo {
                byte_off: w[0],
                file_name_off: w[1],
                line_off: w[2],
                line_col: w[3],
            })?,
            core_relos: BTreeMap::new(),
        };
        // One function and one line begin at an instruction at most: what is said twice costs memory only.
        ext.funcs.values_mut().for_each(|funcs| {
            funcs.sort_by_key(|func| func.byte_off);
            funcs.dedup_by_key(|func| func.byte_off);
        });
        ext.lines.values_mut().for_each(|lines| {
            lines.sort_by_key(|line| line.byte_off);
            lines.dedup_by_key(|line| line.byte_off);
        });
        if header_len >= WITH_CORE {
            let count = Cell::new(0);
            ext.core_relos = sub("CO-RE records", 24)?.records(16, |w| CoreReloRecord {
                byte_off: w[0],
                type_id: TypeId(w[1]),
                access_str_off: w[2],
                kind: w[3],
                order: count.replace(count.get() + 1),
            })?;
            for (section, relos) in &mut ext.core_relos {
                relos.sort_by_key(|relo| relo.byte_off);
                if let Some(pair) = relos.windows(2).find(|pair| pair[0].byte_off == pair[1].byte_off) {
                    let off = pair[0].byte_off;
                    return Err(ExtError(format!(
                        "two CO-RE records for the instruction at byte {off} of {section}"
                    )));
                }
            }
        }
        Ok(ext)
    }
}

/// The records of the instructions in `span`, a range of bytes; `records` ascend by `byte_off`.
pub(crate) fn within<'a, T>(records: &'a [T], byte_off: impl Fn(&T) -> u32, span: &Range<u64>) -> &'a [T] {
    let start = records.partition_point(|record| u64::from(byte_off(record)) < span.start);
    let end = records.partition_point(|record| u64::from(byte_off(record)) < span.end);
    &records[start..end]
}

/// One of the three parts of `.BTF.ext`.
struct Sub<'a> {
    what: &'static str,
    data: &'a [u8],
    big: bool,
    btf: &'a Btf,
}

impl Sub<'_> {
    /// Reads all records; `known_sz` bytes of each are given to `read` as words.
    fn records<T>(
        &self,
        known_sz: usize,
        read: impl Fn(&[u32]) -> T,
    ) -> Result<BTreeMap<String, Vec<T>>, ExtError> {
        let mut sections = BTreeMap::new();
        if self.data.is_empty() {
            return Ok(sections);
        }
        let fail = |text: String| ExtError(format!("{}: {text}", self.what));
        let word = |at: usize| {
            self.data
                .get(at..at + 4)
                .map(|_| u32_at(self.data, at, self.big))
                .ok_or_else(|| fail(format!("cut short at byte {at}")))
        };
        let record_sz = word(0)? as usize;
        if record_sz < known_sz || !record_sz.is_multiple_of(4) {
            return Err(fail(format!("records of {record_sz} bytes, at least {known_sz} are needed")));
        }
        let mut at = 4;
        while at < self.data.len() {
            let name = self.btf.string(word(at)?);
            let count = word(at + 4)? as usize;
            at += 8;
            let byte_sz = count.checked_mul(record_sz).filter(|sz| *sz <= self.data.len() - at);
            let Some(byte_sz) = byte_sz else {
                return Err(fail(format!("{count} records of section {name} do not fit")));
            };
            let records = self.data[at..at + byte_sz].chunks_exact(record_sz).map(|record| {
                let words: Vec<u32> = (0..known_sz / 4).map(|n| u32_at(record, n * 4, self.big)).collect();
                read(&words)
            });
            sections.entry(name.to_owned()).or_insert_with(Vec::new).extend(records);
            at += byte_sz;
        }
        Ok(sections)
    }
}

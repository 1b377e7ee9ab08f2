//! The numbers of a pack, in columns: numbers of one meaning lie together, which is what makes them compress.

use super::PackError;

/// What the numbers of a column mean.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    /// Counts and header fields.
    Head,
    /// Order of the types: lengths of predicted runs, what ended them, how far was jumped.
    TypeRun,
    TypeTurn,
    TypeJump,
    /// Order of the strings.
    StringRun,
    StringTurn,
    StringJump,
    /// New types: kind, number of elements, size, names, references, values.
    Kind,
    Vlen,
    Size,
    Name,
    Ref,
    ElementName,
    ElementRef,
    Value,
    /// Types of the base with a difference: which, in what, and the differences of their elements.
    Edit,
    EditMask,
    EditElement,
    EditRef,
    EditValue,
}

const COLUMNS: usize = Column::EditValue as usize + 1;

impl Column {
    /// The error for a number of this column that cannot be.
    pub(super) fn range(self) -> PackError {
        PackError::Range(match self {
            Column::TypeRun | Column::TypeTurn | Column::TypeJump => "the order of types",
            Column::StringRun | Column::StringTurn | Column::StringJump => "the order of strings",
            Column::Head => "the header",
            Column::Kind | Column::Vlen | Column::Size | Column::Value => "a new type",
            Column::Name | Column::ElementName => "a name",
            Column::Ref | Column::ElementRef => "a reference",
            _ => "a changed type",
        })
    }
}

/// Columns that are written.
#[derive(Default)]
pub(super) struct Writer([Vec<u8>; COLUMNS]);

impl Writer {
    /// Appends a number, seven bits a byte.
    pub(super) fn put(&mut self, column: Column, mut number: u64) {
        let bytes = &mut self.0[column as usize];
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
    }

    /// Appends a number that may be negative.
    pub(super) fn put_signed(&mut self, column: Column, number: i64) {
        self.put(column, (number << 1 ^ number >> 63) as u64);
    }

    /// All columns behind their lengths, then `text`.
    pub(super) fn finish(self, text: &[u8]) -> Vec<u8> {
        let mut lengths = Writer::default();
        self.0.iter().for_each(|column| lengths.put(Column::Head, column.len() as u64));
        let mut bytes = lengths.0[Column::Head as usize].clone();
        self.0.iter().for_each(|column| bytes.extend_from_slice(column));
        bytes.extend_from_slice(text);
        bytes
    }
}

/// Columns that are read.
pub(super) struct Reader<'a> {
    columns: [&'a [u8]; COLUMNS],
    /// What lies behind the columns.
    pub(super) text: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Finds the columns.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Reader<'a>, PackError> {
        let mut rest = bytes;
        let mut lengths = [0; COLUMNS];
        for length in &mut lengths {
            *length = number(&mut rest)? as usize;
        }
        let mut columns = [&[][..]; COLUMNS];
        for (column, length) in columns.iter_mut().zip(lengths) {
            (*column, rest) = rest.split_at_checked(length).ok_or(PackError::CutShort)?;
        }
        Ok(Reader { columns, text: rest })
    }

    /// The next number of a column.
    pub(super) fn get(&mut self, column: Column) -> Result<u64, PackError> {
        number(&mut self.columns[column as usize])
    }

    /// The next number that must fit 32 bits.
    pub(super) fn get_u32(&mut self, column: Column) -> Result<u32, PackError> {
        u32::try_from(self.get(column)?).map_err(|_| column.range())
    }

    /// The next number that may be negative.
    pub(super) fn get_signed(&mut self, column: Column) -> Result<i64, PackError> {
        let number = self.get(column)?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// Bytes that a column has left: what may be allocated for numbers of it.
    pub(super) fn left(&self, column: Column) -> usize {
        self.columns[column as usize].len()
    }

    /// Whether all columns were read to their end.
    pub(super) fn is_empty(&self) -> bool {
        self.columns.iter().all(|column| column.is_empty())
    }
}

fn number(bytes: &mut &[u8]) -> Result<u64, PackError> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(PackError::CutShort)?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(PackError::CutShort)
}

//! Values of configuration options, written as libbpf writes them: `bpf_object__process_kconfig_line()` of
//! tools/lib/bpf/libbpf.c, v6.12.

use crate::object::{KconfigFormat, KconfigSlot};

/// The bytes of an option whose value stands in a configuration as `text` (`y`, `"text"`, `100`).
pub(super) fn from_text(slot: KconfigSlot, text: &str, big_endian: bool) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; slot.byte_sz as usize];
    match text.as_bytes().first() {
        Some(letter @ (b'y' | b'n' | b'm')) => match slot.format {
            KconfigFormat::Bool if *letter == b'm' => return Err("m is no bool".to_owned()),
            KconfigFormat::Bool => bytes[0] = u8::from(*letter == b'y'),
            KconfigFormat::Tristate => {
                let value = match letter {
                    b'y' => 1u32,
                    b'm' => 2,
                    _ => 0,
                };
                // Four bytes, also of an enumeration that was declared with eight.
                put(&mut bytes[..4], u64::from(value), big_endian);
            }
            KconfigFormat::Char { .. } => bytes[0] = *letter,
            KconfigFormat::Int { .. } | KconfigFormat::Text => {
                return Err(format!("{text} is no {}", described(slot.format)));
            }
        },
        Some(b'"') => {
            if slot.format != KconfigFormat::Text {
                return Err(format!("{text} is no {}", described(slot.format)));
            }
            let inner =
                text[1..].strip_suffix('"').ok_or_else(|| format!("{text} does not end its quotes"))?;
            // Longer text is cut, so that a NUL always ends it.
            let len = inner.len().min(bytes.len().saturating_sub(1));
            bytes[..len].copy_from_slice(&inner.as_bytes()[..len]);
        }
        _ => {
            let value = number(text).ok_or_else(|| format!("{text:?} is no number of 64 bits"))?;
            if !matches!(slot.format, KconfigFormat::Int { .. } | KconfigFormat::Char { .. }) {
                return Err(format!("{text} is no {}", described(slot.format)));
            }
            return from_number(slot, value, big_endian);
        }
    }
    Ok(bytes)
}

/// The bytes of an option that is a number, or of a value that libbpf provides itself.
pub(super) fn from_number(slot: KconfigSlot, value: u64, big_endian: bool) -> Result<Vec<u8>, String> {
    let signed = match slot.format {
        KconfigFormat::Bool if value > 1 => return Err(format!("{value} is no bool")),
        KconfigFormat::Bool => false,
        KconfigFormat::Char { signed } | KconfigFormat::Int { signed } => signed,
        format => return Err(format!("{value} is no {}", described(format))),
    };
    let bits = slot.byte_sz * 8;
    let fits = match signed {
        _ if bits >= 64 => true,
        true => value.wrapping_add(1 << (bits - 1)) < 1 << bits,
        false => value >> bits == 0,
    };
    if !fits {
        return Err(format!("{value} does not fit into {} bytes", slot.byte_sz));
    }
    let mut bytes = vec![0; slot.byte_sz as usize];
    put(&mut bytes, value, big_endian);
    Ok(bytes)
}

/// Writes the low bytes of `value`.
fn put(bytes: &mut [u8], value: u64, big_endian: bool) {
    let len = bytes.len();
    if big_endian {
        bytes.copy_from_slice(&value.to_be_bytes()[8 - len..]);
    } else {
        bytes.copy_from_slice(&value.to_le_bytes()[..len]);
    }
}

fn described(format: KconfigFormat) -> &'static str {
    match format {
        KconfigFormat::Bool => "bool",
        KconfigFormat::Tristate => "tristate",
        KconfigFormat::Char { .. } => "char",
        KconfigFormat::Int { .. } => "integer",
        KconfigFormat::Text => "text",
    }
}

/// A number as `strtoull(text, _, 0)` reads it: decimal, `0x` hexadecimal, `0` octal, with an optional sign.
fn number(text: &str) -> Option<u64> {
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let (radix, digits) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => (16, hex),
        None if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        None => (10, digits),
    };
    if digits.starts_with(['-', '+']) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    Some(if negative { value.wrapping_neg() } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(byte_sz: u32, format: KconfigFormat) -> KconfigSlot {
        KconfigSlot { byte_off: 0, byte_sz, format }
    }

    #[test]
    fn values_are_written_as_libbpf_does() {
        use KconfigFormat as F;
        let signed = |byte_sz| slot(byte_sz, F::Int { signed: true });
        let unsigned = |byte_sz| slot(byte_sz, F::Int { signed: false });
        let letter = slot(1, F::Char { signed: true });
        let text = |byte_sz| slot(byte_sz, F::Text);
        let cases: &[(KconfigSlot, &str, Option<&[u8]>)] = &[
            (slot(1, F::Bool), "y", Some(&[1])),
            (slot(1, F::Bool), "n", Some(&[0])),
            (slot(1, F::Bool), "m", None),
            (slot(1, F::Bool), "1", None),
            (slot(1, F::Bool), "\"y\"", None),
            (slot(4, F::Tristate), "y", Some(&[1, 0, 0, 0])),
            (slot(4, F::Tristate), "m", Some(&[2, 0, 0, 0])),
            (slot(8, F::Tristate), "m", Some(&[2, 0, 0, 0, 0, 0, 0, 0])),
            (slot(4, F::Tristate), "0", None),
            (letter, "y", Some(b"y")),
            (letter, "-128", Some(&[0x80])),
            (letter, "128", None),
            (unsigned(2), "y", None),
            (unsigned(2), "65535", Some(&[0xff, 0xff])),
            (unsigned(2), "65536", None),
            (signed(2), "-32768", Some(&[0, 0x80])),
            (signed(2), "32768", None),
            (unsigned(2), "-1", None),
            (unsigned(4), "0x10", Some(&[16, 0, 0, 0])),
            (unsigned(4), "010", Some(&[8, 0, 0, 0])),
            (unsigned(4), "09", None),
            (unsigned(4), "1a", None),
            (unsigned(8), "18446744073709551615", Some(&[0xff; 8])),
            (unsigned(8), "18446744073709551616", None),
            (unsigned(8), "0xffff888000000000", Some(&[0, 0, 0, 0, 0x80, 0x88, 0xff, 0xff])),
            (text(8), "\"abc\"", Some(b"abc\0\0\0\0\0")),
            (text(3), "\"abc\"", Some(b"ab\0")),
            (text(3), "\"\"", Some(b"\0\0\0")),
            (text(3), "\"", None),
            (text(3), "y", None),
            (text(3), "5", None),
        ];
        for (slot, text, bytes) in cases {
            assert_eq!(from_text(*slot, text, false).ok().as_deref(), *bytes, "{text} as {slot:?}");
        }
        assert_eq!(from_text(unsigned(4), "258", true).unwrap(), [0, 0, 1, 2]);
        assert_eq!(from_number(slot(1, F::Bool), 1, false).unwrap(), [1]);
    }
}

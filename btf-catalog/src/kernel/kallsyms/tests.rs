//! Symbol tables written here as scripts/kallsyms.c of several versions lays them out.

use super::*;
use crate::kernel::image::Image;

const BASE: u64 = 0xffff_ffff_8100_0000;
const BANNER: &[u8] = b"Linux version 6.1.0 (who@where) #1 SMP\n\0";

#[derive(Clone, Copy, Debug)]
enum Form {
    /// Up to v6.3: offsets and their base before the names, those of CPU-local symbols absolute.
    Before,
    /// v6.4 and later: behind the tokens.
    Behind { percpu: bool },
    /// v7.0: each relative to its place.
    Place,
    /// Without `CONFIG_KALLSYMS_BASE_RELATIVE`.
    Whole,
}

const FORMS: [Form; 5] =
    [Form::Before, Form::Behind { percpu: true }, Form::Behind { percpu: false }, Form::Place, Form::Whole];

fn symbols() -> Vec<(u64, String)> {
    let functions = (1..1000)
        .map(|n| (BASE + 0x1000 + n * 16, format!("tfunction_{n}_{}", "x".repeat(n as usize % 150))));
    [(BASE, "T_text".to_owned()), (BASE + 8, "Dlinux_banner".to_owned())]
        .into_iter()
        .chain(functions)
        .collect()
}

fn align(data: &mut Vec<u8>, to: usize) {
    data.resize(data.len().next_multiple_of(to), 0);
}

fn word(data: &mut Vec<u8>, word: u32) {
    data.extend(word.to_le_bytes());
}

/// An image whose `linux_banner` lies at byte 8.
fn image(form: Form, symbols: &[(u64, String)]) -> Vec<u8> {
    let mut data = vec![0x90; 8];
    data.extend(BANNER);
    align(&mut data, 64);
    let to = if matches!(form, Form::Place) { 4 } else { 8 };
    let offsets = |data: &mut Vec<u8>| {
        align(data, to);
        for (address, _) in symbols {
            let offset = match form {
                Form::Place => address.wrapping_sub(BASE + data.len() as u64) as u32,
                Form::Behind { percpu: false } => (address - BASE) as u32,
                _ => BASE.wrapping_sub(1).wrapping_sub(*address) as u32,
            };
            match form {
                Form::Whole => data.extend(address.to_le_bytes()),
                _ => word(data, offset),
            }
        }
        align(data, to);
        if matches!(form, Form::Before | Form::Behind { .. }) {
            data.extend(BASE.to_le_bytes());
        }
    };
    if matches!(form, Form::Before | Form::Whole) {
        offsets(&mut data);
    }
    align(&mut data, to);
    word(&mut data, symbols.len() as u32);
    align(&mut data, to);
    // Every character stands for itself, but 1 for "function_".
    let token = |code: u8| {
        if code == 1 { "function_".to_owned() } else { char::from(code.clamp(b'!', b'z')).to_string() }
    };
    let names = data.len();
    let mut markers = Vec::new();
    for (index, (_, name)) in symbols.iter().enumerate() {
        if index % 256 == 0 {
            markers.push((data.len() - names) as u32);
        }
        let packed = name.replace("function_", "\u{1}");
        if packed.len() < 0x80 {
            data.push(packed.len() as u8);
        } else {
            data.extend([packed.len() as u8 | 0x80, (packed.len() >> 7) as u8]);
        }
        data.extend(packed.as_bytes());
    }
    align(&mut data, to);
    for marker in markers {
        word(&mut data, marker);
    }
    align(&mut data, to);
    let table = data.len();
    let mut index = Vec::new();
    for code in 0..=255u8 {
        index.push((data.len() - table) as u16);
        data.extend(token(code).as_bytes());
        data.push(0);
    }
    align(&mut data, to);
    data.extend(index.iter().flat_map(|off| off.to_le_bytes()));
    if !matches!(form, Form::Before | Form::Whole) {
        offsets(&mut data);
    }
    data.extend([0xcc; 4096]);
    data
}

fn decoded(data: Vec<u8>) -> Result<Symbols, String> {
    let segments = vec![Segment { address: BASE, data: data.into() }];
    decode(&Image { segments, ..Image::default() })
}

#[test]
fn every_layout_that_the_format_has_had() {
    let want = symbols();
    for form in FORMS {
        let found = decoded(image(form, &want)).unwrap_or_else(|problem| panic!("{form:?}: {problem}"));
        let found: Vec<(u64, String)> = found
            .iter()
            .map(|symbol| (symbol.address, format!("{}{}", char::from(symbol.kind), symbol.name)))
            .collect();
        assert!(found == want, "{form:?}");
    }
}

#[test]
fn a_table_whose_banner_lies_elsewhere_is_not_believed() {
    for form in FORMS {
        let mut data = image(form, &symbols());
        data[8] = b'l';
        let problem = decoded(data).unwrap_err();
        assert!(problem.contains("linux_banner is not where the table says"), "{form:?}: {problem}");
    }
}

#[test]
fn what_is_cut_short_or_damaged_is_no_panic() {
    let data = image(Form::Behind { percpu: true }, &symbols());
    for cut in (0..data.len()).step_by(997) {
        let _ = decoded(data[..cut].to_vec());
        let mut damaged = data.clone();
        damaged[cut..(cut + 16).min(data.len())].fill(0xff);
        let _ = decoded(damaged);
    }
}

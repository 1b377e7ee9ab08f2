//! A kernel as parts that are packed by themselves, and back.

use super::record::{BTF, CONFIG, INSIDE, MODULES, Record, SYMBOLS, hex};
use super::symbols;
use crate::btf::Btf;
use crate::kernel::{Inside, Kernel, KernelConfig, Module};
use bytes::Bytes;
use std::collections::BTreeMap;

/// A kernel's name for messages: its release, or where it was read from.
pub(super) fn name_of(kernel: &Kernel) -> String {
    let source = || kernel.sources.first().cloned();
    kernel.release.clone().or_else(source).unwrap_or_else(|| "a kernel without a name".to_owned())
}

/// What is said of a kernel beside its parts.
pub(super) fn record_of(kernel: &Kernel) -> Record {
    let mut record = Record::new();
    record.release.clone_from(&kernel.release);
    record.arch.clone_from(&kernel.arch);
    record.banner.clone_from(&kernel.banner);
    record.build_id = kernel.build_id.as_deref().map(hex);
    // Where files lay on the machine that added them is nobody else's business.
    let name = |source: &String| {
        let address = source.contains("://");
        if address { source.clone() } else { source.rsplit('/').next().unwrap_or_default().to_owned() }
    };
    record.sources = kernel.sources.iter().map(name).collect();
    record.sources.dedup();
    record.notes.clone_from(&kernel.notes);
    record.modules_whole = kernel.modules_whole;
    record.config_source = kernel.config.as_ref().map(|config| config.source.clone()).unwrap_or_default();
    record
}

/// The parts of a kernel by name.
pub(super) fn of(kernel: &Kernel) -> BTreeMap<String, Bytes> {
    let mut parts = BTreeMap::new();
    let mut inside = kernel.inside.clone();
    if let Some(btf) = &kernel.btf {
        parts.insert(BTF.to_owned(), btf.clone());
        // What cannot be read as BTF is kept all the same, without what is read by means of it.
        if let Ok(btf) = Btf::parse(btf.clone()) {
            inside = inside.or_else(|| Some(Inside::read(kernel.image.as_ref()?, &btf)));
        }
    }
    if let Some(image) = &kernel.image {
        parts.insert(SYMBOLS.to_owned(), symbols::to_bytes(image, inside.as_ref()).into());
    }
    if let Some(inside) = &inside {
        let text = serde_json::to_vec(&symbols::without_addresses(inside));
        parts.insert(INSIDE.to_owned(), text.expect("plain data has a form in JSON").into());
    }
    if let Some(config) = &kernel.config {
        let lines = config.options.iter().map(|(option, value)| format!("{option}={value}\n"));
        parts.insert(CONFIG.to_owned(), lines.collect::<String>().into());
    }
    if !kernel.modules.is_empty() {
        let mut bytes = Vec::new();
        for (name, module) in &kernel.modules {
            put(&mut bytes, Some(name.as_bytes()));
            put(&mut bytes, module.btf.as_deref());
            put(&mut bytes, module.btf_base.as_deref());
            put(&mut bytes, Some(module.functions.join("\n").as_bytes()));
        }
        parts.insert(MODULES.to_owned(), bytes.into());
    }
    parts
}

/// The kernel that a record and its parts are.
pub(super) fn kernel_of(record: &Record, parts: &BTreeMap<&str, Bytes>) -> Result<Kernel, String> {
    let digits = record.build_id.as_deref().unwrap_or_default().as_bytes();
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|digit| digit as u8);
    let build_id: Option<Vec<u8>> =
        digits.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect();
    let build_id = build_id.ok_or("the build ID is not hexadecimal")?;
    let mut kernel = Kernel {
        sources: record.sources.clone(),
        release: record.release.clone(),
        banner: record.banner.clone(),
        arch: record.arch.clone(),
        build_id: record.build_id.is_some().then_some(build_id),
        btf: parts.get(BTF).cloned(),
        modules_whole: record.modules_whole,
        notes: record.notes.clone(),
        ..Kernel::default()
    };
    if let Some(bytes) = parts.get(CONFIG) {
        let text = std::str::from_utf8(bytes).map_err(|_| "the configuration is not UTF-8")?;
        let options = text.lines().filter_map(|line| line.split_once('='));
        let options = options.map(|(option, value)| (option.to_owned(), value.to_owned())).collect();
        kernel.config = Some(KernelConfig { options, source: record.config_source.clone() });
    }
    if let Some(bytes) = parts.get(INSIDE) {
        let inside = serde_json::from_slice(bytes);
        kernel.inside = Some(inside.map_err(|error| format!("what its image tells: {error}"))?);
    }
    match parts.get(SYMBOLS) {
        Some(bytes) => {
            let image = symbols::from_bytes(bytes, kernel.inside.as_mut());
            kernel.image = Some(image.ok_or("its symbols cannot be read")?);
        }
        None if kernel.inside.is_some() => {
            return Err("what its image tells is there without symbols".to_owned());
        }
        None => {}
    }
    let mut rest = parts.get(MODULES).cloned().unwrap_or_default();
    while !rest.is_empty() {
        let text = |bytes: Option<Bytes>| {
            String::from_utf8(bytes.unwrap_or_default().to_vec())
                .map_err(|_| "a module's names are not UTF-8")
        };
        let name = text(get(&mut rest)?)?;
        let (btf, btf_base) = (get(&mut rest)?, get(&mut rest)?);
        let functions = text(get(&mut rest)?)?.lines().map(str::to_owned).collect();
        kernel.modules.insert(name, Module { btf, btf_base, functions });
    }
    Ok(kernel)
}

/// Appends bytes behind their number; what is not there has one that nothing else can have.
fn put(bytes: &mut Vec<u8>, part: Option<&[u8]>) {
    bytes.extend(part.map_or(u32::MAX, |part| part.len() as u32).to_le_bytes());
    bytes.extend_from_slice(part.unwrap_or_default());
}

fn get(rest: &mut Bytes) -> Result<Option<Bytes>, &'static str> {
    const CUT: &str = "the modules are cut short";
    let len = rest.split_off_checked(4).ok_or(CUT)?;
    let len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]);
    if len == u32::MAX {
        return Ok(None);
    }
    rest.split_off_checked(len as usize).map(Some).ok_or(CUT)
}

/// Takes bytes from the front if there are that many.
trait SplitOff {
    fn split_off_checked(&mut self, len: usize) -> Option<Bytes>;
}

impl SplitOff for Bytes {
    fn split_off_checked(&mut self, len: usize) -> Option<Bytes> {
        (len <= self.len()).then(|| self.split_to(len))
    }
}

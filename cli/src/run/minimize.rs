//! `portolan kernel minimize`.

use super::kernels::{self, Kernels};
use super::object_file;
use super::replace::replace;
use crate::args::minimize::MinimizeArgs;
use crate::args::output::Format;
use crate::exit::{Exit, Failure, bad_input};
use crate::render::screen::Screen;
use crate::render::{self, json, minimize as view};
use crate::report::Document;
use crate::report::minimize::{MinimizeReport, MinimizedKernel, UnresolvedEntry};
use anyhow::{Context, anyhow};
use btf_catalog::BpfObject;
use btf_catalog::kernel::Options;
use btf_catalog::minimize::Minimizer;
use probe_matrix::derive::Offline;
use std::collections::{BTreeSet, HashMap};
use std::fs;

/// Writes minimised BTF of every kernel for all objects together.
pub fn command(args: &MinimizeArgs, screen: &Screen) -> Result<Exit, Failure> {
    let mut objects = Vec::new();
    for path in &args.objects {
        let unreadable = || format!("{} cannot be used", path.display());
        let data = object_file::read(path)?;
        objects.push((
            path.display().to_string(),
            BpfObject::parse(data).with_context(unreadable).map_err(bad_input)?,
        ));
    }
    let named = Kernels::named(&args.kernels, args.store.as_deref())?;
    if let Some(damage) = named.damaged.first() {
        return Err(kernels::unreadable(anyhow!("{damage}")));
    }
    fs::create_dir_all(&args.out)
        .with_context(|| format!("the directory {} cannot be made", args.out.display()))
        .map_err(bad_input)?;
    let mut report = MinimizeReport::default();
    let mut files: HashMap<Vec<u8>, String> = HashMap::new();
    let mut names = BTreeSet::new();
    for kernel in &named.all(Options { modules: true, image: false })? {
        let offline = Offline::new(kernel);
        kernels::check(&offline).map_err(kernels::unreadable)?;
        let name = kernels::name(kernel);
        let modules = kernel.modules.keys().cloned().collect();
        let Some(types) = offline.types_with(Some(&modules)) else {
            return Err(bad_input(anyhow!(
                "{name} has no BTF that can be read: {}",
                offline.notes().join("; ")
            )));
        };
        let mut minimizer = Minimizer::new(&types);
        for (path, object) in &objects {
            minimizer.add(path, object);
        }
        let minimized = minimizer.finish();
        let bytes = minimized.btf.len();
        let file = if let Some(file) = files.get(&minimized.btf) {
            file.clone()
        } else {
            let file = file_name(&name, &mut names);
            replace(&args.out.join(&file), &minimized.btf)?;
            files.insert(minimized.btf, file.clone());
            file
        };
        let unresolved = minimized.unresolved.into_iter().map(|entry| UnresolvedEntry {
            object: entry.object,
            access: entry.access,
            question: entry.question,
            why: entry.why,
        });
        let (unresolved, notes) = (unresolved.collect(), offline.notes());
        report.kernels.push(MinimizedKernel { kernel: name, file, bytes, unresolved, notes });
    }
    let document = Document::new("MinimizeReport", report);
    replace(&args.out.join("index.json"), &json::document(&document)?)?;
    let result = match args.output.output {
        Format::Json => json::document(&document)?,
        Format::Table => view::table(&document.content, screen).into_bytes(),
    };
    render::to_stdout(&result)?;
    Ok(Exit::Success)
}

/// A name that is safe everywhere and not taken: `6.12.117+deb13-amd64.btf`.
fn file_name(kernel: &str, names: &mut BTreeSet<String>) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_+.~".contains(c) { c } else { '_' };
    let stem: String = kernel.chars().map(safe).take(80).collect();
    let stem = stem.trim_start_matches(['.', '-']);
    let mut name = format!("{stem}.btf");
    let mut number = 2;
    while !names.insert(name.clone()) {
        name = format!("{stem}.{number}.btf");
        number += 1;
    }
    name
}

//! The walk of [`btf_catalog::verify`] against real kernels: what it is sure of, they refuse.

use btf_catalog::BpfObject;
use btf_catalog::reach::Constants;
use btf_catalog::verify::{Subject, Traits, verify};
use std::path::Path;
use truth::table::{Tables, Truth};

/// Releases on which an entry of the sample was loaded.
fn loaded_on<'a>(suite: &'a Truth, file: &str, program: &str) -> Vec<&'a str> {
    let of_file = suite.entries.iter().filter(|((object, _), _)| object.ends_with(&format!("/{file}")));
    let entries = of_file.filter(|(_, entry)| entry.program == program);
    let outcomes = entries.flat_map(|(_, entry)| &entry.outcomes);
    outcomes.filter(|(_, outcome)| outcome.result == "ok").map(|(release, _)| release.as_str()).collect()
}

#[test]
fn no_kernel_loads_what_every_verifier_refuses() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tables = Tables::read(&manifest.join("tables")).unwrap();
    let (_, suite) = tables.sets().find(|(set, _)| *set == "suite").unwrap();
    let (mut walked, mut refused) = (0, 0);
    for object in std::fs::read_dir(manifest.join("sample")).unwrap() {
        let path = object.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "o") {
            continue;
        }
        let object = BpfObject::parse(std::fs::read(&path).unwrap()).unwrap();
        let constants = Constants::of(&object);
        // What relocation writes is not known without a kernel.
        for entry in object.entries.iter().filter(|entry| entry.core_relos.is_empty()) {
            let subject = Subject { object: &object, entry, insns: &entry.insns, constants: &constants };
            let verified = verify(subject, Traits::default());
            walked += 1;
            let Some(fault) = verified.refused() else { continue };
            refused += 1;
            let file = path.file_name().unwrap().to_string_lossy();
            let loaded = loaded_on(suite, &file, &entry.name);
            assert!(loaded.is_empty(), "{file}: {}: {fault:?}, but it loads on {loaded:?}", entry.name);
        }
    }
    assert!(walked > 50 && refused > 0, "{refused} of {walked} entries refused");
}

//! One kernel, booted for real, with the loader's own cases. `cargo xtask test` sets what this needs.

use std::path::{Path, PathBuf};
use truth::make::{self, Plan};
use truth::table::Truth;

#[test]
#[ignore = "boots a micro-VM; run `cargo xtask test`, or set PORTOLAN_INIT and PORTOLAN_KERNELS"]
fn a_kernel_says_which_entries_it_loads() {
    let path =
        |name: &str| PathBuf::from(std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set")));
    let tables = std::env::temp_dir().join(format!("portolan-micro-vm-{}", std::process::id()));
    std::fs::create_dir_all(&tables).unwrap();
    let kernels = path("PORTOLAN_KERNELS");
    let mut images: Vec<String> = std::fs::read_dir(&kernels)
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("linux-image-6.12.") && name.ends_with("_amd64.deb"))
        .collect();
    images.sort();
    let plan = Plan {
        init: path("PORTOLAN_INIT"),
        kernels,
        objects: Path::new(env!("CARGO_MANIFEST_DIR")).join("../cases/loader"),
        tables: tables.clone(),
        only_kernels: images.into_iter().take(1).collect(),
        only_corpora: Vec::new(),
    };
    make::run(&plan).unwrap();
    let truth = Truth::read(&tables.join("third-party")).unwrap();
    std::fs::remove_dir_all(&tables).unwrap();

    let phase = |object: &str, program: &str| {
        let is = |((name, _), entry): &(&(String, usize), &truth::table::Entry)| {
            name == object && entry.program == program
        };
        let (_, entry) =
            truth.entries.iter().find(is).unwrap_or_else(|| panic!("{object} {program} is not there"));
        entry.outcomes.values().next().expect("one kernel").phase.clone()
    };
    assert_eq!(truth.kernels.len(), 1);
    assert_eq!(phase("globals.bpfel.o", "count"), "ok");
    assert_eq!(phase("externs.bpfel.o", "callback"), "ok", "kconfig externs are found in the package");
}

//! Verdicts that are remembered from kernel to kernel are those that each kernel gets by itself.

mod offline;

use btf_catalog::BpfObject;
use btf_catalog::kernel::{Kernel, KernelConfig};
use probe_matrix::derive::Offline;
use probe_matrix::predict::{Options, Predictions, predict};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

static OBJECTS: LazyLock<Vec<BpfObject>> = LazyLock::new(|| {
    let read = |dir: &str| {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
        let entries = std::fs::read_dir(dir).expect("a directory of objects");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an object").path()).collect();
        paths.retain(|path| path.extension().is_some_and(|ext| ext == "o"));
        paths.sort();
        paths.into_iter().map(|path| BpfObject::parse(std::fs::read(path).expect("an object")))
    };
    // Of the catalog's some: predictions take time in builds that are not optimised.
    let objects = read("cases/offline").chain(read("../ebpf/objects").step_by(5));
    objects.map(|object| object.expect("an object")).filter(|object| !object.big_endian).collect()
});

/// The made-up kernel, or what is left of it when something is not known or another; and the modules that are loaded.
fn kernel() -> impl Strategy<Value = (Kernel, Option<BTreeSet<String>>)> {
    let types = prop_oneof![Just(None), (0..OBJECTS.len()).prop_map(Some)];
    let loaded = prop_oneof![Just(None), Just(Some(vec![])), Just(Some(vec!["made".to_owned()]))];
    (types, any::<[bool; 8]>(), loaded).prop_map(|(types, whether, loaded)| {
        let mut kernel = offline::kernel();
        let [image, config, nothing_set, modules, whole, btf, other_btf, version] = whether;
        if other_btf && let Some(types) = types {
            let other = OBJECTS[types].btf.as_ref().map(|btf| btf.bytes().clone());
            (kernel.btf, kernel.image, kernel.modules) = (other, None, BTreeMap::new());
        }
        if !btf && !modules {
            kernel.btf = None;
        }
        if !image {
            kernel.image = None;
        }
        if !modules {
            kernel.modules.clear();
        }
        kernel.modules_whole = whole;
        match kernel.config.as_mut().filter(|_| config) {
            Some(config) if nothing_set => {
                *config = KernelConfig { options: BTreeMap::new(), ..config.clone() }
            }
            Some(_) => {}
            None => kernel.config = None,
        }
        kernel.release = version.then(|| "6.12.1".to_owned());
        (kernel, loaded.map(BTreeSet::from_iter))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn in_whatever_order_kernels_come(kernels in proptest::collection::vec(kernel(), 1..8)) {
        let predictions = Predictions::new(OBJECTS.iter().map(|object| (object, None)));
        for (kernel, loaded_modules) in kernels {
            let kernel = Offline::new(&kernel);
            let remembered = predictions.on(&kernel, loaded_modules.as_ref());
            let options = Options { loaded_modules, constants: None };
            for (object, remembered) in OBJECTS.iter().zip(remembered) {
                let alone = predict(object, &kernel, &options);
                prop_assert_eq!(remembered.len(), alone.len());
                for (remembered, alone) in remembered.iter().zip(&alone) {
                    prop_assert_eq!(&**remembered, alone);
                }
            }
        }
    }
}

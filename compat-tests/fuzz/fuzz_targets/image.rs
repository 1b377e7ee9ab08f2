//! Kernel images and modules: whatever is accepted can be read by address, and its tables too.
#![no_main]

use btf_catalog::Btf;
use btf_catalog::kernel::{Inside, Kernel, Module};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = Module::from_file("fuzz.ko", data);
    let Ok(kernel) = Kernel::from_image(data) else { return };
    let image = kernel.image.expect("it was asked for");
    for segment in &image.segments {
        let last = segment.address.wrapping_add(segment.data.len() as u64);
        let _ = (image.u64(segment.address), image.u32(last), image.text(last.wrapping_sub(1)));
    }
    let mut before = 0;
    for symbol in image.symbols.iter() {
        assert!(symbol.address >= before, "symbols in disorder");
        before = symbol.address;
        assert!(
            image.symbols.named(symbol.name).any(|found| found == symbol),
            "a symbol that its name does not find"
        );
    }
    if let Some(Ok(btf)) = kernel.btf.map(Btf::parse) {
        let _ = Inside::read(&image, &btf);
    }
});

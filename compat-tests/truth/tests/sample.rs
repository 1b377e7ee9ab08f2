//! Rules against real kernels, without any: the sample of the suite that is committed.

use std::path::Path;
use truth::sample;
use truth::table::Tables;

#[test]
fn the_sample_is_judged_as_the_kernels_judged_it() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tables = Tables::read(&manifest.join("tables")).unwrap();
    let report = sample::run(&manifest.join("sample"), &tables).unwrap();
    assert!(report.whole.total() > 100, "{}", report.show("sample"));
    assert_eq!(
        report.whole.agree(),
        report.whole.total(),
        "where a rule asks these kernels for something new, `cargo xtask truth --sample` brings it\n{}",
        report.show("sample")
    );
}

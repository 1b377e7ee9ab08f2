//! Node profiles: what is read can be written, and is read again with the same facts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use probe_matrix::profile::NodeProfile;

fuzz_target!(|data: &[u8]| {
    let Ok(profile) = NodeProfile::read(data) else { return };
    let mut written = Vec::new();
    profile.write(&mut written).expect("memory takes every byte");
    let again = NodeProfile::read(&written).expect("what was written can be read");
    let facts = |profile: &NodeProfile| -> Vec<_> {
        profile.facts.iter().map(|(name, fact)| (name.to_owned(), fact.support, fact.evidence)).collect()
    };
    assert_eq!(facts(&again), facts(&profile));
});

//! Which files gave which kernels, so that a package whose kernels are kept is not unpacked again to find that out.

use super::{Digest, Record, Store, StoreError};
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};

/// Where it is kept: a file for each set of inputs, of names of kernels, a line each.
pub(super) const INPUTS: &str = "inputs";
/// Most bytes of such a file.
const MOST: u64 = 1 << 16;
/// What is read of inputs: another number where more is, so that those that were read before are read again.
const FORM: u32 = 1;

impl Digest {
    /// Names some inputs by their names and bytes, whatever their order, and by what is wanted of them. A name may tell the
    /// release of what is in it.
    pub fn of_inputs<R: Read>(
        inputs: impl IntoIterator<Item = io::Result<(String, R)>>,
        wanted: &str,
    ) -> io::Result<Digest> {
        let each = inputs.into_iter().map(|input| {
            let (name, mut input) = input?;
            let mut hash = Sha256::new_with_prefix(Sha256::digest(name));
            io::copy(&mut input, &mut hash)?;
            Ok(<[u8; 32]>::from(hash.finalize()))
        });
        let mut each = each.collect::<io::Result<Vec<_>>>()?;
        each.sort_unstable();
        let name = format!("{} {FORM} {wanted}", env!("CARGO_PKG_VERSION"));
        Ok(Digest::of(&[each.concat(), name.into_bytes()].concat()))
    }
}

impl Store {
    /// The kernels that these inputs gave when they were added, where all of them are still here and whole.
    pub fn given_by(&self, inputs: &Digest) -> Result<Option<Vec<Record>>, StoreError> {
        let Some(text) = self.backend.read(&path(inputs), MOST)? else { return Ok(None) };
        let text = String::from_utf8_lossy(&text);
        let listing = self.list()?;
        let whole = |id: &str| {
            let record = listing.records.iter().find(|record| record.id() == id)?;
            self.check_packs(record).ok().map(|()| record.clone())
        };
        let records: Option<Vec<Record>> = text.lines().map(whole).collect();
        Ok(records.filter(|records| !records.is_empty()))
    }

    /// Keeps in mind which kernels some inputs gave.
    pub fn remember_inputs(&self, inputs: &Digest, kernels: &[String]) -> Result<(), StoreError> {
        self.backend.write(&path(inputs), kernels.join("\n").as_bytes())
    }
}

fn path(inputs: &Digest) -> String {
    format!("{INPUTS}/{}", inputs.as_str())
}

//! Reading an object that was named on the command line.

use crate::exit::{Failure, bad_input};
use anyhow::{Context, anyhow};
use btf_catalog::open::{Takes, open};
use bytes::Bytes;
use std::io::Read;
use std::path::Path;

/// Bytes of an object. Those of large projects have a few MB.
const MOST: u64 = 256 << 20;

/// The bytes of an object file. Pipes and devices are not read: they may never end.
pub(super) fn read(path: &Path) -> Result<Bytes, Failure> {
    let unreadable = || format!("{} cannot be used", path.display());
    let file = open(path, Takes::Files).with_context(unreadable).map_err(bad_input)?;
    let about = file.metadata().with_context(unreadable).map_err(bad_input)?;
    let too_large = |byte_sz| {
        let why = format!("it has {byte_sz} bytes, and no object has more than {MOST}");
        bad_input(anyhow!(why).context(unreadable()))
    };
    if about.len() > MOST {
        return Err(too_large(about.len()));
    }
    let mut bytes = Vec::new();
    let read = file.take(MOST + 1).read_to_end(&mut bytes).with_context(unreadable).map_err(bad_input)?;
    // It may have grown since.
    if read as u64 > MOST { Err(too_large(read as u64)) } else { Ok(bytes.into()) }
}

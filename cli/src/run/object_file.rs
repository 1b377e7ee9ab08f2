//! Reading an object that was named on the command line.

use crate::exit::{Failure, bad_input};
use anyhow::{Context, anyhow};
use bytes::Bytes;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes of an object. Those of large projects have a few MB.
const MOST: u64 = 256 << 20;

/// The bytes of an object file. Pipes and devices are not read: they may never end.
pub(super) fn read(path: &Path) -> Result<Bytes, Failure> {
    let unreadable = || format!("{} cannot be used", path.display());
    // An open without this waits for a pipe's other end.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(std::io::Error::from);
    let file = File::from(file.with_context(unreadable).map_err(bad_input)?);
    let about = file.metadata().with_context(unreadable).map_err(bad_input)?;
    if !about.is_file() {
        return Err(bad_input(anyhow!("not a regular file").context(unreadable())));
    }
    if about.len() > MOST {
        let why = format!("it has {} bytes, and no object has more than {MOST}", about.len());
        return Err(bad_input(anyhow!(why).context(unreadable())));
    }
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes).with_context(unreadable).map_err(bad_input)?;
    Ok(bytes.into())
}

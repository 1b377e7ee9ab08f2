//! `portolan kernel fetch`.

use super::{added, finish, open};
use crate::args::kernel::FetchArgs;
use crate::exit::{Exit, Failure, bad_input};
use crate::render::kernel as view;
use crate::render::screen::Screen;
use crate::report::kernel::{KernelEntry, KernelReport};
use anyhow::{Context, anyhow};
use btf_catalog::kernel::{self, Kernel, Options};
use btf_catalog::store::Store;
use btf_catalog::store::fetch::{FetchError, Mirror, Offer};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Mirrors what is wanted and not there yet.
pub(super) fn command(args: &FetchArgs, screen: &Screen) -> Result<Exit, Failure> {
    let store = open(args.store.store.as_deref())?;
    let mirror = Mirror::new(&args.url).map_err(bad_input)?;
    let offers = offers(args, &mirror)?;
    if offers.is_empty() {
        return Err(bad_input(anyhow!("{} has nothing that was asked for", args.url)));
    }
    let listing = store.list().map_err(anyhow::Error::from)?;
    let known: BTreeSet<&str> =
        listing.records.iter().flat_map(|record| &record.sources).map(String::as_str).collect();
    let mut report = KernelReport::default();
    for offer in &offers {
        let address = mirror.address(offer);
        if known.contains(address.as_str()) {
            report.kernels.push(entry(offer, address, "known"));
        } else if args.dry_run {
            report.kernels.push(entry(offer, address, "would be fetched"));
        } else {
            match fetch(&mirror, offer, &store)? {
                Ok(entry) => report.kernels.push(entry),
                Err(why) => report.damage.push(why),
            }
        }
    }
    let exit = if report.damage.is_empty() { Exit::Success } else { Exit::Blocked };
    finish(&store, report, args.store.output, screen, view::list)?;
    Ok(exit)
}

/// What is wanted of what the server, or the list, has.
fn offers(args: &FetchArgs, mirror: &Mirror) -> Result<BTreeSet<Offer>, Failure> {
    let Some(list) = &args.list else {
        return mirror.offers(&args.wanted).map_err(|error| Failure::Tool(error.into()));
    };
    let text = fs::read_to_string(list).with_context(|| format!("{} cannot be read", list.display()));
    let text = text.map_err(bad_input)?;
    let wanted = |offer: &Offer| args.wanted.iter().any(|wanted| wanted.is(offer));
    Ok(text.lines().filter_map(|line| Offer::parse(line.trim())).filter(wanted).collect())
}

/// Fetches one kernel into the store. That the server lets it down costs this kernel only.
fn fetch(mirror: &Mirror, offer: &Offer, store: &Store) -> Result<Result<KernelEntry, String>, Failure> {
    let file = match mirror.download(offer, &downloads()?) {
        Ok(file) => file,
        Err(error @ FetchError::Io { .. }) => return Err(Failure::Tool(error.into())),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let read = kernel::read(&[&file], Options { modules: false, image: false });
    // What was downloaded is in the store now, or is worth nothing.
    fs::remove_file(&file).with_context(|| format!("{} cannot be removed", file.display()))?;
    let kernel = match read.map(<[Kernel; 1]>::try_from) {
        Ok(Ok([kernel])) if kernel.btf.is_some() => kernel,
        Ok(_) => return Ok(Err(format!("{}: not the BTF of one kernel", mirror.address(offer)))),
        Err(error) => return Ok(Err(format!("{}: {error}", mirror.address(offer)))),
    };
    let kernel = Kernel {
        release: Some(offer.release().to_owned()),
        arch: Some(offer.arch().to_owned()),
        sources: vec![mirror.address(offer)],
        ..kernel
    };
    added(store, &kernel).map(Ok)
}

/// Where downloads lie until they are whole: `$XDG_CACHE_HOME/portolan/fetch`.
fn downloads() -> anyhow::Result<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let cache = cache.context("neither XDG_CACHE_HOME nor HOME is set: there is no place for downloads")?;
    Ok(cache.join(Path::new("portolan/fetch")))
}

fn entry(offer: &Offer, address: String, state: &str) -> KernelEntry {
    KernelEntry {
        release: Some(offer.release().to_owned()),
        arch: Some(offer.arch().to_owned()),
        sources: vec![address],
        state: Some(state.to_owned()),
        ..KernelEntry::default()
    }
}

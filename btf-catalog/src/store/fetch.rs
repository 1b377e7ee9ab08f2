//! BTF from servers that keep it as BTFHub's archive does: `DISTRIBUTION/VERSION/MACHINE/RELEASE.btf.tar.xz`.
//!
//! What there is, a server tells by pages of links (as web servers make of directories), or a list does that somebody
//! keeps. A download that breaks off goes on where it was, in the same run or in a later one. Nothing that a server says
//! is believed: sizes, times and numbers have bounds, and names that could lead elsewhere are none.

use super::record::{Digest, matches};
use super::remote::printable;
use futures_util::TryStreamExt;
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode, Url};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// What follows the release in the name of a file.
const SUFFIX: &str = ".btf.tar.xz";
/// Bytes of a download; those of kernels have 1 to 2 MB.
const FILE_SZ: u64 = 64 << 20;
/// Bytes of a page of links.
const PAGE_SZ: u64 = 16 << 20;
/// Pages that are read, and files that are known of.
const PAGES: usize = 10_000;
const OFFERS: usize = 500_000;
/// Bytes of one part of a path.
const NAME: usize = 200;
/// How often a download that broke off is taken up again.
const ATTEMPTS: u32 = 5;
const CONNECT: Duration = Duration::from_secs(10);
/// Time without a byte after which a server is given up.
const SILENCE: Duration = Duration::from_secs(30);
/// Time for one request in all.
const REQUEST: Duration = Duration::from_secs(300);

/// Why a server's kernels could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// An address that is none.
    #[error("{address}: {problem}")]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A request without an answer, or with one that broke off.
    #[error("{url}: {error}")]
    Request {
        /// What was asked for.
        url: String,
        /// What went wrong.
        error: String,
    },
    /// An answer that is larger than anything that should be there.
    #[error("{url}: more than {most} {what}")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The most that is read.
        most: u64,
        /// Of what.
        what: &'static str,
    },
    /// A file could not be written.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// A kernel's BTF on a server: distribution, its version, machine, release.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Offer([String; 4]);

impl Offer {
    /// Reads `ubuntu/20.04/x86_64/5.4.0-100-generic.btf.tar.xz`, with or without what follows the release.
    pub fn parse(path: &str) -> Option<Offer> {
        let path = path.trim_start_matches("./").trim_start_matches('/');
        let parts: Vec<&str> = path.strip_suffix(SUFFIX).unwrap_or(path).split('/').collect();
        let parts: [&str; 4] = parts.try_into().ok()?;
        parts.iter().all(|part| is_name(part)).then(|| Offer(parts.map(str::to_owned)))
    }

    /// Where it lies on the server.
    pub fn path(&self) -> String {
        format!("{}{SUFFIX}", self.0.join("/"))
    }

    /// The machine in the words of `uname -m`.
    pub fn arch(&self) -> &str {
        // The archive says `arm64`; kernels do not.
        if self.0[2] == "arm64" { "aarch64" } else { &self.0[2] }
    }

    /// Kernel release.
    pub fn release(&self) -> &str {
        &self.0[3]
    }
}

fn is_name(part: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"._+~:-".contains(&c);
    (1..=NAME).contains(&part.len()) && !part.starts_with('.') && part.bytes().all(plain)
}

/// Which kernels are wanted: `ubuntu/20.04/x86_64/5.4.*`. `*` stands for any text without `/`; parts left out at the end
/// for all there are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted([String; 4]);

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Wanted, String> {
        let parts: Vec<&str> =
            text.strip_suffix(SUFFIX).unwrap_or(text).trim_end_matches('/').split('/').collect();
        if parts.len() > 4 || parts.iter().any(|part| !is_name(&part.replace('*', "x"))) {
            return Err(format!(
                "{text} is not DISTRIBUTION/VERSION/MACHINE/RELEASE, in which * stands for any text"
            ));
        }
        Ok(Wanted(std::array::from_fn(|at| parts.get(at).unwrap_or(&"*").to_string())))
    }
}

impl Wanted {
    fn begins(&self, parts: &[String]) -> bool {
        self.0.iter().zip(parts).all(|(pattern, part)| matches(pattern, part))
    }

    /// Whether it is what is wanted.
    pub fn is(&self, offer: &Offer) -> bool {
        self.begins(&offer.0)
    }

    /// The one kernel that it means, if it has no `*`.
    pub fn exact(&self) -> Option<Offer> {
        Offer::parse(&self.0.join("/"))
    }
}

/// A server of BTF.
#[derive(Debug)]
pub struct Mirror {
    runtime: Runtime,
    client: Client,
    base: Url,
}

impl Mirror {
    /// The server at `http://…` or `https://…`. Nothing is asked of it yet.
    pub fn new(address: &str) -> Result<Mirror, FetchError> {
        let wrong = |problem: String| FetchError::Address { address: printable(address), problem };
        let mut base = Url::parse(address).map_err(|error| wrong(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(wrong("only http and https are spoken here".to_owned()));
        }
        base.set_query(None);
        base.set_fragment(None);
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let client = Client::builder()
            .user_agent(concat!("portolan/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .timeout(REQUEST)
            .build();
        let client = client.map_err(|error| wrong(error.to_string()))?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| wrong(error.to_string()))?;
        Ok(Mirror { runtime, client, base })
    }

    /// The address of a kernel's BTF, without credentials.
    pub fn address(&self, offer: &Offer) -> String {
        printable(self.url(&offer.path()).as_str())
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/'));
        }
        url
    }

    /// The kernels of which something is wanted, by path, as the server's pages list them.
    pub fn offers(&self, wanted: &[Wanted]) -> Result<BTreeSet<Offer>, FetchError> {
        if let Some(exact) = wanted.iter().map(Wanted::exact).collect() {
            return Ok(exact);
        }
        let mut offers = BTreeSet::new();
        let mut pages = vec![Vec::new()];
        let mut read = 0;
        while let Some(at) = pages.pop() {
            read += 1;
            if read > PAGES || offers.len() > OFFERS || pages.len() > OFFERS {
                let (most, what) = if read > PAGES { (PAGES, "pages") } else { (OFFERS, "names") };
                return Err(FetchError::TooLarge {
                    url: printable(self.base.as_str()),
                    most: most as u64,
                    what,
                });
            }
            let mut page = self.url(&at.join("/"));
            page.set_path(&format!("{}/", page.path().trim_end_matches('/')));
            for link in links(&page, &self.runtime.block_on(self.page(&page))?) {
                let is_dir = link.ends_with('/');
                let name = link.trim_end_matches('/');
                let name = if at.len() == 3 { name.strip_suffix(SUFFIX).unwrap_or_default() } else { name };
                if !is_name(name) || is_dir != (at.len() < 3) {
                    continue;
                }
                let mut path: Vec<String> = at.clone();
                path.push(name.to_owned());
                if !wanted.iter().any(|wanted| wanted.begins(&path)) {
                    continue;
                }
                match <[String; 4]>::try_from(path) {
                    Ok(path) => {
                        offers.insert(Offer(path));
                    }
                    Err(path) => pages.push(path),
                }
            }
        }
        Ok(offers)
    }

    async fn page(&self, url: &Url) -> Result<String, FetchError> {
        let answer = self.ask(url, 0).await?;
        let mut page = Vec::new();
        let mut chunks = answer.bytes_stream();
        while let Some(chunk) = chunks.try_next().await.map_err(|error| broken(url, &error))? {
            page.extend_from_slice(&chunk);
            if page.len() as u64 > PAGE_SZ {
                return Err(FetchError::TooLarge {
                    url: printable(url.as_str()),
                    most: PAGE_SZ,
                    what: "bytes",
                });
            }
        }
        Ok(String::from_utf8_lossy(&page).into_owned())
    }

    /// The answer to a request for the bytes from `from` on.
    async fn ask(&self, url: &Url, from: u64) -> Result<Response, FetchError> {
        let mut request = self.client.get(url.clone());
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        let answer = request.send().await.map_err(|error| broken(url, &error))?;
        match answer.status() {
            status if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE => Ok(answer),
            status => Err(FetchError::Request { url: printable(url.as_str()), error: status.to_string() }),
        }
    }

    /// Writes a kernel's BTF to a file in `dir` and returns its path.
    pub fn download(&self, offer: &Offer, dir: &Path) -> Result<PathBuf, FetchError> {
        let url = self.url(&offer.path());
        let unique = Digest::of(printable(url.as_str()).as_bytes());
        let name = format!("{}-{}{SUFFIX}", &unique.as_str()[..16], offer.release());
        let target = dir.join(&name);
        let part = dir.join(format!("{name}.part"));
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| FetchError::Io { path, error }
        };
        fs::create_dir_all(dir).map_err(failed(dir))?;
        let mut attempt = 0;
        loop {
            let mut file = OpenOptions::new().create(true).append(true).open(&part).map_err(failed(&part))?;
            let before = file.metadata().map_err(failed(&part))?.len();
            match self.runtime.block_on(self.go_on(&url, &mut file, before)) {
                Ok(()) => break,
                Err(Broken::Off(error)) => {
                    attempt += 1;
                    if attempt == ATTEMPTS {
                        return Err(error);
                    }
                }
                Err(Broken::Final(error)) => return Err(error),
                Err(Broken::Io(error)) => return Err(failed(&part)(error)),
            }
        }
        fs::rename(&part, &target).map_err(failed(&target))?;
        Ok(target)
    }

    /// Appends to a file that has `have` bytes what it lacks.
    async fn go_on(&self, url: &Url, file: &mut File, mut have: u64) -> Result<(), Broken> {
        let mut answer = self.ask(url, have).await.map_err(Broken::Final)?;
        let range = answer.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let goes_on = answer.status() == StatusCode::PARTIAL_CONTENT
            && range.is_some_and(|range| range.starts_with(&format!("bytes {have}-")));
        if have > 0 && !goes_on {
            // The server has another file now, or sends nothing but whole ones.
            file.set_len(0).map_err(Broken::Io)?;
            have = 0;
            if answer.status() != StatusCode::OK {
                answer = self.ask(url, 0).await.map_err(Broken::Final)?;
            }
        }
        if !matches!(answer.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            let error = answer.status().to_string();
            return Err(Broken::Final(FetchError::Request { url: printable(url.as_str()), error }));
        }
        let mut chunks = answer.bytes_stream();
        while let Some(chunk) = chunks.try_next().await.map_err(|error| Broken::Off(broken(url, &error)))? {
            have += chunk.len() as u64;
            if have > FILE_SZ {
                let _ = file.set_len(0);
                let url = printable(url.as_str());
                return Err(Broken::Final(FetchError::TooLarge { url, most: FILE_SZ, what: "bytes" }));
            }
            file.write_all(&chunk).map_err(Broken::Io)?;
        }
        file.sync_all().map_err(Broken::Io)
    }
}

/// How a download ended before its end.
enum Broken {
    /// It broke off: it can be taken up again.
    Off(FetchError),
    Final(FetchError),
    Io(io::Error),
}

fn broken(url: &Url, error: &reqwest::Error) -> FetchError {
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    // The address is said already, and the error's own text would say it with credentials.
    while let Some(next) = cause.and_then(std::error::Error::source) {
        text = format!("{text}{}{next}", if text.is_empty() { "" } else { ": " });
        cause = Some(next);
    }
    let error = if text.is_empty() { "no answer".to_owned() } else { text };
    FetchError::Request { url: printable(url.as_str()), error }
}

/// Names that a page of links leads to directly below itself, those of directories with a `/` at their end.
fn links(page: &Url, text: &str) -> Vec<String> {
    let below = |link: &str| {
        let url = page.join(link).ok()?;
        let name = url.path().strip_prefix(page.path()).filter(|_| url.origin() == page.origin())?;
        let one = !name.is_empty() && name.find('/').is_none_or(|at| at + 1 == name.len());
        (one && url.query().is_none()).then(|| decoded(name)).flatten()
    };
    let links = text.split("href=").skip(1).filter_map(|rest| {
        let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        rest[1..].split_once(quote).map(|(link, _)| link)
    });
    links.filter_map(below).collect()
}

/// A path in which `%2B` is `+`.
fn decoded(path: &str) -> Option<String> {
    let mut parts = path.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;

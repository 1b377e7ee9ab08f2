//! Stores elsewhere: in buckets (S3, Google, Azure) and on web servers that take files (WebDAV).
//!
//! The rest of a store knows nothing of networks: requests run on a small runtime of their own, and whoever asks waits.
//! A bucket puts an object in place as a whole, which is all that a store asks of concurrent writers.

use super::StoreError;
use super::backend::{Backend, FILES, Stored};
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use reqwest::Url;
use std::time::SystemTime;
use tokio::runtime::{Builder, Runtime};

/// Requests that are under way at once.
const AT_ONCE: usize = 16;

/// Files in a bucket or on a server.
#[derive(Debug)]
pub struct Remote {
    runtime: Runtime,
    objects: Box<dyn ObjectStore>,
    prefix: Path,
    /// The address without credentials, for people.
    place: String,
}

impl Remote {
    /// The store at an address: `s3://BUCKET/PREFIX`, `gs://…`, `az://…`, `https://…`, `memory:///`. `options` are what
    /// says who may read and write there and how it is reached, under the names of the environment's variables
    /// (`AWS_ACCESS_KEY_ID`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_NAME`); others are not looked at.
    pub fn open(
        address: &str,
        options: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Remote, StoreError> {
        let failed = |error: String| StoreError::Remote { place: printable(address), error };
        let url = Url::parse(address).map_err(|error| failed(error.to_string()))?;
        // Whoever writes http:// has decided to go without TLS.
        let plain = (url.scheme() == "http").then(|| ("allow_http".to_owned(), "true".to_owned()));
        let opened = object_store::parse_url_opts(&url, options.into_iter().chain(plain));
        let (objects, prefix) = opened.map_err(|error| failed(error.to_string()))?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed(error.to_string()))?;
        Ok(Remote { runtime, objects, prefix, place: printable(address) })
    }

    fn failed(&self, path: &str, error: &object_store::Error) -> StoreError {
        StoreError::Remote {
            place: format!("{}/{path}", self.place.trim_end_matches('/')),
            error: error.to_string(),
        }
    }

    fn path(&self, path: &str) -> Path {
        path.split('/').filter(|part| !part.is_empty()).fold(self.prefix.clone(), Path::join)
    }

    async fn get(&self, path: &str, most: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let found = match self.objects.get(&self.path(path)).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(|error| self.failed(path, &error))?,
        };
        // A server may send more than it announces.
        let mut bytes = Vec::new();
        let mut chunks = found.into_stream();
        while let Some(chunk) = chunks.try_next().await.map_err(|error| self.failed(path, &error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > most {
                return Err(StoreError::damaged(path, format!("more than {most} bytes")));
            }
        }
        Ok(Some(bytes))
    }
}

/// An address without the name and the password that may stand in it.
pub(super) fn printable(address: &str) -> String {
    match address.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = host.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => address.to_owned(),
    }
}

impl Backend for Remote {
    fn describe(&self) -> String {
        self.place.clone()
    }

    fn read(&self, path: &str, most: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.runtime.block_on(self.get(path, most))
    }

    fn read_all(&self, paths: &[String], most: u64) -> Vec<Result<Option<Vec<u8>>, StoreError>> {
        let requests = stream::iter(paths).map(|path| self.get(path, most)).buffered(AT_ONCE);
        self.runtime.block_on(requests.collect())
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let (at, content) = (self.path(path), bytes.to_vec());
        let written = self.runtime.block_on(self.objects.put(&at, content.into()));
        written.map(drop).map_err(|error| self.failed(path, &error))
    }

    fn list(&self, dir: &str) -> Result<Vec<Stored>, StoreError> {
        let below = self.path(dir);
        let from = (below.parts_count() > 0).then_some(&below);
        let stored = |meta: object_store::ObjectMeta| {
            let path: Vec<_> = meta.location.prefix_match(&self.prefix)?.collect();
            let path: Vec<&str> = path.iter().map(AsRef::as_ref).collect();
            let age = SystemTime::now().duration_since(meta.last_modified.into()).ok();
            Some(Stored { path: path.join("/"), size: meta.size, age })
        };
        let listed = self.objects.list(from).take(FILES + 1).try_collect::<Vec<_>>();
        let listed = match self.runtime.block_on(listed) {
            Err(object_store::Error::NotFound { .. }) => Vec::new(),
            listed => listed.map_err(|error| self.failed(dir, &error))?,
        };
        if listed.len() > FILES {
            let error = format!("more than {FILES} files");
            return Err(StoreError::Remote { place: self.place.clone(), error });
        }
        let mut files: Vec<Stored> = listed.into_iter().filter_map(stored).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        match self.runtime.block_on(self.objects.delete(&self.path(path))) {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            result => result.map_err(|error| self.failed(path, &error)),
        }
    }
}

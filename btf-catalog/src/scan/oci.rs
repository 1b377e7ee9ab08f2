//! Container images: OCI layouts (a directory or a tar) and what `docker save` writes.
//!
//! Layers are searched like any other member. The documents of the layout, collected on the way, then tell which image
//! and layer a member is, and the names that each layer brings or deletes tell what a container does not see any more.

use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// The largest document that is read, in bytes; the OCI distribution specification lets registries refuse more than 4 MiB.
pub(super) const DOCUMENT_MAX: u64 = 4 << 20;
/// The most documents that are kept: each image has two, an index one more.
const DOCUMENTS_MAX: usize = 2_000;
/// How deep indexes may lie in one another.
const INDEX_DEPTH: usize = 4;

/// Names in a tar: whether a later layer has a file, or deletes one. Names are kept as hashes.
#[derive(Debug, Default)]
pub(super) struct Listing {
    files: HashSet<u64>,
    deleted: HashSet<u64>,
    /// Directories whose earlier contents are gone.
    opaque: HashSet<u64>,
}

impl Listing {
    /// Takes note of a member.
    pub(super) fn add(&mut self, name: &str) {
        let name = normal(name);
        let (dir, file) = name.rsplit_once('/').unwrap_or(("", name));
        match file.strip_prefix(".wh.") {
            Some(".wh..opq") => self.opaque.insert(hash(dir)),
            Some(deleted) if dir.is_empty() => self.deleted.insert(hash(deleted)),
            Some(deleted) => self.deleted.insert(hash(&format!("{dir}/{deleted}"))),
            None => self.files.insert(hash(name)),
        };
    }

    /// Whether this layer hides a file of an earlier one.
    fn hides(&self, name: &str) -> bool {
        let name = normal(name);
        if self.files.contains(&hash(name)) {
            return true;
        }
        let ancestors = name.match_indices('/').map(|(at, _)| &name[..at]);
        self.deleted.contains(&hash(name))
            || self.opaque.contains(&hash(""))
            || ancestors.into_iter().any(|dir| {
                let dir = hash(dir);
                self.deleted.contains(&dir) || self.opaque.contains(&dir)
            })
    }
}

fn normal(name: &str) -> &str {
    name.trim_start_matches("./").trim_matches('/')
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// The members of what may be an image layout.
#[derive(Debug, Default)]
pub(super) struct Layout {
    documents: HashMap<String, Vec<u8>>,
    listings: HashMap<String, Listing>,
}

/// What a member of a layout is to one image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Layer {
    /// The image and the layer, for people.
    pub(super) image: String,
    /// Members that later layers of this image are.
    later: Vec<String>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    digest: String,
    #[serde(default)]
    media_type: String,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

#[derive(Deserialize)]
struct Manifest {
    layers: Vec<Descriptor>,
}

/// An element of `manifest.json` as `docker save` writes it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Layout {
    /// Whether a member may be a document of a layout, by its name and size.
    pub(super) fn may_be_document(name: &str, byte_sz: u64) -> bool {
        let name = normal(name);
        byte_sz <= DOCUMENT_MAX
            && (matches!(name, "index.json" | "manifest.json") || name.starts_with("blobs/"))
    }

    /// Takes a document, if it is one and there is room.
    pub(super) fn add_document(&mut self, name: &str, bytes: &[u8]) {
        if bytes.trim_ascii_start().first().is_some_and(|byte| matches!(byte, b'{' | b'['))
            && self.documents.len() < DOCUMENTS_MAX
        {
            self.documents.insert(normal(name).to_owned(), bytes.to_vec());
        }
    }

    /// Takes the names in a member that is a tar, if it may be a layer.
    pub(super) fn add_listing(&mut self, name: &str, listing: Listing) {
        let name = normal(name);
        if name.starts_with("blobs/") || name.ends_with("/layer.tar") {
            self.listings.insert(name.to_owned(), listing);
        }
    }

    /// Every member that is a layer, with what it is to each image.
    pub(super) fn layers(&self) -> HashMap<String, Vec<Layer>> {
        let mut layers = HashMap::new();
        if let Some(index) = self.document::<Index>("index.json") {
            self.follow(&index, "", 0, &mut layers);
        }
        // Newer versions of docker write both.
        if layers.is_empty() {
            for saved in self.document::<Vec<Saved>>("manifest.json").unwrap_or_default() {
                let image = saved.repo_tags.and_then(|tags| tags.into_iter().next()).unwrap_or_default();
                let names = saved.layers.iter().map(|name| normal(name).to_owned()).collect::<Vec<_>>();
                add_image(&image, &names, |_| String::new(), &mut layers);
            }
        }
        layers
    }

    fn follow(&self, index: &Index, image: &str, depth: usize, layers: &mut HashMap<String, Vec<Layer>>) {
        for descriptor in &index.manifests {
            let reference = ["io.containerd.image.name", "org.opencontainers.image.ref.name"]
                .into_iter()
                .find_map(|key| descriptor.annotations.get(key))
                .map_or(image, String::as_str);
            let platform = descriptor
                .platform
                .as_ref()
                .map_or(String::new(), |platform| format!(" {}/{}", platform.os, platform.architecture));
            let image = format!("{reference}{platform}");
            let name = blob(&descriptor.digest);
            if let Some(manifest) = self.document::<Manifest>(&name) {
                let names = manifest.layers.iter().map(|layer| blob(&layer.digest)).collect::<Vec<_>>();
                let about = |at: usize| {
                    let layer: &Descriptor = &manifest.layers[at];
                    let title = layer.annotations.get("org.opencontainers.image.title");
                    let kind = (!layer.media_type.contains(".tar")).then_some(&layer.media_type);
                    let about = title.into_iter().chain(kind).filter(|text| !text.is_empty());
                    about.fold(String::new(), |all, text| all + ", " + text)
                };
                add_image(image.trim(), &names, about, layers);
            } else if let Some(inner) = self.document::<Index>(&name).filter(|_| depth < INDEX_DEPTH) {
                self.follow(&inner, &image, depth + 1, layers);
            }
        }
    }

    fn document<T: for<'a> Deserialize<'a>>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(self.documents.get(name)?).ok()
    }

    /// Whether no image shows that file of a layer any more.
    pub(super) fn is_removed(&self, roles: &[Layer], file: &str) -> bool {
        roles.iter().all(|role| {
            role.later.iter().filter_map(|name| self.listings.get(name)).any(|listing| listing.hides(file))
        })
    }
}

fn add_image(
    image: &str,
    names: &[String],
    about: impl Fn(usize) -> String,
    layers: &mut HashMap<String, Vec<Layer>>,
) {
    // An image with more layers than any runtime mounts is none.
    const LAYERS_MAX: usize = 1024;
    if names.len() > LAYERS_MAX {
        return;
    }
    let image = if image.is_empty() { "image" } else { image };
    for (at, name) in names.iter().enumerate() {
        let image = format!("{image}, layer {} of {}{}", at + 1, names.len(), about(at));
        layers.entry(name.clone()).or_default().push(Layer { image, later: names[at + 1..].to_vec() });
    }
}

/// The member that a digest stands for.
fn blob(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

/// The name of a member, as layers are known by.
pub(super) fn member(name: &str) -> &str {
    normal(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_hides_what_it_replaces_or_deletes() {
        let mut layer = Listing::default();
        for name in ["./usr/bin/new", "usr/lib/.wh.old.o", "opt/.wh..wh..opq", ".wh.srv"] {
            layer.add(name);
        }
        for hidden in ["usr/bin/new", "/usr/lib/old.o", "./opt/a/b.o", "srv/x.o"] {
            assert!(layer.hides(hidden), "{hidden}");
        }
        for seen in ["usr/lib/other.o", "usr/bin/new/x", "opti/b.o", "srv2"] {
            assert!(!layer.hides(seen), "{seen}");
        }
    }
}

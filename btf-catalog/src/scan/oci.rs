//! Container images: OCI layouts (a directory or a tar) and what `docker save` writes.
//!
//! Layers are searched like any other member. The documents of the layout, collected on the way, then tell which image
//! and layer a member is, and the names that each layer brings or deletes tell what a container does not see any more.

use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

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
    /// Members there are, as hashes.
    members: HashSet<u64>,
    /// Documents for which there was no room.
    left_out: usize,
}

/// What the documents of a layout tell of its members.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// Every member that is a layer, with what it is to each image.
    pub(super) of: HashMap<String, Vec<Layer>>,
    /// What belongs to an image and cannot be had.
    pub(super) lacks: Vec<Lack>,
}

/// Something that belongs to an image and cannot be had.
#[derive(Debug)]
pub(super) struct Lack {
    pub(super) what: String,
    /// Whether something of an image that is there is lacking. A layout may leave out whole images of its index, as those
    /// for other machines (OCI image layout specification v1.1, "Blobs").
    pub(super) incomplete: bool,
}

impl Layers {
    fn lack(&mut self, what: String, incomplete: bool) {
        self.lacks.push(Lack { what, incomplete });
    }
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
        if bytes.trim_ascii_start().first().is_some_and(|byte| matches!(byte, b'{' | b'[')) {
            if self.documents.len() < DOCUMENTS_MAX {
                self.documents.insert(normal(name).to_owned(), bytes.to_vec());
            } else {
                self.left_out += 1;
            }
        }
    }

    /// Takes note that there is a member of that name, a link perhaps.
    pub(super) fn add_member(&mut self, name: &str) {
        let name = normal(name);
        if name == "oci-layout" || may_be_layer(name) {
            self.members.insert(hash(name));
        }
    }

    fn has(&self, name: &str) -> bool {
        self.members.contains(&hash(name))
    }

    /// Takes the names in a member that is a tar, if it may be a layer.
    pub(super) fn add_listing(&mut self, name: &str, listing: Listing) {
        let name = normal(name);
        if may_be_layer(name) {
            self.listings.insert(name.to_owned(), listing);
        }
    }

    /// What the documents tell of the members.
    pub(super) fn layers(&self) -> Layers {
        let mut layers = Layers::default();
        if let Some(index) = self.document::<Index>("index.json") {
            self.follow(&index, "", 0, &mut layers);
        } else if self.has("oci-layout") {
            layers.lack(
                "index.json is missing or no index of images: which layers make an image is not known"
                    .to_owned(),
                true,
            );
        }
        // Newer versions of docker write both.
        if layers.of.is_empty() {
            for saved in self.document::<Vec<Saved>>("manifest.json").unwrap_or_default() {
                let image = saved.repo_tags.and_then(|tags| tags.into_iter().next()).unwrap_or_default();
                let names = saved.layers.iter().map(|name| normal(name).to_owned()).collect::<Vec<_>>();
                self.add_image(&image, &names, |_| String::new(), &mut layers);
            }
        }
        if self.left_out > 0 {
            let what = format!("{} documents of images were not read, beyond {DOCUMENTS_MAX}", self.left_out);
            layers.lack(what, true);
        }
        layers
    }

    fn follow(&self, index: &Index, image: &str, depth: usize, layers: &mut Layers) {
        let name_of = |descriptor: &Descriptor| {
            let reference = ["io.containerd.image.name", "org.opencontainers.image.ref.name"]
                .into_iter()
                .find_map(|key| descriptor.annotations.get(key))
                .map_or(image, String::as_str);
            let platform = descriptor
                .platform
                .as_ref()
                .map_or(String::new(), |platform| format!(" {}/{}", platform.os, platform.architecture));
            format!("{reference}{platform}").trim().to_owned()
        };
        let some = index.manifests.iter().any(|descriptor| self.has(&blob(&descriptor.digest)));
        for descriptor in &index.manifests {
            let (image, name) = (name_of(descriptor), blob(&descriptor.digest));
            let shown = if image.is_empty() { "an image" } else { &image };
            if let Some(manifest) = self.document::<Manifest>(&name) {
                let names = manifest.layers.iter().map(|layer| blob(&layer.digest)).collect::<Vec<_>>();
                let about = |at: usize| {
                    let layer: &Descriptor = &manifest.layers[at];
                    let title = layer.annotations.get("org.opencontainers.image.title");
                    let kind = (!layer.media_type.contains(".tar")).then_some(&layer.media_type);
                    let about = title.into_iter().chain(kind).filter(|text| !text.is_empty());
                    about.fold(String::new(), |all, text| all + ", " + text)
                };
                self.add_image(&image, &names, about, layers);
            } else if let Some(inner) = self.document::<Index>(&name).filter(|_| depth < INDEX_DEPTH) {
                self.follow(&inner, &image, depth + 1, layers);
            } else if self.has(&name) {
                layers.lack(format!("the manifest of {shown} cannot be read ({name})"), true);
            } else {
                layers.lack(format!("{shown} is not there: its manifest {name} is missing"), !some);
            }
        }
    }

    /// Adds the layers of an image, the lowest first, and says which of them are missing.
    fn add_image(&self, image: &str, names: &[String], about: impl Fn(usize) -> String, layers: &mut Layers) {
        // An image with more layers than any runtime mounts is none.
        const LAYERS_MAX: usize = 1024;
        let image = if image.is_empty() { "image" } else { image };
        if names.len() > LAYERS_MAX {
            let what = format!(
                "{image} has {} layers; what they hide of each other is told of {LAYERS_MAX} at most",
                names.len()
            );
            return layers.lack(what, true);
        }
        for (at, name) in names.iter().enumerate() {
            let image = format!("{image}, layer {} of {}{}", at + 1, names.len(), about(at));
            if !self.has(name) {
                layers.lack(format!("{image} is missing ({name}); what is in it is not known"), true);
            }
            layers.of.entry(name.clone()).or_default().push(Layer { image, later: names[at + 1..].to_vec() });
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

/// Layers are blobs, or `ID/layer.tar` as docker names them, or `ID.tar` as podman does.
fn may_be_layer(name: &str) -> bool {
    name.starts_with("blobs/") || Path::new(name).extension().is_some_and(|extension| extension == "tar")
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

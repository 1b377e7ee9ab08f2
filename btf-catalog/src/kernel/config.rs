//! A kernel's configuration: the text that packages install, or the one that `CONFIG_IKCONFIG` keeps in the image.

use crate::archive::compress::{Compression, Frames, unpack};
use memchr::memmem;
use std::collections::BTreeMap;

/// A kernel's configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KernelConfig {
    /// Values by option (`CONFIG_` included) as the file has them: `y`, `m`, `"text"`, `100`. Options that are off are
    /// not there.
    pub options: BTreeMap<String, String>,
    /// Where it was found: `/boot/config-6.1.0-44-amd64`, `IKCONFIG`.
    pub source: String,
}

/// Bytes of a configuration, unpacked; real ones have 300 kB.
pub(super) const CONFIG_LIMIT: u64 = 16 << 20;
/// Places that begin like one, of which each is tried.
const STARTS: usize = 16;

impl KernelConfig {
    /// Reads a `.config`; `None` where no line of it sets an option.
    pub fn parse(text: &[u8], source: impl Into<String>) -> Option<KernelConfig> {
        let text = String::from_utf8_lossy(text);
        let options: BTreeMap<String, String> = text
            .lines()
            .filter(|line| line.starts_with("CONFIG_"))
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.trim_end().to_owned()))
            .collect();
        (!options.is_empty()).then(|| KernelConfig { options, source: source.into() })
    }

    /// Reads what stands between `IKCFG_ST` and `IKCFG_ED` in an unpacked image (kernel/configs.c): a gzip file.
    pub(super) fn find(image: &[u8]) -> Option<KernelConfig> {
        memmem::find_iter(image, b"IKCFG_ST").take(STARTS).find_map(|at| {
            let packed = &image[at + 8..image.len().min(at + 8 + CONFIG_LIMIT as usize)];
            let end = memmem::find(packed, b"IKCFG_ED")?;
            let text = unpack(Compression::Gzip, Frames::One, &packed[..end], CONFIG_LIMIT).ok()?;
            KernelConfig::parse(&text, "IKCONFIG")
        })
    }

    /// The value of an option, `None` where it is off. The name has its `CONFIG_`.
    pub fn get(&self, option: &str) -> Option<&str> {
        self.options.get(option).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const TEXT: &str =
        "# Linux/x86 6.1.0 Kernel Configuration\nCONFIG_BPF=y\n# CONFIG_BPF_LSM is not set\nCONFIG_HZ=250\n";

    #[test]
    fn options_that_are_off_are_not_there() {
        let config = KernelConfig::parse(TEXT.as_bytes(), "here").unwrap();
        assert_eq!(config.get("CONFIG_BPF"), Some("y"));
        assert_eq!(config.get("CONFIG_HZ"), Some("250"));
        assert_eq!(config.get("CONFIG_BPF_LSM"), None);
        assert_eq!(KernelConfig::parse(b"no option", "here"), None);
    }

    #[test]
    fn it_is_found_in_an_image_behind_a_false_start() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(TEXT.as_bytes()).unwrap();
        let image =
            [b"..IKCFG_ST garbage IKCFG_ED..IKCFG_ST".as_slice(), &gzip.finish().unwrap(), b"IKCFG_ED.."]
                .concat();
        assert_eq!(KernelConfig::find(&image).unwrap().source, "IKCONFIG");
        assert_eq!(KernelConfig::find(b"IKCFG_ST and no end"), None);
    }
}

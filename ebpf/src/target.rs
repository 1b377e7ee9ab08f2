//! What an object is built for: byte order, and an architecture where registers are read.

use serde::{Deserialize, Deserializer};
use std::fmt;
use std::str::FromStr;

/// What one object of a variant is built for, printed as `bpfel`, `bpfeb` or `bpfel-x86_64`.
///
/// eBPF code is the same on every architecture of one byte order, so `bpfel` and `bpfeb` are enough unless a program
/// reads `struct pt_regs` or knows system call numbers, which differ between architectures.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    big_endian: bool,
    arch: Option<String>,
}

/// The text was not a [`Target`].
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is not a target: expected `bpfel`, `bpfeb`, or one of them with `-` and an architecture as `uname -m` prints it"
)]
pub struct TargetError(String);

/// The longest architecture name taken; the kernel's longest, `loongarch64`, has 11 characters.
const ARCH_MAX_LEN: usize = 16;

impl Target {
    /// The generic target of a byte order.
    pub fn generic(big_endian: bool) -> Target {
        Target { big_endian, arch: None }
    }

    /// The targets that a host can load, best first: the one of its architecture, then the generic one.
    ///
    /// `arch` is the machine as `uname -m` prints it.
    pub fn for_host(arch: &str, big_endian: bool) -> [Target; 2] {
        [Target { big_endian, arch: Some(arch.to_owned()) }, Target::generic(big_endian)]
    }

    /// Whether the object's byte order is big endian.
    pub fn big_endian(&self) -> bool {
        self.big_endian
    }

    /// The architecture the object is confined to, as `uname -m` prints it; `None` for a generic object.
    pub fn arch(&self) -> Option<&str> {
        self.arch.as_deref()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.big_endian { "bpfeb" } else { "bpfel" };
        match &self.arch {
            Some(arch) => f.pad(&format!("{order}-{arch}")),
            None => f.pad(order),
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Target, TargetError> {
        let (order, arch) = match text.split_once('-') {
            Some((order, arch)) => (order, Some(arch)),
            None => (text, None),
        };
        let big_endian = match order {
            "bpfel" => false,
            "bpfeb" => true,
            _ => return Err(TargetError(text.escape_debug().to_string())),
        };
        let is_arch = |arch: &str| {
            (1..=ARCH_MAX_LEN).contains(&arch.len())
                && arch.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        match arch {
            Some(arch) if !is_arch(arch) => Err(TargetError(text.escape_debug().to_string())),
            arch => Ok(Target { big_endian, arch: arch.map(str::to_owned) }),
        }
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Target, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_a_round_trip() {
        for text in ["bpfel", "bpfeb", "bpfel-x86_64", "bpfel-aarch64", "bpfeb-s390x"] {
            let target: Target = text.parse().expect(text);
            assert_eq!(target.to_string(), text);
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "bpf",
            "BPFEL",
            "bpfel-",
            "bpfel-x86/64",
            "bpfel-..",
            "bpfel-x86-64",
            "bpfel-aaaaaaaaaaaaaaaaa",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_prefers_its_own_architecture() {
        let targets = Target::for_host("s390x", true).map(|target| target.to_string());
        assert_eq!(targets, ["bpfeb-s390x", "bpfeb"]);
    }
}

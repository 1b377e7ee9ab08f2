//! A micro-VM: a kernel image, one static binary as its init, framed output.
//!
//! Two ideas carry it. The *initramfs is the whole system*: it is written in memory for each run ([`Initramfs`]) and
//! holds the binary, started as `/init`, beside the files it is to work on; no disk, no network, no distribution. And
//! the *output is framed* ([`Frame`]): the kernel writes its messages to the first serial port, the guest writes frames
//! with length and checksum to the second, so that a kernel that complains in the middle of a line costs nothing.
//!
//! The host's side is [`Vm`], the guest's [`Guest`]. The same binary can be both. 8250 serial ports are the one device
//! that is built into every kernel of distributions for x86-64; virtio's console is a module up to 6.1 in Debian.

mod cpio;
mod frame;
mod guest;
mod machine;

pub use cpio::Initramfs;
pub use frame::{Decoder, Frame, MAX_PAYLOAD_SZ};
pub use guest::Guest;
pub use machine::{Accelerator, End, Output, Vm, VmError};

//! The shipped catalog, linked into the binary.

/// The shipped manifest.
pub(crate) const MANIFEST: &str = include_str!("../catalog.toml");

macro_rules! objects {
    ($($file:literal),* $(,)?) => {
        &[$(($file, include_bytes!(concat!("../objects/", $file)) as &[u8])),*]
    };
}

/// The shipped objects by file name. A test compares the list with the manifest.
pub(crate) const OBJECTS: &[(&str, &[u8])] = objects![
    "flow-meter-cgroup-skb.bpfeb.o",
    "flow-meter-cgroup-skb.bpfel.o",
    "flow-meter-socket-filter.bpfeb.o",
    "flow-meter-socket-filter.bpfel.o",
    "flow-meter-tc.bpfeb.o",
    "flow-meter-tc.bpfel.o",
    "flow-meter-tcx.bpfeb.o",
    "flow-meter-tcx.bpfel.o",
    "flow-meter-xdp.bpfeb.o",
    "flow-meter-xdp.bpfel.o",
    "packet-drop-raw-tp.bpfeb.o",
    "packet-drop-raw-tp.bpfel.o",
    "packet-drop-tp-btf.bpfeb.o",
    "packet-drop-tp-btf.bpfel.o",
    "packet-drop-tracepoint-noreason.bpfeb.o",
    "packet-drop-tracepoint-noreason.bpfel.o",
    "packet-drop-tracepoint.bpfeb.o",
    "packet-drop-tracepoint.bpfel.o",
    "tcp-rtt-fexit.bpfeb.o",
    "tcp-rtt-fexit.bpfel.o",
    "tcp-rtt-iter.bpfeb.o",
    "tcp-rtt-iter.bpfel.o",
    "tcp-rtt-kprobe.bpfel-aarch64.o",
    "tcp-rtt-kprobe.bpfel-x86_64.o",
    "tcp-rtt-sockops.bpfeb.o",
    "tcp-rtt-sockops.bpfel.o",
    "tcp-rtt-tp-btf.bpfeb.o",
    "tcp-rtt-tp-btf.bpfel.o",
];

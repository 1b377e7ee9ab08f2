//! What helper functions take and return: `data/helper_protos.tsv`.

use crate::uapi::HelperId;
use std::collections::HashMap;
use std::sync::LazyLock;

/// A helper's prototype, as the verifier knows it (`struct bpf_func_proto`, include/linux/bpf.h).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Proto {
    /// The arguments from `r1` on: each as one or several kinds, of which a program's type decides.
    pub(crate) args: Vec<Vec<Arg>>,
    pub(crate) returns: Returns,
    /// What it does beside.
    pub(crate) effects: Vec<Effect>,
}

impl Proto {
    pub(crate) fn does(&self, effect: Effect) -> bool {
        self.effects.contains(&effect)
    }
}

/// What a helper does beside returning something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// What is returned holds a reference that the program must give back.
    Acquires,
    /// The reference of an argument is given back.
    Releases,
    /// What is returned is another view of the argument.
    Casts,
    /// Pointers into the packet are no good afterwards.
    MovesPacket,
    /// The same, for some verifiers.
    PerhapsMovesPacket,
    /// Memory may be in the packet.
    Packet,
    /// It may sleep.
    Sleeps,
}

/// What kernels agree on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Agreed {
    /// None does.
    No,
    /// Some do.
    Some,
    /// All do, since v5.10.
    All,
}

/// One kind of argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Arg {
    pub(crate) kind: ArgKind,
    /// Whether null is taken; of a size whether 0 is.
    pub(crate) null: Agreed,
}

/// `enum bpf_arg_type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ArgKind {
    /// Not looked at.
    Ignored,
    Context,
    Map,
    Key,
    /// A value of the map, or a place for one.
    Value(Access),
    /// Memory, of so many bytes; otherwise of those that the next argument tells.
    Mem(Access, Option<u32>),
    Size,
    ConstSize,
    Any,
    SpinLock,
    Timer,
    Kptr,
    Text,
    SockCommon,
    AnySock,
    Socket,
    /// A structure of the kernel; `*` for any.
    Btf(&'static str),
    PerCpu,
    RingbufMem,
    Function,
    Stack,
    Dynptr {
        /// Whether it is made here.
        made: bool,
        ringbuf: bool,
    },
}

/// What is done with memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    Read,
    /// Written, and not read before.
    Fill,
    /// Read and written.
    Change,
}

/// `enum bpf_return_type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Returns {
    Number,
    /// A number from -4095 to the size that was given.
    NumberUpToSize,
    /// A number of which some kernels know more.
    KnownNumber,
    Nothing,
    Pointer {
        to: Returned,
        or_null: bool,
    },
}

/// What a returned pointer points to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Returned {
    Value,
    /// Memory of the size that was given.
    RingbufMem,
    DynptrMem,
    Socket,
    SockCommon,
    TcpSock,
    Btf(&'static str),
    PerCpu,
}

impl HelperId {
    /// What the helper takes and returns; `None` for one that this build does not know.
    pub(crate) fn proto(self) -> Option<&'static Proto> {
        TABLE.get(&self.0)
    }
}

/// Panics on a malformed table: it is part of the program and read by its tests.
static TABLE: LazyLock<HashMap<u32, Proto>> = LazyLock::new(|| {
    let rows = include_str!("../data/helper_protos.tsv").lines().filter(|line| !line.starts_with('#'));
    let row = |line: &'static str| {
        let columns: Vec<&'static str> = line.split('\t').collect();
        let [id, _, args, returns, effects] = columns[..] else { panic!("helper_protos.tsv: {line}") };
        let args =
            args.split(' ').filter(|args| *args != "-").map(|arg| arg.split('/').map(self::arg).collect());
        let proto = Proto {
            args: args.collect(),
            returns: self::returns(returns),
            effects: effects.split(',').filter(|name| *name != "-").map(effect).collect(),
        };
        (id.parse().expect("helper_protos.tsv begins with numbers"), proto)
    };
    rows.map(row).collect()
});

fn effect(name: &str) -> Effect {
    match name {
        "acquires" => Effect::Acquires,
        "releases" => Effect::Releases,
        "casts" => Effect::Casts,
        "moves_packet" => Effect::MovesPacket,
        "moves_packet~" => Effect::PerhapsMovesPacket,
        "packet" => Effect::Packet,
        "sleeps" => Effect::Sleeps,
        _ => panic!("helper_protos.tsv: no effect is called {name}"),
    }
}

fn arg(text: &'static str) -> Arg {
    let (text, null) = match text.as_bytes().last() {
        Some(b'?') => (&text[..text.len() - 1], Agreed::All),
        Some(b'~') => (&text[..text.len() - 1], Agreed::Some),
        _ => (text, Agreed::No),
    };
    let (name, detail) = text.split_once(':').unwrap_or((text, ""));
    let size = || detail.parse().ok();
    let dynptr = |made| ArgKind::Dynptr { made, ringbuf: detail == "ringbuf" };
    let kind = match name {
        "none" => ArgKind::Ignored,
        "ctx" => ArgKind::Context,
        "map" => ArgKind::Map,
        "key" => ArgKind::Key,
        "value" => ArgKind::Value(Access::Read),
        "value!" => ArgKind::Value(Access::Fill),
        "mem" => ArgKind::Mem(Access::Read, size()),
        "mem!" => ArgKind::Mem(Access::Fill, size()),
        "mem=" => ArgKind::Mem(Access::Change, size()),
        "size" => ArgKind::Size,
        "size0" => return Arg { kind: ArgKind::Size, null: Agreed::All },
        "const_size" => ArgKind::ConstSize,
        "any" => ArgKind::Any,
        "spin_lock" => ArgKind::SpinLock,
        "timer" => ArgKind::Timer,
        "kptr" => ArgKind::Kptr,
        "str" => ArgKind::Text,
        "sock_common" => ArgKind::SockCommon,
        "any_sock" => ArgKind::AnySock,
        "socket" => ArgKind::Socket,
        "btf" => ArgKind::Btf(detail),
        "percpu" => ArgKind::PerCpu,
        "ringbuf_mem" => ArgKind::RingbufMem,
        "func" => ArgKind::Function,
        "stack" => ArgKind::Stack,
        "dynptr" => dynptr(false),
        "dynptr!" => dynptr(true),
        _ => panic!("helper_protos.tsv: no argument is called {name}"),
    };
    Arg { kind, null }
}

fn returns(text: &'static str) -> Returns {
    let (name, detail) = text.split_once(':').unwrap_or((text, ""));
    let (name, or_null) = name.strip_suffix('?').map_or((name, false), |name| (name, true));
    let to = match (name, detail) {
        ("int", "") => return Returns::Number,
        ("int", "size") => return Returns::NumberUpToSize,
        ("int", "known") => return Returns::KnownNumber,
        ("void", "") => return Returns::Nothing,
        ("value", "") => Returned::Value,
        ("ringbuf_mem", "") => Returned::RingbufMem,
        ("dynptr_mem", "") => Returned::DynptrMem,
        ("socket", "") => Returned::Socket,
        ("sock_common", "") => Returned::SockCommon,
        ("tcp_sock", "") => Returned::TcpSock,
        ("percpu", "") => Returned::PerCpu,
        ("btf", name) => Returned::Btf(name),
        _ => panic!("helper_protos.tsv: nothing is returned that is called {text}"),
    };
    Returns::Pointer { to, or_null }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_helper_has_a_prototype() {
        for helper in HelperId::all() {
            let proto = helper.proto().unwrap_or_else(|| panic!("{helper}"));
            assert!(proto.args.len() <= 5, "{helper}");
            // A size tells the bytes of the memory before it.
            for (at, args) in proto.args.iter().enumerate() {
                let sized = |arg: &Arg| matches!(arg.kind, ArgKind::Mem(_, None));
                let is_size =
                    |at: usize| proto.args.get(at).is_some_and(|args| args[0].kind == ArgKind::Size);
                assert_eq!(args.iter().any(sized), is_size(at + 1), "{helper}, argument {}", at + 1);
            }
        }
        assert_eq!(TABLE.len(), HelperId::all().count());
    }

    #[test]
    fn names_and_contexts_are_those_of_the_other_table() {
        let rows = include_str!("../data/helper_protos.tsv").lines().filter(|line| !line.starts_with('#'));
        for line in rows {
            let mut columns = line.split('\t');
            let helper = HelperId(columns.next().unwrap().parse().unwrap());
            assert_eq!(columns.next(), helper.name());
            if helper.required_context().is_some() {
                let first = &helper.proto().unwrap().args[0];
                assert_eq!(first[0].kind, ArgKind::Context, "{helper}");
            }
        }
    }
}

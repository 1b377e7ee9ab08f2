//! What programs attach to: functions, tracepoints and hooks in a kernel's types and among its symbols.

use super::{Offline, Setting};
use crate::facts::{Evidence, Fact, Support};
use btf_catalog::btf::Type;
use btf_catalog::kernel::{IdSet, Symbol};
use btf_catalog::{Btf, BtfKind, ProgType, TypeId};
use serde_json::json;

/// The arguments of a function as a program that traces it gets them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Arguments {
    /// How many words of 8 bytes they take.
    pub(crate) words: u32,
    /// How many arguments there are.
    pub(crate) count: u32,
    /// Whether one of them is a structure, passed by value.
    pub(crate) by_value: bool,
    /// Whether one of them has more than two words, or the function takes any number of them.
    pub(crate) untraceable: bool,
    /// Whether the function returns something.
    pub(crate) returns: bool,
    /// What the words are, and after them what is returned.
    kinds: [Option<Word>; WORDS_MAX],
}

/// What a word of a function's arguments is to `btf_ctx_access()` of kernel/bpf/btf.c.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Word {
    Number,
    /// Of a structure that is passed by value.
    Part,
    /// A pointer to a structure, which can be read through.
    Structure,
    /// `void *` and `char *`, a number to every kernel.
    Address,
    /// A pointer to integers, which some kernels do not let a program have.
    Integers,
    /// `const void *`, likewise.
    ConstVoid,
    /// A pointer to anything else (a pointer, an enumeration, an array, a function), likewise.
    Other,
    /// What no kernel lets a program have.
    Unreadable,
}

impl Word {
    pub(crate) fn is_pointer(self) -> bool {
        matches!(self, Word::Structure | Word::Address | Word::Integers | Word::ConstVoid | Word::Other)
    }

    /// Whether it is handed to a program as a number: there is nothing to read through.
    pub(crate) fn is_number(self) -> bool {
        matches!(self, Word::Number | Word::Address | Word::Integers)
    }
}

impl Arguments {
    /// What a word is, that of the returned value being behind the last; `None` where it is not known.
    pub(crate) fn word(&self, index: u32) -> Option<Word> {
        *self.kinds.get(index as usize)?
    }
}

/// What a kernel knows of the arguments of functions that it verifies by themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FunctionArguments {
    /// Numbers and the context.
    Context,
    /// Memory of a known size too, since v5.12.
    Memory,
    /// Tags too (`__arg_nonnull`), since v6.8.
    Tags,
}

/// Why the return value of a function may be changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Overridable {
    /// Errors may be injected into it.
    pub(crate) by_error: bool,
    /// It is in a set of such functions.
    pub(crate) by_set: bool,
}

/// The most arguments that a traced function may have: `MAX_BPF_FUNC_ARGS` of include/linux/bpf.h.
const ARGUMENTS_MAX: u32 = 12;

/// What link-time optimization by LLVM puts behind the names of functions that were local to a file, before a number.
const RENAMED: &str = ".llvm.";

/// Words of so many arguments of two words at most, and the returned value.
const WORDS_MAX: usize = 2 * ARGUMENTS_MAX as usize + 1;

impl Offline<'_> {
    /// Whether vmlinux's types have something of that name and kind.
    pub(crate) fn in_vmlinux(&self, name: &str, kind: BtfKind) -> bool {
        self.vmlinux.as_ref().is_some_and(|btf| btf.vmlinux().find_by_name_kind(name, kind).is_some())
    }

    pub(super) fn structure(&self, name: &str) -> Option<Type<'_>> {
        let btf = self.vmlinux.as_ref()?.vmlinux();
        Some(btf.ty(btf.find_by_name_kind(name, BtfKind::Struct)?))
    }

    /// Whether a function of vmlinux's types has a parameter of that name; `None` where there is no such function.
    pub(super) fn has_parameter(&self, function: &str, parameter: &str) -> Option<bool> {
        let btf = self.vmlinux.as_ref()?.vmlinux();
        let function = btf.ty(btf.find_by_name_kind(function, BtfKind::Func)?);
        Some(btf.ty(function.type_id()).params().any(|known| known.name == parameter))
    }

    /// Size in bytes of a structure of vmlinux's types.
    pub(crate) fn size_of(&self, name: &str) -> Option<u32> {
        self.structure(name).map(Type::size)
    }

    /// How many functions may call each other in a chain: `MAX_CALL_FRAMES` of include/linux/bpf_verifier.h, which the
    /// verifier's state has a place for each of.
    pub(crate) fn call_frames(&self) -> Option<u32> {
        let btf = self.vmlinux.as_ref()?.vmlinux();
        let frame = self.structure("bpf_verifier_state")?.members().find(|member| member.name == "frame")?;
        Some(btf.resolve(frame.ty).array()?.nelems)
    }

    /// Whether the image has a symbol of that name; `None` where its symbols are not known.
    pub(crate) fn has_symbol(&self, name: &str) -> Option<bool> {
        let image = self.kernel.image.as_ref().filter(|image| !image.symbols.is_empty())?;
        let found = image.symbols.get(name).is_some();
        // Some kernels look up by its name what link-time optimization gave a suffix (cleanup_symbol_name()).
        let renamed = || image.symbols.with_prefix(&format!("{name}{RENAMED}")).next().is_some();
        (found || name.is_empty() || !renamed()).then_some(found)
    }

    /// Whether the image has several symbols of that name, at different addresses.
    pub(crate) fn has_namesakes(&self, name: &str) -> bool {
        let Some(image) = self.kernel.image.as_ref() else { return false };
        let mut addresses = image.symbols.named(name).map(|symbol| symbol.address);
        addresses.next().is_some_and(|first| addresses.any(|address| address != first))
    }

    /// Whether trampolines pass structures by value (`arg_flags` of struct btf_func_model, since v6.1).
    pub(crate) fn passes_structures(&self) -> bool {
        self.structure("btf_func_model")
            .is_none_or(|ty| ty.members().any(|member| member.name == "arg_flags"))
    }

    /// Whether a function is in the first set of that name that the image has; `None` where there is none.
    pub(crate) fn in_set(&self, set: &str, function: &str) -> Option<bool> {
        let id = self.vmlinux.as_ref()?.vmlinux().find_by_name_kind(function, BtfKind::Func)?;
        Some(self.inside()?.id_set(set)?.ids.iter().any(|(known, _)| *known == id))
    }

    /// Whether a function stands in a set whose members' return value may be changed (`register_btf_fmodret_id_set()`,
    /// v5.19), or in the list of those into which errors may be injected.
    pub(crate) fn is_overridable(&self, function: &str) -> Option<Overridable> {
        let id = self.vmlinux.as_ref()?.vmlinux().find_by_name_kind(function, BtfKind::Func)?;
        let inside = self.inside()?;
        let none = Vec::new();
        let errors = match self.option("CONFIG_FUNCTION_ERROR_INJECTION") {
            Setting::Off => &none,
            _ => inside.error_injection.as_ref()?,
        };
        let mut addresses = self.kernel.image.as_ref()?.symbols.named(function);
        let by_set = |set: &IdSet| ["fmodret", "modify_return"].iter().any(|of| set.name.contains(of));
        let sets = inside.id_sets.as_ref()?.iter().filter(|set| by_set(set));
        // Entries of system calls count since v7.1, also where errors cannot be injected (has_arch_syscall_prefix()).
        let entry = ["__x64_", "__arm64_", "__ia32_", "__s390x_", "__riscv_"]
            .iter()
            .any(|of| function.starts_with(of));
        let all_entries = match self.shown("type:bpf_subprog_call_depth_info").support {
            _ if !entry || !errors.is_empty() => false,
            Support::Yes => true,
            Support::No => false,
            _ => return None,
        };
        Some(Overridable {
            by_error: all_entries || addresses.any(|symbol| errors.binary_search(&symbol.address).is_ok()),
            by_set: sets.flat_map(|set| &set.ids).any(|(known, _)| *known == id),
        })
    }

    /// The fact `tracepoint.<group>.<name>`.
    pub(super) fn event(&self, group: &str, name: &str) -> Option<Fact> {
        let events = self.inside()?.trace_events.as_ref()?;
        let fact = |support| Fact::new(support, Evidence::Derived, "the image's trace events");
        Some(match events.iter().find(|event| event.group == group && event.name == name) {
            Some(event) => fact(Support::Yes).value(json!({ "byte_sz": event.record_sz })),
            None if self.kernel.modules.is_empty() && self.all_modules() => fact(Support::No),
            None => fact(Support::Unknown).reason("not in vmlinux; a module may have it"),
        })
    }

    /// The arguments of a function of vmlinux's types.
    pub(crate) fn function(&self, name: &str) -> Option<Arguments> {
        let btf = self.vmlinux.as_ref()?.vmlinux();
        let function = btf.ty(btf.find_by_name_kind(name, BtfKind::Func)?);
        Some(arguments(btf, function.type_id(), 0))
    }

    /// The arguments of a function that a structure of vmlinux's types has a member for.
    pub(crate) fn callback(&self, structure: &str, member: &str) -> Option<Arguments> {
        let btf = self.vmlinux.as_ref()?.vmlinux();
        let member = self.structure(structure)?.members().find(|found| found.name == member)?;
        let pointer = btf.resolve(member.ty);
        let proto = (pointer.kind() == BtfKind::Ptr).then(|| btf.resolve(pointer.type_id()))?;
        (proto.kind() == BtfKind::FuncProto).then(|| arguments(btf, proto.id(), 0))
    }

    /// Name of the structure that programs of a type are given, empty where it is none: `bpf_ctx_convert` of
    /// kernel/bpf/btf.c.
    pub(crate) fn context_name(&self, prog_type: ProgType) -> Option<String> {
        let btf = self.vmlinux.as_ref()?.vmlinux();
        let member = format!("BPF_PROG_TYPE_{}_prog", prog_type.name()?.to_uppercase());
        let found = self.structure("bpf_ctx_convert")?.members().find(|found| found.name == member)?;
        let ty = btf.resolve(found.ty);
        Some(if ty.is_composite() { ty.name().to_owned() } else { String::new() })
    }

    /// Told by the parameters of the function that reads them (kernel/bpf/btf.c): it filled one register's state, then all of
    /// them, and since then a description of its own.
    pub(crate) fn function_arguments(&self) -> Option<FunctionArguments> {
        let btf = self.vmlinux.as_ref()?.vmlinux();
        let function = btf.ty(btf.find_by_name_kind("btf_prepare_func_args", BtfKind::Func)?);
        let params: Vec<&str> = btf.ty(function.type_id()).params().map(|param| param.name).collect();
        match params[..] {
            [_, _, "reg"] => Some(FunctionArguments::Context),
            [_, _, "regs"] => Some(FunctionArguments::Memory),
            [_, _] => Some(FunctionArguments::Tags),
            _ => None,
        }
    }

    /// The arguments of a tracepoint of vmlinux's types, without its own data, which programs do not see.
    pub(crate) fn tracepoint(&self, name: &str) -> Option<Arguments> {
        let btf = self.vmlinux.as_ref()?.vmlinux();
        let typedef = btf.find_by_name_kind(&format!("btf_trace_{name}"), BtfKind::Typedef)?;
        Some(arguments(btf, btf.resolve(typedef).type_id(), 1))
    }

    /// The fact `symbol.<function>`.
    pub(super) fn symbol_fact(&self, function: &str) -> Option<Fact> {
        let in_btf = self.vmlinux.is_some().then(|| self.in_vmlinux(function, BtfKind::Func));
        let image = self.kernel.image.as_ref().filter(|image| !image.symbols.is_empty());
        let Some(image) = image else {
            // BTF has functions that have no address of their own, and lacks some that do.
            let fact = Fact::new(Support::Unknown, Evidence::Derived, "the kernel's BTF");
            return in_btf.map(|in_btf| {
                fact.value(json!({ "in_btf": in_btf })).reason("the image's symbols are not known")
            });
        };
        let functions = || image.symbols.with_prefix(function).filter(Symbol::is_text);
        let found = functions().filter(|symbol| symbol.name == function).count();
        let copy = |name: &str| name[function.len()..].starts_with('.');
        let copies: Vec<&str> = functions().map(|symbol| symbol.name).filter(|name| copy(name)).collect();
        let renamed = copies.iter().any(|copy| copy[function.len()..].starts_with(RENAMED));
        let support = match (found, self.all_modules()) {
            (1.., _) => Support::Yes,
            (0, true) if renamed => Support::Unknown,
            (0, true) if self.module_function(function).is_none() => Support::No,
            _ => Support::Unknown,
        };
        let fact = Fact::new(support, Evidence::Derived, "the image's symbols").value(json!({
            "in_btf": in_btf,
            "in_kallsyms": found,
            "copies": copies,
            "in_filter_functions": self.inside().and_then(|inside| inside.is_traceable(image, function)),
            "blacklisted": image.symbols.get(function).and_then(|symbol| {
                self.inside()?.is_blacklisted(symbol.address)
            }),
        }));
        Some(match (support, self.module_function(function)) {
            (Support::Unknown, Some(module)) => fact.reason(format!("in module {module}, if it is loaded")),
            (Support::Unknown, None) if renamed => {
                fact.reason("link-time optimization gave it another name, which some kernels look past")
            }
            (Support::Unknown, None) => fact.reason("not in vmlinux; the kernel's modules are not all known"),
            _ => fact,
        })
    }

    /// The module that defines a function.
    fn module_function(&self, function: &str) -> Option<&str> {
        let mut modules = self.kernel.modules.iter();
        let defines =
            |functions: &[String]| functions.binary_search_by(|name| name.as_str().cmp(function)).is_ok();
        modules.find(|(_, module)| defines(&module.functions)).map(|(name, _)| name.as_str())
    }
}

/// `btf_distill_func_proto()` of kernel/bpf/btf.c: what a trampoline can pass on.
fn arguments(btf: &Btf, proto: TypeId, skip: usize) -> Arguments {
    let mut proto = btf.resolve(proto);
    if proto.kind() == BtfKind::Ptr {
        proto = btf.resolve(proto.type_id());
    }
    let mut arguments = Arguments {
        words: 0,
        count: 0,
        by_value: false,
        untraceable: false,
        returns: proto.type_id() != TypeId::VOID,
        kinds: [None; WORDS_MAX],
    };
    for param in proto.params().skip(skip) {
        let ty = btf.resolve(param.ty);
        // A parameter without a type stands for any number of them.
        let size = if param.ty == TypeId::VOID { None } else { pass_size(btf, ty) };
        arguments.by_value |= ty.is_composite();
        arguments.untraceable |= size.is_none_or(|size| size > 16);
        let words = size.unwrap_or(8).div_ceil(8).max(1);
        let taken = arguments.kinds.iter_mut().skip(arguments.words as usize).take(words as usize);
        taken.for_each(|kind| *kind = Some(word(btf, ty)));
        arguments.words += words;
        arguments.count += 1;
    }
    if let Some(kind) = arguments.kinds.get_mut(arguments.words as usize).filter(|_| arguments.returns) {
        *kind = Some(word(btf, btf.resolve(proto.type_id())));
    }
    arguments.untraceable |= arguments.count > ARGUMENTS_MAX;
    arguments
}

fn word(btf: &Btf, ty: Type<'_>) -> Word {
    match ty.kind() {
        BtfKind::Int if matches!(ty.size(), 1 | 2 | 4 | 8) => Word::Number,
        BtfKind::Struct | BtfKind::Union => Word::Part,
        BtfKind::Ptr if ty.type_id() == TypeId::VOID => Word::Address,
        BtfKind::Ptr => {
            let beneath = btf.ty(ty.type_id());
            let beneath = if beneath.kind() == BtfKind::Const { btf.ty(beneath.type_id()) } else { beneath };
            let to = btf.resolve(ty.type_id());
            match to.kind() {
                BtfKind::Struct | BtfKind::Union => Word::Structure,
                // is_string_ptr(): not behind a name of its own.
                BtfKind::Int if beneath.kind() == BtfKind::Int && to.size() == 1 => Word::Address,
                BtfKind::Int => Word::Integers,
                BtfKind::Void => Word::ConstVoid,
                _ => Word::Other,
            }
        }
        _ if ty.is_any_enum() => Word::Number,
        _ => Word::Unreadable,
    }
}

fn pass_size(btf: &Btf, ty: Type<'_>) -> Option<u32> {
    match ty.kind() {
        BtfKind::Ptr => Some(8),
        BtfKind::Int | BtfKind::Enum | BtfKind::Enum64 | BtfKind::Struct | BtfKind::Union => Some(ty.size()),
        _ => btf.size_of(ty.id()),
    }
}

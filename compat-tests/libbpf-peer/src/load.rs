//! libbpf, asked to load one entry at a time: what the kernel under it says of that entry.

use crate::peer::{Object, errno};
use libbpf_sys as sys;
use std::cell::RefCell;
use std::ffi::CStr;
use std::os::raw::{c_char, c_int};

/// An entry of an object, as libbpf sees it once the object is open.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Section, with its `?` where it has one.
    pub section: String,
    /// Name of the function.
    pub program: String,
    /// Program type in libbpf's words (`kprobe`); `unspec` where the section tells none.
    pub prog_type: String,
    /// Attach type in libbpf's words; `cgroup_inet_ingress`, the type 0, where there is none.
    pub attach_type: String,
    /// Whether it is loaded unless a loader says otherwise.
    pub autoload: bool,
    /// Instructions before linking.
    pub insns: usize,
    /// Whether a map of the object has no size, or no inner map, before its loader has set it.
    pub unset: Unset,
}

/// What an object leaves to its loader.
#[derive(Clone, Copy, Default, Debug)]
pub struct Unset {
    /// A map that needs a size has none.
    pub map_size: bool,
    /// A map of maps has no inner map.
    pub inner_map: bool,
}

/// The outcome of a load.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// 0, or the errno that libbpf gave.
    pub errno: i32,
    /// What libbpf said meanwhile, the verifier's log included: warnings only, at most the last 64 KiB.
    pub log: String,
}

/// Most bytes of libbpf's messages that are kept of one load.
const LOG_SZ: usize = 64 << 10;

/// Map types that the kernel makes with a size of 0: `BPF_MAP_TYPE_*_STORAGE` and struct_ops ask for it, perf event
/// arrays and ring buffers are given one by libbpf or by nobody.
const SIZELESS: [u32; 6] = [
    sys::BPF_MAP_TYPE_SK_STORAGE,
    sys::BPF_MAP_TYPE_INODE_STORAGE,
    sys::BPF_MAP_TYPE_TASK_STORAGE,
    sys::BPF_MAP_TYPE_CGRP_STORAGE,
    sys::BPF_MAP_TYPE_STRUCT_OPS,
    sys::BPF_MAP_TYPE_PERF_EVENT_ARRAY,
];

thread_local! {
    static LOG: RefCell<String> = const { RefCell::new(String::new()) };
}

unsafe extern "C" {
    fn vsnprintf(to: *mut c_char, sz: usize, format: *const c_char, values: *mut sys::__va_list_tag)
    -> c_int;
}

unsafe extern "C" fn keep(
    level: sys::libbpf_print_level,
    format: *const c_char,
    values: *mut sys::__va_list_tag,
) -> c_int {
    if level != sys::LIBBPF_WARN {
        return 0;
    }
    // The verifier may fill all of the 16 MiB that libbpf gives it.
    let mut buffer = vec![0_u8; 32 << 20];
    // SAFETY: the buffer is as long as it says; format and values are libbpf's and belong together.
    unsafe { vsnprintf(buffer.as_mut_ptr().cast(), buffer.len(), format, values) };
    let message = CStr::from_bytes_until_nul(&buffer).unwrap_or_default().to_string_lossy();
    LOG.with(|log| {
        let mut log = log.borrow_mut();
        log.push_str(&message);
        if log.len() > LOG_SZ {
            let mut cut = log.len() - LOG_SZ;
            while !log.is_char_boundary(cut) {
                cut += 1;
            }
            log.drain(..cut);
        }
    });
    0
}

/// The entries of an object file, in libbpf's order.
///
/// # Errors
/// What libbpf made of opening it.
pub fn entries(object: &[u8]) -> Result<Vec<Entry>, Attempt> {
    let object = open(object)?;
    let unset = unset(&object);
    let entry = |program: *mut sys::bpf_program| {
        // SAFETY: a program of a live object; the names of types are static.
        unsafe {
            Entry {
                section: text(sys::bpf_program__section_name(program)),
                program: text(sys::bpf_program__name(program)),
                prog_type: text(sys::libbpf_bpf_prog_type_str(sys::bpf_program__type(program))),
                attach_type: text(sys::libbpf_bpf_attach_type_str(sys::bpf_program__expected_attach_type(
                    program,
                ))),
                autoload: sys::bpf_program__autoload(program),
                insns: sys::bpf_program__insn_cnt(program) as usize,
                unset,
            }
        }
    };
    Ok(object.programs().into_iter().map(entry).collect())
}

/// Opens the object, enables the entry at `wanted` alone (every entry where it is `None`), and loads it. Nothing is
/// attached, and all is closed again.
pub fn load(object: &[u8], wanted: Option<usize>) -> Attempt {
    let object = match open(object) {
        Ok(object) => object,
        Err(attempt) => return attempt,
    };
    for (index, program) in object.programs().into_iter().enumerate() {
        // SAFETY: a program of this object.
        unsafe { sys::bpf_program__set_autoload(program, wanted.is_none_or(|wanted| wanted == index)) };
    }
    // SAFETY: a live object.
    let result = unsafe { sys::bpf_object__load(object.0) };
    attempt(-result.min(0))
}

fn open(object: &[u8]) -> Result<Object, Attempt> {
    LOG.with(|log| log.borrow_mut().clear());
    // SAFETY: a plain callback; options are plain data for which zero is valid; libbpf reads `object` while it opens it
    // and copies what it keeps.
    let opened = unsafe {
        sys::libbpf_set_print(Some(keep));
        let mut options: sys::bpf_object_open_opts = std::mem::zeroed();
        options.sz = size_of::<sys::bpf_object_open_opts>() as _;
        options.object_name = c"object".as_ptr();
        sys::bpf_object__open_mem(object.as_ptr().cast(), object.len() as _, &raw const options)
    };
    if opened.is_null() {
        // SAFETY: errno is the thread's own.
        return Err(attempt(unsafe { *errno() }));
    }
    Ok(Object(opened))
}

fn attempt(errno: i32) -> Attempt {
    Attempt { errno, log: LOG.with(|log| std::mem::take(&mut *log.borrow_mut())) }
}

fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return "unknown".to_owned();
    }
    // SAFETY: libbpf's names end in NUL and live as long as their object, or for ever.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// What the maps of the object lack.
fn unset(object: &Object) -> Unset {
    let mut unset = Unset::default();
    for map in object.maps() {
        // SAFETY: a map of this live object.
        let (kind, sz, inner) = unsafe {
            (sys::bpf_map__type(map), sys::bpf_map__max_entries(map), sys::bpf_map__inner_map(map))
        };
        unset.map_size |= sz == 0 && !SIZELESS.contains(&kind);
        let of_maps = [sys::BPF_MAP_TYPE_ARRAY_OF_MAPS, sys::BPF_MAP_TYPE_HASH_OF_MAPS].contains(&kind);
        unset.inner_map |= of_maps && inner.is_null();
    }
    unset
}

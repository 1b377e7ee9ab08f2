//! libbpf, asked for the instructions that it would load: the reference that our relocation is held against.
//!
//! For each program of an object, libbpf opens and prepares the object with this one program enabled; a handler that is
//! registered for the program's section takes the instructions after relocation and refuses the load itself.
#![expect(unsafe_code, reason = "libbpf is a C library")]

mod btf;

pub use btf::Btf;

use libbpf_sys as sys;
use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::path::Path;

/// The instructions of a program as libbpf relocated it, or its errno.
#[derive(Debug)]
pub struct Program {
    /// Name of its function.
    pub name: String,
    /// Raw instructions, 8 bytes each, in this machine's byte order; the errno where libbpf gave up before.
    pub insns: Result<Vec<[u8; 8]>, i32>,
}

thread_local! {
    static TAKEN: RefCell<Option<Vec<[u8; 8]>>> = const { RefCell::new(None) };
}

extern "C" fn take(
    program: *mut sys::bpf_program,
    _options: *mut sys::bpf_prog_load_opts,
    _cookie: std::os::raw::c_long,
) -> i32 {
    // SAFETY: libbpf hands a live program; its instructions are `count` structures of 8 bytes.
    let insns = unsafe {
        let count = sys::bpf_program__insn_cnt(program);
        std::slice::from_raw_parts(sys::bpf_program__insns(program).cast::<[u8; 8]>(), count as usize)
    };
    TAKEN.with(|taken| *taken.borrow_mut() = Some(insns.to_vec()));
    // Any refusal will do: nothing is to be loaded.
    -125
}

unsafe extern "C" fn quiet(_: sys::libbpf_print_level, _: *const i8, _: *mut sys::__va_list_tag) -> i32 {
    0
}

/// A `bpf_object` that is closed with its owner.
struct Object(*mut sys::bpf_object);

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: opened by us, closed once.
        unsafe { sys::bpf_object__close(self.0) }
    }
}

impl Object {
    fn open(path: &CStr, btf: &CStr) -> Result<Object, i32> {
        // SAFETY: the structure is plain data, for which zero is valid; both strings outlive the call, and libbpf keeps
        // a copy of the path.
        unsafe {
            let mut options: sys::bpf_object_open_opts = std::mem::zeroed();
            options.sz = size_of::<sys::bpf_object_open_opts>() as _;
            options.btf_custom_path = btf.as_ptr();
            let object = sys::bpf_object__open_file(path.as_ptr(), &raw const options);
            if object.is_null() { Err(*libc_errno()) } else { Ok(Object(object)) }
        }
    }

    fn programs(&self) -> Vec<*mut sys::bpf_program> {
        let mut programs = Vec::new();
        let mut at = std::ptr::null_mut();
        loop {
            // SAFETY: `at` is null or a program of this object.
            at = unsafe { sys::bpf_object__next_program(self.0, at) };
            if at.is_null() {
                return programs;
            }
            programs.push(at);
        }
    }
}

unsafe extern "C" {
    #[link_name = "__errno_location"]
    fn libc_errno() -> *mut i32;
}

fn text(pointer: *const std::os::raw::c_char) -> String {
    // SAFETY: libbpf's names are NUL-terminated and live as long as their object.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// Every program of the object at `path`, relocated by libbpf against the BTF file at `btf`.
///
/// # Errors
/// The errno of opening the object.
pub fn relocated(path: &Path, btf: &Path) -> Result<Vec<Program>, i32> {
    let c = |path: &Path| CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| 22);
    let (path, btf) = (c(path)?, c(btf)?);
    // SAFETY: a plain callback.
    unsafe { sys::libbpf_set_print(Some(quiet)) };
    let count = Object::open(&path, &btf)?.programs().len();
    let mut found = Vec::new();
    for wanted in 0..count {
        let object = Object::open(&path, &btf)?;
        let programs = object.programs();
        for (index, program) in programs.iter().enumerate() {
            // SAFETY: a program of this object.
            unsafe { sys::bpf_program__set_autoload(*program, index == wanted) };
        }
        let program = programs[wanted];
        // SAFETY: as above; the section's name lives as long as the object.
        let (name, section) =
            unsafe { (text(sys::bpf_program__name(program)), text(sys::bpf_program__section_name(program))) };
        found.push(Program { name, insns: one(&path, &btf, wanted, section.trim_start_matches('?')) });
    }
    Ok(found)
}

/// One program: the handler must be there when the object is opened, since that is when sections are looked up.
fn one(path: &CStr, btf: &CStr, wanted: usize, section: &str) -> Result<Vec<[u8; 8]>, i32> {
    let template = Object::open(path, btf)?;
    // SAFETY: programs of a live object.
    let (prog_type, attach) = unsafe {
        let program = template.programs()[wanted];
        (sys::bpf_program__type(program), sys::bpf_program__expected_attach_type(program))
    };
    let section = CString::new(section).map_err(|_| 22)?;
    // SAFETY: plain data for which zero is valid; the section's name is copied by libbpf.
    let handler = unsafe {
        let mut options: sys::libbpf_prog_handler_opts = std::mem::zeroed();
        options.sz = size_of::<sys::libbpf_prog_handler_opts>() as _;
        options.prog_prepare_load_fn = Some(take);
        sys::libbpf_register_prog_handler(section.as_ptr(), prog_type, attach, &raw const options)
    };
    if handler < 0 {
        return Err(-handler);
    }
    let result = Object::open(path, btf).and_then(|object| {
        for (index, program) in object.programs().iter().enumerate() {
            // SAFETY: a program of this object.
            unsafe { sys::bpf_program__set_autoload(*program, index == wanted) };
        }
        TAKEN.with(|taken| *taken.borrow_mut() = None);
        // SAFETY: a live object; maps that it creates are closed with it.
        let refused = unsafe { sys::bpf_object__load(object.0) };
        TAKEN.with(|taken| taken.borrow_mut().take()).ok_or(-refused)
    });
    // SAFETY: registered above.
    unsafe { sys::libbpf_unregister_prog_handler(handler) };
    result
}

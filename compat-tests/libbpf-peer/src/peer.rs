//! libbpf, asked for the instructions that it would load, with no map created and no program loaded.
//!
//! An object is *prepared*, which is all that libbpf does before it loads programs. Every map is given the descriptor of
//! one small array first, so that none is created; the maps of struct_ops are left out, and all programs are made of one
//! type that needs nothing of the running kernel: relocation does not look at the type.

use libbpf_sys as sys;
use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::os::raw::{c_char, c_int};
use std::path::Path;

/// What to relocate against, where it is not the running kernel.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// BTF for CO-RE relocations alone.
    pub btf: Option<CString>,
    /// A configuration, as in `/boot/config-*`, looked at before that of the running kernel.
    pub kconfig: Option<CString>,
}

impl Setup {
    /// The BTF file at `path`.
    pub fn with_btf(path: &Path) -> Setup {
        Setup { btf: CString::new(path.as_os_str().as_encoded_bytes()).ok(), ..Setup::default() }
    }
}

/// An object that libbpf opened: its programs, and the value that the map of `.kconfig` got.
#[derive(Debug, Default)]
pub struct Prepared {
    /// Its programs, in libbpf's order.
    pub programs: Vec<Program>,
    /// The value of `.kconfig`, where all programs could be prepared together.
    pub kconfig: Option<Vec<u8>>,
}

/// A program as libbpf relocated it.
#[derive(Debug)]
pub struct Program {
    /// Name of its function.
    pub name: String,
    /// Raw instructions, 8 bytes each, in this machine's byte order.
    pub insns: Result<Vec<[u8; 8]>, Refusal>,
}

/// That libbpf gave up, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Its errno, positive.
    pub errno: i32,
    /// Its warnings.
    pub warnings: String,
}

thread_local! {
    static WARNINGS: RefCell<String> = const { RefCell::new(String::new()) };
}

unsafe extern "C" {
    #[link_name = "__errno_location"]
    pub(crate) fn errno() -> *mut c_int;
    fn vsnprintf(out: *mut c_char, len: usize, format: *const c_char, args: *mut sys::__va_list_tag)
    -> c_int;
    fn close(fd: c_int) -> c_int;
}

unsafe extern "C" fn keep_warnings(
    level: sys::libbpf_print_level,
    format: *const c_char,
    args: *mut sys::__va_list_tag,
) -> c_int {
    if level == sys::LIBBPF_WARN {
        let mut line: [c_char; 512] = [0; 512];
        // SAFETY: libbpf hands a format and its arguments; the buffer is as long as is said and ends in NUL.
        let text = unsafe {
            vsnprintf(line.as_mut_ptr(), line.len(), format, args);
            CStr::from_ptr(line.as_ptr())
        };
        WARNINGS.with(|warnings| warnings.borrow_mut().push_str(&text.to_string_lossy()));
    }
    0
}

fn refusal(errno: i32) -> Refusal {
    Refusal {
        errno: errno.abs(),
        warnings: WARNINGS.with(|warnings| std::mem::take(&mut *warnings.borrow_mut())),
    }
}

/// A descriptor that is closed with its owner.
struct Fd(c_int);

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: created by us, closed once.
        unsafe { close(self.0) };
    }
}

/// A `bpf_object` that is closed with its owner.
pub(crate) struct Object(pub(crate) *mut sys::bpf_object);

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: opened by us, closed once.
        unsafe { sys::bpf_object__close(self.0) }
    }
}

impl Object {
    fn open(path: &CStr, setup: &Setup) -> Result<Object, Refusal> {
        let pointer = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
        // SAFETY: the structure is plain data, for which zero is valid; the strings outlive the call, and libbpf keeps
        // copies.
        unsafe {
            let mut options: sys::bpf_object_open_opts = std::mem::zeroed();
            options.sz = size_of::<sys::bpf_object_open_opts>() as _;
            options.btf_custom_path = pointer(&setup.btf);
            options.kconfig = pointer(&setup.kconfig);
            let object = sys::bpf_object__open_file(path.as_ptr(), &raw const options);
            if object.is_null() { Err(refusal(*errno())) } else { Ok(Object(object)) }
        }
    }

    pub(crate) fn programs(&self) -> Vec<*mut sys::bpf_program> {
        let mut at = std::ptr::null_mut();
        std::iter::from_fn(|| {
            // SAFETY: `at` is null or a program of this object.
            at = unsafe { sys::bpf_object__next_program(self.0, at) };
            (!at.is_null()).then_some(at)
        })
        .collect()
    }

    pub(crate) fn maps(&self) -> Vec<*mut sys::bpf_map> {
        let mut at = std::ptr::null_mut();
        std::iter::from_fn(|| {
            // SAFETY: `at` is null or a map of this object.
            at = unsafe { sys::bpf_object__next_map(self.0, at) };
            (!at.is_null()).then_some(at)
        })
        .collect()
    }

    /// The value of `.kconfig`, as libbpf has it in memory.
    fn kconfig(&self) -> Option<(*const u8, usize)> {
        self.maps().into_iter().find_map(|map| {
            // SAFETY: a map of this object; its name lives as long.
            unsafe {
                let name = text(sys::bpf_map__name(map));
                let is_kconfig = sys::bpf_map__is_internal(map) && name.ends_with(".kconfig");
                let mut len = 0;
                let value = sys::bpf_map__initial_value(map, &raw mut len);
                (is_kconfig && !value.is_null()).then_some((value.cast::<u8>().cast_const(), len as usize))
            }
        })
    }

    /// Prepares it with the programs that `wanted` picks by index.
    fn prepare(&self, placeholder: &Fd, wanted: impl Fn(usize) -> bool) -> Result<(), Refusal> {
        for (index, program) in self.programs().into_iter().enumerate() {
            // SAFETY: a program of this object.
            unsafe {
                sys::bpf_program__set_type(program, sys::BPF_PROG_TYPE_SYSCALL);
                sys::bpf_program__set_autoload(program, wanted(index));
            }
        }
        for map in self.maps() {
            // SAFETY: a map of this object; the descriptor is that of a map.
            unsafe {
                sys::bpf_map__set_pin_path(map, std::ptr::null());
                if sys::bpf_map__type(map) == sys::BPF_MAP_TYPE_STRUCT_OPS {
                    sys::bpf_map__set_autocreate(map, false);
                } else {
                    sys::bpf_map__set_autocreate(map, true);
                    let failed = sys::bpf_map__reuse_fd(map, placeholder.0);
                    if failed != 0 {
                        return Err(refusal(failed));
                    }
                }
            }
        }
        // SAFETY: a live object; what it creates is closed with it.
        match unsafe { sys::bpf_object__prepare(self.0) } {
            0 => Ok(()),
            failed => Err(refusal(failed)),
        }
    }
}

fn text(pointer: *const c_char) -> String {
    // SAFETY: libbpf's names are NUL-terminated and live as long as their object.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// A program's instructions after relocation.
fn insns(program: *mut sys::bpf_program) -> Vec<[u8; 8]> {
    // SAFETY: a program of a live object; its instructions are `count` structures of 8 bytes.
    unsafe {
        let count = sys::bpf_program__insn_cnt(program) as usize;
        std::slice::from_raw_parts(sys::bpf_program__insns(program).cast::<[u8; 8]>(), count).to_vec()
    }
}

/// Every program of the object at `path` as libbpf relocates it: all together, and where that fails each by itself.
pub fn prepare(path: &Path, setup: &Setup) -> Result<Prepared, Refusal> {
    let path = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| refusal(22))?;
    // SAFETY: a plain callback.
    unsafe { sys::libbpf_set_print(Some(keep_warnings)) };
    WARNINGS.with(|warnings| warnings.borrow_mut().clear());
    // SAFETY: the name is a literal; no options.
    let fd = unsafe {
        sys::bpf_map_create(sys::BPF_MAP_TYPE_ARRAY, c"placeholder".as_ptr(), 4, 4, 1, std::ptr::null())
    };
    if fd < 0 {
        return Err(refusal(fd));
    }
    let placeholder = Fd(fd);
    let object = Object::open(&path, setup)?;
    let programs = object.programs();
    // SAFETY: a program of this object.
    let name = |program: *mut sys::bpf_program| text(unsafe { sys::bpf_program__name(program) });
    let kconfig = object.kconfig();
    if object.prepare(&placeholder, |_| true).is_ok() {
        let programs = programs
            .iter()
            .map(|program| Program { name: name(*program), insns: Ok(insns(*program)) })
            .collect();
        // SAFETY: the value stays where it is while the object lives.
        let kconfig = kconfig.map(|(value, len)| unsafe { std::slice::from_raw_parts(value, len) }.to_vec());
        return Ok(Prepared { programs, kconfig });
    }
    let names: Vec<String> = programs.iter().map(|program| name(*program)).collect();
    drop(object);
    let mut found = Vec::new();
    for (wanted, name) in names.into_iter().enumerate() {
        let object = Object::open(&path, setup)?;
        let result = object.prepare(&placeholder, |index| index == wanted);
        found.push(Program { name, insns: result.map(|()| insns(object.programs()[wanted])) });
    }
    Ok(Prepared { programs: found, kconfig: None })
}

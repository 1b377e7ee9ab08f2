//! libbpf's BTF reader, for measurements beside ours.

use libbpf_sys as sys;
use std::ffi::CString;

/// A `struct btf`, freed with its owner.
pub struct Btf(*mut sys::btf);

impl Drop for Btf {
    fn drop(&mut self) {
        // SAFETY: made by btf__new(), freed once.
        unsafe { sys::btf__free(self.0) }
    }
}

impl Btf {
    /// Reads raw BTF: `btf__new()`, which checks every type.
    ///
    /// # Errors
    /// libbpf's errno.
    pub fn parse(data: &[u8]) -> Result<Btf, i32> {
        let len = u32::try_from(data.len()).map_err(|_| 7)?;
        // SAFETY: libbpf copies the bytes.
        let btf = unsafe { sys::btf__new(data.as_ptr().cast(), len) };
        if btf.is_null() {
            // SAFETY: errno of this thread, which libbpf has just set.
            return Err(unsafe { *super::peer::errno() });
        }
        Ok(Btf(btf))
    }

    /// How many types there are, `void` included.
    pub fn type_count(&self) -> u32 {
        // SAFETY: a live BTF.
        unsafe { sys::btf__type_cnt(self.0) }
    }

    /// The first type of that name: `btf__find_by_name()`.
    pub fn find_by_name(&self, name: &str) -> Option<u32> {
        let name = CString::new(name).ok()?;
        // SAFETY: a live BTF and a string that outlives the call.
        let id = unsafe { sys::btf__find_by_name(self.0, name.as_ptr()) };
        u32::try_from(id).ok()
    }
}

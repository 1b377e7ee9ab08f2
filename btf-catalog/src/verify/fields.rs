//! Fields of map values that the kernel keeps: locks, timers, lists, pointers to its objects.

use crate::btf::{Btf, BtfKind, TypeId};
use crate::object::{BpfObject, F_RDONLY_PROG, F_WRONLY_PROG, MapDef};
use crate::require::STRUCTURES;
use crate::uapi::MapType;

/// Types that are looked at in one map's value.
const MAX_TYPES: usize = 256;

/// What kind of field the kernel keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kept {
    /// `struct bpf_spin_lock` that is a member of the value and of nothing in it, which all kernels find.
    Lock,
    /// `struct bpf_timer`, likewise.
    Timer,
    /// A pointer to something of the kernel's.
    Pointer,
    /// Something that not all kernels know or look for.
    Other,
}

/// A field that the kernel keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Field {
    /// Bytes from the value's beginning.
    pub(super) off: i64,
    pub(super) byte_sz: i64,
    pub(super) kept: Kept,
}

/// The fields of a map's value that the kernel keeps.
#[derive(Clone, Default, Debug)]
pub(super) struct Fields {
    fields: Vec<Field>,
    /// Whether there may be others, at places that are not known.
    more: bool,
}

impl Fields {
    /// Those of a map.
    pub(super) fn of(object: &BpfObject, map: &MapDef) -> Fields {
        let mut found = Fields::default();
        if let (Some(btf), Some(ty)) = (&object.btf, map.value_type) {
            let mut left = MAX_TYPES;
            found.collect(btf, ty, 0, 1, &mut left);
        }
        if !found.are_taken(map) {
            let plain = found.fields.iter_mut().filter(|field| field.kept != Kept::Pointer);
            plain.for_each(|field| field.kept = Kept::Other);
        }
        found
    }

    /// Whether every kernel that knows locks and timers takes them in values of that map (`map_check_btf()`). One that does
    /// not refuses the map, and is given it again without types by libbpf: then there are none.
    fn are_taken(&self, map: &MapDef) -> bool {
        let only = |kept: Kept, types: &[MapType]| {
            let count = self.fields.iter().filter(|field| field.kept == kept).count();
            count == 0 || count == 1 && types.contains(&map.map_type)
        };
        map.flags & (F_RDONLY_PROG | F_WRONLY_PROG) == 0
            && !self.more
            && self.fields.iter().all(|field| field.kept != Kept::Other)
            && only(
                Kept::Lock,
                &[
                    MapType::HASH,
                    MapType::ARRAY,
                    MapType::CGROUP_STORAGE,
                    MapType::SK_STORAGE,
                    MapType::INODE_STORAGE,
                ],
            )
            && only(Kept::Timer, &[MapType::HASH, MapType::LRU_HASH, MapType::ARRAY])
    }

    /// Of what nothing is known.
    pub(super) fn unknown() -> Fields {
        Fields { fields: Vec::new(), more: true }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty() && !self.more
    }

    /// Whether all of them are known.
    pub(super) fn is_whole(&self) -> bool {
        !self.more
    }

    /// Those that bytes of `low..high` belong to.
    pub(super) fn touched(&self, low: i64, high: i64) -> impl Iterator<Item = Field> {
        let fields = self.fields.iter().copied();
        fields.filter(move |field| low < field.off.saturating_add(field.byte_sz) && field.off < high)
    }

    /// Whether one of that kind begins there.
    pub(super) fn begins(&self, kept: Kept, off: i64) -> bool {
        self.fields.iter().any(|field| (field.kept, field.off) == (kept, off))
    }

    /// Adds those of a type that begins at `off`. `depth` is 1 for the value's type itself, 2 for what is a member of it.
    /// Variables of a section were not looked at by all kernels, and are deeper.
    fn collect(&mut self, btf: &Btf, ty: TypeId, off: i64, depth: usize, left: &mut usize) {
        if *left == 0 {
            self.more = true;
            return;
        }
        *left -= 1;
        let resolved = btf.resolve(ty);
        match resolved.kind() {
            BtfKind::Ptr if btf.ty(resolved.type_id()).kind() == BtfKind::TypeTag => {
                self.fields.push(Field { off, byte_sz: 8, kept: Kept::Pointer });
            }
            BtfKind::Array => {
                let Some(array) = resolved.array() else { return };
                let elem_sz = btf.size_of(array.elem).map_or(0, i64::from);
                let before = self.fields.len();
                self.collect(btf, array.elem, off, depth + 1, left);
                let first = self.fields[before..].to_vec();
                if first.is_empty() {
                    return;
                }
                if (array.nelems as usize).saturating_mul(first.len()) > MAX_TYPES {
                    self.more = true;
                    return;
                }
                for elem in 1..i64::from(array.nelems) {
                    self.fields.extend(
                        first.iter().map(|field| Field { off: field.off + elem * elem_sz, ..*field }),
                    );
                }
            }
            BtfKind::Struct | BtfKind::Union if STRUCTURES.contains(&resolved.name()) => {
                let plain = depth == 2 && btf.ty(ty).id() == resolved.id();
                let kept = match resolved.name() {
                    "bpf_spin_lock" if plain => Kept::Lock,
                    "bpf_timer" if plain => Kept::Timer,
                    _ => Kept::Other,
                };
                let byte_sz = btf.size_of(resolved.id()).map_or(0, i64::from);
                self.fields.push(Field { off, byte_sz, kept });
            }
            BtfKind::Struct | BtfKind::Union => {
                // Members of unions are not looked at everywhere.
                let deeper = if resolved.kind() == BtfKind::Struct { 1 } else { 2 };
                for member in resolved.members() {
                    let at = off + i64::from(member.bit_off / 8);
                    self.collect(btf, member.ty, at, depth + deeper, left);
                }
            }
            BtfKind::Datasec => {
                for (variable, at, _) in resolved.secinfos() {
                    self.collect(btf, btf.ty(variable).type_id(), off + i64::from(at), depth + 2, left);
                }
            }
            _ => {}
        }
    }
}

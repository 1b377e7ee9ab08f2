//! Answers that are remembered: those of a kernel by what an access looks like, accesses by the object that makes them.
//!
//! Objects ask a kernel the same few things again and again: 57 tools of one collection make 3,000 relocations and some
//! hundred different ones. Where one type of the kernel at most has the name, an answer depends on the kernel's types and on
//! what of the object's types is compared with them; that is the access's [`Shape`], whatever the object and its type ids.

use super::Found;
use super::matching::compared_of_field;
use super::resolve::{Resolved, enum_value, field_value, type_value};
use super::spec::{self, CoreReloKind, Spec};
use crate::btf::{Btf, TypeId, essential_name};
use crate::ext::CoreReloRecord;
use crate::object::BpfObject;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};

/// What of an object decides the answer to one of its relocations, in bytes that are equal for equal questions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    /// Of the bytes; taken once, since a shape is looked up for every relocation.
    digest: u64,
    bytes: Arc<[u8]>,
}

impl Hash for Shape {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest);
    }
}

impl Shape {
    /// Longer ones are not worth keeping: names in C are short.
    const MAX_SZ: usize = 1024;

    /// `None` where more than an access's own steps is compared (prototypes, whole types), or where it has no value in the
    /// object to begin with.
    fn of(local: &Btf, spec: &Spec) -> Option<Shape> {
        let root = local.ty(spec.root);
        let mut bytes = vec![spec.kind as u8, root.kind() as u8];
        put_name(&mut bytes, essential_name(root.name()));
        if spec.kind.is_field() {
            let orig = field_value(local, spec).ok()?;
            let (moved, moved_sz) = orig.moves.unwrap_or_default();
            let moved = local.ty(moved);
            bytes.extend([u8::from(orig.validate), moved.kind() as u8]);
            bytes.push(moved.int().map_or(0, |(encoding, ..)| encoding));
            bytes.extend(moved_sz.to_le_bytes());
            bytes.extend(orig.value.to_le_bytes());
            for step in &spec.accessors {
                let Some(name) = &step.name else {
                    bytes.push(0);
                    bytes.extend(step.index.to_le_bytes());
                    continue;
                };
                bytes.push(1);
                put_name(&mut bytes, name);
                compared_of_field(local, local.ty(step.ty).member(step.index)?.ty, |kind, name| {
                    bytes.push(kind);
                    put_name(&mut bytes, name);
                });
            }
        } else if spec.kind.is_enumval() {
            let name = spec.accessors.first()?.name.as_deref()?;
            put_name(&mut bytes, essential_name(name));
            bytes.extend(enum_value(local, spec).to_le_bytes());
        } else {
            let whole = spec.kind == CoreReloKind::TypeMatches;
            if whole || !root.is_composite() && !root.is_any_enum() {
                return None;
            }
            bytes.extend(type_value(local, spec).ok()?.to_le_bytes());
        }
        let mut digest = DefaultHasher::new();
        bytes.hash(&mut digest);
        (bytes.len() <= Self::MAX_SZ).then(|| Shape { digest: digest.finish(), bytes: bytes.into() })
    }
}

fn put_name(bytes: &mut Vec<u8>, name: &str) {
    // A name of the format's strings has no NUL.
    bytes.extend(name.as_bytes());
    bytes.push(0);
}

/// The answers of one kernel's types.
#[derive(Debug, Default)]
pub(super) struct Answers(RwLock<HashMap<Shape, (Resolved, Found)>>);

impl Answers {
    /// So many different questions are remembered; objects of one machine ask some thousand.
    const MOST: usize = 1 << 16;

    pub(super) fn read(&self) -> RwLockReadGuard<'_, HashMap<Shape, (Resolved, Found)>> {
        // Entries are whole whenever another thread can have died.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn learn(&self, learned: Vec<(Shape, (Resolved, Found))>) {
        if learned.is_empty() {
            return;
        }
        let mut answers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let room = Self::MOST.saturating_sub(answers.len());
        answers.extend(learned.into_iter().take(room));
    }
}

/// What a relocation asks, read from its record.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) kind: CoreReloKind,
    pub(super) spec: Spec,
    /// As it is told: `struct task_struct.pid`.
    pub(super) text: Arc<str>,
    /// What the answer can be remembered by.
    pub(super) shape: Option<Shape>,
}

impl Access {
    /// Reads a record; the error says what of it cannot be read, and why.
    pub(super) fn read(local: &Btf, record: &CoreReloRecord) -> Result<Access, (String, String)> {
        let steps = local.string(record.access_str_off);
        let raw = || format!("type {} access {steps:?}", record.type_id);
        let kind = CoreReloKind::from_raw(record.kind)
            .ok_or_else(|| (raw(), format!("unknown kind {} of relocation", record.kind)))?;
        let spec = spec::parse(local, record.type_id, steps, kind).map_err(|what| (raw(), what))?;
        let text = spec.describe(local).into();
        let shape = Shape::of(local, &spec);
        Ok(Access { kind, spec, text, shape })
    }
}

/// The accesses of an object's relocations, read when the first of them is asked for.
#[derive(Debug, Default)]
pub struct Accesses(OnceLock<Known>);

/// By the record's place in the object.
type Known = Vec<Option<(Question, Arc<Access>)>>;

/// What two records have in common that ask the same: type, access string, kind.
type Question = (TypeId, u32, u32);

fn question(record: &CoreReloRecord) -> Question {
    (record.type_id, record.access_str_off, record.kind)
}

impl Accesses {
    /// The access of a record of `object`, whose accesses these are.
    pub(super) fn of(
        &self,
        object: &BpfObject,
        local: &Btf,
        record: &CoreReloRecord,
    ) -> Result<Arc<Access>, (String, String)> {
        let known = self.0.get_or_init(|| Self::read(object, local));
        match known.get(record.order as usize) {
            Some(Some((asked, access))) if *asked == question(record) => Ok(Arc::clone(access)),
            // What cannot be read is not kept, nor what is not in the object.
            _ => Access::read(local, record).map(Arc::new),
        }
    }

    /// Bytes of names that are kept: objects have some kilobytes of them, hostile ones one long name that all share.
    const MOST_BYTES: usize = 16 << 20;

    fn read(object: &BpfObject, local: &Btf) -> Known {
        let of_entries = object.entries.iter().flat_map(|entry| &entry.core_relos);
        let records = of_entries.chain(object.text_relos.iter().map(|relo| &relo.record));
        let mut read: HashMap<Question, Arc<Access>> = HashMap::new();
        let (mut known, mut byte_sz) = (Vec::new(), 0);
        // Records are counted from 0, so that this is as long as there are records.
        known.resize(records.clone().map(|record| record.order as usize + 1).max().unwrap_or(0), None);
        for record in records {
            let asked = question(record);
            let access = match read.get(&asked) {
                Some(access) => Some(Arc::clone(access)),
                None => Access::read(local, record).ok().map(Arc::new),
            };
            if let Some(access) = access {
                if !read.contains_key(&asked) {
                    byte_sz += access.text.len();
                    if byte_sz > Self::MOST_BYTES {
                        break;
                    }
                }
                read.entry(asked).or_insert_with(|| Arc::clone(&access));
                known[record.order as usize] = Some((asked, access));
            }
        }
        known
    }
}

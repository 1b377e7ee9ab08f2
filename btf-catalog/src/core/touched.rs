//! What of a kernel's types a relocation looks at: all that must be left for its answer to stay the same.

use super::CoreReloKind;
use super::candidate::{Candidates, TargetBtf};
use super::matching::{Visits, match_spec};
use super::spec;
use crate::btf::{Btf, TypeId};
use crate::ext::CoreReloRecord;

/// A relocation and the types of the kernel that match it.
pub(crate) struct Touched {
    pub(crate) kind: CoreReloKind,
    /// The access, as text.
    pub(crate) access: String,
    pub(crate) found: Vec<Found>,
}

/// One type that matches.
pub(crate) struct Found {
    /// 0 for vmlinux, one more than the module's index for a module.
    pub(crate) place: usize,
    pub(crate) root: TypeId,
    /// The struct, union or enumeration that is stepped into, and which of its members or enumerators; steps into arrays
    /// and through anonymous members are left out.
    pub(crate) steps: Vec<(TypeId, u32)>,
}

/// Matches a relocation against all types that may be meant.
pub(crate) fn touched(
    local: &Btf,
    record: &CoreReloRecord,
    target: &TargetBtf,
    visits: &mut Visits,
) -> Result<Touched, String> {
    let kind = CoreReloKind::from_raw(record.kind)
        .ok_or_else(|| format!("unknown kind {} of relocation", record.kind))?;
    let spec = spec::parse(local, record.type_id, local.string(record.access_str_off), kind)?;
    let mut touched = Touched { kind, access: spec.describe(local), found: Vec::new() };
    if kind == CoreReloKind::TypeIdLocal {
        return Ok(touched);
    }
    for candidate in Candidates::find(local, record.type_id, target).0 {
        let btf = target.btf(candidate.place);
        if let Some(found) = match_spec(local, &spec, btf, candidate.ty, visits)? {
            let named = found.accessors.iter().filter(|step| step.name.is_some());
            touched.found.push(Found {
                place: candidate.place,
                root: candidate.ty,
                steps: named.map(|step| (step.ty, step.index)).collect(),
            });
        }
    }
    Ok(touched)
}

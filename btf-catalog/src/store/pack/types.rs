//! Types in terms of the base's: what is the same costs nothing, what differs is written member by member.

use super::PackError;
use super::model::{Model, Role, Shape, split_info};
use super::stream::{Column, Reader, Writer};
use crate::raw::{BtfKind, INFO_VLEN};

/// Bits of `Column::EditMask`: what differs from the type of the base.
const NAME: u64 = 1;
const INFO: u64 = 2;
const THIRD: u64 = 4;
const FIXED: u64 = 8;
const ELEMENTS: u64 = 16;

/// How far ahead an element of the base is looked for.
const AHEAD: usize = 256;

/// What both sides know while types are written or read.
pub(super) struct Context<'a> {
    pub(super) base: &'a Model,
    /// New number of each type of the base; 0 if it has none.
    pub(super) moved: Vec<u32>,
    /// New strings begin at this number; below it are the base's.
    pub(super) new_names: u32,
    /// The next new string, if they come in the order in which they are needed.
    next_name: u32,
}

impl<'a> Context<'a> {
    pub(super) fn new(base: &'a Model, sequence: &[Option<u32>]) -> Context<'a> {
        let mut moved = vec![0; base.len().max(1)];
        for (index, of) in sequence.iter().enumerate() {
            if let Some(of) = of {
                moved[*of as usize] = index as u32 + 1;
            }
        }
        let new_names = base.strings.len() as u32;
        Context { base, moved, new_names, next_name: new_names }
    }

    fn guess(&self, role: Role, word: u32) -> u32 {
        if role == Role::Ref { self.moved.get(word as usize).copied().unwrap_or(0) } else { word }
    }

    fn put_name(&mut self, out: &mut Writer, column: Column, name: u32) {
        if name == self.next_name {
            self.next_name += 1;
            out.put(column, 0);
        } else if name < self.new_names {
            out.put(column, 1 + 2 * u64::from(name));
        } else {
            out.put(column, 2 + 2 * u64::from(name - self.new_names));
        }
    }

    fn get_name(&mut self, input: &mut Reader, column: Column) -> Result<u32, PackError> {
        let code = input.get(column)?;
        if code == 0 {
            self.next_name += 1;
            return Ok(self.next_name - 1);
        }
        let name = if code % 2 == 1 { code / 2 } else { u64::from(self.new_names) + (code - 2) / 2 };
        u32::try_from(name).map_err(|_| column.range())
    }
}

fn put_ref(out: &mut Writer, column: Column, id: usize, to: u32) {
    out.put_signed(column, id as i64 - i64::from(to));
}

fn get_ref(input: &mut Reader, column: Column, id: usize) -> Result<u32, PackError> {
    let to = (id as i64).checked_sub(input.get_signed(column)?);
    to.and_then(|to| u32::try_from(to).ok()).ok_or(column.range())
}

/// Writes a type that the base has nothing like.
pub(super) fn write_new(context: &mut Context, out: &mut Writer, id: usize, ty: &[u32]) {
    let (kind, vlen) = split_info(ty[1]);
    let shape = Shape::of(kind).expect("only known kinds are taken apart");
    out.put(Column::Kind, u64::from(ty[1] & !INFO_VLEN).rotate_right(24) & 0xff);
    out.put(Column::Vlen, vlen as u64);
    context.put_name(out, Column::Name, ty[0]);
    match shape.third {
        Role::Ref => put_ref(out, Column::Ref, id, ty[2]),
        _ => out.put(Column::Size, u64::from(ty[2])),
    }
    let (fixed, elements) = ty[3..].split_at(shape.fixed.len());
    for (word, role) in fixed.iter().zip(shape.fixed) {
        match role {
            Role::Ref => put_ref(out, Column::Ref, id, *word),
            _ => out.put(Column::Size, u64::from(*word)),
        }
    }
    let mut before = 0;
    for (word, role) in elements.iter().zip(shape.element.iter().cycle()) {
        match role {
            Role::Name => context.put_name(out, Column::ElementName, *word),
            Role::Ref => put_ref(out, Column::ElementRef, id, *word),
            Role::Value => {
                out.put_signed(Column::Value, i64::from(*word) - i64::from(before));
                before = *word;
            }
        }
    }
}

/// Reads what [`write_new`] wrote and appends its words.
pub(super) fn read_new(
    context: &mut Context,
    input: &mut Reader,
    id: usize,
    words: &mut Vec<u32>,
) -> Result<(), PackError> {
    let kind = input.get_u32(Column::Kind)?;
    let vlen = input.get_u32(Column::Vlen)?;
    if kind > 0xff || vlen > INFO_VLEN {
        return Err(Column::Kind.range());
    }
    let info = kind << 24 | vlen;
    let shape = Shape::of(split_info(info).0).ok_or(Column::Kind.range())?;
    words.push(context.get_name(input, Column::Name)?);
    words.push(info);
    for role in std::iter::once(&shape.third).chain(shape.fixed) {
        words.push(match role {
            Role::Ref => get_ref(input, Column::Ref, id)?,
            _ => input.get_u32(Column::Size)?,
        });
    }
    let mut before = 0;
    // Of a kind without elements the number means something else (a function's linkage).
    let elements = if shape.element.is_empty() { 0 } else { vlen };
    for _ in 0..elements {
        for role in shape.element {
            words.push(match role {
                Role::Name => context.get_name(input, Column::ElementName)?,
                Role::Ref => get_ref(input, Column::ElementRef, id)?,
                Role::Value => {
                    before = shifted(before, input.get_signed(Column::Value)?)?;
                    before
                }
            });
        }
    }
    Ok(())
}

fn shifted(from: u32, by: i64) -> Result<u32, PackError> {
    i64::from(from).checked_add(by).and_then(|to| u32::try_from(to).ok()).ok_or(Column::Value.range())
}

/// What differs between a type and the base's type `of`.
pub(super) fn difference(context: &Context, ty: &[u32], of: u32) -> u64 {
    let like = context.base.ty(of as usize);
    let (kind, _) = split_info(ty[1]);
    let shape = Shape::of(kind).expect("only known kinds are taken apart");
    let differs = |ours: &[u32], theirs: &[u32], roles: &[Role]| {
        ours.len() != theirs.len()
            || ours
                .iter()
                .zip(theirs)
                .zip(roles.iter().cycle())
                .any(|((our, their), role)| *our != context.guess(*role, *their))
    };
    let (ours, theirs) = (&ty[3..], &like[3..]);
    let fixed = shape.fixed.len();
    [
        (NAME, ty[0] != like[0]),
        (INFO, ty[1] != like[1]),
        (THIRD, differs(&ty[2..3], &like[2..3], &[shape.third])),
        (FIXED, differs(&ours[..fixed], &theirs[..fixed], shape.fixed)),
        (ELEMENTS, differs(&ours[fixed..], &theirs[fixed..], shape.element)),
    ]
    .iter()
    .filter(|(_, differs)| *differs)
    .map(|(bit, _)| bit)
    .sum()
}

/// Writes what differs between a type and the base's type `of`.
pub(super) fn write_edit(context: &mut Context, out: &mut Writer, id: usize, ty: &[u32], of: u32) {
    let mask = difference(context, ty, of);
    let like = context.base.ty(of as usize);
    let (kind, _) = split_info(ty[1]);
    let shape = Shape::of(kind).expect("only known kinds are taken apart");
    out.put(Column::EditMask, mask);
    if mask & NAME != 0 {
        context.put_name(out, Column::Name, ty[0]);
    }
    if mask & INFO != 0 {
        out.put(Column::EditValue, u64::from(ty[1]));
    }
    if mask & THIRD != 0 {
        match shape.third {
            Role::Ref => put_ref(out, Column::EditRef, id, ty[2]),
            _ => out.put_signed(Column::EditValue, i64::from(ty[2]) - i64::from(like[2])),
        }
    }
    let fixed = shape.fixed.len();
    if mask & FIXED != 0 {
        for (word, role) in ty[3..].iter().zip(shape.fixed) {
            match role {
                Role::Ref => put_ref(out, Column::EditRef, id, *word),
                _ => out.put(Column::EditValue, u64::from(*word)),
            }
        }
    }
    if mask & ELEMENTS == 0 {
        return;
    }
    let width = shape.element.len();
    let theirs: Vec<&[u32]> = like[3 + fixed..].chunks_exact(width).collect();
    let (mut cursor, mut shift) = (0, 0);
    for element in ty[3 + fixed..].chunks_exact(width) {
        let ahead = theirs[cursor..].iter().take(AHEAD);
        let found = ahead.enumerate().find(|(_, their)| same_element(context, &shape, element, their));
        let Some((skipped, their)) = found.map(|(skipped, their)| (skipped, *their)) else {
            out.put(Column::EditElement, 0);
            for (word, role) in element.iter().zip(shape.element) {
                match role {
                    Role::Name => context.put_name(out, Column::ElementName, *word),
                    Role::Ref => put_ref(out, Column::ElementRef, id, *word),
                    Role::Value => out.put(Column::Value, u64::from(*word)),
                }
            }
            continue;
        };
        out.put(Column::EditElement, 1 + skipped as u64);
        cursor += skipped + 1;
        for ((word, their), role) in element.iter().zip(their).zip(shape.element) {
            match role {
                Role::Name => {}
                Role::Ref if *word == context.guess(Role::Ref, *their) => out.put(Column::EditRef, 0),
                Role::Ref => {
                    out.put(Column::EditRef, 1);
                    put_ref(out, Column::ElementRef, id, *word);
                }
                Role::Value => {
                    let now = i64::from(*word) - i64::from(*their);
                    out.put_signed(Column::EditValue, now - shift);
                    shift = now;
                }
            }
        }
    }
}

/// Whether an element is the base's: by its name, or where it has none by its type.
fn same_element(context: &Context, shape: &Shape, ours: &[u32], theirs: &[u32]) -> bool {
    let mut words = ours.iter().zip(theirs).zip(shape.element);
    let Some(((our, their), role)) = words.next() else { return false };
    match role {
        Role::Name if *our == *their && *our != 0 => true,
        Role::Name if *our == *their => {
            words.next().is_some_and(|((our, their), role)| *our == context.guess(*role, *their))
        }
        Role::Name => false,
        role => *our == context.guess(*role, *their),
    }
}

/// Appends the words of the base's type `of`, which did not change.
pub(super) fn copy(context: &Context, of: u32, words: &mut Vec<u32>) {
    let like = context.base.ty(of as usize);
    let (kind, _) = split_info(like[1]);
    let shape = Shape::of(kind).expect("only known kinds are taken apart");
    let start = words.len();
    words.extend_from_slice(like);
    let moved = |word: &mut u32| *word = context.guess(Role::Ref, *word);
    let words = &mut words[start..];
    if shape.third == Role::Ref {
        moved(&mut words[2]);
    }
    match kind {
        BtfKind::Array => words[3..5].iter_mut().for_each(moved),
        BtfKind::Struct | BtfKind::Union => words[3..].iter_mut().skip(1).step_by(3).for_each(moved),
        BtfKind::FuncProto => words[3..].iter_mut().skip(1).step_by(2).for_each(moved),
        BtfKind::Datasec => words[3..].iter_mut().step_by(3).for_each(moved),
        _ => {}
    }
}

/// Reads what [`write_edit`] wrote and appends the type's words.
pub(super) fn read_edit(
    context: &mut Context,
    input: &mut Reader,
    id: usize,
    of: u32,
    words: &mut Vec<u32>,
) -> Result<(), PackError> {
    let base = context.base;
    let like = base.ty(of as usize);
    let (kind, _) = split_info(like[1]);
    let shape = Shape::of(kind).expect("only known kinds are taken apart");
    let mask = input.get(Column::EditMask)?;
    let name = if mask & NAME != 0 { context.get_name(input, Column::Name)? } else { like[0] };
    let info = if mask & INFO != 0 { input.get_u32(Column::EditValue)? } else { like[1] };
    let (new_kind, vlen) = split_info(info);
    let same_elements = mask & ELEMENTS == 0 && !shape.element.is_empty();
    if new_kind != kind || same_elements && vlen != split_info(like[1]).1 {
        return Err(Column::EditMask.range());
    }
    words.extend([name, info]);
    words.push(match shape.third {
        Role::Ref if mask & THIRD != 0 => get_ref(input, Column::EditRef, id)?,
        role if mask & THIRD == 0 => context.guess(role, like[2]),
        _ => shifted(like[2], input.get_signed(Column::EditValue)?)?,
    });
    let fixed = shape.fixed.len();
    for (their, role) in like[3..].iter().zip(shape.fixed) {
        words.push(match role {
            role if mask & FIXED == 0 => context.guess(*role, *their),
            Role::Ref => get_ref(input, Column::EditRef, id)?,
            _ => input.get_u32(Column::EditValue)?,
        });
    }
    let theirs = &like[3 + fixed..];
    if mask & ELEMENTS == 0 {
        let roles = shape.element.iter().cycle();
        words.extend(theirs.iter().zip(roles).map(|(their, role)| context.guess(*role, *their)));
        return Ok(());
    }
    let width = shape.element.len();
    if width == 0 {
        return Err(Column::EditMask.range());
    }
    let mut rest = theirs.chunks_exact(width);
    let mut shift = 0;
    for _ in 0..vlen {
        let skipped = input.get(Column::EditElement)?;
        if skipped == 0 {
            for role in shape.element {
                words.push(match role {
                    Role::Name => context.get_name(input, Column::ElementName)?,
                    Role::Ref => get_ref(input, Column::ElementRef, id)?,
                    Role::Value => input.get_u32(Column::Value)?,
                });
            }
            continue;
        }
        let their = rest.nth(skipped as usize - 1).ok_or(Column::EditElement.range())?;
        for (their, role) in their.iter().zip(shape.element) {
            words.push(match role {
                Role::Name => *their,
                Role::Ref if input.get(Column::EditRef)? == 0 => context.guess(Role::Ref, *their),
                Role::Ref => get_ref(input, Column::ElementRef, id)?,
                Role::Value => {
                    shift = input
                        .get_signed(Column::EditValue)?
                        .checked_add(shift)
                        .ok_or(Column::EditValue.range())?;
                    shifted(*their, shift)?
                }
            });
        }
    }
    Ok(())
}

//! What is known of a number: bounds, signed and unsigned, and the bits that are certain.
//!
//! The same facts that the verifier keeps (`struct bpf_reg_state` and kernel/bpf/tnum.c, v6.12), for 64 bits only: what
//! a 32-bit operation leaves is known by its upper half being zero.

/// Bits of a number: those in `mask` are unknown, the others are as in `value`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tnum {
    pub(crate) value: u64,
    pub(crate) mask: u64,
}

impl Tnum {
    const UNKNOWN: Tnum = Tnum { value: 0, mask: u64::MAX };

    /// The fewest bits that are unknown for all numbers of `min..=max`.
    fn range(min: u64, max: u64) -> Tnum {
        let mask = (min ^ max).checked_ilog2().map_or(0, |top| u64::MAX >> (63 - top));
        Tnum { value: min & !mask, mask }
    }

    fn is_const(self) -> bool {
        self.mask == 0
    }

    fn contains(self, other: Tnum) -> bool {
        other.mask & !self.mask == 0 && other.value & !self.mask == self.value
    }

    fn add(self, other: Tnum) -> Tnum {
        let (masks, values) = (self.mask.wrapping_add(other.mask), self.value.wrapping_add(other.value));
        let carries = masks.wrapping_add(values) ^ values;
        let mask = carries | self.mask | other.mask;
        Tnum { value: values & !mask, mask }
    }

    fn sub(self, other: Tnum) -> Tnum {
        let values = self.value.wrapping_sub(other.value);
        let borrows = values.wrapping_add(self.mask) ^ values.wrapping_sub(other.mask);
        let mask = borrows | self.mask | other.mask;
        Tnum { value: values & !mask, mask }
    }

    fn and(self, other: Tnum) -> Tnum {
        let (a, b) = (self.value | self.mask, other.value | other.mask);
        let value = self.value & other.value;
        Tnum { value, mask: a & b & !value }
    }

    fn or(self, other: Tnum) -> Tnum {
        let value = self.value | other.value;
        Tnum { value, mask: (self.mask | other.mask) & !value }
    }

    fn xor(self, other: Tnum) -> Tnum {
        let mask = self.mask | other.mask;
        Tnum { value: (self.value ^ other.value) & !mask, mask }
    }

    fn fits(self, number: u64) -> bool {
        (self.value ^ number) & !self.mask == 0
    }
}

/// What is known of a number of 64 bits. Always at least one number fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Scalar {
    pub(crate) umin: u64,
    pub(crate) umax: u64,
    pub(crate) smin: i64,
    pub(crate) smax: i64,
    pub(crate) bits: Tnum,
}

/// `BPF_OP` of arithmetic instructions.
pub(crate) mod op {
    pub(crate) const ADD: u8 = 0x00;
    pub(crate) const SUB: u8 = 0x10;
    pub(crate) const MUL: u8 = 0x20;
    pub(crate) const DIV: u8 = 0x30;
    pub(crate) const OR: u8 = 0x40;
    pub(crate) const AND: u8 = 0x50;
    pub(crate) const LSH: u8 = 0x60;
    pub(crate) const RSH: u8 = 0x70;
    pub(crate) const NEG: u8 = 0x80;
    pub(crate) const MOD: u8 = 0x90;
    pub(crate) const XOR: u8 = 0xa0;
    pub(crate) const MOV: u8 = 0xb0;
    pub(crate) const ARSH: u8 = 0xc0;
    pub(crate) const END: u8 = 0xd0;
}

/// `BPF_OP` of conditional jumps.
pub(crate) mod cond {
    pub(crate) const JEQ: u8 = 0x10;
    pub(crate) const JGT: u8 = 0x20;
    pub(crate) const JGE: u8 = 0x30;
    pub(crate) const JSET: u8 = 0x40;
    pub(crate) const JNE: u8 = 0x50;
    pub(crate) const JSGT: u8 = 0x60;
    pub(crate) const JSGE: u8 = 0x70;
    pub(crate) const JLT: u8 = 0xa0;
    pub(crate) const JLE: u8 = 0xb0;
    pub(crate) const JSLT: u8 = 0xc0;
    pub(crate) const JSLE: u8 = 0xd0;
}

impl Scalar {
    pub(crate) const UNKNOWN: Scalar =
        Scalar { umin: 0, umax: u64::MAX, smin: i64::MIN, smax: i64::MAX, bits: Tnum::UNKNOWN };

    pub(crate) fn constant(value: u64) -> Scalar {
        Scalar {
            umin: value,
            umax: value,
            smin: value as i64,
            smax: value as i64,
            bits: Tnum { value, mask: 0 },
        }
    }

    /// Any number of that many bytes, zero-extended.
    pub(crate) fn of_bytes(byte_sz: u32) -> Scalar {
        if byte_sz >= 8 { Scalar::UNKNOWN } else { Scalar::range(0, (1 << (8 * byte_sz)) - 1) }
    }

    /// Any number of `min..=max`.
    pub(crate) fn range(min: u64, max: u64) -> Scalar {
        Scalar { umin: min, umax: max, ..Scalar::UNKNOWN }.settled().unwrap_or(Scalar::UNKNOWN)
    }

    pub(crate) fn as_const(self) -> Option<u64> {
        (self.umin == self.umax).then_some(self.umin)
    }

    /// Makes the three views agree; `None` if no number fits all of them.
    fn settled(mut self) -> Option<Scalar> {
        for _ in 0..2 {
            self.umin = self.umin.max(self.bits.value);
            self.umax = self.umax.min(self.bits.value | self.bits.mask);
            if self.umin > self.umax || self.smin > self.smax {
                return None;
            }
            // Where the unsigned bounds do not cross the sign, they are signed bounds as well, and the reverse.
            if self.umin as i64 <= self.umax as i64 {
                self.smin = self.smin.max(self.umin as i64);
                self.smax = self.smax.min(self.umax as i64);
            }
            if self.smin > self.smax {
                return None;
            }
            if self.smin as u64 <= self.smax as u64 {
                self.umin = self.umin.max(self.smin as u64);
                self.umax = self.umax.min(self.smax as u64);
            }
            if self.umin > self.umax {
                return None;
            }
            let range = Tnum::range(self.umin, self.umax);
            if (self.bits.value ^ range.value) & !self.bits.mask & !range.mask != 0 {
                return None;
            }
            let mask = self.bits.mask & range.mask;
            self.bits = Tnum { value: (self.bits.value | range.value) & !mask, mask };
        }
        if self.bits.is_const() && (self.umin..=self.umax).contains(&self.bits.value) {
            return Some(Scalar::constant(self.bits.value));
        }
        Some(self)
    }

    fn of_bits(bits: Tnum) -> Scalar {
        Scalar { bits, ..Scalar::UNKNOWN }.settled().unwrap_or(Scalar::UNKNOWN)
    }

    /// Whether its bounds are numbers that its bits allow. Verifiers that meet the two know more of others.
    pub(crate) fn is_tight(self) -> bool {
        let bounds = [self.umin, self.umax, self.smin as u64, self.smax as u64];
        bounds.into_iter().all(|bound| self.bits.fits(bound))
    }

    /// Whether every number that fits `other` fits this.
    pub(crate) fn contains(self, other: Scalar) -> bool {
        self.umin <= other.umin
            && self.umax >= other.umax
            && self.smin <= other.smin
            && self.smax >= other.smax
            && self.bits.contains(other.bits)
    }

    /// Bounds that hold for both.
    pub(crate) fn hull(self, other: Scalar) -> Scalar {
        let mask = self.bits.mask | other.bits.mask | (self.bits.value ^ other.bits.value);
        Scalar {
            umin: self.umin.min(other.umin),
            umax: self.umax.max(other.umax),
            smin: self.smin.min(other.smin),
            smax: self.smax.max(other.smax),
            bits: Tnum { value: self.bits.value & !mask, mask },
        }
    }

    /// The numbers that are multiples of `factor`, a power of two, as well.
    pub(crate) fn multiple_of(self, factor: u64) -> Scalar {
        let low = factor - 1;
        let bits = Tnum { value: self.bits.value & !low, mask: self.bits.mask & !low };
        Scalar { bits, ..self }.settled().unwrap_or(self)
    }

    /// The lower `byte_sz` bytes, zero-extended.
    pub(crate) fn truncated(self, byte_sz: u32) -> Scalar {
        if byte_sz >= 8 {
            return self;
        }
        let max = (1u64 << (8 * byte_sz)) - 1;
        if self.umax <= max {
            return self;
        }
        if self.umin & !max == self.umax & !max {
            let bits = Tnum { value: self.bits.value & max, mask: self.bits.mask & max };
            return Scalar { umin: self.umin & max, umax: self.umax & max, bits, ..Scalar::UNKNOWN }
                .settled()
                .unwrap_or(Scalar::of_bytes(byte_sz));
        }
        Scalar::of_bits(Tnum { value: self.bits.value & max, mask: self.bits.mask & max })
    }

    /// The lower `bits` bits, sign-extended: of a constant; any number otherwise.
    pub(crate) fn sign_extended(self, bits: u32) -> Scalar {
        match self.as_const() {
            Some(value) if bits < 64 => {
                Scalar::constant(((value << (64 - bits)) as i64 >> (64 - bits)) as u64)
            }
            _ if self.umax < 1 << (bits - 1) => self,
            _ => Scalar::UNKNOWN,
        }
    }

    /// The result of `self op other`. A 32-bit operation takes lower halves and leaves a zero-extended one.
    pub(crate) fn alu(self, operation: u8, wide: bool, other: Scalar) -> Scalar {
        let (a, b) = if wide { (self, other) } else { (self.truncated(4), other.truncated(4)) };
        if let (Some(a), Some(b)) = (a.as_const(), b.as_const()) {
            return constant_alu(operation, wide, a, b)
                .map_or(Scalar::of_bytes(if wide { 8 } else { 4 }), Scalar::constant);
        }
        let shift = b.as_const().filter(|by| *by < if wide { 64 } else { 32 });
        let result = match operation {
            op::MOV => b,
            op::ADD => {
                let mut sum = Scalar::of_bits(a.bits.add(b.bits));
                if let (Some(min), Some(max)) = (a.umin.checked_add(b.umin), a.umax.checked_add(b.umax)) {
                    (sum.umin, sum.umax) = (min, max);
                }
                if let (Some(min), Some(max)) = (a.smin.checked_add(b.smin), a.smax.checked_add(b.smax)) {
                    (sum.smin, sum.smax) = (min, max);
                }
                sum
            }
            op::SUB => {
                let mut difference = Scalar::of_bits(a.bits.sub(b.bits));
                if a.umin >= b.umax {
                    (difference.umin, difference.umax) = (a.umin - b.umax, a.umax - b.umin);
                }
                if let (Some(min), Some(max)) = (a.smin.checked_sub(b.smax), a.smax.checked_sub(b.smin)) {
                    (difference.smin, difference.smax) = (min, max);
                }
                difference
            }
            op::AND => Scalar { umax: a.umax.min(b.umax), ..Scalar::of_bits(a.bits.and(b.bits)) },
            op::OR => Scalar { umin: a.umin.max(b.umin), ..Scalar::of_bits(a.bits.or(b.bits)) },
            op::XOR => Scalar::of_bits(a.bits.xor(b.bits)),
            op::MUL if a.as_const() == Some(0) || b.as_const() == Some(0) => Scalar::constant(0),
            op::MUL if u32::try_from(a.umax.max(b.umax)).is_ok() => {
                Scalar::range(a.umin * b.umin, a.umax * b.umax)
            }
            op::LSH => match shift {
                Some(by) => {
                    let bits = Tnum { value: a.bits.value << by, mask: a.bits.mask << by };
                    let mut shifted = Scalar::of_bits(bits);
                    if a.umax <= u64::MAX >> by {
                        (shifted.umin, shifted.umax) = (a.umin << by, a.umax << by);
                    }
                    shifted
                }
                None => Scalar::UNKNOWN,
            },
            op::RSH => match shift {
                Some(by) => {
                    let bits = Tnum { value: a.bits.value >> by, mask: a.bits.mask >> by };
                    Scalar { umin: a.umin >> by, umax: a.umax >> by, ..Scalar::of_bits(bits) }
                }
                None => Scalar::UNKNOWN,
            },
            op::ARSH => match shift {
                Some(by) if wide => Scalar { smin: a.smin >> by, smax: a.smax >> by, ..Scalar::UNKNOWN },
                Some(by) if i32::try_from(a.umax).is_ok() => Scalar::range(a.umin >> by, a.umax >> by),
                _ => Scalar::UNKNOWN,
            },
            op::DIV if b.umin > 0 => Scalar::range(a.umin / b.umax, a.umax / b.umin),
            op::MOD if b.umin > 0 => Scalar::range(0, a.umax.min(b.umax - 1)),
            _ => Scalar::UNKNOWN,
        };
        let result = result.settled().unwrap_or(Scalar::UNKNOWN);
        if wide { result } else { result.truncated(4) }
    }

    /// Whether `self cond other` holds: `None` if that depends on the numbers.
    pub(crate) fn test(self, condition: u8, wide: bool, other: Scalar) -> Option<bool> {
        let (a, b) = if wide {
            (self, other)
        } else {
            // Signs of 32-bit numbers are those of bit 31.
            let signed = matches!(condition, cond::JSGT | cond::JSGE | cond::JSLT | cond::JSLE);
            let (a, b) = (self.truncated(4), other.truncated(4));
            if signed { (self.as_signed_half(a)?, other.as_signed_half(b)?) } else { (a, b) }
        };
        let decided = |always: bool, never: bool| {
            if always {
                Some(true)
            } else if never {
                Some(false)
            } else {
                None
            }
        };
        match condition {
            cond::JEQ => {
                let apart = a.umin > b.umax
                    || a.umax < b.umin
                    || a.smin > b.smax
                    || a.smax < b.smin
                    || (a.bits.value ^ b.bits.value) & !a.bits.mask & !b.bits.mask != 0;
                decided(a.as_const().is_some() && a.as_const() == b.as_const(), apart)
            }
            cond::JNE => a.test(cond::JEQ, true, b).map(|equal| !equal),
            cond::JSET => {
                let (sure, possible) = (
                    a.bits.value & b.bits.value,
                    (a.bits.value | a.bits.mask) & (b.bits.value | b.bits.mask),
                );
                decided(sure != 0, possible == 0)
            }
            cond::JGT => decided(a.umin > b.umax, a.umax <= b.umin),
            cond::JGE => decided(a.umin >= b.umax, a.umax < b.umin),
            cond::JLT => decided(a.umax < b.umin, a.umin >= b.umax),
            cond::JLE => decided(a.umax <= b.umin, a.umin > b.umax),
            cond::JSGT => decided(a.smin > b.smax, a.smax <= b.smin),
            cond::JSGE => decided(a.smin >= b.smax, a.smax < b.smin),
            cond::JSLT => decided(a.smax < b.smin, a.smin >= b.smax),
            cond::JSLE => decided(a.smax <= b.smin, a.smin > b.smax),
            _ => None,
        }
    }

    /// The lower half, sign-extended: the whole where that is all of it.
    fn as_signed_half(self, half: Scalar) -> Option<Scalar> {
        let fits = self.smin >= i64::from(i32::MIN) && self.smax <= i64::from(i32::MAX);
        if fits { Some(self) } else { half.widened() }
    }

    /// A zero-extended 32-bit number sign-extended, where the bounds do not cross the sign.
    pub(crate) fn widened(self) -> Option<Scalar> {
        let sign = 1 << 31;
        if self.umax < sign {
            Some(self)
        } else if self.umin >= sign {
            let up = |value: u64| value as u32 as i32 as i64 as u64;
            Some(Scalar::range(up(self.umin), up(self.umax)))
        } else {
            // Crossing: any 32-bit number with a sign.
            Scalar { smin: i64::from(i32::MIN), smax: i64::from(i32::MAX), ..Scalar::UNKNOWN }.settled()
        }
    }

    /// What is left of the numbers once `self cond other` is known to be `holds`, by the bounds of `other`; `None` if nothing is.
    pub(crate) fn bounded_by(self, condition: u8, wide: bool, other: Scalar, holds: bool) -> Option<Scalar> {
        let condition = if holds { condition } else { opposite(condition) };
        let signed = matches!(condition, cond::JSGT | cond::JSGE | cond::JSLT | cond::JSLE);
        let seen = match (wide, signed) {
            (true, _) => Some(other),
            (false, false) => Some(other.truncated(4)),
            (false, true) => other.truncated(4).widened(),
        };
        let Some(other) = seen else { return Some(self) };
        let bound = match condition {
            cond::JGT | cond::JGE => other.umin,
            cond::JLT | cond::JLE => other.umax,
            cond::JSGT | cond::JSGE => other.smin as u64,
            cond::JSLT | cond::JSLE => other.smax as u64,
            _ => return Some(self),
        };
        self.refined(condition, wide, bound, true)
    }

    /// What is left of the numbers once `self cond constant` is known to be `holds`; `None` if nothing is.
    pub(crate) fn refined(self, condition: u8, wide: bool, constant: u64, holds: bool) -> Option<Scalar> {
        let mut left = self;
        let mut constant = constant;
        if !wide {
            if self.umax > u64::from(u32::MAX) {
                return Some(self);
            }
            constant &= u64::from(u32::MAX);
            // Signed bounds of a lower half are not bounds of the whole.
            if matches!(condition, cond::JSGT | cond::JSGE | cond::JSLT | cond::JSLE)
                && (self.umax > i32::MAX as u64 || constant > i32::MAX as u64)
            {
                return Some(self);
            }
        }
        let signed = constant as i64;
        // A test that fails is the opposite test that holds.
        let condition = if holds { condition } else { opposite(condition) };
        match condition {
            cond::JEQ => {
                let only = Scalar::constant(constant);
                return self.contains(only).then_some(only);
            }
            cond::JNE => {
                if left.umin == constant {
                    left.umin = left.umin.checked_add(1)?;
                }
                if left.umax == constant {
                    left.umax = left.umax.checked_sub(1)?;
                }
                if left.smin == signed {
                    left.smin = left.smin.checked_add(1)?;
                }
                if left.smax == signed {
                    left.smax = left.smax.checked_sub(1)?;
                }
            }
            cond::JGT => left.umin = left.umin.max(constant.checked_add(1)?),
            cond::JGE => left.umin = left.umin.max(constant),
            cond::JLT => left.umax = left.umax.min(constant.checked_sub(1)?),
            cond::JLE => left.umax = left.umax.min(constant),
            cond::JSGT => left.smin = left.smin.max(signed.checked_add(1)?),
            cond::JSGE => left.smin = left.smin.max(signed),
            cond::JSLT => left.smax = left.smax.min(signed.checked_sub(1)?),
            cond::JSLE => left.smax = left.smax.min(signed),
            cond::JSET if constant.is_power_of_two() => {
                left.bits = Tnum { value: left.bits.value | constant, mask: left.bits.mask & !constant };
            }
            NOT_SET => {
                let bits = Tnum { value: left.bits.value, mask: left.bits.mask & !constant };
                if bits.value & constant != 0 {
                    return None;
                }
                left.bits = bits;
            }
            _ => {}
        }
        left.settled()
    }
}

/// The opposite of [`cond::JSET`], which no instruction has.
const NOT_SET: u8 = 0xff;

fn opposite(condition: u8) -> u8 {
    match condition {
        cond::JEQ => cond::JNE,
        cond::JNE => cond::JEQ,
        cond::JGT => cond::JLE,
        cond::JGE => cond::JLT,
        cond::JLT => cond::JGE,
        cond::JLE => cond::JGT,
        cond::JSGT => cond::JSLE,
        cond::JSGE => cond::JSLT,
        cond::JSLT => cond::JSGE,
        cond::JSLE => cond::JSGT,
        _ => NOT_SET,
    }
}

/// The test with its operands swapped: `a > b` is `b < a`.
pub(crate) fn swapped(condition: u8) -> u8 {
    match condition {
        cond::JGT => cond::JLT,
        cond::JGE => cond::JLE,
        cond::JLT => cond::JGT,
        cond::JLE => cond::JGE,
        cond::JSGT => cond::JSLT,
        cond::JSGE => cond::JSLE,
        cond::JSLT => cond::JSGT,
        cond::JSLE => cond::JSGE,
        same => same,
    }
}

/// The number that an instruction computes of two others, unsigned where that matters; `None` for a shift that the
/// verifier refuses and for operations that are not computed here.
fn constant_alu(operation: u8, wide: bool, a: u64, b: u64) -> Option<u64> {
    let width = if wide { 64 } else { 32 };
    let result = match operation {
        op::MOV => b,
        op::ADD => a.wrapping_add(b),
        op::SUB => a.wrapping_sub(b),
        op::MUL => a.wrapping_mul(b),
        op::OR => a | b,
        op::AND => a & b,
        op::XOR => a ^ b,
        op::LSH if b < width => a << b,
        op::RSH if b < width => a >> b,
        op::ARSH if b < width && wide => (a as i64 >> b) as u64,
        op::ARSH if b < width => (a as u32 as i32 >> b) as u32 as u64,
        // Division by zero gives 0, its remainder the dividend.
        op::DIV => a.checked_div(b).unwrap_or(0),
        op::MOD => a.checked_rem(b).unwrap_or(a),
        op::NEG => a.wrapping_neg(),
        _ => return None,
    };
    Some(if wide { result } else { result & u64::from(u32::MAX) })
}

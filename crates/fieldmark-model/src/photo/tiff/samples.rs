//! One kind of sample of a row, made 8-bit.
//!
//! Whole numbers span all their bits: 0 is 0, and the largest is 255. Of numbers with a sign the largest is 255, and what
//! is negative is 0, as in TIFF's "black is zero". Floats span 0 to 1; those beyond are cut off, and what is no number
//! is 0. But where most of a picture's values are beyond 1, it was made on the scale of 8 bits (0 to 255) or of 16 (0 to
//! 65,535), and is read so: see [`Counts::white`].

use super::layout::{Kind, Samples};

/// How a picture's floats are spread: enough to see which of them is white.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    positive: u64,
    beyond_one: u64,
    beyond_bytes: u64,
}

impl Counts {
    fn add(&mut self, value: f64) {
        self.positive += u64::from(value > 0.0);
        self.beyond_one += u64::from(value > 1.001);
        self.beyond_bytes += u64::from(value > 255.5);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.positive += other.positive;
        self.beyond_one += other.beyond_one;
        self.beyond_bytes += other.beyond_bytes;
    }

    /// The value that is white: 1, unless more than half of the values above 0 are beyond it, and then 255, unless more
    /// than half are beyond that. So some lights beyond white leave a picture on its scale.
    pub(super) fn white(&self) -> f64 {
        if self.beyond_one * 2 <= self.positive {
            1.0
        } else if self.beyond_bytes * 2 <= self.positive {
            255.0
        } else {
            65_535.0
        }
    }
}

/// Makes one kind of sample 8-bit: that at `index` of each pixel, as far as `to` goes.
pub(super) fn to_bytes(
    samples: &Samples,
    (row, index): (&[u8], usize),
    white: f64,
    to: &mut [u8],
    counts: &mut Counts,
) {
    let step = samples.interleaved();
    match (samples.kind, samples.bits) {
        (Kind::Unsigned, 8) => {
            for (to, &value) in to.iter_mut().zip(row[index..].iter().step_by(step)) {
                *to = value;
            }
        }
        (Kind::Unsigned, 16) => {
            let (values, _) = row.as_chunks::<2>();
            for (to, value) in to.iter_mut().zip(values[index..].iter().step_by(step)) {
                *to = ((samples.order.number(value) + 128) / 257) as u8;
            }
        }
        (Kind::Float, _) => {
            for (x, to) in to.iter_mut().enumerate() {
                let value = float(samples, row, x * step + index);
                counts.add(value);
                // A number that is none becomes 0 here.
                *to = (value / white * 255.0 + 0.5) as u8;
            }
        }
        (kind, bits) => {
            for (x, to) in to.iter_mut().enumerate() {
                *to = scaled(kind, bits, number(samples, row, x * step + index));
            }
        }
    }
}

/// Copies one kind of sample as it is, which must be unsigned and of 16 bits at most.
pub(super) fn to_numbers(samples: &Samples, (row, index): (&[u8], usize), to: &mut [u16]) {
    let step = samples.interleaved();
    for (x, to) in to.iter_mut().enumerate() {
        *to = number(samples, row, x * step + index) as u16;
    }
}

/// A whole number's share of its range, of 255.
fn scaled(kind: Kind, bits: u32, value: u64) -> u8 {
    let (value, most) = if kind == Kind::Signed && bits > 1 {
        let most = (1 << (bits - 1)) - 1;
        (if value > most { 0 } else { value }, most)
    } else {
        (value, u64::MAX >> (64 - bits))
    };
    ((u128::from(value) * 255 + u128::from(most / 2)) / u128::from(most)) as u8
}

/// The whole number at a place in a row: of whole bytes in the file's order, else of bits from the highest on.
fn number(samples: &Samples, row: &[u8], place: usize) -> u64 {
    let bits = samples.bits as usize;
    if bits.is_multiple_of(8) {
        let size = bits / 8;
        return samples.order.number(&row[place * size..(place + 1) * size]);
    }
    let (first, last) = (place * bits, (place + 1) * bits);
    let bytes = &row[first / 8..last.div_ceil(8)];
    let window = bytes.iter().fold(0_u64, |window, &byte| window << 8 | u64::from(byte));
    window >> (bytes.len() * 8 - (first % 8) - bits) & ((1 << bits) - 1)
}

fn float(samples: &Samples, row: &[u8], place: usize) -> f64 {
    let number = number(samples, row, place);
    match samples.bits {
        16 => half::f16::from_bits(number as u16).to_f64(),
        32 => f32::from_bits(number as u32).into(),
        _ => f64::from_bits(number),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ifd::Order;
    use super::*;

    fn bytes(kind: Kind, bits: u32, row: &[u8], width: usize) -> Vec<u8> {
        let samples = Samples { kind, bits, order: Order::Big, count: 1, separate: false };
        let mut to = vec![0; width];
        to_bytes(&samples, (row, 0), 1.0, &mut to, &mut Counts::default());
        to
    }

    #[test]
    fn whole_numbers_span_their_range() {
        assert_eq!(bytes(Kind::Unsigned, 1, &[0b1010_0000], 4), [255, 0, 255, 0]);
        assert_eq!(bytes(Kind::Unsigned, 2, &[0b0001_1011], 4), [0, 85, 170, 255]);
        assert_eq!(bytes(Kind::Unsigned, 4, &[0x0f, 0x10], 3), [0, 255, 17]);
        // 2048 of 4095 is 127.53 of 255.
        assert_eq!(bytes(Kind::Unsigned, 12, &[0xff, 0xf8, 0x00], 2), [255, 128]);
        assert_eq!(
            bytes(Kind::Unsigned, 16, &[0xff, 0xff, 0x80, 0x00, 0x00, 0x80, 0x00, 0x81], 4),
            [255, 128, 0, 1]
        );
        assert_eq!(
            bytes(Kind::Unsigned, 32, &[0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff], 2),
            [255, 127]
        );
        assert_eq!(bytes(Kind::Unsigned, 64, &[0xff; 8], 1), [255]);
        assert_eq!(bytes(Kind::Signed, 8, &[0x7f, 0x80, 0xff, 0x00, 0x40], 5), [255, 0, 0, 0, 129]);
        assert_eq!(bytes(Kind::Signed, 16, &[0x7f, 0xff, 0x80, 0x00], 2), [255, 0]);
    }

    #[test]
    fn floats_span_zero_to_one() {
        let row = [0.0_f32, 1.0, 0.5, -3.0, 7.0, f32::NAN, f32::INFINITY].map(f32::to_be_bytes).concat();
        assert_eq!(bytes(Kind::Float, 32, &row, 7), [0, 255, 128, 0, 255, 0, 255]);
        assert_eq!(bytes(Kind::Float, 16, &[0x3c, 0x00, 0x38, 0x00], 2), [255, 128]);
        assert_eq!(bytes(Kind::Float, 64, &0.2_f64.to_be_bytes(), 1), [51]);
    }

    #[test]
    fn white_is_where_most_values_lie() {
        let white = |values: &[f64]| {
            let mut counts = Counts::default();
            values.iter().for_each(|&value| counts.add(value));
            counts.white()
        };
        assert_eq!(white(&[0.0, 0.0, 0.2, 1.0]), 1.0);
        assert_eq!(white(&[0.0, 0.2, 0.3, 40.0]), 1.0, "a light beyond white");
        assert_eq!(white(&[0.0, 0.0, 0.0, 40.0, 255.0, 256.0]), 255.0);
        assert_eq!(white(&[1000.0, 65_535.0, 0.5]), 65_535.0);
        assert_eq!(white(&[f64::NAN, f64::NEG_INFINITY]), 1.0);
    }
}

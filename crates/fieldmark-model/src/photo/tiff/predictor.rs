//! Rows that were stored as differences of neighbours, made whole again.
//!
//! All samples of a pixel take part, those without a meaning included: each follows its own kind.

use super::ifd::Order;
use super::layout::{Predictor, Samples};

/// Undoes a predictor on a row.
pub(super) fn undo(predictor: Predictor, samples: &Samples, row: &mut [u8], scratch: &mut Vec<u8>) {
    match predictor {
        Predictor::None => {}
        Predictor::Horizontal => sum_up(row, samples),
        Predictor::Float => join_floats(row, samples, scratch),
    }
}

/// Adds to each sample the one of its kind in the pixel before.
fn sum_up(row: &mut [u8], samples: &Samples) {
    let step = samples.interleaved();
    match (samples.bits, samples.order) {
        (8, _) => sum_up_bytes(row, step),
        (16, Order::Little) => {
            sum_up_as(row, step, |a, b| u16_sum(a, b, u16::from_le_bytes, u16::to_le_bytes))
        }
        (16, Order::Big) => sum_up_as(row, step, |a, b| u16_sum(a, b, u16::from_be_bytes, u16::to_be_bytes)),
        (32, Order::Little) => sum_up_as(row, step, |a: [u8; 4], b| {
            u32::from_le_bytes(a).wrapping_add(u32::from_le_bytes(b)).to_le_bytes()
        }),
        (32, Order::Big) => sum_up_as(row, step, |a: [u8; 4], b| {
            u32::from_be_bytes(a).wrapping_add(u32::from_be_bytes(b)).to_be_bytes()
        }),
        (_, Order::Little) => sum_up_as(row, step, |a: [u8; 8], b| {
            u64::from_le_bytes(a).wrapping_add(u64::from_le_bytes(b)).to_le_bytes()
        }),
        (_, Order::Big) => sum_up_as(row, step, |a: [u8; 8], b| {
            u64::from_be_bytes(a).wrapping_add(u64::from_be_bytes(b)).to_be_bytes()
        }),
    }
}

fn u16_sum(a: [u8; 2], b: [u8; 2], from: fn([u8; 2]) -> u16, to: fn(u16) -> [u8; 2]) -> [u8; 2] {
    to(from(a).wrapping_add(from(b)))
}

fn sum_up_bytes(row: &mut [u8], step: usize) {
    for at in step..row.len() {
        row[at] = row[at].wrapping_add(row[at - step]);
    }
}

fn sum_up_as<const N: usize>(row: &mut [u8], step: usize, add: impl Fn([u8; N], [u8; N]) -> [u8; N]) {
    let (values, _) = row.as_chunks_mut::<N>();
    for at in step..values.len() {
        values[at] = add(values[at], values[at - step]);
    }
}

/// Sums bytes up, and puts together floats whose first bytes all come first, then all their second bytes, and so on.
fn join_floats(row: &mut [u8], samples: &Samples, scratch: &mut Vec<u8>) {
    sum_up_bytes(row, samples.interleaved());
    let size = samples.bits as usize / 8;
    let count = row.len() / size;
    scratch.clear();
    scratch.extend_from_slice(row);
    for (at, value) in row.chunks_exact_mut(size).enumerate() {
        for (byte, to) in value.iter_mut().enumerate() {
            *to = scratch[byte * count + at];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::Kind;
    use super::*;

    fn samples(bits: u32, count: usize, order: Order) -> Samples {
        Samples { kind: Kind::Unsigned, bits, order, count, separate: false }
    }

    #[test]
    fn every_kind_of_sample_follows_its_own() {
        let mut row = [1, 10, 100, 200, 1, 1, 1, 100];
        undo(Predictor::Horizontal, &samples(8, 4, Order::Little), &mut row, &mut Vec::new());
        assert_eq!(row, [1, 10, 100, 200, 2, 11, 101, 44]);
        let mut row = [0, 255, 0, 2, 0, 1, 0, 254];
        undo(Predictor::Horizontal, &samples(16, 2, Order::Big), &mut row, &mut Vec::new());
        assert_eq!(row, [0, 255, 0, 2, 1, 0, 1, 0]);
        let mut row = [255, 255, 0, 0, 2, 0, 0, 0];
        undo(Predictor::Horizontal, &samples(32, 1, Order::Little), &mut row, &mut Vec::new());
        assert_eq!(row, [255, 255, 0, 0, 1, 0, 1, 0]);
    }

    #[test]
    fn floats_are_put_together_from_their_bytes() {
        let values = [1.5_f32, -2.0, 0.25];
        let bytes = values.map(f32::to_be_bytes);
        let apart: Vec<u8> = (0..4).flat_map(|byte| bytes.map(|value| value[byte])).collect();
        let mut row = apart.clone();
        for at in (1..row.len()).rev() {
            row[at] = apart[at].wrapping_sub(apart[at - 1]);
        }
        undo(Predictor::Float, &samples(32, 1, Order::Big), &mut row, &mut Vec::new());
        assert_eq!(row, bytes.concat()[..]);
    }
}

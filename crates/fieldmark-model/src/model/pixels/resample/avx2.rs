//! Both passes with AVX2, where the processor has it.
//!
//! The instruction that multiplies and adds takes numbers of 16 bits, and a weight has up to 24. So it becomes two numbers:
//! its low 12 bits, and the rest with the sign. Products with both are summed apart, two pixels to a lane, and joined at
//! the end. Integers of 32 bits are added modulo 2^32, and the result fits, so it is exact for any partial sums.

use std::arch::x86_64::{__m128i, __m256i};
use std::ops::Range;

use pulp::{NullaryFnOnce, cast, x86::V3};

use super::columns::WeighedRows;
use super::weights::{PRECISION, Span, Weights};
use super::{CHANNELS, HALF, Pixels, Resample};

/// Rows that are resized side by side, so that weights are loaded once for all of them.
const ROWS: usize = 4;
/// Pixels of a row that are weighed in one step.
const STEP: usize = 8;
const STEP_VALUES: usize = CHANNELS * STEP;
/// Values of a row that are summed over the rows in one step.
const BLOCK: usize = 32;
const LOW_BITS: i32 = 12;

fn high(weight: i32) -> i16 {
    (weight >> LOW_BITS) as i16
}

fn low(weight: i32) -> i16 {
    (weight & ((1 << LOW_BITS) - 1)) as i16
}

/// The weights of 8 pixels, as the products take them: of the pairs of pixels 0 and 4, then of 2 and 6, each pair once
/// for every channel, in high and low parts.
type Step = [[i16; 16]; 4];

fn step(weights: &[i32]) -> Step {
    let pairs = |first: usize, part: fn(i32) -> i16| {
        std::array::from_fn(|lane| {
            let (half, pair, of_pair) = (lane / 8, lane % 8 / 2, lane % 2);
            let weight = weights.get(first + 4 * half + of_pair).copied().unwrap_or(0);
            if pair < CHANNELS { part(weight) } else { 0 }
        })
    };
    [pairs(0, high), pairs(0, low), pairs(2, high), pairs(2, low)]
}

/// Where the bytes of pixels `first` and `first + 1`, and of those four later, go: to 16 bits each, channel by channel.
/// The upper half holds the last 16 of 24 bytes.
const fn places(first: usize) -> [i8; 32] {
    let mut places = [-1; 32];
    let mut at = 0;
    while at < 2 * CHANNELS {
        let (half, channel) = (at / CHANNELS, at % CHANNELS);
        let byte = CHANNELS * first + channel + half * (4 * CHANNELS - 8);
        places[16 * half + 4 * channel] = byte as i8;
        places[16 * half + 4 * channel + 2] = (byte + CHANNELS) as i8;
        at += 1;
    }
    places
}

/// Resizes rows of one picture to one length.
pub(super) struct RowKernel {
    simd: V3,
    /// For each pixel of the result: its first source pixel, and which steps are its own.
    taps: Vec<(usize, Range<usize>)>,
    steps: Vec<Step>,
}

impl RowKernel {
    /// None where the processor lacks the instructions, or rows are shorter than the steps of one pixel.
    pub(super) fn new(width: usize, x: Span, origin: u32, resample: Resample) -> Option<Self> {
        let mut kernel = Self { simd: V3::try_new()?, taps: Vec::new(), steps: Vec::new() };
        let mut weights = Weights::default();
        for pixel in x.wanted() {
            weights.set(x, resample, pixel, origin);
            let padded = weights.fixed.len().next_multiple_of(STEP);
            // Where whole steps would leave the row, they begin earlier, with weights of zero.
            let begin = weights.first.min(width.checked_sub(padded)?);
            weights.fixed.splice(0..0, std::iter::repeat_n(0, weights.first - begin));
            let from = kernel.steps.len();
            kernel.steps.extend(weights.fixed.chunks(STEP).map(step));
            kernel.taps.push((begin, from..kernel.steps.len()));
        }
        Some(kernel)
    }

    /// Resizes rows of `source` from `first` on, as many as `out` holds.
    pub(super) fn resize(&self, source: Pixels<'_>, first: usize, out: &mut [u8]) {
        let length = CHANNELS * self.taps.len();
        // The last pixel is written with one byte more than it has.
        let mut results = [const { Vec::new() }; ROWS];
        results.iter_mut().for_each(|result| result.resize(length + 1, 0));
        for (group, out) in out.chunks_mut(ROWS * length).enumerate() {
            let count = out.len() / length;
            let row = |row: usize| source.row(first + group * ROWS + row.min(count - 1));
            let rows = [row(0), row(1), row(2), row(3)];
            self.simd.vectorize(Rows { kernel: self, rows, results: &mut results });
            for (out, result) in out.chunks_exact_mut(length).zip(&results) {
                out.copy_from_slice(&result[..length]);
            }
        }
    }
}

struct Rows<'a> {
    kernel: &'a RowKernel,
    rows: [&'a [u8]; ROWS],
    results: &'a mut [Vec<u8>; ROWS],
}

impl NullaryFnOnce for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { kernel, rows: [row0, row1, row2, row3], results: [out0, out1, out2, out3] } = self;
        let simd = kernel.simd;
        for (pixel, (first, steps)) in kernel.taps.iter().enumerate() {
            let steps = &kernel.steps[steps.clone()];
            let values = CHANNELS * first..CHANNELS * first + STEP_VALUES * steps.len();
            let (row0, row1) = (&row0[values.clone()], &row1[values.clone()]);
            let (row2, row3) = (&row2[values.clone()], &row3[values]);
            let mut sums = [[cast::<_, __m256i>([0i32; 8]); 2]; ROWS];
            for (index, step) in steps.iter().enumerate() {
                let values = STEP_VALUES * index..STEP_VALUES * (index + 1);
                add_step(simd, &mut sums[0], &row0[values.clone()], step);
                add_step(simd, &mut sums[1], &row1[values.clone()], step);
                add_step(simd, &mut sums[2], &row2[values.clone()], step);
                add_step(simd, &mut sums[3], &row3[values], step);
            }
            let pixels: [[u8; 4]; ROWS] = cast(finished(simd, sums));
            let at = CHANNELS * pixel..CHANNELS * pixel + 4;
            out0[at.clone()].copy_from_slice(&pixels[0]);
            out1[at.clone()].copy_from_slice(&pixels[1]);
            out2[at.clone()].copy_from_slice(&pixels[2]);
            out3[at].copy_from_slice(&pixels[3]);
        }
    }
}

/// Adds the products of 8 pixels to the high and the low sums.
#[inline(always)]
fn add_step(simd: V3, sums: &mut [__m256i; 2], values: &[u8], step: &Step) {
    let (Some(start), Some(end)) = (values.first_chunk::<16>(), values.last_chunk::<16>()) else { return };
    let (start, end): (__m128i, __m128i) = (cast(*start), cast(*end));
    let bytes = simd.avx2._mm256_inserti128_si256::<1>(simd.avx._mm256_castsi128_si256(start), end);
    let outer = simd.avx2._mm256_shuffle_epi8(bytes, cast(const { places(0) }));
    let inner = simd.avx2._mm256_shuffle_epi8(bytes, cast(const { places(2) }));
    add_products(simd, sums, outer, [cast(step[0]), cast(step[1])]);
    add_products(simd, sums, inner, [cast(step[2]), cast(step[3])]);
}

#[inline(always)]
fn add_products(simd: V3, [high, low]: &mut [__m256i; 2], values: __m256i, weights: [__m256i; 2]) {
    let avx2 = simd.avx2;
    *high = avx2._mm256_add_epi32(*high, avx2._mm256_madd_epi16(values, weights[0]));
    *low = avx2._mm256_add_epi32(*low, avx2._mm256_madd_epi16(values, weights[1]));
}

/// One pixel of each row, as three bytes and a fourth without meaning.
#[inline(always)]
fn finished(simd: V3, sums: [[__m256i; 2]; ROWS]) -> __m128i {
    let one = |sums: [__m256i; 2]| {
        let sum = joined(simd, sums);
        let upper = simd.avx2._mm256_extracti128_si256::<1>(sum);
        let sum = simd.sse2._mm_add_epi32(simd.avx._mm256_castsi256_si128(sum), upper);
        let half: __m128i = cast([HALF; 4]);
        simd.sse2._mm_srai_epi32::<{ PRECISION as i32 }>(simd.sse2._mm_add_epi32(sum, half))
    };
    let [first, second, third, fourth] = sums;
    let upper = simd.sse2._mm_packs_epi32(one(first), one(second));
    let lower = simd.sse2._mm_packs_epi32(one(third), one(fourth));
    simd.sse2._mm_packus_epi16(upper, lower)
}

#[inline(always)]
fn joined(simd: V3, [high, low]: [__m256i; 2]) -> __m256i {
    simd.avx2._mm256_add_epi32(simd.avx2._mm256_slli_epi32::<LOW_BITS>(high), low)
}

/// Sums weighed rows, as far as whole vectors go; returns how many values are done.
pub(super) fn sum_rows(rows: &WeighedRows<'_>, out: &mut [u8]) -> usize {
    let Some(simd) = V3::try_new() else { return 0 };
    let (blocks, _) = out.as_chunks_mut::<BLOCK>();
    let done = BLOCK * blocks.len();
    simd.vectorize(Columns { simd, rows, blocks });
    done
}

struct Columns<'a> {
    simd: V3,
    rows: &'a WeighedRows<'a>,
    blocks: &'a mut [[u8; BLOCK]],
}

impl NullaryFnOnce for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { simd, rows, blocks } = self;
        let weights = rows.weights;
        let length = CHANNELS * rows.source.width;
        let zero: __m256i = cast([0i32; 8]);
        for (block, out) in blocks.iter_mut().enumerate() {
            let mut sums = [[zero; 2]; 4];
            let mut at = weights.first * length + rows.values.start + block * BLOCK;
            for pair in weights.fixed.chunks(2) {
                let second = pair.get(1).copied().unwrap_or(0);
                let one = &rows.source.values[at..];
                // A last row without a partner has itself, with a weight of zero.
                let other = if pair.len() == 2 { &one[length..] } else { one };
                add_rows(simd, &mut sums, [one, other], [pair[0], second]);
                at += 2 * length;
            }
            *out = cast(bytes(simd, sums));
        }
    }
}

/// Adds 32 values of two rows.
#[inline(always)]
fn add_rows(simd: V3, sums: &mut [[__m256i; 2]; 4], rows: [&[u8]; 2], weights: [i32; 2]) {
    let (Some(one), Some(other)) = (rows[0].first_chunk::<BLOCK>(), rows[1].first_chunk::<BLOCK>()) else {
        return;
    };
    let (one, other): (__m256i, __m256i) = (cast(*one), cast(*other));
    let (avx2, zero): (_, __m256i) = (simd.avx2, cast([0i32; 8]));
    let pair = |part: fn(i32) -> i16| -> i32 { cast([part(weights[0]), part(weights[1])]) };
    let weights = [simd.avx._mm256_set1_epi32(pair(high)), simd.avx._mm256_set1_epi32(pair(low))];
    let (lower, upper) = (avx2._mm256_unpacklo_epi8(one, other), avx2._mm256_unpackhi_epi8(one, other));
    let [first, second, third, fourth] = sums;
    add_products(simd, first, avx2._mm256_unpacklo_epi8(lower, zero), weights);
    add_products(simd, second, avx2._mm256_unpackhi_epi8(lower, zero), weights);
    add_products(simd, third, avx2._mm256_unpacklo_epi8(upper, zero), weights);
    add_products(simd, fourth, avx2._mm256_unpackhi_epi8(upper, zero), weights);
}

/// The rounded sums in the values' order: packing undoes what unpacking did.
#[inline(always)]
fn bytes(simd: V3, sums: [[__m256i; 2]; 4]) -> __m256i {
    let avx2 = simd.avx2;
    let one = |sums: [__m256i; 2]| {
        let half: __m256i = cast([HALF; 8]);
        avx2._mm256_srai_epi32::<{ PRECISION as i32 }>(avx2._mm256_add_epi32(joined(simd, sums), half))
    };
    let [first, second, third, fourth] = sums;
    let lower = avx2._mm256_packs_epi32(one(first), one(second));
    let upper = avx2._mm256_packs_epi32(one(third), one(fourth));
    avx2._mm256_packus_epi16(lower, upper)
}

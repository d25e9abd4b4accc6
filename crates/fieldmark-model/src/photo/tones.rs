//! Whether a photo of more than 8 bits a value uses so few tones that its values were scaled for another range.
//!
//! Files of 16 bits are read with 65535 as white, and floats with 1 as white. Some programs store 12 bits in 16, which
//! leaves 17 tones near black, or floats up to 255, which leaves black and white. Photos of 8 bits are not looked at:
//! there the range is not in doubt.

use image::RgbImage;

/// At most so many tones are almost none: 12 bits in 16 leave one more than 4095 / 257.
const FEW: usize = 17;

/// One value in so many may have any tone.
const STRAY: u64 = 1000;

/// How many of the 256 tones hold all values but one in a thousand, if these are almost none.
pub(super) fn few_tones(rgb: &RgbImage) -> Option<usize> {
    let mut counts = [0_u64; 256];
    rgb.as_raw().iter().for_each(|&value| counts[usize::from(value)] += 1);
    counts.sort_unstable_by(|one, other| other.cmp(one));
    let covered: u64 = counts.iter().take(FEW).sum();
    let all: u64 = counts.iter().sum();
    let is_few = all - covered <= all / STRAY;
    is_few.then(|| counts.iter().take(FEW).filter(|&&count| count > 0).count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn grey(value: impl Fn(u32) -> u8) -> RgbImage {
        RgbImage::from_fn(256, 100, |x, y| Rgb([value(x + 256 * y); 3]))
    }

    #[test]
    fn twelve_bits_and_floats_to_255_use_few_tones() {
        assert_eq!(few_tones(&grey(|at| (at * 16 % 4096 / 257) as u8)), Some(16));
        assert_eq!(few_tones(&grey(|at| if at % 7 == 0 { 0 } else { 255 })), Some(2));
        // A few values between.
        assert!(few_tones(&grey(|at| if at < 20 { at as u8 } else { 255 })).is_some());
    }

    #[test]
    fn photos_of_low_contrast_use_many() {
        assert_eq!(few_tones(&grey(|at| 100 + (at % 30) as u8)), None);
        assert_eq!(few_tones(&grey(|at| (at % 256) as u8)), None);
        assert_eq!(few_tones(&grey(|at| if at % 100 == 0 { (at / 100) as u8 } else { 255 })), None);
    }
}

//! Brightness and two colour differences, not compressed as JPEG, to RGB with libtiff's numbers.

use super::Fault;
use super::compression::Compression;
use super::ifd::{Directory, File, tag};
use super::layout::{Kind, Samples};

/// Tables for each of the three samples, in 65,536ths where they are summed.
pub(super) struct YCbCr {
    /// Pixels beside and below each other that share their colour.
    pub(super) sharing: [usize; 2],
    brightness: [i32; 256],
    red_to_red: [i32; 256],
    red_to_green: [i32; 256],
    blue_to_green: [i32; 256],
    blue_to_blue: [i32; 256],
}

impl YCbCr {
    pub(super) fn new(
        file: &File<'_, [u8]>,
        directory: &Directory,
        samples: &Samples,
        compression: &Compression<'_>,
    ) -> Result<Self, Fault> {
        let sharing = match file.list(directory, tag::YCBCR_SUBSAMPLING, 2)?[..] {
            [across, down] => [across, down],
            _ => [2, 2],
        };
        if sharing.iter().any(|count| !matches!(count, 1 | 2 | 4)) {
            return Err(Fault::broken(format!("{} x {} pixels that share a colour", sharing[0], sharing[1])));
        }
        let sharing = sharing.map(|count| count as usize);
        if sharing != [1, 1] && !compression.is_jpeg() {
            if samples.separate {
                return Err(Fault::unsupported("colour planes at lower resolution"));
            }
            if samples.count != 3 || samples.bits != 8 || samples.kind != Kind::Unsigned {
                return Err(Fault::unsupported(
                    "colour at lower resolution in other than three 8-bit samples",
                ));
            }
        }
        let weights = file.fractions::<3>(directory, tag::YCBCR_COEFFICIENTS)?;
        let weights = weights.filter(|weights| weights[1] != 0.0).unwrap_or([0.299, 0.587, 0.114]);
        let ranges = file.fractions::<6>(directory, tag::REFERENCE_BLACK_WHITE)?;
        Ok(Self::with(sharing, weights, ranges.unwrap_or([0.0, 255.0, 128.0, 255.0, 128.0, 255.0])))
    }

    fn with(sharing: [usize; 2], [red, green, blue]: [f32; 3], ranges: [f32; 6]) -> Self {
        let (of_red, of_blue) = (2.0 - 2.0 * red, 2.0 - 2.0 * blue);
        let factors = [of_red, red * of_red / green, of_blue, blue * of_blue / green];
        let [to_red, red_to_green, to_blue, blue_to_green] =
            factors.map(|factor| (factor.clamp(0.0, 2.0) * 65_536.0 + 0.5) as i32);
        let table = |value: &dyn Fn(i32) -> i32| std::array::from_fn(|code| value(code as i32));
        let red = |code: i32| stretched(code - 128, [ranges[4] - 128.0, ranges[5] - 128.0], 127.0);
        let blue = |code: i32| stretched(code - 128, [ranges[2] - 128.0, ranges[3] - 128.0], 127.0);
        Self {
            sharing,
            brightness: table(&|code| stretched(code, [ranges[0], ranges[1]], 255.0)),
            red_to_red: table(&|code| (to_red * red(code) + 32_768) >> 16),
            red_to_green: table(&|code| -red_to_green * red(code)),
            blue_to_green: table(&|code| -blue_to_green * blue(code) + 32_768),
            blue_to_blue: table(&|code| (to_blue * blue(code) + 32_768) >> 16),
        }
    }

    pub(super) fn is_subsampled(&self) -> bool {
        self.sharing != [1, 1]
    }

    /// Bytes of one group of pixels that share their colour.
    pub(super) fn group_bytes(&self) -> usize {
        self.sharing[0] * self.sharing[1] + 2
    }

    pub(super) fn rgb(&self, [brightness, blue, red]: [u8; 3]) -> [u8; 3] {
        let [brightness, blue, red] = [brightness, blue, red].map(usize::from);
        let grey = self.brightness[brightness];
        let green = (self.red_to_green[red] + self.blue_to_green[blue]) >> 16;
        [self.red_to_red[red], green, self.blue_to_blue[blue]].map(|by| (grey + by).clamp(0, 255) as u8)
    }

    /// Makes RGB of row `below` of a row of groups, from the left of which on as many pixels as fit.
    pub(super) fn row(&self, groups: &[u8], below: usize, rgb: &mut [u8]) {
        let [across, down] = self.sharing;
        let pixels = rgb.as_chunks_mut::<3>().0;
        for (group, pixels) in groups.chunks_exact(self.group_bytes()).zip(pixels.chunks_mut(across)) {
            let (blue, red) = (group[across * down], group[across * down + 1]);
            for (x, pixel) in pixels.iter_mut().enumerate() {
                *pixel = self.rgb([group[below * across + x], blue, red]);
            }
        }
    }
}

/// A code's value where two codes are black and white.
fn stretched(code: i32, [black, white]: [f32; 2], most: f32) -> i32 {
    let span = if white == black { 1.0 } else { white - black };
    let value = (code as f32 - black.trunc()) * most / span;
    value.clamp(-128.0 * 32.0, 128.0 * 32.0) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greys_stay_and_colours_are_those_of_rec_601() {
        let ycbcr = YCbCr::with([1, 1], [0.299, 0.587, 0.114], [0.0, 255.0, 128.0, 255.0, 128.0, 255.0]);
        for grey in [0, 100, 255] {
            assert_eq!(ycbcr.rgb([grey, 128, 128]), [grey; 3]);
        }
        assert_eq!(ycbcr.rgb([76, 85, 255]), [254, 0, 0]);
        assert_eq!(ycbcr.rgb([150, 44, 21]), [0, 255, 1]);
    }

    #[test]
    fn pixels_share_their_colour() {
        let ycbcr = YCbCr::with([2, 2], [0.299, 0.587, 0.114], [0.0, 255.0, 128.0, 255.0, 128.0, 255.0]);
        let groups = [1, 2, 3, 4, 128, 128, 5, 6, 7, 8, 128, 128];
        let mut rgb = [0; 9];
        ycbcr.row(&groups, 1, &mut rgb);
        assert_eq!(rgb, [3, 3, 3, 4, 4, 4, 7, 7, 7]);
    }
}

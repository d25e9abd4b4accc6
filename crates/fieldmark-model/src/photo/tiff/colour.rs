//! What the samples of a pixel mean, and the 8-bit RGB that this is.

use super::Fault;
use super::compression::Compression;
use super::ifd::{Directory, File, tag};
use super::lab::Lab;
use super::layout::{Kind, Samples};
use super::ycbcr::YCbCr;

/// An alpha channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alpha {
    /// Which sample of the pixel it is.
    pub(super) sample: usize,
    /// The colours were multiplied by it already.
    pub(super) multiplied: bool,
}

/// What the colour samples mean.
pub(super) enum Colour {
    Grey { white_is_zero: bool },
    Rgb,
    Palette(Vec<[u8; 3]>),
    Cmyk,
    YCbCr(Box<YCbCr>),
    Lab(Lab),
}

impl Colour {
    pub(super) fn new(
        file: &File<'_, [u8]>,
        directory: &Directory,
        samples: &Samples,
        compression: &Compression<'_>,
    ) -> Result<Self, Fault> {
        let photometric = match file.first(directory, tag::PHOTOMETRIC)? {
            Some(photometric) => photometric,
            // As libtiff guesses.
            None if compression.is_fax() => 0,
            None if samples.count >= 3 => 2,
            None => 1,
        };
        Ok(match photometric {
            0 | 1 => Self::Grey { white_is_zero: photometric == 0 },
            2 => Self::Rgb,
            3 => Self::Palette(palette(file, directory, samples)?),
            5 => match file.first(directory, tag::INK_SET)? {
                None | Some(1) => Self::Cmyk,
                Some(_) => return Err(Fault::unsupported("inks other than cyan, magenta, yellow and black")),
            },
            6 => Self::YCbCr(Box::new(YCbCr::new(file, directory, samples, compression)?)),
            8 | 9 => Self::Lab(Lab::new(samples, photometric == 9)?),
            4 => return Err(Fault::unsupported("a mask without a picture")),
            10 => return Err(Fault::unsupported("ITU L*a*b* colours")),
            32844 | 32845 => return Err(Fault::unsupported("LogLuv colours")),
            other => return Err(Fault::unsupported(format!("photometric interpretation {other}"))),
        })
    }

    /// How many samples the colour of a pixel takes.
    pub(super) fn channels(&self) -> usize {
        match self {
            Self::Grey { .. } | Self::Palette(_) => 1,
            Self::Rgb | Self::YCbCr(_) | Self::Lab(_) => 3,
            Self::Cmyk => 4,
        }
    }

    /// Some samples are there for several pixels.
    pub(super) fn is_subsampled(&self) -> bool {
        matches!(self, Self::YCbCr(ycbcr) if ycbcr.is_subsampled())
    }

    /// The samples count as they are stored, and must not be made 8-bit before.
    pub(super) fn wants_numbers(&self) -> bool {
        matches!(self, Self::Palette(_) | Self::Lab(_))
    }

    /// Makes RGB of 8-bit samples, one slice for each kind.
    pub(super) fn rgb_of_bytes(&self, channels: &[Vec<u8>], rgb: &mut [u8]) {
        let (pixels, _) = rgb.as_chunks_mut::<3>();
        match self {
            Self::Grey { white_is_zero } => {
                let flip = if *white_is_zero { 0xff } else { 0 };
                for (pixel, &value) in pixels.iter_mut().zip(&channels[0]) {
                    *pixel = [value ^ flip; 3];
                }
            }
            Self::Cmyk => {
                for (x, pixel) in pixels.iter_mut().enumerate() {
                    *pixel = cmyk([0, 1, 2, 3].map(|ink| channels[ink][x]));
                }
            }
            Self::YCbCr(ycbcr) => {
                for (x, pixel) in pixels.iter_mut().enumerate() {
                    *pixel = ycbcr.rgb([0, 1, 2].map(|sample| channels[sample][x]));
                }
            }
            _ => {
                for (x, pixel) in pixels.iter_mut().enumerate() {
                    *pixel = [0, 1, 2].map(|sample| channels[sample][x]);
                }
            }
        }
    }

    /// Makes RGB of samples as they are stored, one slice for each kind.
    pub(super) fn rgb_of_numbers(&self, channels: &[Vec<u16>], rgb: &mut [u8]) {
        let (pixels, _) = rgb.as_chunks_mut::<3>();
        for (x, pixel) in pixels.iter_mut().enumerate() {
            *pixel = match self {
                // An index beyond the palette cannot be: it has an entry for each that the bits can say.
                Self::Palette(palette) => {
                    palette.get(usize::from(channels[0][x])).copied().unwrap_or_default()
                }
                Self::Lab(lab) => lab.rgb([0, 1, 2].map(|sample| channels[sample][x])),
                _ => *pixel,
            };
        }
    }

    /// Lays RGB over white.
    pub(super) fn over_white(&self, multiplied: bool, alpha: &[u8], rgb: &mut [u8]) {
        // Ink that was multiplied by alpha is what remains of it on white paper; an index is never multiplied.
        let is_ink = matches!(self, Self::Grey { white_is_zero: true } | Self::Cmyk);
        let multiplied = multiplied && !matches!(self, Self::Palette(_));
        if multiplied && is_ink {
            return;
        }
        for (pixel, &alpha) in rgb.as_chunks_mut::<3>().0.iter_mut().zip(alpha) {
            for value in pixel {
                *value = if multiplied {
                    value.saturating_add(255 - alpha)
                } else {
                    let (value, alpha) = (u32::from(*value), u32::from(alpha));
                    ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
                };
            }
        }
    }
}

/// As Pillow makes RGB of CMYK.
fn cmyk([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    let left = 255 - u32::from(black);
    [cyan, magenta, yellow].map(|ink| {
        let product = u32::from(ink) * left + 128;
        left.saturating_sub((product + (product >> 8)) >> 8) as u8
    })
}

/// The colours of a palette: all red values, then green, then blue, 16 bits each.
///
/// The upper byte counts, whether a writer shifted 8 bits or repeated them. Some writers left them as they are.
fn palette(file: &File<'_, [u8]>, directory: &Directory, samples: &Samples) -> Result<Vec<[u8; 3]>, Fault> {
    if samples.kind == Kind::Float || samples.bits > 16 {
        return Err(Fault::unsupported(format!("a palette with indices of {} bits", samples.bits)));
    }
    let size = 1 << samples.bits;
    let values = file.list(directory, tag::COLOR_MAP, 3 * size)?;
    if values.len() as u64 != 3 * size {
        let found = values.len();
        return Err(Fault::broken(format!("expected a palette of {} values, found {found}", 3 * size)));
    }
    let shift = if values.iter().all(|&value| value < 256) { 0 } else { 8 };
    let size = size as usize;
    let value = |place: usize| (values[place] >> shift) as u8;
    Ok((0..size).map(|index| [value(index), value(size + index), value(2 * size + index)]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over_white(colour: &Colour, multiplied: bool, value: u8, alpha: u8) -> u8 {
        let mut rgb = [value; 3];
        colour.over_white(multiplied, &[alpha], &mut rgb);
        rgb[0]
    }

    #[test]
    fn alpha_counts_once() {
        assert_eq!(over_white(&Colour::Rgb, false, 0, 51), 204);
        assert_eq!(over_white(&Colour::Rgb, true, 0, 51), 204);
        assert_eq!(over_white(&Colour::Rgb, true, 40, 51), 244);
        assert_eq!(over_white(&Colour::Rgb, true, 200, 100), 255);
        let ink = Colour::Grey { white_is_zero: true };
        assert_eq!(over_white(&ink, true, 215, 51), 215);
        assert_eq!(over_white(&ink, false, 0, 51), 204);
    }

    #[test]
    fn ink_is_taken_from_white() {
        assert_eq!(cmyk([0; 4]), [255; 3]);
        assert_eq!(cmyk([255, 0, 0, 0]), [0, 255, 255]);
        assert_eq!(cmyk([0, 0, 0, 255]), [0; 3]);
        assert_eq!(cmyk([128, 64, 0, 51]), [102, 153, 204]);
    }
}

//! Strips and tiles put together to one RGB picture.
//!
//! The picture is cut into bands as high as a strip or tile, which are decoded beside each other, row after row: besides
//! the picture there are a few rows in memory for each thread, and a whole strip or tile where its compression gives
//! nothing smaller.

use std::io::Read;
use std::sync::Mutex;

use image::RgbImage;
use rayon::prelude::*;

use super::Fault;
use super::colour::Colour;
use super::compression::Wanted;
use super::ifd::File;
use super::layout::{Kind, Layout};
use super::predictor;
use super::samples::{Counts, to_bytes, to_numbers};
use crate::guard::guarded;

/// A picture as stored, and what was odd about it.
pub(super) struct Pixels {
    pub(super) rgb: RgbImage,
    /// Every pixel is transparent, so that only the white behind it is left.
    pub(super) is_transparent: bool,
}

/// The value of floats that is white: of colours and of alpha.
#[derive(Clone, Copy, PartialEq)]
struct White {
    colour: f64,
    alpha: f64,
}

/// How colours and alpha are spread, where they are floats, and whether anything is to be seen.
#[derive(Clone, Copy, Default)]
struct Spread {
    colour: Counts,
    alpha: Counts,
    /// A pixel is not wholly transparent.
    is_visible: bool,
}

impl Spread {
    fn white(&self) -> White {
        White { colour: self.colour.white(), alpha: self.alpha.white() }
    }
}

/// Decodes a picture.
pub(super) fn decode(file: &File<'_, [u8]>, layout: &Layout<'_>) -> Result<Pixels, Fault> {
    let mut rgb = RgbImage::new(layout.size.width, layout.size.height);
    let usual = Spread::default().white();
    let mut spread = decode_bands(file, layout, usual, &mut rgb)?;
    let white = spread.white();
    // Only once all of it was seen is it known on which scale the floats are; nearly always on this one.
    if white != usual {
        spread = decode_bands(file, layout, white, &mut rgb)?;
    }
    Ok(Pixels { rgb, is_transparent: layout.alpha.is_some() && !spread.is_visible })
}

/// Decodes all bands; of several faults the topmost counts.
fn decode_bands(
    file: &File<'_, [u8]>,
    layout: &Layout<'_>,
    white: White,
    rgb: &mut RgbImage,
) -> Result<Spread, Fault> {
    let band_bytes = layout.parts.height.min(layout.size.height) as usize * layout.size.width as usize * 3;
    let topmost: Mutex<Option<(usize, Fault)>> = Mutex::new(None);
    let spread = Mutex::new(Spread::default());
    rgb.par_chunks_mut(band_bytes).enumerate().for_each(|(band, to)| {
        let is_below = |fault: &(usize, Fault)| fault.0 < band;
        if lock(&topmost).as_ref().is_some_and(is_below) {
            return;
        }
        let decoder = Band { file, layout, white };
        let result = guarded(|| decoder.decode(band as u64, to));
        match result.unwrap_or_else(|panic| Err(Fault::broken(panic.to_string()))) {
            Ok(found) => {
                let mut spread = lock(&spread);
                spread.colour.merge(found.colour);
                spread.alpha.merge(found.alpha);
                spread.is_visible |= found.is_visible;
            }
            Err(fault) => {
                let mut topmost = lock(&topmost);
                if !topmost.as_ref().is_some_and(is_below) {
                    *topmost = Some((band, fault));
                }
            }
        }
    });
    match topmost.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        Some((_, fault)) => Err(fault),
        None => Ok(*lock(&spread)),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// What a band needs to be decoded.
struct Band<'a, 'f> {
    file: &'a File<'f, [u8]>,
    layout: &'a Layout<'f>,
    white: White,
}

impl Band<'_, '_> {
    fn decode(&self, band: u64, to: &mut [u8]) -> Result<Spread, Fault> {
        let parts = &self.layout.parts;
        let mut rows = Rows::new(self.layout, self.white);
        let row_bytes = self.layout.size.width as usize * 3;
        for column in 0..parts.across {
            let left = column as usize * parts.width as usize;
            let width = (parts.width as usize).min(self.layout.size.width as usize - left);
            let mut sources = self.open(band * parts.across + column, (to.len() / row_bytes) as u32)?;
            let rgb = to.chunks_exact_mut(row_bytes).map(|row| &mut row[left * 3..(left + width) * 3]);
            match &self.layout.colour {
                Colour::YCbCr(ycbcr) if ycbcr.is_subsampled() => {
                    let groups = (parts.width as usize).div_ceil(ycbcr.sharing[0]);
                    let mut stored = vec![0; groups * ycbcr.group_bytes()];
                    for (y, rgb) in rgb.enumerate() {
                        if y % ycbcr.sharing[1] == 0 {
                            sources[0].read_exact(&mut stored)?;
                        }
                        ycbcr.row(&stored, y % ycbcr.sharing[1], rgb);
                    }
                }
                _ => {
                    for rgb in rgb {
                        rows.read(&mut sources)?;
                        rows.convert(rgb);
                    }
                }
            }
        }
        Ok(rows.spread)
    }

    /// Opens the strip or tile at a place; one for each kind of sample where they lie apart.
    fn open(&self, place: u64, rows: u32) -> Result<Vec<Box<dyn Read + '_>>, Fault> {
        let (layout, parts) = (self.layout, &self.layout.parts);
        let wanted = Wanted {
            width: parts.width,
            rows,
            part_rows: parts.height,
            samples: layout.samples.interleaved(),
            bytes: layout.samples.row_bytes(parts.width.into()) * u64::from(rows),
        };
        let open = |place| {
            let data = layout.part(self.file, place)?;
            layout.compression.open(data, layout.bits_reversed, wanted)
        };
        if !layout.samples.separate {
            return Ok(vec![open(place)?]);
        }
        let plane = parts.across * parts.down;
        layout.channels().into_iter().map(|sample| open(sample as u64 * plane + place)).collect()
    }
}

/// One row of a strip or tile: as stored, and its kinds of samples apart.
struct Rows<'a> {
    layout: &'a Layout<'a>,
    white: White,
    spread: Spread,
    channels: Vec<usize>,
    stored: Vec<Vec<u8>>,
    bytes: Vec<Vec<u8>>,
    numbers: Vec<Vec<u16>>,
    scratch: Vec<u8>,
}

impl<'a> Rows<'a> {
    fn new(layout: &'a Layout<'a>, white: White) -> Self {
        let width = layout.parts.width.min(layout.size.width) as usize;
        let row = layout.samples.row_bytes(layout.parts.width.into()) as usize;
        let colours = layout.colour.channels();
        let numbers = if layout.colour.wants_numbers() { colours } else { 0 };
        Self {
            layout,
            white,
            spread: Spread::default(),
            channels: layout.channels(),
            stored: vec![vec![0; row]; layout.used_planes()],
            bytes: vec![vec![0; width]; colours + usize::from(layout.alpha.is_some())],
            numbers: vec![vec![0; width]; numbers],
            scratch: Vec::new(),
        }
    }

    /// Reads the next row.
    fn read(&mut self, sources: &mut [Box<dyn Read + '_>]) -> Result<(), Fault> {
        for (source, row) in sources.iter_mut().zip(&mut self.stored) {
            source.read_exact(row)?;
            predictor::undo(self.layout.predictor, &self.layout.samples, row, &mut self.scratch);
        }
        Ok(())
    }

    /// Makes RGB of the row that was read, as many pixels as fit.
    fn convert(&mut self, rgb: &mut [u8]) {
        let samples = &self.layout.samples;
        let (colour, colours) = (&self.layout.colour, self.layout.colour.channels());
        let is_rgb = matches!(colour, Colour::Rgb) && samples.count == 3 && !samples.separate;
        if is_rgb && samples.bits == 8 && samples.kind == Kind::Unsigned {
            rgb.copy_from_slice(&self.stored[0][..rgb.len()]);
            return;
        }
        let width = rgb.len() / 3;
        for (place, &sample) in self.channels.iter().enumerate() {
            let row =
                if samples.separate { (&self.stored[place][..], 0) } else { (&self.stored[0][..], sample) };
            if place < self.numbers.len() {
                to_numbers(samples, row, &mut self.numbers[place][..width]);
                continue;
            }
            let (white, counts) = if place < colours {
                (self.white.colour, &mut self.spread.colour)
            } else {
                (self.white.alpha, &mut self.spread.alpha)
            };
            to_bytes(samples, row, white, &mut self.bytes[place][..width], counts);
        }
        if colour.wants_numbers() {
            colour.rgb_of_numbers(&self.numbers, rgb);
        } else {
            colour.rgb_of_bytes(&self.bytes, rgb);
        }
        if let Some(alpha) = self.layout.alpha {
            let opacity = &self.bytes[colours];
            self.spread.is_visible |= opacity[..width].iter().any(|&value| value > 0);
            colour.over_white(alpha.multiplied, opacity, rgb);
        }
    }
}

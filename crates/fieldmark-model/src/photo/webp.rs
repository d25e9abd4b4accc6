//! WebP bytes in, the picture or the first frame of an animation on its canvas out.
//!
//! The container is read here, and the decoder is handed a file with one picture and no more: it fails on frames that
//! are narrower than their canvas, and on metadata that is announced but missing. As in libwebp and Pillow a frame lies
//! on a transparent canvas; if the file says that it has no transparency, that is black.

use std::borrow::Cow;

use image::{DynamicImage, Rgb, RgbImage};

use super::decode::{Decoded, broken, pixels, truncated};
use super::exif::Exif;
use super::flatten::{Flat, flatten};
use super::format::Format;
use super::pieces::Pieces;
use super::source::Source;
use crate::error::Result;
use crate::geometry::Size;

const HEADER_BYTES: usize = 12;
const HAS_ALPHA: u8 = 0x10;
const IS_ANIMATED: u8 = 0x02;

/// Decodes a still picture or the first frame.
pub(super) fn decode(source: &Source<'_>) -> Result<Decoded> {
    let file = Container::find(source.bytes).ok_or_else(|| source.error(truncated(Format::WebP)))?;
    let exif = Exif::parse(file.exif, file.xmp);
    let Some(canvas) = &file.canvas else {
        let pixels = pixels(source, Format::WebP, Pieces::new(file.frame.pieces(None)))?;
        return Ok(Decoded { flat: flatten(pixels), exif });
    };
    source.check_size(canvas.size.width, canvas.size.height)?;
    let frame = canvas.place.unwrap_or(Place { left: 0, top: 0, size: canvas.size });
    frame.check(canvas.size).map_err(|reason| source.error(broken(Format::WebP, &reason)))?;
    let pixels = pixels(source, Format::WebP, Pieces::new(file.frame.pieces(Some(frame.size))))?;
    let found = Size::new(pixels.width(), pixels.height());
    if found != frame.size {
        let [is, says] = [found, frame.size].map(|size| format!("{} x {}", size.width, size.height));
        let reason = format!("expected a picture of {says} pixels, found one of {is}");
        return Err(source.error(broken(Format::WebP, &reason)));
    }
    let shows_alpha = if canvas.place.is_some() { canvas.has_alpha } else { true };
    Ok(Decoded { flat: compose(pixels, frame, canvas.size, shows_alpha), exif })
}

/// Lays a frame on its canvas.
fn compose(pixels: DynamicImage, frame: Place, canvas: Size, shows_alpha: bool) -> Flat {
    let pixels = if shows_alpha { pixels } else { DynamicImage::ImageRgb8(pixels.into_rgb8()) };
    let flat = flatten(pixels);
    if frame.size == canvas {
        return flat;
    }
    let ground = if shows_alpha { 255 } else { 0 };
    let mut rgb = RgbImage::from_pixel(canvas.width, canvas.height, Rgb([ground; 3]));
    let rows = rgb.chunks_exact_mut(3 * canvas.width as usize).skip(frame.top as usize);
    for (to, from) in rows.zip(flat.rgb.chunks_exact(3 * frame.size.width as usize)) {
        to[3 * frame.left as usize..][..from.len()].copy_from_slice(from);
    }
    Flat { rgb, ..flat }
}

/// Where a frame lies on its canvas.
#[derive(Clone, Copy)]
struct Place {
    left: u32,
    top: u32,
    size: Size,
}

impl Place {
    /// The place in the first bytes of a frame's chunk.
    fn read(data: &[u8]) -> Option<Self> {
        let number = |at: usize| three_bytes(data, at);
        let size = Size::new(number(6)? + 1, number(9)? + 1);
        Some(Self { left: 2 * number(0)?, top: 2 * number(3)?, size })
    }

    fn check(&self, canvas: Size) -> std::result::Result<(), String> {
        let Self { left, top, size } = self;
        if left + size.width <= canvas.width && top + size.height <= canvas.height {
            return Ok(());
        }
        Err(format!(
            "its first frame of {} x {} pixels at {left}, {top} is not inside its canvas of {} x {}",
            size.width, size.height, canvas.width, canvas.height
        ))
    }
}

fn three_bytes(bytes: &[u8], at: usize) -> Option<u32> {
    let &[low, middle, high] = bytes.get(at..)?.first_chunk::<3>()?;
    Some(u32::from_le_bytes([low, middle, high, 0]))
}

/// What a file holds.
struct Container<'a> {
    canvas: Option<Canvas>,
    frame: Frame<'a>,
    exif: Option<&'a [u8]>,
    xmp: Option<&'a [u8]>,
}

/// The extended header.
struct Canvas {
    size: Size,
    has_alpha: bool,
    /// Where the first frame of an animation lies.
    place: Option<Place>,
}

impl<'a> Container<'a> {
    fn find(bytes: &'a [u8]) -> Option<Self> {
        let mut chunks = chunks(bytes.get(HEADER_BYTES..)?);
        let first = chunks.next()?;
        if first.kind != *b"VP8X" {
            let frame = Frame { alpha: None, image: first };
            return Some(Self { canvas: None, frame, exif: None, xmp: None });
        }
        let (&flags, size) =
            (first.data.first()?, (three_bytes(first.data, 4)?, three_bytes(first.data, 7)?));
        let size = Size::new(size.0 + 1, size.1 + 1);
        let chunks: Vec<Chunk<'a>> = chunks.collect();
        let data = |kind: &[u8; 4]| chunks.iter().find(|chunk| chunk.kind == *kind).map(|chunk| chunk.data);
        let (place, frame) = if flags & IS_ANIMATED == 0 {
            (None, Frame::find(chunks.iter().copied())?)
        } else {
            let animation = data(b"ANMF")?;
            (Some(Place::read(animation)?), Frame::find(self::chunks(animation.get(16..)?))?)
        };
        let canvas = Canvas { size, has_alpha: flags & HAS_ALPHA != 0, place };
        Some(Self { canvas: Some(canvas), frame, exif: data(b"EXIF"), xmp: data(b"XMP ") })
    }
}

/// One chunk of a file, as far as it is there.
#[derive(Clone, Copy)]
struct Chunk<'a> {
    kind: [u8; 4],
    /// With kind and length.
    whole: &'a [u8],
    data: &'a [u8],
    /// How long the file says that the data is.
    length: u32,
}

fn chunks(mut bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    std::iter::from_fn(move || {
        let (kind, rest) = bytes.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length);
        let there = rest.len().min(length as usize);
        let chunk = Chunk { kind: *kind, whole: &bytes[..8 + there], data: &rest[..there], length };
        // Chunks have even lengths.
        bytes = rest.get(there + (there & 1)..).unwrap_or_default();
        Some(chunk)
    })
}

/// One picture: its colours, and of the lossy kind its alpha channel.
struct Frame<'a> {
    alpha: Option<Chunk<'a>>,
    image: Chunk<'a>,
}

impl<'a> Frame<'a> {
    fn find(chunks: impl Iterator<Item = Chunk<'a>>) -> Option<Self> {
        let mut alpha = None;
        for chunk in chunks {
            match &chunk.kind {
                b"ALPH" => alpha = alpha.or(Some(chunk)),
                b"VP8 " => return Some(Self { alpha, image: chunk }),
                b"VP8L" => return Some(Self { alpha: None, image: chunk }),
                _ => {}
            }
        }
        None
    }

    /// A file with this picture alone; `size` is what the extended header of one with alpha says.
    fn pieces(&self, size: Option<Size>) -> Vec<Cow<'a, [u8]>> {
        let alpha = self.alpha.zip(size);
        let mut header = Vec::new();
        if let Some((_, size)) = alpha {
            header.extend(*b"VP8X\x0a\0\0\0");
            header.extend([HAS_ALPHA, 0, 0, 0]);
            header.extend(&(size.width - 1).to_le_bytes()[..3]);
            header.extend(&(size.height - 1).to_le_bytes()[..3]);
        }
        let alpha = alpha.map(|(chunk, _)| chunk);
        let mut pieces: Vec<Cow<'a, [u8]>> = Vec::new();
        let mut length = 4 + header.len() as u64;
        for chunk in alpha.iter().chain([&self.image]) {
            pieces.push(Cow::Borrowed(chunk.whole));
            // A chunk that is cut short has nothing after it, and neither padding.
            pieces.push(Cow::Borrowed(if chunk.length % 2 == 0 { &[] } else { &[0] }));
            length += 8 + u64::from(chunk.length) + u64::from(chunk.length % 2);
        }
        if self.image.data.len() < self.image.length as usize {
            pieces.pop();
        }
        let length = u32::try_from(length).unwrap_or(u32::MAX - 1).to_le_bytes();
        pieces.insert(0, Cow::Owned([b"RIFF", &length, b"WEBP", &header[..]].concat()));
        pieces
    }
}

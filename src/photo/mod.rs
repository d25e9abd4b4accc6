//! A file or a byte string in, an upright 8-bit RGB picture out.
//!
//! The format is told from the content, never from the name. EXIF orientation is applied, transparency is
//! laid over white, grey and palette pictures become RGB, CMYK is read with Adobe's polarity, and 16 bits
//! become 8 by rounding `v / 257`. (Pillow agrees for colour, but clips 16-bit grey to 255, which turns
//! such pictures nearly white; we do not follow it there.) Of an animation the first frame is taken. ICC
//! profiles are not applied: the libraries that CLIP models were trained with ignore them too.
//!
//! Every file is input from outside: the number of pixels is checked before memory is taken for them, and
//! whatever is broken or cut short is an error that names the file.

mod jpeg;

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage, RgbaImage};
use rayon::prelude::*;

use crate::files::read_bounded;
use crate::geometry::Size;
use crate::progress::Warning;
use crate::{Error, Result};

/// The formats that can be decoded, as people write them.
pub const SUPPORTED_FORMATS: &str = "JPEG, PNG, WebP, GIF, BMP, TIFF";

/// Metadata, palettes and the like may take this much memory beside the pixels.
const OVERHEAD_BYTES: u64 = 256 << 20;

/// What a photo may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhotoOptions {
    /// The largest width times height that is decoded; larger images are refused from their header.
    pub pixel_limit: u64,
}

impl Default for PhotoOptions {
    /// At most 200 million pixels, which as 8-bit RGB take 600 MB.
    fn default() -> Self {
        Self { pixel_limit: 200_000_000 }
    }
}

/// An upright 8-bit RGB picture with at least one pixel, and the name that it goes by in messages.
#[derive(Clone, Debug)]
pub struct Photo {
    path: PathBuf,
    rgb: RgbImage,
    warnings: Vec<Warning>,
}

impl Photo {
    /// Reads and decodes a file with the default options.
    ///
    /// # Errors
    /// As [`Photo::open_with`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &PhotoOptions::default())
    }

    /// Reads and decodes a file.
    ///
    /// # Errors
    /// [`Error::Read`] if the file cannot be read or is not a regular file; [`Error::Image`] if it is not an
    /// image of a supported format, or broken; [`Error::ImageTooLarge`] if
    /// its header claims more pixels than the options allow.
    pub fn open_with(path: impl AsRef<Path>, options: &PhotoOptions) -> Result<Self> {
        let path = path.as_ref();
        let bytes = read_bounded(path, memory_limit(options.pixel_limit))?;
        Self::from_bytes(path, &bytes, options)
    }

    /// Decodes an image file that is in memory; `name` stands for it in messages.
    ///
    /// # Errors
    /// As [`Photo::open_with`], but for [`Error::Read`].
    pub fn from_bytes(name: impl Into<PathBuf>, bytes: &[u8], options: &PhotoOptions) -> Result<Self> {
        let path = name.into();
        let source = Source { path: &path, bytes, pixel_limit: options.pixel_limit };
        let mut warnings = Vec::new();
        let decoded = match source.format()? {
            ImageFormat::Jpeg => jpeg::decode(&source)?,
            format => decode_other(&source, format)?,
        };
        if decoded.exif == Exif::Unreadable {
            warnings.push(Warning::Image {
                path: path.clone(),
                reason: "its EXIF metadata cannot be read, so it is taken to be upright".into(),
            });
        }
        let rgb = turn_upright(decoded.rgb, decoded.exif.orientation());
        Ok(Self { path, rgb, warnings })
    }

    /// A photo from pixels that are upright already; `name` stands for it in messages.
    ///
    /// # Errors
    /// [`Error::Image`] if there is no pixel.
    pub fn from_rgb(name: impl Into<PathBuf>, rgb: RgbImage) -> Result<Self> {
        let path = name.into();
        if rgb.width() == 0 || rgb.height() == 0 {
            let reason = format!("expected at least one pixel, found {} x {}", rgb.width(), rgb.height());
            return Err(Error::Image { path, reason });
        }
        Ok(Self { path, rgb, warnings: Vec::new() })
    }

    /// A part of the photo, from some pixels to the left of it and above it on; none if it has no pixel or does not
    /// lie on the photo.
    pub fn part(&self, [left, top]: [u32; 2], size: Size) -> Option<Self> {
        let fits =
            |start: u32, length: u32, most: u32| length > 0 && length <= most && start <= most - length;
        let (width, height) = self.rgb.dimensions();
        if !fits(left, size.width, width) || !fits(top, size.height, height) {
            return None;
        }
        let rgb = image::imageops::crop_imm(&self.rgb, left, top, size.width, size.height).to_image();
        Some(Self { path: self.path.clone(), rgb, warnings: Vec::new() })
    }

    /// Width and height in pixels, upright.
    pub fn size(&self) -> Size {
        Size::new(self.rgb.width(), self.rgb.height())
    }

    /// The pixels, upright.
    pub fn rgb(&self) -> &RgbImage {
        &self.rgb
    }

    /// The file that the photo came from, or the name that stands for it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was odd about the file, though it could be read.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

/// The bytes of one image file, and what is needed to speak about them.
struct Source<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    pixel_limit: u64,
}

impl Source<'_> {
    fn error(&self, reason: impl Into<String>) -> Error {
        Error::Image { path: self.path.to_path_buf(), reason: reason.into() }
    }

    /// Refuses an image that is larger than allowed, or that has no pixels.
    fn check_size(&self, width: u32, height: u32) -> Result<()> {
        if width == 0 || height == 0 {
            return Err(self.error(format!("expected at least one pixel, found {width} x {height}")));
        }
        if Size::new(width, height).area() > self.pixel_limit {
            let (path, limit) = (self.path.to_path_buf(), self.pixel_limit);
            return Err(Error::ImageTooLarge { path, width, height, limit });
        }
        Ok(())
    }

    /// The format that the content shows, if it can be decoded.
    fn format(&self) -> Result<ImageFormat> {
        if self.bytes.is_empty() {
            return Err(self.error("not an image: the file is empty"));
        }
        match image::guess_format(self.bytes) {
            Ok(format) if is_supported(format) => Ok(format),
            Ok(format) => Err(self.unsupported(&format!("{format:?}").to_uppercase())),
            Err(_) => Err(match foreign_format(self.bytes) {
                Some(name) => self.unsupported(name),
                None => self.error(format!("not an image: its content is none of {SUPPORTED_FORMATS}")),
            }),
        }
    }

    fn unsupported(&self, name: &str) -> Error {
        self.error(format!("{name} is not supported; supported: {SUPPORTED_FORMATS}"))
    }
}

fn is_supported(format: ImageFormat) -> bool {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    matches!(format, Jpeg | Png | WebP | Gif | Bmp | Tiff)
}

/// The name of a format that people do have photos in, but that nothing here decodes.
fn foreign_format(bytes: &[u8]) -> Option<&'static str> {
    let brand = bytes.get(4..12).and_then(|box_start| box_start.strip_prefix(b"ftyp"));
    match brand {
        Some(b"avif" | b"avis") => return Some("AVIF"),
        Some(b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"mif1" | b"msf1") => return Some("HEIF"),
        Some(_) => return Some("a video or other ISO media file"),
        None => {}
    }
    let signatures: [(&[u8], &str); 4] = [
        (b"\xff\x0a", "JPEG XL"),
        (b"\0\0\0\x0cJXL ", "JPEG XL"),
        (b"\0\0\0\x0cjP  ", "JPEG 2000"),
        (b"%PDF", "PDF"),
    ];
    signatures.iter().find(|(start, _)| bytes.starts_with(start)).map(|&(_, name)| name)
}

/// The memory that an image of so many pixels may need: 16 bytes a pixel (RGBA in 32-bit floats).
pub(crate) fn memory_limit(pixels: u64) -> u64 {
    pixels.saturating_mul(16).saturating_add(OVERHEAD_BYTES).min(u64::from(u32::MAX) << 8)
}

/// What the decoders give: pixels as stored, and how to turn them.
struct Decoded {
    rgb: RgbImage,
    exif: Exif,
}

/// What an image's metadata says about its orientation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exif {
    /// Nothing, or a value that the standard does not have.
    Silent,
    /// How the stored pixels must be turned.
    Orientation(Orientation),
    /// There is an EXIF block, but it is broken from its first bytes.
    Unreadable,
}

impl Exif {
    fn parse(chunk: Option<&[u8]>) -> Self {
        let Some(chunk) = chunk else { return Self::Silent };
        // Some writers put JPEG's prefix before the block in WebP and PNG files as well.
        let chunk = chunk.strip_prefix(b"Exif\0\0").unwrap_or(chunk);
        if !chunk.starts_with(b"II*\0") && !chunk.starts_with(b"MM\0*") {
            return Self::Unreadable;
        }
        Orientation::from_exif_chunk(chunk).map_or(Self::Silent, Self::Orientation)
    }

    fn orientation(self) -> Orientation {
        match self {
            Self::Orientation(orientation) => orientation,
            Self::Silent | Self::Unreadable => Orientation::NoTransforms,
        }
    }
}

/// Decodes everything but JPEG.
fn decode_other(source: &Source<'_>, format: ImageFormat) -> Result<Decoded> {
    let name = format!("{format:?}").to_uppercase();
    let broken = |error: ImageError| source.error(describe(&name, &error));
    if format == ImageFormat::Png {
        // The decoder would reserve memory for a row of whatever width the header claims.
        let (width, height) = png_size(source.bytes).ok_or_else(|| source.error(truncated(&name)))?;
        source.check_size(width, height)?;
    }
    let mut reader = ImageReader::with_format(Cursor::new(source.bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(OVERHEAD_BYTES);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    source.check_size(width, height)?;
    limits.max_alloc = Some(memory_limit(Size::new(width, height).area()));
    decoder.set_limits(limits).map_err(broken)?;
    let exif = match format {
        ImageFormat::Tiff => decoder.orientation().map_or(Exif::Silent, Exif::Orientation),
        // Broken metadata is no reason to refuse good pixels.
        _ => Exif::parse(decoder.exif_metadata().unwrap_or(None).as_deref()),
    };
    let pixels = DynamicImage::from_decoder(decoder).map_err(broken)?;
    Ok(Decoded { rgb: flatten(pixels), exif })
}

/// Width and height from a PNG's header chunk, which the format wants first.
pub(crate) fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let header = bytes.get(12..24)?.strip_prefix(b"IHDR")?;
    let (width, height) = header.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*width), u32::from_be_bytes(height.try_into().ok()?)))
}

/// Says in one line what a decoder found.
fn describe(format: &str, error: &ImageError) -> String {
    match error {
        ImageError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => truncated(format),
        ImageError::Unsupported(kind) => format!("this kind of {format} is not supported: {kind}"),
        ImageError::Limits(_) => {
            format!("the {format} data wants more memory than an image of its size needs")
        }
        other => broken(format, &other.to_string()),
    }
}

fn truncated(format: &str) -> String {
    format!("the {format} data is truncated: it ends before the picture does")
}

fn broken(format: &str, details: &str) -> String {
    format!("the {format} data is broken: {details}")
}

/// Any kind of pixel as 8-bit RGB, transparency over white.
fn flatten(pixels: DynamicImage) -> RgbImage {
    if pixels.color().has_alpha() { over_white(&pixels.into_rgba8()) } else { pixels.into_rgb8() }
}

fn over_white(rgba: &RgbaImage) -> RgbImage {
    let mut rgb = RgbImage::new(rgba.width(), rgba.height());
    for (to, from) in rgb.chunks_exact_mut(3).zip(rgba.chunks_exact(4)) {
        let alpha = u32::from(from[3]);
        for (value, &colour) in to.iter_mut().zip(from) {
            let blend = u32::from(colour) * alpha + 255 * (255 - alpha);
            *value = ((blend + 127) / 255) as u8;
        }
    }
    rgb
}

/// Turns stored pixels as the metadata says.
fn turn_upright(rgb: RgbImage, orientation: Orientation) -> RgbImage {
    use Orientation::{NoTransforms, Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    match orientation {
        NoTransforms => rgb,
        Rotate90 | Rotate90FlipH | Rotate270 | Rotate270FlipH => swap_sides(&rgb, orientation),
        _ => {
            let mut turned = DynamicImage::ImageRgb8(rgb);
            turned.apply_orientation(orientation);
            turned.into_rgb8()
        }
    }
}

/// The four orientations that make rows of columns, some columns at a time.
///
/// Phones store upright photos lying down, and walking whole columns of them takes longer than to decode
/// them: every pixel of a column is in another cache line.
fn swap_sides(rgb: &RgbImage, orientation: Orientation) -> RgbImage {
    const BAND: usize = 16;
    let (columns, rows) = (rgb.width() as usize, rgb.height() as usize);
    let columns_reversed = matches!(orientation, Orientation::Rotate270 | Orientation::Rotate270FlipH);
    let rows_reversed = matches!(orientation, Orientation::Rotate90 | Orientation::Rotate270FlipH);
    let mut out = RgbImage::new(rgb.height(), rgb.width());
    out.par_chunks_mut(BAND * rows * 3).enumerate().for_each(|(band, to)| {
        let first = band * BAND;
        let count = to.len() / (rows * 3);
        for (row, from) in rgb.chunks_exact(columns * 3).enumerate() {
            let x = if rows_reversed { rows - 1 - row } else { row };
            for y in 0..count {
                let column = if columns_reversed { columns - 1 - first - y } else { first + y };
                let at = (y * rows + x) * 3;
                to[at..at + 3].copy_from_slice(&from[column * 3..column * 3 + 3]);
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgba;

    #[test]
    fn transparency_is_laid_over_white() {
        let rgba = RgbaImage::from_fn(3, 1, |x, _| {
            Rgba([[10, 20, 30, 0], [10, 20, 30, 255], [0, 0, 0, 51]][x as usize])
        });
        // A fifth of black over white leaves four fifths of white: 204.
        assert_eq!(over_white(&rgba).as_raw(), &[255, 255, 255, 10, 20, 30, 204, 204, 204]);
    }

    #[test]
    fn every_orientation_is_that_of_the_image_crate() {
        // Wider than a band, so that its borders are crossed.
        let rgb = RgbImage::from_fn(150, 7, |x, y| image::Rgb([x as u8, y as u8, 9]));
        for orientation in (1..=8).filter_map(Orientation::from_exif) {
            let mut expected = DynamicImage::ImageRgb8(rgb.clone());
            expected.apply_orientation(orientation);
            assert!(turn_upright(rgb.clone(), orientation) == expected.into_rgb8(), "{orientation:?}");
        }
    }

    #[test]
    fn foreign_formats_are_named() {
        assert_eq!(foreign_format(b"\0\0\0\x18ftypheic"), Some("HEIF"));
        assert_eq!(foreign_format(b"%PDF-1.7"), Some("PDF"));
        assert_eq!(foreign_format(b"hello"), None);
    }

    #[test]
    fn png_header_is_read_without_a_decoder() {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        bytes.extend([0, 0, 1, 2, 0, 0, 0, 3]);
        assert_eq!(png_size(&bytes), Some((258, 3)));
        assert_eq!(png_size(&bytes[..23]), None);
    }

    #[test]
    fn broken_exif_is_told_from_none() {
        assert_eq!(Exif::parse(None), Exif::Silent);
        assert_eq!(Exif::parse(Some(b"garbage")), Exif::Unreadable);
        assert_eq!(Exif::parse(Some(b"II*\0")), Exif::Silent);
    }
}

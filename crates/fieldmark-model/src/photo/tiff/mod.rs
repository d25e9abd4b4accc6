//! TIFF bytes in, RGB pixels as stored out.
//!
//! The reader is our own: what others do with tiles beyond the edge, extra bands under a predictor, separate planes or
//! several pages is wrong without a word. Decompressors are others' and run guarded. Read are classic TIFF and BigTIFF of
//! both byte orders; strips and tiles; samples side by side or in planes; whole numbers of 1 to 32 and of 64 bits and
//! floats; grey, RGB, palette, CMYK, YCbCr and L*a*b*, with alpha of both kinds and with bands that are passed over;
//! uncompressed, PackBits, LZW, Deflate, Zstandard, fax, JPEG and WebP, with predictors. The rest is refused by its name.
//!
//! The photo is the largest picture of a file, the first of several: thumbnails, smaller versions and masks are passed
//! over. A file with a camera's sensor data is a raw photo, which is refused, previews and all.

mod colour;
mod compression;
mod ifd;
mod lab;
mod layout;
mod page;
mod pixels;
mod predictor;
mod samples;
mod ycbcr;

use std::io::{BufReader, Error, ErrorKind, Read, Seek};

use image::metadata::Orientation;

use self::ifd::{Bytes, Directory, File, Pieces, tag};
use self::layout::Layout;
use self::pixels::Pixels;
use super::decode::{Decoded, broken, truncated};
use super::exif::Exif;
use super::flatten::Flat;
use super::format::Format;
use super::source::Source;
use crate::error::FormatKind;
use crate::error::Result;
use crate::geometry::Size;

/// Why a file cannot be read.
#[derive(Debug)]
enum Fault {
    /// It ends before the picture does.
    Truncated,
    /// It contradicts itself or the format.
    Broken(String),
    /// It is sound, as far as one can see, but of a kind that is not supported.
    Unsupported(String),
}

impl Fault {
    fn broken(details: impl Into<String>) -> Self {
        Self::Broken(details.into())
    }

    fn unsupported(kind: impl Into<String>) -> Self {
        Self::Unsupported(kind.into())
    }

    fn reason(self) -> String {
        match self {
            Self::Truncated => truncated(Format::Tiff),
            Self::Broken(details) => broken(Format::Tiff, &details),
            Self::Unsupported(kind) => format!("this kind of TIFF is not supported: {kind}"),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::UnexpectedEof => Self::Truncated,
            ErrorKind::Unsupported => Self::Unsupported(error.to_string()),
            _ => Self::Broken(error.to_string()),
        }
    }
}

/// The size of the photo in a file, as stored, of which no more than `budget` bytes are read.
pub(super) fn size<R: Read + Seek>(reader: BufReader<R>, budget: u64) -> std::io::Result<Size> {
    let failed = |fault| match fault {
        Fault::Truncated => ErrorKind::UnexpectedEof.into(),
        Fault::Broken(reason) | Fault::Unsupported(reason) => Error::new(ErrorKind::InvalidData, reason),
    };
    let pieces = Pieces::new(reader, budget)?;
    let file = File::new(&pieces).map_err(failed)?;
    let directories = file.directories().map_err(failed)?;
    let chosen = page::choose(&file, &directories).map_err(failed)?;
    sides(&file, &directories[chosen]).map_err(failed)
}

/// Decodes the photo in a file.
pub(super) fn decode(source: &Source<'_>) -> Result<Decoded> {
    let failed = |fault: Fault| source.error(fault.reason());
    let file = File::new(source.bytes).map_err(failed)?;
    let directories = file.directories().map_err(failed)?;
    if let Some(name) = page::raw_format(&file, &directories) {
        let (path, format) = (source.path.to_path_buf(), name.into());
        return Err(crate::Error::UnsupportedFormat { path, format, kind: FormatKind::CameraRaw });
    }
    let chosen = page::choose(&file, &directories).map_err(failed)?;
    let size = sides(&file, &directories[chosen]).map_err(failed)?;
    source.check_size(size.width, size.height)?;
    let layout = Layout::new(&file, &directories[chosen], size).map_err(failed)?;
    let Pixels { rgb, is_transparent } = pixels::decode(&file, &layout).map_err(failed)?;
    let exif = match page::orientation(&file, &directories, chosen) {
        Some(value) => Orientation::from_exif(value).map_or(Exif::Silent, Exif::Orientation),
        // XMP counts where TIFF's own tag is missing, as for the other formats.
        None => Exif::parse(None, file.content(&directories[chosen], tag::XMP).unwrap_or(None)),
    };
    let flat = Flat { rgb, is_transparent, is_deep: layout.samples.bits > 8 };
    Ok(Decoded { flat, exif })
}

fn sides<B: Bytes + ?Sized>(file: &File<'_, B>, directory: &Directory) -> Result<Size, Fault> {
    let side = |tag| {
        let side = file.first(directory, tag)?.unwrap_or(0);
        u32::try_from(side).map_err(|_| Fault::broken(format!("a side of {side} pixels")))
    };
    Ok(Size::new(side(tag::IMAGE_WIDTH)?, side(tag::IMAGE_LENGTH)?))
}

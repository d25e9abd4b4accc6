//! A photo's size from its header: nothing is decoded, and little of the file is read.

use std::fs::File;
use std::io::{self, BufReader, Cursor, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use super::decode::{broken, truncated};
use super::format::{Format, PREFIX_BYTES};
use super::gif::GifLayout;
use super::source::{format_of, image_error};
use super::tiff;
use crate::geometry::Size;
use crate::guard::guarded;
use crate::{error::Error, error::Result};

/// Reading a header takes no more than this many bytes of the file.
const HEADER_BYTES: u64 = 4 << 20;

/// What one step through the file reads at least.
const STEP_BYTES: usize = 1024;

/// The size of the photo in a file, as stored: a photo that its metadata turns has it upright with swapped sides.
///
/// At most 4 MiB are read, wherever in the file they are. That a size is found does not mean that the photo can be decoded.
///
/// # Errors
/// [`Error::Read`] if the file cannot be read or is not a regular file; [`Error::UnsupportedFormat`] or [`Error::Image`]
/// if it is no image of a supported format, or no size is found.
pub fn size_in_file(path: impl AsRef<Path>) -> Result<Size> {
    let path = path.as_ref();
    let unreadable = |source| Error::Read { path: path.to_path_buf(), source };
    // A pipe could wait forever, and a device never end.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        let reason = "expected a regular file, found something else";
        return Err(unreadable(io::Error::new(ErrorKind::InvalidInput, reason)));
    }
    let mut file = File::open(path).map_err(unreadable)?;
    let mut prefix = Vec::new();
    file.by_ref().take(PREFIX_BYTES as u64).read_to_end(&mut prefix).map_err(unreadable)?;
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    size(path, &prefix, file)
}

/// The size of the photo in these bytes, as [`size_in_file`]; `name` stands for them in messages.
///
/// # Errors
/// As [`size_in_file`], but for [`Error::Read`].
pub fn size_in_bytes(name: impl AsRef<Path>, bytes: &[u8]) -> Result<Size> {
    size(name.as_ref(), bytes, Cursor::new(bytes))
}

fn size(path: &Path, prefix: &[u8], reader: impl Read + Seek) -> Result<Size> {
    let format = format_of(path, prefix)?;
    let found = guarded(|| stored_size(format, reader));
    let reason = match found {
        Ok(Ok(size)) => return Ok(size),
        Ok(Err(error)) => match error.kind() {
            ErrorKind::UnexpectedEof => truncated(format),
            ErrorKind::InvalidData => broken(format, &error.to_string()),
            _ => return Err(Error::Read { path: path.to_path_buf(), source: error }),
        },
        Err(panicked) => broken(format, &panicked.to_string()),
    };
    Err(image_error(path, reason))
}

fn stored_size(format: Format, reader: impl Read + Seek) -> io::Result<Size> {
    let reader = BufReader::with_capacity(STEP_BYTES, reader);
    if format == Format::Tiff {
        return tiff::size(reader, HEADER_BYTES);
    }
    let mut head = Head::new(reader);
    match format {
        Format::Jpeg => jpeg_size(&mut head),
        Format::Png => {
            let start: [u8; 24] = head.take()?;
            png_size(&start).map(|(width, height)| Size::new(width, height)).ok_or_else(no_size)
        }
        Format::WebP => webp_size(&mut head),
        Format::Gif => Ok(GifLayout::read(&mut head)?.size()),
        Format::Bmp => bmp_size(&mut head),
        Format::Tiff => Err(no_size()),
    }
}

pub(super) fn no_size() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "no size is found in its header")
}

/// A file that is read forwards in small pieces, most of it skipped.
pub(super) struct Head<R> {
    reader: BufReader<R>,
    /// How many bytes may still be read.
    left: u64,
}

impl<R: Read + Seek> Head<R> {
    pub(super) fn new(reader: BufReader<R>) -> Self {
        Self { reader, left: HEADER_BYTES }
    }

    /// Where in the file it is.
    pub(super) fn position(&mut self) -> io::Result<u64> {
        self.reader.stream_position()
    }

    pub(super) fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.spend(N)?;
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn skip(&mut self, count: u32) -> io::Result<()> {
        self.spend(STEP_BYTES.min(count as usize))?;
        self.reader.seek_relative(count.into())
    }

    fn spend(&mut self, count: usize) -> io::Result<()> {
        self.left = self.left.checked_sub(count as u64).ok_or_else(no_size)?;
        Ok(())
    }
}

/// Width and height from a PNG's header chunk, which the format wants first.
pub fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let header = bytes.get(12..24)?.strip_prefix(b"IHDR")?;
    let (width, height) = header.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*width), u32::from_be_bytes(height.try_into().ok()?)))
}

/// The first frame header of a JPEG.
fn jpeg_size<R: Read + Seek>(head: &mut Head<R>) -> io::Result<Size> {
    let _start_of_image: [u8; 2] = head.take()?;
    loop {
        while head.take()? != [0xff] {}
        let marker = loop {
            let [byte] = head.take()?;
            if byte != 0xff {
                break byte;
            }
        };
        match marker {
            // No marker, and markers without a segment.
            0x00 | 0x01 | 0xd0..=0xd8 => continue,
            // The picture begins or ends without a header.
            0xd9 | 0xda => return Err(no_size()),
            _ => {}
        }
        let length = u16::from_be_bytes(head.take()?);
        if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
            let [_precision, height @ .., w1, w0]: [u8; 5] = head.take()?;
            return Ok(Size::new(u16::from_be_bytes([w1, w0]).into(), u16::from_be_bytes(height).into()));
        }
        head.skip(u32::from(length).saturating_sub(2))?;
    }
}

/// The canvas, or the only picture of a WebP.
fn webp_size<R: Read + Seek>(head: &mut Head<R>) -> io::Result<Size> {
    head.skip(12)?;
    let kind: [u8; 4] = head.take()?;
    head.skip(4)?;
    match &kind {
        b"VP8X" => {
            head.skip(4)?;
            let [w0, w1, w2, h0, h1, h2] = head.take()?;
            let side = |low, middle, high| u32::from_le_bytes([low, middle, high, 0]) + 1;
            Ok(Size::new(side(w0, w1, w2), side(h0, h1, h2)))
        }
        b"VP8L" => {
            let [_signature, sides @ ..]: [u8; 5] = head.take()?;
            let sides = u32::from_le_bytes(sides);
            Ok(Size::new((sides & 0x3fff) + 1, (sides >> 14 & 0x3fff) + 1))
        }
        b"VP8 " => {
            head.skip(6)?;
            let [w0, w1, h0, h1] = head.take()?;
            let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
            Ok(Size::new(side(w0, w1), side(h0, h1)))
        }
        _ => Err(no_size()),
    }
}

/// The sides of a BMP; the height is negative where rows go downwards.
fn bmp_size<R: Read + Seek>(head: &mut Head<R>) -> io::Result<Size> {
    head.skip(14)?;
    let length = u32::from_le_bytes(head.take()?);
    if length == 12 {
        let [w0, w1, h0, h1] = head.take()?;
        return Ok(Size::new(u16::from_le_bytes([w0, w1]).into(), u16::from_le_bytes([h0, h1]).into()));
    }
    let width = i32::from_le_bytes(head.take()?);
    let height = i32::from_le_bytes(head.take()?);
    let width = u32::try_from(width).map_err(|_| no_size())?;
    Ok(Size::new(width, height.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_a_png_is_read_without_a_decoder() {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        bytes.extend([0, 0, 1, 2, 0, 0, 0, 3]);
        assert_eq!(png_size(&bytes), Some((258, 3)));
        assert_eq!(png_size(&bytes[..23]), None);
        assert_eq!(size_in_bytes("a", &bytes).ok(), Some(Size::new(258, 3)));
        assert!(size_in_bytes("a", &bytes[..23]).is_err());
    }

    #[test]
    fn the_size_of_a_jpeg_is_behind_any_number_of_segments() {
        let thumbnail = b"\xff\xe1\0\x0a\xff\xc0\0\x0b\x08\0\x01\0";
        let frame = b"\xff\xff\xc2\0\x0b\x08\x01\x02\0\x09\x01";
        let bytes = [&b"\xff\xd8"[..], &thumbnail.repeat(2000), frame].concat();
        assert_eq!(size_in_bytes("a", &bytes).ok(), Some(Size::new(9, 258)));
        for length in (0..bytes.len() - 1).step_by(97) {
            assert!(size_in_bytes("a", &bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_file_without_end_is_given_up() {
        /// Extension blocks as far as one reads.
        struct Endless(u64);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                buffer.fill(b'!');
                self.0 += buffer.len() as u64;
                Ok(buffer.len())
            }
        }
        impl Seek for Endless {
            fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
                Ok(self.0)
            }
        }
        for format in [Format::Jpeg, Format::Gif] {
            let mut endless = Endless(0);
            let error = stored_size(format, &mut endless).map(drop).unwrap_err();
            assert_eq!(error.to_string(), "no size is found in its header");
            assert!(endless.0 <= HEADER_BYTES + STEP_BYTES as u64);
        }
    }

    #[test]
    fn rows_that_go_downwards_have_a_negative_height() {
        let bytes =
            [&b"BM"[..], &[0; 12], &40_u32.to_le_bytes(), &7_i32.to_le_bytes(), &(-9_i32).to_le_bytes()];
        assert_eq!(size_in_bytes("a", &bytes.concat()).ok(), Some(Size::new(7, 9)));
    }
}

//! JPEG streams in strips and tiles: their tables may lie apart, and TIFF's own tags say what the components are.

use libjpeg_turbo_rs::{DecodeLimits, Decoder, JpegError, PixelFormat};

use super::super::Fault;
use super::Wanted;

const START_OF_IMAGE: [u8; 2] = [0xff, 0xd8];
const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;

/// What all strips and tiles of a picture have in common.
pub(in crate::photo::tiff) struct Jpeg<'a> {
    tables: Option<&'a [u8]>,
    /// The components are brightness and two of colour; as they are otherwise.
    is_ycbcr: bool,
}

impl<'a> Jpeg<'a> {
    pub(super) fn new(tables: Option<&'a [u8]>) -> Self {
        Self { tables, is_ycbcr: false }
    }

    /// The components are YCbCr, and RGB is wanted.
    pub(super) fn turns_into_rgb(&mut self) {
        self.is_ycbcr = true;
    }

    /// Decodes a strip or tile to rows of the wanted width.
    pub(super) fn decode(&self, data: &[u8], wanted: Wanted) -> Result<Vec<u8>, Fault> {
        let stream = self.stream(data)?;
        let limits = limits(wanted);
        let failed = |error: JpegError| match error {
            JpegError::UnexpectedEof => Fault::Truncated,
            JpegError::Unsupported(kind) => Fault::unsupported(format!("JPEG compression with {kind}")),
            other => Fault::broken(format!("its JPEG data: {other}")),
        };
        let format = match wanted.samples {
            1 => PixelFormat::Grayscale,
            3 => PixelFormat::Rgb,
            _ => PixelFormat::Cmyk,
        };
        let decoder = Decoder::new_with_limits(&stream, limits).map_err(failed)?.with_output_format(format);
        let header = decoder.header();
        let (width, height) = (usize::from(header.width), usize::from(header.height));
        if header.precision != 8 {
            return Err(Fault::unsupported(format!("JPEG compression of {} bits", header.precision)));
        }
        if header.components.len() != wanted.samples {
            let (expected, found) = (wanted.samples, header.components.len());
            return Err(Fault::broken(format!(
                "expected {expected} components in its JPEG data, found {found}"
            )));
        }
        if width < wanted.width as usize || height < wanted.rows as usize {
            let (expected, rows) = (wanted.width, wanted.rows);
            let found =
                format!("expected {expected} x {rows} pixels in its JPEG data, found {width} x {height}");
            return Err(Fault::broken(found));
        }
        let mut pixels = vec![0; width * height * wanted.samples];
        decoder.decode_image_into(&mut pixels).map_err(failed)?;
        Ok(cut(pixels, width * wanted.samples, wanted.width as usize * wanted.samples))
    }

    /// One stream with all its tables, in which a marker of Adobe's says what the components are, and nothing else does.
    fn stream(&self, data: &[u8]) -> Result<Vec<u8>, Fault> {
        if !crate::photo::jpeg::reaches_end_of_image(data) {
            return Err(Fault::Truncated);
        }
        let transform = u8::from(self.is_ycbcr);
        let mut stream = START_OF_IMAGE.to_vec();
        stream.extend([0xff, 0xee, 0, 14]);
        stream.extend(b"Adobe\0\x64\0\0\0\0");
        stream.push(transform);
        if let Some(tables) = self.tables {
            copy_segments(tables, &mut stream)?;
        }
        let rest = copy_segments(data, &mut stream)?;
        stream.extend_from_slice(rest);
        Ok(stream)
    }
}

/// Copies the segments before the first scan, but for those of applications, and returns what follows them.
fn copy_segments<'d>(data: &'d [u8], stream: &mut Vec<u8>) -> Result<&'d [u8], Fault> {
    let mut rest =
        data.strip_prefix(&START_OF_IMAGE).ok_or_else(|| Fault::broken("its JPEG data has no start"))?;
    loop {
        let (&[0xff, marker], after) = rest.split_first_chunk::<2>().unwrap_or((&[0xff, END_OF_IMAGE], &[]))
        else {
            return Err(Fault::broken("its JPEG data has no marker where one is expected"));
        };
        match marker {
            0xff => {
                rest = &rest[1..];
                continue;
            }
            END_OF_IMAGE => return Ok(&[]),
            START_OF_SCAN => return Ok(rest),
            _ => {}
        }
        let length = after.first_chunk::<2>().map_or(0, |length| usize::from(u16::from_be_bytes(*length)));
        let end = length + 2;
        if length < 2 || end > rest.len() {
            return Err(Fault::Truncated);
        }
        if !matches!(marker, 0xe0..=0xef | 0xfe) {
            stream.extend_from_slice(&rest[..end]);
        }
        rest = &rest[end..];
    }
}

/// A strip's stream may be as high as the others though it is the last, and both sides may be filled to whole blocks.
fn limits(wanted: Wanted) -> DecodeLimits {
    DecodeLimits {
        max_width: wanted.width as usize + 64,
        max_height: wanted.part_rows as usize + 64,
        max_pixels: u64::MAX,
        max_scans: 100,
        max_memory: None,
    }
}

/// Rows without what is right of the part.
fn cut(pixels: Vec<u8>, row: usize, wanted: usize) -> Vec<u8> {
    if row == wanted {
        return pixels;
    }
    pixels.chunks_exact(row).flat_map(|row| &row[..wanted]).copied().collect()
}

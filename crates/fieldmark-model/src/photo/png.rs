//! PNG bytes in, RGB pixels as stored out.
//!
//! The decoder is handed the chunks that make the picture and no others: header, palette, transparency and the first
//! run of image data. So an animation gives its default image, metadata cannot stop a photo, and a palette that is not
//! made of whole colours, too short, too long for its depth or missing is read as Pillow reads it: bytes that are left
//! over are dropped, and colours that are missing are black. As in Pillow the data's own checksum counts, and not those
//! of the chunks around it.

use std::borrow::Cow;
use std::io::Read;

use flate2::bufread::ZlibDecoder;
use image::RgbImage;
use png::{BitDepth, ColorType, DecodeOptions, Decoder, DecodingError, Limits, Reader, Transformations};

use super::decode::{Decoded, broken, memory_limit, truncated};
use super::exif::{Exif, raw_profile};
use super::flatten::{Flat, eight_bits, pixel_over_white};
use super::format::Format;
use super::header::png_size;
use super::pieces::Pieces;
use super::source::Source;
use crate::error::Result;
use crate::geometry::Size;
use crate::guard::guarded;

const SIGNATURE_BYTES: usize = 8;
const INDEXED: u8 = 3;

/// 256 colours.
const LONGEST_PALETTE: usize = 768;

/// The longest text that is inflated.
const LONGEST_TEXT: usize = 1 << 20;

/// Decodes the default image of a PNG.
pub(super) fn decode(source: &Source<'_>) -> Result<Decoded> {
    let (width, height) = png_size(source.bytes).ok_or_else(|| source.error(truncated(Format::Png)))?;
    source.check_size(width, height)?;
    let picture = Picture::find(source.bytes).map_err(|reason| source.error(reason))?;
    let failed = |error: DecodingError| source.error(describe(&error));
    let mut options = DecodeOptions::default();
    options.set_ignore_crc(true);
    options.set_ignore_adler32(false);
    let mut decoder = Decoder::new_with_options(Pieces::new(picture.pieces()), options);
    let limit = memory_limit(Size::new(width, height).area());
    decoder.set_limits(Limits { bytes: usize::try_from(limit).unwrap_or(usize::MAX) });
    decoder.set_transformations(Transformations::EXPAND);
    let reader = decoder.read_info().map_err(failed)?;
    let flat = Rows::new(&reader).read(reader, Size::new(width, height)).map_err(failed)?;
    let texts = Texts::find(source.bytes);
    Ok(Decoded { flat, exif: Exif::parse(texts.exif.as_deref(), texts.xmp.as_deref()) })
}

fn describe(error: &DecodingError) -> String {
    match error {
        DecodingError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => {
            truncated(Format::Png)
        }
        DecodingError::LimitsExceeded => {
            "the PNG data wants more memory than an image of its size needs".into()
        }
        other => broken(Format::Png, &other.to_string()),
    }
}

/// One chunk of the file.
struct Chunk<'a> {
    kind: [u8; 4],
    data: &'a [u8],
    /// Where it begins and ends in the file, length and checksum included.
    begin: usize,
    end: usize,
}

/// The chunks of a file as far as they are whole.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut begin = SIGNATURE_BYTES;
    std::iter::from_fn(move || {
        let (length, rest) = bytes.get(begin..)?.split_first_chunk::<4>()?;
        let (kind, rest) = rest.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let data = rest.get(..length)?;
        rest.get(length..length.checked_add(4)?)?;
        let chunk = Chunk { kind: *kind, data, begin, end: begin + 12 + length };
        begin = chunk.end;
        Some(chunk)
    })
}

impl Chunk<'_> {
    fn has_right_checksum(&self, bytes: &[u8]) -> bool {
        let checksum = bytes.get(self.end - 4..self.end).and_then(|bytes| bytes.first_chunk());
        checksum.is_some_and(|found| u32::from_be_bytes(*found) == crc32(&self.kind, self.data))
    }
}

/// The chunks that make the picture.
struct Picture<'a> {
    bytes: &'a [u8],
    header: &'a [u8],
    palette: Option<&'a [u8]>,
    transparency: Option<&'a [u8]>,
    /// Where the first run of image data begins and ends.
    data: [usize; 2],
    is_whole: bool,
}

impl<'a> Picture<'a> {
    fn find(bytes: &'a [u8]) -> std::result::Result<Self, String> {
        let mut picture = Self {
            bytes,
            header: &[],
            palette: None,
            transparency: None,
            data: [bytes.len(); 2],
            is_whole: false,
        };
        let mut end = SIGNATURE_BYTES;
        for chunk in chunks(bytes) {
            end = chunk.end;
            if &chunk.kind == b"IDAT" {
                let begin = picture.data[0].min(chunk.begin);
                picture.data = [begin, chunk.end];
                continue;
            }
            if picture.data[0] < bytes.len() {
                picture.is_whole = true;
                break;
            }
            picture.take(&chunk)?;
        }
        // Image data that is cut short is used as far as it goes.
        if !picture.is_whole && bytes.get(end + 4..end + 8) == Some(b"IDAT") {
            picture.data = [picture.data[0].min(end), bytes.len()];
        } else if picture.data[0] < bytes.len() {
            picture.is_whole = true;
        }
        match (picture.header.len() < 13, picture.data[0] == bytes.len()) {
            (false, false) => Ok(picture),
            _ => Err(truncated(Format::Png)),
        }
    }

    /// Takes a chunk that comes before the image data.
    fn take(&mut self, chunk: &Chunk<'a>) -> std::result::Result<(), String> {
        let place = match &chunk.kind {
            b"IHDR" if self.header.is_empty() => &mut self.header,
            b"PLTE" => self.palette.get_or_insert_default(),
            b"tRNS" => self.transparency.get_or_insert_default(),
            b"IEND" => return Err(broken(Format::Png, "it has no image data")),
            _ => return Ok(()),
        };
        let name = chunk.kind.escape_ascii();
        if chunk.data.len() > LONGEST_PALETTE {
            let found = chunk.data.len();
            let reason = format!("expected a {name} chunk of at most {LONGEST_PALETTE} bytes, found {found}");
            return Err(broken(Format::Png, &reason));
        }
        if chunk.has_right_checksum(self.bytes) {
            *place = chunk.data;
            return Ok(());
        }
        // Without its transparency a picture can be seen, without the others not.
        let reason = format!("the checksum of its {name} chunk is wrong");
        if &chunk.kind == b"tRNS" { Ok(()) } else { Err(broken(Format::Png, &reason)) }
    }

    /// The file that the decoder reads.
    fn pieces(&self) -> Vec<Cow<'a, [u8]>> {
        let mut pieces = vec![Cow::Borrowed(&self.bytes[..SIGNATURE_BYTES])];
        let mut add = |kind: &[u8; 4], data: &[u8]| pieces.push(Cow::Owned(as_chunk(kind, data)));
        add(b"IHDR", &self.header[..13]);
        let (depth, colour) = (self.header[8], self.header[9]);
        // As many colours as the depth can name.
        let colours = 1_usize << depth.min(8);
        if colour == INDEXED {
            let whole = self.palette.unwrap_or_default();
            let mut palette = whole[..whole.len() / 3 * 3].to_vec();
            palette.resize(3 * colours, 0);
            add(b"PLTE", &palette);
        }
        let length = match colour {
            0 => Some(2),
            2 => Some(6),
            INDEXED => self.transparency.map(|alphas| alphas.len().min(colours)),
            _ => None,
        };
        // One that is too short says nothing.
        if let Some(alphas) = length.and_then(|length| self.transparency?.get(..length)) {
            add(b"tRNS", alphas);
        }
        pieces.push(Cow::Borrowed(&self.bytes[self.data[0]..self.data[1]]));
        if self.is_whole {
            pieces.push(Cow::Owned(as_chunk(b"IEND", &[])));
        }
        pieces
    }
}

fn as_chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u32).to_be_bytes();
    [&length[..], kind, data, &crc32(kind, data).to_be_bytes()].concat()
}

fn crc32(kind: &[u8; 4], data: &[u8]) -> u32 {
    let crc = kind.iter().chain(data).fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 == 0 { 0 } else { 0xedb8_8320 })
    });
    !crc
}

/// Makes rows of the decoder RGB.
struct Rows {
    has_colour: bool,
    has_alpha: bool,
    is_deep: bool,
}

impl Rows {
    fn new(reader: &Reader<Pieces<'_>>) -> Self {
        let (colour, depth) = reader.output_color_type();
        Self {
            has_colour: matches!(colour, ColorType::Rgb | ColorType::Rgba),
            has_alpha: matches!(colour, ColorType::Rgba | ColorType::GrayscaleAlpha),
            is_deep: depth == BitDepth::Sixteen,
        }
    }

    /// Reads row by row, and what is interlaced at once.
    fn read(&self, mut reader: Reader<Pieces<'_>>, size: Size) -> std::result::Result<Flat, DecodingError> {
        let mut rgb = RgbImage::new(size.width, size.height);
        let mut is_opaque = !self.has_alpha;
        let mut rows = rgb.chunks_exact_mut(3 * size.width as usize);
        if reader.info().interlaced {
            let mut pixels = vec![0; reader.output_buffer_size().ok_or(DecodingError::LimitsExceeded)?];
            let info = reader.next_frame(&mut pixels)?;
            for (row, from) in rows.zip(pixels.chunks_exact(info.line_size)) {
                is_opaque |= self.convert(from, row);
            }
        } else {
            while let (Some(row), Some(from)) = (rows.next(), reader.next_row()?) {
                is_opaque |= self.convert(from.data(), row);
            }
        }
        Ok(Flat { rgb, is_transparent: !is_opaque, is_deep: self.is_deep })
    }

    /// Makes one row RGB, and says whether a pixel of it can be seen.
    fn convert(&self, from: &[u8], row: &mut [u8]) -> bool {
        if self.has_colour && !self.has_alpha && !self.is_deep {
            row.copy_from_slice(from);
            return true;
        }
        let channels = if self.has_colour { 3 } else { 1 } + usize::from(self.has_alpha);
        let bytes = if self.is_deep { 2 } else { 1 };
        let value = |pixel: &[u8], channel: usize| match pixel[channel * bytes..] {
            [high, low, ..] if self.is_deep => eight_bits(u16::from_be_bytes([high, low])),
            [value, ..] => value,
            [] => 0,
        };
        let mut is_seen = !self.has_alpha;
        for (to, pixel) in row.chunks_exact_mut(3).zip(from.chunks_exact(channels * bytes)) {
            let colour = [0, 1, 2].map(|channel| value(pixel, if self.has_colour { channel } else { 0 }));
            let alpha = if self.has_alpha { value(pixel, channels - 1) } else { 255 };
            is_seen |= alpha != 0;
            to.copy_from_slice(&if self.has_alpha { pixel_over_white(colour, alpha) } else { colour });
        }
        is_seen
    }
}

/// The metadata that may have an orientation, wherever in the file it is; of several alike the last counts.
#[derive(Default)]
struct Texts<'a> {
    exif: Option<Cow<'a, [u8]>>,
    xmp: Option<Cow<'a, [u8]>>,
}

impl<'a> Texts<'a> {
    /// Pillow's order: the chunk of its own, then ImageMagick's profiles.
    fn find(bytes: &'a [u8]) -> Self {
        let mut found = Self::default();
        let (mut profile, mut application) = (None, None);
        for chunk in chunks(bytes) {
            if &chunk.kind == b"eXIf" {
                found.exif = Some(Cow::Borrowed(chunk.data));
            }
            let Some((key, text)) = text(&chunk) else { continue };
            match key {
                b"XML:com.adobe.xmp" => found.xmp = text.inflated(),
                b"exif" => found.exif = text.inflated(),
                b"Raw profile type exif" => profile = text.profile(),
                b"Raw profile type APP1" => application = text.profile(),
                _ => {}
            }
        }
        const XMP_IN_JPEG: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
        let application_xmp = application.as_deref().and_then(|block| block.strip_prefix(XMP_IN_JPEG));
        if let Some(xmp) = application_xmp {
            found.xmp = found.xmp.or_else(|| Some(Cow::Owned(xmp.to_vec())));
            application = None;
        }
        found.exif = found.exif.or_else(|| profile.or(application).map(Cow::Owned));
        found
    }
}

/// The text of a chunk, which may be compressed.
struct Text<'a> {
    bytes: &'a [u8],
    is_compressed: bool,
}

impl<'a> Text<'a> {
    fn inflated(&self) -> Option<Cow<'a, [u8]>> {
        if !self.is_compressed {
            return Some(Cow::Borrowed(self.bytes));
        }
        let mut text = Vec::new();
        let mut inflater = ZlibDecoder::new(self.bytes).take(LONGEST_TEXT as u64 + 1);
        let read = guarded(|| inflater.read_to_end(&mut text)).ok()?;
        (read.ok()? <= LONGEST_TEXT).then_some(Cow::Owned(text))
    }

    /// The block in a profile, and one that cannot be read where its digits are none.
    fn profile(&self) -> Option<Vec<u8>> {
        self.inflated().map(|text| raw_profile(&text).unwrap_or_else(|| b"?".to_vec()))
    }
}

/// Keyword and text of a tEXt, zTXt or iTXt chunk.
fn text<'a>(chunk: &Chunk<'a>) -> Option<(&'a [u8], Text<'a>)> {
    let split = |bytes: &'a [u8]| {
        let end = bytes.iter().position(|&byte| byte == 0)?;
        Some((&bytes[..end], &bytes[end + 1..]))
    };
    if !matches!(&chunk.kind, b"tEXt" | b"zTXt" | b"iTXt") {
        return None;
    }
    let (key, rest) = split(chunk.data)?;
    let (bytes, is_compressed) = match &chunk.kind {
        b"tEXt" => (rest, false),
        b"zTXt" => (rest.strip_prefix(&[0])?, true),
        _ => {
            let ([flag, method], rest) = rest.split_first_chunk::<2>()?;
            let (_language, rest) = split(rest)?;
            let (_translated_key, text) = split(rest)?;
            if *flag != 0 && *method != 0 {
                return None;
            }
            (text, *flag != 0)
        }
    };
    Some((key, Text { bytes, is_compressed }))
}

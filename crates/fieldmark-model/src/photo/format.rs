//! The format of a file, from its first bytes and never from its name.

use std::fmt;

use image::ImageFormat;

use crate::error::FormatKind;

/// The formats that can be decoded, as people write them.
pub const SUPPORTED_FORMATS: &str = "JPEG, PNG, WebP, GIF, BMP, TIFF";

/// The first bytes of a file that decide its format.
pub(super) const PREFIX_BYTES: usize = 4096;

/// A format that can be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Jpeg,
    Png,
    WebP,
    Gif,
    Bmp,
    Tiff,
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
        })
    }
}

impl From<Format> for ImageFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Jpeg => Self::Jpeg,
            Format::Png => Self::Png,
            Format::WebP => Self::WebP,
            Format::Gif => Self::Gif,
            Format::Bmp => Self::Bmp,
            Format::Tiff => Self::Tiff,
        }
    }
}

/// What the first bytes of a file show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A format that can be decoded.
    Photo(Format),
    /// A format that people do have photos in, but that nothing here decodes, by its name.
    Foreign(&'static str, FormatKind),
    /// Anything else.
    Unknown,
}

impl Content {
    /// What the first bytes show; [`PREFIX_BYTES`] of them are enough.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let bytes = &bytes[..bytes.len().min(PREFIX_BYTES)];
        if let Some(format) = decodable(bytes) {
            return Self::Photo(format);
        }
        let foreign = iso_media(bytes).or_else(|| by_signature(bytes)).or_else(|| text(bytes));
        foreign.map_or(Self::Unknown, |(name, kind)| Self::Foreign(name, kind))
    }
}

const CANON_CR2: &[u8] = b"II*\0\x10\0\0\0CR\x02";

fn decodable(bytes: &[u8]) -> Option<Format> {
    const SIGNATURES: [(&[u8], Format); 11] = [
        (b"\xff\xd8\xff", Format::Jpeg),
        (b"\x89PNG\r\n\x1a\n", Format::Png),
        (b"GIF87a", Format::Gif),
        (b"GIF89a", Format::Gif),
        (b"BM", Format::Bmp),
        (b"II*\0", Format::Tiff),
        (b"MM\0*", Format::Tiff),
        // The version's bytes in the wrong order, which readers accept.
        (b"II\0*", Format::Tiff),
        (b"MM*\0", Format::Tiff),
        (b"II+\0\x08\0\0\0", Format::Tiff),
        (b"MM\0+\0\x08\0\0", Format::Tiff),
    ];
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Some(Format::WebP);
    }
    // Canon's CR2 is a TIFF file with a mark of its own.
    if bytes.starts_with(CANON_CR2) {
        return None;
    }
    SIGNATURES.iter().find(|(start, _)| bytes.starts_with(start)).map(|&(_, format)| format)
}

type Foreign = (&'static str, FormatKind);

/// Files in boxes, whose first one has the brands of what is in them: HEIF, AVIF, Canon's CR3 and videos.
fn iso_media(bytes: &[u8]) -> Option<Foreign> {
    let rest = bytes.get(4..)?.strip_prefix(b"ftyp")?;
    let length = u32::from_be_bytes(*bytes.first_chunk::<4>()?) as usize;
    let brands = &rest[..length.saturating_sub(8).clamp(4, rest.len().max(4)).min(rest.len())];
    // The major brand, its version, and the compatible brands.
    let mut brands = brands.chunks_exact(4).enumerate().filter(|(at, _)| *at != 1).map(|(_, brand)| brand);
    let major = brands.next()?;
    let compatible: Vec<&[u8]> = brands.collect();
    let has =
        |names: &[&[u8]]| names.contains(&major) || compatible.iter().any(|brand| names.contains(brand));
    const HEVC: [&[u8]; 8] = [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"];
    Some(match major {
        b"crx " => ("Canon CR3", FormatKind::CameraRaw),
        _ if has(&[b"avif", b"avis"]) => ("AVIF", FormatKind::Picture),
        _ if has(&HEVC) => ("HEIC", FormatKind::Picture),
        _ if has(&[b"jxl "]) => ("JPEG XL", FormatKind::Picture),
        _ if has(&[b"jp2 ", b"jpx ", b"jpm ", b"mjp2", b"jph "]) => ("JPEG 2000", FormatKind::Picture),
        _ if has(&[b"mif1", b"msf1", b"mif2", b"miaf"]) => ("HEIF", FormatKind::Picture),
        b"qt  " => ("QuickTime video", FormatKind::Video),
        _ => ("a video or other ISO media file", FormatKind::Video),
    })
}

fn by_signature(bytes: &[u8]) -> Option<Foreign> {
    use FormatKind::{CameraRaw, Document, Picture, Video};
    const SIGNATURES: [(&[u8], &str, FormatKind); 41] = [
        (CANON_CR2, "Canon CR2", CameraRaw),
        (b"FUJIFILMCCD-RAW", "Fujifilm RAF", CameraRaw),
        (b"FOVb", "Sigma X3F", CameraRaw),
        (b"\0MRM", "Minolta MRW", CameraRaw),
        (b"IIRO", "Olympus ORF", CameraRaw),
        (b"IIRS", "Olympus ORF", CameraRaw),
        (b"MMOR", "Olympus ORF", CameraRaw),
        (b"IIU\0", "Panasonic RW2", CameraRaw),
        (b"II\x1a\0\0\0HEAPCCDR", "Canon CRW", CameraRaw),
        (b"ARRI", "ARRIRAW", CameraRaw),
        (b"\xff\x0a", "JPEG XL", Picture),
        (b"\0\0\0\x0cJXL ", "JPEG XL", Picture),
        (b"\0\0\0\x0cjP  ", "JPEG 2000", Picture),
        (b"\xff\x4f\xff\x51", "JPEG 2000", Picture),
        (b"II\xbc\x01", "JPEG XR", Picture),
        (b"8BPS\0\x01", "PSD", Picture),
        (b"8BPS\0\x02", "PSB", Picture),
        (b"gimp xcf ", "XCF", Picture),
        (b"DDS ", "DDS", Picture),
        (b"\0\0\x01\0", "ICO", Picture),
        (b"#?RADIANCE", "HDR", Picture),
        (b"#?RGBE", "HDR", Picture),
        (b"\x76\x2f\x31\x01", "OpenEXR", Picture),
        (b"qoif", "QOI", Picture),
        (b"farbfeld", "farbfeld", Picture),
        (b"SIMPLE  =", "FITS", Picture),
        (b"SDPX", "DPX", Picture),
        (b"XPDS", "DPX", Picture),
        (b"\x0a\x05\x01\x08", "PCX", Picture),
        (b"FORM", "IFF", Picture),
        (b"\xd7\xcd\xc6\x9a", "WMF", Document),
        (b"%!PS", "PostScript", Document),
        (b"\xc5\xd0\xd3\xc6", "PostScript", Document),
        (b"PK\x03\x04", "ZIP", Document),
        (b"\x1a\x45\xdf\xa3", "Matroska or WebM video", Video),
        (b"\0\0\x01\xba", "MPEG video", Video),
        (b"\0\0\x01\xb3", "MPEG video", Video),
        (b"FLV\x01", "Flash video", Video),
        (b"OggS", "Ogg video", Video),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media video", Video),
        (b"%PDF", "PDF", Document),
    ];
    // Old QuickTime files have no box of brands.
    if matches!(bytes.get(4..8), Some(b"moov" | b"mdat" | b"wide" | b"pnot")) {
        return Some(("QuickTime video", Video));
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"AVI ") {
        return Some(("AVI video", Video));
    }
    if let [b'P', b'1'..=b'7', b' ' | b'\t' | b'\r' | b'\n', ..] = bytes {
        return Some(("PNM", Picture));
    }
    let found = SIGNATURES.iter().find(|(start, ..)| bytes.starts_with(start));
    found.map(|&(_, name, kind)| (name, kind))
}

/// Formats that are text, or that may have something before their mark.
fn text(bytes: &[u8]) -> Option<Foreign> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let has = |mark: &[u8]| bytes.windows(mark.len()).any(|window| window.eq_ignore_ascii_case(mark));
    let start = bytes.trim_ascii_start();
    if start.starts_with(b"<") {
        return match () {
            () if has(b"<svg") => Some(("SVG", FormatKind::Document)),
            () if has(b"<html") || has(b"<!doctype html") => Some(("HTML", FormatKind::Document)),
            () => None,
        };
    }
    has(b"%PDF-").then_some(("PDF", FormatKind::Document))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(bytes: &[u8]) -> Option<&'static str> {
        match Content::of(bytes) {
            Content::Foreign(name, _) => Some(name),
            _ => None,
        }
    }

    /// The first box of a file with these brands.
    fn boxed(major: &[u8; 4], compatible: &[&[u8; 4]]) -> Vec<u8> {
        let length = 16 + 4 * compatible.len() as u32;
        let mut bytes = [&length.to_be_bytes()[..], b"ftyp", major, &[0; 4]].concat();
        compatible.iter().for_each(|brand| bytes.extend_from_slice(*brand));
        bytes.extend_from_slice(b"\0\0\0\x08mdatavif");
        bytes
    }

    #[test]
    fn brands_decide_what_is_in_boxes() {
        assert_eq!(name(&boxed(b"heic", &[b"mif1", b"heic"])), Some("HEIC"));
        assert_eq!(name(&boxed(b"mif1", &[b"mif1", b"heic"])), Some("HEIC"));
        assert_eq!(name(&boxed(b"mif1", &[b"mif1", b"avif", b"miaf"])), Some("AVIF"));
        assert_eq!(name(&boxed(b"avis", &[b"msf1"])), Some("AVIF"));
        assert_eq!(name(&boxed(b"mif1", &[])), Some("HEIF"));
        assert_eq!(name(&boxed(b"crx ", &[b"crx ", b"isom"])), Some("Canon CR3"));
        assert_eq!(name(&boxed(b"isom", &[b"mp42"])), Some("a video or other ISO media file"));
        assert_eq!(name(&boxed(b"qt  ", &[b"qt  "])), Some("QuickTime video"));
        // Cut and lying boxes.
        assert_eq!(name(b"\0\0\0\x18ftypheic"), Some("HEIC"));
        assert_eq!(name(b"\0\0\0\0ftypavif"), Some("AVIF"));
        assert_eq!(name(b"\xff\xff\xff\xffftypheic\0\0\0\0mif1"), Some("HEIC"));
        assert_eq!(name(b"\0\0\0\x18ftyp"), None);
    }

    #[test]
    fn foreign_formats_are_named() {
        assert_eq!(name(b"FUJIFILMCCD-RAW 0201"), Some("Fujifilm RAF"));
        assert_eq!(name(b"IIRO\x08\0\0\0"), Some("Olympus ORF"));
        assert_eq!(name(b"IIU\0\x18\0\0\0"), Some("Panasonic RW2"));
        assert_eq!(name(b"II*\0\x10\0\0\0CR\x02\0"), Some("Canon CR2"));
        assert_eq!(name(b"%PDF-1.7"), Some("PDF"));
        assert_eq!(name(b"some words\n%PDF-1.7"), Some("PDF"));
        assert_eq!(name(b"\xef\xbb\xbf <?xml version='1.0'?>\n<svg xmlns='x'>"), Some("SVG"));
        assert_eq!(name(b"<!DOCTYPE html><title>404"), Some("HTML"));
        assert_eq!(name(b"P6\n3 2 255\n"), Some("PNM"));
        assert_eq!(name(b"hello"), None);
        assert_eq!(name(b""), None);
    }

    #[test]
    fn formats_that_can_be_decoded_are_recognised() {
        for (bytes, format) in [
            (&b"\xff\xd8\xff\xe0"[..], Format::Jpeg),
            (b"\x89PNG\r\n\x1a\n", Format::Png),
            (b"RIFF\x09\0\0\0WEBPVP8 ", Format::WebP),
            (b"GIF87a", Format::Gif),
            (b"BM\0\0", Format::Bmp),
            (b"II*\0\x08\0\0\0\0\0", Format::Tiff),
            (b"MM\0+\0\x08\0\0", Format::Tiff),
        ] {
            assert_eq!(Content::of(bytes), Content::Photo(format));
            assert!(SUPPORTED_FORMATS.contains(&format.to_string()));
        }
        assert_eq!(Content::of(b"RIFF\0\0\0\0WAVE"), Content::Unknown);
    }
}

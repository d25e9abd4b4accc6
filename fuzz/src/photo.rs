//! Photos of every format.

use fieldmark_model::{Error, Photo, PhotoOptions, photo::size_in_bytes};

/// Larger than any seed, and small enough for inputs that claim more.
const PIXEL_LIMIT: u64 = 1 << 18;

/// An input is a photo within the limit, of the size that its header gives, or an error that names it.
///
/// # Panics
/// If it is neither.
pub fn read(bytes: &[u8]) {
    let options = PhotoOptions::default().pixel_limit(PIXEL_LIMIT);
    let size = size_in_bytes("input", bytes);
    match Photo::from_bytes("input", bytes, &options) {
        Ok(photo) => {
            let found = size.expect("the size of what can be decoded is in its header");
            assert!(photo.size().area() <= PIXEL_LIMIT, "{:?}", photo.size());
            assert_eq!(photo.size().area(), found.area());
            assert_eq!(photo.rgb().as_raw().len() as u64, photo.size().area() * 3);
        }
        Err(error) => {
            crate::check_error(&error);
            assert!(!matches!(error, Error::Read { .. }), "{error}");
            assert!(error.to_string().starts_with("input: "), "{error}");
        }
    }
}

/// Makes the checksums of a PNG right, so that decoders look at what is in its chunks.
pub fn mend_png(bytes: &mut [u8]) {
    if !bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return;
    }
    let mut at = 8;
    while let Some(length) = bytes.get(at..at + 4) {
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let Some(covered) = bytes.get(at + 4..(at + 8).saturating_add(length)) else { return };
        let crc = !covered.iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 == 0 { 0 } else { 0xedb8_8320 })
        });
        let Some(checksum) = bytes.get_mut(at + 8 + length..at + 12 + length) else { return };
        checksum.copy_from_slice(&crc.to_be_bytes());
        at += 12 + length;
    }
}

/// A TIFF file of one page with these fields and this data: `arbitrary` gets to fields that bytes alone rarely form.
#[derive(Debug, arbitrary::Arbitrary)]
pub struct Tiff {
    big_endian: bool,
    width: u8,
    height: u8,
    bits: u8,
    samples: u8,
    compression: Compression,
    photometric: u8,
    predictor: u8,
    planar: bool,
    tile: Option<(u8, u8)>,
    rows_per_strip: u8,
    more: Vec<Field>,
    data: Vec<u8>,
}

#[derive(Clone, Copy, Debug, arbitrary::Arbitrary)]
enum Compression {
    None = 1,
    Huffman = 2,
    Fax3 = 3,
    Fax4 = 4,
    Lzw = 5,
    Jpeg = 7,
    Deflate = 8,
    OldDeflate = 32946,
    PackBits = 32773,
    Zstandard = 50000,
}

#[derive(Debug, arbitrary::Arbitrary)]
struct Field {
    tag: Tag,
    kind: u8,
    count: u8,
    value: u32,
}

#[derive(Clone, Copy, Debug, arbitrary::Arbitrary)]
enum Tag {
    NewSubfileType = 254,
    FillOrder = 266,
    Orientation = 274,
    T4Options = 292,
    T6Options = 293,
    ColorMap = 320,
    TileOffsets = 324,
    TileByteCounts = 325,
    SubIfds = 330,
    InkSet = 332,
    ExtraSamples = 338,
    SampleFormat = 339,
    JpegTables = 347,
    YCbCrCoefficients = 529,
    YCbCrSubSampling = 530,
    ReferenceBlackWhite = 532,
}

impl Tiff {
    /// The file's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut fields = self.fields();
        fields.sort_by_key(|(tag, ..)| *tag);
        let begin = 8 + 2 + 12 * fields.len() as u32 + 4;
        let mut out: Vec<u8> = if self.big_endian { b"MM".to_vec() } else { b"II".to_vec() };
        self.short(&mut out, 42);
        self.long(&mut out, 8);
        self.short(&mut out, fields.len() as u16);
        for (tag, kind, count, value) in fields {
            self.short(&mut out, tag);
            self.short(&mut out, kind);
            self.long(&mut out, count);
            // Values that lie elsewhere lie in the data.
            let value = if matches!(tag, 273 | 324) { begin } else { value };
            if kind == 3 && count == 1 {
                self.short(&mut out, value as u16);
                self.short(&mut out, 0);
            } else {
                self.long(&mut out, value);
            }
        }
        self.long(&mut out, 0);
        out.extend(&self.data);
        out
    }

    fn fields(&self) -> Vec<(u16, u16, u32, u32)> {
        let short = |tag, value: u32| (tag, 3, 1, value);
        let mut fields = vec![
            short(256, self.width.into()),
            short(257, self.height.into()),
            short(258, self.bits.into()),
            short(259, self.compression as u32),
            short(262, u32::from(self.photometric % 10)),
            short(277, u32::from(self.samples % 6)),
            short(284, 1 + u32::from(self.planar)),
            short(317, 1 + u32::from(self.predictor % 3)),
        ];
        match self.tile {
            Some((width, height)) => fields.extend([
                short(322, u32::from(width)),
                short(323, u32::from(height)),
                (324, 4, 1, 0),
                (325, 4, 1, self.data.len() as u32),
            ]),
            None => fields.extend([
                (273, 4, 1, 0),
                short(278, self.rows_per_strip.into()),
                (279, 4, 1, self.data.len() as u32),
            ]),
        }
        let more = self.more.iter().take(30);
        fields.extend(more.map(|field| {
            (field.tag as u16, u16::from(field.kind % 14), u32::from(field.count), field.value % 4096)
        }));
        fields
    }

    fn short(&self, out: &mut Vec<u8>, value: u16) {
        out.extend(if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    fn long(&self, out: &mut Vec<u8>, value: u32) {
        out.extend(if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
    }
}

//! The directories of a TIFF file: the tags that a picture needs, found without believing anything that is claimed.
//!
//! Classic TIFF and BigTIFF, both byte orders. A value is read where it lies when it is asked for, so that a directory
//! that claims a million strips costs no memory.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io::{BufReader, Read, Seek, SeekFrom};

use super::Fault;

/// Directories beyond these are left unread: no photo has so many pages, but stacks of microscopes do.
const MOST_DIRECTORIES: usize = 4096;
/// Fields that are looked at in a file, over all directories.
const MOST_FIELDS: u64 = 1 << 20;

/// The tags that are read, by the names that the specification gives them.
pub(super) mod tag {
    pub(in crate::photo::tiff) const NEW_SUBFILE_TYPE: u16 = 254;
    pub(in crate::photo::tiff) const SUBFILE_TYPE: u16 = 255;
    pub(in crate::photo::tiff) const IMAGE_WIDTH: u16 = 256;
    pub(in crate::photo::tiff) const IMAGE_LENGTH: u16 = 257;
    pub(in crate::photo::tiff) const BITS_PER_SAMPLE: u16 = 258;
    pub(in crate::photo::tiff) const COMPRESSION: u16 = 259;
    pub(in crate::photo::tiff) const PHOTOMETRIC: u16 = 262;
    pub(in crate::photo::tiff) const FILL_ORDER: u16 = 266;
    pub(in crate::photo::tiff) const MAKE: u16 = 271;
    pub(in crate::photo::tiff) const STRIP_OFFSETS: u16 = 273;
    pub(in crate::photo::tiff) const ORIENTATION: u16 = 274;
    pub(in crate::photo::tiff) const SAMPLES_PER_PIXEL: u16 = 277;
    pub(in crate::photo::tiff) const ROWS_PER_STRIP: u16 = 278;
    pub(in crate::photo::tiff) const STRIP_BYTE_COUNTS: u16 = 279;
    pub(in crate::photo::tiff) const PLANAR_CONFIGURATION: u16 = 284;
    pub(in crate::photo::tiff) const T4_OPTIONS: u16 = 292;
    pub(in crate::photo::tiff) const PREDICTOR: u16 = 317;
    pub(in crate::photo::tiff) const COLOR_MAP: u16 = 320;
    pub(in crate::photo::tiff) const TILE_WIDTH: u16 = 322;
    pub(in crate::photo::tiff) const TILE_LENGTH: u16 = 323;
    pub(in crate::photo::tiff) const TILE_OFFSETS: u16 = 324;
    pub(in crate::photo::tiff) const TILE_BYTE_COUNTS: u16 = 325;
    pub(in crate::photo::tiff) const SUB_IFDS: u16 = 330;
    pub(in crate::photo::tiff) const INK_SET: u16 = 332;
    pub(in crate::photo::tiff) const EXTRA_SAMPLES: u16 = 338;
    pub(in crate::photo::tiff) const SAMPLE_FORMAT: u16 = 339;
    pub(in crate::photo::tiff) const JPEG_TABLES: u16 = 347;
    pub(in crate::photo::tiff) const YCBCR_COEFFICIENTS: u16 = 529;
    pub(in crate::photo::tiff) const YCBCR_SUBSAMPLING: u16 = 530;
    pub(in crate::photo::tiff) const REFERENCE_BLACK_WHITE: u16 = 532;
    pub(in crate::photo::tiff) const XMP: u16 = 700;
    pub(in crate::photo::tiff) const DNG_VERSION: u16 = 50706;

    /// All of them.
    pub(in crate::photo::tiff) const KNOWN: [u16; 32] = [
        NEW_SUBFILE_TYPE,
        SUBFILE_TYPE,
        IMAGE_WIDTH,
        IMAGE_LENGTH,
        BITS_PER_SAMPLE,
        COMPRESSION,
        PHOTOMETRIC,
        FILL_ORDER,
        MAKE,
        STRIP_OFFSETS,
        ORIENTATION,
        SAMPLES_PER_PIXEL,
        ROWS_PER_STRIP,
        STRIP_BYTE_COUNTS,
        PLANAR_CONFIGURATION,
        T4_OPTIONS,
        PREDICTOR,
        COLOR_MAP,
        TILE_WIDTH,
        TILE_LENGTH,
        TILE_OFFSETS,
        TILE_BYTE_COUNTS,
        SUB_IFDS,
        INK_SET,
        EXTRA_SAMPLES,
        SAMPLE_FORMAT,
        JPEG_TABLES,
        YCBCR_COEFFICIENTS,
        YCBCR_SUBSAMPLING,
        REFERENCE_BLACK_WHITE,
        XMP,
        DNG_VERSION,
    ];
}

/// Bytes that can be read at any place: a file's, or some in memory.
pub(super) trait Bytes {
    /// How many there are.
    fn length(&self) -> u64;
    /// Copies the bytes from `at` on, unless they end before `to` is full.
    fn copy(&self, at: u64, to: &mut [u8]) -> Option<()>;
}

impl Bytes for [u8] {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn copy(&self, at: u64, to: &mut [u8]) -> Option<()> {
        let from = usize::try_from(at).ok()?;
        to.copy_from_slice(self.get(from..from.checked_add(to.len())?)?);
        Some(())
    }
}

/// A file that is read in small pieces, no more of it than a budget allows.
pub(super) struct Pieces<R> {
    reader: RefCell<(BufReader<R>, u64)>,
    length: u64,
    budget: Cell<u64>,
}

impl<R: Read + Seek> Pieces<R> {
    /// Reads from the beginning, wherever the reader stands.
    pub(super) fn new(mut reader: BufReader<R>, budget: u64) -> std::io::Result<Self> {
        let length = reader.seek(SeekFrom::End(0))?;
        reader.rewind()?;
        Ok(Self { reader: RefCell::new((reader, 0)), length, budget: Cell::new(budget) })
    }
}

impl<R: Read + Seek> Bytes for Pieces<R> {
    fn length(&self) -> u64 {
        self.length
    }

    fn copy(&self, at: u64, to: &mut [u8]) -> Option<()> {
        at.checked_add(to.len() as u64).filter(|&end| end <= self.length)?;
        self.budget.set(self.budget.get().checked_sub(to.len() as u64)?);
        let (reader, place) = &mut *self.reader.borrow_mut();
        // Places near by are in the buffer still.
        reader.seek_relative(i64::try_from(at).ok()? - *place as i64).ok()?;
        *place = at;
        reader.read_exact(to).ok()?;
        *place += to.len() as u64;
        Some(())
    }
}

/// Which byte of a number comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    /// The number that some bytes are, eight at most.
    pub(super) fn number(self, bytes: &[u8]) -> u64 {
        let join = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
        match self {
            Self::Little => bytes.iter().rev().fold(0, join),
            Self::Big => bytes.iter().fold(0, join),
        }
    }
}

/// A field of a directory: how many values of a type lie where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    tag: u16,
    kind: u16,
    pub(super) count: u64,
    pub(super) at: u64,
}

impl Field {
    fn value_size(&self) -> Option<u64> {
        match self.kind {
            1 | 2 | 6 | 7 => Some(1),
            3 | 8 => Some(2),
            4 | 9 | 11 | 13 => Some(4),
            5 | 10 | 12 | 16..=18 => Some(8),
            _ => None,
        }
    }
}

/// One directory: its known fields, and the directory that it is a part of.
#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    fields: Vec<Field>,
    /// The place, in the list of all directories, of the one whose `SubIFDs` leads here.
    pub(super) parent: Option<usize>,
}

impl Directory {
    /// The field with a tag; the first if there are several.
    pub(super) fn field(&self, tag: u16) -> Option<&Field> {
        self.fields.iter().find(|field| field.tag == tag)
    }
}

/// The bytes of a TIFF file, and how numbers are written in it.
pub(super) struct File<'a, B: ?Sized> {
    bytes: &'a B,
    pub(super) order: Order,
    /// Sizes and places take eight bytes.
    big: bool,
    first: u64,
}

/// Whether the bytes begin as a TIFF file does.
pub(super) fn header(start: &[u8]) -> Option<(Order, bool)> {
    match start.get(..4)? {
        // The third and the fourth have the wrong order of bytes in their version, and readers accept them.
        b"II*\0" | b"II\0*" => Some((Order::Little, false)),
        b"MM\0*" | b"MM*\0" => Some((Order::Big, false)),
        b"II+\0" => Some((Order::Little, true)),
        b"MM\0+" => Some((Order::Big, true)),
        _ => None,
    }
}

impl<'a, B: Bytes + ?Sized> File<'a, B> {
    /// Reads the header.
    pub(super) fn new(bytes: &'a B) -> Result<Self, Fault> {
        let mut start = [0; 4];
        bytes.copy(0, &mut start).ok_or(Fault::Truncated)?;
        let (order, big) = header(&start).ok_or_else(|| Fault::broken("it does not begin as TIFF does"))?;
        let mut file = Self { bytes, order, big, first: 0 };
        file.first = if big {
            if file.number(4, 2)? != 8 {
                return Err(Fault::broken("BigTIFF places of other than 8 bytes"));
            }
            file.number(8, 8)?
        } else {
            file.number(4, 4)?
        };
        Ok(file)
    }

    /// A number of some bytes, eight at most.
    fn number(&self, at: u64, size: usize) -> Result<u64, Fault> {
        let mut bytes = [0; 8];
        let bytes = &mut bytes[..size];
        self.bytes.copy(at, bytes).ok_or(Fault::Truncated)?;
        Ok(self.order.number(bytes))
    }

    /// All directories: the pages in their order, each followed by its sub-images.
    pub(super) fn directories(&self) -> Result<Vec<Directory>, Fault> {
        let mut walk = Walk { found: Vec::new(), seen: HashSet::new(), fields: 0 };
        let mut next = self.first;
        while next != 0 && walk.may_visit(next) {
            let (directory, following) = self.directory(next, &mut walk)?;
            let page = walk.found.len();
            walk.found.push(directory);
            self.add_parts(page, &mut walk)?;
            next = following;
        }
        if walk.found.is_empty() {
            return Err(Fault::broken("it has no picture"));
        }
        Ok(walk.found)
    }

    /// Adds the sub-images of a directory and theirs.
    fn add_parts(&self, page: usize, walk: &mut Walk) -> Result<(), Fault> {
        let mut whole = page;
        while whole < walk.found.len() {
            if let Some(places) = self.array(&walk.found[whole], tag::SUB_IFDS)? {
                for index in 0..places.count {
                    let place = self.get(&places, index)?;
                    if place == 0 {
                        continue;
                    }
                    if !walk.may_visit(place) {
                        break;
                    }
                    let (mut directory, _) = self.directory(place, walk)?;
                    directory.parent = Some(whole);
                    walk.found.push(directory);
                }
            }
            whole += 1;
        }
        Ok(())
    }

    /// The directory at a place, and the place of the next.
    fn directory(&self, at: u64, walk: &mut Walk) -> Result<(Directory, u64), Fault> {
        let (count_size, field_size, place_size) = if self.big { (8, 20, 8) } else { (2, 12, 4) };
        let count = self.number(at, count_size)?;
        let start = at + count_size as u64;
        let end = count.checked_mul(field_size).and_then(|size| start.checked_add(size));
        let end = end.filter(|&end| end <= self.bytes.length()).ok_or(Fault::Truncated)?;
        walk.fields = walk.fields.saturating_add(count);
        if walk.fields > MOST_FIELDS {
            return Err(Fault::broken(format!("its directories have more than {MOST_FIELDS} fields")));
        }
        let mut directory = Directory::default();
        for index in 0..count {
            let tag = self.number(start + index * field_size, 2)? as u16;
            if tag::KNOWN.contains(&tag) && directory.field(tag).is_none() {
                directory.fields.push(self.read_field(tag, start + index * field_size)?);
            }
        }
        // Some scanners leave the place of the next directory out where there is none.
        let next = if end == self.bytes.length() { 0 } else { self.number(end, place_size)? };
        Ok((directory, next))
    }

    fn read_field(&self, tag: u16, at: u64) -> Result<Field, Fault> {
        let size = if self.big { 8 } else { 4 };
        let kind = self.number(at + 2, 2)? as u16;
        let count = self.number(at + 4, size)?;
        let mut field = Field { tag, kind, count, at: at + 4 + size as u64 };
        let length = field.value_size().and_then(|value| value.checked_mul(count));
        if length.is_none_or(|length| length > size as u64) {
            field.at = self.number(field.at, size)?;
        }
        Ok(field)
    }

    /// A field of whole numbers, checked to lie in the file.
    pub(super) fn array(&self, directory: &Directory, tag: u16) -> Result<Option<Field>, Fault> {
        let Some(&field) = directory.field(tag) else { return Ok(None) };
        if field.count == 0 {
            return Ok(None);
        }
        match field.kind {
            1 | 3 | 4 | 6 | 7 | 8 | 9 | 13 | 16..=18 => {}
            other => {
                let reason = format!("tag {tag} has type {other}, expected whole numbers");
                return Err(Fault::broken(reason));
            }
        }
        self.check_extent(&field)?;
        Ok(Some(field))
    }

    fn check_extent(&self, field: &Field) -> Result<(), Fault> {
        let length = field.value_size().and_then(|size| size.checked_mul(field.count));
        let end = length.and_then(|length| field.at.checked_add(length));
        if end.is_some_and(|end| end <= self.bytes.length()) { Ok(()) } else { Err(Fault::Truncated) }
    }

    /// A value of a field of whole numbers; what is negative counts as 0.
    pub(super) fn get(&self, field: &Field, index: u64) -> Result<u64, Fault> {
        let size = field.value_size().unwrap_or(1);
        let value = self.number(field.at + index * size, size as usize)?;
        let negative = matches!(field.kind, 6 | 8 | 9 | 17) && value >> (size * 8 - 1) != 0;
        Ok(if negative { 0 } else { value })
    }

    /// The first value of a field of whole numbers.
    pub(super) fn first(&self, directory: &Directory, tag: u16) -> Result<Option<u64>, Fault> {
        self.array(directory, tag)?.map(|field| self.get(&field, 0)).transpose()
    }

    /// The first values of a field of whole numbers, as many as there are up to `most`.
    pub(super) fn list(&self, directory: &Directory, tag: u16, most: u64) -> Result<Vec<u64>, Fault> {
        let Some(field) = self.array(directory, tag)? else { return Ok(Vec::new()) };
        (0..field.count.min(most)).map(|index| self.get(&field, index)).collect()
    }

    /// So many bytes from the first on.
    pub(super) fn start(&self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.bytes.copy(0, &mut bytes)?;
        Some(bytes)
    }

    /// The beginning of a field of text.
    pub(super) fn text(&self, directory: &Directory, tag: u16) -> Option<Vec<u8>> {
        let field = directory.field(tag).filter(|field| field.kind == 2)?;
        let mut text = vec![0; field.count.min(32) as usize];
        self.bytes.copy(field.at, &mut text)?;
        Some(text)
    }

    /// So many numbers of a field, fractions and floats included.
    pub(super) fn fractions<const N: usize>(
        &self,
        directory: &Directory,
        tag: u16,
    ) -> Result<Option<[f32; N]>, Fault> {
        let Some(field) = directory.field(tag).filter(|field| field.count >= N as u64) else {
            return Ok(None);
        };
        self.check_extent(field)?;
        let mut values = [0.0; N];
        for (index, value) in values.iter_mut().enumerate() {
            *value = self.fraction(field, index as u64)?;
        }
        Ok(values.iter().all(|value| value.is_finite()).then_some(values))
    }

    fn fraction(&self, field: &Field, index: u64) -> Result<f32, Fault> {
        let at = field.at + index * field.value_size().unwrap_or(1);
        Ok(match field.kind {
            5 => self.number(at, 4)? as f32 / self.number(at + 4, 4)? as f32,
            10 => self.number(at, 4)? as u32 as i32 as f32 / self.number(at + 4, 4)? as u32 as i32 as f32,
            11 => f32::from_bits(self.number(at, 4)? as u32),
            12 => f64::from_bits(self.number(at, 8)?) as f32,
            _ => self.get(field, index)? as f32,
        })
    }
}

/// Which directories were found on a walk through the file.
struct Walk {
    found: Vec<Directory>,
    seen: HashSet<u64>,
    fields: u64,
}

impl Walk {
    /// Whether a place is new; where a list of directories leads back, it ends.
    fn may_visit(&mut self, place: u64) -> bool {
        self.found.len() < MOST_DIRECTORIES && self.seen.insert(place)
    }
}

impl<'a> File<'a, [u8]> {
    /// The bytes themselves.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The raw bytes of a field.
    pub(super) fn content(&self, directory: &Directory, tag: u16) -> Result<Option<&'a [u8]>, Fault> {
        let Some(field) = directory.field(tag) else { return Ok(None) };
        self.check_extent(field)?;
        let length = field.count * field.value_size().unwrap_or(1);
        let (from, to) = (field.at as usize, (field.at + length) as usize);
        Ok(self.bytes.get(from..to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A little-endian file of one directory with these fields: tag, type, count, four bytes.
    fn one_directory(fields: &[(u16, u16, u32, [u8; 4])]) -> Vec<u8> {
        let mut bytes = b"II*\0\x08\0\0\0".to_vec();
        bytes.extend((fields.len() as u16).to_le_bytes());
        for (tag, kind, count, value) in fields {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(count.to_le_bytes());
            bytes.extend(value);
        }
        bytes.extend([0; 4]);
        bytes
    }

    fn first(bytes: &[u8], tag: u16) -> Result<Option<u64>, Fault> {
        let file = File::new(bytes)?;
        file.first(&file.directories()?[0], tag)
    }

    #[test]
    fn whole_numbers_of_every_type_are_read() {
        for (kind, value) in [(1, [6, 9, 9, 9]), (3, [6, 0, 9, 9]), (4, [6, 0, 0, 0]), (6, [6, 9, 9, 9])] {
            assert_eq!(first(&one_directory(&[(274, kind, 1, value)]), 274).unwrap(), Some(6), "{kind}");
        }
        let negative = one_directory(&[(274, 8, 1, [0xff, 0xff, 0, 0])]);
        assert_eq!(first(&negative, 274).unwrap(), Some(0));
        assert!(first(&one_directory(&[(256, 2, 1, [6, 0, 0, 0])]), 256).is_err());
        assert_eq!(first(&one_directory(&[(256, 3, 1, [6, 0, 0, 0])]), 257).unwrap(), None);
    }

    #[test]
    fn claims_beyond_the_file_are_truncation() {
        let far = one_directory(&[(273, 4, 2, [0xf0, 0xff, 0xff, 0xff])]);
        assert!(matches!(first(&far, 273), Err(Fault::Truncated)));
        let many = one_directory(&[(273, 4, u32::MAX, [8, 0, 0, 0])]);
        assert!(matches!(first(&many, 273), Err(Fault::Truncated)));
        let mut next = one_directory(&[(256, 3, 1, [6, 0, 0, 0])]);
        let end = next.len();
        next[end - 4..].copy_from_slice(&[0, 1, 0, 0]);
        assert!(matches!(first(&next, 256), Err(Fault::Truncated)));
        assert_eq!(first(&next[..end - 4], 256).unwrap(), Some(6), "no place of a next directory");
    }

    #[test]
    fn a_list_that_leads_back_ends() {
        let mut bytes = one_directory(&[(256, 3, 1, [6, 0, 0, 0]), (330, 4, 1, [8, 0, 0, 0])]);
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&[8, 0, 0, 0]);
        assert_eq!(File::new(&bytes[..]).unwrap().directories().unwrap().len(), 1);
    }
}

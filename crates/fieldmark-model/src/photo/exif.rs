//! What a file's metadata says about its orientation: EXIF first, then XMP, as Pillow's `exif_transpose` reads them.

use image::metadata::Orientation;

/// What comes before an EXIF block in a JPEG; other formats have it sometimes.
const PREFIX: &[u8] = b"Exif\0\0";

/// EXIF's and TIFF's number of the field.
const ORIENTATION: u32 = 0x0112;

/// What an image's metadata says about its orientation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exif {
    /// Nothing, or a value that the standard does not have.
    Silent,
    /// How the stored pixels must be turned.
    Orientation(Orientation),
    /// There is an EXIF block, but it is broken from its first bytes.
    Unreadable,
}

impl Exif {
    /// The orientation in these blocks. XMP counts where EXIF has no such field.
    pub(super) fn parse(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Self {
        let exif = exif.filter(|block| !block.is_empty());
        let unreadable = exif.is_some_and(|block| byte_order(without_prefix(block)).is_none());
        match exif.and_then(in_exif).or_else(|| xmp.and_then(in_xmp)) {
            Some(value) => Self::from_value(value),
            None if unreadable => Self::Unreadable,
            None => Self::Silent,
        }
    }

    fn from_value(value: u32) -> Self {
        let orientation = u8::try_from(value).ok().and_then(Orientation::from_exif);
        orientation.map_or(Self::Silent, Self::Orientation)
    }

    pub(super) fn orientation(self) -> Orientation {
        match self {
            Self::Orientation(orientation) => orientation,
            Self::Silent | Self::Unreadable => Orientation::NoTransforms,
        }
    }
}

fn without_prefix(block: &[u8]) -> &[u8] {
    // Some writers have put it there twice.
    let block = block.strip_prefix(PREFIX).unwrap_or(block);
    block.strip_prefix(PREFIX).unwrap_or(block)
}

/// How the numbers of a block are stored.
#[derive(Clone, Copy)]
enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    /// The unsigned number that is `length` bytes long.
    fn number(self, bytes: &[u8], at: usize, length: usize) -> Option<u32> {
        let bytes = bytes.get(at..at.checked_add(length)?)?;
        let join = |number: u32, byte: &u8| number << 8 | u32::from(*byte);
        Some(match self {
            Self::Little => bytes.iter().rev().fold(0, join),
            Self::Big => bytes.iter().fold(0, join),
        })
    }
}

fn byte_order(block: &[u8]) -> Option<ByteOrder> {
    match block {
        [b'I', b'I', 42, 0, ..] => Some(ByteOrder::Little),
        [b'M', b'M', 0, 42, ..] => Some(ByteOrder::Big),
        _ => None,
    }
}

/// The field's value in the first directory of a block, whichever integer type it has. Of several fields the last
/// counts, and of a directory that is cut short what is there.
fn in_exif(block: &[u8]) -> Option<u32> {
    const ENTRY_BYTES: usize = 12;
    let block = without_prefix(block);
    let order = byte_order(block)?;
    let directory = order.number(block, 4, 4)? as usize;
    let count = order.number(block, directory, 2)? as usize;
    let entries = (0..count).map_while(|entry| {
        let at = directory.checked_add(2 + entry * ENTRY_BYTES)?;
        block.get(at..at.checked_add(ENTRY_BYTES)?).map(|_| at)
    });
    entries.filter_map(|at| value(block, order, at)).last()
}

fn value(block: &[u8], order: ByteOrder, entry: usize) -> Option<u32> {
    if order.number(block, entry, 2)? != ORIENTATION {
        return None;
    }
    let length = match order.number(block, entry + 2, 2)? {
        // Bytes, shorts and longs, signed or not; what is negative is no orientation either way.
        1 | 6 => 1,
        3 | 8 => 2,
        4 | 9 => 4,
        _ => return None,
    };
    let count = order.number(block, entry + 4, 4)? as usize;
    let is_inside = count.checked_mul(length)? <= 4;
    let at = if is_inside { entry + 8 } else { order.number(block, entry + 8, 4)? as usize };
    if count == 0 { None } else { order.number(block, at, length) }
}

/// The value of `tiff:Orientation` as attribute or element.
fn in_xmp(packet: &[u8]) -> Option<u32> {
    const NAME: &[u8] = b"tiff:Orientation";
    let mut rest = packet;
    while let Some(at) = rest.windows(NAME.len()).position(|window| window == NAME) {
        rest = &rest[at + NAME.len()..];
        let value = match rest.trim_ascii_start() {
            [b'=', after @ ..] => match after.trim_ascii_start() {
                [b'"' | b'\'', value @ ..] => value,
                _ => continue,
            },
            [b'>', value @ ..] => value,
            _ => continue,
        };
        if let [digit @ b'0'..=b'9', ..] = value.trim_ascii_start() {
            return Some(u32::from(digit - b'0'));
        }
    }
    None
}

/// The block in ImageMagick's text form: a name and a length in lines of their own, then hexadecimal digits.
///
/// `None` if these are no such digits.
pub(super) fn raw_profile(text: &[u8]) -> Option<Vec<u8>> {
    let mut lines = text.splitn(4, |&byte| byte == b'\n');
    let digits = lines.nth(3)?.iter().filter(|byte| !byte.is_ascii_whitespace());
    let digits: Option<Vec<u8>> =
        digits.map(|&byte| char::from(byte).to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block with these entries: tag, type, count, value.
    fn block(order: ByteOrder, entries: &[(u16, u16, u32, [u8; 4])]) -> Vec<u8> {
        let short = |value: u16| match order {
            ByteOrder::Little => value.to_le_bytes(),
            ByteOrder::Big => value.to_be_bytes(),
        };
        let long = |value: u32| match order {
            ByteOrder::Little => value.to_le_bytes(),
            ByteOrder::Big => value.to_be_bytes(),
        };
        let mark = if matches!(order, ByteOrder::Little) { b"II" } else { b"MM" };
        let mut bytes = [&mark[..], &short(42), &long(8), &short(entries.len() as u16)].concat();
        for (tag, kind, count, value) in entries {
            bytes.extend([&short(*tag)[..], &short(*kind), &long(*count), value].concat());
        }
        bytes.extend([0; 4]);
        bytes
    }

    fn turned(value: u8) -> Exif {
        Exif::Orientation(Orientation::from_exif(value).unwrap())
    }

    #[test]
    fn every_integer_type_is_read() {
        use ByteOrder::{Big, Little};
        for (order, kind, value) in [
            (Little, 1, [6, 0, 0, 0]),
            (Little, 3, [6, 0, 0, 0]),
            (Little, 4, [6, 0, 0, 0]),
            (Little, 6, [6, 0, 0, 0]),
            (Little, 8, [6, 0, 9, 9]),
            (Little, 9, [6, 0, 0, 0]),
            (Big, 1, [6, 0, 0, 0]),
            (Big, 3, [0, 6, 0, 0]),
            (Big, 4, [0, 0, 0, 6]),
            (Big, 8, [0, 6, 9, 9]),
            (Big, 9, [0, 0, 0, 6]),
        ] {
            let block = block(order, &[(0x010f, 2, 1, [0; 4]), (0x0112, kind, 1, value)]);
            assert_eq!(Exif::parse(Some(&block), None), turned(6), "type {kind}");
            let prefixed = [PREFIX, PREFIX, &block].concat();
            assert_eq!(Exif::parse(Some(&prefixed), None), turned(6), "type {kind}");
            // A directory that is cut short is used as far as it goes.
            assert_eq!(Exif::parse(Some(&block[..block.len() - 4]), None), turned(6));
        }
        let several = block(Little, &[(0x0112, 3, 2, [6, 0, 1, 0])]);
        assert_eq!(Exif::parse(Some(&several), None), turned(6));
        let mut elsewhere = block(Little, &[(0x0112, 4, 2, [26, 0, 0, 0])]);
        elsewhere.extend([8, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(Exif::parse(Some(&elsewhere), None), turned(8));
    }

    #[test]
    fn broken_exif_is_not_taken_for_none() {
        assert_eq!(Exif::parse(None, None), Exif::Silent);
        assert_eq!(Exif::parse(Some(b""), None), Exif::Silent);
        assert_eq!(Exif::parse(Some(b"garbage"), None), Exif::Unreadable);
        assert_eq!(Exif::parse(Some(b"II*\0"), None), Exif::Silent);
        for kind in [0, 2, 5, 7, 12, 200] {
            let block = block(ByteOrder::Little, &[(0x0112, kind, 1, [6, 0, 0, 0])]);
            assert_eq!(Exif::parse(Some(&block), None), Exif::Silent);
        }
        let far = block(ByteOrder::Little, &[(0x0112, 4, u32::MAX, [255; 4])]);
        assert_eq!(Exif::parse(Some(&far), None), Exif::Silent);
        assert_eq!(Exif::parse(Some(b"II*\0\xff\xff\xff\xff"), None), Exif::Silent);
    }

    #[test]
    fn xmp_counts_where_exif_has_no_orientation() {
        let attribute = br#"<rdf:Description tiff:Orientation="6" tiff:Make="x"/>"#;
        let element = b"<tiff:Orientation>8</tiff:Orientation>";
        assert_eq!(Exif::parse(None, Some(attribute)), turned(6));
        assert_eq!(Exif::parse(None, Some(element)), turned(8));
        assert_eq!(Exif::parse(None, Some(b"tiff:Orientation = '3'")), turned(3));
        assert_eq!(Exif::parse(None, Some(b"tiff:Orientation tiff:Orientation=\"x")), Exif::Silent);
        assert_eq!(Exif::parse(None, Some(b"tiff:Orientation=\"9\"")), Exif::Silent);
        let exif = |value| block(ByteOrder::Big, &[(0x0112, 3, 1, [0, value, 0, 0])]);
        assert_eq!(Exif::parse(Some(&exif(3)), Some(attribute)), turned(3));
        // The field is there, though its value is none of the standard's.
        assert_eq!(Exif::parse(Some(&exif(99)), Some(attribute)), Exif::Silent);
        assert_eq!(Exif::parse(Some(&block(ByteOrder::Big, &[])), Some(attribute)), turned(6));
        assert_eq!(Exif::parse(Some(b"garbage"), Some(attribute)), turned(6));
    }

    #[test]
    fn raw_profiles_are_hexadecimal() {
        assert_eq!(raw_profile(b"\nexif\n       4\n45786966\n").unwrap(), b"Exif");
        assert_eq!(raw_profile(b"\nexif\n       4\n4578\n69 66").unwrap(), b"Exif");
        assert_eq!(raw_profile(b"\nexif\n       4\n4578696"), None);
        assert_eq!(raw_profile(b"\nexif\n       4\n45xy"), None);
        assert_eq!(raw_profile(b"exif"), None);
    }
}

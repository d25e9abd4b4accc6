//! NumPy's files become arrays of numbers or texts: `.npy`, and the members of `.npz` archives.
//!
//! Read are floating-point numbers and integers of any width and byte order, in rows or in columns, and texts of a
//! fixed length. Arrays of Python objects are pickles, and refused. A file may claim no more than it has bytes for.

use std::{fs::File, io::Read, path::Path};

use half::f16;

use crate::{
    error::{Error, Result, one_line},
    files::read_bounded,
    guard::guarded,
};

/// The longest header: NumPy itself reads no more by default.
const LONGEST_HEADER: usize = 10_000;
/// The most dimensions that NumPy has.
const MOST_DIMENSIONS: usize = 64;
const MAGIC: &[u8] = b"\x93NUMPY";

/// An array of numbers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NumpyArray {
    /// The length of each dimension.
    pub shape: Vec<usize>,
    /// The numbers as float32, the last dimension the fastest.
    pub values: Vec<f32>,
}

/// How an entry is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Half,
    Single,
    Double,
    /// A whole number of so many bytes, with or without a sign.
    Signed(usize),
    Unsigned(usize),
    /// So many code points.
    Text(usize),
}

/// What the header of an array says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) number: Number,
    pub(crate) big_endian: bool,
    /// Whether the first dimension is the fastest.
    pub(crate) by_columns: bool,
    pub(crate) shape: Vec<usize>,
    /// Where the entries begin.
    pub(crate) start: usize,
}

impl NumpyArray {
    /// Reads a `.npy` file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`Error::Read`] if it cannot be read or is larger, [`Error::Head`] if it is no array of numbers, or is cut short.
    pub fn read(path: &Path, limit: u64) -> Result<Self> {
        let bytes = read_bounded(path, limit)?;
        Self::parse(&bytes).map_err(|reason| Error::Head { path: path.into(), reason })
    }

    /// Parses the bytes of a `.npy` file.
    ///
    /// # Errors
    /// What was expected and what was found.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let header = Header::parse(bytes)?;
        let entries = header.entries(bytes)?;
        let values = header.number.values(entries, header.big_endian)?;
        let values = if header.by_columns { by_rows(&values, &header.shape) } else { values };
        Ok(Self { shape: header.shape, values })
    }

    /// The rows and columns of a matrix; a vector is one row.
    pub fn matrix(&self) -> Option<[usize; 2]> {
        match self.shape.as_slice() {
            [columns] => Some([1, *columns]),
            [rows, columns] => Some([*rows, *columns]),
            _ => None,
        }
    }
}

/// The arrays of an `.npz` archive, read when they are asked for.
pub struct NumpyArchive {
    archive: zip::ZipArchive<File>,
    limit: u64,
}

impl NumpyArchive {
    /// Opens an archive whose members may have `limit` bytes each.
    ///
    /// # Errors
    /// [`Error::Read`] if the file cannot be read, [`Error::Head`] if it is no archive.
    pub fn open(path: &Path, limit: u64) -> Result<Self> {
        let read = |source| Error::Read { path: path.into(), source };
        if !path.metadata().map_err(read)?.is_file() {
            let kind = std::io::ErrorKind::InvalidInput;
            return Err(read(std::io::Error::new(kind, "expected a regular file, found something else")));
        }
        let file = File::open(path).map_err(read)?;
        let opened = guarded(|| zip::ZipArchive::new(file)).map_err(|panic| panic.to_string());
        let archive = opened.and_then(|archive| archive.map_err(|error| error.to_string()));
        let archive = archive.map_err(|reason| Error::Head {
            path: path.into(),
            reason: one_line(&format!("expected an .npz archive: {reason}")),
        })?;
        Ok(Self { archive, limit })
    }

    /// The arrays' names.
    pub fn names(&self) -> Vec<String> {
        let names = self.archive.file_names().filter_map(Result::ok);
        names.map(|name| name.strip_suffix(".npy").unwrap_or(&name).to_owned()).collect()
    }

    /// An array of numbers; none if there is no such member.
    ///
    /// # Errors
    /// What was expected and what was found.
    pub fn numbers(&mut self, name: &str) -> Result<Option<NumpyArray>, String> {
        let Some(bytes) = self.bytes(name)? else { return Ok(None) };
        NumpyArray::parse(&bytes).map(Some).map_err(|reason| format!("{name}: {reason}"))
    }

    /// An array of texts, or of whole numbers as texts; none if there is no such member.
    ///
    /// # Errors
    /// What was expected and what was found.
    pub fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, String> {
        let Some(bytes) = self.bytes(name)? else { return Ok(None) };
        texts(&bytes).map(Some).map_err(|reason| format!("{name}: {reason}"))
    }

    fn bytes(&mut self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let (member, limit) = (format!("{name}.npy"), self.limit);
        if !self.archive.file_names().flatten().any(|known| known == member) {
            return Ok(None);
        }
        let archive = &mut self.archive;
        let read = guarded(|| -> std::io::Result<Vec<u8>> {
            let member = archive.by_name(&member)?;
            let mut bytes = Vec::new();
            member.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        let bytes =
            read.map_err(|panic| panic.to_string()).and_then(|read| read.map_err(|error| error.to_string()));
        let bytes = bytes.map_err(|reason| one_line(&format!("{name}: {reason}")))?;
        if bytes.len() as u64 > limit {
            return Err(format!("{name}: expected at most {limit} bytes, found more"));
        }
        Ok(Some(bytes))
    }
}

/// An array of texts.
fn texts(bytes: &[u8]) -> Result<Vec<String>, String> {
    let header = Header::parse(bytes)?;
    let entries = header.entries(bytes)?;
    let Number::Text(length) = header.number else {
        let numbers = header.number.values(entries, header.big_endian)?;
        return Ok(numbers.iter().map(f32::to_string).collect());
    };
    if length == 0 {
        return Ok(vec![String::new(); header.shape.iter().product()]);
    }
    let text = |entry: &[u8]| {
        let points = entry.as_chunks::<4>().0.iter();
        let points = points.map(|point| {
            if header.big_endian { u32::from_be_bytes(*point) } else { u32::from_le_bytes(*point) }
        });
        let letters = points.take_while(|point| *point != 0).map(char::from_u32);
        letters.collect::<Option<String>>().ok_or_else(|| "expected text, found other numbers".to_owned())
    };
    entries.chunks_exact(4 * length).map(text).collect()
}

impl Number {
    /// The number's type by NumPy's name, without its byte order.
    fn named(name: &str) -> Option<Self> {
        let mut letters = name.chars();
        let (kind, size) = (letters.next()?, letters.as_str().parse::<usize>().ok()?);
        match (kind, size) {
            ('f', 2) => Some(Self::Half),
            ('f', 4) => Some(Self::Single),
            ('f', 8) => Some(Self::Double),
            ('i', 1 | 2 | 4 | 8) => Some(Self::Signed(size)),
            ('u', 1 | 2 | 4 | 8) => Some(Self::Unsigned(size)),
            ('U', ..=1_000_000) => Some(Self::Text(size)),
            _ => None,
        }
    }

    /// Bytes of an entry.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Half => 2,
            Self::Single => 4,
            Self::Double => 8,
            Self::Signed(size) | Self::Unsigned(size) => size,
            Self::Text(length) => 4 * length,
        }
    }

    /// The entries as float32.
    fn values(self, bytes: &[u8], big_endian: bool) -> Result<Vec<f32>, String> {
        let read = |entry: &[u8]| -> f32 {
            let mut eight = [0; 8];
            let size = entry.len();
            eight[..size].copy_from_slice(entry);
            if big_endian {
                eight[..size].reverse();
            }
            let bits = u64::from_le_bytes(eight);
            match self {
                Self::Half => f16::from_bits(bits as u16).to_f32(),
                Self::Single => f32::from_bits(bits as u32),
                Self::Double => f64::from_bits(bits) as f32,
                // The sign of the highest bit that is there.
                Self::Signed(_) => ((bits << (64 - 8 * size)) as i64 >> (64 - 8 * size)) as f32,
                _ => bits as f32,
            }
        };
        match self {
            Self::Text(_) => Err("expected numbers, found texts".into()),
            _ => Ok(bytes.chunks_exact(self.size()).map(read).collect()),
        }
    }
}

impl Header {
    /// Parses the header at the beginning of a file; no more of it needs to be there.
    ///
    /// # Errors
    /// What was expected and what was found.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let rest =
            bytes.strip_prefix(MAGIC).ok_or("expected an array of NumPy's (.npy), found another file")?;
        let short = "expected an array of NumPy's (.npy), found one that is cut short";
        let [major, _, rest @ ..] = rest else { return Err(short.into()) };
        let (length, before) = match (major, rest) {
            (1, [low, high, ..]) => (usize::from(u16::from_le_bytes([*low, *high])), 10),
            (2 | 3, [a, b, c, d, ..]) => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 12),
            (1..=3, _) => return Err(short.into()),
            _ => return Err(format!("expected version 1 to 3 of NumPy's format, found {major}")),
        };
        if length > LONGEST_HEADER {
            return Err(format!("expected a header of at most {LONGEST_HEADER} bytes, found {length}"));
        }
        let text = bytes.get(before..before + length).ok_or(short)?;
        let text = std::str::from_utf8(text).map_err(|_| "expected a header of text, found other bytes")?;
        let descr = field(text, "descr")?;
        let quoted = descr.strip_prefix(['\'', '"']).and_then(|rest| rest.split(['\'', '"']).next());
        let name = quoted.ok_or_else(|| unusable(descr))?;
        let (order, kind) = match name.chars().next() {
            Some(order @ ('<' | '>' | '|' | '=')) => (order, &name[1..]),
            _ => ('=', name),
        };
        let number = Number::named(kind).ok_or_else(|| unusable(name))?;
        let by_columns = field(text, "fortran_order")?.starts_with("True");
        let shape = shape(field(text, "shape")?)?;
        Ok(Self { number, big_endian: order == '>', by_columns, shape, start: before + length })
    }

    /// The bytes of the entries, which fill the rest of the file.
    fn entries<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], String> {
        let entries = bytes.get(self.start..).unwrap_or_default();
        match self.bytes() {
            Some(expected) if expected == entries.len() => Ok(entries),
            expected => {
                let expected = expected.map_or("fewer".to_owned(), |bytes| bytes.to_string());
                let (shape, found) = (&self.shape, entries.len());
                Err(format!("expected {expected} bytes for an array of shape {shape:?}, found {found}"))
            }
        }
    }

    /// Bytes of all entries.
    pub(crate) fn bytes(&self) -> Option<usize> {
        self.shape.iter().try_fold(self.number.size(), |bytes, side| bytes.checked_mul(*side))
    }
}

fn unusable(name: &str) -> String {
    let found = crate::error::cut(name.trim(), 60);
    if name.contains('O') {
        return format!("expected numbers, found an array of Python objects ({found})");
    }
    one_line(&format!("expected numbers, found an array of type {found}"))
}

/// What follows a key in the header's dictionary.
fn field<'a>(text: &'a str, key: &str) -> Result<&'a str, String> {
    let quoted = [format!("'{key}':"), format!("\"{key}\":")];
    let place = quoted.iter().find_map(|key| Some(text.find(key.as_str())? + key.len()));
    let place = place.ok_or_else(|| format!("expected {key:?} in the header, found none"))?;
    Ok(text[place..].trim_start())
}

/// `(2, 3)`, `(4,)` or `()`.
fn shape(text: &str) -> Result<Vec<usize>, String> {
    let inside = text.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let (inside, _) = inside.ok_or("expected a shape in the header, found none")?;
    let sides = inside.split(',').map(str::trim).filter(|side| !side.is_empty());
    let sides: Result<Vec<usize>, _> = sides.map(|side| side.trim_end_matches('L').parse()).collect();
    let sides = sides.map_err(|_| "expected whole numbers as the shape, found others".to_owned())?;
    if sides.len() > MOST_DIMENSIONS {
        return Err(format!("expected at most {MOST_DIMENSIONS} dimensions, found {}", sides.len()));
    }
    Ok(sides)
}

/// Values whose first dimension is the fastest, with the last as the fastest.
fn by_rows(values: &[f32], shape: &[usize]) -> Vec<f32> {
    let mut steps = Vec::with_capacity(shape.len());
    let mut step = 1;
    for side in shape {
        steps.push(step);
        step *= side;
    }
    let mut index = vec![0; shape.len()];
    let mut output = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        output.push(values[index.iter().zip(&steps).map(|(at, step)| at * step).sum::<usize>()]);
        for dimension in (0..shape.len()).rev() {
            index[dimension] += 1;
            if index[dimension] < shape[dimension] {
                break;
            }
            index[dimension] = 0;
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(header: &str, entries: &[u8]) -> Vec<u8> {
        let mut bytes = [MAGIC, &[1, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes()].concat();
        bytes.extend_from_slice(entries);
        bytes
    }

    fn array(descr: &str, fortran: &str, shape: &str, entries: &[u8]) -> Result<NumpyArray, String> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        NumpyArray::parse(&npy(&header, entries))
    }

    #[test]
    fn numbers_of_every_width_and_order_are_read() {
        let half = [f16::from_f32(1.5).to_le_bytes(), f16::from_f32(-2.0).to_le_bytes()].concat();
        assert_eq!(array("<f2", "False", "(2,)", &half).unwrap().values, [1.5, -2.0]);
        let big: Vec<u8> = [1.5_f32, -2.0].iter().flat_map(|value| value.to_be_bytes()).collect();
        assert_eq!(array(">f4", "False", "(1, 2)", &big).unwrap().values, [1.5, -2.0]);
        let double: Vec<u8> = [0.25_f64, 3.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(array("<f8", "False", "(2,)", &double).unwrap().values, [0.25, 3.0]);
        assert_eq!(array("|i1", "False", "(2,)", &[255, 7]).unwrap().values, [-1.0, 7.0]);
        assert_eq!(array("|u1", "False", "(2,)", &[255, 7]).unwrap().values, [255.0, 7.0]);
        assert_eq!(array("<i8", "False", "(1,)", &(-5_i64).to_le_bytes()).unwrap().values, [-5.0]);
    }

    #[test]
    fn columns_become_rows() {
        let columns: Vec<u8> = [1_u8, 4, 2, 5, 3, 6].into();
        let found = array("|u1", "True", "(2, 3)", &columns).unwrap();
        assert_eq!((found.matrix(), found.values), (Some([2, 3]), vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let error = |descr, shape, bytes: &[u8]| array(descr, "False", shape, bytes).unwrap_err();
        assert_eq!(error("|O", "(1,)", b""), "expected numbers, found an array of Python objects (|O)");
        assert!(error("<c8", "(1,)", &[0; 8]).contains("of type"));
        assert_eq!(error("<f4", "(2,)", &[0; 4]), "expected 8 bytes for an array of shape [2], found 4");
        assert!(error("<f4", "(4611686018427387904, 16)", &[0; 4]).contains("fewer bytes"));
        assert!(error("<f4", "(-1,)", &[0; 4]).contains("whole numbers"));
        assert!(error("<U3", "(1,)", &[0; 12]).contains("texts"));
        for bytes in
            [&b""[..], b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff", b"\x93NUMPY\x09\x00\x00\x00", b"PK"]
        {
            assert!(NumpyArray::parse(bytes).is_err());
        }
        let whole = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n", &[0; 4]);
        for length in 0..whole.len() {
            assert!(NumpyArray::parse(&whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn texts_end_where_their_letters_end() {
        let letters = |text: &str| text.chars().flat_map(|c| (c as u32).to_le_bytes()).collect::<Vec<u8>>();
        let entries = [letters("wren"), letters("ab"), vec![0; 8]].concat();
        let bytes = npy("{'descr': '<U4', 'fortran_order': False, 'shape': (2,), }", &entries);
        assert_eq!(texts(&bytes).unwrap(), ["wren", "ab"]);
        let numbers = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }", &[3, 4]);
        assert_eq!(texts(&numbers).unwrap(), ["3", "4"]);
    }
}

//! A safetensors file becomes tensors, each read when it is asked for, as float32.
//!
//! The weights of linear layers, nearly all of a checkpoint, stay where they are if they can be used as they lie there:
//! float32 in a file is mapped into memory, whose pages belong to the system's cache of files and are shared by all
//! programs that map it. Nothing is read before it is used. A mapped file must not be cut short by another program
//! while this one runs: that ends a program by a signal, as with every loader that maps. Files in the Hub's cache are
//! replaced as a whole, which does no harm.
//!
//! All else is read when it is asked for, in pieces by all threads, as float32. Other types are turned into float32
//! piece by piece, so that a file in float16 never has a second copy in memory.

use std::{fs::File, io, ops::Range, path::Path, sync::Arc};

use candle_core::{DType, Device, Tensor, bail};
use half::{bf16, f16, slice::HalfFloatSliceExt};
use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::{guard::guarded, model::network::Numbers};

/// The values of a tensor that are read at once: few enough to stay in a processor's cache on their way.
const PIECE: usize = 1 << 18;
/// The format's own limit on the header; real ones have some hundred kilobytes.
const LARGEST_HEADER: u64 = 100_000_000;
/// The bytes before the header, which say how long it is.
const LENGTH: u64 = 8;

/// A safetensors file whose header was read and checked.
pub(crate) struct TensorFile {
    bytes: Bytes,
    metadata: Metadata,
    /// Where the tensors' data begin.
    start: u64,
    /// The file in memory, where that can be had.
    map: Option<Arc<Mmap>>,
}

/// The numbers of a tensor in a mapped file.
struct Mapped {
    map: Arc<Mmap>,
    /// Bytes of whole and aligned numbers.
    bytes: Range<usize>,
}

impl AsRef<[f32]> for Mapped {
    fn as_ref(&self) -> &[f32] {
        bytemuck::cast_slice(&self.map[self.bytes.clone()])
    }
}

/// Where the bytes come from.
enum Bytes {
    File(File),
    BuiltIn(&'static [u8]),
}

impl TensorFile {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// What is wrong with it: it cannot be read, its header is none, or the tensors do not fill it exactly.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let length = file.metadata().map_err(|error| error.to_string())?.len();
        let map = map(&file).map(Arc::new);
        Ok(Self { map, ..Self::new(Bytes::File(file), length)? })
    }

    /// Takes the bytes of a file that is part of the program.
    ///
    /// # Errors
    /// As [`TensorFile::open`].
    pub(crate) fn built_in(bytes: &'static [u8]) -> Result<Self, String> {
        Self::new(Bytes::BuiltIn(bytes), bytes.len() as u64)
    }

    fn new(bytes: Bytes, length: u64) -> Result<Self, String> {
        let too_short = |_| format!("it has {length} bytes, which is less than its header");
        let mut size = [0; LENGTH as usize];
        bytes.read_at(&mut size, 0).map_err(too_short)?;
        let size = u64::from_le_bytes(size);
        // Asked before memory is taken.
        if size > LARGEST_HEADER.min(length) {
            return Err(format!("its header would have {size} bytes, and the file has {length}"));
        }
        let mut header = vec![0; size as usize];
        bytes.read_at(&mut header, LENGTH).map_err(too_short)?;
        // Checks that the tensors lie one behind the other, and that their shapes fit their sizes.
        let parsed = guarded(|| serde_json::from_slice(&header)).map_err(|panic| panic.to_string())?;
        let metadata: Metadata = parsed.map_err(|error| format!("its header is broken: {error}"))?;
        let start = LENGTH + size;
        let expected = start.checked_add(metadata.data_len() as u64);
        if expected != Some(length) {
            let data = metadata.data_len();
            let found = length - start;
            return Err(format!("its tensors have {data} bytes, and {found} follow the header"));
        }
        Ok(Self { bytes, metadata, start, map: None })
    }

    /// The tensors' names and what the header says of them.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (String, &TensorInfo)> {
        self.metadata.tensors().into_iter()
    }

    /// Bytes in the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.start + self.metadata.data_len() as u64
    }

    /// A tensor's shape.
    pub(crate) fn shape(&self, name: &str) -> candle_core::Result<&[usize]> {
        Ok(&self.info(name)?.shape)
    }

    /// A tensor's data type.
    pub(crate) fn dtype(&self, name: &str) -> candle_core::Result<safetensors::Dtype> {
        Ok(self.info(name)?.dtype)
    }

    /// What the header says of a tensor.
    fn info(&self, name: &str) -> candle_core::Result<&TensorInfo> {
        match self.metadata.info(name) {
            Some(info) => Ok(info),
            None => bail!("it is missing"),
        }
    }

    /// A tensor's numbers where they lie; none if they cannot be used as they are there. The system is asked to have
    /// them at hand.
    pub(crate) fn numbers(&self, name: &str) -> candle_core::Result<Option<Numbers>> {
        let info = self.info(name)?;
        let Some(map) = &self.map else { return Ok(None) };
        let place = |offset: usize| self.start as usize + offset;
        let bytes = place(info.data_offsets.0)..place(info.data_offsets.1);
        let is_usable = |bytes| bytemuck::try_cast_slice::<u8, f32>(bytes).is_ok();
        if DType::try_from(info.dtype)? != DType::F32
            || cfg!(target_endian = "big")
            || !map.get(bytes.clone()).is_some_and(is_usable)
        {
            return Ok(None);
        }
        let numbers = Arc::new(Mapped { map: Arc::clone(map), bytes });
        have_at_hand(Arc::clone(&numbers));
        Ok(Some(Numbers::all(numbers)))
    }

    /// Reads a tensor as float32 into a place of its number of values.
    pub(crate) fn read_into(&self, name: &str, place: &mut [f32]) -> candle_core::Result<()> {
        let info = self.info(name)?;
        let count: usize = info.shape.iter().product();
        if count != place.len() {
            bail!("expected {} values, found {count}", place.len());
        }
        let dtype = DType::try_from(info.dtype)?;
        let pieces = place.par_chunks_mut(PIECE).enumerate();
        pieces.try_for_each(|(index, place)| {
            self.read_piece(info, dtype, index * PIECE * dtype.size_in_bytes(), place)
        })
    }

    /// Reads the values that begin at a byte of a tensor.
    fn read_piece(
        &self,
        info: &TensorInfo,
        dtype: DType,
        from: usize,
        place: &mut [f32],
    ) -> candle_core::Result<()> {
        match dtype {
            DType::F32 => self.read(info, from, bytemuck::cast_slice_mut(place))?,
            DType::F16 => {
                let mut halves = vec![f16::ZERO; place.len()];
                self.read(info, from, bytemuck::cast_slice_mut(halves.reinterpret_cast_mut()))?;
                halves.convert_to_f32_slice(place);
            }
            DType::BF16 => {
                let mut halves = vec![bf16::ZERO; place.len()];
                self.read(info, from, bytemuck::cast_slice_mut(halves.reinterpret_cast_mut()))?;
                halves.convert_to_f32_slice(place);
            }
            _ => {
                let mut bytes = vec![0; place.len() * dtype.size_in_bytes()];
                self.read(info, from, &mut bytes)?;
                let values = Tensor::from_raw_buffer(&bytes, dtype, &[place.len()], &Device::Cpu)?;
                place.copy_from_slice(&values.to_dtype(DType::F32)?.to_vec1::<f32>()?);
            }
        }
        Ok(())
    }

    /// Hands a tensor's bytes on as they are in the file, in order, in pieces.
    pub(crate) fn pieces(&self, name: &str, mut take: impl FnMut(&[u8])) -> candle_core::Result<()> {
        let info = self.info(name)?;
        let size = info.data_offsets.1 - info.data_offsets.0;
        let piece = PIECE * size_of::<f32>();
        let mut buffer = vec![0; piece.min(size)];
        for from in (0..size).step_by(piece) {
            let bytes = &mut buffer[..piece.min(size - from)];
            self.read(info, from, bytes)?;
            take(bytes);
        }
        Ok(())
    }

    /// Reads some of a tensor's bytes.
    fn read(&self, info: &TensorInfo, from: usize, bytes: &mut [u8]) -> candle_core::Result<()> {
        let at = self.start + (info.data_offsets.0 + from) as u64;
        Ok(self.bytes.read_at(bytes, at)?)
    }
}

/// Has the system bring a tensor's pages while other work goes on, a photo is decoded for instance. Where it cannot, each
/// page comes when it is first used.
fn have_at_hand(numbers: Arc<Mapped>) {
    #[cfg(target_os = "linux")]
    rayon::spawn(move || {
        let Range { start, end } = numbers.bytes;
        drop(numbers.map.advise_range(memmap2::Advice::PopulateRead, start, end - start));
    });
}

/// A file in memory; none where the system does not do that.
fn map(file: &File) -> Option<Mmap> {
    // SAFETY: the numbers in the file may be any, so that it does no harm if they change; the documentation of
    // whoever loads a checkpoint says that the file must not be truncated.
    #[allow(unsafe_code)]
    unsafe {
        Mmap::map(file).ok()
    }
}

impl Bytes {
    /// Fills a buffer from a place in the file. Several threads may read at once.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        match self {
            Self::File(file) => read_exact_at(file, buffer, at),
            Self::BuiltIn(bytes) => {
                let end = (at as usize).saturating_add(buffer.len());
                let found = bytes.get(at as usize..end).ok_or(io::ErrorKind::UnexpectedEof)?;
                buffer.copy_from_slice(found);
                Ok(())
            }
        }
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, at)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut at: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, buffer, at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer = &mut buffer[read..];
        at += read as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one tensor `t` of this type, and its bytes.
    fn file(dtype: &str, shape: &[usize], data: &[u8]) -> Vec<u8> {
        let header =
            serde_json::json!({"t": {"dtype": dtype, "shape": shape, "data_offsets": [0, data.len()]}});
        let header = header.to_string().into_bytes();
        [&(header.len() as u64).to_le_bytes(), header.as_slice(), data].concat()
    }

    fn opened(bytes: Vec<u8>) -> Result<TensorFile, String> {
        TensorFile::built_in(bytes.leak())
    }

    /// The values of the tensor.
    fn values(file: &TensorFile) -> candle_core::Result<Vec<f32>> {
        let mut place = vec![0.0; file.shape("t")?.iter().product()];
        file.read_into("t", &mut place)?;
        Ok(place)
    }

    #[test]
    fn tensors_larger_than_a_piece_are_whole_and_in_order() {
        let count = PIECE + 3;
        let halves: Vec<u8> = (0..count).flat_map(|index| [0, 0x3c + (index % 5) as u8]).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        std::fs::write(&path, file("F16", &[count, 1], &halves)).unwrap();
        let found = values(&TensorFile::open(&path).unwrap()).unwrap();
        // In float16, 0x3c00 is 1, and each step of 0x0100 of the first five is a quarter of 1, then of 2.
        let expected: Vec<f32> = (0..count).map(|index| [1.0, 1.25, 1.5, 1.75, 2.0][index % 5]).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn every_type_of_number_becomes_float32() {
        let cases: [(&str, &[u8], f32); 4] = [
            ("F32", &1.5f32.to_le_bytes(), 1.5),
            ("F64", &(-2.25f64).to_le_bytes(), -2.25),
            ("BF16", &[0x40, 0x40], 3.0),
            ("I64", &7i64.to_le_bytes(), 7.0),
        ];
        for (dtype, data, expected) in cases {
            assert_eq!(values(&opened(file(dtype, &[], data)).unwrap()).unwrap(), [expected], "{dtype}");
        }
        assert!(values(&opened(file("BOOL", &[], &[1])).unwrap()).is_err());
    }

    #[test]
    fn only_float32_in_a_file_is_used_where_it_lies() -> candle_core::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.safetensors");
        let numbers = |bytes: &[u8]| -> candle_core::Result<Option<Vec<f32>>> {
            std::fs::write(&path, bytes)?;
            let found = TensorFile::open(&path).unwrap().numbers("t")?;
            Ok(found.map(|numbers| numbers.as_slice().to_vec()))
        };
        let data: Vec<u8> = [1.5_f32, -2.0].into_iter().flat_map(f32::to_le_bytes).collect();
        // As safetensors writes them: spaces behind the header, so that what follows is aligned.
        let padded = |dtype: &str, shape: &[usize], spaces: usize| {
            let mut bytes = file(dtype, shape, &data);
            let end = bytes.len() - data.len();
            let spaces = end.next_multiple_of(4) - end + spaces;
            bytes.splice(end..end, vec![b' '; spaces]);
            let header = (end - LENGTH as usize + spaces) as u64;
            bytes[..LENGTH as usize].copy_from_slice(&header.to_le_bytes());
            bytes
        };
        assert_eq!(numbers(&padded("F32", &[2], 0))?, Some(vec![1.5, -2.0]));
        assert_eq!(numbers(&padded("F32", &[2], 1))?, None);
        assert_eq!(numbers(&padded("F16", &[4], 0))?, None);
        assert!(opened(padded("F32", &[2], 0)).unwrap().numbers("t")?.is_none());
        Ok(())
    }

    #[test]
    fn a_file_cut_short_while_it_is_open_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        std::fs::write(&path, file("F32", &[2], &[0; 8])).unwrap();
        let opened = TensorFile::open(&path).unwrap();
        std::fs::write(&path, b"").unwrap();
        assert!(values(&opened).is_err());
    }

    #[test]
    fn headers_that_do_not_fit_the_file_are_refused() {
        let whole = file("F32", &[2], &[0; 8]);
        assert!(opened(whole.clone()).is_ok());
        let reason = |bytes: Vec<u8>| opened(bytes).err().unwrap_or_default();
        assert!(reason(whole[..whole.len() - 1].to_vec()).contains("have 8 bytes, and 7 follow"));
        assert!(reason([&whole[..], &[0]].concat()).contains("have 8 bytes, and 9 follow"));
        assert!(reason(file("F32", &[3], &[0; 8])).contains("its header is broken"));
        assert!(reason([&(1u64 << 60).to_le_bytes()[..], &whole[8..]].concat()).contains("its header would"));
        assert!(reason(vec![1, 2, 3]).contains("less than its header"));
    }
}

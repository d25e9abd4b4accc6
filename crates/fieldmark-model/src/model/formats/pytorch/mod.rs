//! A file that `torch.save` wrote becomes named tensors, without running anything of it.
//!
//! Today that is a zip archive, nothing in it compressed (`archive`): `<root>/data.pkl` is a program for Python's
//! unpickler that builds the state dictionary, and `<root>/data/<key>` are the numbers. Before PyTorch 1.6 it was the
//! same program with the numbers behind it (`legacy`). `pickle` follows the program as far as it builds dictionaries of
//! tensors. Numbers are read tensor by tensor, when they are asked for.

mod archive;
mod dtypes;
mod legacy;
mod pickle;
mod storages;

use std::{collections::BTreeMap, fs::File, io::Read, path::Path};

use candle_core::{Device, Tensor};

use crate::error::{Error, Result, one_line};
use dtypes::Numbers;
use pickle::Item;
use storages::Storages;

/// The largest pickle that is followed: those of real checkpoints, optimizer included, have some 300 kB.
const LARGEST_PROGRAM: u64 = 16 << 20;
/// The most storages that are looked at; a checkpoint has one for each tensor.
const MOST_STORAGES: usize = 1 << 16;

/// The tensors of one file.
pub(crate) struct PytorchFile {
    storages: Storages,
    tensors: BTreeMap<String, StoredTensor>,
}

/// What either form of file holds.
struct Parts {
    state: BTreeMap<String, Item>,
    storages: Storages,
}

/// Where a tensor's numbers are, and how they are laid out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredTensor {
    /// The key of its storage.
    storage: String,
    /// The numbers' type.
    numbers: &'static Numbers,
    /// The first number, counted in numbers.
    offset: usize,
    pub(crate) shape: Vec<usize>,
    strides: Vec<usize>,
}

impl PytorchFile {
    /// Reads the table of tensors.
    ///
    /// # Errors
    /// [`Error::Weights`] if the file is not of this format, cut short, or holds something else than a state
    /// dictionary.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let error = |reason: String| Error::Weights { path: path.into(), reason: one_line(&reason) };
        let Parts { state, storages } = parts(path).map_err(error)?;
        let tensors = tensors(state).map_err(error)?;
        for (name, tensor) in &tensors {
            storages.check(tensor).map_err(|reason| error(format!("tensor {name}: {reason}")))?;
        }
        Ok(Self { storages, tensors })
    }

    /// The tensors by name.
    pub(crate) fn tensors(&self) -> &BTreeMap<String, StoredTensor> {
        &self.tensors
    }

    /// Reads a tensor's numbers.
    pub(crate) fn load(&self, name: &str, device: &Device) -> candle_core::Result<Tensor> {
        let Some(tensor) = self.tensors.get(name) else { candle_core::bail!("it is missing") };
        let Some(dtype) = tensor.numbers.dtype else {
            candle_core::bail!("numbers of type {} are no weights", tensor.numbers.name);
        };
        let bytes = self.storages.read(tensor).map_err(candle_core::Error::Msg)?;
        Tensor::from_raw_buffer(&bytes, dtype, &tensor.shape, device)
    }
}

fn parts(path: &Path) -> Result<Parts, String> {
    let mut start = Vec::new();
    // What cannot be read is no archive either, and says so.
    let _ = File::open(path).and_then(|file| file.take(512).read_to_end(&mut start));
    if start.first() == Some(&legacy::FIRST_BYTE) {
        return legacy::open(path);
    }
    if start.get(257..262) == Some(b"ustar") {
        return Err("is a tar archive of PyTorch before 0.2, which is not supported".into());
    }
    archive::open(path)
}

/// The tensors of a state dictionary. What else lies in it (an epoch, settings) is no weight; an object that PyTorch
/// makes in a way that is not known may be one, and is refused.
fn tensors(state: BTreeMap<String, Item>) -> Result<BTreeMap<String, StoredTensor>, String> {
    let mut tensors = BTreeMap::new();
    for (name, item) in state {
        match item {
            Item::Tensor(tensor) => drop(tensors.insert(name, tensor)),
            Item::Opaque(class) if class.starts_with("torch.") => {
                return Err(format!("tensor {name}: {}", pickle::not_needed(&class)));
            }
            Item::Opaque(_) => {}
        }
    }
    if tensors.is_empty() {
        return Err("expected a dictionary of named tensors, found none".into());
    }
    Ok(tensors)
}

impl StoredTensor {
    /// The type's name as in safetensors, such as F32.
    pub(crate) fn kind(&self) -> String {
        let Numbers { name, dtype, .. } = self.numbers;
        dtype.map_or(*name, |dtype| dtype.as_str()).to_uppercase()
    }

    /// The count of numbers, and one more than the position of the last one; none if either is beyond any file.
    fn extent(&self) -> Option<(usize, usize)> {
        let count = self.shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size))?;
        if count == 0 {
            return Some((0, 0));
        }
        let axes = self.shape.iter().zip(&self.strides);
        let mut last = axes.map(|(size, stride)| (size - 1).checked_mul(*stride));
        let last = last.try_fold(self.offset, |sum, step| sum.checked_add(step?))?;
        Some((count, last.checked_add(1)?))
    }

    /// Whether the numbers lie one after the other, the last axis fastest.
    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(size, stride)| {
            let fits = *size == 1 || *stride == expected;
            expected *= size;
            fits
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(offset: usize, shape: &[usize], strides: &[usize]) -> StoredTensor {
        let numbers = dtypes::numbers("Float").expect("is known");
        StoredTensor {
            storage: "0".to_owned(),
            numbers,
            offset,
            shape: shape.into(),
            strides: strides.into(),
        }
    }

    #[test]
    fn extents_never_overflow() {
        assert_eq!(tensor(4, &[2, 3], &[3, 1]).extent(), Some((6, 10)));
        assert_eq!(tensor(4, &[2, 3], &[1, 2]).extent(), Some((6, 10)));
        assert_eq!(tensor(4, &[2, 0], &[0, 1]).extent(), Some((0, 0)));
        assert_eq!(tensor(0, &[1 << 40, 1 << 40], &[1, 1]).extent(), None);
        assert_eq!(tensor(0, &[3], &[usize::MAX]).extent(), None);
        assert_eq!(tensor(usize::MAX, &[1], &[1]).extent(), None);
    }

    #[test]
    fn the_order_of_axes_shows_in_the_strides() {
        assert!(tensor(4, &[6, 3], &[3, 1]).is_contiguous());
        assert!(tensor(4, &[1, 3], &[7, 1]).is_contiguous());
        assert!(!tensor(0, &[2, 3], &[1, 2]).is_contiguous());
    }

    #[test]
    fn objects_that_may_be_tensors_are_refused_and_others_are_left_out() {
        let one = |name: &str, item: Item| (name.to_owned(), item);
        let known = || one("a", Item::Tensor(tensor(0, &[1], &[1])));
        let state = |class: &str| BTreeMap::from([known(), one("b", Item::Opaque(class.into()))]);
        assert_eq!(tensors(state("numpy.ndarray")).expect("has tensors").len(), 1);
        let error = tensors(state("torch._utils._rebuild_qtensor")).expect_err("is refused");
        assert_eq!(
            error,
            "tensor b: asks for torch._utils._rebuild_qtensor, which no state dictionary needs"
        );
        assert!(tensors(BTreeMap::new()).is_err());
    }
}

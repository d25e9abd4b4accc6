//! A file that `torch.save` wrote becomes named tensors, without running anything of it.
//!
//! Such a file is a zip archive, nothing in it compressed: `<root>/data.pkl` is a program for Python's unpickler that
//! builds the state dictionary, and `<root>/data/<key>` are the numbers. `archive` finds the entries, `pickle` follows
//! the program as far as it only builds dictionaries of tensors; a program that asks for anything else is refused by
//! the name of what it asks for. Numbers are read tensor by tensor, when they are asked for.

mod archive;
mod pickle;

use std::{collections::BTreeMap, path::Path};

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};
use archive::Archive;
use pickle::{Item, State};

/// What training checkpoints call the state dictionary among the optimizer's state and the like.
const NESTED: &str = "state_dict";
/// What PyTorch's parallel training puts before every name.
const PARALLEL: &str = "module.";

/// The tensors of one file.
pub(super) struct PytorchFile {
    archive: Archive,
    tensors: BTreeMap<String, StoredTensor>,
}

/// Where a tensor's numbers are, and how they are laid out.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StoredTensor {
    /// The name of the entry under `data/`.
    storage: String,
    /// The numbers' type in Python's words, such as `Float`.
    kind: &'static str,
    /// None for types that hold no weights.
    pub(super) dtype: Option<DType>,
    /// The first number, counted in numbers.
    offset: usize,
    pub(super) shape: Vec<usize>,
    strides: Vec<usize>,
}

impl PytorchFile {
    /// Reads the table of tensors.
    ///
    /// # Errors
    /// [`Error::Weights`] if the file is not of this format, cut short, or asks for more than a state dictionary.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let error = |reason: String| Error::Weights { path: path.into(), reason };
        let archive = Archive::open(path).map_err(error)?;
        let program = archive.program().map_err(error)?;
        let state = pickle::run(&program).map_err(|reason| error(format!("data.pkl: {reason}")))?;
        let tensors = named_tensors(state).map_err(error)?;
        for (name, tensor) in &tensors {
            archive.check(tensor).map_err(|reason| error(format!("tensor {name}: {reason}")))?;
        }
        Ok(Self { archive, tensors })
    }

    /// The tensors by name.
    pub(super) fn tensors(&self) -> &BTreeMap<String, StoredTensor> {
        &self.tensors
    }

    /// Reads a tensor's numbers.
    pub(super) fn load(&self, name: &str, device: &Device) -> candle_core::Result<Tensor> {
        let Some(tensor) = self.tensors.get(name) else { candle_core::bail!("it is missing") };
        let Some(dtype) = tensor.dtype else {
            candle_core::bail!("numbers of type {} are no weights", tensor.kind);
        };
        let bytes = self.archive.read(tensor).map_err(candle_core::Error::Msg)?;
        Tensor::from_raw_buffer(&bytes, dtype, &tensor.shape, device)
    }
}

impl StoredTensor {
    /// The type's name as safetensors has it, such as F32.
    pub(super) fn kind(&self) -> String {
        self.dtype.map_or_else(|| self.kind.to_uppercase(), |dtype| dtype.as_str().to_uppercase())
    }

    /// The count of numbers, and one more than the position of the last one; none if either is beyond any file.
    fn extent(&self) -> Option<(usize, usize)> {
        let count = self.shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size))?;
        if count == 0 {
            return Some((0, self.offset));
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

/// The tensors of the state dictionary: the outermost one, or the one that it calls `state_dict`. What else lies in
/// it (an epoch, settings) is no weight. Names that all begin with `module.` lose it.
fn named_tensors(mut state: State) -> Result<BTreeMap<String, StoredTensor>, String> {
    let nested = state.remove(NESTED);
    let state = match nested {
        Some(Item::Dictionary(nested)) => nested,
        _ => state,
    };
    let tensors: BTreeMap<String, StoredTensor> = state
        .into_iter()
        .filter_map(|(name, item)| match item {
            Item::Tensor(tensor) => Some((name, tensor)),
            Item::Dictionary(_) | Item::Other => None,
        })
        .collect();
    if tensors.is_empty() {
        return Err("expected a dictionary of named tensors, found none".into());
    }
    if tensors.keys().all(|name| name.starts_with(PARALLEL)) {
        let shortened = |(name, tensor): (String, _)| (name[PARALLEL.len()..].to_owned(), tensor);
        return Ok(tensors.into_iter().map(shortened).collect());
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(offset: usize, shape: &[usize], strides: &[usize]) -> StoredTensor {
        let (storage, kind) = ("0".to_owned(), "Float");
        StoredTensor {
            storage,
            kind,
            dtype: Some(DType::F32),
            offset,
            shape: shape.into(),
            strides: strides.into(),
        }
    }

    #[test]
    fn extents_never_overflow() {
        assert_eq!(tensor(4, &[2, 3], &[3, 1]).extent(), Some((6, 10)));
        assert_eq!(tensor(4, &[2, 3], &[1, 2]).extent(), Some((6, 10)));
        assert_eq!(tensor(4, &[2, 0], &[0, 1]).extent(), Some((0, 4)));
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
    fn the_state_dictionary_may_be_nested_and_its_names_prefixed() {
        let one = |name: &str| (name.to_owned(), Item::Tensor(tensor(0, &[1], &[1])));
        let inner = State::from([one("module.a"), one("module.b"), ("module.epoch".into(), Item::Other)]);
        let outer = State::from([("state_dict".into(), Item::Dictionary(inner)), one("not this")]);
        let found = named_tensors(outer).expect("has tensors");
        assert_eq!(found.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert!(named_tensors(State::from([("epoch".into(), Item::Other)])).is_err());
    }
}

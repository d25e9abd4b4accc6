//! `model.safetensors`, whole or sharded, or PyTorch's own format becomes named tensors of checked shapes.
//!
//! Safetensors are memory-mapped: what is not asked for is not read. This and `nn::product` are the only places with `unsafe` code.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use candle_core::{
    DType, Device, Shape, Tensor,
    pickle::{PthTensors, TensorInfo},
    safetensors::MmapedSafetensors,
};
use candle_nn::{Init, VarBuilder, var_builder::SimpleBackend};
use serde_json::Value;

use crate::error::{Error, Result};

/// The name of a checkpoint that lies in one file.
pub(crate) const SINGLE_FILE: &str = "model.safetensors";
/// The name of the list of a checkpoint's shards.
pub(crate) const SHARD_INDEX: &str = "model.safetensors.index.json";
/// The name of PyTorch's own format, which is taken where there is no other.
const PICKLED: &str = "pytorch_model.bin";

/// A tensor that a configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its name in the file.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// The tensors of a checkpoint.
pub struct Weights {
    source: Source,
    path: PathBuf,
}

enum Source {
    Mapped(MmapedSafetensors),
    BuiltIn(candle_core::safetensors::SliceSafetensors<'static>),
    /// candle's reader takes the tensors out of a pickle and runs nothing of it.
    Pickled(PthTensors),
}

impl Weights {
    /// Opens the checkpoint in a directory: `model.safetensors`, else the shards that
    /// `model.safetensors.index.json` names, else `pytorch_model.bin`.
    ///
    /// # Errors
    /// [`Error::Weights`] if there are no weights, or a file is not of its format or cut short.
    pub fn open(directory: &Path) -> Result<Self> {
        let single = directory.join(SINGLE_FILE);
        let pickled = directory.join(PICKLED);
        if !single.is_file() && !directory.join(SHARD_INDEX).is_file() && pickled.is_file() {
            return Self::open_pickled(pickled);
        }
        let files = if single.is_file() { vec![single] } else { shards(directory)? };
        let path = match files.as_slice() {
            [file] => file.clone(),
            _ => directory.to_path_buf(),
        };
        let broken = |error: candle_core::Error| Error::Weights {
            path: path.clone(),
            reason: format!("not a whole safetensors file: {}", first_line(&error)),
        };
        // SAFETY: the files are mapped read-only. Should another program change or cut them while they are
        // open, values change or the process ends by a signal, as with every memory-mapped file; safetensors
        // checks all offsets against the length at opening.
        #[allow(unsafe_code)]
        let mapped = unsafe { MmapedSafetensors::multi(&files) }.map_err(broken)?;
        Ok(Self { source: Source::Mapped(mapped), path })
    }

    fn open_pickled(path: PathBuf) -> Result<Self> {
        let broken = |error: candle_core::Error| Error::Weights {
            path: path.clone(),
            reason: format!("not a whole PyTorch file: {}", first_line(&error)),
        };
        // candle's reader takes arguments off a pickle without looking whether they are there, and panics.
        let read = std::panic::catch_unwind(|| PthTensors::new(&path, None));
        let malformed = || Err(candle_core::Error::Msg("it is malformed".into()));
        let tensors = read.unwrap_or_else(|_| malformed()).map_err(broken)?;
        Ok(Self { source: Source::Pickled(tensors), path })
    }

    /// Wraps the bytes of a safetensors file that is part of the program; `name` is used in errors.
    ///
    /// # Errors
    /// [`Error::Weights`] if the bytes are not a safetensors file.
    pub fn built_in(bytes: &'static [u8], name: &str) -> Result<Self> {
        let slice = candle_core::safetensors::SliceSafetensors::new(bytes)
            .map_err(|error| Error::Weights { path: name.into(), reason: first_line(&error) })?;
        Ok(Self { source: Source::BuiltIn(slice), path: name.into() })
    }

    /// The file, or the directory of the shards.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every tensor's name, data type (such as F32) and shape.
    pub fn contents(&self) -> BTreeMap<String, (String, Vec<usize>)> {
        let tensors = match &self.source {
            Source::Mapped(mapped) => mapped.tensors(),
            Source::BuiltIn(slice) => slice.tensors(),
            Source::Pickled(tensors) => {
                let infos = tensors.tensor_infos().iter();
                let described =
                    |info: &TensorInfo| (format!("{:?}", info.dtype), info.layout.dims().to_vec());
                return infos.map(|(name, info)| (name.clone(), described(info))).collect();
            }
        };
        tensors
            .into_iter()
            .map(|(name, view)| (name, (format!("{:?}", view.dtype()), view.shape().to_vec())))
            .collect()
    }

    /// Checks that every expected tensor is there with the expected shape, and that there is no other. Dimensions of
    /// length 1 do not count: a scale may be stored as `[]` or `[1]`.
    ///
    /// # Errors
    /// [`Error::Weights`] names the first tensor that is missing, of another shape or unknown.
    pub fn check(&self, expected: &[Expected]) -> Result<()> {
        let mut contents = self.contents();
        for Expected { name, shape } in expected {
            let Some((_, found)) = contents.remove(name) else {
                return Err(self.error(format!("tensor {name} is missing, expected shape {shape:?}")));
            };
            if !same_shape(&found, shape) {
                let reason = format!("tensor {name}: config.json asks for shape {shape:?}, found {found:?}");
                return Err(self.error(reason));
            }
        }
        match contents.keys().find(|name| !is_leftover(name)) {
            Some(name) => {
                Err(self.error(format!("tensor {name} is not part of a model of this configuration")))
            }
            None => Ok(()),
        }
    }

    /// Loads one tensor as float32.
    ///
    /// # Errors
    /// [`Error::Weights`] if it is missing or of a data type that holds no weights.
    pub fn tensor(&self, name: &str, device: &Device) -> Result<Tensor> {
        self.load(name, device)
            .and_then(|tensor| tensor.to_dtype(DType::F32))
            .map_err(|error| self.error(format!("tensor {name}: {}", first_line(&error))))
    }

    /// The names of the tensors that hold a value that is not a finite number.
    ///
    /// # Errors
    /// [`Error::Weights`] if a tensor cannot be read.
    pub fn not_finite(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for name in self.contents().into_keys().filter(|name| !is_leftover(name)) {
            let tensor = self.tensor(&name, &Device::Cpu)?;
            let values = tensor.flatten_all()?.to_vec1::<f32>()?;
            if values.iter().any(|value| !value.is_finite()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// A builder for the models of candle-transformers, over the tensors whose names start with `prefix`.
    pub(crate) fn builder(&self, prefix: &str, device: &Device) -> VarBuilder<'_> {
        let backend: Box<dyn SimpleBackend + '_> = Box::new(Named { weights: self });
        VarBuilder::from_backend(backend, DType::F32, device.clone()).pp(prefix)
    }

    fn load(&self, name: &str, device: &Device) -> candle_core::Result<Tensor> {
        match &self.source {
            Source::Mapped(mapped) => mapped.load(name, device),
            Source::BuiltIn(slice) => slice.load(name, device),
            Source::Pickled(tensors) => match tensors.get(name)? {
                Some(tensor) => tensor.to_device(device),
                None => candle_core::bail!("it is missing"),
            },
        }
    }

    fn error(&self, reason: String) -> Error {
        Error::Weights { path: self.path.clone(), reason }
    }
}

/// Whether two shapes differ at most in dimensions of length 1.
fn same_shape(one: &[usize], other: &[usize]) -> bool {
    let sides =
        |shape: &'_ [usize]| -> Vec<usize> { shape.iter().copied().filter(|side| *side != 1).collect() };
    sides(one) == sides(other)
}

/// Tensors that older libraries saved although they are no weights.
fn is_leftover(name: &str) -> bool {
    name.ends_with(".position_ids")
}

/// The first line of candle's message: the rest is a backtrace.
fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// The shards that the index names, each of them there.
fn shards(directory: &Path) -> Result<Vec<PathBuf>> {
    let index = directory.join(SHARD_INDEX);
    if !index.is_file() {
        let reason = format!("neither {SINGLE_FILE} nor {SHARD_INDEX} nor {PICKLED} is there");
        return Err(Error::Weights { path: directory.into(), reason });
    }
    let error = |reason: String| Error::Weights { path: index.clone(), reason };
    let root: Value = serde_json::from_slice(&super::read_text_file(&index)?)
        .map_err(|source| error(format!("not valid JSON: {source}")))?;
    let map = root.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| error("weight_map: expected an object".into()))?;
    let mut files = std::collections::BTreeSet::new();
    for (tensor, file) in map {
        let name = file.as_str().filter(|name| !name.contains(['/', '\\']) && *name != "..");
        let name =
            name.ok_or_else(|| error(format!("weight_map.{tensor}: expected a file name, found {file}")))?;
        files.insert(directory.join(name));
    }
    if let Some(missing) = files.iter().find(|file| !file.is_file()) {
        return Err(error(format!("shard {} is not there", missing.display())));
    }
    if files.is_empty() {
        return Err(error("weight_map names no file".into()));
    }
    Ok(files.into_iter().collect())
}

/// Gives candle-transformers its tensors by name.
struct Named<'a> {
    weights: &'a Weights,
}

impl SimpleBackend for Named<'_> {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let tensor = self.get_unchecked(name, dtype, device)?;
        if *tensor.shape() != shape {
            candle_core::bail!("tensor {name}: expected shape {shape:?}, found {:?}", tensor.shape());
        }
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        self.weights.load(name, device)?.to_dtype(dtype)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        match &self.weights.source {
            Source::Mapped(mapped) => mapped.get(name).is_ok(),
            Source::BuiltIn(slice) => slice.get(name).is_ok(),
            Source::Pickled(tensors) => tensors.tensor_infos().contains_key(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pickled_tensors_are_those_of_safetensors() -> Result<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pickled");
        let weights = Weights::open(&folder)?;
        let expected = candle_core::safetensors::load(folder.join("expected.safetensors"), &Device::Cpu)?;
        assert_eq!(weights.contents().len(), expected.len());
        for (name, expected) in expected {
            let (dtype, shape) = &weights.contents()[&name];
            assert_eq!(
                (dtype.as_str(), shape.as_slice()),
                (expected.dtype().as_str().to_uppercase().as_str(), expected.dims())
            );
            let found = weights.tensor(&name, &Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
            assert_eq!(found, expected.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?, "{name}");
        }
        Ok(())
    }

    #[test]
    fn what_is_no_pickle_is_refused() -> Result<()> {
        let folder =
            tempfile::tempdir().map_err(|source| Error::Write { path: "temporary".into(), source })?;
        let malformed = include_bytes!("../../tests/fixtures/pickled/malformed.bin");
        for bytes in [&b"not a zip"[..], b"", b"PK\x03\x04", malformed] {
            let path = folder.path().join(PICKLED);
            std::fs::write(&path, bytes).map_err(|source| Error::Write { path, source })?;
            assert!(matches!(Weights::open(folder.path()), Err(Error::Weights { .. })));
        }
        Ok(())
    }
}

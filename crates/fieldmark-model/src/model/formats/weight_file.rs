//! One file of weights, of either format, and which files a checkpoint's weights lie in.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use candle_core::{DType, Device, Tensor};

use super::{lfs, pytorch::PytorchFile, read_text_file, tensor_file::TensorFile};
use crate::{
    error::{Error, Result, one_line},
    model::{hub, network::Numbers},
};

/// A file whose table of tensors was read.
pub(crate) enum WeightFile {
    Safetensors(TensorFile),
    Pickled(PytorchFile),
}

impl WeightFile {
    /// Opens a file: what ends in `.safetensors` is that, all else is PyTorch's own.
    ///
    /// # Errors
    /// [`Error::Weights`] if it is not of its format or cut short, [`Error::LfsPointer`] if it is none at all.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        refuse_pipe(path)?;
        lfs::refuse_pointer(path)?;
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            return opened(TensorFile::open(path), path);
        }
        PytorchFile::open(path).map(Self::Pickled)
    }

    /// Takes the bytes of a safetensors file that is part of the program; `path` is only named in errors.
    ///
    /// # Errors
    /// [`Error::Weights`] if they are none.
    pub(crate) fn built_in(bytes: &'static [u8], path: &Path) -> Result<Self> {
        opened(TensorFile::built_in(bytes), path)
    }

    /// The names of its tensors.
    pub(crate) fn names(&self) -> Vec<String> {
        match self {
            Self::Safetensors(file) => file.tensors().map(|(name, _)| name).collect(),
            Self::Pickled(file) => file.tensors().keys().cloned().collect(),
        }
    }

    /// A tensor's data type (such as F32) and shape.
    pub(crate) fn about(&self, name: &str) -> candle_core::Result<(String, &[usize])> {
        match self {
            Self::Safetensors(file) => Ok((format!("{:?}", file.dtype(name)?), file.shape(name)?)),
            Self::Pickled(file) => match file.tensors().get(name) {
                Some(tensor) => Ok((tensor.kind(), &tensor.shape)),
                None => candle_core::bail!("it is missing"),
            },
        }
    }

    /// A tensor's numbers one by one, where that takes no second copy of them: those of safetensors where they lie, if they
    /// can be used there, and those of a pickle as they are read.
    pub(crate) fn numbers(&self, name: &str) -> candle_core::Result<Option<Numbers>> {
        match self {
            Self::Safetensors(file) => file.numbers(name),
            Self::Pickled(file) => Ok(Some(Numbers::all(Arc::new(pickled(file, name)?)))),
        }
    }

    /// Reads a tensor as float32 into a place of its number of values.
    pub(crate) fn read_into(&self, name: &str, place: &mut [f32]) -> candle_core::Result<()> {
        match self {
            Self::Safetensors(file) => file.read_into(name, place),
            Self::Pickled(file) => {
                let values = pickled(file, name)?;
                if values.len() != place.len() {
                    candle_core::bail!("expected {} values, found {}", place.len(), values.len());
                }
                place.copy_from_slice(&values);
                Ok(())
            }
        }
    }

    /// Reads a tensor as float32.
    pub(crate) fn load(&self, name: &str, device: &Device) -> candle_core::Result<Tensor> {
        match self {
            Self::Safetensors(file) => {
                let shape = file.shape(name)?;
                let mut values = vec![0.0; shape.iter().product()];
                file.read_into(name, &mut values)?;
                Tensor::from_vec(values, shape, device)
            }
            Self::Pickled(file) => file.load(name, device)?.to_dtype(DType::F32),
        }
    }
}

/// A pickled tensor's numbers as float32.
fn pickled(file: &PytorchFile, name: &str) -> candle_core::Result<Vec<f32>> {
    file.load(name, &Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}

/// Refuses what is no regular file, such as a pipe, which would be waited for.
fn refuse_pipe(path: &Path) -> Result<()> {
    let fail = |source| Error::Read { path: path.into(), source };
    if path.metadata().map_err(fail)?.is_file() {
        return Ok(());
    }
    Err(fail(io::Error::new(io::ErrorKind::InvalidInput, "expected a regular file, found something else")))
}

/// A file, or what is wrong with it.
fn opened(file: Result<TensorFile, String>, path: &Path) -> Result<WeightFile> {
    file.map(WeightFile::Safetensors).map_err(|reason| Error::Weights {
        path: path.into(),
        reason: one_line(&format!("not a whole safetensors file: {reason}")),
    })
}

/// The files of a checkpoint's weights: the file itself, or the shards that an index names, each of them there.
///
/// # Errors
/// [`Error::Weights`] if the index is broken or a shard is missing.
pub(crate) fn files_of(file: &Path) -> Result<Vec<PathBuf>> {
    if file.extension().is_none_or(|extension| extension != "json") {
        return Ok(vec![file.into()]);
    }
    let error = |reason: String| Error::Weights { path: file.into(), reason: one_line(&reason) };
    let names = hub::shards(&read_text_file(file)?).map_err(error)?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let files: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
    match files.iter().find(|file| !file.is_file()) {
        Some(missing) => Err(error(format!("shard {} is not there", missing.display()))),
        None => Ok(files),
    }
}

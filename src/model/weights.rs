//! Safetensors, whole or sharded, or PyTorch's own format become named tensors of checked shapes.
//!
//! What is not asked for is not read.

use std::{
    collections::BTreeMap,
    collections::btree_map::Entry,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::{Init, VarBuilder, var_builder::SimpleBackend};
use rayon::prelude::*;
use serde_json::Value;

use super::{
    digest::{Digest, Hasher, digest},
    file_state::FileState,
    nn::{Numbers, Weight},
    pytorch::PytorchFile,
    tensor_file::TensorFile,
};
use crate::error::{Error, Result, first_line};

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

/// Where the tensors of a checkpoint are not those that its configuration asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// What is not there.
    pub missing: Vec<Expected>,
    /// What is there in another shape, and which.
    pub misshapen: Vec<(Expected, Vec<usize>)>,
    /// The names of what is there and is no part of the model.
    pub unused: Vec<String>,
    /// The names of what is no part of the model either, but known to be left behind by older libraries.
    pub ignored: Vec<String>,
}

impl Differences {
    /// What is wrong, a sentence a tensor; nothing where only what is ignored is too much.
    pub fn reasons(&self) -> Vec<String> {
        let missing = self
            .missing
            .iter()
            .map(|Expected { name, shape }| format!("tensor {name} is missing, expected shape {shape:?}"));
        let misshapen = self.misshapen.iter().map(|(Expected { name, shape }, found)| {
            format!("tensor {name}: the configuration asks for shape {shape:?}, found {found:?}")
        });
        let unused = self
            .unused
            .iter()
            .map(|name| format!("tensor {name} is not part of a model of this configuration"));
        missing.chain(misshapen).chain(unused).collect()
    }
}

/// The tensors of a checkpoint.
pub struct Weights {
    source: Source,
    path: PathBuf,
    /// The files as they were before they were opened; none of what is built in.
    files: Vec<FileState>,
}

enum Source {
    /// The files, and which of them has a tensor.
    Safetensors(Vec<TensorFile>, BTreeMap<String, usize>),
    Pickled(PytorchFile),
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
        Self::open_safetensors(if single.is_file() { vec![single] } else { shards(directory)? }, directory)
    }

    /// Opens the first of these files that is in a directory; what does not end in `.safetensors` is PyTorch's own.
    ///
    /// # Errors
    /// [`Error::Weights`] if none is there, or it is not of its format or cut short.
    pub fn open_first(directory: &Path, names: &[&str]) -> Result<Self> {
        let mut files = names.iter().map(|name| directory.join(name));
        let Some(file) = files.find(|file| file.is_file()) else {
            let reason = format!("none of {} is there", names.join(", "));
            return Err(Error::Weights { path: directory.into(), reason });
        };
        match file.extension().is_some_and(|extension| extension == "safetensors") {
            true => Self::open_safetensors(vec![file], directory),
            false => Self::open_pickled(file),
        }
    }

    fn open_safetensors(files: Vec<PathBuf>, directory: &Path) -> Result<Self> {
        let path = match files.as_slice() {
            [file] => file.clone(),
            _ => directory.to_path_buf(),
        };
        let states = states(&files)?;
        let opened: Result<Vec<_>> = files.iter().map(|file| opened(TensorFile::open(file), file)).collect();
        Ok(Self { files: states, ..Self::of_files(opened?, path)? })
    }

    fn of_files(files: Vec<TensorFile>, path: PathBuf) -> Result<Self> {
        let mut places = BTreeMap::new();
        for (index, file) in files.iter().enumerate() {
            for (name, _) in file.tensors() {
                match places.entry(name) {
                    Entry::Vacant(place) => place.insert(index),
                    Entry::Occupied(place) => {
                        let reason = format!("tensor {} is in two of the shards", place.key());
                        return Err(Error::Weights { path, reason });
                    }
                };
            }
        }
        Ok(Self { source: Source::Safetensors(files, places), path, files: Vec::new() })
    }

    fn open_pickled(path: PathBuf) -> Result<Self> {
        let files = states(std::slice::from_ref(&path))?;
        Ok(Self { source: Source::Pickled(PytorchFile::open(&path)?), path, files })
    }

    /// Wraps the bytes of a safetensors file that is part of the program; `name` is used in errors.
    ///
    /// # Errors
    /// [`Error::Weights`] if the bytes are not a safetensors file.
    pub fn built_in(bytes: &'static [u8], name: &str) -> Result<Self> {
        let path = PathBuf::from(name);
        Self::of_files(vec![opened(TensorFile::built_in(bytes), &path)?], path)
    }

    /// The file, or the directory of the shards.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files as they were when they were opened; none of what is part of the program.
    pub(super) fn files(&self) -> &[FileState] {
        &self.files
    }

    /// Bytes in the files, or in what is part of the program.
    pub(super) fn bytes(&self) -> u64 {
        match &self.source {
            Source::Safetensors(files, _) => files.iter().map(TensorFile::bytes).sum(),
            Source::Pickled(_) => self.files.iter().map(|file| file.size).sum(),
        }
    }

    /// The hash of all tensors but those that surely are the vision tower's, with their names, types and shapes. A
    /// name that nobody thought of is counted in: that costs time, and never hides a change.
    ///
    /// # Errors
    /// [`Error::Weights`] if a tensor cannot be read.
    pub(super) fn text_digest(&self) -> Result<Digest> {
        let is_vision = |name: &str| name.starts_with("visual") || name.starts_with("vision_model.");
        let contents: Vec<_> = self.contents().into_iter().filter(|(name, _)| !is_vision(name)).collect();
        let digests: Result<Vec<_>> = contents
            .par_iter()
            .map(|(name, about)| {
                let bytes = self.tensor_digest(name).map_err(|error| self.about_tensor(name, &error))?;
                Ok(digest(&[name.as_bytes(), format!("{about:?}").as_bytes(), &bytes]))
            })
            .collect();
        Ok(digest(&digests?.iter().map(Digest::as_slice).collect::<Vec<_>>()))
    }

    fn tensor_digest(&self, name: &str) -> candle_core::Result<Digest> {
        let mut hasher = Hasher::new();
        if let Source::Safetensors(files, places) = &self.source
            && let Some(place) = places.get(name)
        {
            files[*place].pieces(name, |bytes| hasher.update(bytes))?;
        } else {
            let values = self.load(name, &Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
            values.iter().for_each(|value| hasher.update(&value.to_le_bytes()));
        }
        Ok(hasher.finish())
    }

    /// Every tensor's name, data type (such as F32) and shape.
    pub fn contents(&self) -> BTreeMap<String, (String, Vec<usize>)> {
        match &self.source {
            Source::Safetensors(files, _) => {
                let tensors = files.iter().flat_map(TensorFile::tensors);
                tensors
                    .map(|(name, info)| (name, (format!("{:?}", info.dtype), info.shape.clone())))
                    .collect()
            }
            Source::Pickled(file) => {
                let tensors = file.tensors().iter();
                tensors.map(|(name, info)| (name.clone(), (info.kind(), info.shape.clone()))).collect()
            }
        }
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        match &self.source {
            Source::Safetensors(_, places) => places.contains_key(name),
            Source::Pickled(file) => file.tensors().contains_key(name),
        }
    }

    /// Holds the tensors against those that are expected. Dimensions of length 1 do not count: a scale may be stored
    /// as `[]` or `[1]`.
    pub fn compare(&self, expected: &[Expected]) -> Differences {
        let mut contents = self.contents();
        let mut differences = Differences::default();
        for expected in expected {
            match contents.remove(&expected.name) {
                None => differences.missing.push(expected.clone()),
                Some((_, found)) if !same_shape(&found, &expected.shape) => {
                    differences.misshapen.push((expected.clone(), found));
                }
                Some(_) => {}
            }
        }
        (differences.ignored, differences.unused) = contents.into_keys().partition(|name| is_leftover(name));
        differences
    }

    /// Checks that every expected tensor is there with the expected shape, and that there is no other but leftovers.
    ///
    /// # Errors
    /// [`Error::Weights`] names the first tensor that is missing, of another shape or unknown.
    pub fn check(&self, expected: &[Expected]) -> Result<()> {
        match self.compare(expected).reasons().into_iter().next() {
            Some(reason) => Err(self.error(reason)),
            None => Ok(()),
        }
    }

    /// Loads one tensor as float32.
    ///
    /// # Errors
    /// [`Error::Weights`] if it is missing or of a data type that holds no weights.
    pub fn tensor(&self, name: &str, device: &Device) -> Result<Tensor> {
        self.load(name, device).map_err(|error| self.about_tensor(name, &error))
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

    /// The weights of a linear layer: the rows of several tensors, one below the other, each of `inputs` values. On a
    /// CPU they are not copied if they can be used as they lie in the file.
    ///
    /// # Errors
    /// As [`tensor`](Self::tensor).
    pub(super) fn linear(&self, names: &[String], inputs: usize, device: &Device) -> Result<Weight> {
        let mapped = match (&self.source, device) {
            (Source::Safetensors(..), Device::Cpu) => self.mapped(names)?,
            _ => None,
        };
        Ok(match mapped {
            Some(pieces) => Weight::of_numbers(pieces, inputs)?,
            None => self.joined(names, device)?.reshape(((), inputs))?.into(),
        })
    }

    /// Several tensors as they lie in mapped files, if all of them do.
    fn mapped(&self, names: &[String]) -> Result<Option<Vec<Numbers>>> {
        let numbers = |name: &String| {
            let found = self.file_of(name).and_then(|file| file.numbers(name));
            found.map_err(|error| self.about_tensor(name, &error))
        };
        names.iter().map(numbers).collect()
    }

    /// Several tensors as one, float32: their values one behind the other, in one dimension.
    ///
    /// # Errors
    /// As [`tensor`](Self::tensor).
    pub(super) fn joined(&self, names: &[String], device: &Device) -> Result<Tensor> {
        if let Source::Pickled(_) = &self.source {
            let flat = |name: &String| Ok(self.tensor(name, device)?.flatten_all()?);
            return Ok(Tensor::cat(&names.iter().map(flat).collect::<Result<Vec<_>>>()?, 0)?);
        }
        let about = |name: &str, error: candle_core::Error| self.about_tensor(name, &error);
        let count = |name: &String| {
            let shape = self.file_of(name).and_then(|file| file.shape(name));
            Ok(shape.map_err(|error| about(name, error))?.iter().product::<usize>())
        };
        let counts = names.iter().map(count).collect::<Result<Vec<_>>>()?;
        let mut values = vec![0.0; counts.iter().sum()];
        let mut rest = values.as_mut_slice();
        for (name, count) in names.iter().zip(counts) {
            let (place, others) = rest.split_at_mut(count);
            let read = self.file_of(name).and_then(|file| file.read_into(name, place));
            read.map_err(|error| about(name, error))?;
            rest = others;
        }
        let length = values.len();
        Ok(Tensor::from_vec(values, length, device)?)
    }

    /// One tensor as float32.
    fn load(&self, name: &str, device: &Device) -> candle_core::Result<Tensor> {
        if let Source::Pickled(file) = &self.source {
            return file.load(name, device)?.to_dtype(DType::F32);
        }
        let file = self.file_of(name)?;
        let shape = file.shape(name)?;
        let mut values = vec![0.0; shape.iter().product()];
        file.read_into(name, &mut values)?;
        Tensor::from_vec(values, shape, device)
    }

    /// The safetensors file that has a tensor.
    fn file_of(&self, name: &str) -> candle_core::Result<&TensorFile> {
        match &self.source {
            Source::Safetensors(files, places) if places.contains_key(name) => Ok(&files[places[name]]),
            _ => candle_core::bail!("it is missing"),
        }
    }

    fn about_tensor(&self, name: &str, error: &candle_core::Error) -> Error {
        self.error(format!("tensor {name}: {}", first_line(error)))
    }

    fn error(&self, reason: String) -> Error {
        Error::Weights { path: self.path.clone(), reason }
    }
}

fn states(files: &[PathBuf]) -> Result<Vec<FileState>> {
    let state =
        |path: &PathBuf| FileState::of(path).map_err(|source| Error::Read { path: path.clone(), source });
    files.iter().map(state).collect()
}

/// A file, or what is wrong with it.
fn opened(file: Result<TensorFile, String>, path: &Path) -> Result<TensorFile> {
    file.map_err(|reason| Error::Weights {
        path: path.into(),
        reason: format!("not a whole safetensors file: {reason}"),
    })
}

/// Whether two shapes differ at most in dimensions of length 1.
fn same_shape(one: &[usize], other: &[usize]) -> bool {
    let sides =
        |shape: &'_ [usize]| -> Vec<usize> { shape.iter().copied().filter(|side| *side != 1).collect() };
    sides(one) == sides(other)
}

/// What lies beside the last dot of tensors that are saved although they are no weights: positions in order and
/// masks (older transformers and open_clip), what OpenAI's own files tell of the model, and a bias that open_clip
/// saves even where the model was trained without.
const LEFTOVERS: [&str; 6] =
    ["position_ids", "attn_mask", "input_resolution", "context_length", "vocab_size", "logit_bias"];

fn is_leftover(name: &str) -> bool {
    LEFTOVERS.contains(&name.rsplit('.').next().unwrap_or(name))
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
        self.weights.has(name)
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

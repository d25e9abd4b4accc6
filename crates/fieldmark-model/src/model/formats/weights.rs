//! The files of a checkpoint's weights, safetensors or PyTorch's own, become named tensors of checked shapes.
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

pub use super::differences::{Differences, Expected};
use super::{
    differences::{in_common, is_leftover},
    weight_file::{WeightFile, files_of},
};
use crate::{
    digest::{Digest, Hasher, digest},
    error::{Error, Result, first_line, one_line},
    model::{
        cache::file_state::FileState,
        hub,
        network::{Numbers, Weight},
    },
};

/// The tensors of a checkpoint.
pub struct Weights {
    opened: Vec<WeightFile>,
    places: BTreeMap<String, Place>,
    path: PathBuf,
    /// What the names in the files begin with, and was taken off.
    prefix: String,
    /// The files as they were before they were opened; none of what is built in.
    files: Vec<FileState>,
}

/// Where a tensor is.
#[derive(Clone)]
struct Place {
    file: usize,
    /// Its name there.
    name: String,
}

impl Weights {
    /// Opens the weights of a checkpoint of transformers' form in a directory: `model.safetensors`, else the shards that
    /// `model.safetensors.index.json` names, else the same of PyTorch's own format, `pytorch_model.bin`.
    ///
    /// # Errors
    /// [`Error::Weights`] if there are no weights, or a file is not of its format or cut short.
    pub fn open(directory: &Path) -> Result<Self> {
        Self::open_first(directory, &hub::WEIGHTS)
    }

    /// Opens the first of these files that is in a directory; see [`open_file`](Self::open_file).
    ///
    /// # Errors
    /// [`Error::Weights`] if none exists, or it is not of its format or cut short.
    pub fn open_first(directory: &Path, names: &[&str]) -> Result<Self> {
        let mut files = names.iter().map(|name| directory.join(name));
        match files.find(|file| file.is_file()) {
            Some(file) => Self::open_file(&file),
            None => {
                let reason = format!("none of {} was found", names.join(", "));
                Err(Error::Weights { path: directory.into(), reason })
            }
        }
    }

    /// Opens a file of weights, or the shards that an index names (`.json`). What does not end in `.safetensors` is
    /// PyTorch's own.
    ///
    /// # Errors
    /// [`Error::Weights`] if a file is not of its format or cut short.
    pub fn open_file(file: &Path) -> Result<Self> {
        let files = files_of(file)?;
        let path = match files.as_slice() {
            [file] => file.clone(),
            _ => file.parent().unwrap_or(Path::new("")).into(),
        };
        let states = states(&files)?;
        let opened: Result<Vec<_>> = files.iter().map(|file| WeightFile::open(file)).collect();
        Ok(Self { files: states, ..Self::of_files(opened?, path)? })
    }

    fn of_files(opened: Vec<WeightFile>, path: PathBuf) -> Result<Self> {
        let mut places = BTreeMap::new();
        for (index, file) in opened.iter().enumerate() {
            for name in file.names() {
                match places.entry(name.clone()) {
                    Entry::Vacant(place) => place.insert(Place { file: index, name }),
                    Entry::Occupied(place) => {
                        let reason = one_line(&format!("tensor {} is in two of the shards", place.key()));
                        return Err(Error::Weights { path, reason });
                    }
                };
            }
        }
        Ok(Self { opened, places, path, prefix: String::new(), files: Vec::new() })
    }

    /// Wraps the bytes of a safetensors file that is part of the program; `name` is used in errors.
    ///
    /// # Errors
    /// [`Error::Weights`] if the bytes are not a safetensors file.
    pub fn built_in(bytes: &'static [u8], name: &str) -> Result<Self> {
        let path = PathBuf::from(name);
        Self::of_files(vec![WeightFile::built_in(bytes, &path)?], path)
    }

    /// The file, or the directory of the shards.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the names of the model's tensors begin with in the files, `module.` for instance; empty if nothing.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The files as they were when they were opened; none of what is part of the program.
    pub(crate) fn files(&self) -> &[FileState] {
        &self.files
    }

    /// Whether the files are those that were opened: they are read while photos pass, not before.
    ///
    /// # Errors
    /// [`Error::Weights`] if one of them was changed, replaced or removed.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        match self.files.iter().find(|file| !file.has_same_content()) {
            Some(file) => {
                let reason = "the file changed while it was in use".to_owned();
                Err(Error::Weights { path: file.path.clone(), reason })
            }
            None => Ok(()),
        }
    }

    /// Bytes in the files, or in what is part of the program.
    pub(crate) fn bytes(&self) -> u64 {
        let of = |file: &WeightFile| match file {
            WeightFile::Safetensors(file) => file.bytes(),
            WeightFile::Pickled(_) => 0,
        };
        match self.files.as_slice() {
            [] => self.opened.iter().map(of).sum(),
            files => files.iter().map(|file| file.size).sum(),
        }
    }

    /// The tensors' names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.places.keys().map(String::as_str)
    }

    /// Renames the tensors by their present names; `prefix` was taken off. What is not named keeps its
    /// name, unless that is another's now.
    pub(crate) fn renamed(&mut self, mut names: BTreeMap<String, String>, prefix: String) {
        let old = std::mem::take(&mut self.places);
        let (named, others): (Vec<_>, Vec<_>) =
            old.into_iter().partition(|(name, _)| names.contains_key(name));
        for (name, place) in named {
            self.places.insert(names.remove(&name).unwrap_or(name), place);
        }
        for (name, place) in others {
            self.places.entry(name).or_insert(place);
        }
        self.prefix = prefix;
    }

    /// The hash of all tensors but those that surely are the vision tower's, with their names, types and shapes. A
    /// name that nobody thought of is counted in: that costs time, and never hides a change.
    ///
    /// # Errors
    /// [`Error::Weights`] if a tensor cannot be read.
    pub(crate) fn text_digest(&self) -> Result<Digest> {
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
        match self.place(name)? {
            (WeightFile::Safetensors(file), name) => file.pieces(name, |bytes| hasher.update(bytes))?,
            (file, name) => {
                let values = file.load(name, &Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
                values.iter().for_each(|value| hasher.update(&value.to_le_bytes()));
            }
        }
        Ok(hasher.finish())
    }

    /// Every tensor's name, data type (such as F32) and shape.
    pub fn contents(&self) -> BTreeMap<String, (String, Vec<usize>)> {
        let about = |(name, place): (&String, &Place)| {
            let (dtype, shape) = self.opened[place.file].about(&place.name).ok()?;
            Some((name.clone(), (dtype, shape.to_vec())))
        };
        self.places.iter().filter_map(about).collect()
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Holds the tensors against those that are expected. Dimensions of length 1 do not count: a scale may be stored
    /// as `[]` or `[1]`.
    pub fn compare(&self, expected: &[Expected]) -> Differences {
        let shapes = self.contents().into_iter().map(|(name, (_, shape))| (name, shape));
        let mut differences = Differences::between(shapes.collect(), expected);
        if !differences.missing.is_empty() {
            differences.hint = in_common(self.places.values().map(|place| place.name.as_str()));
        }
        differences
    }

    /// Checks that every expected tensor exists with the expected shape, and that the model's own modules have no others.
    /// Returns how the tensors differ from those expected: what lies beside the model.
    ///
    /// # Errors
    /// [`Error::Weights`] names the first tensor that is missing, of another shape or unknown.
    pub fn check(&self, expected: &[Expected]) -> Result<Differences> {
        let differences = self.compare(expected);
        match differences.reasons().into_iter().next() {
            Some(reason) => Err(self.error(reason)),
            None => Ok(differences),
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
    pub(crate) fn linear(&self, names: &[String], inputs: usize, device: &Device) -> Result<Weight> {
        let mapped = if device.is_cpu() { self.mapped(names)? } else { None };
        Ok(match mapped {
            Some(pieces) => Weight::of_numbers(pieces, inputs)?,
            None => self.joined(names, device)?.reshape(((), inputs))?.into(),
        })
    }

    /// Several tensors as they lie in their files, if all of them can be used so.
    fn mapped(&self, names: &[String]) -> Result<Option<Vec<Numbers>>> {
        let numbers = |name: &String| {
            let found = self.place(name).and_then(|(file, name)| file.numbers(name));
            found.map_err(|error| self.about_tensor(name, &error))
        };
        names.iter().map(numbers).collect()
    }

    /// Several tensors as one, float32: their values one behind the other, in one dimension.
    ///
    /// # Errors
    /// As [`tensor`](Self::tensor).
    pub(crate) fn joined(&self, names: &[String], device: &Device) -> Result<Tensor> {
        let about = |name: &str, error: candle_core::Error| self.about_tensor(name, &error);
        let count = |name: &String| {
            let found = self.place(name).and_then(|(file, name)| file.about(name));
            Ok(found.map_err(|error| about(name, error))?.1.iter().product::<usize>())
        };
        let counts = names.iter().map(count).collect::<Result<Vec<_>>>()?;
        let mut values = vec![0.0; counts.iter().sum()];
        let mut rest = values.as_mut_slice();
        for (name, count) in names.iter().zip(counts) {
            let (place, others) = rest.split_at_mut(count);
            let read = self.place(name).and_then(|(file, name)| file.read_into(name, place));
            read.map_err(|error| about(name, error))?;
            rest = others;
        }
        let length = values.len();
        Ok(Tensor::from_vec(values, length, device)?)
    }

    /// One tensor as float32.
    fn load(&self, name: &str, device: &Device) -> candle_core::Result<Tensor> {
        let (file, name) = self.place(name)?;
        file.load(name, device)
    }

    /// The file that has a tensor, and the tensor's name there.
    fn place(&self, name: &str) -> candle_core::Result<(&WeightFile, &str)> {
        match self.places.get(name) {
            Some(place) => Ok((&self.opened[place.file], &place.name)),
            None => candle_core::bail!("it is missing"),
        }
    }

    fn about_tensor(&self, name: &str, error: &candle_core::Error) -> Error {
        self.error(format!("tensor {name}: {}", first_line(error)))
    }

    pub(crate) fn error(&self, reason: String) -> Error {
        Error::Weights { path: self.path.clone(), reason: one_line(&reason) }
    }
}

fn states(files: &[PathBuf]) -> Result<Vec<FileState>> {
    let state =
        |path: &PathBuf| FileState::of(path).map_err(|source| Error::Read { path: path.clone(), source });
    files.iter().map(state).collect()
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

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/pickled")
    }

    /// Compares the tensors in a folder with those of `expected.safetensors`; returns the names of the others.
    fn compared(folder: &Path, name: &str) -> Result<Vec<String>> {
        let weights = Weights::open(&folder.join(name))?;
        let expected = candle_core::safetensors::load(folder.join("expected.safetensors"), &Device::Cpu)?;
        let mut contents = weights.contents();
        for (tensor, expected) in expected {
            let (dtype, shape) = contents.remove(&tensor).unwrap_or_default();
            assert_eq!(
                (dtype.as_str(), shape.as_slice()),
                (expected.dtype().as_str().to_uppercase().as_str(), expected.dims()),
                "{name}: {tensor}"
            );
            let expected = expected.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
            let found = weights.tensor(&tensor, &Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
            assert_eq!(found, expected, "{name}: {tensor}");
            assert_eq!(
                weights.joined(std::slice::from_ref(&tensor), &Device::Cpu)?.to_vec1::<f32>()?,
                expected
            );
        }
        Ok(contents.into_keys().collect())
    }

    #[test]
    fn pickled_tensors_are_those_of_safetensors() -> Result<()> {
        let none: [&str; 0] = [];
        for name in ["", "in_state_dict", "in_model_state_dict", "in_model", "in_module", "in_model_module"] {
            assert_eq!(compared(&folder(), name)?, none, "{name}");
        }
        for before in ["", "legacy_"] {
            for name in ["plain", "strided", "shared", "parameters", "training", "protocol_4", "shards"] {
                assert_eq!(compared(&folder(), &format!("{before}{name}"))?, none, "{before}{name}");
            }
            let name = format!("{before}others");
            assert_eq!(compared(&folder(), &name)?, ["complex", "empty", "flags"]);
            let weights = Weights::open(&folder().join(name))?;
            assert_eq!(weights.contents()["complex"], ("COMPLEXFLOAT".to_owned(), vec![2]));
            assert_eq!(weights.tensor("empty", &Device::Cpu)?.dims(), [0, 4]);
            let error = weights.tensor("flags", &Device::Cpu).map(drop).unwrap_err().to_string();
            assert!(error.ends_with("tensor flags: numbers of type Bool are no weights"), "{error}");
        }
        Ok(())
    }

    #[test]
    fn a_legacy_file_is_checked_to_its_last_byte() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("pytorch_model.bin");
        let refused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Weights::open(scratch.path()).map(drop).unwrap_err().to_string()
        };
        let whole = std::fs::read(folder().join("legacy_plain/pytorch_model.bin")).unwrap();
        let error = refused(&whole[..whole.len() - 1]);
        assert!(error.contains("reach beyond the end of the file"), "{error}");
        for length in (0..whole.len()).step_by(7) {
            refused(&whole[..length]);
        }
        let place = |text: &[u8]| whole.windows(text.len()).position(|bytes| bytes == text).unwrap();
        let changed = |at: usize, value: u8| {
            let mut bytes = whole.clone();
            bytes[at] = value;
            bytes
        };
        // The flag follows its name and the number that it is remembered under; 0x89 is false.
        let flag = place(b"little_endian") + "little_endian".len() + 2;
        assert_eq!(whole[flag], 0x88);
        assert!(refused(&changed(flag, 0x89)).ends_with("its numbers are not little-endian"));
        assert!(refused(&changed(4, 0)).ends_with("expected a file of torch.save, found another pickle"));
        let version = place(b"M\xe9\x03") + 1;
        assert!(
            refused(&changed(version, 0))
                .ends_with("expected version 1001 of PyTorch's format, found another")
        );
    }

    #[test]
    fn what_is_no_pickle_is_refused() -> Result<()> {
        let folder =
            tempfile::tempdir().map_err(|source| Error::Write { path: "temporary".into(), source })?;
        let malformed = include_bytes!("../../../../../tests/fixtures/pickled/malformed.bin");
        for bytes in [&b"not a zip"[..], b"", b"PK\x03\x04", malformed] {
            let path = folder.path().join("pytorch_model.bin");
            std::fs::write(&path, bytes).map_err(|source| Error::Write { path, source })?;
            assert!(matches!(Weights::open(folder.path()), Err(Error::Weights { .. })));
        }
        Ok(())
    }
}

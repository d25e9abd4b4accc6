//! The linear layer of a classifier, from a file of its own, becomes targets.
//!
//! A head is `weight` [classes, features] and `bias` in safetensors or in a pickled state dict, or `coef_` and `intercept_`
//! in an `.npz` archive, as scikit-learn calls them. What the numbers do not say (the feature that they are for, the names
//! of the classes) lies in a [`HeadCard`] beside the file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    error::{Error, Result, cut, one_line},
    feature::Feature,
    files::{read_bounded, write_atomically},
    model::weights::Weights,
    numpy::NumpyArchive,
    targets::Targets,
};

/// The most bytes of a file with names, or of a card.
const LARGEST_TEXT: u64 = 64 << 20;
/// The most bytes of an array in an archive.
const LARGEST_ARRAY: u64 = 4 << 30;
/// The most classes of a head.
const MOST_CLASSES: usize = 1 << 24;
/// The file of a head in a folder of its own.
const FILE_IN_FOLDER: &str = "head.safetensors";

/// The linear layer of a classifier.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Head {
    /// The file that it was read from.
    pub path: PathBuf,
    /// [classes, features].
    pub weight: Tensor,
    /// One for each class; 0 where the file has none.
    pub biases: Vec<f64>,
    /// What is known beside the numbers.
    pub card: HeadCard,
}

/// What a head's file does not say, in a JSON file beside it: `birds.json` beside `birds.pth`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct HeadCard {
    /// The feature that the head was trained on.
    pub feature: Option<Feature>,
    /// The names of the classes, in the order of the weight's rows.
    pub names: Option<Vec<String>>,
    /// The mean that is subtracted from pixels, by channel, where it is not the checkpoint's.
    pub mean: Option<[f32; 3]>,
    /// What pixels are divided by, by channel, where it is not the checkpoint's.
    pub std: Option<[f32; 3]>,
    /// Where the head comes from: the checkpoint, the data set, the training.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub provenance: Map<String, Value>,
}

crate::setters!(HeadCard {
    feature: Option<Feature>,
    names: Option<Vec<String>>,
    mean: Option<[f32; 3]>,
    std: Option<[f32; 3]>,
    provenance: Map<String, Value>,
});

impl Head {
    /// Reads a head, and the card beside it where there is one. A folder is read for its `head.safetensors`.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Weights`] if the file cannot be read, [`Error::Head`] if it holds no linear layer, more
    /// than one, or numbers that are not finite; and as [`HeadCard::read`].
    pub fn read(path: &Path) -> Result<Self> {
        let path = if path.is_dir() { path.join(FILE_IN_FOLDER) } else { path.to_path_buf() };
        let is_archive = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npz"));
        let (weight, bias, classes) = if is_archive { from_archive(&path)? } else { from_state(&path)? };
        let mut card = HeadCard::beside(&path)?;
        if card.names.is_none() {
            card.names = classes;
        }
        let head = Self { weight, biases: bias, card, path };
        head.check()?;
        Ok(head)
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.biases.len()
    }

    /// The numbers in a feature.
    pub fn width(&self) -> usize {
        self.weight.dims().last().copied().unwrap_or(0)
    }

    /// The features of a tower, with their widths, that this head fits.
    pub fn fitting(&self, features: &[(Feature, usize)]) -> Vec<Feature> {
        features.iter().filter(|(_, width)| *width == self.width()).map(|(feature, _)| *feature).collect()
    }

    /// The head as targets of a feature, or of the card's. Without names the classes are called by their numbers.
    ///
    /// # Errors
    /// [`Error::Head`] if neither says the feature, or if there are more or fewer names than classes.
    pub fn targets(&self, feature: Option<Feature>) -> Result<Targets> {
        let feature =
            feature.or(self.card.feature).ok_or_else(|| self.error("the feature is not known".into()))?;
        let names = match &self.card.names {
            Some(names) if names.len() == self.classes() => names.clone(),
            Some(names) => {
                let reason = format!("expected names of {} classes, found {}", self.classes(), names.len());
                return Err(self.error(reason));
            }
            None => (0..self.classes()).map(|index| format!("#{index}")).collect(),
        };
        Targets::new(feature, &self.weight, self.biases.clone(), names)
    }

    fn check(&self) -> Result<()> {
        let (classes, width) = self.weight.dims2()?;
        if classes == 0 || width == 0 || classes > MOST_CLASSES {
            return Err(
                self.error(format!("expected a weight [classes, features], found {classes} x {width}"))
            );
        }
        if self.biases.len() != classes {
            let reason =
                format!("expected {classes} biases, one for each row of weight, found {}", self.biases.len());
            return Err(self.error(reason));
        }
        let sum =
            f64::from(self.weight.abs()?.sum_all()?.to_scalar::<f32>()?) + self.biases.iter().sum::<f64>();
        if sum.is_finite() {
            return Ok(());
        }
        Err(self.error("expected finite numbers, found NaN or infinity".into()))
    }

    fn error(&self, reason: String) -> Error {
        Error::Head { path: self.path.clone(), reason }
    }
}

impl HeadCard {
    /// The place of the card of a head.
    pub fn path_of(head: &Path) -> PathBuf {
        head.with_extension("json")
    }

    /// The card beside a head; an empty one where there is none.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn beside(head: &Path) -> Result<Self> {
        let path = Self::path_of(head);
        if path.is_file() { Self::read(&path) } else { Ok(Self::default()) }
    }

    /// Reads a card.
    ///
    /// # Errors
    /// [`Error::Read`] if it cannot be read, [`Error::Head`] if it is no card.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = read_bounded(path, LARGEST_TEXT)?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Head {
            path: path.into(),
            reason: one_line(&format!("expected what is known of a head, as JSON: {error}")),
        })
    }

    /// Writes a card.
    ///
    /// # Errors
    /// [`Error::Write`] if it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let failed = |error: serde_json::Error| Error::Write { path: path.into(), source: error.into() };
        let mut text = serde_json::to_string_pretty(self).map_err(failed)?;
        text.push('\n');
        write_atomically(path, |file| std::io::Write::write_all(file, text.as_bytes()))
    }
}

/// Reads the names of classes: a JSON list, an object `{"0": "name"}` of numbers and names (or with one under
/// `id2label`), or lines.
///
/// # Errors
/// [`Error::Read`] if the file cannot be read, [`Error::Head`] if it is none of these, or numbers are missing.
pub fn read_names(path: &Path) -> Result<Vec<String>> {
    let bytes = read_bounded(path, LARGEST_TEXT)?;
    let error = |reason: &str| Error::Head { path: path.into(), reason: reason.to_owned() };
    let text = String::from_utf8(bytes).map_err(|_| error("expected text in UTF-8, found other bytes"))?;
    let text = text.trim_start_matches('\u{feff}');
    let names = match text.trim_start().chars().next() {
        Some('[' | '{') => {
            let expected = "expected a JSON list of names, or an object of numbers and names";
            let value = serde_json::from_str(text)
                .map_err(|cause| error(&one_line(&format!("{expected}: {cause}"))))?;
            names_of(&value).ok_or_else(|| error(expected))?
        }
        _ => text.lines().map(str::trim_end).map(str::to_owned).collect(),
    };
    match names.as_slice() {
        [] => Err(error("expected names, found none")),
        names if names.iter().any(|name| name.trim().is_empty()) => {
            let line = names.iter().position(|name| name.trim().is_empty()).unwrap_or(0);
            Err(error(&format!("expected a name for class {line}, found none")))
        }
        _ => Ok(names),
    }
}

/// Names from JSON.
pub(crate) fn names_of(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(names) => names.iter().map(|name| Some(name.as_str()?.to_owned())).collect(),
        Value::Object(object) => match object.get("id2label") {
            Some(inner @ Value::Object(_)) => names_of(inner),
            _ => numbered(object),
        },
        _ => None,
    }
}

/// Names by their numbers, which are all from 0 on.
fn numbered(object: &Map<String, Value>) -> Option<Vec<String>> {
    let pair = |(number, name): (&String, &Value)| Some((number.parse().ok()?, name.as_str()?.to_owned()));
    let names: BTreeMap<usize, String> = object.iter().map(pair).collect::<Option<_>>()?;
    let is_whole = names.len() == object.len() && names.keys().enumerate().all(|(index, key)| index == *key);
    is_whole.then(|| names.into_values().collect())
}

/// Weight, biases, and names where the file has some.
type Layer = (Tensor, Vec<f64>, Option<Vec<String>>);

/// From safetensors or a pickled state dict.
fn from_state(path: &Path) -> Result<Layer> {
    let error = |reason: String| Error::Head { path: path.into(), reason: one_line(&reason) };
    let weights = Weights::open_file(path)?;
    let contents = weights.contents();
    let is_matrix = |name: &str| contents.get(name).is_some_and(|(_, shape)| shape.len() == 2);
    let layers: Vec<&str> = contents
        .keys()
        .filter_map(|name| {
            name.strip_suffix("weight").filter(|before| before.is_empty() || before.ends_with('.'))
        })
        .filter(|before| is_matrix(&format!("{before}weight")))
        .collect();
    let before = match layers.as_slice() {
        layers if layers.contains(&"") => "",
        [only] => only,
        [] => {
            let names: Vec<&str> = contents.keys().take(4).map(String::as_str).collect();
            let found = if names.is_empty() { "nothing".into() } else { cut(&names.join(", "), 200) };
            return Err(error(format!("expected weight [classes, features] and bias, found {found}")));
        }
        [one, other, ..] => {
            return Err(error(format!("expected one linear layer, found {one}weight and {other}weight")));
        }
    };
    let weight = weights.tensor(&format!("{before}weight"), &Device::Cpu)?;
    let bias = format!("{before}bias");
    let biases = if contents.contains_key(&bias) {
        let values = weights.tensor(&bias, &Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
        values.into_iter().map(f64::from).collect()
    } else {
        vec![0.0; weight.dim(0)?]
    };
    Ok((weight, biases, None))
}

/// From scikit-learn's arrays. A classifier of two classes has one row, whose logit is that of the second class.
fn from_archive(path: &Path) -> Result<Layer> {
    let error = |reason: String| Error::Head { path: path.into(), reason: one_line(&reason) };
    let mut archive = NumpyArchive::open(path, LARGEST_ARRAY)?;
    let coefficients = archive.numbers("coef_").map_err(error)?.ok_or_else(|| {
        let found = archive.names().into_iter().take(4).collect::<Vec<_>>().join(", ");
        error(format!(
            "expected coef_ and intercept_, found {}",
            if found.is_empty() { "nothing" } else { &found }
        ))
    })?;
    let shape = &coefficients.shape;
    let [rows, columns] = coefficients
        .matrix()
        .ok_or_else(|| error(format!("coef_: expected [classes, features], found shape {shape:?}")))?;
    let intercepts = archive.numbers("intercept_").map_err(error)?;
    let mut biases: Vec<f64> = match intercepts {
        Some(found) if found.values.len() == rows => found.values.into_iter().map(f64::from).collect(),
        // Without an intercept scikit-learn keeps a single 0.
        Some(found) if found.values == [0.0] => vec![0.0; rows],
        Some(found) => {
            let reason = format!("intercept_: expected {rows} numbers, found {}", found.values.len());
            return Err(error(reason));
        }
        None => vec![0.0; rows],
    };
    let mut values = coefficients.values;
    if rows == 1 {
        values.splice(0..0, vec![0.0; columns]);
        biases.insert(0, 0.0);
    }
    let names = archive.texts("classes_").map_err(error)?.filter(|names| names.len() == biases.len());
    Ok((Tensor::from_vec(values, (biases.len(), columns), &Device::Cpu)?, biases, names))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    fn save(path: &Path, tensors: &[(&str, Tensor)]) {
        let tensors: std::collections::HashMap<&str, Tensor> = tensors.iter().cloned().collect();
        candle_core::safetensors::save(&tensors, path).expect("is written");
    }

    fn tensor(values: &[f32], shape: &[usize]) -> Tensor {
        Tensor::from_slice(values, shape, &Device::Cpu).expect("the shape fits")
    }

    #[test]
    fn a_head_is_found_by_its_names() -> Result<()> {
        let folder = folder();
        let path = folder.path().join("birds.safetensors");
        save(
            &path,
            &[("weight", tensor(&[1.0, 2.0, 3.0, 4.0], &[2, 2])), ("bias", tensor(&[0.5, -1.0], &[2]))],
        );
        let head = Head::read(&path)?;
        assert_eq!((head.classes(), head.width(), head.biases.as_slice()), (2, 2, &[0.5, -1.0][..]));
        let error = head.targets(None).unwrap_err().to_string();
        assert!(error.ends_with("birds.safetensors: the feature is not known"), "{error}");
        assert_eq!(head.targets(Some(Feature::MeanPatches))?.names(), ["#0", "#1"]);
        let card = HeadCard::default()
            .feature(Some(Feature::ClassToken))
            .names(Some(vec!["wren".into(), "tit".into()]));
        card.write(&HeadCard::path_of(&path))?;
        let head = Head::read(&path)?;
        assert_eq!(head.card, card);
        let targets = head.targets(None)?;
        assert_eq!((targets.feature(), targets.find("tit")?), (Feature::ClassToken, 1));
        assert_eq!(
            head.fitting(&[(Feature::Embedding, 3), (Feature::MeanPatches, 2)]),
            [Feature::MeanPatches]
        );
        Ok(())
    }

    #[test]
    fn a_layer_under_another_name_is_taken_where_it_is_the_only_one() -> Result<()> {
        let folder = folder();
        let path = folder.path().join("head.safetensors");
        save(
            &path,
            &[("linear.weight", tensor(&[1.0, 2.0], &[2, 1])), ("norm.weight", tensor(&[1.0], &[1]))],
        );
        assert_eq!(Head::read(folder.path())?.biases, [0.0, 0.0]);
        save(&path, &[("a.weight", tensor(&[1.0, 2.0], &[2, 1])), ("b.weight", tensor(&[1.0], &[1, 1]))]);
        let error = Head::read(&path).unwrap_err().to_string();
        assert!(error.ends_with("expected one linear layer, found a.weight and b.weight"), "{error}");
        Ok(())
    }

    #[test]
    fn a_head_that_cannot_be_used_is_refused() {
        let folder = folder();
        let path = folder.path().join("head.safetensors");
        let refused = |tensors: &[(&str, Tensor)], expected: &str| {
            save(&path, tensors);
            let error = Head::read(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        let weight = || ("weight", tensor(&[1.0, 2.0], &[2, 1]));
        refused(
            &[weight(), ("bias", tensor(&[1.0], &[1]))],
            "expected 2 biases, one for each row of weight, found 1",
        );
        refused(
            &[("weight", tensor(&[f32::NAN, 2.0], &[2, 1]))],
            "expected finite numbers, found NaN or infinity",
        );
        refused(&[weight(), ("bias", tensor(&[1.0, f32::INFINITY], &[2]))], "found NaN or infinity");
        refused(
            &[("kernel", tensor(&[1.0], &[1]))],
            "expected weight [classes, features] and bias, found kernel",
        );
        refused(&[("weight", tensor(&[], &[0, 4]))], "found 0 x 4");
        std::fs::write(&path, b"not a head").unwrap();
        assert!(Head::read(&path).is_err());
        assert!(matches!(Head::read(&folder.path().join("none.npz")), Err(Error::Read { .. })));
    }

    #[test]
    fn names_are_a_list_an_object_or_lines() -> Result<()> {
        let folder = folder();
        let path = folder.path().join("names");
        let names = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_names(&path)
        };
        for text in [
            "[\"wren\", \"tit\"]",
            "{\"1\": \"tit\", \"0\": \"wren\"}",
            "wren\r\ntit\n",
            "\u{feff}wren\ntit",
            "{\"id2label\": {\"0\": \"wren\", \"1\": \"tit\"}, \"hidden_size\": 4}",
        ] {
            assert_eq!(names(text)?, ["wren", "tit"], "{text}");
        }
        for text in
            ["", "[]", "[1]", "{\"0\": \"wren\", \"2\": \"tit\"}", "{", "wren\n\ntit", "{\"a\": \"b\"}"]
        {
            assert!(matches!(names(text), Err(Error::Head { .. })), "{text:?}");
        }
        Ok(())
    }
}

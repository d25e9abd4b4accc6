//! `run.json`, the description of a run in its folder: the photos that it names, and how another description differs.

use std::{io::ErrorKind, path::Path};

use fieldmark_model::{
    error::{Error, Result},
    files::read_bounded,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::hashes;
use crate::report::Image;

/// A million photos' hashes and files take less.
pub(super) const LARGEST: u64 = 1 << 30;

/// A photo's file, and what was in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// The file.
    #[serde(flatten)]
    pub image: Image,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: String,
}

impl Input {
    /// A photo whose file has these bytes.
    pub fn new(photo: &Path, bytes: &[u8]) -> Self {
        Self { image: photo.to_owned().into(), bytes: bytes.len() as u64, sha256: hashes::of_bytes(bytes) }
    }
}

/// A photo that could not be done, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failed {
    /// The file.
    #[serde(flatten)]
    pub image: Image,
    /// What is wrong with it.
    pub reason: String,
}

/// What is wrong with a photo, on one line: the photo is named unless the error names it.
pub fn reason(error: &Error, photo: Option<&Path>) -> String {
    let text = error.to_string().replace(['\n', '\r'], " ");
    match photo.map(|photo| photo.display().to_string()) {
        Some(name) if !text.contains(&name) => format!("{name}: {text}"),
        _ => text,
    }
}

/// The description of a run in its folder, when it is to be gone on with.
pub enum Described<T> {
    /// There is none.
    Missing,
    /// It cannot be understood, and why. The journal's lines say themselves which run they are of.
    Damaged(String),
    /// It is this.
    Whole(T),
}

/// Reads the description of a run that is to be gone on with. The description of the other kind of run has a field by
/// which it is known; `kinds` is that field, this kind and the other one.
///
/// # Errors
/// If the file cannot be read, or describes the other kind of run.
pub fn described<T: DeserializeOwned>(path: &Path, kinds: (&str, &str, &str)) -> Result<Described<T>> {
    let bytes = match read_bounded(path, LARGEST) {
        Err(Error::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
            return Ok(Described::Missing);
        }
        bytes => bytes?,
    };
    let error = match serde_json::from_slice(&bytes) {
        Ok(found) => return Ok(Described::Whole(found)),
        Err(error) => error,
    };
    let (field, expected, other) = kinds;
    if serde_json::from_slice::<Map<String, Value>>(&bytes).is_ok_and(|fields| fields.contains_key(field)) {
        let reason = format!("expected the description of {expected}, found that of {other}");
        return Err(Error::Run { path: path.into(), reason });
    }
    Ok(Described::Damaged(format!(
        "{} is damaged: {error}; it is written again, and only results of the same settings are kept",
        path.display()
    )))
}

/// The first thing in a record that another one of its kind has otherwise: its name, and both values as they can be
/// shown.
pub fn difference(one: &Value, other: &Value) -> Option<(String, String, String)> {
    let inside = |name: String, one: &Value, other: &Value| {
        let (deeper, one, other) = difference(one, other)?;
        let separator = if deeper.is_empty() || deeper.starts_with('[') { "" } else { "." };
        Some((format!("{name}{separator}{deeper}"), one, other))
    };
    match (one, other) {
        _ if one == other => None,
        (Value::Object(fields), Value::Object(others)) => {
            let names = fields.keys().chain(others.keys());
            names.into_iter().find_map(|name| inside(name.clone(), field(fields, name), field(others, name)))
        }
        (Value::Array(items), Value::Array(others)) if items.len() == others.len() => {
            let mut pairs = items.iter().zip(others).enumerate();
            pairs.find_map(|(place, (one, other))| inside(format!("[{place}]"), one, other))
        }
        _ => Some((String::new(), shortened(one), shortened(other))),
    }
}

fn field<'v>(fields: &'v Map<String, Value>, name: &str) -> &'v Value {
    fields.get(name).unwrap_or(&Value::Null)
}

/// A value as JSON, cut to what a message can carry.
fn shortened(value: &Value) -> String {
    const LONGEST: usize = 200;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_named_down_to_the_item() {
        let of =
            |one: Value, other: Value| difference(&one, &other).map(|(name, one, other)| [name, one, other]);
        let expected = |name: &str, one: &str, other: &str| Some([name, one, other].map(str::to_owned));
        assert_eq!(of(json!({"a": 1}), json!({"a": 1})), None);
        assert_eq!(of(json!({"a": 1, "b": 2}), json!({"a": 1, "b": "x"})), expected("b", "2", "\"x\""));
        assert_eq!(of(json!({"a": 1}), json!({"a": 1, "b": 2})), expected("b", "null", "2"));
        assert_eq!(of(json!({"a": [{"b": 1}]}), json!({"a": [{"b": 2}]})), expected("a[0].b", "1", "2"));
        assert_eq!(of(json!({"a": [1]}), json!({"a": [1, 2]})), expected("a", "[1]", "[1,2]"));
    }
}

//! One JSON object of a configuration, read with errors that name the file, the field and what was found.

use std::path::Path;

use serde_json::{Map, Value};

use super::Activation;
use crate::{
    error::{Error, Result, one_line},
    json,
};

/// The largest number of anything (width, layers, tokens) that a configuration may ask for.
///
/// It is some thirty times what the largest published CLIP has; more is a broken or hostile file, and would only
/// fail later, when memory runs out.
const LARGEST: u64 = 1 << 20;

/// The most blocks that a tower may have: each of them costs memory before a single weight is read.
const MOST_LAYERS: u64 = 1024;

/// A JSON object with its name for errors, such as `vision_config.`; the outermost has none.
pub(super) struct Section<'a> {
    pub(super) path: &'a Path,
    pub(super) name: &'static str,
    pub(super) values: &'a Map<String, Value>,
}

impl<'a> Section<'a> {
    pub(super) fn error(
        &self,
        key: &str,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Error {
        let found = json::shown(&found.to_string());
        let reason = one_line(&format!("{}{key}: expected {expected}, found {found}", self.name));
        Error::Config { path: self.path.into(), reason }
    }

    /// A field's value, unless it is missing or null.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn object(&self, key: &str) -> Result<Option<&'a Map<String, Value>>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(values)) => Ok(Some(values)),
            Some(other) => Err(self.error(key, "an object", other)),
        }
    }

    pub(super) fn size(&self, key: &str, default: usize) -> Result<usize> {
        self.size_up_to(LARGEST, key, default)
    }

    /// The number of a tower's blocks.
    pub(super) fn layers(&self, key: &str, default: usize) -> Result<usize> {
        self.size_up_to(MOST_LAYERS, key, default)
    }

    fn size_up_to(&self, largest: u64, key: &str, default: usize) -> Result<usize> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => match value.as_u64() {
                Some(size) if (1..=largest).contains(&size) => Ok(size as usize),
                _ => Err(self.error(key, format!("a whole number from 1 to {largest}"), value)),
            },
        }
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<f64>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| self.error(key, "a number", value))
    }

    /// A number from 0 to 1, both included.
    pub(super) fn share(&self, key: &str) -> Result<Option<f64>> {
        match self.number(key)? {
            Some(share) if !(0.0..=1.0).contains(&share) => {
                Err(self.error(key, "a number from 0 to 1", share))
            }
            share => Ok(share),
        }
    }

    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_bool().ok_or_else(|| self.error(key, "true or false", value))
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        json::text(value).map(Some).ok_or_else(|| self.error(key, "a text", value))
    }

    /// What is added to the variance in layer norms.
    pub(super) fn epsilon(&self, key: &str, default: f64) -> Result<f64> {
        let epsilon = self.number(key)?.unwrap_or(default);
        if (0.0..1.0).contains(&epsilon) {
            return Ok(epsilon);
        }
        Err(self.error(key, "a number from 0 to 1", epsilon))
    }

    pub(super) fn activation(&self, key: &str, default: Activation) -> Result<Activation> {
        let Some(value) = self.get(key) else { return Ok(default) };
        let found = value.as_str().and_then(Activation::named);
        found.ok_or_else(|| {
            let names = Activation::NAMES.map(|(name, _)| format!("{name:?}"));
            self.error(key, format!("one of {}", names.join(", ")), value)
        })
    }
}

//! What configurations ask of their objects: sizes, shares and activations.

use super::Activation;
use crate::{
    error::Result,
    json::{ConfigFile, Object},
};

/// The largest number of anything (width, layers, tokens) that a configuration may ask for.
///
/// It is some thirty times what the largest published CLIP has; more is a broken or hostile file, and would only
/// fail later, when memory runs out.
const LARGEST: u64 = 1 << 20;

/// The most blocks that a tower may have: each of them costs memory before a single weight is read.
const MOST_LAYERS: u64 = 1024;

/// An object of a configuration, whose errors are those of its file.
pub(crate) type Section<'a> = Object<'a, ConfigFile<'a>>;

impl Object<'_, ConfigFile<'_>> {
    pub(super) fn size(&self, key: &str, default: usize) -> Result<usize> {
        self.size_up_to(LARGEST, key, default)
    }

    /// The number of a tower's blocks.
    pub(super) fn layers(&self, key: &str, default: usize) -> Result<usize> {
        self.size_up_to(MOST_LAYERS, key, default)
    }

    fn size_up_to(&self, largest: u64, key: &str, default: usize) -> Result<usize> {
        let expected = format!("a whole number from 1 to {largest}");
        let size =
            self.read(key, expected, |value| value.as_u64().filter(|size| (1..=largest).contains(size)))?;
        Ok(size.map_or(default, |size| size as usize))
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

    /// What is added to the variance in layer norms.
    pub(super) fn epsilon(&self, key: &str, default: f64) -> Result<f64> {
        let epsilon = self.number(key)?.unwrap_or(default);
        if (0.0..1.0).contains(&epsilon) {
            return Ok(epsilon);
        }
        Err(self.error(key, "a number from 0 to 1", epsilon))
    }

    pub(super) fn activation(&self, key: &str, default: Activation) -> Result<Activation> {
        let names = Activation::NAMES.map(|(name, _)| format!("{name:?}"));
        let expected = format!("one of {}", names.join(", "));
        let found = self.read(key, expected, |value| value.as_str().and_then(Activation::named))?;
        Ok(found.unwrap_or(default))
    }
}

//! What open_clip's and timm's towers have in common.

use serde_json::{Map, Value};

use super::section::Section;
use crate::error::Result;

/// What towers are supported, for errors.
pub(super) const SUPPORTED: &str = "a plain vision transformer";

/// A number, or two equal ones.
pub(super) fn side(section: &Section, key: &str, default: usize) -> Result<usize> {
    match section.get(key) {
        Some(Value::Array(sides)) => {
            let square = match sides.as_slice() {
                [height, width] if height == width => height,
                _ => {
                    return Err(section.error(
                        key,
                        "a number or two equal ones",
                        Value::Array(sides.clone()),
                    ));
                }
            };
            let alone = Map::from_iter([(key.to_owned(), square.clone())]);
            section.with_values(&alone).size(key, default)
        }
        _ => section.size(key, default),
    }
}

//! What the files of both libraries say in the same form: sides in pixels, and numbers for each channel.

use serde_json::Value;

use super::Preprocess;
use crate::{error::Result, geometry::Size, model::formats::config::Section};

/// The largest side, in pixels, that a configuration may ask for.
const SIDE_LIMIT: u64 = 65_536;

impl Preprocess {
    pub(super) fn read_mean_and_std(&mut self, fields: &Section, names: [&str; 2]) -> Result<()> {
        if let Some(mean) = channels(fields, names[0], "a finite number", f32::is_finite)? {
            self.mean = mean;
        }
        let usable = |value: f32| value.is_normal() && value > 0.0;
        if let Some(std) = channels(fields, names[1], "a finite number above 0", usable)? {
            self.std = std;
        }
        Ok(())
    }
}

fn channels(
    fields: &Section,
    name: &str,
    each: &str,
    usable: impl Fn(f32) -> bool,
) -> Result<Option<[f32; 3]>> {
    let expected = format!("3 values, each {each}");
    fields.read(name, &expected, |value| {
        let one = |value: &Value| value.as_f64().map(|number| number as f32).filter(|&number| usable(number));
        match value.as_array().map(Vec::as_slice) {
            Some([red, green, blue]) => Some([one(red)?, one(green)?, one(blue)?]),
            _ => None,
        }
    })
}

/// A length in pixels.
pub(super) fn side(value: &Value) -> Option<u32> {
    value.as_u64().filter(|side| (1..=SIDE_LIMIT).contains(side)).map(|side| side as u32)
}

/// `{"height": h, "width": w}` or `[h, w]`.
pub(super) fn both_sides(value: &Value) -> Option<Size> {
    match value {
        Value::Object(map) => Some(Size::new(side(map.get("width")?)?, side(map.get("height")?)?)),
        Value::Array(list) => match list.as_slice() {
            [height, width] => Some(Size::new(side(width)?, side(height)?)),
            _ => None,
        },
        _ => None,
    }
}

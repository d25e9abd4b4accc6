//! What other pages need to draw a map as these do: the script and style that all pages share, and the data that the
//! script reads.

use image::RgbImage;
use serde::Serialize;

use super::{
    picture::{jpeg, shrunk},
    report::{Colors, LARGEST_PHOTO, Render},
};
use crate::render::{ColorMap, RenderOptions};
use fieldmark_model::error::Result;

/// What the scripts of all pages share, and the functions that draw a map over a photo as [`crate::render`] does, pixel by
/// pixel.
pub const SCRIPT: &str = concat!(include_str!("elements.js"), include_str!("drawing.js"));

/// The style that all pages have in common.
pub const STYLE: &str = include_str!("base.css");

/// The colour maps as tables and the defaults of [`RenderOptions`], as [`SCRIPT`] reads them.
#[derive(Serialize)]
pub struct Drawing {
    colors: Vec<Colors>,
    render: Render,
}

impl Default for Drawing {
    fn default() -> Self {
        let colors = ColorMap::ALL.iter().copied().map(Colors::of).collect();
        Self { colors, render: Render::of(&RenderOptions::default()) }
    }
}

/// The photo as a JPEG with at most `longest` pixels on its long side.
///
/// # Errors
/// If it cannot be encoded.
pub fn picture(photo: &RgbImage, longest: u32) -> Result<Vec<u8>> {
    jpeg(&shrunk(photo, longest), LARGEST_PHOTO)
}

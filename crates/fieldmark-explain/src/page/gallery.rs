//! All results of a run on one page: thumbnails with verdicts and scores, to be sorted and filtered.

use std::collections::BTreeMap;

use image::RgbImage;
use serde::Serialize;

use super::{
    Frame,
    picture::{jpeg, shrunk},
};
use crate::{
    attribution::ConceptMap,
    render::{RenderOptions, Scale, overlay},
    verdict::Verdict,
};
use fieldmark_model::error::Result;

pub(super) const FRAME: Frame = Frame {
    markup: include_str!("gallery.html"),
    style: concat!(include_str!("base.css"), include_str!("gallery.css")),
    script: include_str!("gallery.js"),
    pictures: "'self' file:",
};

/// A thumbnail's long side, in pixels.
const LONGEST_THUMBNAIL: u32 = 480;

/// The most bytes of a thumbnail.
const LARGEST_THUMBNAIL: usize = 40_000;

/// All results of a run. Paths are relative to the page's own folder, with `/` between their parts.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Gallery {
    /// One line on what was done.
    pub summary: String,
    /// How it was done: names and values.
    pub settings: Vec<(String, String)>,
    /// The prompts, in their order.
    pub prompts: Vec<String>,
    /// The photos, in the run's order.
    pub shots: Vec<Shot>,
    /// What could not be read, a line each.
    pub failed: Vec<String>,
}

/// One photo's results.
#[derive(Clone, Debug, Serialize)]
pub struct Shot {
    /// The photo, as it is called.
    pub image: String,
    /// The photo's report, if there is one.
    pub report: Option<String>,
    /// One for every prompt.
    pub tiles: Vec<Tile>,
}

/// One prompt on one photo.
#[derive(Clone, Debug, Serialize)]
pub struct Tile {
    /// The prompt.
    pub prompt: String,
    /// The cosine of image and prompt, from -1 to 1.
    pub similarity: f64,
    /// The softmax over the prompts, from 0 to 1.
    pub probability: f64,
    /// Whether the model sees it.
    pub verdict: Verdict,
    /// A small picture of the evidence: see [`thumbnails`].
    pub thumbnail: String,
    /// The files that were written for it, by kind.
    pub files: BTreeMap<String, String>,
}

/// The page as one HTML file; it loads the thumbnails from where they lie.
///
/// # Errors
/// If a number cannot be written.
pub fn gallery(gallery: &Gallery) -> Result<String> {
    #[derive(Serialize)]
    struct Data<'a> {
        program: &'static str,
        #[serde(flatten)]
        gallery: &'a Gallery,
    }
    FRAME.page(&Data { program: super::PROGRAM, gallery })
}

/// The evidence for each prompt over the photo, on the scale of all, as small JPEGs.
///
/// # Errors
/// If one cannot be encoded.
pub fn thumbnails(photo: &RgbImage, maps: &[ConceptMap]) -> Result<Vec<Vec<u8>>> {
    let small = shrunk(photo, LONGEST_THUMBNAIL);
    let top = maps.iter().map(ConceptMap::max).fold(0.0, f32::max);
    let options = RenderOptions { scale: Scale::Shared(top), ..RenderOptions::default() };
    maps.iter().map(|map| jpeg(&overlay(&small, map, &options), LARGEST_THUMBNAIL)).collect()
}

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
use fieldmark_model::{error::Result, files::shown};

pub(super) const FRAME: Frame = Frame {
    markup: include_str!("gallery.html"),
    style: concat!(include_str!("base.css"), include_str!("gallery.css")),
    script: concat!(include_str!("elements.js"), include_str!("gallery.js")),
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
    struct Data {
        program: &'static str,
        #[serde(flatten)]
        gallery: Gallery,
    }
    FRAME.page(&Data { program: super::PROGRAM, gallery: gallery.readable() })
}

impl Gallery {
    /// With all that is read spelled out ([`shown`]): names and prompts come from outside. Paths are what they are.
    fn readable(&self) -> Self {
        let all = |texts: &[String]| texts.iter().map(|text| shown(text)).collect();
        let tile = |tile: &Tile| Tile { prompt: shown(&tile.prompt), ..tile.clone() };
        let shot = |shot: &Shot| Shot {
            image: shown(&shot.image),
            report: shot.report.clone(),
            tiles: shot.tiles.iter().map(tile).collect(),
        };
        Self {
            summary: shown(&self.summary),
            settings: self.settings.iter().map(|(name, value)| (shown(name), shown(value))).collect(),
            prompts: all(&self.prompts),
            shots: self.shots.iter().map(shot).collect(),
            failed: all(&self.failed),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_spelled_out_and_paths_stay() {
        let sly = "a\u{202e}b\u{1b}[31m\n";
        let tile = Tile {
            prompt: sly.into(),
            similarity: 0.5,
            probability: 0.5,
            verdict: Verdict::Present,
            thumbnail: sly.into(),
            files: BTreeMap::from([("overlay".into(), sly.into())]),
        };
        let gallery = Gallery {
            summary: sly.into(),
            settings: vec![(sly.into(), sly.into())],
            prompts: vec![sly.into()],
            shots: vec![Shot { image: sly.into(), report: Some(sly.into()), tiles: vec![tile] }],
            failed: vec![sly.into()],
        };
        let text = serde_json::to_string(&gallery.readable()).unwrap();
        assert_eq!(text.matches('\u{202e}').count(), 3, "the report, the thumbnail and the file: {text}");
        assert_eq!(text.matches(r"\\u{202e}").count(), 7, "{text}");
    }
}

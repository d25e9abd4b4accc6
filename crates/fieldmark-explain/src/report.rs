//! REPORT: what was asked and found, as plain records for people and programs.
//!
//! The fields' names are a contract: other programs read the JSON. Fields may be added, none renamed. Coordinates
//! are pixels of the photo as displayed.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use rayon::prelude::*;
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{
    attribution::{self, Combination, ConceptMap, resample::Resampled},
    objective::{
        self,
        references::{Chosen, PassedOver},
    },
    refine::{Artifacts, Refinement},
    regions::{Peak, Point, Reading, Region, Threshold},
    render::ScaleRule,
    verdict::Verdict,
};
use fieldmark_model::{
    device::Precision,
    files::{escaped, serialize_path},
    geometry::{Fit, Placement},
    model::config::ProbabilityKind,
    named,
};

/// What the model says of one prompt.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Score {
    /// The prompt as it was given.
    pub prompt: String,
    /// The cosine of image and prompt, from -1 to 1.
    pub similarity: f64,
    /// The similarity times the checkpoint's logit scale, plus its bias where it has one.
    pub logit: f64,
    /// From 0 to 1; the record's `probability_kind` says what it means.
    pub probability: f64,
}

impl Score {
    /// The probability for people, in percent. A sigmoid's is often small and says something all the same, so it
    /// keeps two digits down to a millionth.
    pub fn percent(&self, kind: ProbabilityKind) -> String {
        let percent = self.probability * 100.0;
        match kind {
            ProbabilityKind::Sigmoid if percent < 1e-4 => "< 0.0001 %".into(),
            ProbabilityKind::Sigmoid if percent < 0.95 => {
                let decimals = (1.0 - percent.log10().floor()) as usize;
                format!("{percent:.decimals$} %")
            }
            _ => format!("{percent:.1} %"),
        }
    }
}

/// What the model says of a rival, and how it became one.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Reference {
    /// What the model says of it.
    #[serde(flatten)]
    pub score: Score,
    /// Why it was chosen; none if it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Chosen>,
}

/// A prompt's place among all that competed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Ranked {
    /// From 1, the highest logit first.
    pub rank: usize,
    /// What the model says of it.
    #[serde(flatten)]
    pub score: Score,
}

/// What tells one prompt from another: the map of the one minus the map of the other, both plain.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Pair {
    /// The one.
    pub prompt: String,
    /// The other.
    pub against: String,
    /// The logit of the one minus that of the other.
    pub difference: f64,
    /// The sum of the positive values of the difference of their maps, in logits: what speaks for the one and not for
    /// the other.
    pub positive: f64,
    /// The pixel where most does; none where nothing does.
    pub peak: Option<Peak>,
}

/// How much speaks for and against the concept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Evidence {
    /// The sum of the map's positive values, in the map's unit.
    pub positive: f64,
    /// The sum of the map's negative values, in the map's unit; it is not above 0.
    pub negative: f64,
    /// Whether the model sees the concept at all; [`crate::verdict`] says what decides.
    pub verdict: Verdict,
}

/// Where the evidence is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Place {
    /// The pixel with the largest evidence; none where there is no positive evidence.
    pub peak: Option<Peak>,
    /// The connected parts of the photo with strong evidence, the largest share first.
    pub regions: Vec<Region>,
    /// Hints for a segmenter.
    pub points: Vec<Point>,
}

impl Place {
    /// Reads a map.
    pub fn of(map: &ConceptMap, threshold: Threshold) -> Self {
        Self::read(Reading::of(map), threshold)
    }

    /// Reads maps of one placement: where the photo's pixels lie between the cells is found out once for all.
    pub fn of_all(maps: &[ConceptMap], threshold: Threshold) -> Vec<Self> {
        let Some(first) = maps.first() else { return Vec::new() };
        let photo = Resampled::new(first, first.placement().photo);
        maps.par_iter().map(|map| Self::read(Reading::at_pixels(photo.of_other(map)), threshold)).collect()
    }

    fn read(reading: Option<Reading>, threshold: Threshold) -> Self {
        let Some(reading) = reading else {
            return Self { peak: None, regions: Vec::new(), points: Vec::new() };
        };
        let instances = reading.instances(threshold);
        let points = reading.points(&instances, threshold);
        let regions = instances.into_iter().map(|instance| instance.region).collect();
        Self { peak: Some(reading.peak()), regions, points }
    }
}

/// What a map's values count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapUnit {
    /// Logits: similarities times the checkpoint's logit scale.
    Logits,
    /// Probability, of an objective that is one.
    Probability,
    /// What the activations count, which has no name.
    Activations,
    /// Nothing: values compare within one map only.
    None,
}

named!(MapUnit, "unit",
    Logits => "logits",
    Probability => "probability",
    Activations => "activations",
    None => "none",
);

impl MapUnit {
    /// The unit of a method's maps under an objective, at one layer or several.
    pub(crate) fn new(
        method: attribution::Unit,
        objective: objective::Unit,
        combination: Option<Combination>,
    ) -> Self {
        match (combination, method, objective) {
            (Some(Combination::Product), ..) | (_, attribution::Unit::None, _) => Self::None,
            (_, attribution::Unit::Activations, _) => Self::Activations,
            (_, attribution::Unit::Objective, objective::Unit::Logits) => Self::Logits,
            (_, attribution::Unit::Objective, objective::Unit::Probability) => Self::Probability,
        }
    }

    /// The unit in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::None => "no unit",
            _ => self.name(),
        }
    }
}

/// The tiles that a photo was looked at in, beside the look at the whole of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Tiling {
    /// Rows of tiles.
    pub rows: usize,
    /// Columns of tiles.
    pub columns: usize,
    /// The side of every tile, in pixels of the photo.
    pub side: u32,
    /// How many tokens of all tiles were artefacts.
    pub artifacts: usize,
}

/// The tile that fits a prompt best.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BestTile {
    /// Pixels of the photo to the left of it.
    pub x: u32,
    /// Pixels above it.
    pub y: u32,
    /// The cosine of tile and prompt, from -1 to 1.
    pub similarity: f64,
    /// The similarity times the checkpoint's logit scale.
    pub logit: f64,
    /// Whether the model sees the concept in the tile. It is the best of several chances: where the concept is not
    /// there, many tiles are more easily wrong than one photo.
    pub verdict: Verdict,
}

/// Tokens that are not about their place, and what became of their evidence.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Outliers {
    /// What became of it.
    pub handling: Artifacts,
    /// How many there are.
    pub count: usize,
    /// The row and the column of each, on the grid of the look at the whole photo.
    pub cells: Vec<[usize; 2]>,
}

/// The settings that a result was made with, and the geometry that followed from them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setup {
    /// The method's name.
    pub method: String,
    /// The layer as it was asked for, negative counts from the end; where none was, the method's own.
    pub layer: i64,
    /// All layers, in the order asked for.
    pub layers: Vec<i64>,
    /// How the maps of several layers became one; none where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers_combine: Option<Combination>,
    /// How much of the references was subtracted.
    pub strength: f64,
    /// The objective's name.
    pub aggregate: String,
    /// What the objective counts.
    pub objective_unit: objective::Unit,
    /// What the map's values count.
    pub unit: MapUnit,
    /// Whether the map of a contrast is the same contrast of plain maps, so that strengths and rivals can be changed
    /// without the model.
    pub linear: bool,
    /// With how many digits the trunk multiplied.
    pub precision: Precision,
    /// How the photo was fitted to the model.
    pub fit: Fit,
    /// Rows and columns of the map.
    pub grid: [usize; 2],
    /// The rectangle of the photo that the map describes: x0, y0, x1, y1.
    pub covers: [f64; 4],
    /// The tiles, if it was looked at in some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tiles: Option<Tiling>,
    /// The artefacts, if there are any or they were to be suppressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<Outliers>,
    /// How the map was refined. It stays in logits, but is no longer what the method alone says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refined: Vec<Refinement>,
    /// Which evidence is strong enough for a region.
    pub threshold: Threshold,
}

impl Setup {
    /// What a picture of the map has to say of how it was made, a line each: nothing of a plain map.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if let Some(Tiling { rows, columns, .. }) = self.tiles {
            remarks.push(format!("{rows} × {columns} tiles and the whole"));
        }
        if !self.refined.is_empty() {
            let names: Vec<_> = self.refined.iter().map(|refinement| refinement.name()).collect();
            remarks.push(format!("refined: {}", names.join(", ")));
        }
        remarks
    }

    /// Takes over the geometry.
    pub(crate) fn place(mut self, placement: &Placement) -> Self {
        let covers = placement.covers;
        self.grid = [placement.grid.rows, placement.grid.columns];
        self.covers = [covers.x0, covers.y0, covers.x1, covers.y1];
        self
    }
}

/// How much evidence got the last colour of pictures, in the map's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Drawn {
    /// Which pictures share a scale.
    pub rule: ScaleRule,
    /// Of the overlay and the layer, which show what speaks for the concept; none if nothing was drawn.
    pub overlay: Option<f32>,
    /// Of the heatmap, for the concept as against it; none if nothing was drawn.
    pub heatmap: Option<f32>,
}

/// Where the time went, in seconds. What was not done took none. Of photos that pass the trunk together each has a share
/// of the trunk's time by its size. Photos of a run that are at work at once share its time, so the stages of all photos
/// add up to the time in which the run worked ([`Outcome::seconds`](crate::run::Outcome::seconds)); what is done once a
/// run, `load` and most of `text`, is the same in all records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Seconds {
    /// Finding and opening the checkpoint, once a run.
    pub load: f64,
    /// Reading, decoding and fitting the photo.
    pub decode: f64,
    /// Embedding the prompts, once a run.
    pub text: f64,
    /// The vision tower up to the layer.
    pub trunk: f64,
    /// From there to the maps.
    pub head: f64,
    /// Drawing and writing files.
    pub render: f64,
}

impl Seconds {
    /// What passes over the photo took.
    pub(crate) fn tower(&self) -> f64 {
        self.decode + self.trunk
    }

    /// With what further passes over the photo took.
    pub(crate) fn and_tower(self, other: &Self) -> Self {
        Self { decode: self.decode + other.decode, trunk: self.trunk + other.trunk, ..self }
    }

    /// The stages that each photo goes through, in the same proportions, so that they add up to its share of a run's time;
    /// what is done once a run stays.
    #[must_use]
    pub fn adding_up_to(self, total: f64) -> Self {
        let sum = self.decode + self.text + self.trunk + self.head + self.render;
        if sum <= 0.0 {
            return Self { head: total, ..self };
        }
        let share = |stage: f64| total * (stage / sum);
        Self {
            load: self.load,
            decode: share(self.decode),
            text: share(self.text),
            trunk: share(self.trunk),
            head: share(self.head),
            render: share(self.render),
        }
    }

    /// With the texts' time, and that of everything after the passes over the photo.
    pub(crate) fn with(self, text: f64, head: f64) -> Self {
        Self { text, head, ..self }
    }
}

/// One target on one photo: a line of `localize --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Localization {
    /// The photo's file.
    #[serde(flatten, serialize_with = "image")]
    pub image: PathBuf,
    /// Its width and height.
    pub image_size: [u32; 2],
    /// The checkpoint as it was asked for; what is not UTF-8 of a path is U+FFFD.
    pub model: String,
    /// The escaped form ([`escaped`]) of such a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_bytes: Option<String>,
    /// What the probabilities mean.
    pub probability_kind: ProbabilityKind,
    /// What was asked about.
    #[serde(flatten)]
    pub target: Score,
    /// Words of the target that the checkpoint cannot know, where its configuration lists all that it knows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown_words: Vec<String>,
    /// How.
    #[serde(flatten)]
    pub setup: Setup,
    /// The tile that fits the target best, if there are tiles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best_tile: Option<BestTile>,
    /// The rivals.
    pub against: Vec<Reference>,
    /// Concepts that would have been rivals, but are taken for the target in other words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<PassedOver>,
    /// The value of the objective that the map explains.
    pub objective: f64,
    /// How much speaks for and against.
    pub evidence: Evidence,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// The scale of the pictures, if any were written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<Drawn>,
    /// The files that were written, by kind.
    #[serde(flatten, serialize_with = "files")]
    pub files: BTreeMap<String, PathBuf>,
    /// Where the time went.
    pub seconds: Seconds,
}

/// One of several prompts that were compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// What the model says of it.
    #[serde(flatten)]
    pub score: Score,
    /// Its words that the checkpoint cannot know, where its configuration lists all that it knows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown_words: Vec<String>,
    /// The tile that fits it best, if there are tiles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best_tile: Option<BestTile>,
    /// The value of the objective that its map explains.
    pub objective: f64,
    /// How much speaks for and against.
    pub evidence: Evidence,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// The files that were written for it alone, by kind.
    #[serde(flatten, serialize_with = "files")]
    pub files: BTreeMap<String, PathBuf>,
}

/// Several prompts on one photo: a line of `compare --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The photo's file.
    #[serde(flatten, serialize_with = "image")]
    pub image: PathBuf,
    /// Its width and height.
    pub image_size: [u32; 2],
    /// The checkpoint as it was asked for; what is not UTF-8 of a path is U+FFFD.
    pub model: String,
    /// The escaped form ([`escaped`]) of such a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_bytes: Option<String>,
    /// What the probabilities mean.
    pub probability_kind: ProbabilityKind,
    /// How.
    #[serde(flatten)]
    pub setup: Setup,
    /// The prompts that have a map: those asked, in their order, then the best of the list of concepts.
    pub prompts: Vec<Compared>,
    /// All prompts that competed, the highest logit first.
    pub ranking: Vec<Ranked>,
    /// Every prompt that has a map against every other, if that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matrix: Vec<Pair>,
    /// The scale of the prompts' pictures, if any were written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<Drawn>,
    /// The files that were written, by kind.
    #[serde(flatten, serialize_with = "files")]
    pub files: BTreeMap<String, PathBuf>,
    /// Where the time went.
    pub seconds: Seconds,
}

/// A photo's file as `image`: what is not UTF-8 becomes U+FFFD there, and `image_bytes` has the escaped form of such a
/// name ([`escaped`]).
fn image<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serialize_path("image", path, serializer)
}

/// Files as `files`, and the escaped forms of those that are not UTF-8 as `files_bytes`, as [`image`].
fn files<S: Serializer>(files: &BTreeMap<String, PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    let readable: BTreeMap<_, _> = files.iter().map(|(kind, path)| (kind, path.to_string_lossy())).collect();
    let bytes: BTreeMap<_, _> =
        files.iter().filter_map(|(kind, path)| Some((kind, escaped(path)?))).collect();
    let mut fields = serializer.serialize_map(None)?;
    fields.serialize_entry("files", &readable)?;
    if !bytes.is_empty() {
        fields.serialize_entry("files_bytes", &bytes)?;
    }
    fields.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_of_a_photo_add_up_to_its_share() {
        let seconds = Seconds { load: 9.0, decode: 1.0, text: 0.5, trunk: 4.0, head: 2.0, render: 0.5 };
        let shared = seconds.adding_up_to(4.0);
        let half = Seconds { load: 9.0, decode: 0.5, text: 0.25, trunk: 2.0, head: 1.0, render: 0.25 };
        assert_eq!(shared, half);
        let unknown = Seconds { load: 9.0, ..Seconds::default() };
        assert_eq!(unknown.adding_up_to(4.0), Seconds { head: 4.0, ..unknown });
    }

    #[test]
    fn small_probabilities_of_a_sigmoid_keep_their_digits() {
        let percent = |probability: f64, kind| {
            Score { prompt: String::new(), similarity: 0.0, logit: 0.0, probability }.percent(kind)
        };
        let sigmoid = |probability| percent(probability, ProbabilityKind::Sigmoid);
        assert_eq!([0.5, 0.0123, 0.00123, 0.0000456].map(sigmoid), ["50.0 %", "1.2 %", "0.12 %", "0.0046 %"]);
        assert_eq!(
            [0.0, 1e-12, 1.2e-6, 1.0].map(sigmoid),
            ["< 0.0001 %", "< 0.0001 %", "0.00012 %", "100.0 %"]
        );
        assert_eq!(percent(0.00123, ProbabilityKind::Softmax), "0.1 %");
    }
}

//! One photo and its prompts, to be played with: the reader chooses target, rivals and strength, and the page mixes
//! the prompts' plain maps as [`crate::objective`] does.

use image::RgbImage;
use serde::Serialize;

use super::{
    Frame,
    picture::{base64, jpeg, shrunk},
};
use crate::{
    attribution::ConceptMap,
    objective::{Objective, Softmax},
    render::{
        ColorMap, RenderOptions, Sign,
        colormap::{STEPS, step_colors},
    },
    report::{Comparison, Evidence, Score, Setup},
};
use fieldmark_model::{error::Result, files::shown};

pub(super) const FRAME: Frame = Frame {
    markup: include_str!("report.html"),
    style: concat!(include_str!("base.css"), include_str!("report.css")),
    script: concat!(
        include_str!("elements.js"),
        include_str!("drawing.js"),
        include_str!("choice.js"),
        include_str!("report.js")
    ),
    pictures: "",
};

/// The photo's long side in a page, in pixels.
const LONGEST_PHOTO: u32 = 1200;

/// The most bytes of the photo's JPEG: in Base64 it is a third larger, and a page is to stay under 2 MB.
pub(super) const LARGEST_PHOTO: usize = 600_000;

/// What a page shows first, and what it cannot read from the records.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PageOptions {
    /// The prompt that is the target at first: its place among the prompts. All others are its rivals.
    pub target: usize,
    /// How much of the rivals is subtracted at first; none for the strength of the comparison. A page whose maps cannot
    /// be recombined keeps that of the comparison.
    pub strength: Option<f64>,
    /// How the prompts were phrased.
    pub templates: Vec<String>,
    /// The hash of the checkpoint's files, where it is known.
    pub model_hash: Option<String>,
}

fieldmark_model::setters!(PageOptions {
    target: usize,
    strength: Option<f64>,
    templates: Vec<String>,
    model_hash: Option<String>,
});

/// A target, its rivals and the strength; prompts are named by their places.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct View {
    /// The target.
    pub target: usize,
    /// The rivals.
    pub against: Vec<usize>,
    /// How much of the rivals is subtracted.
    pub strength: f64,
}

/// What a page can show.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Maps<'a> {
    /// Every prompt's plain map. The method is linear in the gradient, so any contrast is a mix of them.
    Plain(&'a [ConceptMap]),
    /// Only what was computed: the method is not linear.
    Computed(Vec<(View, &'a ConceptMap)>),
}

/// All that a report shows.
#[derive(Clone, Debug)]
pub struct ReportPage<'a> {
    /// The photo, upright.
    pub photo: &'a RgbImage,
    /// The prompts' scores, and how the maps were made.
    pub comparison: &'a Comparison,
    /// The maps.
    pub maps: Maps<'a>,
    /// What is shown first.
    pub first: View,
    /// Further notes.
    pub options: &'a PageOptions,
}

/// A report as one HTML file.
///
/// The photo is in it as a JPEG of at most 1200 pixels and about 600 kB, the maps as float32, bit by bit.
///
/// # Errors
/// If the photo cannot be encoded.
pub fn report(page: &ReportPage) -> Result<String> {
    FRAME.page(&Data::of(page)?)
}

/// What the script reads.
#[derive(Serialize)]
struct Data<'a> {
    program: &'static str,
    image: String,
    image_size: [u32; 2],
    photo: String,
    model: String,
    model_hash: Option<&'a str>,
    templates: Vec<String>,
    setup: &'a Setup,
    grid: [usize; 2],
    covers: [f64; 4],
    prompts: Vec<Prompt<'a>>,
    recombines: bool,
    why_fixed: String,
    computed: Vec<Computed<'a>>,
    first: &'a View,
    colors: Vec<Colors>,
    render: Render,
}

#[derive(Serialize)]
struct Prompt<'a> {
    #[serde(flatten)]
    score: Score,
    evidence: &'a Evidence,
    map: Option<String>,
}

#[derive(Serialize)]
struct Computed<'a> {
    #[serde(flatten)]
    view: &'a View,
    map: String,
}

#[derive(Serialize)]
pub(super) struct Colors {
    name: &'static str,
    label: String,
    signed: bool,
    table: String,
}

/// The choices of [`RenderOptions`] that the reader starts from.
#[derive(Serialize)]
pub(super) struct Render {
    opacity: f32,
    gamma: f32,
    contour: f32,
    paleness: f32,
    steps: usize,
}

impl<'a> Data<'a> {
    fn of(page: &'a ReportPage) -> Result<Self> {
        let comparison = page.comparison;
        let photo = jpeg(&shrunk(page.photo, LONGEST_PHOTO), LARGEST_PHOTO)?;
        let (plain, computed): (&[ConceptMap], &[(View, &ConceptMap)]) = match &page.maps {
            Maps::Plain(maps) => (maps, &[]),
            Maps::Computed(maps) => (&[], maps),
        };
        let prompts = comparison.prompts.iter().enumerate().map(|(index, prompt)| Prompt {
            score: Score { prompt: shown(&prompt.score.prompt), ..prompt.score.clone() },
            evidence: &prompt.evidence,
            map: plain.get(index).map(floats),
        });
        let setup = &comparison.setup;
        Ok(Self {
            program: super::PROGRAM,
            image: file_name(comparison),
            image_size: comparison.image_size,
            photo: base64(&photo),
            model: shown(&comparison.model),
            model_hash: page.options.model_hash.as_deref(),
            templates: page.options.templates.iter().map(|template| shown(template)).collect(),
            setup,
            grid: setup.grid,
            covers: setup.covers,
            prompts: prompts.collect(),
            recombines: matches!(page.maps, Maps::Plain(_)),
            why_fixed: format!(
                "The strength cannot be changed here: {}, so a contrast is no fixed mix of the prompts' maps. These \
                 were computed:",
                if setup.aggregate == Softmax.name() {
                    format!("{} gives a probability", setup.aggregate)
                } else {
                    format!("{} is not linear in the gradient", setup.method)
                }
            ),
            computed: computed.iter().map(|(view, map)| Computed { view, map: floats(map) }).collect(),
            first: &page.first,
            colors: ColorMap::ALL.iter().copied().map(Colors::of).collect(),
            render: Render::of(&RenderOptions::default()),
        })
    }
}

impl Colors {
    pub(super) fn of(colors: ColorMap) -> Self {
        let signed = colors.sign() == Sign::Both;
        let table: Vec<u8> = step_colors(colors).flatten().collect();
        let label =
            if signed { format!("{}, for and against", colors.name()) } else { colors.name().to_owned() };
        Self { name: colors.name(), label, signed, table: base64(&table) }
    }
}

impl Render {
    pub(super) fn of(options: &RenderOptions) -> Self {
        Self {
            opacity: options.opacity,
            gamma: options.gamma,
            contour: options.contour.unwrap_or(0.0),
            paleness: options.paleness_outside,
            steps: STEPS,
        }
    }
}

/// The photo's name without its folders, which are nobody's business where a report is passed on.
fn file_name(comparison: &Comparison) -> String {
    let name = comparison.image.file_name().unwrap_or(comparison.image.as_os_str());
    shown(&name.to_string_lossy())
}

/// The values as little-endian float32.
fn floats(map: &ConceptMap) -> String {
    base64(&map.values().iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

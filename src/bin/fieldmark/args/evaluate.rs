//! What can be typed after `fieldmark evaluate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, builder::PossibleValuesParser};
use fieldmark::{
    dataset::Layout,
    evaluate::{
        Group, Metric,
        faithfulness::{Fill, Order, PRESETS, Score, Space},
    },
};

use super::{ALL_METHODS, ModelArgs, RivalArgs, ViewArgs, method_names, objective_names};
use crate::shard::Shard;

/// Measure how well maps find what a data set says is there
///
/// The data set is a directory as it was published: CUB-200-2011, a folder for each class, COCO's JSON and
/// PartImageNet's, OpenImages' point labels, FunnyBirds, Pascal VOC's XML; or a manifest.jsonl of your own, a JSON object a
/// line with `image`, `prompt`, `against` (a list of rivals), and where the prompt is: `mask` (a PNG), `box` ([x, y,
/// width, height]) or `point` ([x, y]); or `"present": false`. Plain and contrasted maps are measured side by side. Methods,
/// layers, objectives and strengths are lists: all combinations are tried, on one pass through the model a picture. With
/// --output, every row is kept, and a run that was interrupted can be resumed.
#[derive(Debug, Args)]
#[command(after_help = EVALUATE_EXAMPLES)]
pub struct EvaluateArgs {
    /// The data set's directory, or a manifest.
    #[arg(required_unless_present = "merge")]
    pub dataset: Option<PathBuf>,

    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub metrics: MetricArgs,

    /// Strengths of the contrast, separated by commas; the plain map is always measured beside it [default: 0.6; 1 with
    /// --aggregate softmax]
    #[arg(short, long, value_name = "LIST", value_delimiter = ',')]
    pub strength: Vec<f64>,

    /// What the bootstrap's draws follow from.
    #[arg(long, value_name = "N", default_value_t = fieldmark::metric::Bootstrap::default().seed)]
    pub seed: u64,

    /// Only the first pictures of the data set.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,

    /// How activations and gradients become a map, separated by commas, or all [default: what the checkpoint recommends,
    /// else grad-cam]
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Map",
          value_parser = PossibleValuesParser::new(method_names().chain([ALL_METHODS])))]
    pub method: Vec<String>,

    /// The blocks that are explained, separated by commas; negative counts from the end [default: the method's own,
    /// mostly the last]
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        allow_hyphen_values = true,
        help_heading = "Map"
    )]
    pub layer: Vec<i64>,

    /// How several rivals are put together, separated by commas.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "mean", help_heading = "Map",
          value_parser = PossibleValuesParser::new(objective_names()))]
    pub aggregate: Vec<String>,

    #[command(flatten)]
    pub rivals: RivalArgs,
    #[command(flatten)]
    pub view: ViewArgs,
    #[command(flatten)]
    pub model: ModelArgs,

    /// The directory for rows.parquet, the summary and the plots; it is made if it is missing. Without it, only the
    /// summary is printed.
    #[arg(short, long, value_name = "DIR", help_heading = "Output")]
    pub output: Option<PathBuf>,

    /// Go on with the run in the output directory: pictures that are measured with the same settings are left alone.
    #[arg(long, requires = "output", help_heading = "Output")]
    pub resume: bool,

    /// Only one of several parts, for many machines: I/N has the pictures whose place, from 0, leaves I when it is divided
    /// by N. Count I from 0 or from 1, as your scheduler does: N/N is 0/N.
    #[arg(long, value_name = "I/N", requires = "output", help_heading = "Output")]
    pub shard: Option<Shard>,

    /// Join the directories of all parts to what one run would have given; no model or data set is opened.
    #[arg(long, value_name = "DIR", num_args = 1.., requires = "output", help_heading = "Output",
          conflicts_with_all = ["dataset", "resume", "shard", "limit", "strength", "method", "layer", "aggregate",
                                "pixel_limit", "DataArgs", "MetricArgs", "RivalArgs", "ViewArgs", "ModelArgs"])]
    pub merge: Vec<PathBuf>,

    /// Also write a JSON object for every line and contrasted map into this file. `-` is standard output.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub rows: Option<PathBuf>,

    /// Print one JSON object on standard output instead of tables for people.
    #[arg(long, help_heading = "Output")]
    pub json: bool,

    /// The most pixels that an image may have; larger ones are refused before they are decoded.
    #[arg(long, value_name = "N", default_value_t = fieldmark::PhotoOptions::default().pixel_limit,
          help_heading = "Output")]
    pub pixel_limit: u64,
}

const EVALUATE_EXAMPLES: &str = "\
Examples:
  fieldmark evaluate birds/ --model miniature
  fieldmark evaluate birds/ --method grad-cam,hires-cam --layer -1,-2 --strength 0.3,0.6,1 --output result
  fieldmark evaluate birds/ --concepts classes --by image --shard 0/4 --output part-0
  fieldmark evaluate --merge part-0 part-1 part-2 part-3 --output result";

/// What is read of a data set, and in which words it is asked.
#[derive(Debug, Args)]
#[command(next_help_heading = "Data set")]
pub struct DataArgs {
    /// How the files are laid out: manifest, cub, folder, coco, open-images, funny-birds or voc [default: told from what
    /// is there]
    #[arg(long, value_name = "NAME")]
    pub layout: Option<Layout>,

    /// The part of the set: train, test, val, val2017 [default: the layout's own, see docs/evaluation]
    #[arg(long, value_name = "NAME")]
    pub split: Option<String>,

    /// What is asked, separated by commas [default: the layout's own, mostly class]
    #[arg(long, value_enum, value_name = "LIST", value_delimiter = ',')]
    pub ask: Vec<AskName>,

    /// What counts as the place of a thing, where the set knows several.
    #[arg(long, value_enum, default_value_t = PlaceName::Finest)]
    pub place: PlaceName,

    /// A JSON object with the prompt of each class; one that it lacks is asked about by its name.
    #[arg(long, value_name = "FILE")]
    pub prompts: Option<PathBuf>,

    /// How a class is asked about, with {class} in it [default: {class}]
    #[arg(long, value_name = "TEXT")]
    pub class_phrase: Option<String>,

    /// How a part is asked about, with {part} and perhaps {class} in it [default: the layout's own]
    #[arg(long, value_name = "TEXT")]
    pub part_phrase: Option<String>,

    /// How an attribute is asked about, with {value} and perhaps {attribute} and {class} in it [default: the layout's own]
    #[arg(long, value_name = "TEXT")]
    pub attribute_phrase: Option<String>,

    /// The certainty from which on an attribute of CUB counts, from 1 to 4 [default: 3, probably]
    #[arg(long, value_name = "N")]
    pub certainty: Option<u8>,

    /// The folder with the pictures [default: found in the usual places]
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,

    /// The folder with the masks, where they come apart [default: found in the usual places]
    #[arg(long, value_name = "DIR")]
    pub masks: Option<PathBuf>,
}

/// What can be asked about a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AskName {
    /// The thing that is shown.
    Class,
    /// A part of it.
    Part,
    /// A property of it.
    Attribute,
}

/// What counts as the place of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlaceName {
    /// The finest that is known: its pixels, else its box.
    Finest,
    /// Its box, even where its pixels are known: what many papers measure against.
    Box,
}

/// What is measured, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Metrics")]
pub struct MetricArgs {
    /// What is measured, separated by commas: names of metrics, or localisation, faithfulness or sanity for a whole
    /// group. The last two ask the model again, many times a map [default: localisation]
    #[arg(long, value_name = "LIST", value_delimiter = ',', hide_possible_values = true,
          value_parser = PossibleValuesParser::new(metric_names()))]
    pub metrics: Vec<String>,

    /// A paper's settings for faithfulness; the metrics that it reports are measured too [default: torch-cam]
    #[arg(long, value_name = "PRESET",
          value_parser = PossibleValuesParser::new(PRESETS.iter().map(|preset| preset.name)))]
    pub faithfulness: Option<String>,

    /// What removed pixels become [default: the preset's, mean]
    #[arg(long, value_name = "mean, black, blur or noise")]
    pub fill: Option<Fill>,

    /// What insertion begins with [default: the preset's, mean]
    #[arg(long, value_name = "mean, black, blur or noise")]
    pub insertion_fill: Option<Fill>,

    /// Which pixels go first in deletion and come first in insertion [default: most-first]
    #[arg(long, value_name = "most-first or least-first")]
    pub order: Option<Order>,

    /// The share of the pixels between two points of a curve [default: the preset's, 0.05]
    #[arg(long, value_name = "X")]
    pub step: Option<f64>,

    /// The share of the pixels at which curves end [default: the preset's, 1]
    #[arg(long, value_name = "X")]
    pub until: Option<f64>,

    /// What is followed while pixels change [default: probability]
    #[arg(long, value_name = "probability, logit or similarity")]
    pub score: Option<Score>,

    /// What is removed at a time [default: pixels]
    #[arg(long, value_name = "pixels or patches")]
    pub space: Option<Space>,

    /// How many of the last blocks have their weights shuffled for sanity, separated by commas [default: every number]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub shuffled_blocks: Vec<usize>,

    /// How far in pixels beside the truth the pointing game counts a hit [default: 0; 15 around a point]
    #[arg(long, value_name = "PIXELS")]
    pub tolerance: Option<f32>,
}

/// The names of metrics and of their groups.
fn metric_names() -> impl Iterator<Item = &'static str> {
    Group::ALL.iter().map(|group| group.name()).chain(Metric::ALL.iter().map(|metric| metric.name()))
}

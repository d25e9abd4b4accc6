//! What can be typed after `fieldmark evaluate`.

use std::path::PathBuf;

use clap::{Arg, Args};
use fieldmark::{
    PhotoOptions,
    dataset::{Ask, Layout, Place},
    evaluate::{
        faithfulness::{Faithfulness, Fill, Order, Score, Space},
        run::Shard,
    },
    metric::Bootstrap,
};

use super::{
    faithfulness::FaithfulnessArg,
    layers::LayerGridArgs,
    phrases::Phrase,
    shared::{ModelArgs, RivalArgs, ViewArgs},
    values,
};

/// Measure how well maps agree with the annotations of a data set
///
/// The data set is a directory as it was published: CUB-200-2011, a folder per class, COCO's JSON and PartImageNet's,
/// OpenImages' point labels, FunnyBirds, or Pascal VOC's XML. Or it is a manifest.jsonl of your own with one JSON object
/// per line: `image`, `prompt`, `against` (a list of rivals), and the place of the prompt as `mask` (a PNG), `box` ([x, y,
/// width, height]) or `point` ([x, y]); or `"present": false`. Plain and contrasted maps are measured side by side.
/// Methods, layers, objectives and strengths are lists: all combinations are measured, with one pass through the model
/// per picture. With --output, every row is kept, and an interrupted run can be resumed.
#[derive(Debug, Args)]
#[command(override_usage = USAGE, after_help = SHORT_END, after_long_help = EXAMPLES)]
pub struct EvaluateArgs {
    /// The data set's directory, or a manifest
    #[arg(required_unless_present = "merge")]
    pub dataset: Option<PathBuf>,

    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub metrics: MetricArgs,

    /// Random seed for the bootstrap
    #[arg(long, value_name = "SEED", default_value_t = Bootstrap::default().seed, hide_short_help = true,
          help_heading = "Metrics")]
    pub seed: u64,

    #[command(flatten)]
    pub rivals: RivalArgs,

    /// Strengths of the contrast, separated by commas [default: 0.6]
    ///
    /// The plain map is always measured as well. With --aggregate softmax, the default is 1.
    #[arg(short, long, value_name = "STRENGTHS", value_delimiter = ',', help_heading = "Rivals")]
    pub strength: Vec<f64>,

    /// How several rivals are combined; several, separated by commas
    #[arg(long, value_name = "OBJECTIVES", value_delimiter = ',', default_value = "mean",
          value_parser = values::objective(), hide_short_help = true, help_heading = "Rivals")]
    pub aggregate: Vec<String>,

    /// How the maps are made; several, separated by commas, or all [default: the checkpoint's recommendation, or grad-cam]
    ///
    /// `fieldmark methods` lists them.
    #[arg(long, alias = "methods", value_name = "METHODS", value_delimiter = ',', hide_possible_values = true,
          value_parser = values::methods_or_all(), help_heading = "Map")]
    pub method: Vec<String>,

    #[command(flatten)]
    pub layers: LayerGridArgs,
    #[command(flatten)]
    pub view: ViewArgs,
    #[command(flatten)]
    pub model: ModelArgs,

    /// The directory for rows.parquet, the summary and the plots; created if missing
    ///
    /// Without it, only the summary is printed.
    #[arg(short, long, value_name = "DIR", help_heading = "Output")]
    pub output: Option<PathBuf>,

    /// Also write a JSON object per question and contrasted map into this file; - means standard output
    #[arg(long, value_name = "FILE", hide_short_help = true, help_heading = "Output")]
    pub rows: Option<PathBuf>,

    /// Print one JSON object instead of tables
    #[arg(long, help_heading = "Output")]
    pub json: bool,

    /// Continue the run in the output directory: pictures measured with the same settings are skipped
    #[arg(long, requires = "output", help_heading = "Run")]
    pub resume: bool,

    /// Measure one part of several, to spread a run over machines, such as 0/4 to 3/4
    ///
    /// Part I/N has the pictures whose number, from 0, leaves I when divided by N. Count I from 0 or from 1, as your scheduler
    /// does: N/N is 0/N.
    #[arg(long, value_name = "I/N", requires = "output", hide_short_help = true, help_heading = "Run")]
    pub shard: Option<Shard>,

    /// Join the directories of all parts into the result of one run
    ///
    /// No model or data set is opened.
    #[arg(long, value_name = "DIR", num_args = 1.., requires = "output", hide_short_help = true, help_heading = "Run",
          conflicts_with_all = ["dataset", "resume", "shard", "limit", "strength", "method", "aggregate", "pixel_limit",
                                "DataArgs", "MetricArgs", "RivalArgs", "LayerGridArgs", "ViewArgs", "ModelArgs"])]
    pub merge: Vec<PathBuf>,

    /// Refuse images with more pixels than this before they are decoded
    #[arg(long, value_name = "PIXELS", default_value_t = PhotoOptions::default().pixel_limit,
          hide_short_help = true, help_heading = "General")]
    pub pixel_limit: u64,
}

/// The options that other commands have too, as they are for data sets.
pub fn for_data_sets(arg: Arg) -> Arg {
    match arg.get_id().as_str() {
        "template" => arg.help_heading("Data set"),
        "concepts" => arg.help(
            "Find rivals in a list of concepts: one that ships, a file, or `classes` for those of the data set",
        ),
        _ => arg,
    }
}

const USAGE: &str = "\
fieldmark evaluate [OPTIONS] <DATASET>
       fieldmark evaluate --merge <DIR>... --output <DIR>";

const EXAMPLES: &str = "\
Examples:
  fieldmark evaluate birds/ --model miniature
  fieldmark evaluate birds/ --method grad-cam,hires-cam --strength 0.3,0.6,1 --output result
  fieldmark evaluate birds/ --layers -1 --layers -2 --faithfulness rise,fill=black
  fieldmark evaluate birds/ --concepts classes --by image --shard 0/4 --output part-0
  fieldmark evaluate --merge part-0 part-1 part-2 part-3 --output result";

const SHORT_END: &str = "\
Example:
  fieldmark evaluate CUB_200_2011 --concepts classes --output result

`fieldmark evaluate --help` shows all options, their details and more examples.";

/// What is read of a data set, and in which words it is asked.
#[derive(Debug, Args)]
#[command(next_help_heading = "Data set")]
pub struct DataArgs {
    /// How the files are laid out [default: detected]
    #[arg(long, value_name = "LAYOUT", value_parser = values::layout(), hide_short_help = true)]
    pub layout: Option<Layout>,

    /// The part of the set: train, test, val, val2017 [default: the layout's own]
    ///
    /// docs/evaluation/datasets.md has the parts of each layout.
    #[arg(long, value_name = "NAME")]
    pub split: Option<String>,

    /// What to ask about, separated by commas [default: the layout's own, mostly class]
    #[arg(long, value_name = "SUBJECTS", value_delimiter = ',', value_parser = values::ask(), hide_short_help = true)]
    pub ask: Vec<Ask>,

    /// Use only the first pictures of the data set
    #[arg(long, value_name = "COUNT")]
    pub limit: Option<usize>,

    /// What counts as the place of a thing, where the set knows several
    #[arg(long, value_name = "PLACE", value_parser = values::place(), default_value_t, hide_short_help = true)]
    pub place: Place,

    /// A JSON file with the prompt of each class; classes that it lacks are asked about by name
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub prompts: Option<PathBuf>,

    /// How classes, parts or attributes are put into words, such as 'part=the {part} of a {class}'; repeatable
    ///
    /// class=TEXT has {class} in it, part=TEXT has {part} and perhaps {class}, attribute=TEXT has {value} and perhaps
    /// {attribute} and {class}. [default: class={class}; the layout's own for parts and attributes]
    #[arg(long, value_name = "SUBJECT=TEXT", hide_short_help = true)]
    pub phrase: Vec<Phrase>,

    /// The same as --phrase class=TEXT
    #[arg(long, value_name = "TEXT", hide = true)]
    pub class_phrase: Option<String>,

    /// The same as --phrase part=TEXT
    #[arg(long, value_name = "TEXT", hide = true)]
    pub part_phrase: Option<String>,

    /// The same as --phrase attribute=TEXT
    #[arg(long, value_name = "TEXT", hide = true)]
    pub attribute_phrase: Option<String>,

    /// The certainty from which an attribute of CUB counts, from 1 to 4 [default: 3, probably]
    #[arg(long, value_name = "LEVEL", hide_short_help = true)]
    pub certainty: Option<u8>,

    /// The folder with the pictures [default: found in the usual places]
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    pub images: Option<PathBuf>,

    /// The folder with the masks, where they are published apart [default: found in the usual places]
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    pub masks: Option<PathBuf>,
}

/// What is measured, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Metrics")]
pub struct MetricArgs {
    /// What to measure: metrics or whole groups, separated by commas [default: localisation]
    ///
    /// The groups are localisation, faithfulness and sanity. The last two run the model many times per map.
    #[arg(long, value_name = "METRICS", value_delimiter = ',', value_parser = values::metric(),
          hide_possible_values = true)]
    pub metrics: Vec<String>,

    /// Measure faithfulness with a paper's settings, such as rise or rise,fill=black [default: torch-cam]
    ///
    /// A preset, settings in place of its own, or both, separated by commas. The metrics that the preset's paper reports are
    /// measured. The settings are fill and insertion-fill (mean, black, blur or noise: what removed pixels become, and what
    /// insertion begins with), order (most-first or least-first), step and until (shares of the pixels: between two points
    /// of a curve, and at its end), score (probability, logit or similarity: what is followed), and space (pixels or
    /// patches: what is removed at a time).
    #[arg(long, value_name = "SETTINGS", value_parser = values::faithfulness(), hide_possible_values = true)]
    pub faithfulness: Option<FaithfulnessArg>,

    /// The same as fill in --faithfulness
    #[arg(long, value_name = "FILL", value_parser = values::fill(), hide = true)]
    pub fill: Option<Fill>,

    /// The same as insertion-fill in --faithfulness
    #[arg(long, value_name = "FILL", value_parser = values::fill(), hide = true)]
    pub insertion_fill: Option<Fill>,

    /// The same as order in --faithfulness
    #[arg(long, value_name = "ORDER", value_parser = values::order(), hide = true)]
    pub order: Option<Order>,

    /// The same as step in --faithfulness
    #[arg(long, value_name = "SHARE", hide = true)]
    pub step: Option<f64>,

    /// The same as until in --faithfulness
    #[arg(long, value_name = "SHARE", hide = true)]
    pub until: Option<f64>,

    /// The same as score in --faithfulness
    #[arg(long, value_name = "SCORE", value_parser = values::score(), hide = true)]
    pub score: Option<Score>,

    /// The same as space in --faithfulness
    #[arg(long, value_name = "SPACE", value_parser = values::space(), hide = true)]
    pub space: Option<Space>,

    /// How many of the last blocks get shuffled weights for sanity, separated by commas [default: every number]
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', hide_short_help = true)]
    pub shuffled_blocks: Vec<usize>,

    /// How many pixels beside the truth the pointing game still counts as a hit [default: 0; 15 around a point]
    #[arg(long, value_name = "PIXELS", hide_short_help = true)]
    pub tolerance: Option<f32>,
}

impl MetricArgs {
    /// How faithfulness is measured: the preset with what was typed in its place.
    pub fn faithfulness(&self) -> Faithfulness {
        let base = self.faithfulness.clone().map(FaithfulnessArg::into_inner).unwrap_or_default();
        base.clone()
            .fill(self.fill.unwrap_or(base.fill))
            .insertion_fill(self.insertion_fill.unwrap_or(base.insertion_fill))
            .order(self.order.unwrap_or(base.order))
            .step(self.step.unwrap_or(base.step))
            .until(self.until.unwrap_or(base.until))
            .score(self.score.unwrap_or(base.score))
            .space(self.space.unwrap_or(base.space))
    }
}

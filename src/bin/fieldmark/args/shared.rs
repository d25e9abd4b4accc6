//! Options that several commands have. Every group names its heading, and so does every option outside the heading of its
//! group: a heading set by `next_help_heading` carries over to the options that follow.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, builder::RangedU64ValueParser};
use fieldmark::{
    PhotoOptions,
    device::{DeviceChoice, Precision},
    geometry::Fit,
    objective::references::By,
    refine::{Artifacts, Refinement, Tiles},
    regions::Threshold,
    render::ScaleRule,
};

use super::{kinds::Preview, layers::LayersArgs, values};

/// Which rivals are to be found.
#[derive(Debug, Args)]
#[command(next_help_heading = "Rivals")]
pub struct RivalArgs {
    /// Find rivals in a list of concepts: one that ships (see `fieldmark prompts`), or a file
    #[arg(long, value_name = "LIST")]
    pub concepts: Option<PathBuf>,

    /// How rivals are selected from --concepts
    #[arg(long, value_name = "RULE", value_parser = values::by(), default_value_t, requires = "concepts")]
    pub by: By,

    /// How many rivals to find [default: 3; 1 with --by group]
    #[arg(long, value_name = "COUNT", requires = "concepts", hide_short_help = true,
          value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub nearest: Option<usize>,

    /// Skip concepts whose text similarity to the prompt is above this cosine [default: 0.95; 1 for the classes of a data
    /// set]
    ///
    /// They are taken for synonyms of the prompt. 1 skips none.
    #[arg(
        long,
        value_name = "COSINE",
        requires = "concepts",
        allow_negative_numbers = true,
        hide_short_help = true
    )]
    pub synonym_threshold: Option<f64>,
}

/// How maps are made.
#[derive(Debug, Args)]
#[command(next_help_heading = "Map")]
pub struct MapArgs {
    /// How several rivals are combined
    #[arg(long, value_name = "OBJECTIVE", default_value = "mean", value_parser = values::objective(),
          help_heading = "Rivals", hide_short_help = true)]
    pub aggregate: String,

    #[command(flatten)]
    pub layers: LayersArgs,
    #[command(flatten)]
    pub view: ViewArgs,

    /// Which evidence belongs to a region
    #[arg(long, value_name = "RULE", default_value_t = Threshold::default(), value_parser = values::threshold(),
          help_heading = "Map", hide_short_help = true)]
    pub threshold: Threshold,
}

/// What the maps of one run have in common.
#[derive(Debug, Args)]
#[command(next_help_heading = "Map")]
pub struct ViewArgs {
    /// How the photo is fitted to the model
    #[arg(long, value_name = "FIT", value_parser = values::fit(), default_value_t, hide_short_help = true)]
    pub fit: Fit,

    /// Multiply the model's resolution along each side, to find small things
    ///
    /// Works with --fit whole.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, allow_negative_numbers = true)]
    pub detail: f64,

    /// Also look at the photo in overlapping tiles, to find small things in large photos
    ///
    /// Each tile takes a pass through the model.
    #[arg(long, value_name = "TILES", default_value_t = Tiles::default(), value_parser = values::tiles(),
          hide_short_help = true)]
    pub tiles: Tiles,

    /// Refine the finished map; several, separated by commas
    ///
    /// affinity is applied before guided.
    #[arg(long, value_name = "REFINEMENTS", value_delimiter = ',', value_parser = values::refinement(),
          hide_short_help = true)]
    pub refine: Vec<Refinement>,

    /// Keep or suppress evidence on artifact tokens (high-norm background patches of large models)
    #[arg(long, value_name = "HANDLING", default_value_t, value_parser = values::artifacts(),
          hide_short_help = true)]
    pub artifacts: Artifacts,

    /// How prompts are phrased: a text in which {} stands for the prompt, or a set that ships; repeatable
    ///
    /// `fieldmark prompts` lists the sets. The embeddings of several phrasings are averaged.
    #[arg(
        long,
        value_name = "TEMPLATE",
        default_value = "{}",
        help_heading = "Prompts",
        hide_short_help = true
    )]
    pub template: Vec<String>,
}

/// Which checkpoint, and where it runs.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// A Hub id, a directory, a file of weights, or `miniature`
    ///
    /// A Hub id is `org/name`, or `org/name@revision`. `miniature` ships with the program and knows drawn birds only.
    #[arg(short, long, value_name = "MODEL", default_value = "openai/clip-vit-base-patch16")]
    pub model: OsString,

    /// Where to compute
    #[arg(long, value_name = "DEVICE", default_value_t, value_parser = values::device(), hide_short_help = true)]
    pub device: DeviceChoice,

    /// Floating-point precision of the vision tower
    #[arg(long, value_name = "PRECISION", default_value_t, value_parser = values::precision(),
          hide_short_help = true)]
    pub precision: Precision,

    /// Never touch the network (also HF_HUB_OFFLINE=1)
    #[arg(long, hide_short_help = true)]
    pub offline: bool,

    /// Do not cache the embeddings of prompts, nor use those of earlier runs
    #[arg(long, hide_short_help = true)]
    pub no_text_cache: bool,
}

/// Results beside the files of each photo.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct ShowArgs {
    /// Also write an interactive page into this file, for one photo; - means standard output
    ///
    /// The reader can change target, rivals, strength and colours.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    /// Also write the regions of all photos into one COCO-style JSON file; - means standard output
    ///
    /// It has boxes, outlines, areas and scores.
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub coco: Option<PathBuf>,

    /// When to show the result in the terminal, or how
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Preview::Auto, hide_short_help = true)]
    pub preview: Preview,
}

/// How pictures are drawn.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct PictureArgs {
    /// How much evidence gets the last colour of overlays, layers and heatmaps
    ///
    /// With own, weak and strong photos look alike; with run or a number, pictures of different photos can be compared.
    #[arg(long, value_name = "SCALE", default_value_t = ScaleRule::default(), value_parser = values::scale(),
          allow_negative_numbers = true, hide_short_help = true)]
    pub scale: ScaleRule,

    /// Add a colour bar below overlays and heatmaps
    ///
    /// They are then higher than the photo.
    #[arg(long, hide_short_help = true)]
    pub bar: bool,
}

/// Where results go.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// The directory for files; created if missing
    #[arg(short, long, value_name = "DIR", default_value = "fieldmark-out")]
    pub output: PathBuf,

    /// Print one JSON object per line instead of a table
    #[arg(long)]
    pub json: bool,

    /// Refuse images with more pixels than this before they are decoded
    #[arg(long, value_name = "PIXELS", default_value_t = PhotoOptions::default().pixel_limit,
          help_heading = "General", hide_short_help = true)]
    pub pixel_limit: u64,
}

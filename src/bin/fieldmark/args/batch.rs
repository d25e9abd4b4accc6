//! What can be typed after `fieldmark batch`.

use std::path::PathBuf;

use clap::Args;

use super::{
    asked::PromptsAndPhotos,
    kinds::{Kind, is_of_several_prompts},
    shared::{MapArgs, ModelArgs, OutputArgs, PictureArgs},
    values,
};

/// Ask a list of prompts of many photos, with a page of all results
///
/// Every photo is compared with all prompts, in one pass. The output directory gets an index.html with thumbnails, verdicts
/// and scores to sort and filter, an interactive report for each photo, results.jsonl, and run.json, from which the run can be
/// repeated.
#[derive(Debug, Args)]
#[command(override_usage = USAGE, after_help = SHORT_END, after_long_help = EXAMPLES)]
pub struct BatchArgs {
    #[command(flatten)]
    pub asked: PromptsAndPhotos,

    /// How much of all other prompts is subtracted from each [default: 0]
    ///
    /// Interactive reports can change it, and open at 0.6 (1 with --aggregate softmax) unless it is given.
    #[arg(short, long, value_name = "STRENGTH", allow_negative_numbers = true, help_heading = "Rivals")]
    pub strength: Option<f64>,

    /// How the maps are made; `fieldmark methods` lists all [default: the checkpoint's recommendation, or grad-cam]
    #[arg(long, value_name = "METHOD", value_parser = values::method(), hide_possible_values = true,
          help_heading = "Map")]
    pub method: Option<String>,

    #[command(flatten)]
    pub map: MapArgs,
    #[command(flatten)]
    pub model: ModelArgs,

    /// The files to write for each photo and prompt beside the thumbnails, separated by commas
    ///
    /// All but sheet and report are written for each prompt, with the colours on the scale of all prompts.
    #[arg(
        long,
        value_name = "KINDS",
        value_delimiter = ',',
        value_parser = values::kinds(is_of_several_prompts),
        default_value = "overlay,report",
        help_heading = "Output"
    )]
    pub save: Vec<Kind>,

    /// Continue the run in the output directory: photos that are done with the same settings are skipped
    #[arg(long, help_heading = "Run")]
    pub resume: bool,

    /// Repeat an earlier run from its run.json, with the same prompts, photos, model and settings
    #[arg(long, value_name = "FILE", help_heading = "Run",
          conflicts_with_all = ["PromptsAndPhotosTyped", "strength", "method", "save", "MapArgs", "LayersArgs", "ViewArgs",
                                "PictureArgs", "model"])]
    pub from: Option<PathBuf>,

    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub pictures: PictureArgs,
}

const USAGE: &str = "\
fieldmark batch [OPTIONS] <PROMPTS> <IMAGE>...
       fieldmark batch [OPTIONS] --prompts <LIST> --prompt <PROMPT> <IMAGE>...
       fieldmark batch [OPTIONS] --from <FILE>";

const EXAMPLES: &str = "\
Examples:
  fieldmark batch blackbirds photos/ --output birds
  fieldmark batch blackbirds photos/ --output birds --resume
  fieldmark batch photos/ --prompts blackbirds --prompt \"a nest\" --output nests
  fieldmark batch --from birds/run.json --output birds-again";

const SHORT_END: &str = "\
Example:
  fieldmark batch blackbirds photos/ --output birds

`fieldmark batch --help` shows all options, their details and more examples.";

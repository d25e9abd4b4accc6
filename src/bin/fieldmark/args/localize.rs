//! What can be typed after `fieldmark localize`.

use clap::Args;

use super::{
    asked::PromptAndPhotos,
    kinds::{Kind, is_of_one_prompt},
    shared::{MapArgs, ModelArgs, OutputArgs, PictureArgs, RivalArgs, ShowArgs},
    values,
};

/// Map where photos show a concept, and what sets it apart from its rivals
///
/// For each photo: how well the prompt fits, whether the model sees the concept at all, where the evidence is, and an
/// overlay. With --against or --concepts, the map shows what speaks for the prompt and not for its rivals.
#[derive(Debug, Args)]
#[command(override_usage = USAGE, after_help = SHORT_END, after_long_help = EXAMPLES)]
pub struct LocalizeArgs {
    #[command(flatten)]
    pub asked: PromptAndPhotos,

    /// A rival: evidence that it shares with the prompt is removed from the map; repeatable
    #[arg(short, long, value_name = "PROMPT", help_heading = "Rivals")]
    pub against: Vec<String>,

    /// How much of the rivals is subtracted: 0 gives the plain map [default: 0.6]
    ///
    /// This is γ of the Finer-CAM paper. Several, separated by commas, give a strip of maps from one pass. With --aggregate
    /// softmax it is 0 or 1 (the default), with --aggregate logit it is 0.
    #[arg(
        short,
        long,
        value_name = "STRENGTHS",
        value_delimiter = ',',
        allow_negative_numbers = true,
        help_heading = "Rivals"
    )]
    pub strength: Vec<f64>,

    #[command(flatten)]
    pub rivals: RivalArgs,

    /// How the map is made; `fieldmark methods` lists all [default: the checkpoint's recommendation, or grad-cam]
    #[arg(long, value_name = "METHOD", value_parser = values::method(), hide_possible_values = true,
          help_heading = "Map")]
    pub method: Option<String>,

    #[command(flatten)]
    pub map: MapArgs,
    #[command(flatten)]
    pub model: ModelArgs,

    /// The files to write for each photo, separated by commas [default: overlay; strip with several strengths]
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = values::kinds(is_of_one_prompt), help_heading = "Output")]
    pub save: Vec<Kind>,

    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub show: ShowArgs,
    #[command(flatten)]
    pub pictures: PictureArgs,
}

const USAGE: &str = "\
fieldmark localize [OPTIONS] <PROMPT> <IMAGE>...
       fieldmark localize [OPTIONS] --prompt <PROMPT> <IMAGE>...
       fieldmark localize [OPTIONS] --from <FILE> [IMAGE]...";

const EXAMPLES: &str = "\
Examples:
  fieldmark localize \"red-winged blackbird shoulder\" photo.jpg \\
      --against \"yellow-headed blackbird\" --against \"rusty blackbird\"
  fieldmark localize photos/ --prompt \"orange beak\" --save overlay,map --json
  fieldmark localize \"red bird\" photo.jpg --concepts birds --by image
  fieldmark localize --from result.json";

const SHORT_END: &str = "\
Example:
  fieldmark localize \"red bird\" photo.jpg --against \"rusty blackbird\"

`fieldmark localize --help` shows all options, their details and more examples.";

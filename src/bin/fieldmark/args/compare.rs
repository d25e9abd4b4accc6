//! What can be typed after `fieldmark compare` and `fieldmark report`.

use std::path::PathBuf;

use clap::{Arg, Args};

use super::{
    asked::PhotoAndPrompts,
    kinds::{Kind, is_of_several_prompts},
    shared::{MapArgs, ModelArgs, OutputArgs, PictureArgs, ShowArgs},
    values,
};

/// Compare prompts, or a whole list of concepts, on one photo
///
/// Ranks all of them by how well they fit, and draws one sheet with the photo and the prompts' signed maps on one
/// shared scale. Of a list, the best get a map.
#[derive(Debug, Args)]
#[command(override_usage = USAGE, after_help = SHORT_END, after_long_help = EXAMPLES)]
pub struct CompareArgs {
    #[command(flatten)]
    pub asked: PhotoAndPrompts,

    /// A list of concepts that compete as well: one that ships (see `fieldmark prompts`), or a file
    #[arg(long, value_name = "LIST", help_heading = "Prompts")]
    pub concepts: Option<PathBuf>,

    /// How many concepts of the list get a map: those that fit best
    #[arg(long, value_name = "COUNT", default_value_t = 8, requires = "concepts", help_heading = "Prompts")]
    pub top: usize,

    /// How much of all other prompts is subtracted from each [default: 0]
    ///
    /// Interactive pages can change it, and open at 0.6 (1 with --aggregate softmax) unless it is given.
    #[arg(short, long, value_name = "STRENGTH", allow_negative_numbers = true, help_heading = "Rivals")]
    pub strength: Option<f64>,

    /// How the maps are made; several, separated by commas, or all, give one row each [default: the checkpoint's
    /// recommendation, or grad-cam]
    ///
    /// `fieldmark methods` lists them.
    #[arg(long = "method", alias = "methods", value_name = "METHODS", value_delimiter = ',', hide_possible_values = true,
          value_parser = values::methods_or_all(), help_heading = "Map")]
    pub methods: Vec<String>,

    #[command(flatten)]
    pub map: MapArgs,
    #[command(flatten)]
    pub model: ModelArgs,

    /// Compare each prompt that has a map with each other one: a table, and a picture of the first ten
    #[arg(long, help_heading = "Output")]
    pub matrix: bool,

    /// The files to write, separated by commas
    ///
    /// All but sheet and report are written for each prompt, with the colours on the scale of all prompts.
    #[arg(
        long,
        value_name = "KINDS",
        value_delimiter = ',',
        value_parser = values::kinds(is_of_several_prompts),
        default_value = "sheet",
        help_heading = "Output"
    )]
    pub save: Vec<Kind>,

    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub show: ShowArgs,
    #[command(flatten)]
    pub pictures: PictureArgs,
}

/// The options of `compare` where `report` has others.
pub fn for_report(arg: Arg) -> Arg {
    match arg.get_id().as_str() {
        "save" => arg.default_value("report"),
        "matrix" | "report" => arg.hide_short_help(true),
        _ => arg,
    }
}

const USAGE: &str = "\
fieldmark compare [OPTIONS] <IMAGE> <PROMPT> <PROMPT>...
       fieldmark compare [OPTIONS] <IMAGE> --prompt <PROMPT> --prompt <PROMPT>
       fieldmark compare [OPTIONS] <IMAGE> --concepts <LIST>";

const EXAMPLES: &str = "\
Examples:
  fieldmark compare photo.jpg \"red-winged blackbird\" \"rusty blackbird\"
  fieldmark compare photo.jpg --concepts birds --template birds --top 5 --matrix
  fieldmark compare photo.jpg -p \"red bird\" -p \"reed\" --method all";

const SHORT_END: &str = "\
Example:
  fieldmark compare photo.jpg \"red-winged blackbird\" \"rusty blackbird\"

`fieldmark compare --help` shows all options, their details and more examples.";

pub const REPORT_USAGE: &str = "\
fieldmark report [OPTIONS] <IMAGE> <PROMPT> <PROMPT>...
       fieldmark report [OPTIONS] <IMAGE> --prompt <PROMPT> --prompt <PROMPT>
       fieldmark report [OPTIONS] <IMAGE> --concepts <LIST>";

pub const REPORT_EXAMPLES: &str = "\
Example:
  fieldmark report photo.jpg \"red-winged blackbird shoulder\" \"yellow head\" \"rusty blackbird\"";

pub const REPORT_SHORT_END: &str = "\
Example:
  fieldmark report photo.jpg \"red-winged blackbird\" \"rusty blackbird\"

`fieldmark report --help` shows all options and their details.";

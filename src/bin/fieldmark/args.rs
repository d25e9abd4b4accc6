//! What can be typed. Doc comments are the help texts: the first paragraph is what `-h` shows, all of it what `--help`
//! shows. There is no logic here but how text becomes a value.

pub mod asked;
mod batch;
mod compare;
mod evaluate;
mod faithfulness;
mod kinds;
mod layers;
mod localize;
pub mod phrases;
pub mod reference;
pub mod settings;
mod shared;
mod values;

use std::{ffi::OsString, path::PathBuf};

use clap::{Arg, ArgAction, Args, Parser, Subcommand, builder::PossibleValue};

pub use batch::BatchArgs;
pub use compare::CompareArgs;
pub use evaluate::{DataArgs, EvaluateArgs, MetricArgs};
pub use kinds::{Kind, Preview, is_of_one_prompt};
pub use localize::LocalizeArgs;
pub use shared::{ModelArgs, OutputArgs, RivalArgs, ShowArgs};

/// Shows where in a photograph a CLIP-family model sees a concept, and what sets it apart from its rivals
#[derive(Debug, Parser)]
#[command(name = "fieldmark", version, propagate_version = true, arg_required_else_help = true, max_term_width = 100,
          disable_help_flag = true, disable_version_flag = true, after_help = END, after_long_help = reference::LONG_END)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,

    /// Print no notes and no progress, only errors
    #[arg(short, long, global = true, help_heading = "General")]
    pub quiet: bool,

    /// Show the main options; --help shows all, with details
    #[arg(short, long, global = true, action = ArgAction::Help, help_heading = "General")]
    help: Option<bool>,

    /// Print the version
    #[arg(short = 'V', long, global = true, action = ArgAction::Version, help_heading = "General")]
    version: Option<bool>,
}

const END: &str = "\
`fieldmark COMMAND -h` shows the main options of a command, `--help` all.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(mut_args(listing_values))]
    Localize(LocalizeArgs),
    #[command(mut_args(listing_values))]
    Compare(CompareArgs),
    /// Write an interactive page for one photo, in which target, rivals, strength and colours can be changed
    ///
    /// The same as `compare --save report`: one file, <image>.report.html, that works without a network.
    #[command(mut_args(compare::for_report), mut_args(listing_values), override_usage = compare::REPORT_USAGE,
              after_help = compare::REPORT_SHORT_END, after_long_help = compare::REPORT_EXAMPLES)]
    Report(CompareArgs),
    #[command(mut_args(listing_values))]
    Batch(BatchArgs),
    #[command(mut_args(evaluate::for_data_sets), mut_args(listing_values))]
    Evaluate(Box<EvaluateArgs>),
    Methods(MethodsArgs),
    Prompts(PromptsArgs),
    Models(ModelsArgs),
    Download(DownloadArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// List the methods: what each shows, what it costs, and who describes it
#[derive(Debug, Args)]
pub struct MethodsArgs {
    /// Print one JSON object per line instead of a table
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// List the concepts and templates that ship, or show one of them
///
/// Without a name: the lists of concepts and the sets of templates. With one: its contents, in the format of a list of
/// your own. A file of your own is read and shown in the same way.
#[derive(Debug, Args)]
pub struct PromptsArgs {
    /// A list of concepts, a set of templates, or a file with a list
    #[arg(value_name = "LIST")]
    pub name: Option<PathBuf>,

    /// Print one JSON object per line instead of a list for people
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// Fetch checkpoints from the Hub into the Hugging Face cache
///
/// Only the files that are needed are fetched; an interrupted download is resumed. Python finds the files, and files that
/// Python fetched are found here.
#[derive(Debug, Args)]
pub struct DownloadArgs {
    /// Hub ids: `org/name`, or `org/name@revision`
    #[arg(required = true, value_name = "MODEL")]
    pub models: Vec<OsString>,

    /// Never touch the network: only report whether everything is in the cache
    #[arg(long, help_heading = "Model")]
    pub offline: bool,

    /// Print one JSON object per line instead of a list for people
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// List supported checkpoints, or inspect one
///
/// Without a name: parameters, input, grid and licence of every checkpoint in the catalogue, and what is in the cache. With
/// a name: its towers, preprocessing, tokenizer, files and tensors, read from the headers alone. If tensors are missing or
/// unused, they are listed and the exit status is 2.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    /// A Hub id (`org/name`, `org/name@revision`), a directory, a file of weights, or `miniature`
    pub model: Option<OsString>,

    /// Never touch the network (also HF_HUB_OFFLINE=1); only a name can need it
    #[arg(long, help_heading = "Model")]
    pub offline: bool,

    /// Print one JSON object per line instead of a list for people
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// Print a script that lets a shell complete commands and options
///
/// For bash: fieldmark completions bash > ~/.local/share/bash-completion/completions/fieldmark
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// Print the manual page, in the format that `man` reads
///
/// To read it: fieldmark man > fieldmark.1, and man ./fieldmark.1
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The command that the page is about [default: all of fieldmark]
    pub command: Option<String>,

    /// Print the reference of all commands instead, in Markdown
    #[arg(long, conflicts_with = "command", help_heading = "Output")]
    pub markdown: bool,
}

/// Lists in the long help the values that are too many for the short one.
fn listing_values(arg: Arg) -> Arg {
    let values = arg.get_possible_values();
    if values.is_empty() || !arg.is_hide_possible_values_set() {
        return arg;
    }
    let names: Vec<&str> = values.iter().map(PossibleValue::get_name).collect();
    let text = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    arg.long_help(format!("{text}\n\n[possible values: {}]", names.join(", ")))
}

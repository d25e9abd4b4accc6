//! What can be typed. Doc comments are the help texts; there is no logic here.

mod evaluate;

use std::{ffi::OsString, path::PathBuf};

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, RangedU64ValueParser, TypedValueParser},
};
use fieldmark::{
    attribution::METHODS,
    device::Precision,
    objective::OBJECTIVES,
    pipeline::Layers,
    refine::{Artifacts, Refinement, Tiles},
    regions::Threshold,
    render::ScaleRule,
};

pub use evaluate::{AskName, DataArgs, EvaluateArgs, MetricArgs, PlaceName};

/// Shows where in a photograph a CLIP-family model sees a concept, and what tells it from its rivals.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Print no notes and no progress; errors are still told.
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    Localize(LocalizeArgs),
    Compare(CompareArgs),
    /// Write a page in which target, rivals, strength and colours can be changed, for one photo
    ///
    /// The same as `compare --save report`: one file, <image>.report.html, that works without a network.
    #[command(mut_arg("save", |save| save.default_value("report")), after_help = REPORT_EXAMPLE)]
    Report(CompareArgs),
    Batch(BatchArgs),
    Methods(MethodsArgs),
    Prompts(PromptsArgs),
    Download(DownloadArgs),
    Models(ModelsArgs),
    Evaluate(Box<EvaluateArgs>),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Map where photos show a concept, and what sets it apart from its rivals
///
/// For every photo: how well the prompt fits, whether the model sees it at all, where the evidence is, and an
/// overlay. With --against, the map shows what speaks for the prompt and not for its rivals.
#[derive(Debug, Args)]
#[command(after_help = LOCALIZE_EXAMPLES)]
pub struct LocalizeArgs {
    /// The concept to look for, in words.
    pub prompt: String,

    /// Photos; a directory means the images in it, and - standard input.
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<PathBuf>,

    /// A rival of the concept: evidence that both share is taken out of the map. Repeatable.
    #[arg(short, long, value_name = "PROMPT")]
    pub against: Vec<String>,

    #[command(flatten)]
    pub rivals: RivalArgs,

    /// How much of the rivals is subtracted; 0 is the plain map (γ of the Finer-CAM paper). Several, separated by
    /// commas, give a strip of maps from one pass [default: 0.6; with --aggregate softmax 1, which is all of them, and
    /// with --aggregate logit 0]
    #[arg(short, long, value_name = "LIST", value_delimiter = ',', allow_negative_numbers = true)]
    pub strength: Vec<f64>,

    /// Which files to write for each photo [default: overlay; strip with several strengths]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub save: Vec<Kind>,

    #[command(flatten)]
    pub show: ShowArgs,
    #[command(flatten)]
    pub map: MapArgs,
    #[command(flatten)]
    pub pictures: PictureArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

const REPORT_EXAMPLE: &str = "\
Example:
  fieldmark report photo.jpg \"red-winged blackbird shoulder\" \"yellow head\" \"rusty blackbird\"";

const LOCALIZE_EXAMPLES: &str = "\
Examples:
  fieldmark localize \"red-winged blackbird shoulder\" photo.jpg \\
      --against \"yellow-headed blackbird\" --against \"rusty blackbird\"
  fieldmark localize \"red-winged blackbird\" photo.jpg --concepts birds --by image
  fieldmark localize \"orange beak\" photos/ --save overlay,map --json > results.jsonl";

/// Which rivals are to be found.
#[derive(Debug, Args)]
#[command(next_help_heading = "Rivals")]
pub struct RivalArgs {
    /// A list of concepts among which rivals are found: one that ships (see `fieldmark prompts`) or a file.
    #[arg(long, value_name = "NAME or FILE")]
    pub concepts: Option<PathBuf>,

    /// How many rivals are found [default: 3; 1 with --by group]
    #[arg(long, value_name = "K", requires = "concepts",
          value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub nearest: Option<usize>,

    /// By what they are found.
    #[arg(long, value_enum, default_value_t = ByName::Text, requires = "concepts")]
    pub by: ByName,

    /// Concepts whose text is more similar to the prompt's than this cosine are taken for synonyms and passed over
    /// [default: 0.95; 1, which is none, for the classes of a data set]
    #[arg(long, value_name = "X", requires = "concepts", allow_negative_numbers = true)]
    pub synonym_threshold: Option<f64>,
}

/// By what rivals are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ByName {
    /// Their words are most similar to the prompt's.
    Text,
    /// They fit the photo best, as in the Finer-CAM paper.
    Image,
    /// What the prompt belongs to: "blackbird" for "rusty blackbird".
    Group,
}

/// Compare prompts, or a whole list of concepts, on one photo
///
/// Ranks all of them by how well they fit, and draws one sheet with the photo and the prompts' signed maps on one
/// shared scale. Of a list, the best get a map.
#[derive(Debug, Args)]
#[command(after_help = COMPARE_EXAMPLES)]
pub struct CompareArgs {
    /// The photo; - is standard input.
    pub image: PathBuf,

    /// The prompts, two or more; with --concepts, none or more.
    #[arg(required_unless_present = "concepts", value_name = "PROMPT")]
    pub prompts: Vec<String>,

    /// A list of concepts that compete too: one that ships (see `fieldmark prompts`) or a file.
    #[arg(long, value_name = "NAME or FILE")]
    pub concepts: Option<PathBuf>,

    /// How many of the list's concepts get a map: those that fit best.
    #[arg(long, value_name = "K", default_value_t = 8, requires = "concepts")]
    pub top: usize,

    /// Tell every prompt that has a map from every other: a table, and a picture of the first ten.
    #[arg(long)]
    pub matrix: bool,

    /// Above 0, every prompt is contrasted with all the others [default: 0]
    #[arg(short, long, value_name = "X", allow_negative_numbers = true)]
    pub strength: Option<f64>,

    /// Compare methods too, on one sheet with a row for each: their names, separated by commas, or all.
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with_all = ["method", "coco", "matrix", "report"],
          value_parser = PossibleValuesParser::new(method_names().chain([ALL_METHODS])))]
    pub methods: Vec<String>,

    /// Which files to write: the sheet, and of each prompt what `localize` can write.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "sheet")]
    pub save: Vec<CompareKind>,

    #[command(flatten)]
    pub show: ShowArgs,
    #[command(flatten)]
    pub map: MapArgs,
    #[command(flatten)]
    pub pictures: PictureArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

const COMPARE_EXAMPLES: &str = "\
Examples:
  fieldmark compare photo.jpg \"red-winged blackbird\" \"rusty blackbird\"
  fieldmark compare photo.jpg --concepts birds --template birds --top 5 --matrix";

/// In place of the methods' names: every one of them.
pub const ALL_METHODS: &str = "all";

fn precision() -> impl TypedValueParser<Value = Precision> {
    PossibleValuesParser::new(Precision::NAMES.iter().copied()).try_map(|name| name.parse())
}

fn method_names() -> impl Iterator<Item = &'static str> {
    METHODS.iter().map(|method| method.name())
}

fn objective_names() -> impl Iterator<Item = &'static str> {
    OBJECTIVES.iter().map(|objective| objective.name())
}

/// List the methods: what each shows, what it costs, and who describes it
#[derive(Debug, Args)]
pub struct MethodsArgs {
    /// Print one JSON object a line instead of a table for people.
    #[arg(long)]
    pub json: bool,
}

/// List the concepts and templates that ship
///
/// Without a name, the lists and the sets of templates. With one, what is in it, in the format of a list of your own;
/// a file of your own is read and shown in the same way.
#[derive(Debug, Args)]
pub struct PromptsArgs {
    /// A list of concepts, a set of templates, or a file with a list.
    #[arg(value_name = "NAME or FILE")]
    pub name: Option<PathBuf>,

    /// Print one JSON object a line instead of a list for people.
    #[arg(long)]
    pub json: bool,
}

/// Ask a list of prompts of many photos, with a page of all results
///
/// Every photo is compared with all prompts of the list, in one pass. The output directory gets an index.html with
/// thumbnails, verdicts and scores to sort and filter, a report for every photo in which rivals and strength can be
/// changed, results.jsonl, and run.json, from which the run can be made again.
#[derive(Debug, Args)]
#[command(after_help = BATCH_EXAMPLES)]
pub struct BatchArgs {
    /// A list of prompts: one that ships (see `fieldmark prompts`) or a file.
    #[arg(required_unless_present = "from", value_name = "PROMPTS")]
    pub prompts: Option<PathBuf>,

    /// Photos; a directory means the images in it.
    #[arg(required_unless_present = "from", value_name = "IMAGE")]
    pub images: Vec<PathBuf>,

    /// Go on with the run in the output directory: photos that are done with the same settings are left alone.
    #[arg(long)]
    pub resume: bool,

    /// Make a run again, from its run.json: prompts, photos, model and settings are those of then.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompts", "images", "strength", "save", "MapArgs", "PictureArgs", "model"])]
    pub from: Option<PathBuf>,

    /// Above 0, every prompt is contrasted with all the others [default: 0; 1 with --aggregate softmax]
    #[arg(short, long, value_name = "X", allow_negative_numbers = true)]
    pub strength: Option<f64>,

    /// Which files to write for each photo and prompt, beside the thumbnails.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "overlay,report")]
    pub save: Vec<CompareKind>,

    #[command(flatten)]
    pub map: MapArgs,
    #[command(flatten)]
    pub pictures: PictureArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

const BATCH_EXAMPLES: &str = "\
Examples:
  fieldmark batch blackbirds photos/ --output birds
  fieldmark batch blackbirds photos/ --output birds --resume
  fieldmark batch --from birds/run.json --output birds-again";

/// Fetch checkpoints from the Hub into the Hugging Face cache
///
/// Only the files that are needed are fetched; an interrupted download is resumed. Python finds the files, and what
/// Python fetched is found here.
#[derive(Debug, Args)]
pub struct DownloadArgs {
    /// Hub ids: `org/name`, or `org/name@revision`.
    #[arg(required = true, value_name = "MODEL")]
    pub models: Vec<OsString>,

    /// Never touch the network: only say whether everything is in the cache.
    #[arg(long)]
    pub offline: bool,

    /// Print one JSON object a line instead of a list for people.
    #[arg(long)]
    pub json: bool,
}

/// List the checkpoints that are known to work, or tell what was understood of one
///
/// Without a name: parameters, input, grid and licence of every checkpoint in the catalogue, and what the cache has.
/// With a name: its towers, preprocessing, tokenizer, files and tensors, from the headers alone. A checkpoint with
/// tensors that are missing or too many is told in full, and the exit status is 2.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    /// A Hub id (`org/name`, `org/name@revision`), a directory, a file of weights, or `miniature`.
    pub model: Option<OsString>,

    /// Never touch the network (also HF_HUB_OFFLINE=1). Only a name can need it.
    #[arg(long)]
    pub offline: bool,

    /// Print one JSON object a line instead of a list for people.
    #[arg(long)]
    pub json: bool,
}

/// Print a script by which a shell completes commands and options
///
/// For bash: fieldmark completions bash > ~/.local/share/bash-completion/completions/fieldmark
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
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
}

/// How maps are made.
#[derive(Debug, Args)]
#[command(next_help_heading = "Map")]
pub struct MapArgs {
    /// How activations and gradients become a map [default: what the checkpoint recommends, else grad-cam]
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(method_names()))]
    pub method: Option<String>,

    /// The block that is explained, or the first of several; negative counts from the end [default: the method's own,
    /// mostly the last]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub layer: Option<i64>,

    /// Which evidence belongs to a region: peak:X, at least X of the largest; otsu, Otsu's cut between strong and
    /// weak; share:X, the strongest that make up X of all positive evidence.
    #[arg(long, value_name = "RULE", default_value_t = Threshold::default())]
    pub threshold: Threshold,

    /// How several rivals are put together; softmax explains the prompt's probability among them, and logit the prompt
    /// alone: rivals then count for probability and verdict, not for the map.
    #[arg(long, value_name = "NAME", default_value = "mean",
          value_parser = PossibleValuesParser::new(objective_names()))]
    pub aggregate: String,

    #[command(flatten)]
    pub view: ViewArgs,
}

/// What the maps of one run have in common.
#[derive(Debug, Args)]
#[command(next_help_heading = "Map")]
pub struct ViewArgs {
    /// Several blocks in place of --layer, whose maps become one: 9..11 (both ends included), -3..-1, or 9,10,11.
    #[arg(long, value_name = "RANGE", allow_hyphen_values = true, conflicts_with = "layer")]
    pub layers: Option<Layers>,

    /// How the maps of --layers become one.
    #[arg(long, value_enum, default_value_t = CombinationName::Mean, requires = "layers")]
    pub layers_combine: CombinationName,

    /// How the photo is fitted to the model.
    #[arg(long, value_enum, default_value_t = FitName::Whole)]
    pub fit: FitName,

    /// With --fit whole: this many times the model's resolution along each side, to find small things.
    #[arg(long, value_name = "X", default_value_t = 1.0, allow_negative_numbers = true)]
    pub detail: f64,

    /// Also look at the photo in overlapping tiles, to find small things in large photos: so many along the shorter
    /// side, auto for about as many as its pixels bear, or off. Each tile takes a pass through the model.
    #[arg(long, value_name = "N, auto or off", default_value_t = Tiles::default())]
    pub tiles: Tiles,

    /// What becomes of evidence on tokens that are not about their place, as large models have some: keep or suppress.
    #[arg(long, value_name = "keep or suppress", default_value = "keep")]
    pub artifacts: Artifacts,

    /// Refine the finished map: affinity shares evidence between patches that attend to each other, guided follows
    /// the photo's edges. Of both, affinity comes first.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub refine: Vec<Refinement>,

    /// How prompts are phrased: a text in which {} stands for the prompt, or a set that ships (see `fieldmark
    /// prompts`). Repeatable: several are averaged.
    #[arg(long, value_name = "TEXT or NAME", default_value = "{}")]
    pub template: Vec<String>,
}

/// Which checkpoint, and where it runs.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// Hub id (`org/name`, `org/name@revision`), a directory, a file of weights, or `miniature`, which ships with the program.
    #[arg(short, long, value_name = "MODEL", default_value = "openai/clip-vit-base-patch16")]
    pub model: OsString,

    /// Where to compute [default: the best that was compiled in]
    #[arg(long, value_enum)]
    pub device: Option<DeviceName>,

    /// With how many digits the trunk multiplies; bf16 is several times faster on processors with AMX or AVX-512 BF16,
    /// and its maps agree with f32 to some percent; auto is f32.
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = precision())]
    pub precision: Precision,

    /// Never touch the network (also HF_HUB_OFFLINE=1).
    #[arg(long)]
    pub offline: bool,

    /// Neither take the embeddings of prompts from earlier runs nor keep them for later ones.
    #[arg(long)]
    pub no_text_cache: bool,
}

/// Results beside the files of each photo.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Also write a page in which target, rivals, strength and colours can be changed, into this file; for one photo. `-` is
    /// standard output.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    /// Also write the regions of all photos into one COCO-style JSON file: boxes, outlines, areas and scores.
    /// `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub coco: Option<PathBuf>,

    /// When to show the result in the terminal, or how; auto: for one photo, on a terminal, and without --json.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Preview::Auto)]
    pub preview: Preview,
}

/// How pictures are drawn.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct PictureArgs {
    /// How much evidence gets the last colour of overlays, layers and heatmaps: own, the largest of the photo, so that
    /// weak and strong photos look alike; run, the largest of all photos; or a number above 0 in the map's unit, mostly
    /// logits. With run, all maps are written, too, and the pictures are drawn when the last photo is done.
    #[arg(long, value_name = "own, run or X", default_value_t = ScaleRule::default(), allow_negative_numbers = true)]
    pub scale: ScaleRule,

    /// Add a colour bar below overlays and heatmaps, which are then higher than the photo.
    #[arg(long)]
    pub bar: bool,
}

/// Where results go.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// The directory for files; it is made if it is missing.
    #[arg(short, long, value_name = "DIR", default_value = "fieldmark-out")]
    pub output: PathBuf,

    /// Print one JSON object a line on standard output instead of a table for people.
    #[arg(long)]
    pub json: bool,

    /// The most pixels that an image may have; larger ones are refused before they are decoded.
    #[arg(long, value_name = "N", default_value_t = fieldmark::PhotoOptions::default().pixel_limit)]
    pub pixel_limit: u64,
}

/// What can be written for one prompt on one photo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The photo with the evidence drawn over it (PNG).
    Overlay,
    /// The colours of the overlay alone, with transparency, at the photo's size (PNG).
    Layer,
    /// The signed map in colours, at the photo's size (PNG).
    Heatmap,
    /// The signed map: float32, rows by columns (.npy).
    Map,
    /// The signed map at the photo's size: float32 (.npy); NaN where --fit crop left the photo out.
    Full,
    /// White where the evidence reaches the threshold (PNG, at the photo's size).
    Mask,
    /// Which region each pixel belongs to, counted from 1 as in the JSON; 0 is none (PNG, indexed colours).
    Instances,
    /// The regions as a table, one a row (CSV).
    Csv,
    /// The photo and the map at every strength, in one row on one scale (PNG).
    Strip,
    /// Nothing.
    None,
}

/// What `compare` can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompareKind {
    /// The photo and all maps on one scale (PNG).
    Sheet,
    /// A page in which target, rivals, strength and colours can be changed (HTML).
    Report,
    /// The photo with one prompt's evidence drawn over it, on the scale of all (PNG).
    Overlay,
    /// The colours of the overlay alone, with transparency, at the photo's size (PNG).
    Layer,
    /// One prompt's signed map in colours, on the scale of all (PNG).
    Heatmap,
    /// One prompt's signed map: float32, rows by columns (.npy).
    Map,
    /// One prompt's signed map at the photo's size: float32 (.npy).
    Full,
    /// White where one prompt's evidence reaches the threshold (PNG, at the photo's size).
    Mask,
    /// Which of one prompt's regions each pixel belongs to, counted from 1; 0 is none (PNG, indexed colours).
    Instances,
    /// One prompt's regions as a table, one a row (CSV).
    Csv,
    /// Nothing.
    None,
}

/// When a picture is shown in the terminal, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preview {
    /// For one photo, where standard output is a terminal: in the best way that it is known to have.
    Auto,
    /// For every photo, wherever standard output goes.
    Always,
    Never,
    /// Always, by kitty's graphics protocol.
    Kitty,
    /// Always, as an inline image of iTerm2.
    Iterm2,
    /// Always, in sixels.
    Sixel,
    /// Always, as half blocks in 24-bit colours.
    Blocks,
}

/// How the maps of several layers become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CombinationName {
    /// Their mean, with its sign and unit.
    Mean,
    /// The product of their positive parts, each over its peak: from 0 to 1, where all layers agree.
    Product,
}

/// How a photo becomes the model's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FitName {
    /// All of it at its own aspect, on as many patches as the model was trained on.
    Whole,
    /// All of it, squashed into the model's square.
    Squash,
    /// The checkpoint's own preprocessing, which cuts off the edges.
    Crop,
}

/// Where to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeviceName {
    Cpu,
    Cuda,
    Metal,
}

//! What can be written and shown.

use std::str::FromStr;

use clap::ValueEnum;
use fieldmark::{Error, run::FileKind};

/// What `--save` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File(FileKind),
    /// No files.
    None,
}

impl Kind {
    /// The name of no files.
    pub const NONE: &'static str = "none";

    /// The kind of file; none of no files.
    pub fn of_file(self) -> Option<FileKind> {
        match self {
            Self::File(kind) => Some(kind),
            Self::None => None,
        }
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        if name == Self::NONE { Ok(Self::None) } else { name.parse().map(Self::File) }
    }
}

/// Whether commands that ask one prompt write such files.
pub fn is_of_one_prompt(kind: FileKind) -> bool {
    !matches!(kind, FileKind::Sheet | FileKind::Report)
}

/// Whether commands that ask several prompts write such files.
pub fn is_of_several_prompts(kind: FileKind) -> bool {
    kind != FileKind::Strip
}

/// What a kind of file is, for help texts.
pub fn help(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Sheet => "The photo and all maps on one scale (PNG)",
        FileKind::Report => {
            "An interactive page in which target, rivals, strength and colours can be changed (HTML)"
        }
        FileKind::Overlay => "The photo with the evidence drawn over it (PNG)",
        FileKind::Layer => "The overlay's colours alone, with transparency, at the photo's size (PNG)",
        FileKind::Heatmap => "The signed map in colours, at the photo's size (PNG)",
        FileKind::Map => "The signed map: float32, rows by columns (.npy)",
        FileKind::Full => {
            "The signed map at the photo's size: float32 (.npy); NaN where --fit crop left the photo out"
        }
        FileKind::Mask => "White where the evidence reaches the threshold, at the photo's size (PNG)",
        FileKind::Instances => {
            "The region of each pixel, numbered from 1 as in the JSON; 0 means none (PNG, indexed colours)"
        }
        FileKind::Csv => "The regions as a table, one per row (CSV)",
        FileKind::Strip => "The photo and the map at every strength, in one row on one scale (PNG)",
        _ => "",
    }
}

/// When a picture is shown in the terminal, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preview {
    /// For one photo, if standard output is a terminal and without --json, in the best way that the terminal supports
    Auto,
    /// For every photo, also where standard output is no terminal
    Always,
    /// Never
    Never,
    /// Always, by kitty's graphics protocol
    Kitty,
    /// Always, as an inline image of iTerm2
    Iterm2,
    /// Always, as sixels
    Sixel,
    /// Always, as half blocks in 24-bit colours
    Blocks,
}

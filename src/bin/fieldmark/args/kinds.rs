//! What can be written and shown.

use clap::ValueEnum;
use fieldmark::{named::Named, run::FileKind};

/// What can be written for one prompt on one photo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The photo with the evidence drawn over it (PNG)
    Overlay,
    /// The overlay's colours alone, with transparency, at the photo's size (PNG)
    Layer,
    /// The signed map in colours, at the photo's size (PNG)
    Heatmap,
    /// The signed map: float32, rows by columns (.npy)
    Map,
    /// The signed map at the photo's size: float32 (.npy); NaN where --fit crop left the photo out
    Full,
    /// White where the evidence reaches the threshold, at the photo's size (PNG)
    Mask,
    /// The region of each pixel, numbered from 1 as in the JSON; 0 means none (PNG, indexed colours)
    Instances,
    /// The regions as a table, one per row (CSV)
    Csv,
    /// The photo and the map at every strength, in one row on one scale (PNG)
    Strip,
    /// No files
    None,
}

impl Kind {
    /// The kind of file; none of no files.
    pub fn of_file(self) -> Option<FileKind> {
        FileKind::find(self.to_possible_value()?.get_name())
    }
}

/// What `compare` can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompareKind {
    /// The photo and all maps on one scale (PNG)
    Sheet,
    /// An interactive page in which target, rivals, strength and colours can be changed (HTML)
    Report,
    /// The photo with one prompt's evidence drawn over it, on the scale of all (PNG)
    Overlay,
    /// The overlay's colours alone, with transparency, at the photo's size (PNG)
    Layer,
    /// One prompt's signed map in colours, on the scale of all (PNG)
    Heatmap,
    /// One prompt's signed map: float32, rows by columns (.npy)
    Map,
    /// One prompt's signed map at the photo's size: float32 (.npy)
    Full,
    /// White where one prompt's evidence reaches the threshold, at the photo's size (PNG)
    Mask,
    /// The region of each pixel for one prompt, numbered from 1; 0 means none (PNG, indexed colours)
    Instances,
    /// One prompt's regions as a table, one per row (CSV)
    Csv,
    /// No files
    None,
}

impl CompareKind {
    /// The kind of file; none of no files.
    pub fn of_file(self) -> Option<FileKind> {
        FileKind::find(self.to_possible_value()?.get_name())
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

//! Where the results of a command go: a folder for the files of each photo, and files of their own for some.

use std::path::PathBuf;

use anyhow::Result;
use fieldmark::{Explainer, regions::Threshold, run::NewFolders};

use crate::{
    args::{OutputArgs, ShowArgs},
    destination::Destination,
};

/// Where a command's results go.
pub struct Outputs {
    pub coco: Option<Destination>,
    pub report: Option<Destination>,
    /// Whether standard output is for results alone, rather than for a table or JSON.
    pub prints: bool,
    _new: Option<NewFolders>,
}

/// Makes the results' directory, if files are written there, and looks at single files, before long work.
pub fn prepare_output(args: &OutputArgs, show: &ShowArgs, writes: bool) -> Result<Outputs> {
    let new = if writes { Some(NewFolders::prepare(&args.output)?) } else { None };
    let prepare = |option, path: &Option<PathBuf>| {
        path.as_deref().map(|path| Destination::prepare(option, path)).transpose()
    };
    let (coco, report) = (prepare("--coco", &show.coco)?, prepare("--report", &show.report)?);
    Destination::check_distinct(coco.as_ref(), report.as_ref())?;
    let files: Vec<&Destination> = coco.iter().chain(&report).collect();
    Destination::check_standard_output(&files, args.json)?;
    let prints = !files.iter().any(|file| file.is_standard_output());
    Ok(Outputs { coco, report, prints, _new: new })
}

/// What a COCO file of these maps says of itself.
pub fn coco_description(explainer: &Explainer, threshold: Threshold) -> String {
    format!("places where {} sees the prompts, by fieldmark; threshold {threshold}", explainer.name())
}

//! One command per file, and how a run over many photos goes on and ends.

pub mod batch;
pub mod compare;
pub mod completions;
pub mod download;
pub mod evaluate;
pub mod localize;
pub mod man;
pub mod methods;
pub mod models;
pub mod prompts;
pub mod reference;

use std::io::{self, ErrorKind};

use anyhow::Result;
use fieldmark::{Error, Explainer, Settings, refine::Tiles};

use crate::{
    args::settings::{methods, page_options, page_strength, rivals, settings, strength, strengths, view},
    checkpoint::{load, model_hash},
    exit::{Exit, is_broken_pipe},
    in_order::AT_ONCE,
    output_folder::{Outputs, coco_description, prepare_output},
    preview::protocol as preview,
    terminal::Terminal,
};

/// How many groups of photos are at work at once, and how many photos are in one.
fn at_once(explainer: &Explainer, settings: &Settings) -> Result<(usize, usize)> {
    match settings.tiles {
        Tiles::Off => Ok((AT_ONCE, explainer.photos_together(settings)?)),
        // Passes over tiles are told one by one, of one photo.
        _ => Ok((1, 1)),
    }
}

/// Whether an error would come again with every photo: what is wrong is the model, or the place of the results.
pub fn would_come_again(error: &anyhow::Error) -> bool {
    match error.downcast_ref() {
        Some(Error::Weights { .. } | Error::Config { .. } | Error::Tokenizer { .. }) => true,
        Some(Error::Write { source, .. }) => is_about_the_place(source),
        _ => false,
    }
}

/// Whether nothing can be written in a place any more, rather than one file of it.
fn is_about_the_place(error: &io::Error) -> bool {
    /// An error of input or output.
    const EIO: i32 = 5;
    match error.kind() {
        ErrorKind::StorageFull
        | ErrorKind::QuotaExceeded
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::NotFound
        | ErrorKind::NotADirectory
        | ErrorKind::StaleNetworkFileHandle
        | ErrorKind::PermissionDenied => true,
        _ => cfg!(unix) && error.raw_os_error() == Some(EIO),
    }
}

/// Answers that are of one checkpoint: it did not change meanwhile.
fn if_unchanged<A>(explainer: &Explainer, answers: Vec<Result<A>>) -> Vec<Result<A>> {
    let check = |answer: Result<A>| {
        let answer = answer?;
        explainer.model().check_unchanged()?;
        Ok(answer)
    };
    answers.into_iter().map(check).collect()
}

/// The end of a run that could not go on: what is done stays done. That nobody reads the results any more is no failure.
fn ended_early(error: anyhow::Error, done: usize, terminal: &Terminal) -> Result<Exit> {
    if done == 0 || is_broken_pipe(&error) {
        return Err(error);
    }
    terminal.error(&error);
    Ok(Exit::SomeFailed)
}

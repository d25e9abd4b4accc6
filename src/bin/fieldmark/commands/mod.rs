//! One command per file, and how a run over many photos goes on and ends.

pub mod batch;
pub mod compare;
pub mod completions;
pub mod download;
mod earlier;
pub mod evaluate;
pub mod localize;
pub mod man;
pub mod methods;
pub mod models;
pub mod prompts;

use anyhow::Result;
use fieldmark::{Explainer, Settings, run::Runner};

use crate::{
    args::settings::{methods, page_options, page_strength, rivals, settings, strength, strengths, view},
    checkpoint::{load, model_hash},
    exit::{Exit, is_broken_pipe},
    output_folder::{Outputs, coco_description, prepare_output},
    preview::protocol as preview,
    signals,
    terminal::Terminal,
};

/// How the photos of a run are worked on.
fn runner<'t>(explainer: &Explainer, settings: &Settings, terminal: &'t Terminal) -> Result<Runner<'t>> {
    Ok(Runner::suited(explainer, settings)?.with_progress(terminal).cancelled_by(&signals::cancel()))
}

/// Answers that are of one checkpoint: it did not change meanwhile.
fn if_unchanged<A>(
    explainer: &Explainer,
    answers: impl IntoIterator<Item = fieldmark::Result<A>>,
) -> Vec<fieldmark::Result<A>> {
    let check = |answer: fieldmark::Result<A>| {
        let answer = answer?;
        explainer.model().check_unchanged()?;
        Ok(answer)
    };
    answers.into_iter().map(check).collect()
}

/// The end of a run that could not go on: what is done stays done. That nobody reads the results any more is no failure.
fn ended_early(error: anyhow::Error, done: usize, terminal: &Terminal) -> Result<Exit> {
    signals::wait_if_ending();
    if done == 0 || is_broken_pipe(&error) {
        return Err(error);
    }
    terminal.error(&error);
    Ok(Exit::SomeFailed)
}

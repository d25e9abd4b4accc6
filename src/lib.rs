//! Shows where in a photograph a CLIP-family model sees a concept, and what sets it apart from its rivals.
//!
//! A concept is a few words, "red-winged blackbird shoulder"; its rivals are other words, "rusty blackbird". The
//! answer is a map of signed evidence on the photo, in logits, with the numbers that belong to it. The method is
//! Finer-CAM (Zhang et al., CVPR 2025, arXiv 2501.11309) on text prompts: what is explained is the *difference*
//! between the target's logit and its rivals', not the target's logit alone.
//!
//! # How an answer comes about
//!
//! ```text
//! photo ──decode, fit──> pixels ──trunk──> activations A  [tokens, width]
//!                                               │
//!                                             head
//!                                               │
//!                                               v
//!                                        image embedding ──┐
//!                                                          ├─ scale · cosine ──> logits ──objective──> S
//! prompts ──tokenize──> ids ──text tower──> text embeddings┘                                           │
//!                                                                                                      │
//! signed map [rows, columns] <──method── A and its gradient ∂S/∂A <────────────────────────────────────┘
//!     │
//!     └──> peak, regions, verdict, pictures, report
//! ```
//!
//! The trunk is what lies before the chosen layer's `ln_1` output, the head what lies behind it; only the head is
//! differentiated. The gradient is linear in the prompts, so any mix of them costs one pass.
//!
//! # Example
//!
//! ```
//! use fieldmark::{Explainer, Photo, Query};
//!
//! # fn main() -> fieldmark::Result<()> {
//! let explainer = Explainer::load("miniature")?; // it ships; or a directory with a checkpoint
//! let photo = Photo::open("tests/fixtures/photos/shapes-96x64.png")?;
//! let query = Query::new("red-winged blackbird shoulder").against(["yellow-winged blackbird shoulder"]);
//!
//! let found = explainer.localize(&photo, &query)?;
//! println!("{}: {}", found.report.target.prompt, found.report.evidence.verdict);
//! for region in &found.report.place.regions {
//!     println!("{:.0} % at {}, {}", region.share * 100.0, region.x, region.y);
//! }
//! let picture = found.overlay(&photo); // an `image::RgbImage` of the photo's size
//! # assert_eq!((picture.width(), picture.height()), (96, 64));
//! # Ok(())
//! # }
//! ```
//!
//! A checkpoint of the Hugging Face Hub is fetched into the usual cache by [`Explainer::load`]. The library reads no
//! environment variables; a program that honours `HF_HOME`, `HF_TOKEN` and the like passes its own in:
//!
//! ```no_run
//! use fieldmark::{Explainer, model::hub::HubOptions, explain::LoadOptions, progress::Silent};
//!
//! # fn main() -> fieldmark::Result<()> {
//! let hub = HubOptions::from_environment(&|name| std::env::var(name).ok());
//! let options = LoadOptions::default().hub(hub);
//! let explainer = Explainer::load_with("openai/clip-vit-base-patch16", &options, &Silent)?;
//! # Ok(())
//! # }
//! ```
//!
//! # Modules, in reading order
//!
//! **A module uses only those above it**; a test holds the code to that.
//!
//! | module | turns |
//! |---|---|
//! | [`error`] | what can go wrong into one [`Error`] |
//! | [`named`](mod@named) | an enum into names on the command line, in JSON and in messages |
//! | [`guard`] | a panic inside a foreign decoder into an error of its input |
//! | [`device`] | a choice into an available device |
//! | [`files`] | results into files, named without collisions and written whole; files into bytes, within a bound |
//! | [`geometry`] | pixels of the photo into cells of the grid, and back |
//! | [`progress`] | what happens during long work into events |
//! | [`random`] | a seed into numbers that are the same everywhere |
//! | [`photo`] | an image file into upright RGB pixels |
//! | [`folder`] | a folder into its photos, and counts of what is left out |
//! | [`model`] | a name into a checkpoint that is ready to run |
//! | [`prompt`] | concepts into the words that the model reads |
//! | [`embed`] | embeddings into similarities, logits and probabilities |
//! | [`feature`] | the tokens of a tower into the vector that a target is compared with |
//! | [`targets`] | texts, classes, photos and vectors into named directions of a feature |
//! | [`numpy`] | NumPy's files into arrays |
//! | [`head`] | the file of a classifier's last layer into targets |
//! | [`objective`] | logits into the one scalar that is explained |
//! | [`gradient`] | pixels into one layer's activations and their gradients |
//! | [`attribution`] | activations and gradients into a signed map |
//! | [`refine`] | a map into a better one: along the photo's edges, in closer looks, without artefacts |
//! | [`regions`] | a map into its peak, its regions with outlines, and points for a segmenter |
//! | [`metric`] | a map and what is known of the picture into a number; numbers into intervals and tests |
//! | [`dataset`] | files into pictures with questions whose answers are known |
//! | [`verdict`] | similarities into present, weak or absent |
//! | [`render`] | maps and their photo into pictures |
//! | [`report`] | all of it into records for people and programs |
//! | [`page`] | records, maps and photo into pages that can be played with |
//! | [`coco`] | regions of many photos into COCO-style annotations |
//! | [`explain`] | a photo and a query into the answer: the only module that knows all stages |
//! | [`run`] | many photos into results, in their order, with a journal from which a run goes on |
//! | [`evaluate`] | a data set and a checkpoint into figures, with their intervals |
//!
//! # Where to go
//!
//! - One concept on one photo: [`Explainer::localize`]. Several on one scale: [`Explainer::compare`].
//! - Rivals from a list of concepts: [`Query::with_rivals`] and [`prompt::ConceptList`]. A whole list on one photo:
//!   [`Explainer::rank`]. Several strengths from one pass: [`Explainer::sweep`].
//! - What can be set: [`Settings`]; what a field of the answer means: [`report`].
//! - The numbers themselves: [`attribution::ConceptMap`].
//! - Other colours, a mask, a sheet: [`render`]. A page to play with: [`explain::Compare::page`].
//! - Another method or objective: implement [`attribution::Method`] or [`objective::Objective`] and hand it to
//!   [`Explainer::with_method`] or [`Explainer::with_objective`].
//! - Whether maps find the concepts of annotated photos, and whether contrast helps: [`evaluate`].
//! - Stage by stage, without [`Explainer`]: [`model::Model`], [`gradient::LayerTrace`], [`embed::logit_gradients`].
//!
//! The library never prints, exits, draws progress bars or reads environment variables.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `hub` | yes | fetching checkpoints from the Hub; without it, what is in the cache can still be used |
//! | `serve` | yes | [`serve`]: a page and an HTTP API on the user's own machine |
//! | `cli` | yes | the program `fieldmark`; a library user turns it off |
//! | `cuda`, `cudnn`, `metal`, `mkl`, `accelerate` | no | candle's backends |

#![cfg_attr(docsrs, feature(doc_cfg))]
// The page names the modules of these features.
#![cfg_attr(not(all(feature = "evaluate", feature = "serve")), allow(rustdoc::broken_intra_doc_links))]

/// The tensors of [`gradient`] and [`attribution`], in the version that they are made with.
pub use candle_core;
#[cfg(feature = "evaluate")]
pub use fieldmark_evaluate::{dataset, evaluate, metric};
pub use fieldmark_explain::{
    attribution, coco, explain, objective, page, prompt, refine, regions, render, report, run, verdict,
};
pub use fieldmark_model::{
    device, digest, embed, error, feature, files, folder, geometry, gradient, guard, head, model, named,
    numpy, photo, progress, random, targets,
};
/// The page and the HTTP API of `fieldmark serve`.
#[cfg(feature = "serve")]
pub use fieldmark_serve as serve;

pub use error::{Error, Result};
pub use explain::{Explainer, Query, Settings};
pub use photo::{Photo, PhotoOptions};

/// What most programs need: `use fieldmark::prelude::*;`.
pub mod prelude {
    pub use crate::{
        Error, Explainer, Photo, PhotoOptions, Query, Result, Settings,
        attribution::ConceptMap,
        explain::{Compare, CompareQuery, Found, Layers, LoadOptions, Rivals},
        model::hub::HubOptions,
        objective::Strength,
        progress::{Event, ProgressHandler, Silent, Warning},
        prompt::{ConceptList, Template},
        render::RenderOptions,
    };
}

//! Signed, contrastive evidence maps: objectives, attribution methods, refinement, regions, pictures and records.
//!
//! Most users want the crate `fieldmark`, which exports these modules.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod prompt;
pub mod objective;
pub mod attribution;
pub mod refine;
pub mod regions;
pub mod verdict;
pub mod render;
pub mod report;
pub mod page;
pub mod coco;
pub mod explain;
pub mod run;

pub use explain::{Explainer, Query, Settings};

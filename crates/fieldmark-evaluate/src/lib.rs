//! Metrics, data sets and evaluation.
//!
//! Most users want the crate `fieldmark`, which exports these modules.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod metric;
pub mod dataset;
pub mod evaluate;

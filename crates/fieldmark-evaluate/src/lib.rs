//! Metrics, data sets and evaluation.
//!
//! Most users want the crate `fieldmark`, which exports these modules.

pub mod metric;
pub mod dataset;
pub mod evaluate;

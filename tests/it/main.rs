//! All integration tests in one binary: every test binary links candle again.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "a test may show what it measured")]

#[cfg(feature = "cli")]
mod attack;
#[cfg(feature = "cli")]
mod batch;
#[cfg(feature = "cli")]
mod browser;
#[cfg(feature = "cli")]
mod book;
#[cfg(feature = "cli")]
mod cli;
mod checkpoints;
mod classifiers;
mod datasets;
mod device;
mod engine;
#[cfg(feature = "cli")]
mod evaluate;
#[cfg(feature = "cli")]
mod evaluate_runs;
#[cfg(feature = "hub")]
mod fake_hub;
#[cfg(feature = "cli")]
mod forms;
#[cfg(feature = "cli")]
mod help;
#[cfg(feature = "cli")]
mod hostile;
#[cfg(feature = "cli")]
mod hostile_checkpoints;
#[cfg(feature = "hub")]
mod hub;
#[cfg(feature = "hub")]
mod hub_cache;
#[cfg(feature = "hub")]
mod hub_network;
#[cfg(feature = "hub")]
mod hub_xet;
#[cfg(feature = "cli")]
mod inputs;
#[cfg(feature = "cli")]
mod lists;
mod methods;
mod metrics;
mod miniature;
mod open_clip;
mod own_methods;
#[cfg(feature = "cli")]
mod page;
#[cfg(feature = "cli")]
mod pages;
#[cfg(feature = "cli")]
mod pictures;
#[cfg(feature = "cli")]
mod models;
mod parity;
mod parity_attention;
mod photo;
mod photo_headers;
mod photo_odd;
mod precision;
#[cfg(feature = "cli")]
mod prompt_option;
mod prompts;
mod properties;
#[cfg(feature = "cli")]
mod records;
#[cfg(feature = "cli")]
mod refine;
#[cfg(feature = "cli")]
mod regions;
mod render;
#[cfg(feature = "cli")]
mod runs;
#[cfg(feature = "cli")]
mod sandbox;
#[cfg(feature = "cli")]
mod schema;
#[cfg(all(feature = "cli", feature = "serve"))]
mod serve;
#[cfg(feature = "cli")]
mod siglip;
#[cfg(feature = "cli")]
mod text_cache;
mod tokenizers;
mod tiff;
#[cfg(feature = "cli")]
mod unknown_words;
mod unsafe_code;
mod words;

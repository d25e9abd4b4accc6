//! All integration tests in one binary: every test binary links candle again.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod architecture;
#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "hub")]
mod fake_hub;
#[cfg(feature = "cli")]
mod hostile;
#[cfg(feature = "hub")]
mod hub;
mod parity;
mod photo;
mod properties;
mod render;
#[cfg(feature = "cli")]
mod sandbox;

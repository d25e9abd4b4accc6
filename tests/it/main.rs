//! All integration tests in one binary: every test binary links candle again.

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
mod render;
#[cfg(feature = "cli")]
mod sandbox;

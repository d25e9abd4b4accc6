//! All integration tests in one binary: every test binary links candle again.

mod evaluate;
#[cfg(feature = "hub")]
mod hub;
mod parity;
mod photo;
mod render;

//! All integration tests in one binary: every test binary links candle again.

#[cfg(feature = "hub")]
mod hub;
mod parity;
mod render;

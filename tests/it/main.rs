//! All integration tests in one binary: every test binary links candle again.
mod photo;

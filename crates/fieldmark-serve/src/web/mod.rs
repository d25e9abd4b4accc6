//! HTTP: requests become questions, answers become responses.

mod accept;
mod ask;
mod assets;
mod concepts;
mod gate;
mod info;
mod openapi;
mod photos;
mod problem;
mod question;
mod router;
mod search;
mod state;

pub use openapi::openapi;
pub(crate) use router::router;

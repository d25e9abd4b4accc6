//! A web page and an HTTP API on the user's own machine, which show where a vision-language model sees a concept.
//!
//! A photo passes the vision tower once and stays in memory; every further question costs a short text and a small
//! product, so that the page can follow typing. The records, maps and pictures are those of the library, to the bit.
//!
//! ```no_run
//! use fieldmark_explain::Explainer;
//! use fieldmark_serve::{ServeOptions, Server};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let explainer = Explainer::load("miniature")?;
//! let server = Server::bind(ServeOptions::default())?;
//! println!("{}", server.url());
//! server.run(&explainer)?; // until `server.handle().stop()`
//! # Ok(())
//! # }
//! ```
//!
//! [`Server::bind`] takes a port, [`Server::run`] answers until it is stopped. Workers, queue, uploads, connections,
//! bodies, pixels, prompts and memory have bounds, which [`ServeOptions`] lists; what exceeds them is refused with a
//! problem document (RFC 9457). Uploads are kept in memory and never written.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod engine;
mod error;
mod options;
mod server;
mod web;

pub use error::{Error, Result};
pub use options::ServeOptions;
pub use server::{Handle, Server};
pub use web::openapi;

//! What can go wrong before a server answers requests.

use std::{io, net::SocketAddr};

/// The result of starting or running a server.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a server cannot start or go on. What is wrong with a request is the client's to know, not an error here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be listened on.
    #[error("{address}: cannot be listened on: {source}")]
    Bind {
        /// The address and port.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The runtime or a thread cannot be started.
    #[error("server: cannot be started: {source}")]
    Start {
        /// What the operating system said.
        source: io::Error,
    },
    /// A list of concepts cannot be read, or a folder.
    #[error(transparent)]
    Content(#[from] fieldmark_model::error::Error),
}

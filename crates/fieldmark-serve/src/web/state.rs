//! What all handlers share.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use fieldmark_model::digest::sha256;
use tokio::sync::Semaphore;

use super::{concepts::Lists, question::Bounds};
use crate::{
    engine::{Engine, Fault, Listed, Tasks},
    options::ServeOptions,
};

/// What all handlers share.
pub(super) struct Shared {
    pub(super) address: SocketAddr,
    /// The hash of the token, so that comparing it takes as long whatever is sent.
    pub(super) token: Option<Vec<u8>>,
    pub(super) tasks: Tasks,
    pub(super) uploads: Semaphore,
    pub(super) searches: Arc<Semaphore>,
    pub(super) upload_bytes: usize,
    pub(super) timeout: Duration,
    pub(super) bounds: Bounds,
    pub(super) lists: Lists,
    pub(super) listed: Vec<Listed>,
    /// `GET /api/v1/server`, which does not change.
    pub(super) info: String,
}

pub(super) type State = axum::extract::State<Arc<Shared>>;

impl Shared {
    /// Hands work to a worker.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        work: impl for<'e, 'm> FnOnce(&'e Engine<'m>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        self.tasks.ask(self.timeout, work).await
    }
}

/// The hash that tokens are compared by.
pub(super) fn token_hash(token: &str) -> Vec<u8> {
    sha256(token.as_bytes()).as_ref().to_vec()
}

/// The files that the page offers, by the ids that they have in addresses.
pub(super) fn listed(options: &ServeOptions) -> Vec<Listed> {
    let named = |(number, path): (usize, &std::path::PathBuf)| Listed {
        id: format!("file-{number}"),
        name: path.to_string_lossy().into_owned(),
    };
    options.photos.iter().enumerate().map(named).collect()
}

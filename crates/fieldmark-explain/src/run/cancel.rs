//! A run is asked to stop.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use fieldmark_model::error::{Error, Result};

/// Asks a run to stop; clones ask the same run, from any thread. A signal handler, a server whose client left and a
/// notebook's stop button call [`cancel`](Self::cancel).
///
/// The run begins nothing new, hands out the photos that are at work, and then ends with
/// [`Error::Cancelled`]. So all finished work is in the journal, and the run can be resumed.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Nothing is cancelled yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for the end. It cannot be taken back.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether the end was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Whether a run ended early. Work that is under way checks it between its steps: its results would be dropped.
#[derive(Debug, Default)]
pub struct Ended(AtomicBool);

impl Ended {
    pub(super) fn end(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether the run goes on.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if it ended.
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::SeqCst) { Err(Error::Cancelled) } else { Ok(()) }
    }
}

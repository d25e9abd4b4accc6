//! The time since a run began.

use std::time::{Duration, Instant};

/// A clock that never goes back. Tests bring their own.
pub(super) trait Clock: Sync {
    /// The time since some moment.
    fn now(&self) -> Duration;
}

/// The system's.
pub(super) struct System(Instant);

impl System {
    /// Begins at zero.
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for System {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

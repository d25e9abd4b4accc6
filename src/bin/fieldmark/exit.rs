//! The exit statuses, all in one place.

use std::process::ExitCode;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done.
    Done,
    /// Some inputs failed, the others were done.
    SomeFailed,
    /// Wrong usage, a model that cannot be used, or no input that could be done.
    NothingDone,
}

impl Exit {
    /// The end of a run over several inputs.
    pub fn of(done: usize, failed: usize) -> Self {
        match (done, failed) {
            (_, 0) => Self::Done,
            (0, _) => Self::NothingDone,
            _ => Self::SomeFailed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::SomeFailed => 1,
            Exit::NothingDone => 2,
        })
    }
}

/// Whether the reader of standard output went away, as `head` does: that is no failure.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.into_iter().any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_follow_what_was_done() {
        assert_eq!(Exit::of(3, 0), Exit::Done);
        assert_eq!(Exit::of(2, 1), Exit::SomeFailed);
        assert_eq!(Exit::of(0, 2), Exit::NothingDone);
    }
}

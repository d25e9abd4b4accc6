//! Why a question has no answer.

use fieldmark_model::error::Error;

/// Why a question has no answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The queue is full.
    Busy,
    /// Nobody answered in time.
    Late,
    /// There is no such photo, or it is not kept any more.
    NoPhoto(String),
    /// The photo takes more memory than all photos may.
    TooLarge { bytes: u64, limit: u64 },
    /// What the library says.
    Library(Error),
    /// A fault of the program.
    Panic(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}

//! What a data set's files hold that is of no use is passed over and counted, and the first is named: people cut sets,
//! and label a million pictures by hand, so that one odd line must not cost all the others.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use fieldmark_model::{
    error::{Error, Result},
    progress::Warning,
};

/// Entries of one kind in one file or folder.
#[derive(Debug)]
pub(super) struct PassedOver {
    path: PathBuf,
    /// What the entries are, such as `annotations`.
    what: &'static str,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    count: usize,
    first: String,
}

impl PassedOver {
    pub(super) fn new(path: &Path, what: &'static str) -> Self {
        Self { path: path.into(), what, found: Mutex::default() }
    }

    /// Counts one; `reason` says where it is and what is wrong.
    pub(super) fn add(&self, reason: String) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.count == 0 {
            found.first = reason;
        }
        found.count += 1;
    }

    /// The value of an entry; none if the entry is of no use, which is counted.
    ///
    /// # Errors
    /// If the file itself cannot be read.
    pub(super) fn unless<T>(&self, entry: Result<T>) -> Result<Option<T>> {
        match entry {
            Ok(value) => Ok(Some(value)),
            Err(Error::Dataset { reason, .. }) => {
                self.add(reason);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// How many there were, and the first of them; none if there was none.
    pub(super) fn warning(&self) -> Option<Warning> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        (found.count > 0).then(|| Warning::PassedOver {
            path: self.path.clone(),
            what: self.what,
            count: found.count,
            first: found.first.clone(),
        })
    }
}

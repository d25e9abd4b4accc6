//! Counts failures and waits between them.

use super::answer::Failure;
use super::client::Client;
use crate::error::{Error, Result};
use crate::progress::{Event, Warning};

/// A download that got this many bytes further has not failed in vain: its retries are counted anew.
const NOTICEABLE: u64 = 1 << 20;

/// Counts failures and waits between them.
pub(super) struct Patience<'a> {
    client: &'a Client<'a>,
    what: &'a str,
    failures: u32,
    reached: u64,
}

impl<'a> Patience<'a> {
    pub(super) fn new(client: &'a Client<'a>, what: &'a str) -> Self {
        Patience { client, what, failures: 0, reached: 0 }
    }

    /// Waits before the next attempt; `reached` is how many bytes there are by now. Returns the failure as an
    /// error if it is final or was one too many.
    pub(super) fn after(&mut self, failure: Failure, reached: u64) -> Result<()> {
        let (url, reason, wait) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Passing { url, reason, wait } => (url, reason, wait),
            Failure::Range { url } => (url, "the server has no such part".to_owned(), None),
        };
        let options = self.client.options;
        if reached >= self.reached.saturating_add(NOTICEABLE) {
            self.failures = 0;
            self.reached = reached;
        }
        if self.failures >= options.retries {
            return Err(Error::Network { url, reason });
        }
        let doubled = options.retry_wait.saturating_mul(1 << self.failures.min(16));
        self.failures += 1;
        let what = self.what.to_owned();
        self.client.progress.event(Event::Warning(Warning::Retry { what, reason }));
        std::thread::sleep(wait.unwrap_or(doubled).min(options.longest_wait));
        Ok(())
    }
}

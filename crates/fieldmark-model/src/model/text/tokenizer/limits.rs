//! What splitting a text may cost: its length, what rules may make of it, and time.
//!
//! The rules of a tokenizer come from a file, and nothing in their format keeps them small: eight replacements make
//! gigabytes of a word. The limits are far beyond what a prompt needs, which fills a context of some hundred tokens.

use std::cell::RefCell;
use std::time::{Duration, Instant};

/// The longest text that is split, in bytes.
pub(super) const LONGEST_TEXT: usize = 1 << 16;
/// The longest text that normalizing and splitting may make, in bytes.
pub(super) const LONGEST_NORMALIZED: usize = 1 << 18;
/// The longest time that the patterns of one text may take.
const LONGEST_TIME: Duration = Duration::from_secs(20);

thread_local! {
    /// The text that this thread splits.
    static RUNNING: RefCell<Run> = const { RefCell::new(Run { until: None, failure: None }) };
}

/// What is known of a text that is being split.
struct Run {
    until: Option<Instant>,
    failure: Option<String>,
}

/// Runs `split` for one text, within the limits.
///
/// # Errors
/// The error of `split`, or that of a normalizer inside: the tokenizers library drops it.
pub(super) fn within<T>(split: impl FnOnce() -> tokenizers::Result<T>) -> tokenizers::Result<T> {
    RUNNING.set(Run { until: Some(Instant::now() + LONGEST_TIME), failure: None });
    let result = split();
    match RUNNING.replace(Run { until: None, failure: None }).failure {
        Some(failure) => Err(failure.into()),
        None => result,
    }
}

/// Keeps an error that the library would drop. The first one counts.
pub(super) fn keep_failure(reason: &str) {
    RUNNING.with_borrow_mut(|run| {
        run.failure.get_or_insert_with(|| reason.to_owned());
    });
}

/// # Errors
/// If the text takes too long.
pub(super) fn check_time() -> tokenizers::Result<()> {
    let late = RUNNING.with_borrow(|run| run.until.is_some_and(|until| Instant::now() > until));
    if late {
        Err(format!("its patterns take more than {} s", LONGEST_TIME.as_secs()).into())
    } else {
        Ok(())
    }
}

/// # Errors
/// If a text of `bytes` is longer than rules may make it.
pub(super) fn check_length(bytes: usize) -> tokenizers::Result<()> {
    if bytes > LONGEST_NORMALIZED {
        let reason = format!("its rules make {bytes} bytes of it, at most {LONGEST_NORMALIZED} are possible");
        return Err(reason.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_the_library_drops_is_returned() {
        let dropped = within(|| {
            keep_failure("first");
            keep_failure("second");
            Ok(1)
        });
        assert_eq!(dropped.expect_err("failed").to_string(), "first");
        assert_eq!(within(|| Ok(2)).expect("the failure is forgotten"), 2);
    }

    #[test]
    fn lengths_have_a_limit() {
        assert!(check_length(LONGEST_NORMALIZED).is_ok());
        let error = check_length(LONGEST_NORMALIZED + 1).expect_err("too long").to_string();
        assert_eq!(error, "its rules make 262145 bytes of it, at most 262144 are possible");
    }
}

//! Calls into decoders that others wrote: a panic there becomes an error of the input, and prints nothing.
//!
//! A file from outside may meet a fault in a decoder. That costs one input, never the process. What this cannot turn
//! into an error is an abort, an overflow of the stack and memory that runs out: whoever calls a decoder bounds what its
//! input may claim before the call.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// How many guarded calls this thread is in.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// What a guarded call said when it panicked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its decoder failed: {message}")]
#[non_exhaustive]
pub struct Panicked {
    /// The first line of the panic's message.
    pub message: String,
}

/// Runs `work`, and turns a panic on this thread into an error without printing it.
///
/// Whatever `work` borrows mutably must not be used after an error: it may be half-changed.
///
/// The first call replaces the process's panic hook by one that passes on every panic outside such calls.
///
/// # Errors
/// [`Panicked`] if `work` panics.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    silence_guarded_panics();
    let depth = DEPTH.get();
    DEPTH.set(depth + 1);
    let result = catch_unwind(AssertUnwindSafe(work));
    DEPTH.set(depth);
    result.map_err(|panic| Panicked { message: message(panic.as_ref()) })
}

fn silence_guarded_panics() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if DEPTH.get() == 0 {
                before(panic);
            }
        }));
    });
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text.as_str(),
        (None, None) => "it gave no reason",
    };
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_first_line() {
        assert_eq!(guarded(|| 7), Ok(7));
        let error = guarded(|| -> u8 { panic!("index {} out of range\nand more", 3) }).unwrap_err();
        assert_eq!(error.to_string(), "its decoder failed: index 3 out of range");
    }

    #[test]
    fn guards_may_be_nested_and_the_thread_goes_on() {
        let inner = guarded(|| guarded(|| -> u8 { panic!("inside") }));
        assert_eq!(inner.unwrap().unwrap_err().message, "inside");
        assert_eq!(DEPTH.get(), 0);
        let outer = guarded(|| -> u8 { std::panic::panic_any(5) }).unwrap_err();
        assert_eq!((outer.message.as_str(), DEPTH.get()), ("it gave no reason", 0));
    }
}

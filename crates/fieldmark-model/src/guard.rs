//! Calls into decoders that others wrote: a panic there becomes an error of the input, and prints nothing.
//!
//! A file from outside may meet a fault in a decoder. That costs one input, never the process. What this cannot turn
//! into an error is an abort, an overflow of the stack and memory that runs out: whoever calls a decoder bounds what its
//! input may claim before the call.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError};

thread_local! {
    /// How many guarded calls this thread is in.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// How many threads are in guarded calls.
static ACTIVE: AtomicUsize = AtomicUsize::new(0);

/// Panics on threads that work for others, which were not printed since they may end in a guard there. Each is the first
/// line of its message, and the text that was not printed.
static HELD_BACK: Mutex<Vec<[String; 2]>> = Mutex::new(Vec::new());

/// So many are kept, the latest.
const MOST_HELD_BACK: usize = 16;

/// What a guarded call said when it panicked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its decoder failed: {message}")]
#[non_exhaustive]
pub struct Panicked {
    /// The first line of the panic's message.
    pub message: String,
}

/// Runs `work`, and turns a panic into an error without printing it: one on this thread, or on a thread of rayon's that
/// works for it.
///
/// What `work` borrows mutably must not be used after an error: it may be half-changed.
///
/// The first call replaces the process's panic hook by one that passes on every panic outside such calls. While any
/// thread is in such a call, panics on threads of rayon's and of the Hub's client are not passed on either, since they
/// end where they were asked for; [`held_back`] has their text.
///
/// # Errors
/// [`Panicked`] if `work` panics.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    silence_guarded_panics();
    let depth = DEPTH.get();
    DEPTH.set(depth + 1);
    if depth == 0 {
        ACTIVE.fetch_add(1, Ordering::SeqCst);
    }
    let result = catch_unwind(AssertUnwindSafe(work));
    DEPTH.set(depth);
    if depth == 0 {
        ACTIVE.fetch_sub(1, Ordering::SeqCst);
    }
    result.map_err(|panic| {
        // Whoever has the error knows of it.
        let _ = held_back(panic.as_ref());
        Panicked { message: message(panic.as_ref()) }
    })
}

/// What a panic that was caught would have printed where it happened, if that was held back because it was on a thread
/// that works for others. It is returned once.
pub fn held_back(panic: &(dyn Any + Send)) -> Option<String> {
    let message = message(panic);
    let mut held = HELD_BACK.lock().unwrap_or_else(PoisonError::into_inner);
    let place = held.iter().rposition(|[said, _]| *said == message)?;
    let [_, text] = held.remove(place);
    Some(text)
}

fn silence_guarded_panics() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if DEPTH.get() > 0 {
                return;
            }
            if ACTIVE.load(Ordering::SeqCst) > 0 && works_for_others() {
                hold_back(panic);
            } else {
                before(panic);
            }
        }));
    });
}

/// Whether a panic on this thread is handed to the thread that asked for the work.
fn works_for_others() -> bool {
    let is_of_the_hub = || std::thread::current().name().is_some_and(|name| name.starts_with("hf-xet"));
    rayon::current_thread_index().is_some() || is_of_the_hub()
}

fn hold_back(panic: &PanicHookInfo<'_>) {
    let said = message(panic.payload());
    let mut held = HELD_BACK.lock().unwrap_or_else(PoisonError::into_inner);
    if held.len() == MOST_HELD_BACK {
        held.remove(0);
    }
    held.push([said, panic.to_string()]);
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
    #[test]
    fn a_panic_on_a_thread_that_helps_is_held_back_until_it_is_an_error() {
        use rayon::prelude::*;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let work =
            || (0..8).into_par_iter().for_each(|number| assert!(number != 5, "number {number} of eight"));
        let error = guarded(|| pool.install(work)).unwrap_err();
        assert_eq!(error.message, "number 5 of eight");
        let again: Box<dyn Any + Send> = Box::new("number 5 of eight".to_owned());
        assert_eq!(held_back(again.as_ref()), None, "the error has it");
        // While another thread is in a guard, a panic that ends in none is held back and can be asked for.
        let (inside, outside) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                guarded(|| {
                    inside.wait();
                    outside.wait();
                })
            });
            inside.wait();
            let panic = catch_unwind(AssertUnwindSafe(|| pool.install(work))).unwrap_err();
            let text = held_back(panic.as_ref()).unwrap();
            assert!(text.contains("guard.rs") && text.contains("number 5 of eight"), "{text}");
            outside.wait();
        });
    }
}

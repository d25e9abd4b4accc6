//! SIGINT, SIGTERM and SIGHUP: what is half-written is removed, the journal keeps its last whole line, and the program
//! ends at once. A second signal does not even wait for that.

use std::sync::LazyLock;

use anyhow::{Context, Result};
use fieldmark::run::Cancel;

/// Set by the first signal: runs begin nothing new while what is half-written is removed.
static CANCEL: LazyLock<Cancel> = LazyLock::new(Cancel::new);

/// What cancels the runs of this program.
pub fn cancel() -> Cancel {
    CANCEL.clone()
}

/// Waits for the end of the program if a signal is ending it: what a run reports then is not what went wrong, and the exit
/// status is the signal's.
pub fn wait_if_ending() {
    while CANCEL.is_cancelled() {
        std::thread::park();
    }
}

/// Takes the signals over. Those that whoever started the program had ignored, as `nohup` does, stay ignored.
#[cfg(unix)]
pub fn take_over() -> Result<()> {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use fieldmark::files::stop_writing;
    use signal_hook::{
        consts::{SIGHUP, SIGINT, SIGTERM},
        flag,
        iterator::Signals,
        low_level,
    };

    let signals: Vec<i32> =
        [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|number| !is_ignored(*number)).collect();
    let is_ending = Arc::new(AtomicBool::new(false));
    let cannot = "signals: cannot be handled";
    for number in &signals {
        flag::register_conditional_shutdown(*number, status(*number), Arc::clone(&is_ending))
            .context(cannot)?;
    }
    let mut received = Signals::new(&signals).context(cannot)?;
    let end = move || {
        if let Some(number) = received.forever().next() {
            is_ending.store(true, Ordering::SeqCst);
            CANCEL.cancel();
            stop_writing();
            low_level::exit(status(number));
        }
    };
    let name = std::thread::Builder::new().name("signals".into());
    name.spawn(end).map(drop).context("threads: none can be started")
}

/// The status that shells give a program which a signal ends.
#[cfg(unix)]
fn status(signal: i32) -> i32 {
    128 + signal
}

/// Whether a signal was ignored when the program was started; where the system does not say, it was not.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

/// Takes Ctrl-C, Ctrl-Break and the closing of the window over.
#[cfg(windows)]
pub fn take_over() -> Result<()> {
    use std::sync::atomic::{AtomicBool, Ordering};
    const INTERRUPTED: i32 = 130;
    let is_ending = AtomicBool::new(false);
    let end = || {
        CANCEL.cancel();
        fieldmark::files::stop_writing();
        std::process::exit(INTERRUPTED);
    };
    // On a thread of its own, so that a second one is heard while the first waits.
    ctrlc::set_handler(move || {
        if is_ending.swap(true, Ordering::SeqCst) {
            std::process::exit(INTERRUPTED);
        }
        if std::thread::Builder::new().spawn(end).is_err() {
            end();
        }
    })
    .context("signals: cannot be handled")
}

/// Elsewhere the system ends the program as it does.
#[cfg(not(any(unix, windows)))]
pub fn take_over() -> Result<()> {
    Ok(())
}

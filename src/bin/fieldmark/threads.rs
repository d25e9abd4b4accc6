//! The threads that share one computation. If the system starts fewer than there are processors, fewer share it.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError, mpsc::channel},
    thread,
};

use anyhow::{Context, Result, bail};
use rayon::{ThreadBuilder, ThreadPoolBuilder};

/// Starts them: as many as `RAYON_NUM_THREADS` says, else one a processor.
pub fn start() -> Result<()> {
    let (sender, receiver) = channel::<ThreadBuilder>();
    let receiver = Arc::new(Mutex::new(receiver));
    let wait = || {
        let receiver = Arc::clone(&receiver);
        // Each waits for its share, so it is known how many there are before there are shares.
        move || {
            let share = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
            if let Ok(share) = share {
                share.run();
            }
        }
    };
    let begin = |number: usize| thread::Builder::new().name(format!("work {number}")).spawn(wait());
    let started = (0..wanted()).map_while(|number| begin(number).ok()).count();
    if started == 0 {
        bail!("threads: expected at least one, found that the system starts none");
    }
    let hand_over = move |share| sender.send(share).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe));
    let pool = ThreadPoolBuilder::new().num_threads(started).spawn_handler(hand_over);
    pool.build_global().context("threads: cannot be used")
}

fn wanted() -> usize {
    let typed = std::env::var("RAYON_NUM_THREADS").ok().and_then(|text| text.parse().ok());
    let processors = || thread::available_parallelism().map_or(1, usize::from);
    typed.filter(|count| *count > 0).unwrap_or_else(processors)
}

//! Receives a body piece by piece, and gives up one that stops, or that only drips.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use hf_hub::HFError;
use reqwest::Response;
use tokio::time::{Instant, timeout_at};

use super::answer::Failure;

/// The slowest transfer that is waited for, in bytes per second: a checkpoint would take a week.
const SLOWEST: f64 = 1024.0;

/// A body on its way.
pub(super) enum Body {
    /// As the Hub's own client hands it on.
    Streamed(Pin<Box<dyn Stream<Item = Result<Vec<u8>, HFError>>>>),
    /// As the answer to a request of ours.
    Answered(Response),
}

/// Why no more of a body comes.
pub(super) enum Broken {
    /// The connection failed.
    Connection(reqwest::Error),
    /// The Hub's own client failed.
    Hub(HFError),
    /// Too little came for too long.
    Slow(String),
    /// The receiver failed.
    Receiver(Failure),
}

/// How much came in the current stretch of time.
struct Pace {
    stretch: Duration,
    until: Instant,
    bytes: u64,
}

impl Pace {
    /// `patience` is how long nothing may come; what drips is given twice that.
    fn new(patience: Duration) -> Self {
        let stretch = patience.saturating_mul(2);
        Pace { stretch, until: Instant::now() + stretch, bytes: 0 }
    }

    /// Called at the end of a stretch: begins another if enough came in it.
    fn turn(&mut self) -> Result<(), Broken> {
        let seconds = self.stretch.as_secs_f64();
        if (self.bytes as f64) < SLOWEST * seconds {
            let reason = format!("too slow: {} bytes came in {seconds:.0} s", self.bytes);
            return Err(Broken::Slow(reason));
        }
        (self.until, self.bytes) = (Instant::now() + self.stretch, 0);
        Ok(())
    }
}

impl Body {
    /// Hands on what arrives, until the body ends or `take` says that it is enough.
    pub(super) async fn read(
        mut self,
        patience: Duration,
        take: &mut dyn FnMut(&[u8]) -> Result<bool, Failure>,
    ) -> Result<(), Broken> {
        let mut pace = Pace::new(patience);
        loop {
            let arrived = match &mut self {
                Body::Streamed(stream) => match timeout_at(pace.until, stream.next()).await {
                    Ok(next) => Ok(next.transpose().map_err(Broken::Hub)?),
                    Err(elapsed) => Err(elapsed),
                },
                Body::Answered(response) => match timeout_at(pace.until, response.chunk()).await {
                    Ok(next) => Ok(next.map_err(Broken::Connection)?.map(Vec::from)),
                    Err(elapsed) => Err(elapsed),
                },
            };
            let Ok(chunk) = arrived else {
                pace.turn()?;
                continue;
            };
            let Some(chunk) = chunk else {
                return Ok(());
            };
            pace.bytes += chunk.len() as u64;
            if !take(&chunk).map_err(Broken::Receiver)? {
                return Ok(());
            }
            if Instant::now() >= pace.until {
                pace.turn()?;
            }
        }
    }
}

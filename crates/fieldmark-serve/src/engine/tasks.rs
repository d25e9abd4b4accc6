//! A bounded queue of questions, and the workers that take them from it.

use std::{
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::Duration,
};

use fieldmark_model::guard::guarded;
use tokio::sync::oneshot;

use super::{Engine, Fault};

type Task = Box<dyn for<'e, 'm> FnOnce(&'e Engine<'m>) + Send>;

/// Where questions are handed in.
#[derive(Clone)]
pub(crate) struct Tasks(SyncSender<Task>);

/// Where workers take them out.
pub(crate) struct Waiting(Mutex<Receiver<Task>>);

impl Tasks {
    pub(crate) fn new(queue: usize) -> (Self, Waiting) {
        let (sender, receiver) = sync_channel(queue);
        (Self(sender), Waiting(Mutex::new(receiver)))
    }

    /// Hands in work and waits for its result. A client that leaves drops this future: then work that has not begun
    /// is not done.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        timeout: Duration,
        work: impl for<'e, 'm> FnOnce(&'e Engine<'m>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        let task = move |engine: &Engine<'_>| {
            if reply.is_closed() {
                return;
            }
            let result = guarded(|| work(engine));
            let result = result.unwrap_or_else(|panicked| Err(Fault::Panic(panicked.message)));
            let _ = reply.send(result);
        };
        self.hand_in(Box::new(task))?;
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Fault::Panic("a worker ended early".into())),
            Err(_) => Err(Fault::Late),
        }
    }

    fn hand_in(&self, task: Task) -> Result<(), Fault> {
        self.0.try_send(task).map_err(|error| match error {
            TrySendError::Full(_) => Fault::Busy,
            TrySendError::Disconnected(_) => Fault::Panic("the workers have ended".into()),
        })
    }
}

impl Waiting {
    /// Works until nobody can hand in anything any more.
    pub(crate) fn work(&self, engine: &Engine<'_>) {
        loop {
            let task = self.0.lock().unwrap_or_else(PoisonError::into_inner).recv();
            match task {
                Ok(task) => task(engine),
                Err(_) => return,
            }
        }
    }
}

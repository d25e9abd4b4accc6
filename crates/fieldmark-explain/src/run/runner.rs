//! Batches of photos at work at once, whose outcomes come in the photos' order.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use super::{
    batches::{AT_ONCE, Batch, batches},
    cancel::{Cancel, Ended},
    clock::{Clock, System},
    photos::MEMORY,
    shares::{Shares, divided},
    work::{Work, in_steps, spawn},
};
use crate::{
    explain::{Explainer, Settings},
    refine::Tiles,
};
use fieldmark_model::{
    error::{Error, Result},
    progress::{Event, ProgressHandler, Silent},
};

/// What came of one input.
#[derive(Debug)]
pub struct Outcome<I, R> {
    /// What the walk gave; none if the walk itself failed there, as at a folder that cannot be read.
    pub input: Option<I>,
    /// Its result, or what is wrong with it.
    pub result: Result<R>,
    /// The photo's share of the run's time, in seconds. The time that passes is divided evenly among the batches at work,
    /// and a batch's time among its photos as they took it; what passes while nothing is at work, as the caller takes an
    /// outcome or looks for the next photo, is nobody's. So the shares of all photos add up to the time in which the run
    /// worked.
    pub seconds: f64,
}

/// How photos are worked on.
#[derive(Clone)]
pub struct Runner<'a> {
    at_once: usize,
    together: usize,
    expected: Option<usize>,
    cancel: Cancel,
    progress: &'a dyn ProgressHandler,
    clock: Option<&'a dyn Clock>,
}

impl Default for Runner<'_> {
    fn default() -> Self {
        Self {
            at_once: AT_ONCE,
            together: 1,
            expected: None,
            cancel: Cancel::new(),
            progress: &Silent,
            clock: None,
        }
    }
}

impl<'a> Runner<'a> {
    /// Photos one by one, two of them at work at once.
    pub fn new() -> Self {
        Self::default()
    }

    /// As many photos together as pass this checkpoint's vision tower best with these settings.
    ///
    /// # Errors
    /// If a setting is not one of the checkpoint's.
    pub fn suited(explainer: &Explainer, settings: &Settings) -> Result<Self> {
        Ok(match settings.tiles {
            Tiles::Off => Self::new().together(explainer.photos_together(settings)?),
            // The progress of passes over tiles is that of one photo.
            _ => Self::new().at_once(1),
        })
    }

    /// How many photos are in a batch at most: see
    /// [`Explainer::photos_together`](crate::Explainer::photos_together).
    #[must_use]
    pub fn together(mut self, photos: usize) -> Self {
        self.together = photos.max(1);
        self
    }

    /// How many batches are at work at once, as far as their memory allows; usually [`AT_ONCE`].
    #[must_use]
    pub fn at_once(mut self, batches: usize) -> Self {
        self.at_once = batches.max(1);
        self
    }

    /// How many inputs there will be, for those who draw progress.
    #[must_use]
    pub fn expecting(mut self, photos: usize) -> Self {
        self.expected = Some(photos);
        self
    }

    /// Who may ask the run to stop.
    #[must_use]
    pub fn cancelled_by(mut self, cancel: &Cancel) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// Who hears of the photos that are done: of [`Event::PhotosStarted`], [`Event::PhotosAdvanced`] after each of them,
    /// and [`Event::PhotosFinished`], on the thread that calls [`run`](Self::run).
    #[must_use]
    pub fn with_progress<'p>(self, progress: &'p dyn ProgressHandler) -> Runner<'p>
    where
        'a: 'p,
    {
        Runner { progress, ..self }
    }

    #[cfg(test)]
    fn with_clock<'c>(self, clock: &'c dyn Clock) -> Runner<'c>
    where
        'a: 'c,
    {
        Runner { clock: Some(clock), ..self }
    }

    /// Works on inputs as the walk gives them, and hands the outcomes on in their order.
    ///
    /// No more is taken from the walk than can be at work, and one input ahead. All photos at work share one bound of
    /// memory ([`MEMORY`]); a photo that needs more is at work alone.
    ///
    /// # Errors
    /// The first error of `take`; [`Error::Cancelled`] if the run was cancelled before its last input; and a photo's
    /// error if it would [come again](Error::would_come_again) with every photo. After a cancellation what is at work
    /// is finished and handed on; after another error it stops between its steps ([`Ended`]).
    pub fn run<W: Work, E: From<Error>>(
        &self,
        inputs: impl IntoIterator<Item = Result<W::Input>>,
        work: &W,
        take: impl FnMut(Outcome<W::Input, W::Output>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.progress.event(Event::PhotosStarted { photos: self.expected });
        let system = System::start();
        let state =
            State { clock: self.clock.unwrap_or(&system), shares: Mutex::default(), ended: Ended::default() };
        let memory = |input: &Result<W::Input>| input.as_ref().map_or(0, |input| work.memory(input));
        let batches = batches(inputs.into_iter(), self.together, memory);
        let work = |(number, inputs)| state.work_on(number, inputs, work);
        let done = self.in_order(batches, &state, &work, take);
        self.progress.event(Event::PhotosFinished);
        done
    }

    fn in_order<I: Send, R: Send, E: From<Error>>(
        &self,
        batches: impl Iterator<Item = Batch<Result<I>>>,
        state: &State,
        work: &(impl Fn((usize, Vec<Result<I>>)) -> Vec<Outcome<I, R>> + Sync),
        mut take: impl FnMut(Outcome<I, R>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut batches = batches.enumerate().peekable();
        thread::scope(|scope| {
            let mut at_work = VecDeque::new();
            let mut used = 0_u64;
            loop {
                let mut is_cancelled = self.cancel.is_cancelled();
                while !is_cancelled
                    && at_work.len() < self.at_once
                    && let Some((number, batch)) = batches.next_if(|(_, batch)| {
                        at_work.is_empty() || used.saturating_add(batch.bytes) <= MEMORY
                    })
                {
                    used = used.saturating_add(batch.bytes);
                    state.begin(number);
                    at_work.push_back((batch.bytes, spawn(scope, (number, batch.inputs), work)));
                    is_cancelled = self.cancel.is_cancelled();
                }
                let Some((bytes, batch)) = at_work.pop_front() else {
                    let is_left = is_cancelled && batches.peek().is_some();
                    return if is_left { Err(Error::Cancelled.into()) } else { Ok(()) };
                };
                let outcomes = batch.wait();
                used = used.saturating_sub(bytes);
                for outcome in outcomes.into_iter().flatten() {
                    self.hand_on(outcome, &mut take).inspect_err(|_| state.ended.end())?;
                }
            }
        })
    }

    fn hand_on<I, R, E: From<Error>>(
        &self,
        outcome: Outcome<I, R>,
        take: &mut impl FnMut(Outcome<I, R>) -> Result<(), E>,
    ) -> Result<(), E> {
        match outcome.result {
            Err(error) if error.would_come_again() => return Err(error.into()),
            _ => take(outcome)?,
        }
        self.progress.event(Event::PhotosAdvanced { photos: 1 });
        Ok(())
    }
}

/// What the batches of a run have in common.
struct State<'c> {
    clock: &'c dyn Clock,
    shares: Mutex<Shares>,
    ended: Ended,
}

impl State<'_> {
    fn begin(&self, batch: usize) {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.begin(batch, self.clock.now());
    }

    fn end(&self, batch: usize) -> Duration {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.end(batch, self.clock.now())
    }

    /// Works on a batch, and divides its time among its photos.
    fn work_on<W: Work>(
        &self,
        number: usize,
        inputs: Vec<Result<W::Input>>,
        work: &W,
    ) -> Vec<Outcome<W::Input, W::Output>> {
        let sound = inputs.iter().filter_map(|input| input.as_ref().ok()).collect();
        let worked = in_steps(work, sound, &self.ended, self.clock);
        let times: Vec<Duration> = worked.iter().map(|worked| worked.time).collect();
        let mut seconds = divided(self.end(number), &times).into_iter();
        let mut results = worked.into_iter().map(|worked| worked.result);
        let outcome = |input| match input {
            Ok(input) => {
                let result = results.next()?;
                Some(Outcome { input: Some(input), result, seconds: seconds.next().unwrap_or_default() })
            }
            Err(error) => Some(Outcome { input: None, result: Err(error), seconds: 0.0 }),
        };
        inputs.into_iter().filter_map(outcome).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use super::{
        super::work::{EachAlone, Open, Opening},
        *,
    };

    /// Every look at it takes a microsecond.
    #[derive(Default)]
    struct Ticking(AtomicU64);

    impl Clock for Ticking {
        fn now(&self) -> Duration {
            Duration::from_micros(self.0.fetch_add(1, Ordering::SeqCst))
        }
    }

    fn numbers(count: usize) -> impl Iterator<Item = Result<usize>> {
        (0..count).map(Ok)
    }

    fn no_memory(_: &usize) -> u64 {
        0
    }

    fn pause(milliseconds: u64) {
        thread::sleep(Duration::from_millis(milliseconds));
    }

    #[test]
    fn outcomes_come_in_order_whatever_takes_how_long() {
        for (at_once, together) in [(0, 0), (1, 1), (2, 1), (3, 2), (50, 1), (2, 4)] {
            let slow = EachAlone::new(no_memory, |input: &usize| {
                pause([3, 0, 1][input % 3]);
                Ok(input * 10)
            });
            let mut taken = Vec::new();
            let runner = Runner::new().at_once(at_once).together(together);
            let done = runner.run(numbers(20), &slow, |outcome| {
                taken.push((outcome.input, outcome.result?));
                Ok::<_, Error>(())
            });
            done.expect("nothing fails");
            let expected: Vec<_> = (0..20).map(|number| (Some(number), number * 10)).collect();
            assert_eq!(taken, expected, "{at_once} at once, {together} together");
        }
    }

    #[test]
    fn batches_are_made_when_they_begin_and_all_at_work_share_the_memory() {
        let (seen, at_work, most) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let inputs = numbers(40).inspect(|_| _ = seen.fetch_add(1, Ordering::SeqCst));
        let memory = |input: &usize| if *input % 10 == 9 { 2 * MEMORY } else { MEMORY / 5 };
        let work = EachAlone::new(memory, |input: &usize| {
            let now = at_work.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            assert!(now == 1 || input % 10 != 9, "{input} beside others");
            pause(1);
            at_work.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        });
        let mut taken = Vec::new();
        let done = Runner::new().at_once(9).together(2).run(inputs, &work, |outcome| {
            outcome.result?;
            // Of five at work, and of those that are looked at ahead: a batch and an input.
            let input = outcome.input.expect("it was given");
            assert!(seen.load(Ordering::SeqCst) <= input + 9);
            taken.push(input);
            Ok::<_, Error>(())
        });
        done.expect("nothing fails");
        assert_eq!(taken, (0..40).collect::<Vec<_>>());
        assert!((2..=5).contains(&most.into_inner()));
    }

    #[test]
    fn little_is_begun_ahead_and_an_error_ends_it() {
        let begun = AtomicUsize::new(0);
        let work = EachAlone::new(no_memory, |input: &usize| {
            begun.fetch_add(1, Ordering::SeqCst);
            Ok(*input)
        });
        let mut taken = 0;
        let done = Runner::new().run(numbers(1000), &work, |outcome| {
            taken += 1;
            let number = outcome.result?;
            assert!(begun.load(Ordering::SeqCst) <= number + 2);
            if number == 5 { Err(Error::Fault { reason: "enough".into() }) } else { Ok(()) }
        });
        assert!(done.is_err() && taken == 6 && begun.into_inner() < 10);
    }

    /// Photos of which the fifth is answered when the run has ended.
    struct Late {
        both: std::sync::Barrier,
        taken: Mutex<std::sync::mpsc::Receiver<()>>,
        finished: AtomicUsize,
    }

    impl Work for Late {
        type Input = usize;
        type Opened = ();
        type Answer = ();
        type Output = ();

        fn memory(&self, _: &usize) -> u64 {
            0
        }

        fn open(&self, input: &usize) -> Result<Opening<(), ()>> {
            if input.is_multiple_of(4) {
                self.both.wait();
            }
            Ok(Opening::Photo(()))
        }

        fn answer(&self, photos: &[Open<'_, usize, ()>], ended: &Ended) -> Vec<Result<()>> {
            if *photos[0].input == 4 {
                self.taken.lock().unwrap().recv().unwrap();
                while ended.check().is_ok() {
                    thread::yield_now();
                }
            }
            photos.iter().map(|_| Ok(())).collect()
        }

        fn finish(&self, _: &Open<'_, usize, ()>, (): ()) -> Result<()> {
            self.finished.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }

    #[test]
    fn work_that_is_under_way_stops_between_its_steps_when_the_run_ends() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let both = std::sync::Barrier::new(2);
        let late = Late { both, taken: Mutex::new(receiver), finished: AtomicUsize::new(0) };
        let mut taken = 0;
        let ended = Runner::new().together(4).run(numbers(8), &late, |outcome| {
            outcome.result?;
            taken += 1;
            if taken < 4 {
                return Ok(());
            }
            sender.send(()).unwrap();
            Err(Error::Fault { reason: "the disk is full".into() })
        });
        assert!(matches!(ended, Err(Error::Fault { .. })));
        assert_eq!((taken, late.finished.into_inner()), (4, 4), "nothing of the second batch is finished");
    }

    #[test]
    fn what_would_come_again_ends_the_run_and_what_would_not_does_not() {
        let fails = |input: &usize| match input {
            2 => Err(Error::Fault { reason: "this one".into() }),
            5 => Err(Error::Config { path: "model".into(), reason: "broken".into() }),
            _ => Ok(()),
        };
        let mut taken = Vec::new();
        let walk = numbers(9).map(|input| match input {
            Ok(3) => Err(Error::NoPhotos { path: "folder".into() }),
            input => input,
        });
        let done = Runner::new().together(2).run(walk, &EachAlone::new(no_memory, fails), |outcome| {
            taken.push((outcome.input, outcome.result.is_ok()));
            Ok::<_, Error>(())
        });
        assert!(matches!(done, Err(Error::Config { .. })));
        assert_eq!(
            taken,
            [(Some(0), true), (Some(1), true), (Some(2), false), (None, false), (Some(4), true)]
        );
    }

    #[test]
    fn a_cancelled_run_hands_on_what_is_at_work_and_begins_nothing() {
        let (cancel, begun) = (Cancel::new(), AtomicUsize::new(0));
        let work = EachAlone::new(no_memory, |_: &usize| {
            begun.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        let mut taken = 0;
        let runner = Runner::new().cancelled_by(&cancel);
        let done = runner.run(numbers(100), &work, |outcome| {
            taken += 1;
            if outcome.input == Some(4) {
                cancel.clone().cancel();
            }
            Ok::<_, Error>(())
        });
        assert!(matches!(done, Err(Error::Cancelled)));
        assert_eq!((taken, begun.load(Ordering::SeqCst)), (6, 6), "one was at work beside the fifth");
        let ended = runner.run(numbers(1), &work, |_| Ok::<_, Error>(()));
        assert!(matches!(ended, Err(Error::Cancelled)), "before the first");
        assert!(runner.run(numbers(0), &work, |_| Ok::<_, Error>(())).is_ok(), "nothing was left to do");
    }

    #[test]
    fn the_seconds_of_all_photos_are_those_in_which_something_was_at_work() {
        for (at_once, together) in [(1, 1), (1, 4), (2, 1), (2, 4), (5, 3)] {
            let clock = Ticking::default();
            let work = EachAlone::new(no_memory, |input: &usize| {
                (0..input % 7).for_each(|_| _ = clock.now());
                if input.is_multiple_of(5) { Err(Error::Fault { reason: String::new() }) } else { Ok(()) }
            });
            let runner = Runner::new().at_once(at_once).together(together).with_clock(&clock);
            let (mut sum, mut outside) = (0.0, 0);
            let done = runner.run(numbers(50), &work, |outcome| {
                assert!(outcome.seconds >= 0.0);
                sum += outcome.seconds;
                outside += 1;
                clock.now();
                Ok::<_, Error>(())
            });
            done.expect("nothing ends it");
            let elapsed = clock.0.load(Ordering::SeqCst) as f64 / 1e6;
            assert!(sum <= elapsed, "{sum} of {elapsed} s, {at_once} at once, {together} together");
            // Outside of work, a microsecond passes before each batch and one with each outcome.
            let batches = f64::from(50_u32.div_ceil(together as u32));
            let most_outside = (f64::from(outside) + 2.0 * batches) / 1e6;
            assert!(sum >= elapsed - most_outside - 1e-9, "{sum} of {elapsed} s");
        }
    }

    #[test]
    fn progress_counts_every_input() {
        struct Heard(Mutex<Vec<Event>>);
        impl ProgressHandler for Heard {
            fn event(&self, event: Event) {
                self.0.lock().expect("nobody panics").push(event);
            }
        }
        let heard = Heard(Mutex::default());
        let work = EachAlone::new(no_memory, |_: &usize| Ok(()));
        let runner = Runner::new().expecting(2).with_progress(&heard);
        runner.run(numbers(2), &work, |_| Ok::<_, Error>(())).expect("nothing fails");
        let one = Event::PhotosAdvanced { photos: 1 };
        let expected = [Event::PhotosStarted { photos: Some(2) }, one.clone(), one, Event::PhotosFinished];
        assert_eq!(heard.0.into_inner().expect("nobody panics"), expected);
    }
}

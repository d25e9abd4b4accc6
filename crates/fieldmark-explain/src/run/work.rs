//! What a run does with each photo, in three steps.

use std::{
    convert::Infallible, marker::PhantomData, panic::resume_unwind, sync::mpsc::sync_channel, thread,
    time::Duration,
};

use fieldmark_model::{
    error::{Error, Result},
    guard::guarded,
};

use super::{cancel::Ended, clock::Clock};

/// What a run does with each of its inputs. The photos of a batch are opened side by side, each on a thread of its own;
/// those that are open are answered together, so that they can pass the vision tower together; and each answer is finished
/// on a thread of its own. A photo that fails in any step, by an error or a panic, does not stop the others.
pub trait Work: Sync {
    /// What the walk gives: a photo's path, or more.
    type Input: Send + Sync;
    /// A photo that is open.
    type Opened: Send + Sync;
    /// What the model says of it.
    type Answer: Send;
    /// What the run hands out.
    type Output: Send;

    /// The bytes of memory that an input needs while it is at work, found without decoding it:
    /// [`memory`](super::memory) of its file.
    fn memory(&self, input: &Self::Input) -> u64;

    /// Opens an input, or finds its result of an earlier run.
    ///
    /// # Errors
    /// If the photo cannot be opened.
    fn open(&self, input: &Self::Input) -> Result<Opening<Self::Opened, Self::Output>>;

    /// Answers photos that are at work together, in their order. If this panics it is called again for each alone. Where
    /// one photo takes long, `ended` is to be checked before each: a run that ended early drops the answers.
    fn answer(
        &self,
        photos: &[Open<'_, Self::Input, Self::Opened>],
        ended: &Ended,
    ) -> Vec<Result<Self::Answer>>;

    /// Makes the result of an answer: draws it and writes its files.
    ///
    /// # Errors
    /// If the answer cannot be drawn or a file cannot be written.
    fn finish(
        &self,
        photo: &Open<'_, Self::Input, Self::Opened>,
        answer: Self::Answer,
    ) -> Result<Self::Output>;
}

/// What opening an input gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Opening<P, R> {
    /// A photo, to be answered.
    Photo(P),
    /// A result that is known already.
    Known(R),
}

/// An input that is open.
#[derive(Debug)]
pub struct Open<'i, I, P> {
    /// What the walk gave.
    pub input: &'i I,
    /// What opening it gave.
    pub photo: P,
}

/// Work of one step: each input by itself, on a thread of its own.
pub struct EachAlone<I, R, M, F> {
    memory: M,
    work: F,
    types: PhantomData<fn(&I) -> R>,
}

impl<I, R, M: Fn(&I) -> u64 + Sync, F: Fn(&I) -> Result<R> + Sync> EachAlone<I, R, M, F> {
    /// `memory` says how many bytes an input needs, and `work` is done with it.
    pub fn new(memory: M, work: F) -> Self {
        Self { memory, work, types: PhantomData }
    }
}

impl<I, R, M, F> Work for EachAlone<I, R, M, F>
where
    I: Send + Sync,
    R: Send,
    M: Fn(&I) -> u64 + Sync,
    F: Fn(&I) -> Result<R> + Sync,
{
    type Input = I;
    type Opened = Infallible;
    type Answer = Infallible;
    type Output = R;

    fn memory(&self, input: &I) -> u64 {
        (self.memory)(input)
    }

    fn open(&self, input: &I) -> Result<Opening<Infallible, R>> {
        (self.work)(input).map(Opening::Known)
    }

    fn answer(&self, _: &[Open<'_, I, Infallible>], _: &Ended) -> Vec<Result<Infallible>> {
        Vec::new()
    }

    fn finish(&self, photo: &Open<'_, I, Infallible>, _: Infallible) -> Result<R> {
        match photo.photo {}
    }
}

/// What came of an input, and how long it was seen to take.
pub(super) struct Worked<R> {
    pub(super) result: Result<R>,
    pub(super) time: Duration,
}

impl<R> Worked<R> {
    fn after(self, time: Duration) -> Self {
        Self { time: self.time + time, ..self }
    }
}

/// Works on a batch in three steps; returns what came of each input, in their order. Once the run has ended, what is not
/// done fails.
pub(super) fn in_steps<W: Work>(
    work: &W,
    inputs: Vec<&W::Input>,
    ended: &Ended,
    clock: &dyn Clock,
) -> Vec<Worked<W::Output>> {
    let open = |input| ended.check().and_then(|()| work.open(input));
    let (mut photos, mut times, mut known) = (Vec::new(), Vec::new(), Vec::new());
    for (input, Worked { result, time }) in inputs.iter().zip(each(inputs.clone(), open, clock)) {
        known.push(match result {
            Ok(Opening::Photo(photo)) => {
                photos.push(Open { input: *input, photo });
                times.push(time);
                None
            }
            Ok(Opening::Known(result)) => Some(Worked { result: Ok(result), time }),
            Err(error) => Some(Worked { result: Err(error), time }),
        });
    }
    let start = clock.now();
    let answers = all_or_each(work, &photos, ended);
    let answering =
        clock.now().saturating_sub(start) / u32::try_from(photos.len()).unwrap_or(u32::MAX).max(1);
    let finish = |(photo, answer): (_, Result<W::Answer>)| {
        let answer = answer?;
        ended.check().and_then(|()| work.finish(photo, answer))
    };
    let finished = each(photos.iter().zip(answers).collect(), finish, clock);
    let mut finished =
        finished.into_iter().zip(times).map(|(finished, time)| finished.after(time + answering));
    known.into_iter().filter_map(|known| known.or_else(|| finished.next())).collect()
}

/// Answers photos together; if that panics, each alone, so that only those that panic alone are lost. There is a result
/// for each of them.
fn all_or_each<W: Work>(
    work: &W,
    photos: &[Open<'_, W::Input, W::Opened>],
    ended: &Ended,
) -> Vec<Result<W::Answer>> {
    if photos.is_empty() {
        return Vec::new();
    }
    let missing = || Err(fault("no result"));
    let answer = |photos| ended.check().map(|()| work.answer(photos, ended));
    let mut answers = match unless_it_panics(|| answer(photos)) {
        Ok(answers) => answers,
        Err(error) if photos.len() == 1 => vec![Err(error)],
        Err(_) => {
            let alone = |photo| {
                unless_it_panics(|| answer(std::slice::from_ref(photo))?.pop().unwrap_or_else(missing))
            };
            photos.iter().map(alone).collect()
        }
    };
    answers.resize_with(photos.len(), missing);
    answers
}

/// Does work on one photo; a panic is an error of this photo.
///
/// # Errors
/// That of the work, or [`Error::Fault`] if it panics.
pub fn unless_it_panics<R>(work: impl FnOnce() -> Result<R>) -> Result<R> {
    guarded(work).unwrap_or_else(|panic| Err(fault(&panic.message)))
}

fn fault(reason: &str) -> Error {
    Error::Fault { reason: reason.to_owned() }
}

/// Works on every item, each on a thread of its own. One whose thread cannot be started is worked on here.
fn each<T: Send, R: Send>(
    items: Vec<T>,
    work: impl Fn(T) -> Result<R> + Sync,
    clock: &dyn Clock,
) -> Vec<Worked<R>> {
    let work = |item| {
        let start = clock.now();
        let result = unless_it_panics(|| work(item));
        Worked { result, time: clock.now().saturating_sub(start) }
    };
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = items.into_iter().map(|item| spawn(scope, item, work)).collect();
        threads.into_iter().filter_map(Working::wait).collect()
    })
}

/// Work on a thread, or its result where no thread could be started.
pub(super) enum Working<'scope, R> {
    Begun(thread::ScopedJoinHandle<'scope, Option<R>>),
    Done(R),
}

impl<R> Working<'_, R> {
    /// The result; none is never there, since every thread gets its item.
    pub(super) fn wait(self) -> Option<R> {
        match self {
            Self::Begun(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Self::Done(result) => Some(result),
        }
    }
}

/// Begins work on a thread of its own; where none can be started, the work is done here.
pub(super) fn spawn<'scope, T: Send + 'scope, R: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    item: T,
    work: &'scope (impl Fn(T) -> R + Sync),
) -> Working<'scope, R> {
    // The item is handed over once the thread runs: a thread that cannot be started would take it along.
    let (sender, receiver) = sync_channel::<T>(1);
    match thread::Builder::new().spawn_scoped(scope, move || receiver.recv().ok().map(work)) {
        Ok(thread) => {
            let _ = sender.send(item);
            Working::Begun(thread)
        }
        Err(_) => Working::Done(work(item)),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::clock::System, *};

    /// Numbers; what is in `open`, `answer` and `finish` says what each step does with them.
    struct Numbers<O, A, F>(O, A, F);

    impl<O, A, F> Work for Numbers<O, A, F>
    where
        O: Fn(usize) -> Result<Opening<usize, usize>> + Sync,
        A: Fn(&[usize]) -> Vec<Result<usize>> + Sync,
        F: Fn(usize) -> Result<usize> + Sync,
    {
        type Input = usize;
        type Opened = usize;
        type Answer = usize;
        type Output = usize;

        fn memory(&self, _: &usize) -> u64 {
            0
        }

        fn open(&self, input: &usize) -> Result<Opening<usize, usize>> {
            (self.0)(*input)
        }

        fn answer(&self, photos: &[Open<'_, usize, usize>], _: &Ended) -> Vec<Result<usize>> {
            (self.1)(&photos.iter().map(|photo| photo.photo).collect::<Vec<_>>())
        }

        fn finish(&self, photo: &Open<'_, usize, usize>, answer: usize) -> Result<usize> {
            assert_eq!((photo.photo, *photo.input), (answer, answer));
            (self.2)(answer)
        }
    }

    fn results(work: &impl Work<Input = usize, Output = usize>, inputs: &[usize]) -> Vec<String> {
        let worked = in_steps(work, inputs.iter().collect(), &Ended::default(), &System::start()).into_iter();
        let shown = |result: Result<usize>| {
            result.map_or_else(|error| error.to_string(), |number| number.to_string())
        };
        worked.map(|worked| shown(worked.result)).collect()
    }

    #[test]
    fn a_panic_costs_one_photo_whichever_step_it_is_in() {
        let open = |input| {
            assert!(input != 1, "opening {input}");
            Ok(Opening::Photo(input))
        };
        let answer = |photos: &[usize]| {
            assert!(!photos.contains(&2), "answering");
            photos.iter().map(|photo| Ok(*photo)).collect()
        };
        let finish = |answer| {
            assert!(answer != 3, "finishing {answer}");
            Ok(answer)
        };
        let found = results(&Numbers(open, answer, finish), &[0, 1, 2, 3, 4]);
        let fault = |what: &str| format!("a fault in fieldmark: {what}");
        let expected = ["0".into(), fault("opening 1"), fault("answering"), fault("finishing 3"), "4".into()];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_fails_in_any_step_fails_in_its_place() {
        let fails_at = |input: usize, step: usize| {
            if input % 5 == step { Err(fault(&format!("{input} in step {step}"))) } else { Ok(input) }
        };
        let open = |input: usize| match input % 5 {
            4 => Ok(Opening::Known(100 * input)),
            _ => fails_at(input, 1).map(Opening::Photo),
        };
        let answer = |photos: &[usize]| photos.iter().map(|photo| fails_at(*photo, 2)).collect();
        let found = results(&Numbers(open, answer, |answer| fails_at(answer, 3)), &[0, 1, 2, 3, 4, 5, 6]);
        let failed = |what: &str| format!("a fault in fieldmark: {what}");
        let [one, two, three, six] = ["1 in step 1", "2 in step 2", "3 in step 3", "6 in step 1"].map(failed);
        assert_eq!(found, ["0".into(), one, two, three, "400".into(), "5".into(), six]);
    }

    #[test]
    fn an_answer_that_is_missing_is_an_error_of_the_last_photos() {
        let answer = |photos: &[usize]| photos.iter().take(1).map(|photo| Ok(*photo)).collect();
        let found = results(&Numbers(|input| Ok(Opening::Photo(input)), answer, Ok), &[7, 8]);
        assert_eq!(found, ["7", "a fault in fieldmark: no result"]);
    }
}

//! Several photos are at work at once, and their results come in the photos' order.
//!
//! Photos are grouped as they come: the headers of a group are read when the group is about to begin, never those of all
//! photos. Whatever is at work together, the groups that are under way included, stays within one bound of memory.

use std::{
    collections::VecDeque,
    panic::resume_unwind,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::sync_channel,
    },
    thread,
};

use anyhow::{Result, anyhow, bail};
use fieldmark::guard::guarded;

/// Groups of photos at work at once: while those of one are decoded or drawn, those of the other have the vision tower.
/// More would only cost memory.
pub const AT_ONCE: usize = 2;

/// The bytes that all photos at work may take together, with everything that is drawn of them. A photo that needs more
/// is at work alone.
pub const MEMORY: u64 = 768 << 20;

/// Items that follow each other and pass the vision tower together.
#[derive(Debug, PartialEq)]
pub struct Group<T> {
    pub items: Vec<T>,
    /// The memory that they need.
    bytes: u64,
}

/// Gathers items as they come into groups of no more than `most`; `bytes` says how much memory an item needs.
pub fn groups<T>(
    items: impl Iterator<Item = T>,
    most: usize,
    mut bytes: impl FnMut(&T) -> u64,
) -> impl Iterator<Item = Group<T>> {
    const ROOM: u64 = MEMORY / AT_ONCE as u64;
    let mut items = items.map(move |item| (bytes(&item), item));
    let mut ahead = None;
    std::iter::from_fn(move || {
        let (first, item) = ahead.take().or_else(|| items.next())?;
        let mut group = Group { items: vec![item], bytes: first };
        while group.items.len() < most {
            let Some((more, item)) = items.next() else { break };
            if group.bytes.saturating_add(more) > ROOM {
                ahead = Some((more, item));
                break;
            }
            group.items.push(item);
            group.bytes += more;
        }
        Some(group)
    })
}

/// Whether the run ended early. Work on later photos checks it between its steps: its results would be dropped.
#[derive(Debug, Default)]
pub struct Ended(AtomicBool);

impl Ended {
    fn end(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// An error if the run ended.
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::SeqCst) { bail!("the run ended before") } else { Ok(()) }
    }
}

/// What opening an item gives.
pub enum Opening<P, R> {
    /// There is an answer to be found.
    Open(P),
    /// The result is known already.
    Done(R),
}

/// Works on a group in three steps: each item is opened on a thread of its own; those that are open are answered
/// together, in their order; and each answer is finished on a thread of its own. What fails on the way is its own result,
/// panics included: if answering together panics, each item is answered alone. Once the run has ended, all of it fails.
pub fn in_steps<T: Send, P: Send + Sync, A: Send, R: Send>(
    group: Vec<T>,
    ended: &Ended,
    open: impl Fn(T) -> Result<Opening<P, R>> + Sync,
    answer: impl Fn(&[P]) -> Vec<Result<A>>,
    finish: impl Fn(&P, A) -> Result<R> + Sync,
) -> Vec<Result<R>> {
    let mut opened = Vec::with_capacity(group.len());
    let mut known = |opening| match opening {
        Ok(Opening::Open(item)) => {
            opened.push(item);
            None
        }
        Ok(Opening::Done(result)) => Some(Ok(result)),
        Err(error) => Some(Err(error)),
    };
    let open = |item| ended.check().and_then(|()| open(item));
    let known: Vec<Option<Result<R>>> = each(group, open).into_iter().map(&mut known).collect();
    let answer = |items: &[P]| match ended.check() {
        Ok(()) => answer(items),
        Err(_) => items.iter().map(|_| ended.check().and_then(|()| bail!("no result"))).collect(),
    };
    let answers = opened.iter().zip(all_or_each(&opened, answer)).collect();
    let finish = |(item, answer): (&P, Result<A>)| {
        answer.and_then(|answer| ended.check().and_then(|()| finish(item, answer)))
    };
    let mut finished = each(answers, finish).into_iter();
    known.into_iter().filter_map(|known| known.or_else(|| finished.next())).collect()
}

/// Works on items together; if that panics, on each alone, so that only those that panic alone are lost.
pub fn all_or_each<P, A>(items: &[P], work: impl Fn(&[P]) -> Vec<Result<A>>) -> Vec<Result<A>> {
    match unless_it_panics(|| Ok(work(items))) {
        Ok(results) => results,
        Err(error) if items.len() == 1 => vec![Err(error)],
        Err(_) => {
            let alone = |item| unless_it_panics(|| work(std::slice::from_ref(item)).pop().transpose());
            let lost = || anyhow!("no result");
            items.iter().map(|item| alone(item).and_then(|result| result.ok_or_else(lost))).collect()
        }
    }
}

/// Does work on one photo; a panic is an error of this photo.
pub fn unless_it_panics<R>(work: impl FnOnce() -> Result<R>) -> Result<R> {
    guarded(work).unwrap_or_else(|panic| Err(anyhow!("a fault in fieldmark: {}", panic.message)))
}

/// Works on every item, each on a thread of its own. One whose thread cannot be started is worked on here.
fn each<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> Result<R> + Sync) -> Vec<Result<R>> {
    let work = |item| unless_it_panics(|| work(item));
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = items.into_iter().map(|item| spawn(scope, item, work)).collect();
        threads.into_iter().filter_map(Working::wait).collect()
    })
}

/// Work on a thread, or its result where no thread could be started.
enum Working<'scope, R> {
    Begun(thread::ScopedJoinHandle<'scope, Option<R>>),
    Done(R),
}

impl<R> Working<'_, R> {
    /// The result; none is never there, since every thread gets its item.
    fn wait(self) -> Option<R> {
        match self {
            Self::Begun(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Self::Done(result) => Some(result),
        }
    }
}

fn spawn<'scope, T: Send + 'scope, R: Send + 'scope>(
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

/// Does some work on every group, `at_once` of them at a time as far as their memory allows, and hands the results on in
/// the groups' order. Groups are made only when there is room for them. An error of `take` ends it all: what is at work
/// learns it from [`Ended`] and is waited for.
pub fn in_order<T: Send, R: Send>(
    groups: impl Iterator<Item = Group<T>>,
    at_once: usize,
    work: impl Fn(Vec<T>, &Ended) -> R + Sync,
    mut take: impl FnMut(R) -> Result<()>,
) -> Result<()> {
    let mut groups = groups.peekable();
    let ended = Ended::default();
    let work = |items| work(items, &ended);
    let work = &work;
    thread::scope(|scope| {
        let mut at_work = VecDeque::new();
        let mut used = 0_u64;
        loop {
            while at_work.len() < at_once.max(1)
                && let Some(group) =
                    groups.next_if(|group| at_work.is_empty() || used.saturating_add(group.bytes) <= MEMORY)
            {
                used = used.saturating_add(group.bytes);
                at_work.push_back((group.bytes, spawn(scope, group.items, work)));
            }
            let Some((bytes, group)) = at_work.pop_front() else { return Ok(()) };
            let result = group.wait();
            used = used.saturating_sub(bytes);
            result.map_or(Ok(()), &mut take).inspect_err(|_| ended.end())?;
        }
    })
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Mutex, atomic::AtomicUsize},
        time::Duration,
    };

    use super::*;

    /// Items that need no memory, each a group of its own.
    fn single(items: std::ops::Range<usize>) -> impl Iterator<Item = Group<usize>> {
        groups(items, 1, |_| 0)
    }

    #[test]
    fn results_come_in_order_whatever_takes_how_long() {
        for at_once in [0, 1, 2, 3, 50] {
            let mut taken = Vec::new();
            let slow = |items: Vec<usize>, _: &Ended| {
                thread::sleep(Duration::from_millis([3, 0, 1][items[0] % 3]));
                items[0]
            };
            in_order(single(0..20), at_once, slow, |item| {
                taken.push(item);
                Ok(())
            })
            .expect("nothing fails");
            assert_eq!(taken, (0..20).collect::<Vec<_>>(), "{at_once} at once");
        }
    }

    #[test]
    fn groups_are_bounded_by_the_number_of_photos_and_their_memory() {
        let sizes = |parts: &[u64], most| -> Vec<usize> {
            let bytes = |part: &u64| part * MEMORY / AT_ONCE as u64 / 64;
            groups(parts.iter().copied(), most, bytes).map(|group| group.items.len()).collect()
        };
        let parts = [2, 4, 6, 40, 18, 80, 2, 2];
        assert_eq!(sizes(&parts, 4), [4, 1, 1, 2]);
        assert_eq!(sizes(&parts, 3), [3, 2, 1, 2]);
        assert_eq!(sizes(&parts, 1), [1; 8]);
        assert!(sizes(&[], 4).is_empty());
        assert_eq!(groups([1, 2].into_iter(), 4, |_| u64::MAX).count(), 2);
    }

    #[test]
    fn groups_are_made_when_they_begin_and_all_at_work_share_the_memory() {
        let (seen, at_work, most) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let items = (0..40).inspect(|_| _ = seen.fetch_add(1, Ordering::SeqCst));
        let large = groups(items, 2, |item| if *item % 10 == 9 { 2 * MEMORY } else { MEMORY / 5 });
        let work = |items: Vec<usize>, _: &Ended| {
            let now = at_work.fetch_add(items.len(), Ordering::SeqCst) + items.len();
            most.fetch_max(now, Ordering::SeqCst);
            assert!(now == 1 || items.iter().all(|item| item % 10 != 9), "{items:?} beside others");
            thread::sleep(Duration::from_millis(1));
            at_work.fetch_sub(items.len(), Ordering::SeqCst);
            items
        };
        let mut taken = Vec::new();
        in_order(large, 9, work, |items| {
            // Of five at work, and of those that are looked at ahead: a group and an item.
            assert!(seen.load(Ordering::SeqCst) <= items[0] + 9);
            taken.extend(items);
            Ok(())
        })
        .expect("nothing fails");
        assert_eq!(taken, (0..40).collect::<Vec<_>>());
        assert!((2..=5).contains(&most.into_inner()));
    }

    #[test]
    fn a_panic_costs_one_item_whichever_step_it_is_in() {
        let open = |item: usize| {
            assert!(item != 1, "opening {item}");
            Ok(Opening::Open(item))
        };
        let answer = |opened: &[usize]| {
            assert!(!opened.contains(&2), "answering");
            opened.iter().map(|item| Ok(*item)).collect()
        };
        let finish = |item: &usize, answer: usize| {
            assert!(*item != 3, "finishing {answer}");
            Ok(answer)
        };
        let results = in_steps(vec![0, 1, 2, 3, 4], &Ended::default(), open, answer, finish).into_iter();
        let shown: Vec<_> = results
            .map(|result| result.map_or_else(|error| error.to_string(), |item| item.to_string()))
            .collect();
        let fault = |what: &str| format!("a fault in fieldmark: {what}");
        assert_eq!(
            shown,
            ["0".into(), fault("opening 1"), fault("answering"), fault("finishing 3"), "4".into()]
        );
    }

    #[test]
    fn what_fails_in_any_step_fails_in_its_place() {
        let fails_at = |item: usize, step: usize| match item % 5 == step {
            true => Err(anyhow::anyhow!("{item} in step {step}")),
            false => Ok(item),
        };
        let open = |item| match item % 5 {
            4 => Ok(Opening::Done(100 * item)),
            _ => fails_at(item, 1).map(Opening::Open),
        };
        let answer = |opened: &[usize]| opened.iter().map(|item| fails_at(*item, 2)).collect();
        let finish = |item: &usize, answer| {
            assert_eq!(*item, answer);
            fails_at(answer, 3)
        };
        let results = in_steps((0..10).collect(), &Ended::default(), open, answer, finish).into_iter();
        let told =
            results.map(|result| result.map_or_else(|error| error.to_string(), |item| item.to_string()));
        let expected =
            "0|1 in step 1|2 in step 2|3 in step 3|400|5|6 in step 1|7 in step 2|8 in step 3|900".split('|');
        assert!(told.eq(expected));
    }

    #[test]
    fn little_is_begun_ahead_and_an_error_ends_it() {
        let begun = AtomicUsize::new(0);
        let work = |items: Vec<usize>, _: &Ended| {
            begun.fetch_add(1, Ordering::SeqCst);
            items[0]
        };
        let mut taken = 0;
        let result = in_order(single(0..1000), 2, work, |item| {
            taken += 1;
            assert!(begun.load(Ordering::SeqCst) <= item + 2);
            if item == 5 { anyhow::bail!("enough") } else { Ok(()) }
        });
        assert!(result.is_err() && taken == 6 && begun.into_inner() < 10);
    }
    #[test]
    fn work_that_is_under_way_stops_between_its_steps_when_the_run_ends() {
        let finished = AtomicUsize::new(0);
        let (both, failed) = (std::sync::Barrier::new(2), std::sync::mpsc::channel());
        let (sender, receiver) = (Mutex::new(failed.0), Mutex::new(failed.1));
        let work = |items: Vec<usize>, ended: &Ended| {
            both.wait();
            let open = |item| Ok(Opening::Open(item));
            let answer = |opened: &[usize]| {
                if opened[0] == 4 {
                    // Until the first group's error has ended the run.
                    receiver.lock().unwrap().recv().unwrap();
                    while ended.check().is_ok() {
                        thread::yield_now();
                    }
                }
                opened.iter().map(|item| Ok(*item)).collect()
            };
            in_steps(items, ended, open, answer, |_, item| {
                finished.fetch_add(1, Ordering::SeqCst);
                Ok(item)
            })
        };
        let ended = in_order(groups(0..8, 4, |_| 0), 2, work, |results| {
            assert!(results.iter().all(Result::is_ok), "only the first group is taken");
            sender.lock().unwrap().send(()).unwrap();
            bail!("the disk is full")
        });
        assert_eq!(ended.unwrap_err().to_string(), "the disk is full");
        assert_eq!(finished.into_inner(), 4, "nothing of the second group is finished");
    }
}

//! Several photos are at work at once, and their results come in the photos' order.

use std::{sync::mpsc::sync_channel, thread};

use anyhow::Result;

/// Groups of photos at work at once: while those of one are decoded or drawn, those of the other have the vision tower.
/// More would only cost memory.
pub const AT_ONCE: usize = 2;

/// A group's photos have together no more pixels, unless there is but one: all of them are in memory.
const GROUP_PIXELS: u64 = 64_000_000;

/// Groups of items that follow each other, of no more than `most`; `pixels` tells how many an item's photo has.
pub fn groups<T>(items: Vec<T>, most: usize, pixels: impl Fn(&T) -> u64) -> Vec<Vec<T>> {
    let mut group = Group::new(most);
    let mut groups: Vec<Vec<T>> = Vec::new();
    for item in items {
        let pixels = pixels(&item);
        groups.extend(group.add(item, pixels));
    }
    groups.extend(group.take());
    groups
}

/// Items that are gathered one after the other until no more belong together.
pub struct Group<T> {
    most: usize,
    items: Vec<T>,
    /// Pixels that there is room for.
    room: u64,
}

impl<T> Group<T> {
    /// An empty group of items, of no more than `most`.
    pub fn new(most: usize) -> Self {
        Self { most, items: Vec::new(), room: GROUP_PIXELS }
    }

    /// Adds an item, whose photo has so many pixels. If there is no room for it, it begins a new group, and those before
    /// it are returned.
    pub fn add(&mut self, item: T, pixels: u64) -> Option<Vec<T>> {
        let full = if self.items.len() < self.most && pixels <= self.room { None } else { self.take() };
        self.room = self.room.saturating_sub(pixels);
        self.items.push(item);
        full
    }

    /// Empties the group; none if it is empty.
    pub fn take(&mut self) -> Option<Vec<T>> {
        self.room = GROUP_PIXELS;
        Some(std::mem::take(&mut self.items)).filter(|items| !items.is_empty())
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
/// together, in their order; and each answer is finished on a thread of its own. What fails on the way is its own result.
pub fn in_steps<T: Send, P: Send + Sync, A: Send, R: Send>(
    group: Vec<T>,
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
    let known: Vec<Option<Result<R>>> = each(group, open).into_iter().map(&mut known).collect();
    let answers = opened.iter().zip(answer(&opened)).collect();
    let mut finished = each(answers, |(item, answer)| finish(item, answer?)).into_iter();
    known.into_iter().filter_map(|known| known.or_else(|| finished.next())).collect()
}

/// Works on every item, each on a thread of its own.
fn each<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = items.into_iter().map(|item| scope.spawn(move || work(item))).collect();
        let results = threads.into_iter().map(|thread| thread.join());
        results.map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// Does some work on every item, `at_once` of them at a time, and hands the results on in the items' order. No more than
/// one result a thread waits for those before it. An error of `take` ends it all; what is at work is finished.
pub fn in_order<T: Send, R: Send>(
    items: Vec<T>,
    at_once: usize,
    work: impl Fn(T) -> R + Sync,
    mut take: impl FnMut(R) -> Result<()>,
) -> Result<()> {
    let at_once = at_once.min(items.len());
    if at_once <= 1 {
        return items.into_iter().try_for_each(|item| take(work(item)));
    }
    let mut shares: Vec<Vec<T>> = (0..at_once).map(|_| Vec::new()).collect();
    items.into_iter().enumerate().for_each(|(place, item)| shares[place % at_once].push(item));
    let work = &work;
    thread::scope(|scope| {
        // The threads take turns, so each one's results are its own turns in order.
        let begin = |share: Vec<T>| {
            let (sender, receiver) = sync_channel(0);
            scope.spawn(move || share.into_iter().try_for_each(|item| sender.send(work(item))));
            receiver
        };
        let receivers: Vec<_> = shares.into_iter().map(begin).collect();
        let mut results = receivers.iter().cycle().map_while(|receiver| receiver.recv().ok());
        results.try_for_each(&mut take)
    })
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;

    #[test]
    fn results_come_in_order_whatever_takes_how_long() {
        for at_once in [0, 1, 2, 3, 50] {
            let mut taken = Vec::new();
            let slow = |item: usize| {
                thread::sleep(Duration::from_millis([3, 0, 1][item % 3]));
                item
            };
            in_order((0..20).collect(), at_once, slow, |item| {
                taken.push(item);
                Ok(())
            })
            .expect("nothing fails");
            assert_eq!(taken, (0..20).collect::<Vec<_>>(), "{at_once} at once");
        }
    }

    #[test]
    fn groups_are_bounded_by_the_number_of_photos_and_of_their_pixels() {
        let megapixels = vec![2, 4, 6, 40, 18, 80, 2, 2];
        let sizes = |most| -> Vec<usize> {
            groups(megapixels.clone(), most, |photo| photo * 1_000_000).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(4), [4, 1, 1, 2]);
        assert_eq!(sizes(3), [3, 2, 1, 2]);
        assert_eq!(sizes(1), [1; 8]);
        assert!(groups(Vec::new(), 4, |photo| *photo).is_empty());
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
        let results = in_steps((0..10).collect(), open, answer, finish).into_iter();
        let told =
            results.map(|result| result.map_or_else(|error| error.to_string(), |item| item.to_string()));
        let expected =
            "0|1 in step 1|2 in step 2|3 in step 3|400|5|6 in step 1|7 in step 2|8 in step 3|900".split('|');
        assert!(told.eq(expected));
    }

    #[test]
    fn little_is_begun_ahead_and_an_error_ends_it() {
        let begun = AtomicUsize::new(0);
        let work = |item: usize| {
            begun.fetch_add(1, Ordering::SeqCst);
            item
        };
        let mut taken = 0;
        let result = in_order((0..1000).collect(), 2, work, |item| {
            taken += 1;
            // Both threads may hold a result and neither goes on without its turn.
            assert!(begun.load(Ordering::SeqCst) <= item + 4);
            if item == 5 { anyhow::bail!("enough") } else { Ok(()) }
        });
        assert!(result.is_err() && taken == 6 && begun.into_inner() < 10);
    }
}

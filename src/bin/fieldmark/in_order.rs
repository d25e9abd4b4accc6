//! Several photos are at work at once, and their results come in the photos' order.

use std::{sync::mpsc::sync_channel, thread};

use anyhow::Result;

/// Photos at work at once: while one is decoded or drawn, which keeps one core busy, the other has the vision tower,
/// which keeps all. More would only cost memory.
pub const AT_ONCE: usize = 2;

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

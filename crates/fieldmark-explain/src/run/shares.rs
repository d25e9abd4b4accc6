//! The time of a run is divided among its photos.
//!
//! At every moment the photos at work share the processors, so the time that passes is divided evenly among the batches
//! at work. Time in which nothing is at work belongs to nobody: the caller has the outcome of a batch, or looks for the
//! next photo. So the shares add up to the time in which the run worked, and never to more than it took.

use std::{collections::BTreeMap, time::Duration};

/// The batches at work and the time that each has had.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// When the shares were last added to.
    last: Duration,
    at_work: BTreeMap<usize, Duration>,
}

impl Shares {
    /// A batch begins.
    pub(super) fn begin(&mut self, batch: usize, now: Duration) {
        self.divide(now);
        self.at_work.insert(batch, Duration::ZERO);
    }

    /// A batch ends; returns its share of the time.
    pub(super) fn end(&mut self, batch: usize, now: Duration) -> Duration {
        self.divide(now);
        self.at_work.remove(&batch).unwrap_or_default()
    }

    fn divide(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.last);
        self.last = self.last.max(now);
        if let Ok(count @ 1..) = u32::try_from(self.at_work.len()) {
            self.at_work.values_mut().for_each(|share| *share += passed / count);
        }
    }
}

/// A share in parts, in proportion to the time that each photo was seen to take; evenly where that is not known.
pub(super) fn divided(share: Duration, times: &[Duration]) -> Vec<f64> {
    let all: Duration = times.iter().sum();
    let share = share.as_secs_f64();
    let part = |time: &Duration| match all {
        Duration::ZERO => share / times.len() as f64,
        _ => share * (time.as_secs_f64() / all.as_secs_f64()),
    };
    times.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldmark_model::random::Random;

    fn at(nanoseconds: u64) -> Duration {
        Duration::from_nanos(nanoseconds)
    }

    #[test]
    fn batches_at_work_together_share_the_time() {
        let mut shares = Shares::default();
        shares.begin(0, at(100));
        shares.begin(1, at(300));
        assert_eq!(shares.end(0, at(700)), at(200 + 400 / 2));
        assert_eq!(shares.end(1, at(1000)), at(400 / 2 + 300));
        shares.begin(2, at(5000));
        assert_eq!(shares.end(2, at(5001)), at(1), "nobody worked in between");
    }

    #[test]
    fn shares_add_up_to_the_time_in_which_something_was_at_work() {
        let mut random = Random::new(7);
        for _ in 0..100 {
            let (mut shares, mut now, mut busy, mut sum) = (Shares::default(), 0, 0, Duration::ZERO);
            let (mut next, mut at_work) = (0, Vec::new());
            for _ in 0..200 {
                let passed = random.below(1000) as u64 * 2 * 3;
                now += passed;
                busy += if at_work.is_empty() { 0 } else { passed };
                if at_work.len() < 3 && random.below(2) == 0 {
                    shares.begin(next, at(now));
                    at_work.push(next);
                    next += 1;
                } else if !at_work.is_empty() {
                    sum += shares.end(at_work.swap_remove(random.below(at_work.len())), at(now));
                }
            }
            for batch in at_work {
                sum += shares.end(batch, at(now));
            }
            assert_eq!(sum, at(busy));
            assert!(sum <= at(now));
        }
    }

    #[test]
    fn a_share_is_divided_as_the_photos_took_their_time() {
        assert_eq!(divided(at(1_000_000_000), &[at(1), at(3), at(0)]), [0.25, 0.75, 0.0]);
        assert_eq!(divided(at(1_000_000_000), &[at(0), at(0)]), [0.5, 0.5]);
        assert!(divided(at(5), &[]).is_empty());
    }
}

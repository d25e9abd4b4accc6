//! Photos become batches as they come: the header of a photo is read when its batch is about to begin.

use super::photos::MEMORY;

/// Batches at work at once: while the photos of one are decoded or drawn, those of the other have the vision tower. More
/// would only cost memory.
pub const AT_ONCE: usize = 2;

/// Inputs that follow each other and are worked on together.
#[derive(Debug, PartialEq)]
pub(super) struct Batch<T> {
    pub(super) inputs: Vec<T>,
    /// The memory that they need.
    pub(super) bytes: u64,
}

/// Gathers inputs as they come into batches of no more than `most`; `bytes` says how much memory an input needs. An input
/// is taken, and its memory asked for, no earlier than the batch before it is given out.
pub(super) fn batches<T>(
    inputs: impl Iterator<Item = T>,
    most: usize,
    mut bytes: impl FnMut(&T) -> u64,
) -> impl Iterator<Item = Batch<T>> {
    const ROOM: u64 = MEMORY / AT_ONCE as u64;
    let mut inputs = inputs.map(move |input| (bytes(&input), input));
    let mut ahead = None;
    std::iter::from_fn(move || {
        let (first, input) = ahead.take().or_else(|| inputs.next())?;
        let mut batch = Batch { inputs: vec![input], bytes: first };
        while batch.inputs.len() < most {
            let Some((more, input)) = inputs.next() else { break };
            if batch.bytes.saturating_add(more) > ROOM {
                ahead = Some((more, input));
                break;
            }
            batch.inputs.push(input);
            batch.bytes += more;
        }
        Some(batch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_bounded_by_the_number_of_photos_and_their_memory() {
        let sizes = |parts: &[u64], most| -> Vec<usize> {
            let bytes = |part: &u64| part * MEMORY / AT_ONCE as u64 / 64;
            batches(parts.iter().copied(), most, bytes).map(|batch| batch.inputs.len()).collect()
        };
        let parts = [2, 4, 6, 40, 18, 80, 2, 2];
        assert_eq!(sizes(&parts, 4), [4, 1, 1, 2]);
        assert_eq!(sizes(&parts, 3), [3, 2, 1, 2]);
        assert_eq!(sizes(&parts, 1), [1; 8]);
        assert!(sizes(&[], 4).is_empty());
        assert_eq!(batches([1, 2].into_iter(), 4, |_| u64::MAX).count(), 2);
    }
}

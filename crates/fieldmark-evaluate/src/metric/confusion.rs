//! Two sets of pixels or points, held against each other.

/// How often a prediction was right and wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Confusion {
    /// In both.
    pub true_positives: usize,
    /// In the prediction alone.
    pub false_positives: usize,
    /// In the truth alone.
    pub false_negatives: usize,
    /// In neither.
    pub true_negatives: usize,
}

impl Confusion {
    /// Counts pairs of prediction and truth.
    pub fn of(pairs: impl IntoIterator<Item = (bool, bool)>) -> Self {
        let mut counts = Self::default();
        for pair in pairs {
            let count = match pair {
                (true, true) => &mut counts.true_positives,
                (true, false) => &mut counts.false_positives,
                (false, true) => &mut counts.false_negatives,
                (false, false) => &mut counts.true_negatives,
            };
            *count += 1;
        }
        counts
    }

    /// Intersection over union of prediction and truth (Jaccard), 0 to 1, more is better. `None` where the truth is
    /// empty.
    pub fn iou(&self) -> Option<f64> {
        let truth = self.true_positives + self.false_negatives;
        (truth > 0).then(|| self.true_positives as f64 / (truth + self.false_positives) as f64)
    }

    /// The same of what is in neither; `None` where the truth holds everything.
    pub fn background_iou(&self) -> Option<f64> {
        let (truth, missed) = (self.true_negatives + self.false_positives, self.false_negatives);
        (truth > 0).then(|| self.true_negatives as f64 / (truth + missed) as f64)
    }

    /// The mean of the two, 0 to 1, more is better; the one that there is where the other has no meaning.
    ///
    /// The ImageNet-Segmentation protocol and OpenImages V7 count over the whole data set before they divide; here
    /// every picture has its own value, so that intervals over pictures can be taken.
    pub fn mean_iou(&self) -> Option<f64> {
        match (self.iou(), self.background_iou()) {
            (Some(foreground), Some(background)) => Some((foreground + background) / 2.0),
            (one, other) => one.or(other),
        }
    }

    /// The share that is right, 0 to 1, more is better; `None` for nothing.
    pub fn accuracy(&self) -> Option<f64> {
        let right = self.true_positives + self.true_negatives;
        let all = right + self.false_positives + self.false_negatives;
        (all > 0).then(|| right as f64 / all as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_by_hand() {
        let truth = [true, true, false, false, false];
        let counts = Confusion::of([true, false, true, false, false].into_iter().zip(truth));
        assert_eq!((counts.iou(), counts.background_iou()), (Some(1.0 / 3.0), Some(0.5)));
        assert_eq!((counts.mean_iou(), counts.accuracy()), (Some((1.0 / 3.0 + 0.5) / 2.0), Some(0.6)));
    }

    #[test]
    fn what_has_no_meaning_is_none() {
        let whole = Confusion::of([(true, true), (false, true)]);
        assert_eq!((whole.background_iou(), whole.mean_iou()), (None, Some(0.5)));
        let nothing = Confusion::of([(true, false)]);
        assert_eq!((nothing.iou(), nothing.mean_iou()), (None, Some(0.0)));
        assert_eq!(Confusion::default().accuracy(), None);
    }
}

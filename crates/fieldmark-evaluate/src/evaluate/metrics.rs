//! The one list of everything that is measured of a map: names, which direction is better, and what must be known.

use fieldmark_model::named;

/// A number that says how good a map is. [`crate::metric`] has the formulas; what is measured with the model
/// itself is put together in [`faithfulness`](super::faithfulness) and [`sanity`](super::sanity).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Metric {
    /// Whether the largest value lies in the truth, or near it: 0 to 1.
    PointingGame,
    /// The share of the positive evidence that lies in the truth: 0 to 1.
    EnergyPointing,
    /// The average precision of the pixels, ranked by the map: 0 to 1.
    AveragePrecision,
    /// The intersection over union with the truth at the threshold that suits the picture best: 0 to 1.
    BestIou,
    /// The intersection over union of the truth and the pixels of at least half the peak: 0 to 1.
    IouHalfPeak,
    /// The intersection over union of the truth and the pixels above the map's mean: 0 to 1.
    IouAboveMean,
    /// The mean of [`IouAboveMean`](Self::IouAboveMean) and the same of both backgrounds, as in the
    /// ImageNet-Segmentation protocol: 0 to 1.
    MeanIouAboveMean,
    /// The share of the pixels that lie on the right side of the map's mean, as in the same protocol: 0 to 1.
    PixelAccuracy,
    /// Whether the box around the largest region of at least half the peak overlaps the truth's by 0.5: 0 or 1.
    BoxAccuracy,
    /// The mean over the overlaps 0.3, 0.5 and 0.7 of whether any region's box reaches it: 0 to 1.
    BoxAccuracyV2,
    /// The mean intersection over union at points that are known to be in and out, as for OpenImages V7: 0 to 1.
    PointMeanIou,
    /// How much more the target's probability drops than the rivals' where the top 5 % are removed: -2 to 2.
    ConfidenceDrop5,
    /// The same where the top 10 % are removed: -2 to 2.
    ConfidenceDrop10,
    /// The area under the curve of the score while pixels are removed; in the score's unit.
    DeletionAuc,
    /// The area under the curve of the score while pixels are added to a changed picture; in the score's unit.
    InsertionAuc,
    /// By which share the score drops where the photo is seen through the map alone: 0 to 1.
    AverageDrop,
    /// Whether the score rises there: 0 or 1.
    AverageIncrease,
    /// The mean change of the score where the most relevant pixels are replaced by their neighbours' mean.
    RoadMostFirst,
    /// The mean change of the score where the least relevant pixels are.
    RoadLeastFirst,
    /// Half the difference of the two.
    RoadCombined,
    /// The rank correlation of the map with that of another concept: -1 to 1.
    OtherConceptRank,
    /// The structural similarity of the two: -1 to 1.
    OtherConceptSsim,
    /// The rank correlation with the map of the same words in another order.
    ShuffledWordsRank,
    /// The structural similarity of the two.
    ShuffledWordsSsim,
    /// The rank correlation with the map of random letters.
    GibberishRank,
    /// The structural similarity of the two.
    GibberishSsim,
    /// The rank correlation with the map of a model whose last block's weights are shuffled.
    LastBlockRandomRank,
    /// The structural similarity of the two.
    LastBlockRandomSsim,
    /// The rank correlation with the map of a model of which all blocks' weights are shuffled.
    AllBlocksRandomRank,
    /// The structural similarity of the two.
    AllBlocksRandomSsim,
}

// In the order of tables.
named!(Metric, "metric",
    PointingGame => "pointing_game",
    EnergyPointing => "energy_pointing",
    AveragePrecision => "average_precision",
    BestIou => "best_iou",
    IouHalfPeak => "iou_half_peak",
    IouAboveMean => "iou_above_mean",
    MeanIouAboveMean => "mean_iou_above_mean",
    PixelAccuracy => "pixel_accuracy",
    BoxAccuracy => "box_accuracy",
    BoxAccuracyV2 => "box_accuracy_v2",
    PointMeanIou => "point_mean_iou",
    ConfidenceDrop5 => "confidence_drop_5",
    ConfidenceDrop10 => "confidence_drop_10",
    DeletionAuc => "deletion_auc",
    InsertionAuc => "insertion_auc",
    AverageDrop => "average_drop",
    AverageIncrease => "average_increase",
    RoadMostFirst => "road_morf",
    RoadLeastFirst => "road_lerf",
    RoadCombined => "road_combined",
    OtherConceptRank => "other_concept_rank",
    OtherConceptSsim => "other_concept_ssim",
    ShuffledWordsRank => "shuffled_words_rank",
    ShuffledWordsSsim => "shuffled_words_ssim",
    GibberishRank => "gibberish_rank",
    GibberishSsim => "gibberish_ssim",
    LastBlockRandomRank => "last_block_random_rank",
    LastBlockRandomSsim => "last_block_random_ssim",
    AllBlocksRandomRank => "all_blocks_random_rank",
    AllBlocksRandomSsim => "all_blocks_random_ssim",
);

/// What a metric is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Group {
    /// Does the map find what is known to be there?
    Localisation,
    /// Does the model's answer depend on what the map points at?
    Faithfulness,
    /// Does the map depend on the question and on what the model learnt?
    Sanity,
}

named!(Group, "group", Localisation => "localisation", Faithfulness => "faithfulness", Sanity => "sanity");

/// Which direction is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

named!(Better, "direction", Higher => "higher", Lower => "lower");

impl Better {
    /// The other direction.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Higher => Self::Lower,
            Self::Lower => Self::Higher,
        }
    }

    /// Whether one value is better than another; equal ones are not.
    pub fn prefers(self, one: f64, to: f64) -> bool {
        match self {
            Self::Higher => one > to,
            Self::Lower => one < to,
        }
    }
}

/// What must be known for a metric to have a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Needs {
    /// Only that the concept is in the picture.
    Presence,
    /// At least one rival.
    Rivals,
    /// Where the concept is: a mask, a box or one point.
    Place,
    /// Which pixels show the concept: a mask or a box.
    Area,
    /// Points that are known to lie in and out of it.
    Points,
}

named!(Needs, "needs",
    Presence => "presence",
    Rivals => "rivals",
    Place => "place",
    Area => "area",
    Points => "points",
);

/// What a table says of a metric.
struct Facts {
    title: &'static str,
    group: Group,
    better: Better,
    needs: Needs,
}

impl Metric {
    /// The name in tables.
    pub fn title(self) -> &'static str {
        self.facts().title
    }

    /// What it is about.
    pub fn group(self) -> Group {
        self.facts().group
    }

    /// Which direction is better. Where a curve begins with the least relevant pixels,
    /// [`Faithfulness::better`](super::Faithfulness::better) says otherwise.
    pub fn better(self) -> Better {
        self.facts().better
    }

    /// What must be known.
    pub fn needs(self) -> Needs {
        self.facts().needs
    }

    fn facts(self) -> Facts {
        match self {
            Self::PointingGame => place("pointing game", Needs::Place),
            Self::EnergyPointing => place("energy pointing game", Needs::Area),
            Self::AveragePrecision => place("pixel average precision", Needs::Area),
            Self::BestIou => place("IoU at best threshold", Needs::Area),
            Self::IouHalfPeak => place("IoU at half the peak", Needs::Area),
            Self::IouAboveMean => place("IoU above the mean", Needs::Area),
            Self::MeanIouAboveMean => place("mean IoU above the mean", Needs::Area),
            Self::PixelAccuracy => place("pixel accuracy", Needs::Area),
            Self::BoxAccuracy => place("box accuracy", Needs::Area),
            Self::BoxAccuracyV2 => place("box accuracy V2", Needs::Area),
            Self::PointMeanIou => place("mean IoU at points", Needs::Points),
            Self::ConfidenceDrop5 => Facts { needs: Needs::Rivals, ..rises("relative drop, top 5 %") },
            Self::ConfidenceDrop10 => Facts { needs: Needs::Rivals, ..rises("relative drop, top 10 %") },
            Self::DeletionAuc => falls("deletion AUC"),
            Self::InsertionAuc => rises("insertion AUC"),
            Self::AverageDrop => falls("average drop"),
            Self::AverageIncrease => rises("average increase"),
            Self::RoadMostFirst => falls("ROAD, most relevant first"),
            Self::RoadLeastFirst => rises("ROAD, least relevant first"),
            Self::RoadCombined => rises("ROAD, combined"),
            Self::OtherConceptRank => same("other concept: rank correlation"),
            Self::OtherConceptSsim => same("other concept: SSIM"),
            Self::ShuffledWordsRank => same("shuffled words: rank correlation"),
            Self::ShuffledWordsSsim => same("shuffled words: SSIM"),
            Self::GibberishRank => same("gibberish: rank correlation"),
            Self::GibberishSsim => same("gibberish: SSIM"),
            Self::LastBlockRandomRank => same("last block random: rank correlation"),
            Self::LastBlockRandomSsim => same("last block random: SSIM"),
            Self::AllBlocksRandomRank => same("all blocks random: rank correlation"),
            Self::AllBlocksRandomSsim => same("all blocks random: SSIM"),
        }
    }
}

/// Localisation: more is better.
fn place(title: &'static str, needs: Needs) -> Facts {
    Facts { title, group: Group::Localisation, better: Better::Higher, needs }
}

/// Faithfulness of which more is better.
fn rises(title: &'static str) -> Facts {
    Facts { title, group: Group::Faithfulness, better: Better::Higher, needs: Needs::Presence }
}

/// Faithfulness of which less is better.
fn falls(title: &'static str) -> Facts {
    Facts { better: Better::Lower, ..rises(title) }
}

/// Sanity: the less two maps have in common, the better.
fn same(title: &'static str) -> Facts {
    Facts { group: Group::Sanity, ..falls(title) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_list_is_whole_and_in_order() {
        assert!(Metric::ALL.is_sorted(), "the order of the list is that of the type");
        assert_eq!(Metric::ALL.last(), Some(&Metric::AllBlocksRandomSsim), "the last one is there");
        let groups: Vec<Group> = Metric::ALL.iter().map(|metric| metric.group()).collect();
        assert!(groups.is_sorted(), "groups stay together");
    }

    #[test]
    fn names_are_unique_and_read_back() {
        let names: BTreeSet<_> = Metric::ALL.iter().map(|metric| metric.name()).collect();
        let titles: BTreeSet<_> = Metric::ALL.iter().map(|metric| metric.title()).collect();
        assert_eq!((names.len(), titles.len()), (Metric::ALL.len(), Metric::ALL.len()));
        for metric in Metric::ALL {
            assert_eq!(metric.name().parse::<Metric>().unwrap(), *metric);
        }
        assert!("iou".parse::<Metric>().unwrap_err().to_string().contains("pointing_game"));
    }
}

//! How pixels are removed and the answer is scored: the choices that change a faithfulness number, each by name, and
//! what papers chose.

use serde::{Deserialize, Serialize};

use super::super::{Better, Group, Metric};
use fieldmark_model::error::{Error, Result};
use fieldmark_model::named;

/// What removed pixels become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fill {
    /// The mean colour of the checkpoint's training pictures, which is 0 after normalisation.
    #[default]
    Mean,
    /// Black.
    Black,
    /// The photo itself, blurred: a Gaussian of 5 pixels' deviation, cut at 5 pixels, as in RISE.
    Blur,
    /// Random colours, each of the 256 values of a channel equally often.
    Noise,
}

/// Which pixels are removed, or put in, first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Order {
    /// Those with the largest values of the map.
    #[default]
    MostFirst,
    /// Those with the smallest.
    LeastFirst,
}

impl Order {
    /// The other one.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::MostFirst => Self::LeastFirst,
            Self::LeastFirst => Self::MostFirst,
        }
    }
}

/// The number that is followed while pixels are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Score {
    /// The target's probability among it and its rivals, 0 to 1. With no rival it says nothing where the checkpoint's
    /// probabilities are a softmax.
    #[default]
    Probability,
    /// The target's logit.
    Logit,
    /// The target's cosine with the picture, -1 to 1.
    Similarity,
}

/// What is removed at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Space {
    /// Pixels of the model's input, ranked by the map at their centres. Not those of the photo: the model sees no
    /// others.
    #[default]
    Pixels,
    /// Whole patches of the model's input, ranked by the map at their centres.
    Patches,
}

named!(Fill, "fill", Mean => "mean", Black => "black", Blur => "blur", Noise => "noise");
named!(Order, "order", MostFirst => "most-first", LeastFirst => "least-first");
named!(Score, "score", Probability => "probability", Logit => "logit", Similarity => "similarity");
named!(Space, "space", Pixels => "pixels", Patches => "patches");

/// How faithfulness is measured. All of it is recorded in results, because all of it changes the numbers and even
/// the ranking of methods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Faithfulness {
    /// What is measured; what is left out costs no pass. Only metrics of that group have a place here.
    pub metrics: Vec<Metric>,
    /// What removed pixels become: in deletion, in the relative confidence drop, and where the photo is seen
    /// through the map. ROAD has a fill of its own.
    pub fill: Fill,
    /// What insertion begins with.
    pub insertion_fill: Fill,
    /// Which pixels go first in deletion and come first in insertion.
    pub order: Order,
    /// The share of the pixels between two points of a curve, above 0 and at most 1.
    pub step: f64,
    /// The share of the pixels at which curves end, above 0 and at most 1.
    pub until: f64,
    /// What is followed. The relative confidence drop is about probabilities and begins with the most relevant pixels,
    /// regardless of this field and `order`.
    pub score: Score,
    /// What is removed at a time.
    pub space: Space,
    /// The deviation of the noise that ROAD adds to what it fills in, in units of the normalised input.
    pub road_noise: f64,
    /// What noise follows from: the fill's, and ROAD's, which is another one for every count of pixels.
    pub seed: u64,
}

fieldmark_model::setters!(Faithfulness {
    metrics: Vec<Metric>,
    fill: Fill,
    insertion_fill: Fill,
    order: Order,
    step: f64,
    until: f64,
    score: Score,
    space: Space,
    road_noise: f64,
    seed: u64,
});

/// A paper's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Preset {
    /// The name on the command line.
    pub name: &'static str,
    /// Where the settings come from, and where they depart from it.
    pub source: &'static str,
}

/// Every preset; the first is the default.
pub const PRESETS: [Preset; 6] = [
    Preset {
        name: "torch-cam",
        source: "torchcam.metrics 0.5: 20 steps over all pixels, zeros of the normalised input for both curves, \
                 trapezoids; ROAD as in pytorch-grad-cam 1.5, and the relative drop with the same zeros",
    },
    Preset {
        name: "finer-cam",
        source: "Zhang et al., CVPR 2025, arXiv 2501.11309, Eq. 10 and Table 1: relative drop and deletion. Neither \
                 paper nor code say what pixels become; zeros of the normalised input are assumed",
    },
    Preset {
        name: "rise",
        source: "Petsiuk et al., BMVC 2018, arXiv 1806.07421, evaluation.py: a row's number of pixels a step, deletion \
                 to zeros of the normalised input, insertion from a blurred photo. The blur is renormalised at the \
                 borders, where the authors' darkens them",
    },
    Preset {
        name: "grad-eclip",
        source: "Zhao et al., ICML 2024, Grad-ECLIP: steps of 5 % up to half of the pixels, deletion to random \
                 colours, insertion from black. The authors follow top-k accuracy at the photo's size; here the \
                 target's probability at the model's input",
    },
    Preset {
        name: "transformer-explainability",
        source: "Chefer et al., CVPR 2021, arXiv 2012.09838: steps of 10 % up to 90 % of the pixels, to black. The \
                 authors follow top-1 accuracy; here the target's probability",
    },
    Preset {
        name: "road",
        source: "Rong et al., ICML 2022, arXiv 2202.00449, as in pytorch-grad-cam 1.5: 10 to 90 % of the pixels \
                 filled in from their neighbours, noise of 0.01",
    },
];

impl Default for Faithfulness {
    /// The preset `torch-cam`.
    fn default() -> Self {
        Self {
            metrics: Metric::ALL
                .iter()
                .copied()
                .filter(|metric| metric.group() == Group::Faithfulness)
                .collect(),
            fill: Fill::Mean,
            insertion_fill: Fill::Mean,
            order: Order::MostFirst,
            step: 0.05,
            until: 1.0,
            score: Score::Probability,
            space: Space::Pixels,
            road_noise: 0.01,
            seed: 1,
        }
    }
}

impl Faithfulness {
    /// A paper's settings, by the name of one of [`PRESETS`].
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn preset(name: &str) -> Result<Self> {
        let all = Self::default();
        let curves = vec![Metric::DeletionAuc, Metric::InsertionAuc];
        Ok(match name {
            "torch-cam" => all,
            "finer-cam" => {
                let drops = [Metric::ConfidenceDrop5, Metric::ConfidenceDrop10, Metric::DeletionAuc];
                Self { metrics: drops.into(), ..all }
            }
            "rise" => Self { metrics: curves, insertion_fill: Fill::Blur, step: 1.0 / 224.0, ..all },
            "grad-eclip" => {
                let (fill, insertion_fill) = (Fill::Noise, Fill::Black);
                Self { metrics: curves, fill, insertion_fill, until: 0.5, ..all }
            }
            "transformer-explainability" => {
                let metrics = vec![Metric::DeletionAuc];
                Self { metrics, fill: Fill::Black, step: 0.1, until: 0.9, ..all }
            }
            "road" => {
                let metrics = vec![Metric::RoadMostFirst, Metric::RoadLeastFirst, Metric::RoadCombined];
                Self { metrics, ..all }
            }
            _ => {
                let names = PRESETS.map(|preset| preset.name).join(", ");
                let reason = format!("expected one of {names}, found {name:?}");
                return Err(Error::Option { option: "faithfulness", reason });
            }
        })
    }

    /// Which direction of a metric is better in this order: removing what matters least first turns both curves
    /// round.
    pub fn better(&self, metric: Metric) -> Better {
        match (self.order, metric) {
            (Order::LeastFirst, Metric::DeletionAuc | Metric::InsertionAuc) => metric.better().opposite(),
            _ => metric.better(),
        }
    }

    /// Refuses what cannot be measured.
    ///
    /// # Errors
    /// If nothing is to be measured or a metric is of another group, or a number is out of its range.
    pub fn check(&self) -> Result<()> {
        let refuse = |option, reason| Err(Error::Option { option, reason });
        if self.metrics.is_empty() {
            return refuse("metrics", "expected at least one, found none".into());
        }
        if let Some(other) = self.metrics.iter().find(|metric| metric.group() != Group::Faithfulness) {
            return refuse("metrics", format!("expected some of faithfulness, found {other}"));
        }
        for (option, share) in [("step", self.step), ("until", self.until)] {
            if !(share > 0.0 && share <= 1.0) {
                return refuse(option, format!("expected a share above 0 and at most 1, found {share}"));
            }
        }
        // A point of a curve is a pass through the vision tower.
        if self.until / self.step > MOST_POINTS {
            let reason = format!("expected at most {MOST_POINTS} points of a curve, found more");
            return refuse("step", reason);
        }
        if self.road_noise >= 0.0 && self.road_noise.is_finite() {
            Ok(())
        } else {
            refuse("road noise", format!("expected 0 or more, found {}", self.road_noise))
        }
    }
}

/// The most points that a curve may have: RISE has 224.
const MOST_POINTS: f64 = 1000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_there_and_sound() {
        for preset in PRESETS {
            assert!(Faithfulness::preset(preset.name).unwrap().check().is_ok(), "{}", preset.name);
        }
        assert_eq!(Faithfulness::preset(PRESETS[0].name).unwrap(), Faithfulness::default());
        let error = Faithfulness::preset("auc").unwrap_err().to_string();
        assert!(error.contains("rise") && error.contains("\"auc\""), "{error}");
    }

    #[test]
    fn names_are_listed_where_one_is_wrong() {
        assert!("white".parse::<Fill>().unwrap_err().to_string().contains("mean, black, blur or noise"));
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        let refused = |options: Faithfulness| options.check().unwrap_err().to_string();
        let some = Faithfulness::default;
        assert!(refused(Faithfulness { step: 0.0, ..some() }).starts_with("step: expected a share"));
        assert!(refused(Faithfulness { until: f64::NAN, ..some() }).starts_with("until: expected"));
        assert!(refused(Faithfulness { step: 1e-9, ..some() }).starts_with("step: expected at most 1000"));
        assert!(
            refused(Faithfulness { metrics: vec![], ..some() }).starts_with("metrics: expected at least")
        );
        let other = Faithfulness { metrics: vec![Metric::BestIou], ..some() };
        assert!(refused(other).ends_with("found best_iou"));
        assert!(refused(Faithfulness { road_noise: -1.0, ..some() }).starts_with("road noise"));
    }

    #[test]
    fn the_other_order_turns_the_curves_round() {
        let least = Faithfulness { order: Order::LeastFirst, ..Faithfulness::default() };
        assert_eq!(least.better(Metric::DeletionAuc), Better::Higher);
        assert_eq!(least.better(Metric::RoadMostFirst), Better::Lower);
        assert_eq!(Faithfulness::default().better(Metric::DeletionAuc), Better::Lower);
    }
}

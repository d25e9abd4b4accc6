//! CONTRAST, before anything is differentiated: which scalar of the logits is explained.
//!
//! An objective is a function of the logits of the target (first) and of the references (the rest). Its
//! gradient with respect to the logits says which prompts count, how much and with which sign; because a logit
//! is linear in the text's embedding, that mix of prompts is one virtual prompt for everything that follows.
//!
//! A new objective is one file here and one line in [`OBJECTIVES`].

mod logit;
mod mean;
pub mod references;
mod softmax;
mod weighted;

pub use logit::Logit;
pub use mean::Mean;
pub use softmax::Softmax;
pub use weighted::Weighted;

use serde::{Deserialize, Serialize};

use fieldmark_model::error::{Error, Result};
use fieldmark_model::named;

/// A scalar of the logits of a target and its references.
pub trait Objective: Send + Sync {
    /// The name on the command line and in results.
    fn name(&self) -> &'static str;

    /// One line on what it computes.
    fn summary(&self) -> &'static str;

    /// The objective's value.
    ///
    /// `logits`: the target's, then the references'; at least one. Without references it is the target's logit.
    fn value(&self, logits: &[f64], strength: Strength) -> f64;

    /// The derivative of [`value`](Self::value) with respect to every logit.
    fn gradient(&self, logits: &[f64], strength: Strength) -> Vec<f64>;

    /// The strength that has the same effect as the one asked for, and that results record.
    fn effective_strength(&self, strength: Strength) -> Strength {
        strength
    }

    /// Whether references have a part in [`value`](Self::value) at any strength.
    fn contrasts(&self) -> bool {
        self.effective_strength(Strength(1.0)).get() > 0.0
    }

    /// The unit of [`value`](Self::value) for so many logits, the target's among them.
    fn unit(&self, _competing: usize, _strength: Strength) -> Unit {
        Unit::Logits
    }
}

/// What an objective's value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// Similarities times the checkpoint's logit scale.
    Logits,
    /// 0 to 1.
    Probability,
}

named!(Unit, "unit", Logits => "logits", Probability => "probability");

/// Every objective, the default first.
pub static OBJECTIVES: &[&dyn Objective] = &[&Mean, &Weighted, &Softmax, &Logit];

/// The objective of that name.
///
/// # Errors
/// [`Error::Option`] names those that there are.
pub fn objective(name: &str) -> Result<&'static dyn Objective> {
    let found = OBJECTIVES.iter().find(|objective| objective.name() == name);
    found.copied().ok_or_else(|| {
        let names: Vec<_> = OBJECTIVES.iter().map(|objective| objective.name()).collect();
        let reason = format!("expected one of {}, found {name:?}", names.join(", "));
        Error::Option { option: "aggregate", reason }
    })
}

/// How much of the references is subtracted: γ of the Finer-CAM paper, alpha in its code. Finite and not
/// negative; 0 is the plain map.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Strength(f64);

impl Strength {
    /// Checks the value.
    ///
    /// # Errors
    /// [`Error::Option`] if it is negative or not finite.
    pub fn new(value: f64) -> Result<Self> {
        if value.is_finite() && value >= 0.0 {
            return Ok(Self(value));
        }
        let reason = format!("expected a number that is not negative, found {value}");
        Err(Error::Option { option: "strength", reason })
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Strength {
    type Error = Error;

    fn try_from(value: f64) -> Result<Self> {
        Self::new(value)
    }
}

impl From<Strength> for f64 {
    fn from(strength: Strength) -> Self {
        strength.0
    }
}

impl Default for Strength {
    /// 0.6, as in the paper.
    fn default() -> Self {
        Self(0.6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_agree_with_finite_differences() {
        let logits = [3.0, 2.5, 1.0, 2.9];
        for objective in OBJECTIVES {
            for strength in [0.0, 0.6, 1.0, 2.0].map(Strength) {
                let gradient = objective.gradient(&logits, strength);
                for (index, found) in gradient.iter().enumerate() {
                    let at = |step: f64| {
                        let mut moved = logits;
                        moved[index] += step;
                        objective.value(&moved, strength)
                    };
                    let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
                    let name = objective.name();
                    assert!((found - expected).abs() < 1e-8, "{name} {index}: {found} against {expected}");
                }
            }
        }
    }

    #[test]
    fn without_references_every_objective_is_the_logit() {
        for objective in OBJECTIVES {
            assert_eq!(objective.value(&[7.0], Strength(0.6)), 7.0);
            assert_eq!(objective.gradient(&[7.0], Strength(0.6)), [1.0]);
        }
    }

    #[test]
    fn the_mean_is_subtracted_by_hand() {
        assert_eq!(Mean.value(&[5.0, 2.0, 4.0], Strength(0.5)), 3.5);
        assert_eq!(Mean.gradient(&[5.0, 2.0, 4.0], Strength(0.5)), [1.0, -0.25, -0.25]);
    }

    #[test]
    fn the_probability_by_hand_and_its_strength_is_all_or_none() {
        // exp(ln 3) : 1 : 0 is a probability of 3/4, whose slope is 3/4 · 1/4.
        let logits = [3.0_f64.ln(), 0.0, f64::NEG_INFINITY];
        assert!((Softmax.value(&logits, Strength(0.6)) - 0.75).abs() < 1e-12);
        let gradient = Softmax.gradient(&logits, Strength(2.0));
        assert!((gradient[0] - 0.1875).abs() < 1e-12 && (gradient[1] + 0.1875).abs() < 1e-12);
        assert_eq!(gradient[2], 0.0);
        assert_eq!(Softmax.effective_strength(Strength(0.6)), Strength(1.0));
        assert_eq!(Softmax.unit(3, Strength(0.6)), Unit::Probability);
        for (competing, strength) in [(1, 0.6), (3, 0.0)] {
            assert_eq!(Softmax.unit(competing, Strength(strength)), Unit::Logits);
        }
        assert_eq!(Softmax.gradient(&[1.0, 2.0], Strength(0.0)), [1.0, 0.0]);
    }

    #[test]
    fn the_logit_alone_knows_no_strength() {
        assert_eq!(Logit.value(&[5.0, 2.0, 4.0], Strength(0.5)), 5.0);
        assert_eq!(Logit.gradient(&[5.0, 2.0, 4.0], Strength(2.0)), [1.0, 0.0, 0.0]);
        assert_eq!(Logit.effective_strength(Strength(0.6)), Strength(0.0));
        assert_eq!(Logit.unit(3, Strength(1.0)), Unit::Logits);
        let contrasting = OBJECTIVES.iter().filter(|objective| objective.contrasts()).count();
        assert_eq!(contrasting, OBJECTIVES.len() - 1);
    }

    #[test]
    fn a_target_that_wins_by_far_keeps_a_slope() {
        let gradient = Softmax.gradient(&[60.0, 0.0], Strength(1.0));
        assert!(gradient[0] > 0.0 && gradient[0] < 1e-25, "{gradient:?}");
        assert_eq!(gradient[0], -gradient[1]);
    }

    #[test]
    fn strengths_are_checked_and_names_listed() {
        assert!(Strength::new(-0.1).is_err() && Strength::new(f64::NAN).is_err());
        let error = objective("median").err().map(|error| error.to_string());
        assert_eq!(
            error.as_deref(),
            Some("aggregate: expected one of mean, weighted, softmax, logit, found \"median\"")
        );
    }
}

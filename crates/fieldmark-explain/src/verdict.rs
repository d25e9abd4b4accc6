//! Is the concept there at all? A map alone cannot say: scaled, every map has a brightest place.
//!
//! What decides, in this order:
//!
//! 1. A prompt with a word that the checkpoint cannot know is [`Verdict::Unknown`]: what its map shows is about
//!    other words. Only a checkpoint whose configuration lists all words that it was trained on
//!    ([`ClosedVocabulary`](fieldmark_model::model::config::ClosedVocabulary)) can know. The words are those of the prompt as it
//!    was given; what a template puts around them does not count. A rival with such a word changes no verdict, but
//!    there is a warning: what it takes from the map means nothing.
//! 2. A map without any positive evidence is [`Verdict::Absent`].
//! 3. A checkpoint whose configuration calibrates it ([`PresenceBounds`]) knows by itself: the probability that the
//!    concept is in the photo is sigmoid(logit + bias). From the one bound on it is present, below the other absent, between
//!    them weak.
//! 4. Any other checkpoint only knows what fits *better*. The prompt is compared with the neutral prompt
//!    [`NEUTRAL`], which fits every photograph: a similarity higher by at least [`MARGIN`] is present, one
//!    lower by at least as much absent, between them weak. And a concept whose rival fits better is at most weak.
//!
//! SigLIP falls under rule 4, although it was trained with a sigmoid: among the many captions of its batches nearly
//! every pair is a wrong one, so a right caption of a cluttered photo may well have a probability of 0.001. No bound
//! holds for all photos and prompts; whoever has measured one for a checkpoint writes it into its `config.json`.
//!
//! Rule 4 is a rule of thumb: it is not calibrated, and it is as good as the checkpoint's idea of "a photo".

use fieldmark_model::model::config::PresenceBounds;
use fieldmark_model::named;

/// Fits every photograph.
pub const NEUTRAL: &str = "a photo";

/// The difference of similarities that counts; for most checkpoints it is one logit.
pub const MARGIN: f64 = 0.01;

/// Whether the model sees the concept in the photo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// It does.
    Present,
    /// It may.
    Weak,
    /// It does not: the map shows where the concept would be looked for, not where it is.
    Absent,
    /// The model cannot know what the prompt is about: it has words that the model was not trained on.
    Unknown,
}

named!(Verdict, "verdict", Present => "present", Weak => "weak", Absent => "absent", Unknown => "unknown");

/// How the checkpoint can decide.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Presence {
    /// By a calibrated sigmoid.
    Sigmoid {
        /// sigmoid(logit + bias), from 0 to 1.
        probability: f64,
        /// What it is compared with.
        bounds: PresenceBounds,
    },
    /// By comparison with the neutral prompt.
    Neutral {
        /// The target's similarity minus the neutral prompt's, from -2 to 2.
        margin: f64,
        /// Whether a reference has a higher logit than the target.
        rival_fits_better: bool,
    },
    /// Not at all: the prompt has words that it cannot know.
    Unknown,
}

/// The verdict on a map whose positive evidence sums to `positive`.
pub fn verdict(positive: f64, presence: Presence) -> Verdict {
    match presence {
        Presence::Unknown => Verdict::Unknown,
        _ if positive <= 0.0 => Verdict::Absent,
        Presence::Sigmoid { probability, bounds } if probability >= bounds.present => Verdict::Present,
        Presence::Sigmoid { probability, bounds } if probability >= bounds.absent => Verdict::Weak,
        Presence::Sigmoid { .. } => Verdict::Absent,
        Presence::Neutral { margin, .. } if margin <= -MARGIN => Verdict::Absent,
        Presence::Neutral { margin, rival_fits_better: false } if margin >= MARGIN => Verdict::Present,
        Presence::Neutral { .. } => Verdict::Weak,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_positive_evidence_it_is_absent() {
        let certain = Presence::Sigmoid { probability: 1.0, bounds: PresenceBounds::default() };
        assert_eq!(verdict(0.0, certain), Verdict::Absent);
    }

    #[test]
    fn words_that_cannot_be_known_come_first() {
        assert_eq!([0.0, 9.0].map(|positive| verdict(positive, Presence::Unknown)), [Verdict::Unknown; 2]);
    }

    #[test]
    fn a_calibrated_sigmoid_decides_by_its_probability() {
        let by = |bounds| move |probability| verdict(1.0, Presence::Sigmoid { probability, bounds });
        let expected = [Verdict::Present, Verdict::Present, Verdict::Weak, Verdict::Absent];
        assert_eq!([0.9, 0.5, 0.3, 0.2].map(by(PresenceBounds::default())), expected);
        let own = PresenceBounds { present: 0.02, absent: 0.001 };
        assert_eq!([0.9, 0.02, 0.01, 0.0005].map(by(own)), expected);
    }

    #[test]
    fn a_softmax_decides_by_the_neutral_prompt_and_the_rivals() {
        let by = |margin, rival_fits_better| verdict(1.0, Presence::Neutral { margin, rival_fits_better });
        assert_eq!(by(0.05, false), Verdict::Present);
        assert_eq!(by(0.05, true), Verdict::Weak);
        assert_eq!(by(0.0, false), Verdict::Weak);
        assert_eq!(by(-0.05, false), Verdict::Absent);
    }
}

//! Choosing the references of a target among candidates: by a score of each, with near-synonyms passed over.
//!
//! Finer-CAM takes the classes with the most similar classifier weights or the highest logits on the image (Zhang et
//! al., CVPR 2025, arXiv 2501.11309, section 3). Its classes never mean the same; words may. A reference that means
//! what the target means would take the target's own evidence out of the map, so it is passed over.

use serde::{Deserialize, Serialize};

use fieldmark_model::named;

/// From this cosine of two texts on, they are taken for the same in other words, unless asked otherwise.
///
/// A rule of thumb: it was not calibrated on a checkpoint. CLIP's texts lie close together, at cosines of 0.6 and more
/// even when they have nothing to do with each other (openai/CLIP, issue 148), and closer if one template phrases them
/// all; so it has to be high, and other names for the same may well stay below it. The miniature, which knows its few
/// names as definitions, is clear-cut: different birds have 0.5 at most, a part and its bird 0.99. Synonyms that a
/// list declares are passed over at any cosine.
pub const SYNONYM_THRESHOLD: f64 = 0.95;

/// How references are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum By {
    /// The cosine of their text embedding with the target's: the same for every photo.
    #[default]
    Text,
    /// Their logit on the photo, as in the paper.
    Image,
    /// What the target belongs to, the nearest first: "blackbird", then "bird", for "rusty blackbird".
    Group,
}

named!(By, "by", Text => "text", Image => "image", Group => "group");

/// Why a reference was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Chosen {
    /// How.
    pub by: By,
    /// The cosine of its text embedding with the target's, from -1 to 1.
    pub similarity: f64,
    /// Its place among the candidates, from 1; those passed over count, so that a gap shows them.
    pub rank: usize,
}

/// A candidate that would have been chosen, but is taken for the target in other words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PassedOver {
    /// The candidate.
    pub prompt: String,
    /// The cosine of its text embedding with the target's, from -1 to 1.
    pub similarity: f64,
}

/// Which candidates become references; both lists hold their indices, the best first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Choice {
    /// Those chosen, each with its rank from 1.
    pub chosen: Vec<(usize, usize)>,
    /// Those with a better score than the last chosen that were passed over.
    pub passed_over: Vec<usize>,
}

/// Chooses the `count` candidates with the highest scores whose text has at most the cosine `synonym_threshold` with
/// the target's. Of equal scores the first candidate comes first.
///
/// `scores` and `similarities` (the cosines) have one value a candidate.
pub fn choose(scores: &[f64], similarities: &[f64], count: usize, synonym_threshold: f64) -> Choice {
    let mut order: Vec<usize> = (0..scores.len().min(similarities.len())).collect();
    order.sort_by(|one, other| scores[*other].total_cmp(&scores[*one]));
    let mut choice = Choice::default();
    for (place, index) in order.into_iter().enumerate() {
        if choice.chosen.len() == count {
            break;
        }
        if similarities[index] > synonym_threshold {
            choice.passed_over.push(index);
        } else {
            choice.chosen.push((index, place + 1));
        }
    }
    choice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_scores_come_first_and_synonyms_are_passed_over() {
        let (scores, similarities) = ([1.0, 5.0, 3.0, 4.0, 3.0], [0.2, 0.99, 0.5, 0.9, 0.5]);
        let choice = choose(&scores, &similarities, 2, 0.95);
        assert_eq!(choice, Choice { chosen: vec![(3, 2), (2, 3)], passed_over: vec![1] });
        let all = choose(&scores, &similarities, 9, 1.0);
        assert_eq!(all.chosen, [(1, 1), (3, 2), (2, 3), (4, 4), (0, 5)]);
        assert!(all.passed_over.is_empty());
    }

    #[test]
    fn what_is_worse_than_the_last_chosen_is_not_reported() {
        let choice = choose(&[3.0, 2.0, 1.0], &[0.1, 0.1, 1.0], 2, 0.95);
        assert_eq!(choice, Choice { chosen: vec![(0, 1), (1, 2)], passed_over: vec![] });
        assert_eq!(choose(&[], &[], 3, 0.9), Choice::default());
    }
}

//! Prompts that mean something else: another concept, the same words in another order, and no words at all. Each
//! follows from the seed and the prompt alone, so that it does not depend on the order of the questions.

use fieldmark_explain::{explain::Query, prompt::same_words};
use fieldmark_model::random::Random;

/// A concept of the list that is neither the target nor a rival; none where there is no other.
pub(super) fn another_concept(query: &Query, concepts: &[String], seed: u64) -> Option<String> {
    let is_asked = |concept: &str| {
        same_words(concept, &query.target) || query.references.iter().any(|rival| same_words(concept, rival))
    };
    let others: Vec<&String> = concepts.iter().filter(|concept| !is_asked(concept)).collect();
    let chosen = Random::named(seed, &format!("concept {}", query.target)).below(others.len());
    others.get(chosen).map(|concept| (*concept).clone())
}

/// The target's words in another order; none where there is only one, or it would be a rival.
pub(super) fn shuffled_words(query: &Query, seed: u64) -> Option<String> {
    let words: Vec<&str> = query.target.split_whitespace().collect();
    let mut shuffled = words.clone();
    Random::named(seed, &format!("words {}", query.target)).shuffle(&mut shuffled);
    if shuffled == words {
        // Unless all words are the same, this is another order.
        shuffled.rotate_left(usize::from(words.len() > 1));
    }
    unlike(shuffled.join(" "), query).filter(|_| shuffled != words)
}

/// Random small letters, as many words of the same lengths as the target has.
pub(super) fn gibberish(query: &Query, seed: u64) -> Option<String> {
    let mut random = Random::named(seed, &format!("letters {}", query.target));
    let mut letter = |_: char| char::from(b'a' + random.below(26) as u8);
    let words = query.target.split_whitespace();
    let words: Vec<String> = words.map(|word| word.chars().map(&mut letter).collect()).collect();
    unlike(words.join(" "), query)
}

/// The prompt, if it is neither the target nor a rival.
fn unlike(prompt: String, query: &Query) -> Option<String> {
    let same =
        same_words(&prompt, &query.target) || query.references.iter().any(|rival| same_words(&prompt, rival));
    (!same).then_some(prompt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_concept_is_neither_target_nor_rival() {
        let query = Query::new("a beak").against(["a crown"]);
        let concepts = ["a crown", "A beak", "a tail"].map(str::to_owned);
        for seed in 0..20 {
            assert_eq!(another_concept(&query, &concepts, seed).as_deref(), Some("a tail"));
        }
        assert_eq!(another_concept(&query, &concepts[..2], 1), None);
        let many: Vec<String> = (0..30).map(|at| format!("bird {at}")).collect();
        assert_eq!(another_concept(&query, &many, 1), another_concept(&query, &many, 1));
        assert_ne!(another_concept(&query, &many, 1), another_concept(&query, &many, 3));
    }

    #[test]
    fn words_change_places() {
        for seed in 0..20 {
            let query = Query::new("red-winged  blackbird shoulder");
            let shuffled = shuffled_words(&query, seed).unwrap();
            let mut words: Vec<&str> = shuffled.split(' ').collect();
            assert_ne!(shuffled, "red-winged blackbird shoulder");
            words.sort_unstable();
            assert_eq!(words, ["blackbird", "red-winged", "shoulder"]);
        }
        assert_eq!(shuffled_words(&Query::new("wing"), 1), None);
        assert_eq!(shuffled_words(&Query::new("very very"), 1), None);
        assert_eq!(shuffled_words(&Query::new("red wing").against(["wing red"]), 1), None);
    }

    #[test]
    fn gibberish_has_the_lengths_of_the_words() {
        let found = gibberish(&Query::new("größer wing"), 1).unwrap();
        let lengths: Vec<usize> = found.split(' ').map(str::len).collect();
        assert_eq!(lengths, [6, 4]);
        assert!(found.bytes().all(|byte| byte == b' ' || byte.is_ascii_lowercase()));
        assert_eq!(gibberish(&Query::new("größer wing"), 1), Some(found));
    }
}

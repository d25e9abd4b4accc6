//! Prompts compared by their words, ignoring case and spacing.

use std::collections::HashSet;

/// Whether two prompts are the same words, ignoring case and spacing.
pub fn same_words(one: &str, other: &str) -> bool {
    words(one).eq(words(other))
}

/// The first prompt that has the same words as one before it.
pub(crate) fn repeated(prompts: &[String]) -> Option<&String> {
    let mut seen = HashSet::new();
    prompts.iter().find(|prompt| !seen.insert(key(prompt)))
}

/// A text that two prompts share if they are the same words.
pub fn key(prompt: &str) -> String {
    words(prompt).collect::<Vec<_>>().join(" ")
}

fn words(prompt: &str) -> impl Iterator<Item = String> {
    prompt.split_whitespace().map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_compared_without_case_and_spacing() {
        assert!(same_words(" Rusty  blackbird", "rusty blackbird"));
        assert!(!same_words("rusty blackbird", "rustyblackbird"));
        let prompts = ["rusty", "Dunnock", " dunnock", "rusty"].map(str::to_owned);
        assert_eq!(repeated(&prompts), Some(&prompts[2]));
        assert_eq!(repeated(&prompts[..2]), None);
    }
}

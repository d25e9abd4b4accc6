//! The words that a checkpoint knows, where it knows no others: `"fieldmark": {"vocabulary": ["a", "bird", ...]}`.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::section::Section;
use crate::error::Result;

/// The ends of words that mean nothing by themselves, as CLIP's tokenizer splits them off.
const ENDS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

/// Every word that a checkpoint was trained on, in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClosedVocabulary(BTreeSet<String>);

impl ClosedVocabulary {
    /// The words of a configuration, if it lists any.
    pub(super) fn read(top: &Section) -> Result<Option<Self>> {
        let empty = Map::new();
        let values = top.object("fieldmark")?.unwrap_or(&empty);
        let own = top.inner(values, "fieldmark.");
        let Some(found) = own.get("vocabulary") else { return Ok(None) };
        let word = |word: &Value| Some(word.as_str().filter(|word| !word.is_empty())?.to_lowercase());
        let listed = found.as_array().and_then(|list| list.iter().map(word).collect::<Option<BTreeSet<_>>>());
        match listed {
            Some(words) if !words.is_empty() => Ok(Some(Self(words))),
            _ => Err(own.error("vocabulary", "a list of words", "something else")),
        }
    }

    /// The words of a text that are not among them, each once and in order. `is_same` says whether the tokenizer takes
    /// two spellings for the same word: it is asked about words with capitals only.
    pub(crate) fn unknown(
        &self,
        text: &str,
        mut is_same: impl FnMut(&str, &str) -> Result<bool>,
    ) -> Result<Vec<String>> {
        let mut unknown: Vec<String> = Vec::new();
        for word in words(text) {
            let lower = word.to_lowercase();
            let is_known = self.0.contains(&lower) && (word == lower || is_same(word, &lower)?);
            if !is_known && !unknown.iter().any(|known| known == word) {
                unknown.push(word.to_owned());
            }
        }
        Ok(unknown)
    }
}

/// The words of a text: letters together, each digit, and each sign that is no punctuation, such as an emoji.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = ENDS.iter().find(|end| starts_with(rest, end) && !words.is_empty());
        let length = match end {
            Some(end) => end.len(),
            None if is_letter(first) => rest.find(|c: char| !is_letter(c)).unwrap_or(rest.len()),
            None => first.len_utf8(),
        };
        if end.is_none() && !is_separator(first) {
            words.push(&rest[..length]);
        }
        rest = &rest[length..];
    }
    words
}

/// Whether a text begins with this end of a word, and no further letter follows.
fn starts_with(text: &str, end: &str) -> bool {
    let start = text.get(..end.len()).is_some_and(|start| start.eq_ignore_ascii_case(end));
    start && !text[end.len()..].starts_with(is_letter)
}

fn is_letter(c: char) -> bool {
    c.is_alphabetic() || matches!(c, '\u{300}'..='\u{36f}')
}

/// Space, punctuation, and what is invisible.
fn is_separator(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || c.is_ascii_punctuation()
        || matches!(c, '\u{a1}' | '\u{a7}' | '\u{ab}' | '\u{ad}' | '\u{b7}' | '\u{bb}' | '\u{bf}')
        || matches!(c, '\u{200b}'..='\u{206f}' | '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}')
        || matches!(c, '\u{2010}'..='\u{2027}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::json::ConfigFile;

    fn vocabulary(json: &str) -> Result<Option<ClosedVocabulary>> {
        let Ok(Value::Object(values)) = serde_json::from_str(json) else { panic!("an object") };
        ClosedVocabulary::read(&Section::new(&values, ConfigFile(Path::new("config.json"))))
    }

    fn unknown(text: &str) -> Vec<String> {
        let known = vocabulary(r#"{"fieldmark": {"vocabulary": ["a", "Bird", "red", "winged"]}}"#);
        known.expect("is valid").expect("is listed").unknown(text, |_, _| Ok(true)).expect("never fails")
    }

    #[test]
    fn words_are_split_as_the_tokenizer_splits_them() {
        for known in ["a red-winged bird", "A BIRD!", "\"bird's\" (red)", "bird\u{2019}", "", "red,bird"] {
            assert_eq!(unknown(known), [""; 0], "{known}");
        }
        assert_eq!(unknown("pizza"), ["pizza"]);
        assert_eq!(unknown("a Pizza, a Pizza and 12 birds"), ["Pizza", "and", "1", "2", "birds"]);
        assert_eq!(unknown("\u{1f355} bird\u{e9} \u{9ce5}"), ["\u{1f355}", "bird\u{e9}", "\u{9ce5}"]);
        assert_eq!(unknown("birds 'stuff"), ["birds", "stuff"]);
    }

    #[test]
    fn the_tokenizer_decides_about_capitals() {
        let known =
            vocabulary(r#"{"fieldmark": {"vocabulary": ["bird"]}}"#).expect("is valid").expect("is listed");
        let unknown = known.unknown("bird Bird", |one, other| Ok(one == other));
        assert_eq!(unknown.expect("never fails"), ["Bird"]);
    }

    #[test]
    fn a_list_that_is_none_is_named() {
        assert_eq!(vocabulary("{}").expect("is valid"), None);
        assert_eq!(vocabulary(r#"{"fieldmark": {"vocabulary": null}}"#).expect("is valid"), None);
        for wrong in ["[]", "3", "[1]", "[\"\"]"] {
            let error = vocabulary(&format!(r#"{{"fieldmark": {{"vocabulary": {wrong}}}}}"#));
            let error = error.expect_err("is no list").to_string();
            assert!(
                error.starts_with("config.json: fieldmark.vocabulary: expected a list of words"),
                "{error}"
            );
        }
    }
}

//! `--phrase`: how a data set's classes, parts and attributes are put into words.

use std::str::FromStr;

use fieldmark::{dataset::Ask, named::Named};

/// A subject and its words, such as `part=the {part} of a {class}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrase {
    pub subject: Ask,
    pub text: String,
}

impl FromStr for Phrase {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let (name, text) = typed.split_once('=').unwrap_or_default();
        match Ask::find(name.trim()) {
            Some(subject) => Ok(Self { subject, text: text.to_owned() }),
            None => Err(format!("expected class=TEXT, part=TEXT or attribute=TEXT, found {typed:?}")),
        }
    }
}

/// The words for a subject: the last that were typed.
pub fn of(phrases: &[Phrase], subject: Ask) -> Option<String> {
    phrases.iter().rfind(|phrase| phrase.subject == subject).map(|phrase| phrase.text.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_is_of_a_subject() {
        let phrases =
            ["class=a {class}", "part=the {part}", "class=one = {class}"].map(|text| text.parse().unwrap());
        assert_eq!(of(&phrases, Ask::Class).as_deref(), Some("one = {class}"));
        assert_eq!(of(&phrases, Ask::Part).as_deref(), Some("the {part}"));
        assert_eq!(of(&phrases, Ask::Attribute), None);
        for wrong in ["", "a {class}", "wing=x"] {
            assert!(wrong.parse::<Phrase>().unwrap_err().contains("expected class=TEXT"), "{wrong}");
        }
    }
}

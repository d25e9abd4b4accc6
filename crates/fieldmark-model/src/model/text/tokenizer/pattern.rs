//! The patterns of a tokenizer's file, with limits: fancy-regex goes back and forth in a text, and some patterns take
//! time that grows exponentially with it.
//!
//! The tokenizers library stops silently where a search goes over its limit, and leaves the rest of the text as it is.
//! Here it is an error.

use fancy_regex::{Regex, RegexBuilder};
use serde::Deserialize;
use tokenizers::Offsets;
use tokenizers::tokenizer::pattern;

use super::limits;

/// The longest pattern, in bytes: those that occur have some hundred.
pub(super) const LONGEST: usize = 4096;
/// The most steps back of one search.
const MOST_STEPS_BACK: usize = 200_000;
/// The most bytes that the program of one pattern takes.
const LARGEST_PROGRAM: usize = 4 << 20;

/// A pattern as written in tokenizer files.
#[derive(Deserialize)]
pub(super) enum Source {
    /// What is looked for, letter by letter.
    String(String),
    /// A regular expression.
    Regex(String),
}

/// Finds a pattern in a text.
pub(super) struct Pattern {
    regex: Regex,
    /// Whether what lies between is looked for.
    invert: bool,
}

impl Pattern {
    /// # Errors
    /// If it is not a pattern, or goes over a limit.
    pub(super) fn new(source: &Source, invert: bool) -> Result<Self, String> {
        let text = match source {
            Source::String(text) => fancy_regex::escape(text),
            Source::Regex(text) => text.into(),
        };
        if text.len() > LONGEST {
            return Err(format!("expected a pattern of at most {LONGEST} bytes, found {}", text.len()));
        }
        let mut builder = RegexBuilder::new(&text);
        builder.backtrack_limit(MOST_STEPS_BACK);
        builder.delegate_size_limit(LARGEST_PROGRAM);
        let regex = builder.build().map_err(|source| {
            // The reason comes last, behind a drawing of where it is.
            let source = source.to_string();
            format!("pattern {text:?}: {}", source.lines().last().unwrap_or_default())
        })?;
        Ok(Self { regex, invert })
    }
}

impl pattern::Pattern for &Pattern {
    fn find_matches(&self, inside: &str) -> tokenizers::Result<Vec<(Offsets, bool)>> {
        if inside.is_empty() {
            return Ok(vec![((0, 0), self.invert)]);
        }
        let mut parts = Vec::new();
        let mut before = 0;
        for found in self.regex.find_iter(inside) {
            limits::check_time()?;
            let found = found.map_err(|source| format!("a pattern takes too long: {source}"))?;
            if before != found.start() {
                parts.push(((before, found.start()), self.invert));
            }
            parts.push(((found.start(), found.end()), !self.invert));
            before = found.end();
        }
        if before != inside.len() {
            parts.push(((before, inside.len()), self.invert));
        }
        Ok(parts)
    }
}

/// A pattern that was found already.
pub(super) struct Found(pub(super) Vec<(Offsets, bool)>);

impl pattern::Pattern for Found {
    fn find_matches(&self, _: &str) -> tokenizers::Result<Vec<(Offsets, bool)>> {
        Ok(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use tokenizers::tokenizer::pattern::Pattern as _;

    use super::*;

    fn found(pattern: &str, invert: bool, text: &str) -> tokenizers::Result<Vec<(Offsets, bool)>> {
        (&Pattern::new(&Source::Regex(pattern.into()), invert)?).find_matches(text)
    }

    #[test]
    fn the_parts_cover_the_text() {
        let parts = [((0, 1), false), ((1, 3), true), ((3, 4), false)];
        assert_eq!(found("b+", false, "abba").expect("a pattern"), parts);
        assert_eq!(found("b+", true, "abba").expect("a pattern"), parts.map(|(at, found)| (at, !found)));
        assert_eq!(found("b+", true, "").expect("a pattern"), [((0, 0), true)]);
        let letters = Pattern::new(&Source::String("b+".into()), false).expect("a pattern");
        assert_eq!((&letters).find_matches("ab+").expect("finds"), [((0, 1), false), ((1, 3), true)]);
    }

    #[test]
    fn a_pattern_that_takes_too_long_is_an_error() {
        let error = found(r"(?=(a+)+\1b)", false, &"a".repeat(60)).expect_err("takes too long").to_string();
        assert!(error.starts_with("a pattern takes too long"), "{error}");
        assert!(found(r"(?:(?:\p{L}{100}){100}){100}", false, "a").is_err(), "its program is too large");
        assert!(found(&"a".repeat(LONGEST + 1), false, "a").is_err());
        assert!(found("(", false, "a").is_err());
    }
}

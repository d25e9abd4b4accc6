//! A tokenizer's normalizer, whose every step is counted before it is done.

use serde::Deserialize;
use serde_json::Value;
use tokenizers::{
    NormalizedString, Normalizer, NormalizerWrapper,
    normalizers::{Precompiled, Prepend},
};

use super::{
    limits,
    pattern::{Found, Pattern, Source},
};

/// A text of this length stays within the limit under any table: its longest entry has 256 bytes.
const SHORT: usize = 1 << 10;

/// What happens to a text before it is split.
#[derive(Default)]
pub(super) struct Steps(Vec<Step>);

/// One step.
enum Step {
    /// Replaces what fits a pattern.
    Replace { pattern: Pattern, content: String },
    /// Puts a text before another.
    Prepend(Prepend),
    /// SentencePiece's table of replacements.
    Table(Box<Precompiled>),
    /// A step of the library that makes at most twenty bytes of one.
    Other(NormalizerWrapper),
}

/// A replacement as written in tokenizer files.
#[derive(Deserialize)]
struct Replacement {
    pattern: Source,
    content: String,
}

impl Steps {
    /// Adds a step behind the others; a sequence is taken apart.
    ///
    /// # Errors
    /// If a pattern goes over a limit.
    pub(super) fn push(&mut self, step: NormalizerWrapper) -> Result<(), String> {
        let step = match step {
            NormalizerWrapper::Sequence(steps) => {
                return steps.into_iter().try_for_each(|step| self.push(step));
            }
            NormalizerWrapper::Replace(replace) => {
                let broken = |source: serde_json::Error| source.to_string();
                let value: Value = serde_json::to_value(replace).map_err(broken)?;
                let Replacement { pattern, content } = Replacement::deserialize(value).map_err(broken)?;
                Step::Replace { pattern: Pattern::new(&pattern, false)?, content }
            }
            NormalizerWrapper::Prepend(prepend) => Step::Prepend(prepend),
            NormalizerWrapper::Precompiled(table) => Step::Table(Box::new(table)),
            other => Step::Other(other),
        };
        self.0.push(step);
        Ok(())
    }

    /// The text as it is split.
    ///
    /// # Errors
    /// If it grows over the limit.
    pub(super) fn apply(&self, text: &str) -> tokenizers::Result<String> {
        let mut normalized = NormalizedString::from(text);
        self.run(&mut normalized)?;
        Ok(normalized.get().to_owned())
    }

    fn run(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        for step in &self.0 {
            step.run(text)?;
            limits::check_length(text.get().len())?;
        }
        Ok(())
    }
}

impl Step {
    fn run(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        use tokenizers::tokenizer::pattern::Pattern as _;
        match self {
            Self::Replace { pattern, content } => {
                let found = pattern.find_matches(text.get())?;
                let kept =
                    found.iter().filter(|(_, is_match)| !is_match).map(|((start, end), _)| end - start);
                let matches = found.iter().filter(|(_, is_match)| *is_match).count();
                limits::check_length(kept.sum::<usize>() + matches * content.len())?;
                text.replace(Found(found), content)
            }
            Self::Prepend(prepend) => {
                limits::check_length(text.get().len() + prepend.prepend.len())?;
                prepend.normalize(text)
            }
            Self::Table(table) => {
                if text.get().len() > SHORT {
                    limits::check_length(table.normalize_string(text.get()).len())?;
                }
                table.normalize(text)
            }
            Self::Other(step) => step.normalize(text),
        }
    }
}

impl Normalizer for Steps {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        self.run(text).inspect_err(|error| limits::keep_failure(&error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(json: &str) -> Steps {
        let mut steps = Steps::default();
        steps.push(serde_json::from_str(json).expect("a normalizer")).expect("within the limits");
        steps
    }

    #[test]
    fn steps_do_what_the_library_does() {
        let json = r#"{"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "},
            {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, {"type": "Prepend", "prepend": "_"}]},
            {"type": "Replace", "pattern": {"String": "."}, "content": ""}]}"#;
        let theirs: NormalizerWrapper = serde_json::from_str(json).expect("a normalizer");
        for text in ["A  Cafe\u{301}.  x", "", " ", ".", "\u{fdfa}..A"] {
            let mut expected = NormalizedString::from(text);
            theirs.normalize(&mut expected).expect("normalizes");
            let mut found = NormalizedString::from(text);
            steps(json).normalize(&mut found).expect("normalizes");
            assert_eq!(found, expected, "{text:?}, offsets included");
        }
    }

    #[test]
    fn a_text_that_grows_over_the_limit_is_an_error_before_it_grows() {
        let rule = r#"{"type": "Replace", "pattern": {"Regex": "[a-z]"}, "content": "aaaaaaaaaa"}"#;
        let json = format!(r#"{{"type": "Sequence", "normalizers": [{}]}}"#, [rule; 8].join(","));
        let error = steps(&json).apply("abcdefghijklmnopqrstuvwxyzab").expect_err("grows").to_string();
        assert_eq!(error, "its rules make 280000 bytes of it, at most 262144 are possible");
        let prepend = format!(r#"{{"type": "Prepend", "prepend": "{}"}}"#, "x".repeat(300_000));
        assert!(steps(&prepend).apply("a").is_err());
    }
}

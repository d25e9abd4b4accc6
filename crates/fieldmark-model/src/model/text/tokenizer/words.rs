//! A tokenizer's rules for where words begin and end, with its patterns within limits.

use serde::Deserialize;
use serde_json::Value;
use tokenizers::{
    OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, PreTokenizerWrapper,
    SplitDelimiterBehavior,
};

use super::{
    limits,
    pattern::{Pattern, Source},
};

/// The rules, in order.
#[derive(Default)]
pub(super) struct Rules(Vec<Rule>);

enum Rule {
    /// Splits a text where a pattern is found.
    Split { pattern: Pattern, behavior: SplitDelimiterBehavior },
    /// A rule of the library.
    Other(PreTokenizerWrapper),
}

/// A split as written in tokenizer files.
#[derive(Deserialize)]
struct Split {
    pattern: Source,
    behavior: SplitDelimiterBehavior,
    invert: bool,
}

impl Rules {
    /// Adds a rule behind the others; a sequence is taken apart.
    ///
    /// # Errors
    /// If a pattern goes over a limit.
    pub(super) fn push(&mut self, rule: PreTokenizerWrapper) -> Result<(), String> {
        let rule = match rule {
            PreTokenizerWrapper::Sequence(rules) => {
                return rules.as_ref().iter().cloned().try_for_each(|rule| self.push(rule));
            }
            PreTokenizerWrapper::Split(split) => {
                let broken = |source: serde_json::Error| source.to_string();
                let value: Value = serde_json::to_value(split).map_err(broken)?;
                let Split { pattern, behavior, invert } = Split::deserialize(value).map_err(broken)?;
                Rule::Split { pattern: Pattern::new(&pattern, invert)?, behavior }
            }
            other => Rule::Other(other),
        };
        self.0.push(rule);
        Ok(())
    }
}

impl PreTokenizer for Rules {
    fn pre_tokenize(&self, text: &mut PreTokenizedString) -> tokenizers::Result<()> {
        for rule in &self.0 {
            match rule {
                Rule::Split { pattern, behavior } => {
                    text.split(|_, part| part.split(pattern, *behavior))?;
                }
                Rule::Other(rule) => rule.pre_tokenize(text)?,
            }
            // Letters for bytes, done again and again, double a text each time.
            let parts = text.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
            limits::check_length(parts.iter().map(|(part, ..)| part.len()).sum())?;
        }
        Ok(())
    }
}

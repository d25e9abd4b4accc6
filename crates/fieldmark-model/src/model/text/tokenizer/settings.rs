//! What transformers' tokenizer classes do beside the tokenizer itself: `tokenizer_config.json` and
//! `special_tokens_map.json` become the cleaning of a text and its padding.
//!
//! Only models that see their padding need this file. transformers chooses by the class that `tokenizer_config.json`
//! names: `SiglipTokenizer` lower-cases a text and takes its punctuation and repeated white space out before it is
//! split; `Siglip2Tokenizer` lower-cases. Checkpoints of SigLIP 2 name `GemmaTokenizer` and ask for `do_lower_case`,
//! which that class passes over; here it is done, because the model was trained on lower case.

use std::path::Path;

use serde_json::{Map, Value};
use tokenizers::{
    NormalizerWrapper,
    normalizers::{self, Replace, Strip},
};

use crate::{
    error::Result,
    json::{self, Object, TokenizerFile, read_object},
    model::formats::read_text_file,
};

const SETTINGS: &str = "tokenizer_config.json";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";
/// The files that are read here.
pub(super) const FILES: [&str; 2] = [SETTINGS, SPECIAL_TOKENS];

/// ASCII punctuation, which is Python's `string.punctuation`, as a regular expression.
const PUNCTUATION: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"##;

/// At which end of a text its padding is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    #[default]
    Right,
}

/// What fills a text up to the model's context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Padding {
    pub(super) id: u32,
    pub(super) side: Side,
}

/// What happens to a text before the tokenizer's own rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cleaning {
    pub(super) lower_case: bool,
    /// Punctuation goes, white space is one blank, and none is at the ends.
    pub(super) without_punctuation: bool,
}

/// The settings in a checkpoint's directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) cleaning: Cleaning,
    pad_token: Option<String>,
    side: Side,
}

impl Settings {
    /// Reads a directory; a file that is missing says nothing.
    pub(super) fn read(directory: &Path) -> Result<Self> {
        let file = directory.join(SETTINGS);
        let values = read(&file)?;
        let settings = Object::new(&values, TokenizerFile(&file));
        let class = values.get("tokenizer_class").and_then(Value::as_str).unwrap_or_default();
        let class = class.trim_end_matches("Fast");
        let lower_case = settings.flag("do_lower_case")?.unwrap_or(class == "SiglipTokenizer");
        let side = settings.read("padding_side", "\"left\" or \"right\"", |side| match side.as_str()? {
            "left" => Some(Side::Left),
            "right" => Some(Side::Right),
            _ => None,
        })?;
        let cleaning = Cleaning {
            lower_case: lower_case || class == "Siglip2Tokenizer",
            without_punctuation: class == "SiglipTokenizer",
        };
        let pad_token = match pad_token(&settings)? {
            Some(token) => Some(token),
            None => {
                let file = directory.join(SPECIAL_TOKENS);
                pad_token(&Object::new(&read(&file)?, TokenizerFile(&file)))?
            }
        };
        Ok(Self { cleaning, pad_token, side: side.unwrap_or_default() })
    }

    /// The padding: the token that these files name, else `other`, which the tokenizer itself or `config.json` names.
    pub(super) fn padding(
        &self,
        id_of: impl Fn(&str) -> Option<u32>,
        other: Option<u32>,
    ) -> Result<Padding, String> {
        let id = match &self.pad_token {
            Some(token) => Some(
                id_of(token)
                    .ok_or_else(|| format!("the padding token {token:?} is not one of its tokens"))?,
            ),
            None => other,
        };
        let id = id.ok_or("no padding token is named, and the model reads its padding")?;
        Ok(Padding { id, side: self.side })
    }
}

impl Cleaning {
    /// What comes before the tokenizer's own normalizer. Special tokens in a text stay what they are, as in
    /// transformers.
    pub(super) fn steps(self) -> tokenizers::Result<Vec<NormalizerWrapper>> {
        let mut steps: Vec<NormalizerWrapper> = Vec::new();
        if self.lower_case {
            steps.push(normalizers::Lowercase.into());
        }
        if self.without_punctuation {
            for (pattern, content) in [(PUNCTUATION, ""), (r"\s+", " ")] {
                let pattern = normalizers::replace::ReplacePattern::Regex(pattern.into());
                steps.push(Replace::new(pattern, content)?.into());
            }
            steps.push(Strip::new(true, true).into());
        }
        Ok(steps)
    }
}

/// The padding token's text: a text itself, or the `content` of an object.
fn pad_token(settings: &Object<TokenizerFile>) -> Result<Option<String>> {
    let content = |token: &Value| Some(json::text(token.get("content").unwrap_or(token))?.to_owned());
    settings.read("pad_token", "a token", content)
}

/// The fields of a file; none if it is missing.
fn read(file: &Path) -> Result<Map<String, Value>> {
    Ok(read_object(file, &TokenizerFile(file), read_text_file)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn settings(config: &str, special: &str) -> Result<Settings> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in [(SETTINGS, config), (SPECIAL_TOKENS, special)] {
            if !text.is_empty() {
                std::fs::write(folder.path().join(name), text).expect("a file");
            }
        }
        Settings::read(folder.path())
    }

    #[test]
    fn the_class_decides_what_is_cleaned() -> Result<()> {
        let cleaning = |config: &str| Ok::<_, Error>(settings(config, "")?.cleaning);
        let (both, lower) = (
            Cleaning { lower_case: true, without_punctuation: true },
            Cleaning { lower_case: true, without_punctuation: false },
        );
        assert_eq!(cleaning("")?, Cleaning::default());
        assert_eq!(cleaning(r#"{"tokenizer_class": "SiglipTokenizer", "do_lower_case": true}"#)?, both);
        assert_eq!(cleaning(r#"{"tokenizer_class": "SiglipTokenizerFast"}"#)?, both);
        let kept = cleaning(r#"{"tokenizer_class": "SiglipTokenizer", "do_lower_case": false}"#)?;
        assert_eq!(kept, Cleaning { lower_case: false, without_punctuation: true });
        assert_eq!(cleaning(r#"{"tokenizer_class": "Siglip2Tokenizer"}"#)?, lower);
        assert_eq!(cleaning(r#"{"tokenizer_class": "GemmaTokenizer", "do_lower_case": true}"#)?, lower);
        assert_eq!(cleaning(r#"{"tokenizer_class": "GemmaTokenizer"}"#)?, Cleaning::default());
        Ok(())
    }

    #[test]
    fn the_padding_token_is_looked_for_in_order() -> Result<()> {
        let named = |config: &str, special: &str| Ok::<_, Error>(settings(config, special)?.pad_token);
        let object = r#"{"pad_token": {"content": "<pad>", "lstrip": false}}"#;
        assert_eq!(named(r#"{"pad_token": "</s>"}"#, object)?.as_deref(), Some("</s>"));
        assert_eq!(named("{}", object)?.as_deref(), Some("<pad>"));
        assert_eq!(named("", "")?, None);
        Ok(())
    }

    #[test]
    fn broken_settings_are_named() {
        let message = |config: &str| settings(config, "").expect_err(config).to_string();
        assert!(message(r#"{"pad_token": 3}"#).ends_with("pad_token: expected a token, found 3"));
        let side = message(r#"{"padding_side": "top"}"#);
        assert!(side.ends_with(r#"padding_side: expected "left" or "right", found "top""#), "{side}");
        assert!(message(r#"{"do_lower_case": 1}"#).ends_with("expected true or false, found 1"));
        assert!(message("[]").ends_with("expected a JSON object, found []"));
        assert!(message("{").contains("not valid JSON"));
    }
}

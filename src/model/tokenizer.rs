//! A prompt becomes token ids, as transformers' `CLIPTokenizer` makes them.

use std::path::Path;

use serde_json::{Value, json};
use tokenizers::Tokenizer;

use super::config::{EndOfText, TextConfig, TextPooling};
use crate::{
    error::{Error, Result},
    progress::Warning,
};

const TOKENIZER: &str = "tokenizer.json";
const VOCABULARY: &str = "vocab.json";
const MERGES: &str = "merges.txt";
const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

/// A text in the model's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Token ids with start and end token, without padding.
    pub ids: Vec<u32>,
    /// The position of the token that stands for the whole text.
    pub end: usize,
    /// Set where the text was longer than the model's context and its end was cut off.
    pub truncated: Option<Warning>,
}

/// Splits prompts into the tokens of one checkpoint.
pub struct PromptTokenizer {
    tokenizer: Tokenizer,
    path: std::path::PathBuf,
    context: usize,
    vocabulary: usize,
    pooling: TextPooling,
}

impl PromptTokenizer {
    /// Reads the tokenizer in a checkpoint's directory: `tokenizer.json`, else `vocab.json` with `merges.txt`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if none is there or it is broken.
    pub fn open(directory: &Path, config: &TextConfig) -> Result<Self> {
        let file = directory.join(TOKENIZER);
        if file.is_file() {
            let bytes = super::read_text_file(&file)?;
            return Self::parse(&bytes, &file, config);
        }
        let (vocabulary, merges) = (directory.join(VOCABULARY), directory.join(MERGES));
        if !(vocabulary.is_file() && merges.is_file()) {
            let reason = format!("neither {TOKENIZER} nor {VOCABULARY} with {MERGES} is there");
            return Err(Error::Tokenizer { path: directory.into(), reason });
        }
        let bytes = assemble(&vocabulary, &merges)?;
        Self::parse(&bytes, &vocabulary, config)
    }

    /// Parses the bytes of a `tokenizer.json`; `path` is only named in errors.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if they are not a tokenizer.
    pub fn parse(bytes: &[u8], path: &Path, config: &TextConfig) -> Result<Self> {
        let error = |source: tokenizers::Error| Error::Tokenizer {
            path: path.into(),
            reason: format!("not a tokenizer: {source}"),
        };
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(error)?;
        tokenizer.with_truncation(None).map_err(error)?;
        tokenizer.with_padding(None);
        Ok(Self {
            tokenizer,
            path: path.into(),
            context: config.context,
            vocabulary: config.vocabulary,
            pooling: config.pooling,
        })
    }

    /// Splits one prompt.
    ///
    /// # Errors
    /// [`Error::Prompt`] if it is empty; [`Error::Tokenizer`] if the tokenizer does not fit the model.
    pub fn tokenize(&self, prompt: &str) -> Result<Tokens> {
        if prompt.trim().is_empty() {
            return Err(Error::Prompt { prompt: prompt.into(), reason: "it is empty".into() });
        }
        let encoding = self
            .tokenizer
            .encode(prompt, true)
            .map_err(|source| self.error(format!("prompt {prompt:?} cannot be split: {source}")))?;
        let mut ids = encoding.get_ids().to_vec();
        if let Some(id) = ids.iter().find(|id| **id as usize >= self.vocabulary) {
            let reason = format!("token id {id} is outside the model's vocabulary of {}", self.vocabulary);
            return Err(self.error(reason));
        }
        let truncated = self.truncate(&mut ids, prompt);
        Ok(Tokens { end: self.end_position(&ids)?, ids, truncated })
    }

    /// Cuts a text to the context as transformers does: its last token, the end token, stays.
    fn truncate(&self, ids: &mut Vec<u32>, prompt: &str) -> Option<Warning> {
        let tokens = ids.len();
        if tokens <= self.context {
            return None;
        }
        ids.drain(self.context - 1..tokens - 1);
        Some(Warning::PromptTruncated { prompt: prompt.into(), tokens, context: self.context })
    }

    fn end_position(&self, ids: &[u32]) -> Result<usize> {
        let position = match self.pooling {
            TextPooling::End(EndOfText::Id(end)) => ids.iter().position(|id| *id == end),
            TextPooling::End(EndOfText::Highest) => {
                let highest = ids.iter().copied().max();
                ids.iter().position(|id| Some(*id) == highest)
            }
            TextPooling::Last => ids.len().checked_sub(1),
            TextPooling::First => (!ids.is_empty()).then_some(0),
        };
        position.ok_or_else(|| match self.pooling {
            TextPooling::End(EndOfText::Id(id)) => {
                self.error(format!("it does not put the end token {id} of config.json after a text"))
            }
            _ => self.error("it makes no tokens".into()),
        })
    }

    fn error(&self, reason: String) -> Error {
        Error::Tokenizer { path: self.path.clone(), reason }
    }
}

/// The `tokenizer.json` that transformers makes of `vocab.json` and `merges.txt` for CLIP.
fn assemble(vocabulary: &Path, merges: &Path) -> Result<Vec<u8>> {
    let error = |path: &Path, reason: String| Error::Tokenizer { path: path.into(), reason };
    let vocab: Value = serde_json::from_slice(&super::read_text_file(vocabulary)?)
        .map_err(|source| error(vocabulary, format!("not valid JSON: {source}")))?;
    let id = |token: &str| {
        let id = vocab.get(token).and_then(Value::as_u64);
        id.ok_or_else(|| error(vocabulary, format!("token {token} is missing")))
    };
    let (start, end) = (id(START)?, id(END)?);
    let text = String::from_utf8(super::read_text_file(merges)?)
        .map_err(|_| error(merges, "not UTF-8 text".into()))?;
    let pairs: Vec<&str> =
        text.lines().filter(|line| !line.starts_with("#version") && !line.trim().is_empty()).collect();
    let special = |id: u64, content: &str, normalized: bool| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": normalized, "special": true})
    };
    let split =
        r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": [special(start, START, true), special(end, END, false)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": split}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true}]},
        "post_processor": {"type": "RobertaProcessing", "sep": [END, end], "cls": [START, start],
            "trim_offsets": false, "add_prefix_space": false},
        "model": {"type": "BPE", "unk_token": END, "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>", "fuse_unk": false, "vocab": vocab, "merges": pairs},
    });
    Ok(tokenizer.to_string().into_bytes())
}

//! A tokenizer that is ready for prompts.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    byte_pairs::BytePairs,
    file::{File, Splitter as FileSplitter},
    limits::{self, LONGEST_TEXT},
    settings::{Padding, Settings, Side},
};
use crate::{
    error::{Error, Result, cut},
    guard::guarded,
    json,
    model::formats::{
        config::{Cleaning, EndOfText, Splitter, TextConfig, TextPooling},
        read_text_file,
    },
    progress::Warning,
};
pub(super) const TOKENIZER: &str = "tokenizer.json";
pub(super) const VOCABULARY: &str = "vocab.json";
pub(super) const MERGES: &str = "merges.txt";
/// SentencePiece's own format, which transformers turns into a tokenizer itself.
const SENTENCE_PIECE: &str = "spiece.model";
const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

/// Letters of a prompt that are shown in an error.
const LONGEST_SHOWN: usize = 60;

/// A text in the model's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tokens {
    /// Token ids with the special tokens around them; padded to the context where the model sees padding, and not
    /// otherwise.
    pub ids: Vec<u32>,
    /// The position of the token that stands for the whole text.
    pub end: usize,
    /// Set where the text was longer than the model's context and its end was cut off.
    pub truncated: Option<Warning>,
}

/// Splits prompts into the tokens of one checkpoint.
pub struct PromptTokenizer {
    pub(super) tokenizer: Kind,
    pub(super) cleaning: Cleaning,
    pub(super) path: std::path::PathBuf,
    pub(super) context: usize,
    pub(super) vocabulary: usize,
    pub(super) pooling: TextPooling,
    /// For models that see it.
    pub(super) padding: Option<Padding>,
}

pub(super) enum Kind {
    Files(Box<FileSplitter>),
    OpenClip(BytePairs),
}

impl PromptTokenizer {
    /// Reads the tokenizer in a checkpoint's directory: `tokenizer.json`, else `vocab.json` with `merges.txt`. Where
    /// the model sees its padding, `tokenizer_config.json` and `special_tokens_map.json` say what it is and how texts
    /// are cleaned.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if none exists or it is broken.
    pub fn open(directory: &Path, config: &TextConfig) -> Result<Self> {
        if config.splitter == Splitter::OpenClip {
            let (pairs, path) = BytePairs::open(directory, config.vocabulary)?;
            let pad = config.pad.filter(|_| config.sees_padding());
            let padding = pad.map(|id| Padding { id, side: Side::Right });
            return Ok(Self::new(Kind::OpenClip(pairs), &path, config, padding));
        }
        let settings = if config.sees_padding() { Settings::read(directory)? } else { Settings::default() };
        let file = directory.join(TOKENIZER);
        if file.is_file() {
            let bytes = read_text_file(&file)?;
            return Self::with_settings(&bytes, &file, config, &settings);
        }
        let (vocabulary, merges) = (directory.join(VOCABULARY), directory.join(MERGES));
        if !(vocabulary.is_file() && merges.is_file()) {
            let reason = if directory.join(SENTENCE_PIECE).is_file() {
                format!("expected {TOKENIZER}, found the same tokenizer only as {SENTENCE_PIECE}")
            } else {
                format!("neither {TOKENIZER} nor {VOCABULARY} with {MERGES} was found")
            };
            return Err(Error::Tokenizer { path: directory.into(), reason });
        }
        let bytes = assemble(&vocabulary, &merges)?;
        Self::with_settings(&bytes, &vocabulary, config, &settings)
    }

    /// Parses the bytes of a `tokenizer.json`; `path` is only named in errors.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if they are not a tokenizer.
    pub fn parse(bytes: &[u8], path: &Path, config: &TextConfig) -> Result<Self> {
        Self::with_settings(bytes, path, config, &Settings::default())
    }

    fn with_settings(bytes: &[u8], path: &Path, config: &TextConfig, settings: &Settings) -> Result<Self> {
        let error = |reason: String| Error::Tokenizer { path: path.into(), reason };
        let broken = |reason: String| error(format!("not a tokenizer: {reason}"));
        let file = File::read(bytes).map_err(broken)?;
        let pad_id = file.pad_id().map_err(broken)?;
        let first = settings.cleaning.steps().map_err(|source| error(source.to_string()))?;
        let tokenizer = file.build(first).map_err(broken)?;
        let padding = if config.sees_padding() {
            let id_of = |token: &str| tokenizer.token_to_id(token);
            Some(settings.padding(id_of, pad_id.or(config.pad)).map_err(error)?)
        } else {
            None
        };
        if let Some(Padding { id, .. }) = padding.filter(|padding| padding.id as usize >= config.vocabulary) {
            let vocabulary = config.vocabulary;
            return Err(error(format!(
                "padding token id {id} is outside the model's vocabulary of {vocabulary}"
            )));
        }
        Ok(Self::new(Kind::Files(Box::new(tokenizer)), path, config, padding))
    }

    fn new(tokenizer: Kind, path: &Path, config: &TextConfig, padding: Option<Padding>) -> Self {
        Self {
            padding,
            tokenizer,
            cleaning: config.cleaning,
            path: path.into(),
            context: config.context,
            vocabulary: config.vocabulary,
            pooling: config.pooling,
        }
    }

    /// Splits one prompt.
    ///
    /// # Errors
    /// [`Error::Prompt`] if it is empty; [`Error::Tokenizer`] if the tokenizer does not fit the model.
    pub fn tokenize(&self, prompt: &str) -> Result<Tokens> {
        if prompt.trim().is_empty() {
            return Err(Error::Prompt { prompt: prompt.into(), reason: "it is empty".into() });
        }
        self.tokenize_any(prompt)
    }

    /// Splits a text that may be empty.
    ///
    /// # Errors
    /// [`Error::Prompt`] if it is far too long; [`Error::Tokenizer`] if the tokenizer does not fit the model, or fails.
    pub fn tokenize_any(&self, prompt: &str) -> Result<Tokens> {
        if prompt.len() > LONGEST_TEXT {
            let reason = format!("expected at most {LONGEST_TEXT} bytes, found {}", prompt.len());
            return Err(Error::Prompt { prompt: beginning(prompt), reason });
        }
        let (mut ids, special) = self.split(&self.cleaning.apply(prompt)).map_err(|source| {
            self.error(format!("prompt {:?} cannot be split: {source}", beginning(prompt)))
        })?;
        if let Some(id) = ids.iter().find(|id| **id as usize >= self.vocabulary) {
            let reason = format!("token id {id} is outside the model's vocabulary of {}", self.vocabulary);
            return Err(self.error(reason));
        }
        let truncated = self.truncate(&mut ids, prompt, special);
        self.pad(&mut ids);
        Ok(Tokens { end: self.end_position(&ids)?, ids, truncated })
    }

    /// The ids of a cleaned text, and how many special tokens are at its end.
    pub(super) fn split(&self, text: &str) -> tokenizers::Result<(Vec<u32>, usize)> {
        let split = || match &self.tokenizer {
            Kind::Files(tokenizer) => {
                let encoding = tokenizer.encode(text, true)?;
                let ends_specially = encoding.get_special_tokens_mask().last() == Some(&1);
                Ok((encoding.get_ids().to_vec(), usize::from(ends_specially)))
            }
            Kind::OpenClip(pairs) => Ok((pairs.encode(text)?, 1)),
        };
        guarded(|| limits::within(split))?
    }

    /// Cuts a text to the context as transformers does: the special tokens at its end stay.
    fn truncate(&self, ids: &mut Vec<u32>, prompt: &str, special: usize) -> Option<Warning> {
        let tokens = ids.len();
        if tokens <= self.context {
            return None;
        }
        ids.drain(self.context.saturating_sub(special)..tokens - special);
        Some(Warning::PromptTruncated { prompt: prompt.into(), tokens, context: self.context })
    }

    fn pad(&self, ids: &mut Vec<u32>) {
        let Some(Padding { id, side }) = self.padding else { return };
        let missing = std::iter::repeat_n(id, self.context.saturating_sub(ids.len()));
        match side {
            Side::Right => ids.extend(missing),
            Side::Left => drop(ids.splice(..0, missing)),
        }
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

    pub(super) fn error(&self, reason: String) -> Error {
        Error::Tokenizer { path: self.path.clone(), reason }
    }
}

/// The beginning of a prompt, for messages.
fn beginning(prompt: &str) -> String {
    cut(prompt, LONGEST_SHOWN)
}

/// The `tokenizer.json` that transformers makes of `vocab.json` and `merges.txt` for CLIP.
fn assemble(vocabulary: &Path, merges: &Path) -> Result<Vec<u8>> {
    let error = |path: &Path, reason: String| Error::Tokenizer { path: path.into(), reason };
    let vocab: Value = json::parse(&read_text_file(vocabulary)?)
        .map_err(|source| error(vocabulary, format!("not valid JSON: {source}")))?;
    let id = |token: &str| {
        let id = vocab.get(token).and_then(Value::as_u64);
        id.ok_or_else(|| error(vocabulary, format!("token {token} is missing")))
    };
    let (start, end) = (id(START)?, id(END)?);
    let text =
        String::from_utf8(read_text_file(merges)?).map_err(|_| error(merges, "not UTF-8 text".into()))?;
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

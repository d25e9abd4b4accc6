//! What a tokenizer does, found out by asking it, since every kind of file says it elsewhere.

use serde::Serialize;
use tokenizers::ModelWrapper;

use super::prompt_tokenizer::{Kind, PromptTokenizer};
use crate::error::Result;

/// What a tokenizer does, in a few facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TokenizerFacts {
    /// How it splits words: `BPE`, `Unigram`, `WordPiece` or `WordLevel`.
    pub kind: &'static str,
    /// Tokens that the model has an embedding of.
    pub vocabulary: usize,
    /// Tokens that the model reads, special tokens included.
    pub context: usize,
    /// The special tokens that it puts before a text.
    pub start: Vec<u32>,
    /// The special tokens that it puts behind a text.
    pub end: Vec<u32>,
    /// What fills a text up to the context; null where texts are not filled up, because the model does not see it.
    pub pad: Option<u32>,
    /// Whether upper and lower case are the same.
    pub lowercases: bool,
}

impl PromptTokenizer {
    /// What it does.
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer) if it cannot split a letter.
    pub fn facts(&self) -> Result<TokenizerFacts> {
        let ids = |letter: &str| {
            let split = self.split(&self.cleaning.apply(letter));
            split
                .map(|(ids, _)| ids)
                .map_err(|source| self.error(format!("{letter:?} cannot be split: {source}")))
        };
        let (one, other) = (ids("a")?, ids("b")?);
        // Special tokens are what two letters have in common.
        let common = |(one, other): &(&u32, &u32)| one == other;
        let start: Vec<u32> = one.iter().zip(&other).take_while(common).map(|(id, _)| *id).collect();
        let behind = one[start.len()..].iter().rev().zip(other[start.len()..].iter().rev());
        let mut end: Vec<u32> = behind.take_while(common).map(|(id, _)| *id).collect();
        end.reverse();
        Ok(TokenizerFacts {
            kind: self.kind(),
            vocabulary: self.vocabulary,
            context: self.context,
            start,
            end,
            pad: self.padding.map(|padding| padding.id),
            lowercases: ids("A")? == one,
        })
    }

    fn kind(&self) -> &'static str {
        match &self.tokenizer {
            Kind::OpenClip(_) => "BPE",
            Kind::Files(tokenizer) => match tokenizer.get_model() {
                ModelWrapper::BPE(_) => "BPE",
                ModelWrapper::Unigram(_) => "Unigram",
                ModelWrapper::WordPiece(_) => "WordPiece",
                ModelWrapper::WordLevel(_) => "WordLevel",
            },
        }
    }
}

//! The text tower, and how a text becomes tokens.

use super::{Cleaning, Projection, TowerConfig};

/// Which token of a text is its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndOfText {
    /// The first token with this id.
    Id(u32),
    /// The first token with the highest id of the text: configurations written before transformers 4.31 give
    /// `eos_token_id` as 2, which is not the id of any end token.
    Highest,
}

/// Which token of a text becomes its embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextPooling {
    /// The end token.
    End(EndOfText),
    /// The last position of the context, which is a padding token unless the text fills it.
    Last,
    /// The first token.
    First,
}

/// Which tokens of a text a token sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextAttention {
    /// Itself and those before it, so padding behind the end token has no effect.
    Causal,
    /// All of them, **padding too**: texts are padded to the context, since that is how the model was trained.
    Bidirectional,
}

/// Who splits a text into tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Splitter {
    /// The tokenizer in the checkpoint's files, of any kind.
    Files,
    /// open_clip's own: CLIP's byte pairs, from the checkpoint's files or, where it has none, OpenAI's vocabulary.
    OpenClip,
}

/// The text tower.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TextConfig {
    /// The blocks.
    pub tower: TowerConfig,
    /// Rows of the token embedding.
    pub vocabulary: usize,
    /// Tokens that the model reads, special tokens included.
    pub context: usize,
    /// Which tokens a token sees.
    pub attention: TextAttention,
    /// Where the text's summary is taken.
    pub pooling: TextPooling,
    /// From there to the embedding.
    pub projection: Projection,
    /// The token that fills up a text, where the configuration has one; the tokenizer's own files come first.
    pub pad: Option<u32>,
    /// Who splits texts.
    pub splitter: Splitter,
    /// How a text is cleaned before it is split.
    pub cleaning: Cleaning,
}

impl TextConfig {
    /// Whether the model must be given texts as long as its context, because it sees the padding.
    pub fn sees_padding(&self) -> bool {
        self.attention == TextAttention::Bidirectional || self.pooling == TextPooling::Last
    }
}

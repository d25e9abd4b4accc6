//! A tokenizer that is parsed when the first text must be split: of a checkpoint whose texts are all known, never.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use super::{
    PromptTokenizer,
    prompt_tokenizer::{MERGES, TOKENIZER, VOCABULARY},
    settings,
};
use crate::{error::Result, model::formats::config::TextConfig};

/// The tokenizer of a checkpoint's directory.
pub(crate) struct LazyTokenizer {
    directory: PathBuf,
    config: TextConfig,
    parsed: OnceLock<PromptTokenizer>,
}

impl LazyTokenizer {
    /// Looks for the files of a tokenizer. One that needs none is there at once.
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer) if none exists.
    pub(crate) fn open(directory: &Path, config: &TextConfig) -> Result<Self> {
        let [whole, vocabulary, merges] =
            [TOKENIZER, VOCABULARY, MERGES].map(|name| directory.join(name).is_file());
        let lazy = Self { directory: directory.into(), config: config.clone(), parsed: OnceLock::new() };
        if !(whole || vocabulary && merges) {
            lazy.get()?;
        }
        Ok(lazy)
    }

    /// One that is parsed already and has no files.
    pub(crate) fn parsed(tokenizer: PromptTokenizer, config: &TextConfig) -> Self {
        Self { directory: PathBuf::new(), config: config.clone(), parsed: tokenizer.into() }
    }

    /// The tokenizer, parsed at the first call.
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer) if it is broken.
    pub(crate) fn get(&self) -> Result<&PromptTokenizer> {
        crate::model::model::loaded(&self.parsed, || PromptTokenizer::open(&self.directory, &self.config))
    }

    /// Whether it was needed so far.
    pub(crate) fn is_parsed(&self) -> bool {
        self.parsed.get().is_some()
    }

    /// Those of the files that decide how a text is split that are there.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let names = [TOKENIZER, VOCABULARY, MERGES].into_iter().chain(settings::FILES);
        names.map(|name| self.directory.join(name)).filter(|file| file.is_file()).collect()
    }
}

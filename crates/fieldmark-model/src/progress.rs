//! Events that a long operation reports while it runs. The library never draws.

use crate::error::Error;

/// Something happened in a long operation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A file of the Hub is about to be fetched; or, reported again for the same file, begins anew because the server
    /// could not resume it.
    DownloadStarted {
        /// The repository and the file in it, as `org/name/file`.
        file: String,
        /// Bytes in the whole file, where the server said.
        total: Option<u64>,
        /// Bytes that an interrupted run left, and that are not fetched again.
        resumed: u64,
    },
    /// More of the file that was started last has arrived.
    DownloadAdvanced {
        /// Bytes since the event before.
        bytes: u64,
    },
    /// The file that was started last is complete and in the cache.
    DownloadFinished,
    /// The file was in the cache already.
    DownloadCached {
        /// The repository and the file in it, as `org/name/file`.
        file: String,
    },
    /// A method is about to run the model on many changed copies of one photo.
    PassesStarted {
        /// How many.
        passes: usize,
    },
    /// Some of them are done.
    PassesAdvanced {
        /// How many since the event before.
        passes: usize,
    },
    /// All of them are done.
    PassesFinished,
    /// A run over many photos begins.
    PhotosStarted {
        /// How many, where that is known.
        photos: Option<usize>,
    },
    /// Some of them are done, or could not be done.
    PhotosAdvanced {
        /// How many since the event before.
        photos: usize,
    },
    /// The run is over.
    PhotosFinished,
    /// Something that the user should know, but that stops nothing.
    Warning(Warning),
}

/// Something that the user should know, but that stops nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// A prompt is longer than the model's context and was cut.
    #[error("prompt {prompt:?} has {tokens} tokens, the model reads {context}: its end was cut off")]
    PromptTruncated {
        /// The prompt as it was given.
        prompt: String,
        /// Tokens before the cut, with start and end token.
        tokens: usize,
        /// Tokens that the model reads, with start and end token.
        context: usize,
    },
    /// A prompt has words that the model was not trained on.
    #[error("prompt {prompt:?} has words that the model does not know: {}", words.join(", "))]
    UnknownWords {
        /// The prompt as it was given.
        prompt: String,
        /// The words, each once.
        words: Vec<String>,
    },
    /// Rivals were given to a method that does not look at the prompts.
    #[error("{method} shows the same for every prompt: the rivals change nothing")]
    PromptsIgnored {
        /// The method's name.
        method: &'static str,
    },
    /// Rivals were given to an objective that does not look at them.
    #[error(
        "{aggregate} explains the prompt alone: the rivals compete with it, but change nothing in the map"
    )]
    RivalsIgnored {
        /// The objective's name.
        aggregate: &'static str,
    },
    /// An image is broken near its end or in its metadata, but could be read.
    #[error("{path}: {reason}")]
    Image {
        /// The file.
        path: std::path::PathBuf,
        /// What was odd.
        reason: String,
    },
    /// Entries of a data set cannot be used.
    #[error("{path}: {what} that cannot be used and are passed over: {count}; the first is {first}")]
    PassedOver {
        /// The file or folder.
        path: std::path::PathBuf,
        /// What the entries are, in the plural.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// Where the first is, what was expected and what was found.
        first: String,
    },
    /// The Hub could not be asked for an optional file that the cache lacks, and that is done without.
    #[error("{model}: {file} is not in the cache, and the Hub could not be asked whether it exists")]
    CacheIncomplete {
        /// The repository.
        model: String,
        /// The file.
        file: String,
    },
    /// A checkpoint's weights hold tensors beside the model, which does not need them.
    #[error("{path}: {tensors} tensors beside the model are not used, {first} first")]
    ExtraTensors {
        /// The file or directory of the weights.
        path: std::path::PathBuf,
        /// How many.
        tensors: usize,
        /// The name of the first one.
        first: String,
    },
    /// A file of the Hub's cache is not what its name says. It is fetched again.
    #[error("{file}: what the cache has is damaged: {reason}")]
    CacheDamaged {
        /// The repository and the file in it, as `org/name/file`.
        file: String,
        /// What was expected and what was found.
        reason: String,
    },
    /// The embeddings of texts cannot be kept for later runs.
    #[error("embeddings of texts are not kept: {reason}")]
    TextCache {
        /// What went wrong, and with which file or folder.
        reason: String,
    },
    /// Something went wrong on the way to the Hub and is tried again.
    #[error("{what}: {reason}; trying again")]
    Retry {
        /// What was being done.
        what: String,
        /// What went wrong.
        reason: String,
    },
}

impl Warning {
    /// That the embeddings of texts cannot be kept, because of this.
    pub fn text_cache(error: &Error) -> Self {
        Self::TextCache { reason: error.to_string() }
    }
}

/// Receives the events of a long operation. It is called on the thread that does the work, so it must not
/// block.
pub trait ProgressHandler: Send + Sync {
    /// Called once for every event, in order.
    fn event(&self, event: Event);
}

/// A handler that ignores everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl ProgressHandler for Silent {
    fn event(&self, _event: Event) {}
}

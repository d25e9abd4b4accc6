//! What can go wrong, in terms that a caller can act on.
//!
//! A message names the thing, what was expected and what was found; it gives no advice, because advice
//! (which flag to type, which function to call) depends on who is asking. It is complete: a cause that is also the
//! error's `source` stands at its end.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

/// The result of everything in this library that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong in this library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory could not be read.
    #[error("{path}: cannot be read: {source}")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file or directory could not be written.
    #[error("{path}: cannot be written: {source}")]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file is not an image that can be decoded.
    #[error("{path}: {reason}")]
    Image {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        reason: String,
    },
    /// A file is in a known format that is not decoded.
    #[error("{path}: {format} is not supported; supported: JPEG, PNG, WebP, GIF, BMP, TIFF")]
    UnsupportedFormat {
        /// The file.
        path: PathBuf,
        /// The format's name.
        format: String,
        /// What kind of format it is.
        kind: FormatKind,
    },
    /// An image has more pixels than the limit allows.
    #[error("{path}: the image has {width} x {height} pixels, more than the limit of {limit}")]
    ImageTooLarge {
        /// The file.
        path: PathBuf,
        /// Its width in pixels, as its header says.
        width: u32,
        /// Its height in pixels, as its header says.
        height: u32,
        /// The limit on width times height.
        limit: u64,
    },
    /// An image is wider or higher than any that is decoded.
    #[error(
        "{path}: the image has {width} x {height} pixels, and a side is longer than the limit of {limit}"
    )]
    ImageSideTooLong {
        /// The file.
        path: PathBuf,
        /// Its width in pixels, as its header says.
        width: u32,
        /// Its height in pixels, as its header says.
        height: u32,
        /// The limit on each of them.
        limit: u32,
    },
    /// A photo was named by an address; only files are read.
    #[error("{address}: expected a file, found a web address")]
    WebAddress {
        /// The address.
        address: String,
    },
    /// No checkpoint of that name or path was found.
    #[error("model {model}: {reason}")]
    ModelNotFound {
        /// The name or path as it was given.
        model: String,
        /// Where it was looked for and what was missing.
        reason: String,
    },
    /// A checkpoint's configuration is broken, or describes something that is not supported.
    #[error("{path}: {reason}")]
    Config {
        /// The file.
        path: PathBuf,
        /// The field, what was expected and what was found.
        reason: String,
    },
    /// A checkpoint's weights do not fit its configuration, or hold values that are not numbers.
    #[error("{path}: {reason}")]
    Weights {
        /// The file or directory.
        path: PathBuf,
        /// The tensor, what was expected and what was found.
        reason: String,
    },
    /// A file of a checkpoint is a pointer of Git LFS, not the file.
    #[error("{path}: expected the file itself, found a git-lfs pointer{}", pointed_at(*size))]
    LfsPointer {
        /// The file.
        path: PathBuf,
        /// Bytes in the file that it points to, where it says so.
        size: Option<u64>,
    },
    /// A checkpoint's tokenizer could not be read, or failed on a text.
    #[error("{path}: {reason}")]
    Tokenizer {
        /// The file or directory.
        path: PathBuf,
        /// What was expected and what was found.
        reason: String,
    },
    /// The Hub has the checkpoint, but does not hand it out.
    #[error("model {model}: {reason}")]
    AccessDenied {
        /// The repository.
        model: String,
        /// What the Hub said, and whether a token was sent.
        reason: String,
    },
    /// The Hub, or the way to it, failed.
    #[error("{url}: {reason}")]
    Network {
        /// The address asked.
        url: String,
        /// What came back.
        reason: String,
    },
    /// A file is needed from the Hub, but the network may not be used.
    #[error("{model}: {file} is not in the cache and the network may not be used (offline)")]
    Offline {
        /// The repository.
        model: String,
        /// The file that is missing.
        file: String,
    },
    /// A prompt cannot be used.
    #[error("prompt {prompt:?}: {reason}")]
    Prompt {
        /// The prompt as it was given.
        prompt: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A text was to be a target of a checkpoint that has no text tower.
    #[error(
        "the checkpoint has no text tower: expected a class, a photo or a vector as the target, found a text"
    )]
    NoTextTower,
    /// No class, or more than one, has the name that was asked for.
    #[error("class {name:?}: {reason}{}", offered(nearest))]
    UnknownClass {
        /// The name as it was given.
        name: String,
        /// What was found instead.
        reason: String,
        /// The names or numbers that may be meant, the nearest first.
        nearest: Vec<String>,
    },
    /// A file with the head of a classifier, or with vectors, cannot be used.
    #[error("{path}: {reason}")]
    Head {
        /// The file.
        path: PathBuf,
        /// The entry, what was expected and what was found.
        reason: String,
    },
    /// An option has a value that cannot be used here.
    #[error("{option}: {reason}")]
    Option {
        /// The option's name in the library.
        option: &'static str,
        /// What was expected and what was found.
        reason: String,
    },
    /// A computation gave something that is not a number, or lost its gradient.
    #[error("{what}: {reason}")]
    Numeric {
        /// The value.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The device that was asked for was not compiled in.
    #[error("device {device}: this build has no support for it")]
    DeviceNotCompiledIn {
        /// The device's name.
        device: &'static str,
    },
    /// The device that was asked for could be used by this build, but is not there.
    #[error("device {device}: {reason}")]
    Device {
        /// The device's name.
        device: &'static str,
        /// Why it cannot be used.
        reason: String,
    },
    /// A data set could not be read.
    #[error("{path}: {reason}")]
    Dataset {
        /// The file or directory.
        path: PathBuf,
        /// The line or field, what was expected and what was found.
        reason: String,
    },
    /// A folder that photos were to come from has none.
    #[error("{path}: no image is in this directory")]
    NoPhotos {
        /// The folder.
        path: PathBuf,
    },
    /// The folder of a run, or a file in it, cannot be used.
    #[error("{path}: {reason}")]
    Run {
        /// The folder or file.
        path: PathBuf,
        /// What was expected and what was found.
        reason: String,
    },
    /// A run was cancelled before it was done.
    #[error("the run was cancelled")]
    Cancelled,
    /// The work on a photo panicked.
    #[error("a fault in fieldmark: {reason}")]
    Fault {
        /// The panic's message.
        reason: String,
    },
    /// candle failed.
    #[error("tensor computation failed: {}", first_line(.0))]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    /// Whether an error would come again with every photo of a run: what is wrong is the model, or the place of the
    /// results.
    pub fn would_come_again(&self) -> bool {
        match self {
            Self::Weights { .. } | Self::Config { .. } | Self::Tokenizer { .. } => true,
            Self::Write { source, .. } => is_about_the_place(source),
            _ => false,
        }
    }
}

/// Whether nothing can be written in a place any more, rather than one file of it.
fn is_about_the_place(error: &io::Error) -> bool {
    /// An error of input or output.
    const EIO: i32 = 5;
    match error.kind() {
        ErrorKind::StorageFull
        | ErrorKind::QuotaExceeded
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::NotFound
        | ErrorKind::NotADirectory
        | ErrorKind::StaleNetworkFileHandle
        | ErrorKind::PermissionDenied => true,
        _ => cfg!(unix) && error.raw_os_error() == Some(EIO),
    }
}

/// What kind of files a format that is not decoded is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatKind {
    /// A camera's sensor data, which a raw converter develops into a picture.
    CameraRaw,
    /// Pictures of pixels.
    Picture,
    /// Moving pictures.
    Video,
    /// Drawings, pages and archives.
    Document,
}

fn offered(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => {
            let quoted: Vec<String> = names.iter().map(|name| format!("{:?}", cut(name, 80))).collect();
            format!("; nearest: {}", quoted.join(", "))
        }
    }
}

fn pointed_at(size: Option<u64>) -> String {
    size.map(|size| format!(" to its {size} bytes")).unwrap_or_default()
}

/// A reason that may hold names from a file: control characters in them are written out, so that it stays one line.
pub(crate) fn one_line(reason: &str) -> String {
    reason.chars().fold(String::with_capacity(reason.len()), |mut text, c| {
        if c.is_control() {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
        text
    })
}

/// A text of a message, cut where it gets longer than so many characters.
pub fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The first line of candle's message: the rest is a backtrace.
pub(crate) fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_holds_its_cause() {
        let missing = std::fs::read("no/such/file").unwrap_err();
        let cause = missing.to_string();
        let error = Error::Read { path: "photo.jpg".into(), source: missing };
        assert_eq!(error.to_string(), format!("photo.jpg: cannot be read: {cause}"));
        let candle = candle_core::Tensor::zeros((2, 3), candle_core::DType::F32, &candle_core::Device::Cpu)
            .and_then(|zeros| zeros.matmul(&zeros))
            .unwrap_err();
        let message = Error::from(candle).to_string();
        assert!(message.starts_with("tensor computation failed: shape mismatch in matmul"), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }

    #[test]
    fn control_characters_are_written_out() {
        assert_eq!(one_line("entry a\n\u{1b}[31m: \u{e9}"), "entry a\\n\\u{1b}[31m: \u{e9}");
    }
}

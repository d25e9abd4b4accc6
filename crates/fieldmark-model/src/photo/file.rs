//! A photo's bytes, read once: whoever hashes or keeps them decodes the same bytes.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use super::PhotoOptions;
use super::decode::memory_limit;
use super::header::size_in_file;
use crate::files::read_bounded;
use crate::{error::Error, error::Result};

/// Reads the file of a photo, to be decoded by [`Photo::from_bytes`](super::Photo::from_bytes).
///
/// Its header is read first: a file that is larger than a photo of its size can be, 16 bytes for each pixel and 256 MiB
/// beside them, is refused before it is read.
///
/// # Errors
/// [`Error::Read`] if it cannot be read, is not a regular file, or is too large; [`Error::UnsupportedFormat`] if its
/// first bytes are those of another format; [`Error::WebAddress`] if it does not exist and its name is an address.
pub fn read(path: impl AsRef<Path>, options: &PhotoOptions) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let pixels = match size_in_file(path) {
        Ok(size) => size.area().min(options.pixel_limit),
        Err(error @ Error::UnsupportedFormat { .. }) => return Err(error),
        Err(Error::Read { source, .. }) if source.kind() == ErrorKind::NotFound && is_web_address(path) => {
            return Err(Error::WebAddress { address: path.to_string_lossy().into_owned() });
        }
        // No size was found: reading or decoding reports why, but such a file may not be large.
        Err(_) => 0,
    };
    read_bounded(path, memory_limit(pixels))
}

/// Reads a photo to the end of a stream, such as standard input; `name` stands for it in messages.
///
/// # Errors
/// [`Error::Read`] if it cannot be read, or has more bytes than the largest photo that the options allow can have.
pub fn read_stream(name: impl AsRef<Path>, stream: impl Read, options: &PhotoOptions) -> Result<Vec<u8>> {
    let limit = memory_limit(options.pixel_limit);
    let fail = |source| Error::Read { path: name.as_ref().into(), source };
    let mut bytes = Vec::new();
    stream.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > limit {
        let reason = format!("expected at most {limit} bytes, found more");
        return Err(fail(io::Error::new(ErrorKind::FileTooLarge, reason)));
    }
    Ok(bytes)
}

/// Whether a path is an address, such as `https://example.org/photo.jpg` or `data:image/png;base64,...`.
fn is_web_address(path: &Path) -> bool {
    let Some(text) = path.to_str() else { return false };
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    let is_scheme =
        |scheme: &str| scheme.len() > 1 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
    scheme.is_some_and(is_scheme) || text.starts_with("data:image/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::photo::Photo;

    #[test]
    fn a_file_is_refused_by_its_size_before_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let header = std::fs::read("../../tests/fixtures/photos/shapes-96x64.png").unwrap();
        for beginning in [&header[..], b"", b"no picture"] {
            std::fs::write(&path, beginning).unwrap();
            // Sparse: takes no space on the disk.
            let file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
            file.set_len(40_000_000_000).unwrap();
            let error = read(&path, &PhotoOptions::default()).unwrap_err();
            assert!(
                matches!(&error, Error::Read { source, .. } if source.kind() == ErrorKind::FileTooLarge),
                "{error}"
            );
            assert!(std::error::Error::source(&error).unwrap().to_string().contains("40000000000"));
        }
        std::fs::write(&path, &header).unwrap();
        let bytes = read(&path, &PhotoOptions::default()).unwrap();
        assert_eq!(bytes, header);
        assert!(Photo::from_bytes(&path, &bytes, &PhotoOptions::default()).is_ok());
    }

    #[test]
    fn a_stream_is_read_to_its_end_or_to_the_limit() {
        let options = PhotoOptions { pixel_limit: 1 };
        assert_eq!(read_stream("-", &b"abc"[..], &options).unwrap(), b"abc");
        let error = read_stream("-", io::repeat(7), &options).unwrap_err();
        assert!(matches!(error, Error::Read { .. }), "{error}");
    }

    #[test]
    fn addresses_are_named_as_such() {
        for address in
            ["https://example.org/a.jpg", "HTTP://a/b", "s3://bucket/a.png", "data:image/png;base64,AA=="]
        {
            let error = read(address, &PhotoOptions::default()).unwrap_err();
            assert!(matches!(&error, Error::WebAddress { address: found } if found == address), "{error}");
        }
        for path in ["missing.jpg", "C://a.jpg", "a b://c", "data:"] {
            assert!(matches!(read(path, &PhotoOptions::default()), Err(Error::Read { .. })), "{path}");
        }
    }
}

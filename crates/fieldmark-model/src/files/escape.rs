//! Names that are not UTF-8 as text that keeps every byte.

use std::path::{Path, PathBuf};

use serde::{Serializer, ser::SerializeMap};

/// A path that is not UTF-8 as text: `%` and every byte that belongs to no character become `%` and two hexadecimal
/// digits, as in `caf%E9.jpg`. None of a path that is UTF-8, which is text already.
pub fn escaped(path: &Path) -> Option<String> {
    let bytes = path.as_os_str().as_encoded_bytes();
    if std::str::from_utf8(bytes).is_ok() {
        return None;
    }
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(&chunk.valid().replace('%', "%25"));
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("%{byte:02X}")));
    }
    Some(text)
}

/// A path in JSON, as fields of a record: `name`, where what is not UTF-8 is U+FFFD, and of such a path its escaped form
/// ([`escaped`]) as `name_bytes`.
pub fn serialize_path<S: Serializer>(name: &str, path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    let mut fields = serializer.serialize_map(None)?;
    fields.serialize_entry(name, &path.to_string_lossy())?;
    if let Some(bytes) = escaped(path) {
        fields.serialize_entry(&format!("{name}_bytes"), &bytes)?;
    }
    fields.end()
}

/// The path that [`escaped`] makes such a text of; a `%` without two hexadecimal digits stands for itself.
pub fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits =
            after.get(..2).filter(|digits| *first == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    path(bytes)
}

#[cfg(unix)]
fn path(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(not(unix))]
fn path(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

#[cfg(all(test, unix))]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    use super::*;

    #[test]
    fn every_byte_of_a_name_is_kept() {
        let all: Vec<u8> = (1..=255).collect();
        for name in [&b"caf\xe9 100%.jpg"[..], b"\xff%E9\xc3\xa9", &all] {
            let path = Path::new(OsStr::from_bytes(name));
            assert_eq!(unescaped(&escaped(path).unwrap()), path);
        }
        assert_eq!(escaped(Path::new(OsStr::from_bytes(b"caf\xe9 100%"))).unwrap(), "caf%E9 100%25");
        assert_eq!(escaped(Path::new("café 100%.jpg")), None);
        assert_eq!(unescaped("a%+1%2"), Path::new("a%+1%2"));
    }
}

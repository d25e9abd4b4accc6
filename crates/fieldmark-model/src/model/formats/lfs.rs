//! Git LFS keeps large files elsewhere and leaves a pointer of some lines in their place; a clone that did not fetch
//! them has the pointers alone.

use std::{fs::File, io::Read, path::Path};

use crate::error::{Error, Result};

/// How the first line begins; the second is how it began before the tool had its name.
const VERSIONS: [&str; 2] =
    ["version https://git-lfs.github.com/spec/", "version https://hawser.github.com/spec/"];
/// The specification's own limit; pointers have some 130 bytes.
const LONGEST: usize = 1024;

/// Refuses a pointer in the place of a file. What cannot be read is left to whoever reads it.
///
/// # Errors
/// [`Error::LfsPointer`] with the size that the pointer gives.
pub(crate) fn refuse_pointer(path: &Path) -> Result<()> {
    let is_short =
        path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() <= LONGEST as u64);
    if !is_short {
        return Ok(());
    }
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(LONGEST as u64 + 1).read_to_end(&mut bytes)) {
        Ok(_) => refuse_pointer_in(&bytes, path),
        Err(_) => Ok(()),
    }
}

/// Refuses the bytes of a file if they are a pointer.
///
/// # Errors
/// As [`refuse_pointer`].
pub(crate) fn refuse_pointer_in(bytes: &[u8], path: &Path) -> Result<()> {
    let is_pointer =
        bytes.len() <= LONGEST && VERSIONS.iter().any(|version| bytes.starts_with(version.as_bytes()));
    if !is_pointer {
        return Ok(());
    }
    let text = String::from_utf8_lossy(bytes);
    let size = text.lines().find_map(|line| line.strip_prefix("size ")?.trim().parse().ok());
    Err(Error::LfsPointer { path: path.into(), size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_known_by_its_first_line_and_gives_the_size() {
        let path = Path::new("a");
        let refused =
            |text: &str| refuse_pointer_in(text.as_bytes(), path).err().map(|error| error.to_string());
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 605247071\n";
        let expected = "a: expected the file itself, found a git-lfs pointer to its 605247071 bytes";
        assert_eq!(refused(pointer).as_deref(), Some(expected));
        assert_eq!(refused(&pointer.replace('\n', "\r\n")).as_deref(), Some(expected));
        let old = "version https://hawser.github.com/spec/v1\n";
        assert_eq!(refused(old).as_deref(), Some("a: expected the file itself, found a git-lfs pointer"));
        assert_eq!(refused("{\"version\": \"https://git-lfs.github.com/spec/v1\"}"), None);
        assert_eq!(refused(&format!("{pointer}{}", " ".repeat(2000))), None);
    }
}

//! Compares contents with the etag that names them: the SHA-256 of a large file, git's hash of a small one.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::digest::{GitHasher, Hasher, hexadecimal};

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;
/// What gzip writes first.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// How a file's contents differ from what its etag and size promise; none if they do not, or if the etag is no hash.
pub(super) fn difference(path: &Path, etag: &str, size: Option<u64>) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    if let Some(size) = size.filter(|size| *size != length) {
        return Ok(Some(format!("received {length} bytes or more, expected {size}")));
    }
    let is_hash = etag.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (kind, found) = match etag.len() {
        64 if is_hash => ("sha256", sha256(&mut file)?),
        40 if is_hash => ("git hash", git_hash(&mut file, length)?),
        _ => return Ok(None),
    };
    if found.eq_ignore_ascii_case(etag) {
        return Ok(None);
    }
    let encoded = if starts_as_gzip(path)? { "; it begins like gzip" } else { "" };
    Ok(Some(format!("the file's {kind} is {found}, expected {etag}{encoded}")))
}

fn sha256(file: &mut File) -> io::Result<String> {
    let mut hasher = Hasher::new();
    pieces(file, &mut |piece| hasher.update(piece))?;
    Ok(hexadecimal(&hasher.finish()))
}

fn git_hash(file: &mut File, length: u64) -> io::Result<String> {
    let mut hasher = GitHasher::new(length);
    pieces(file, &mut |piece| hasher.update(piece))?;
    Ok(hasher.finish())
}

fn pieces(file: &mut File, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(()),
            count => take(&chunk[..count]),
        }
    }
}

fn starts_as_gzip(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(GZIP.len() as u64).read_to_end(&mut start)?;
    Ok(start == GZIP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_held_to_their_size_and_hash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "hello world\n").unwrap();
        let git = "3b18e512dba79e4c8300dd08aeb37f8e728b8dad";
        let sha = "a948904f2f0f479b8f8197694b30184b0d2ed1c1cd2a1ec0fb85d299a192a447";
        let differs = |etag: &str, size| difference(&path, etag, size).unwrap();
        for etag in [git, sha, "abc-1", &sha.to_uppercase()] {
            assert_eq!(differs(etag, Some(12)), None, "{etag}");
        }
        assert!(differs("abc-1", Some(13)).unwrap().contains("12 bytes"));
        assert!(differs(&git.replace('3', "4"), None).unwrap().contains(git));
        assert!(differs(&sha.replace('a', "b"), None).unwrap().contains("sha256"));
        std::fs::write(&path, [0x1f, 0x8b, 8, 0]).unwrap();
        assert!(differs(sha, None).unwrap().ends_with("begins like gzip"));
    }
}

//! Files are read whole, within a bound; and results become files, named so that no two collide and written whole
//! or not at all.
//!
//! A file is written under a temporary name beside its place and then renamed, so that a reader sees the
//! old file or the new one and an interrupted run leaves nothing half-written. That guards against crashes
//! of the program, not of the machine: nothing waits for the disk.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, GrayImage, ImageEncoder};

use crate::error::{Error, Result};

/// The longest part of an image's name that is kept, in bytes.
const LONGEST_STEM: usize = 120;

/// The longest slug of a prompt, in bytes. With the longest stem, a number and a kind it stays well under
/// the 255 bytes that file systems allow.
const LONGEST_SLUG: usize = 80;

/// Creates a folder, parents included, and makes sure that files can be created in it.
///
/// Asked before long work, so that a bad folder fails at once.
///
/// # Errors
/// [`Error::Write`] if the folder cannot be created or written to.
pub fn prepare_folder(folder: &Path) -> Result<()> {
    let fail = |source| Error::Write { path: folder.to_path_buf(), source };
    std::fs::create_dir_all(folder).map_err(fail)?;
    open_temporary(folder).map_err(fail).map(drop)
}

/// Writes a file whole or not at all; an existing one is replaced, and keeps its permissions.
///
/// # Errors
/// [`Error::Write`] if the folder cannot be written to, the disk is full, or `write` fails; then nothing is
/// left behind and an existing file is as it was.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> Result<()> {
    replace(path, write).map_err(|source| Error::Write { path: path.to_path_buf(), source })
}

fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = open_temporary(folder)?;
    let mut writer = BufWriter::new(temporary.as_file());
    write(&mut writer)?;
    writer.flush()?;
    drop(writer);
    if let Ok(existing) = std::fs::metadata(path) {
        temporary.as_file().set_permissions(existing.permissions())?;
    }
    temporary.persist(path).map(drop).map_err(|error| error.error)
}

/// The beginning and the end of a temporary file's name.
const TEMPORARY: [&str; 2] = [".fieldmark-", ".part"];

/// Removes the temporary files that a run which was killed left in a folder. No other run may be writing there.
///
/// # Errors
/// [`Error::Read`] if the folder cannot be read, [`Error::Write`] if a file cannot be removed.
pub fn remove_leftovers(folder: &Path) -> Result<()> {
    let unreadable = |source| Error::Read { path: folder.to_path_buf(), source };
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(TEMPORARY[0]) && name.ends_with(TEMPORARY[1]) {
            std::fs::remove_file(&path).map_err(|source| Error::Write { path: path.clone(), source })?;
        }
    }
    Ok(())
}

/// A temporary file with the permissions of an ordinary new file: read and write for all, less the umask.
fn open_temporary(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY[0]).suffix(TEMPORARY[1]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    // tempfile's own error names the temporary file, which means nothing to a reader.
    builder.tempfile_in(folder).map_err(|error| error.kind().into())
}

/// Writes a PNG, compressed for speed.
///
/// # Errors
/// [`Error::Write`] as [`write_atomically`] has it.
pub fn save_png(path: &Path, picture: &DynamicImage) -> Result<()> {
    // Encoded first: the encoder would hide what the operating system says about writing.
    write_atomically(path, |file| file.write_all(&png(picture)?))
}

/// A picture as a PNG, compressed for speed.
///
/// # Errors
/// If the picture has no pixels.
pub fn png(picture: &DynamicImage) -> io::Result<Vec<u8>> {
    let mut encoded = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut encoded, CompressionType::Fast, FilterType::Adaptive);
    let (width, height) = (picture.width(), picture.height());
    let written = encoder.write_image(picture.as_bytes(), width, height, picture.color().into());
    written.map_err(io::Error::other).map(|()| encoded)
}

/// Writes a PNG with indexed colours: the picture's numbers are stored as they are, and programs that show it look their
/// colours up in the palette. This is how segmentation data sets keep labels.
///
/// # Errors
/// [`Error::Write`] as [`write_atomically`] has it, or if the picture has no pixels or a number without a colour.
pub fn save_indexed_png(path: &Path, numbers: &GrayImage, colors: &[[u8; 3]]) -> Result<()> {
    write_atomically(path, |file| file.write_all(&indexed_png(numbers, colors)?))
}

fn indexed_png(numbers: &GrayImage, colors: &[[u8; 3]]) -> io::Result<Vec<u8>> {
    let largest = numbers.as_raw().iter().copied().max().map_or(0, usize::from);
    let Some(colors) = colors.get(..=largest) else {
        let found = format!("{} colours expected, {} found", largest + 1, colors.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, found));
    };
    let mut encoded = Vec::new();
    let mut encoder = png::Encoder::new(&mut encoded, numbers.width(), numbers.height());
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(colors.concat());
    encoder.write_header()?.write_image_data(numbers.as_raw())?;
    Ok(encoded)
}

/// Writes an array of `shape` (rows, columns) as NumPy's `.npy`: version 1.0, float32, row by row.
///
/// # Errors
/// [`Error::Write`] as [`write_atomically`] has it, or if there are not rows x columns values.
pub fn save_npy(path: &Path, values: &[f32], shape: [usize; 2]) -> Result<()> {
    write_atomically(path, |file| {
        if shape[0].checked_mul(shape[1]) != Some(values.len()) {
            let found = format!("{} x {} values expected, {} found", shape[0], shape[1], values.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, found));
        }
        file.write_all(&npy_header(shape))?;
        values.iter().try_for_each(|value| file.write_all(&value.to_le_bytes()))
    })
}

/// Magic, version, the length of the description, and the description, padded so that the data begin at a
/// multiple of 64 bytes.
fn npy_header(shape: [usize; 2]) -> Vec<u8> {
    const BEFORE_DESCRIPTION: usize = 10;
    let mut description =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", shape[0], shape[1]);
    let total = (BEFORE_DESCRIPTION + description.len() + 1).next_multiple_of(64);
    while BEFORE_DESCRIPTION + description.len() + 1 < total {
        description.push(' ');
    }
    description.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    // Two numbers of at most 20 digits: the description always fits 16 bits.
    header.extend((description.len() as u16).to_le_bytes());
    header.extend(description.into_bytes());
    header
}

/// A prompt as a part of a file name: its words in lower case, joined by `-`.
///
/// Letters and digits of every script are kept; everything else separates words. The slug is never empty
/// and at most 80 bytes long; where words are lost to that, or where none are left, a number made from the
/// whole prompt stands for them. Prompts that differ in punctuation or case alone have the same slug:
/// [`Names`] tells them apart.
pub fn slug(prompt: &str) -> String {
    let lower = prompt.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let slug = words.join("-");
    if slug.is_empty() {
        return format!("prompt-{:08x}", fingerprint(prompt));
    }
    if slug.len() <= LONGEST_SLUG {
        return slug;
    }
    let kept = prefix(&slug, LONGEST_SLUG - "-01234567".len()).trim_end_matches('-');
    format!("{kept}-{:08x}", fingerprint(prompt))
}

/// FNV-1a: small, and the same on every machine and in every release, which the standard hasher is not.
fn fingerprint(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The longest start of a text that has at most `bytes` bytes and cuts no character.
fn prefix(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Reads a whole file of at most `limit` bytes.
///
/// # Errors
/// [`Error::Read`] if it cannot be read, is not a regular file (a named pipe could wait forever) or is larger.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let read = || -> std::io::Result<Vec<u8>> {
        let metadata = std::fs::metadata(path)?;
        if !metadata.is_file() {
            let found = if metadata.is_dir() { "a directory" } else { "something else" };
            let reason = format!("expected a regular file, found {found}");
            return Err(io::Error::new(ErrorKind::InvalidInput, reason));
        }
        let too_large = |found: &dyn std::fmt::Display| {
            let reason = format!("expected at most {limit} bytes, found {found}");
            io::Error::new(ErrorKind::FileTooLarge, reason)
        };
        if metadata.len() > limit {
            return Err(too_large(&metadata.len()));
        }
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(metadata.len() as usize)
            .map_err(|_| io::Error::from(ErrorKind::OutOfMemory))?;
        // The bound holds for a file that grows while it is read, too.
        File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > limit {
            true => Err(too_large(&"more")),
            false => Ok(bytes),
        }
    };
    read().map_err(|source| Error::Read { path: path.into(), source })
}

/// Hands out the names of one run's files, none of them twice.
///
/// A name is what stands before the kind: `photo.red-bird` in `photo.red-bird.overlay.png`. A name that was
/// handed out before gets a number (`photo.red-bird-2`), so the same calls in the same order always give
/// the same names. Names that differ only in case count as the same, because on some file systems they are.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// How often each name was asked for, by its lower-case form.
    asked: HashMap<String, usize>,
}

impl Names {
    /// Nothing handed out yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A name for what belongs to one image and one prompt.
    pub fn for_prompt(&mut self, image: &Path, prompt: &str) -> String {
        self.free(format!("{}.{}", stem(image), slug(prompt)))
    }

    /// A name for what belongs to one image and all its prompts.
    pub fn for_image(&mut self, image: &Path) -> String {
        self.free(stem(image))
    }

    fn free(&mut self, wanted: String) -> String {
        let mut name = wanted.clone();
        while let Some(times) = self.asked.get(&name.to_lowercase()).copied() {
            // The name and its numbered forms share one count, so many equal names cost no search.
            let asked = self.asked.entry(wanted.to_lowercase()).or_insert(times);
            *asked += 1;
            name = format!("{wanted}-{asked}");
        }
        self.asked.insert(name.to_lowercase(), 1);
        name
    }
}

/// The path of a file of one kind: `<folder>/<name>.<kind>.<extension>`.
pub fn path_of(folder: &Path, name: &str, kind: &str, extension: &str) -> PathBuf {
    folder.join(format!("{name}.{kind}.{extension}"))
}

/// An image's file name without its extension, cut to what file systems allow.
fn stem(image: &Path) -> String {
    let stem = image.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let clean: String =
        stem.chars().map(|c| if c.is_control() || "/\\:".contains(c) { '_' } else { c }).collect();
    match prefix(&clean, LONGEST_STEM) {
        "" => "image".to_owned(),
        kept => kept.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn replaces_a_file_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "a longer old text").unwrap();
        write_atomically(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(names_in(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "old").unwrap();
        let error = write_atomically(&path, |file| {
            file.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(matches!(error, Err(Error::Write { path: named, .. }) if named == path));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names_in(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none").join("a.txt");
        let error = write_atomically(&path, |file| file.write_all(b"x"));
        assert!(matches!(error, Err(Error::Write { path: named, .. }) if named == path));
        prepare_folder(&folder.path().join("none")).unwrap();
        write_atomically(&path, |file| file.write_all(b"x")).unwrap();
        assert!(matches!(prepare_folder(&path), Err(Error::Write { .. })), "a file is no folder");
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_has_ordinary_permissions_and_an_old_one_keeps_its_own() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (ours, ordinary) = (folder.path().join("ours"), folder.path().join("ordinary"));
        std::fs::write(&ordinary, "").unwrap();
        write_atomically(&ours, |_| Ok(())).unwrap();
        assert_eq!(mode(&ours), mode(&ordinary));
        std::fs::set_permissions(&ours, std::fs::Permissions::from_mode(0o640)).unwrap();
        write_atomically(&ours, |_| Ok(())).unwrap();
        assert_eq!(mode(&ours), 0o640);
    }

    #[test]
    fn npy_has_an_aligned_header_and_little_endian_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map.npy");
        save_npy(&path, &[1.0, -2.5, 0.0, 3.0, 4.0, 5.0], [2, 3]).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert_eq!((10 + length) % 64, 0);
        let description = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
        assert_eq!(description.trim_end(), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
        assert!(description.ends_with(" \n"));
        assert_eq!(bytes[10 + length..][4..8], (-2.5f32).to_le_bytes());
        assert_eq!(bytes.len(), 10 + length + 24);
    }

    #[test]
    fn npy_refuses_a_shape_that_does_not_fit() {
        let folder = tempfile::tempdir().unwrap();
        assert!(save_npy(&folder.path().join("map.npy"), &[1.0; 5], [2, 3]).is_err());
        assert!(names_in(folder.path()).is_empty());
    }

    #[test]
    fn slugs_are_words_of_any_script() {
        assert_eq!(slug("Red-winged  Blackbird's shoulder!"), "red-winged-blackbird-s-shoulder");
        assert_eq!(slug("../../etc/passwd"), "etc-passwd");
        assert_eq!(slug("Красная птица"), "красная-птица");
        assert_eq!(slug("赤い鳥"), "赤い鳥");
    }

    #[test]
    fn slugs_are_never_empty_and_never_long() {
        assert_eq!(slug(""), "prompt-811c9dc5");
        assert_ne!(slug("🐦"), slug("🐈"));
        let (a, b) = (format!("{} a", "long ".repeat(99)), format!("{} b", "long ".repeat(99)));
        assert!(slug(&a).len() <= LONGEST_SLUG && slug(&a) != slug(&b));
        assert!(slug(&"鳥".repeat(200)).len() <= LONGEST_SLUG);
    }

    #[test]
    fn names_are_never_handed_out_twice() {
        let mut names = Names::new();
        let mut name = |image: &str, prompt: &str| names.for_prompt(Path::new(image), prompt);
        assert_eq!(name("a/photo.jpg", "red bird"), "photo.red-bird");
        assert_eq!(name("a/photo.jpg", "red bird!"), "photo.red-bird-2");
        assert_eq!(name("b/PHOTO.png", "red bird"), "PHOTO.red-bird-3");
        assert_eq!(name("a/photo.jpg", "red bird 2"), "photo.red-bird-2-2");
        assert_eq!(name("a/other.jpg", "red bird"), "other.red-bird");
        assert_eq!(names.for_image(Path::new("a/photo.jpg")), "photo");
        assert_eq!(names.for_image(Path::new("b/photo.jpg")), "photo-2");
    }

    #[test]
    fn names_fit_a_file_system() {
        let name = Names::new().for_prompt(Path::new(&"é".repeat(300)), &"word ".repeat(300));
        assert!(path_of(Path::new(""), &format!("{name}-99999"), "overlay", "png").as_os_str().len() <= 255);
        assert_eq!(Names::new().for_image(Path::new("..")), "image");
    }

    #[test]
    fn indexed_pictures_keep_their_numbers_and_have_colours() {
        let numbers = GrayImage::from_raw(2, 1, vec![2, 0]).expect("two pixels");
        let colors = [[0; 3], [9, 8, 7], [255, 0, 5]];
        let encoded = indexed_png(&numbers, &colors).expect("every number has a colour");
        let mut reader = png::Decoder::new(std::io::Cursor::new(&encoded)).read_info().expect("it is a PNG");
        let mut found = [1; 2];
        reader.next_frame(&mut found).expect("it has pixels");
        assert_eq!(found, [2, 0]);
        let shown = image::load_from_memory(&encoded).expect("it is a PNG").into_rgb8();
        assert_eq!(shown.as_raw(), &[255, 0, 5, 0, 0, 0]);
        assert!(indexed_png(&numbers, &colors[..2]).is_err(), "2 has no colour");
    }
}

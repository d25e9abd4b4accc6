//! A folder becomes the photos in it, and counts of the entries that are left out.
//!
//! A folder is not searched for photos in its subfolders. What a file is called decides whether it is taken: the format
//! is recognised later, from its content. Hidden files are left out, and so are files that fieldmark wrote itself, which
//! are recognised by the manifest of a run (`run.json`) or by the mark in its PNGs ([`SOFTWARE`](crate::files::SOFTWARE)).

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::files::{is_own_png, read_bounded};

/// The endings of files that are taken for photos, in lower case. A file that is named itself may have any ending.
pub const PHOTO_ENDINGS: [&str; 15] = [
    "jpg", "jpeg", "jpe", "jfif", "jif", "pjpeg", "pjp", "png", "apng", "webp", "gif", "bmp", "dib", "tif",
    "tiff",
];

/// Raw files of cameras.
const RAW_ENDINGS: [&str; 31] = [
    "3fr", "ari", "arw", "bay", "cr2", "cr3", "crw", "dcr", "dcs", "dng", "erf", "fff", "gpr", "iiq", "k25",
    "kdc", "mdc", "mef", "mos", "mrw", "nef", "nrw", "orf", "pef", "raf", "raw", "rw2", "rwl", "sr2", "srf",
    "srw",
];

/// Pictures in formats that are not decoded.
const UNSUPPORTED_ENDINGS: [&str; 12] =
    ["avif", "avifs", "heic", "heics", "heif", "heifs", "hif", "j2k", "jp2", "jpf", "jpx", "jxl"];

/// What a run's manifest is called.
const MANIFEST: &str = "run.json";

/// A larger manifest is not searched for the names of results.
const LARGEST_MANIFEST: u64 = 256 << 20;

/// Where a run keeps its small pictures.
const THUMBNAILS: &str = "thumbnails";

/// How many entries of folders are not photos, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Skipped {
    /// Files and folders whose names begin with a dot, such as macOS's `._photo.jpg`.
    #[serde(skip_serializing_if = "is_zero")]
    pub hidden: usize,
    /// Folders.
    #[serde(skip_serializing_if = "is_zero")]
    pub folders: usize,
    /// Raw files of cameras, by their endings.
    #[serde(skip_serializing_if = "is_zero")]
    pub camera_raws: usize,
    /// Pictures in formats that are not decoded, such as HEIC, by their endings.
    #[serde(skip_serializing_if = "is_zero")]
    pub unsupported: usize,
    /// Pictures that fieldmark wrote.
    #[serde(skip_serializing_if = "is_zero")]
    pub own_results: usize,
    /// All others: files with other endings, and what is neither a file nor a folder.
    #[serde(skip_serializing_if = "is_zero")]
    pub other: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Skipped {
    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn count(&mut self, kind: Kind) {
        match kind {
            Kind::Photo => {}
            Kind::Hidden => self.hidden += 1,
            Kind::Folder => self.folders += 1,
            Kind::CameraRaw => self.camera_raws += 1,
            Kind::Unsupported => self.unsupported += 1,
            Kind::OwnResult => self.own_results += 1,
            Kind::Other => self.other += 1,
        }
    }
}

impl AddAssign for Skipped {
    fn add_assign(&mut self, other: Self) {
        self.hidden += other.hidden;
        self.folders += other.folders;
        self.camera_raws += other.camera_raws;
        self.unsupported += other.unsupported;
        self.own_results += other.own_results;
        self.other += other.other;
    }
}

impl fmt::Display for Skipped {
    /// For people: `3 hidden files, 1 folder, 2 camera raws`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            (self.hidden, "hidden file", "hidden files"),
            (self.folders, "folder", "folders"),
            (self.camera_raws, "camera raw", "camera raws"),
            (self.unsupported, "picture of an unsupported format", "pictures of unsupported formats"),
            (self.own_results, "result of fieldmark", "results of fieldmark"),
            (self.other, "other file", "other files"),
        ];
        let named = kinds.iter().filter(|(count, ..)| *count > 0);
        let parts: Vec<String> = named
            .map(|(count, one, many)| format!("{count} {}", if *count == 1 { one } else { many }))
            .collect();
        formatter.write_str(&parts.join(", "))
    }
}

/// The photos in a folder, and what is not one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Folder {
    /// The photos' files, sorted by their names' bytes.
    pub photos: Vec<PathBuf>,
    /// How many other entries there are.
    pub skipped: Skipped,
}

impl Folder {
    /// Lists a folder. Of PNGs the beginning is read, to see whether fieldmark wrote them.
    ///
    /// A symbolic link counts as what it leads to; one with a photo's name that leads nowhere is listed, so that opening
    /// it reports what is wrong.
    ///
    /// # Errors
    /// [`Error::Read`] if the folder cannot be read.
    pub fn list(path: &Path) -> Result<Self> {
        let fail = |source| Error::Read { path: path.into(), source };
        let own = OwnResults::of(path);
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path).map_err(fail)? {
            entries.push(entry.map_err(fail)?.path());
        }
        let mut entries: Vec<(PathBuf, Kind)> = entries
            .into_par_iter()
            .map(|path| (own.kind(&path), path))
            .map(|(kind, path)| (path, kind))
            .collect();
        entries.sort();
        let mut folder = Self::default();
        for (path, kind) in entries {
            folder.skipped.count(kind);
            if kind == Kind::Photo {
                folder.photos.push(path);
            }
        }
        Ok(folder)
    }
}

/// What an entry of a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Photo,
    Hidden,
    Folder,
    CameraRaw,
    Unsupported,
    OwnResult,
    Other,
}

/// What a file is by its name alone.
fn kind_by_name(name: &OsStr) -> Kind {
    if is_hidden(name) {
        return Kind::Hidden;
    }
    let ending = Path::new(name).extension().unwrap_or_default().to_ascii_lowercase();
    let is_one_of = |endings: &[&str]| endings.iter().any(|known| ending == *known);
    match () {
        () if is_one_of(&PHOTO_ENDINGS) => Kind::Photo,
        () if is_one_of(&RAW_ENDINGS) => Kind::CameraRaw,
        () if is_one_of(&UNSUPPORTED_ENDINGS) => Kind::Unsupported,
        () => Kind::Other,
    }
}

/// Whether a file's name hides it: it begins with a dot.
pub fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// The results of a run that a folder belongs to.
#[derive(Default)]
struct OwnResults {
    /// Files that a manifest lists, by their paths.
    listed: HashSet<PathBuf>,
    /// Whether the folder holds a run's small pictures.
    is_of_thumbnails: bool,
}

impl OwnResults {
    /// The results in a folder: those of the manifest in it, and of the one beside it.
    fn of(folder: &Path) -> Self {
        let mut own = Self::default();
        own.add(folder);
        // A relative path may have no parent, or one that is none: `thumbnails`, `.`, `..`.
        let parent = folder.canonicalize().ok().and_then(|path| Some((path.parent()?.to_owned(), path)));
        if let Some((parent, path)) = parent {
            let is_run = own.add_from(&parent, &path, folder);
            own.is_of_thumbnails = is_run && path.ends_with(THUMBNAILS);
        }
        own
    }

    fn add(&mut self, folder: &Path) -> bool {
        self.add_from(folder, folder, folder)
    }

    /// Adds what the manifest in `run` lists of the files in `inside`, which is called `folder`; whether there is one.
    fn add_from(&mut self, run: &Path, inside: &Path, folder: &Path) -> bool {
        let Some(outputs) = outputs(&run.join(MANIFEST)) else { return false };
        let paths = outputs.iter().map(|output| run.join(output));
        let listed = paths.filter_map(|path| Some(folder.join(path.strip_prefix(inside).ok()?)));
        self.listed.extend(listed);
        true
    }

    fn kind(&self, path: &Path) -> Kind {
        let kind = kind_by_name(path.file_name().unwrap_or_default());
        if kind == Kind::Hidden {
            return kind;
        }
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Kind::Folder,
            Ok(metadata) if !metadata.is_file() => Kind::Other,
            _ if kind != Kind::Photo => kind,
            _ if self.has(path) => Kind::OwnResult,
            _ => Kind::Photo,
        }
    }

    fn has(&self, photo: &Path) -> bool {
        self.is_of_thumbnails || self.listed.contains(photo) || is_marked(photo)
    }
}

/// The files that a run's manifest lists; none if there is no manifest of fieldmark.
fn outputs(manifest: &Path) -> Option<Vec<String>> {
    let read = read_bounded(manifest, LARGEST_MANIFEST).ok()?;
    let manifest: Value = serde_json::from_slice(&read).ok()?;
    manifest.get("fieldmark")?.as_str()?;
    let outputs = manifest.get("outputs").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    Some(outputs.iter().filter_map(|output| Some(output.as_str()?.to_owned())).collect())
}

/// Whether a file is a PNG with fieldmark's mark. One that cannot be read is not: opening it reports why.
fn is_marked(photo: &Path) -> bool {
    /// The mark is the first chunk after the header.
    const BEGINNING: u64 = 4096;
    let is_png = photo.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png"));
    let mut beginning = Vec::new();
    is_png
        && File::open(photo).and_then(|file| file.take(BEGINNING).read_to_end(&mut beginning)).is_ok()
        && is_own_png(&beginning)
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, RgbImage};

    use super::*;
    use crate::files::save_png;

    fn write(folder: &Path, names: &[&str]) {
        for name in names {
            std::fs::write(folder.join(name), "x").unwrap();
        }
    }

    fn names(folder: &Folder) -> Vec<&str> {
        folder.photos.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect()
    }

    #[test]
    fn photos_are_recognised_by_their_endings_and_everything_else_is_counted() {
        let place = tempfile::tempdir().unwrap();
        let photos = ["a.JPG", "b.jfif", "c.jpe", "d.pjpeg", "e.webp", "f.TIFF", "g.dib", "h.png"];
        write(place.path(), &photos);
        write(
            place.path(),
            &["._a.JPG", ".DS_Store", "Thumbs.db", "notes.txt", "jpg", "x.NEF", "x.dng", "x.heic"],
        );
        std::fs::create_dir(place.path().join("folder.jpg")).unwrap();
        let folder = Folder::list(place.path()).unwrap();
        assert_eq!(names(&folder), photos);
        let expected =
            Skipped { hidden: 2, folders: 1, camera_raws: 2, unsupported: 1, own_results: 0, other: 3 };
        assert_eq!(folder.skipped, expected);
        let words =
            "2 hidden files, 1 folder, 2 camera raws, 1 picture of an unsupported format, 3 other files";
        assert_eq!(folder.skipped.to_string(), words);
        let json = serde_json::to_string(&folder.skipped).unwrap();
        assert_eq!(json, r#"{"hidden":2,"folders":1,"camera_raws":2,"unsupported":1,"other":3}"#);
        assert_eq!(serde_json::from_str::<Skipped>(&json).unwrap(), expected);
        assert!(matches!(Folder::list(&place.path().join("none")), Err(Error::Read { .. })));
    }

    #[test]
    fn own_results_are_recognised_by_mark_manifest_and_folder() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path();
        let picture: DynamicImage = RgbImage::new(2, 2).into();
        save_png(&path.join("photo.red.overlay.png"), &picture).unwrap();
        std::fs::rename(path.join("photo.red.overlay.png"), path.join("renamed.png")).unwrap();
        picture.save_with_format(path.join("photo.png"), image::ImageFormat::Png).unwrap();
        write(path, &["a.jpg", "b.jpg"]);
        assert_eq!(names(&Folder::list(path).unwrap()), ["a.jpg", "b.jpg", "photo.png"]);

        std::fs::create_dir(path.join(THUMBNAILS)).unwrap();
        std::fs::create_dir(path.join("others")).unwrap();
        write(&path.join(THUMBNAILS), &["a.red.jpg"]);
        write(&path.join("others"), &["a.jpg", "b.jpg"]);
        let manifest = r#"{"fieldmark": "0.1.0", "outputs": ["b.jpg", "others/a.jpg"]}"#;
        std::fs::write(path.join(MANIFEST), manifest).unwrap();
        let here = Folder::list(path).unwrap();
        assert_eq!((names(&here), here.skipped.own_results), (vec!["a.jpg", "photo.png"], 2));
        assert_eq!(names(&Folder::list(&path.join("others")).unwrap()), ["b.jpg"]);
        let thumbnails = Folder::list(&path.join(THUMBNAILS)).unwrap();
        assert_eq!((thumbnails.photos.len(), thumbnails.skipped.own_results), (0, 1));

        std::fs::write(path.join(MANIFEST), r#"{"outputs": ["b.jpg"]}"#).unwrap();
        assert_eq!(names(&Folder::list(path).unwrap()), ["a.jpg", "b.jpg", "photo.png"], "not fieldmark's");
    }

    #[cfg(unix)]
    #[test]
    fn links_count_as_what_they_lead_to() {
        use std::os::unix::fs::symlink;
        let place = tempfile::tempdir().unwrap();
        write(place.path(), &["a.jpg"]);
        symlink("a.jpg", place.path().join("b.jpg")).unwrap();
        symlink("missing", place.path().join("c.jpg")).unwrap();
        symlink("/dev/null", place.path().join("d.jpg")).unwrap();
        symlink(place.path(), place.path().join("e.jpg")).unwrap();
        let folder = Folder::list(place.path()).unwrap();
        assert_eq!(names(&folder), ["a.jpg", "b.jpg", "c.jpg"]);
        assert_eq!(folder.skipped, Skipped { folders: 1, other: 1, ..Skipped::default() });
    }
}

//! What lies at a path becomes the layout of a data set, recognised by the names of files.

use std::path::Path;

use super::{
    FILE_NAME, cub, funny_birds,
    paths::{files_ending, folders},
};
use fieldmark_model::error::{Error, Result};
use fieldmark_model::named;
use fieldmark_model::named::alternatives;

/// How the files of a data set are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layout {
    /// A JSON object a line: [`Manifest`](super::Manifest).
    Manifest,
    /// CUB-200-2011.
    Cub,
    /// A folder for each class.
    Folder,
    /// COCO's JSON, PartImageNet's too.
    Coco,
    /// The point labels of OpenImages V7.
    OpenImages,
    /// FunnyBirds.
    FunnyBirds,
    /// Pascal VOC's XML, which ImageNet's boxes have too.
    Voc,
}

named!(Layout, "layout",
    Manifest => "manifest",
    Cub => "cub",
    Folder => "folder",
    Coco => "coco",
    OpenImages => "open-images",
    FunnyBirds => "funny-birds",
    Voc => "voc",
);

impl Layout {
    /// The layout of what lies at a path.
    ///
    /// # Errors
    /// [`Error::Read`] if nothing can be read there; [`Error::Dataset`] if it is a folder with none of the layouts'
    /// files.
    pub(super) fn of(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
            return Ok(match ending.to_str() {
                Some("json") => Self::Coco,
                Some("csv") => Self::OpenImages,
                _ => Self::Manifest,
            });
        }
        let has_file = |name: &str| path.join(name).is_file();
        let has_folder = |name: &str| path.join(name).is_dir();
        let ends =
            |folder: &Path, ending: &str| -> Result<bool> { Ok(!files_ending(folder, ending)?.is_empty()) };
        let layout = match () {
            () if has_file(FILE_NAME) => Self::Manifest,
            () if has_file(cub::TELLING_FILE) || path.join(cub::FOLDER).join(cub::TELLING_FILE).is_file() => {
                Self::Cub
            }
            () if funny_birds::INDEX_FILES.into_iter().any(has_file) => Self::FunnyBirds,
            () if has_folder("Annotations") && has_folder("JPEGImages") => Self::Voc,
            () if ends(path, super::open_images::ENDING)? => Self::OpenImages,
            () if ends(path, ".json")? || ends(&path.join("annotations"), ".json")? => Self::Coco,
            () if !folders(path)?.is_empty() => Self::Folder,
            () => {
                let names = alternatives(Self::NAMES);
                let reason = format!("expected a data set laid out as {names}, found none of their files");
                return Err(Error::Dataset { path: path.into(), reason });
            }
        };
        Ok(layout)
    }
}

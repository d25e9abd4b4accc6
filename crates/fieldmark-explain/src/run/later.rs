//! Pictures that wait for the scale of a run, which is known when the last photo has its maps.
//!
//! Until then, what a picture is made of is kept on disk: every map as `.npy`, and the photo where it is. Then the scale
//! is found in these files, and each photo is opened once more. So memory does not grow with the maps, and a batch that
//! is killed needs no model to draw what is missing.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use fieldmark_model::{
    error::{Error, Result},
    files::{path_of, read_npy},
    geometry::{Grid, Placement, Rect, Size},
    photo::{Photo, PhotoOptions, read},
};
use serde::{Deserialize, Serialize};

use super::{FileKind, MapFiles, Style, hashes, unless_it_panics};
use crate::{
    attribution::ConceptMap,
    refine::{MOST_CELLS, Refinement, guided},
    regions::Threshold,
    render::{Scale, ScaleRule},
    report::{Drawn, MapUnit, Setup},
};

/// The largest evidence of all maps of a run: for the concept, and for or against it. None where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunScale {
    /// Of overlays and layers.
    pub overlay: Option<f32>,
    /// Of heatmaps.
    pub heatmap: Option<f32>,
}

impl RunScale {
    fn with(self, map: &ConceptMap) -> Self {
        let larger = |known: Option<f32>, value: f32| {
            let value = Some(value).filter(|value| *value > 0.0 && value.is_finite());
            // None is less than any number.
            if value > known { value } else { known }
        };
        Self { overlay: larger(self.overlay, map.max()), heatmap: larger(self.heatmap, map.max_abs()) }
    }

    fn style(self, bar: Option<&'static str>) -> Style {
        let scales = [self.overlay, self.heatmap].map(|top| Scale::Shared(top.unwrap_or(0.0)));
        Style { rule: ScaleRule::Run, waits: false, scales, bar }
    }

    /// As results record it.
    pub fn drawn(self) -> Drawn {
        Drawn { rule: ScaleRule::Run, overlay: self.overlay, heatmap: self.heatmap }
    }
}

/// A photo whose pictures wait.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Its file.
    pub image: PathBuf,
    /// Its size.
    pub size: Size,
    /// What stands before the kind in the names of each map's files.
    pub names: Vec<String>,
    /// The part of the photo that the maps describe: x0, y0, x1, y1.
    pub covers: [f64; 4],
    /// Whether the maps follow the photo's edges.
    pub is_guided: bool,
    /// What the maps count.
    pub unit: MapUnit,
    /// What the photo must still be.
    pub identity: Identity,
}

/// How a photo is known from a later one of its name.
#[derive(Clone, Debug, PartialEq)]
pub enum Identity {
    /// The SHA-256 of its file.
    Hash(String),
    /// Its file's length and the time of its last change, as far as they are known.
    Stamp(Option<(u64, SystemTime)>),
}

impl Identity {
    fn stamp(image: &Path) -> Self {
        let metadata = std::fs::metadata(image).ok();
        Self::Stamp(metadata.and_then(|metadata| Some((metadata.len(), metadata.modified().ok()?))))
    }

    fn is_of(&self, image: &Path, bytes: &[u8]) -> bool {
        match self {
            Self::Hash(hash) => *hash == hashes::of_bytes(bytes),
            Self::Stamp(_) => *self == Self::stamp(image),
        }
    }
}

impl Waiting {
    /// A photo that was looked at, and whose maps have this setup. It must be a file that can be read a second time.
    ///
    /// # Errors
    /// [`Error::Run`] if it is not a regular file.
    pub fn new(photo: &Photo, setup: &Setup, names: Vec<String>) -> Result<Self> {
        let (image, is_guided) = (photo.path().to_owned(), setup.refined.contains(&Refinement::Guided));
        if !image.is_file() {
            let reason =
                "expected a regular file, since a scale of the whole run reads each photo twice".into();
            return Err(Error::Run { path: image, reason });
        }
        let identity = Identity::stamp(&image);
        Ok(Self {
            image,
            size: photo.size(),
            names,
            covers: setup.covers,
            is_guided,
            unit: setup.unit,
            identity,
        })
    }

    fn map(&self, folder: &Path, name: &str) -> Result<ConceptMap> {
        let path = path_of(folder, name, "map", "npy");
        let (values, [rows, columns]) = read_npy(&path, MOST_CELLS)?;
        let [x0, y0, x1, y1] = self.covers;
        let (grid, covers) = (Grid::new(rows, columns), Rect { x0, y0, x1, y1 });
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            let reason = format!("expected a map, found {rows} x {columns} values, not all of them finite");
            return Err(Error::Run { path, reason });
        }
        Ok(ConceptMap::new(values, Placement { photo: self.size, input: self.size, grid, covers }))
    }
}

/// Draws the pictures that wait.
pub struct Later<'a> {
    /// Where the maps are and the pictures go.
    pub folder: &'a Path,
    /// The kinds of the pictures.
    pub kinds: Vec<FileKind>,
    /// Whether they have a colour bar.
    pub bar: bool,
    /// How photos are opened.
    pub photo: PhotoOptions,
}

impl Later<'_> {
    /// The scale of all maps that can be read. Those that cannot are reported when they are to be drawn.
    pub fn scale<'w>(&self, waiting: impl IntoIterator<Item = &'w Waiting>) -> RunScale {
        let maps = waiting
            .into_iter()
            .flat_map(|photo| photo.names.iter().filter_map(|name| photo.map(self.folder, name).ok()));
        maps.fold(RunScale::default(), |scale, map| scale.with(&map))
    }

    /// Whether all pictures of a photo are there.
    pub fn are_drawn(&self, waiting: &Waiting) -> bool {
        let is_there = |(name, kind): (&String, &FileKind)| {
            !kind.has_scale() || path_of(self.folder, name, kind.name(), "png").is_file()
        };
        waiting.names.iter().all(|name| self.kinds.iter().all(|kind| is_there((name, kind))))
    }

    /// Draws the pictures of one photo; a panic is an error of this photo.
    ///
    /// # Errors
    /// If the photo or a map cannot be read or changed meanwhile, or a picture cannot be written.
    pub fn draw(&self, waiting: &Waiting, scale: RunScale) -> Result<()> {
        unless_it_panics(|| self.draw_photo(waiting, scale))
    }

    fn draw_photo(&self, waiting: &Waiting, scale: RunScale) -> Result<()> {
        let image = &waiting.image;
        let bytes = read(image, &self.photo)?;
        if !waiting.identity.is_of(image, &bytes) {
            let reason = "the photo changed during the run".into();
            return Err(Error::Run { path: image.clone(), reason });
        }
        let photo = Photo::from_bytes(image, &bytes, &self.photo)?;
        drop(bytes);
        let style = scale.style(self.bar.then(|| waiting.unit.name()));
        for name in &waiting.names {
            let map = waiting.map(self.folder, name)?;
            let on_pixels = waiting.is_guided.then(|| guided(&map, photo.rgb()));
            let shown = on_pixels.as_ref().unwrap_or(&map);
            let (folder, threshold) = (self.folder, Threshold::default());
            let files = MapFiles {
                folder,
                name,
                asked: ("", 0.0),
                photo: &photo,
                map: &map,
                shown,
                threshold,
                style,
            };
            files.save(&self.kinds)?;
        }
        Ok(())
    }
}

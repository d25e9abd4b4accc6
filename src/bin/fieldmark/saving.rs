//! Which files a result becomes.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Result;
use fieldmark::{
    Photo,
    attribution::ConceptMap,
    files::{Names, path_of, save_indexed_png, save_npy, save_png, write_atomically},
    page::PageOptions,
    pipeline::Compare,
    regions::{Threshold, instances, level},
    render::{self, RenderOptions, Scale, label_colors},
};

use crate::args::{CompareKind, Kind};

/// The files of one map on one photo.
pub struct Files<'a> {
    /// The directory.
    pub folder: &'a Path,
    /// What stands before the kind in the names.
    pub name: &'a str,
    pub photo: &'a Photo,
    /// The map on its grid.
    pub map: &'a ConceptMap,
    /// The map as it is drawn and cut, maybe on the photo's pixels.
    pub shown: &'a ConceptMap,
    /// Which evidence belongs to a region.
    pub threshold: Threshold,
    /// The scale of the evidence that is drawn, and of the signed map.
    pub scales: [Scale; 2],
}

impl Files<'_> {
    /// Writes files of these kinds; returns them by kind.
    pub fn save(&self, kinds: &[Kind]) -> Result<BTreeMap<String, PathBuf>> {
        let mut files = BTreeMap::new();
        for kind in kinds {
            if let Some((kind, path)) = self.save_one(*kind)? {
                files.insert(kind.to_owned(), path);
            }
        }
        Ok(files)
    }

    fn save_one(&self, kind: Kind) -> Result<Option<(&'static str, PathBuf)>> {
        let path = |kind: &str, ending: &str| path_of(self.folder, self.name, kind, ending);
        let (size, grid) = (self.photo.size(), self.map.grid());
        let [scale, signed_scale] = self.scales;
        let (kind, path) = match kind {
            // A strip belongs to several maps.
            Kind::None | Kind::Strip => return Ok(None),
            Kind::Overlay => {
                let options = RenderOptions { scale, contour: self.contour(), ..Default::default() };
                let path = path("overlay", "png");
                save_png(&path, &render::overlay(self.photo.rgb(), self.shown, &options).into())?;
                ("overlay", path)
            }
            Kind::Heatmap => {
                let options = RenderOptions { scale: signed_scale, ..RenderOptions::signed() };
                let path = path("heatmap", "png");
                save_png(&path, &render::heatmap(self.shown, size, &options).into())?;
                ("heatmap", path)
            }
            Kind::Map => {
                let path = path("map", "npy");
                save_npy(&path, self.map.values(), [grid.rows, grid.columns])?;
                ("map", path)
            }
            Kind::Full => {
                let path = path("full", "npy");
                save_npy(&path, &self.shown.at_photo_size(), [size.height as usize, size.width as usize])?;
                ("full", path)
            }
            Kind::Mask => {
                let path = path("mask", "png");
                save_png(&path, &render::mask(self.shown, self.threshold).into())?;
                ("mask", path)
            }
            Kind::Instances => {
                let path = path("instances", "png");
                let labels = render::labels(&instances(self.shown, self.threshold), size);
                save_indexed_png(&path, &labels, &label_colors())?;
                ("instances", path)
            }
        };
        Ok(Some((kind, path)))
    }

    /// Where an overlay's line is, as a part of its scale: around the regions, if the scale is the map's own.
    fn contour(&self) -> Option<f32> {
        let usual = RenderOptions::default().contour;
        match self.scales[0] {
            Scale::Own if self.threshold != Threshold::default() => {
                level(self.shown, self.threshold).map(|level| level / self.shown.max()).or(usual)
            }
            _ => usual,
        }
    }
}

/// The names of the files of one photo and its prompts, without kind and ending.
pub struct PhotoNames {
    pub photo: String,
    pub prompts: Vec<String>,
}

impl PhotoNames {
    pub fn new(names: &mut Names, image: &Path, prompts: &[String]) -> Self {
        let photo = names.for_image(image);
        Self { photo, prompts: prompts.iter().map(|prompt| names.for_prompt(image, prompt)).collect() }
    }
}

/// The files of several prompts on one photo.
pub struct ComparisonFiles<'a> {
    /// The directory.
    pub folder: &'a Path,
    pub names: &'a PhotoNames,
    pub photo: &'a Photo,
    pub options: &'a PageOptions,
}

impl ComparisonFiles<'_> {
    /// Writes files of these kinds, and enters them into the report.
    pub fn save(&self, kinds: &[CompareKind], compared: &mut Compare) -> Result<()> {
        if kinds.contains(&CompareKind::Sheet) {
            let path = path_of(self.folder, &self.names.photo, "sheet", "png");
            save_png(&path, &compared.sheet(self.photo).into())?;
            compared.report.files.insert("sheet".into(), path);
        }
        if kinds.contains(&CompareKind::Report) {
            let path = path_of(self.folder, &self.names.photo, "report", "html");
            save_page(&path, &compared.page(self.photo, self.options)?)?;
            compared.report.files.insert("report".into(), path);
        }
        self.save_each(kinds, compared)
    }

    /// Writes only what belongs to one prompt.
    pub fn save_each(&self, kinds: &[CompareKind], compared: &mut Compare) -> Result<()> {
        let kinds: Vec<Kind> = kinds.iter().filter_map(|kind| kind.of_one_prompt()).collect();
        let top = |value: fn(&ConceptMap) -> f32| {
            Scale::Shared(compared.maps.iter().map(value).fold(0.0, f32::max))
        };
        let scales = [top(|map| map.max()), top(|map| map.max_abs())];
        let (folder, photo, threshold) = (self.folder, self.photo, compared.report.setup.threshold);
        for (index, (map, name)) in compared.maps.iter().zip(&self.names.prompts).enumerate() {
            // Of maps on the photo's pixels one at a time is held: they are large.
            let Some(shown) = compared.on_pixels(index, photo) else { continue };
            let files = Files { folder, name, photo, map, shown: &shown, threshold, scales }.save(&kinds)?;
            compared.report.prompts[index].files = files;
        }
        Ok(())
    }
}

/// Writes a page.
pub fn save_page(path: &Path, page: &str) -> Result<()> {
    Ok(write_atomically(path, |file| file.write_all(page.as_bytes()))?)
}

impl CompareKind {
    /// The kind as `localize` knows it; none for what belongs to all prompts together.
    pub fn of_one_prompt(self) -> Option<Kind> {
        match self {
            Self::Sheet | Self::Report | Self::None => None,
            Self::Overlay => Some(Kind::Overlay),
            Self::Heatmap => Some(Kind::Heatmap),
            Self::Map => Some(Kind::Map),
            Self::Full => Some(Kind::Full),
            Self::Mask => Some(Kind::Mask),
            Self::Instances => Some(Kind::Instances),
        }
    }
}

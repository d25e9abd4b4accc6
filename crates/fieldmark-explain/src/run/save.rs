//! Which files a result becomes.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
};

use fieldmark_model::{
    error::Result,
    files::{Names, path_of, save_indexed_png, save_npy, save_png, write_atomically},
    named,
    photo::Photo,
};
use image::{DynamicImage, RgbImage};

use super::table::{Asked, regions_table};
use crate::{
    attribution::ConceptMap,
    explain::Compare,
    page::PageOptions,
    regions::{Threshold, instances, level},
    render::{self, RenderOptions, Scale, ScaleRule, Sign, label_colors},
    report::{Drawn, MapUnit, Setup},
};

/// A kind of file that a result becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// The photo and the maps of all prompts on one scale.
    Sheet,
    /// A page in which target, rivals, strength and colours can be changed.
    Report,
    /// The photo and the map at every strength.
    Strip,
    /// The photo with the evidence drawn over it.
    Overlay,
    /// The overlay's colours alone, with transparency.
    Layer,
    /// The signed map in colours.
    Heatmap,
    /// The signed map on its grid.
    Map,
    /// The signed map at the photo's size.
    Full,
    /// White where the evidence reaches the threshold.
    Mask,
    /// The region of each pixel.
    Instances,
    /// The regions as a table.
    Csv,
}

named!(
    FileKind, "save",
    Sheet => "sheet",
    Report => "report",
    Strip => "strip",
    Overlay => "overlay",
    Layer => "layer",
    Heatmap => "heatmap",
    Map => "map",
    Full => "full",
    Mask => "mask",
    Instances => "instances",
    Csv => "csv",
);

impl FileKind {
    /// Whether it is a picture of one map that has a scale.
    pub fn has_scale(self) -> bool {
        matches!(self, Self::Overlay | Self::Layer | Self::Heatmap)
    }
}

/// How a run's pictures are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Drawing {
    /// Which of them share a scale.
    pub scale: ScaleRule,
    /// Whether they wait until all photos are done.
    pub waits: bool,
    /// Whether they have a colour bar.
    pub bar: bool,
}

impl Drawing {
    /// Of many photos.
    pub fn new(scale: ScaleRule, bar: bool) -> Self {
        Self { scale, waits: scale == ScaleRule::Run, bar }
    }

    /// Of one photo, which is all of the run.
    pub fn of_one(scale: ScaleRule, bar: bool) -> Self {
        Self { waits: false, ..Self::new(scale, bar) }
    }

    /// The scale of figures that hold all maps of a photo.
    pub fn of_all(self) -> Scale {
        match self.scale {
            ScaleRule::Own | ScaleRule::Run => Scale::Own,
            ScaleRule::Fixed(scale) => Scale::Shared(scale),
        }
    }

    /// How the pictures of one photo are drawn whose own scales are these, of the evidence for the concept and of the
    /// signed map.
    pub fn style(self, own: [Scale; 2], unit: MapUnit) -> Style {
        let scales = match self.scale {
            ScaleRule::Own | ScaleRule::Run => own,
            ScaleRule::Fixed(scale) => [Scale::Shared(scale); 2],
        };
        Style { rule: self.scale, waits: self.waits, scales, bar: self.bar.then(|| unit.words()) }
    }
}

/// How the pictures of one map are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Which pictures share a scale.
    pub rule: ScaleRule,
    /// Whether they wait for a scale that is not yet known: then they are listed, and the map is written instead.
    pub waits: bool,
    /// The scale of the evidence that is drawn, and of the signed map.
    pub scales: [Scale; 2],
    /// The unit beside a colour bar; none without one.
    pub bar: Option<&'static str>,
}

impl Style {
    /// The scales of a map's pictures, if there are such pictures among files of these kinds.
    pub fn drawn(self, map: &ConceptMap, kinds: &[FileKind]) -> Option<Drawn> {
        let [overlay, heatmap] = self.scales;
        let known = |scale: Scale, sign| Some(scale).filter(|_| !self.waits)?.of(map, sign);
        let drawn = || Drawn {
            rule: self.rule,
            overlay: known(overlay, Sign::Positive),
            heatmap: known(heatmap, Sign::Both),
        };
        kinds.iter().any(|kind| kind.has_scale()).then(drawn)
    }
}

/// The files of one map on one photo.
pub struct MapFiles<'a> {
    /// The directory.
    pub folder: &'a Path,
    /// What stands before the kind in the names.
    pub name: &'a str,
    /// What was asked, and at which strength.
    pub asked: (&'a str, f64),
    /// The photo.
    pub photo: &'a Photo,
    /// The map on its grid.
    pub map: &'a ConceptMap,
    /// The map as it is drawn and cut, maybe on the photo's pixels.
    pub shown: &'a ConceptMap,
    /// Which evidence belongs to a region.
    pub threshold: Threshold,
    /// How its pictures are drawn.
    pub style: Style,
}

impl MapFiles<'_> {
    /// Writes files of these kinds; returns them by kind.
    ///
    /// # Errors
    /// If one cannot be written.
    pub fn save(&self, kinds: &[FileKind]) -> Result<BTreeMap<String, PathBuf>> {
        let mut files = BTreeMap::new();
        for kind in kinds {
            let written = if self.style.waits && kind.has_scale() {
                files.insert(kind.name().to_owned(), path_of(self.folder, self.name, kind.name(), "png"));
                // It is drawn from the map.
                if files.contains_key(FileKind::Map.name()) { None } else { self.save_one(FileKind::Map)? }
            } else {
                self.save_one(*kind)?
            };
            files.extend(written.map(|(kind, path)| (kind.to_owned(), path)));
        }
        Ok(files)
    }

    fn save_one(&self, kind: FileKind) -> Result<Option<(&'static str, PathBuf)>> {
        let path = |kind: &str, ending: &str| path_of(self.folder, self.name, kind, ending);
        let picture = |kind: &'static str, picture: DynamicImage| -> Result<_> {
            let path = path(kind, "png");
            save_png(&path, &picture)?;
            Ok(Some((kind, path)))
        };
        let numbers = |kind: &'static str, values: &[f32], shape| -> Result<_> {
            let path = path(kind, "npy");
            save_npy(&path, values, shape)?;
            Ok(Some((kind, path)))
        };
        let (size, grid) = (self.photo.size(), self.map.grid());
        match kind {
            // They belong to several maps.
            FileKind::Sheet | FileKind::Report | FileKind::Strip => Ok(None),
            FileKind::Overlay => picture("overlay", self.overlay().into()),
            FileKind::Layer => {
                picture("layer", render::layer(self.shown, size, &self.overlay_options()).into())
            }
            FileKind::Heatmap => picture("heatmap", self.heatmap().into()),
            FileKind::Mask => picture("mask", render::mask(self.shown, self.threshold).into()),
            FileKind::Map => numbers("map", self.map.values(), [grid.rows, grid.columns]),
            FileKind::Full => {
                let shape = [size.height as usize, size.width as usize];
                numbers("full", &self.shown.at_photo_size(), shape)
            }
            FileKind::Instances => {
                let path = path("instances", "png");
                let labels = render::labels(&instances(self.shown, self.threshold), size);
                save_indexed_png(&path, &labels, &label_colors())?;
                Ok(Some(("instances", path)))
            }
            FileKind::Csv => {
                let path = path("regions", "csv");
                save_text(&path, &self.table())?;
                Ok(Some(("csv", path)))
            }
        }
    }

    fn overlay(&self) -> RgbImage {
        let (photo, options) = (self.photo.rgb(), self.overlay_options());
        match self.style.bar {
            Some(unit) => render::overlay_with_bar(photo, self.shown, &options, unit),
            None => render::overlay(photo, self.shown, &options),
        }
    }

    fn heatmap(&self) -> RgbImage {
        let options = RenderOptions { scale: self.style.scales[1], ..RenderOptions::signed() };
        match self.style.bar {
            Some(unit) => render::heatmap_with_bar(self.shown, self.photo.size(), &options, unit),
            None => render::heatmap(self.shown, self.photo.size(), &options),
        }
    }

    fn table(&self) -> String {
        let image = self.photo.path().to_string_lossy();
        let (prompt, strength) = self.asked;
        regions_table(Asked { image: &image, prompt, strength }, &instances(self.shown, self.threshold))
    }

    fn overlay_options(&self) -> RenderOptions {
        RenderOptions { scale: self.style.scales[0], contour: self.contour(), ..Default::default() }
    }

    /// Where an overlay's line is, as a part of its scale: around the regions, if the scale is the map's own.
    fn contour(&self) -> Option<f32> {
        let usual = RenderOptions::default().contour;
        match self.style.scales[0] {
            Scale::Own if self.threshold != Threshold::default() => {
                level(self.shown, self.threshold).map(|level| level / self.shown.max()).or(usual)
            }
            _ => usual,
        }
    }
}

/// The names of the files of one photo and its prompts, without kind and ending.
pub struct PhotoNames {
    /// Of what belongs to all prompts.
    pub photo: String,
    /// Of what belongs to each prompt.
    pub prompts: Vec<String>,
}

impl PhotoNames {
    /// The next names of a run.
    pub fn new(names: &mut Names, image: &Path, prompts: &[String]) -> Self {
        let photo = names.for_image(image);
        Self { photo, prompts: prompts.iter().map(|prompt| names.for_prompt(image, prompt)).collect() }
    }
}

/// The files of several prompts on one photo.
pub struct ComparisonFiles<'a> {
    /// The directory.
    pub folder: &'a Path,
    /// The names of the files.
    pub names: &'a PhotoNames,
    /// The photo.
    pub photo: &'a Photo,
    /// What the page shows beside the records.
    pub options: &'a PageOptions,
    /// How the pictures are drawn.
    pub drawing: Drawing,
}

impl ComparisonFiles<'_> {
    /// Writes files of these kinds, and enters them into the report.
    ///
    /// # Errors
    /// If one cannot be written.
    pub fn save(&self, kinds: &[FileKind], compared: &mut Compare) -> Result<()> {
        if kinds.contains(&FileKind::Sheet) {
            let path = path_of(self.folder, &self.names.photo, "sheet", "png");
            save_png(&path, &compared.sheet_at(self.photo, self.drawing.of_all()).into())?;
            compared.report.files.insert("sheet".into(), path);
        }
        if kinds.contains(&FileKind::Report) {
            let path = path_of(self.folder, &self.names.photo, "report", "html");
            save_text(&path, &compared.page(self.photo, self.options)?)?;
            compared.report.files.insert("report".into(), path);
        }
        self.save_each(kinds, compared)
    }

    /// Writes only what belongs to one prompt.
    ///
    /// # Errors
    /// If one cannot be written.
    pub fn save_each(&self, kinds: &[FileKind], compared: &mut Compare) -> Result<()> {
        let top = |value: fn(&ConceptMap) -> f32| {
            Scale::Shared(compared.maps.iter().map(value).fold(0.0, f32::max))
        };
        let &Setup { threshold, strength, unit, .. } = &compared.report.setup;
        let style = self.drawing.style([top(|map| map.max()), top(|map| map.max_abs())], unit);
        let (folder, photo) = (self.folder, self.photo);
        let first = compared.maps.first();
        compared.report.scale = first.and_then(|map| style.drawn(map, kinds));
        for (index, (map, name)) in compared.maps.iter().zip(&self.names.prompts).enumerate() {
            // Of maps on the photo's pixels one at a time is held: they are large.
            let Some(shown) = compared.on_pixels(index, photo) else { continue };
            let asked = (compared.report.prompts[index].score.prompt.as_str(), strength);
            let files = MapFiles { folder, name, asked, photo, map, shown: &shown, threshold, style };
            let files = files.save(kinds)?;
            drop(shown);
            compared.report.prompts[index].files = files;
        }
        Ok(())
    }
}

/// Writes a page or a table.
///
/// # Errors
/// If it cannot be written.
pub fn save_text(path: &Path, text: &str) -> Result<()> {
    write_atomically(path, |file| file.write_all(text.as_bytes()))
}

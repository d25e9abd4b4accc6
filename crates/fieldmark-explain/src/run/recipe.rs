//! What a batch does with every photo: all that is needed to do it again.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Drawing, FileKind};
use crate::{explain::Settings, objective::objective, prompt::Template, render::ScaleRule};
use fieldmark_model::{
    device::Precision,
    error::{Error, Result},
    files::{escaped, unescaped},
    named::Named,
    photo::PhotoOptions,
};

/// In place of the kinds of files: none are written but thumbnails.
const NO_FILES: &str = "none";

/// What a batch does with every photo.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Recipe {
    /// The checkpoint as it was named; what is not UTF-8 of a path is U+FFFD.
    pub model: String,
    /// The escaped form of such a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_bytes: Option<String>,
    /// The prompts that are compared on every photo.
    pub prompts: Vec<String>,
    /// How maps are made. Its method is none until the checkpoint is known, and then what that recommends.
    #[serde(flatten)]
    pub settings: Settings,
    /// The kinds of files that are written for every photo ([`FileKind`]), or `none`.
    pub save: Vec<String>,
    /// Which pictures share a scale.
    #[serde(default)]
    pub scale: ScaleRule,
    /// Whether pictures have a colour bar.
    #[serde(default)]
    pub bar: bool,
    /// The strength that reports open at; none: that of the run.
    #[serde(default)]
    pub strength_in_reports: Option<f64>,
    /// The most pixels that a photo may have.
    pub pixel_limit: u64,
    /// The precision of the trunk.
    #[serde(default)]
    pub precision: Precision,
    /// Files and folders as they were named; what is not UTF-8 of a name is U+FFFD.
    pub images: Vec<String>,
    /// The escaped forms of all of them, if any is not UTF-8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images_bytes: Vec<String>,
}

fieldmark_model::setters!(Recipe {
    save: Vec<String>,
    scale: ScaleRule,
    bar: bool,
    strength_in_reports: Option<f64>,
    pixel_limit: u64,
    precision: Precision,
});

impl Recipe {
    /// A batch of these prompts on these photos and folders, with overlays and pages. The model is a name or a path.
    pub fn new(
        model: &OsStr,
        prompts: impl IntoIterator<Item = impl Into<String>>,
        photos: &[PathBuf],
        settings: Settings,
    ) -> Self {
        Self {
            model: model.to_string_lossy().into_owned(),
            model_bytes: escaped(Path::new(model)),
            prompts: prompts.into_iter().map(Into::into).collect(),
            settings,
            save: [FileKind::Overlay, FileKind::Report].map(|kind| kind.name().to_owned()).into(),
            scale: ScaleRule::default(),
            bar: false,
            strength_in_reports: None,
            pixel_limit: PhotoOptions::default().pixel_limit,
            precision: Precision::default(),
            images: photos.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
            images_bytes: escaped_all(photos),
        }
    }

    /// The checkpoint as it was named.
    pub fn model_name(&self) -> OsString {
        self.model_bytes.as_ref().map_or_else(|| self.model.clone().into(), |bytes| unescaped(bytes).into())
    }

    /// The files and folders that were named.
    pub fn images(&self) -> Vec<PathBuf> {
        if self.images_bytes.is_empty() {
            return self.images.iter().map(PathBuf::from).collect();
        }
        self.images_bytes.iter().map(|path| unescaped(path)).collect()
    }

    /// How prompts are phrased, as texts.
    pub fn templates(&self) -> Vec<String> {
        self.settings.templates.iter().map(Template::to_string).collect()
    }

    /// Which files are written.
    ///
    /// # Errors
    /// [`Error::Option`] if there is a kind that batches do not write.
    pub fn kinds(&self) -> Result<Vec<FileKind>> {
        let kind = |name: &String| match FileKind::find(name) {
            Some(kind) if kind != FileKind::Strip => Ok(kind),
            _ => Err(Error::Option { option: "save", reason: format!("{name:?} is no kind of file") }),
        };
        self.save.iter().filter(|name| *name != NO_FILES).map(kind).collect()
    }

    /// How pictures are drawn.
    pub fn drawing(&self) -> Drawing {
        Drawing::new(self.scale, self.bar)
    }

    /// How photos are opened.
    pub fn photo_options(&self) -> PhotoOptions {
        PhotoOptions::default().pixel_limit(self.pixel_limit)
    }

    /// The blocks that were asked for, if any were.
    fn blocks(&self) -> String {
        let layers = &self.settings.layers;
        match (layers.combination(), layers.blocks()) {
            (Some(combination), blocks) => format!(", {combination} of layers {blocks:?}"),
            (None, [layer, ..]) => format!(", layer {layer}"),
            (None, []) => String::new(),
        }
    }

    /// How much of the other prompts is subtracted.
    fn contrast(&self) -> String {
        let Settings { strength, aggregate, .. } = &self.settings;
        match objective(aggregate) {
            Ok(objective) if !objective.contrasts() => format!("none, {aggregate} alone"),
            _ => format!("{}, {aggregate} of the other prompts", strength.get()),
        }
    }

    /// Names and values, for people.
    pub fn rows(&self) -> Vec<(String, String)> {
        let Settings { method, fit, detail, .. } = &self.settings;
        [
            ("Model", self.model.clone()),
            ("Method", format!("{}{}", method.as_deref().unwrap_or("recommended"), self.blocks())),
            ("Strength", self.contrast()),
            ("Fit", format!("{fit}, detail {detail}")),
            ("Phrased as", self.templates().join("  ·  ")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

/// The escaped forms of all paths, if one of them is not UTF-8.
fn escaped_all(paths: &[PathBuf]) -> Vec<String> {
    if paths.iter().all(|path| path.to_str().is_some()) {
        return Vec::new();
    }
    let escaped =
        |path: &PathBuf| escaped(path).unwrap_or_else(|| path.to_string_lossy().replace('%', "%25"));
    paths.iter().map(escaped).collect()
}

//! `run.json`: all that is needed to make a run again, and what it was made from.

use std::{
    ffi::OsString,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use fieldmark::{
    PhotoOptions, Settings,
    device::Precision,
    files::{escaped, read_bounded, unescaped, write_atomically},
    folder::Skipped,
    objective::objective,
    prompt::Template,
    render::ScaleRule,
    run::{Described, Drawing, Failed, FileKind, Input, RunScale, described, difference, run_name},
};
use fieldmark::{model::Model, report::SCHEMA};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::args::{BatchArgs, Kind, is_of_several_prompts};

/// A million photos' hashes and files take less.
const LARGEST: u64 = 1 << 30;

/// What a run does, and what it did.
#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// The program's version.
    pub fieldmark: String,
    /// The hash of the checkpoint's files; none of the miniature, which is a part of the program.
    pub model_sha256: Option<String>,
    /// What was asked.
    pub recipe: Recipe,
    /// The photos that were done, in their order.
    #[serde(default)]
    pub inputs: Vec<Input>,
    /// The photos that could not be done.
    #[serde(default)]
    pub failed: Vec<Failed>,
    /// What the folders of the run hold beside photos; absent if that is nothing.
    #[serde(default, skip_serializing_if = "Skipped::is_empty")]
    pub skipped: Skipped,
    /// The files that were written, relative to the manifest's folder.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// The scale of all pictures, if they share that of the run and were drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<RunScale>,
    /// The version of this form and of the records: see [`SCHEMA`]; 0 in files from before there was one.
    #[serde(default)]
    pub schema: u32,
    /// The commit of the checkpoint's repository in the Hub.
    #[serde(default)]
    pub model_revision: Option<String>,
}

/// What a run does with every photo.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recipe {
    /// What is not UTF-8 of a path is U+FFFD.
    pub model: String,
    /// The escaped form of such a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_bytes: Option<String>,
    pub prompts: Vec<String>,
    /// How maps are made. Its method is none until the checkpoint is known, and then what that recommends.
    #[serde(flatten)]
    pub settings: Settings,
    pub save: Vec<String>,
    /// Which pictures share a scale.
    #[serde(default)]
    pub scale: ScaleRule,
    #[serde(default)]
    pub bar: bool,
    /// The strength that reports open at; none: that of the run.
    #[serde(default)]
    pub strength_in_reports: Option<f64>,
    pub pixel_limit: u64,
    #[serde(default)]
    pub precision: Precision,
    /// Files and folders as they were typed; what is not UTF-8 of a name is U+FFFD.
    pub images: Vec<String>,
    /// The escaped forms of all of them, if any is not UTF-8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images_bytes: Vec<String>,
}

impl Recipe {
    /// What was typed.
    pub fn new(args: &BatchArgs, settings: Settings) -> Result<Self> {
        let names = args.save.iter().map(|kind| kind.of_file().map_or(Kind::NONE, FileKind::name).to_owned());
        Ok(Self {
            model: args.model.model.to_string_lossy().into_owned(),
            model_bytes: escaped(Path::new(&args.model.model)),
            prompts: args.asked.all_prompts()?,
            settings,
            save: names.collect(),
            scale: args.pictures.scale,
            bar: args.pictures.bar,
            strength_in_reports: None,
            pixel_limit: args.output.pixel_limit,
            precision: args.model.precision,
            images: args.asked.images.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
            images_bytes: escaped_all(&args.asked.images),
        })
    }

    /// The checkpoint as it was typed.
    pub fn model_name(&self) -> OsString {
        self.model_bytes.as_ref().map_or_else(|| self.model.clone().into(), |bytes| unescaped(bytes).into())
    }

    /// The files and folders that were typed.
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
    pub fn kinds(&self) -> Result<Vec<FileKind>> {
        let kind = |name: &String| match name.parse::<Kind>().map(Kind::of_file) {
            Ok(kind) if kind.is_none_or(is_of_several_prompts) => Ok(kind),
            _ => bail!("save: {name:?} is no kind of file"),
        };
        Ok(self.save.iter().map(kind).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    pub fn drawing(&self) -> Drawing {
        Drawing::new(self.scale, self.bar)
    }

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

impl Manifest {
    pub fn new(recipe: Recipe, model: &Model, model_sha256: Option<String>) -> Self {
        let fieldmark = env!("CARGO_PKG_VERSION").to_owned();
        Self {
            fieldmark,
            model_sha256,
            recipe,
            inputs: Vec::new(),
            failed: Vec::new(),
            skipped: Skipped::default(),
            outputs: Vec::new(),
            scale: None,
            schema: SCHEMA,
            model_revision: model.revision().map(str::to_owned),
        }
    }

    pub fn read(path: &Path) -> Result<Self> {
        let bytes = read_bounded(path, LARGEST)?;
        serde_json::from_slice(&bytes).with_context(|| format!("{}: is not a run's manifest", path.display()))
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(write_atomically(path, |file| file.write_all(&text))?)
    }

    /// All that decides the results.
    fn known(&self) -> Result<Value> {
        let mut fields = serde_json::to_value(&self.recipe)?;
        fields["model_sha256"] = self.model_sha256.clone().into();
        fields["fieldmark"] = self.fieldmark.clone().into();
        Ok(fields)
    }

    /// The name of the run in its journal: the same for the same settings, checkpoint and version, whichever photos are
    /// asked about.
    pub fn run_name(&self) -> Result<String> {
        let mut known = self.known()?;
        known["images"].take();
        known["images_bytes"].take();
        Ok(run_name(&known.to_string()))
    }

    /// The description of the run to resume.
    pub fn described(path: &Path) -> Result<Described<Self>> {
        Ok(described(path, ("questions_sha256", "a batch", "an evaluation"))?)
    }

    /// Whether results of the run that `path` describes may stand beside this one's: whether it is the same
    /// run, of the same program and checkpoint.
    pub fn check_continues(&self, old: &Self, path: &Path) -> Result<()> {
        match difference(&self.known()?, &old.known()?) {
            Some((name, new, old)) => {
                bail!("{}: {name}: this run has {new}, the one to resume {old}", path.display())
            }
            None => Ok(()),
        }
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

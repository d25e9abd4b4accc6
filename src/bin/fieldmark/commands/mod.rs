//! One command a file. What several of them need is here.

pub mod compare;
pub mod download;
pub mod evaluate;
pub mod localize;

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::Result;
use fieldmark::{
    Explainer, Photo, PhotoOptions, Settings, device::DeviceChoice, files::prepare_folder, geometry::Fit,
    model::source::HubOptions, objective::Strength, pipeline::LoadOptions, prompt::Template,
};

use crate::{
    args::{DeviceName, FitName, MapArgs, ModelArgs, OutputArgs, ViewArgs},
    terminal::Terminal,
};

/// The Hub as the environment and the command line describe it.
fn hub_options(offline: bool) -> HubOptions {
    let mut hub = HubOptions::from_environment(&|name| std::env::var(name).ok());
    hub.offline |= offline;
    hub
}

/// Opens the checkpoint; returns it with the seconds that it took.
fn load(args: &ModelArgs, terminal: &Terminal) -> Result<(Explainer, f64)> {
    let start = Instant::now();
    let device = match args.device {
        None => DeviceChoice::Best,
        Some(DeviceName::Cpu) => DeviceChoice::Cpu,
        Some(DeviceName::Cuda) => DeviceChoice::Cuda,
        Some(DeviceName::Metal) => DeviceChoice::Metal,
    };
    let options = LoadOptions { hub: hub_options(args.offline), device };
    let explainer = Explainer::load_with(&args.model, &options, terminal)?;
    let explainer = explainer.telling(Arc::new(terminal.clone()));
    Ok((explainer, start.elapsed().as_secs_f64()))
}

/// Makes the results' directory and that of the COCO file, before long work.
fn prepare_output(args: &OutputArgs) -> Result<()> {
    prepare_folder(&args.output)?;
    let Some(folder) = args.coco.as_deref().and_then(Path::parent) else { return Ok(()) };
    Ok(prepare_folder(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?)
}

/// What a COCO file of these maps says of itself.
fn coco_description(explainer: &Explainer, map: &MapArgs) -> String {
    format!("places where {} sees the prompts, by fieldmark; threshold {}", explainer.name(), map.threshold)
}

/// The settings that were typed.
fn settings(args: &MapArgs, strength: f64) -> Result<Settings> {
    Ok(Settings {
        strength: Strength::new(strength)?,
        method: args.method.clone(),
        layer: args.layer,
        threshold: args.threshold,
        ..view(&args.view)?
    })
}

/// The settings that the maps of one run have in common; the others are the defaults.
fn view(args: &ViewArgs) -> Result<Settings> {
    let templates: fieldmark::Result<Vec<_>> = args.template.iter().map(|text| Template::new(text)).collect();
    Ok(Settings {
        aggregate: args.aggregate.clone(),
        fit: match args.fit {
            FitName::Whole => Fit::Whole,
            FitName::Squash => Fit::Squash,
            FitName::Crop => Fit::Crop,
        },
        detail: args.detail,
        tiles: args.tiles,
        artifacts: args.artifacts,
        refine: args.refine.clone(),
        templates: templates?,
        ..Settings::default()
    })
}

/// Opens a photo; returns it with the seconds that it took.
fn open(path: &Path, args: &OutputArgs, terminal: &Terminal) -> Result<(Photo, f64)> {
    let start = Instant::now();
    let photo = Photo::open_with(path, &PhotoOptions { pixel_limit: args.pixel_limit })?;
    terminal.warn(photo.warnings());
    Ok((photo, start.elapsed().as_secs_f64()))
}

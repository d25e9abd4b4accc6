//! One command a file. What several of them need is here.

pub mod compare;
pub mod download;
pub mod evaluate;
pub mod localize;
pub mod models;

use std::{path::PathBuf, time::Instant};

use anyhow::Result;
use fieldmark::{
    Explainer, Photo, PhotoOptions, Settings, device::DeviceChoice, geometry::Fit, model::source::HubOptions,
    objective::Strength, pipeline::LoadOptions, prompt::Template,
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

/// Where the program keeps what later runs can use: `FIELDMARK_CACHE`, else the place of the platform. None where
/// no home is known.
fn cache_folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // A relative path would mean another folder in every directory; the standard says to ignore it.
    let platform = |name: &str| variable(name).filter(|path| path.is_absolute());
    let base = || platform(if cfg!(windows) { "LOCALAPPDATA" } else { "XDG_CACHE_HOME" });
    let home =
        || std::env::home_dir().filter(|home| !home.as_os_str().is_empty()).map(|home| home.join(".cache"));
    variable("FIELDMARK_CACHE").or_else(|| Some(base().or_else(home)?.join("fieldmark")))
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
    let text_cache = (!args.no_text_cache).then(cache_folder).flatten().map(|folder| folder.join("texts"));
    let options = LoadOptions { hub: hub_options(args.offline), device, text_cache };
    let explainer = Explainer::load_with(&args.model, &options, terminal)?;
    Ok((explainer, start.elapsed().as_secs_f64()))
}

/// The settings that were typed.
fn settings(args: &MapArgs, strength: f64) -> Result<Settings> {
    Ok(Settings {
        strength: Strength::new(strength)?,
        method: args.method.clone(),
        layer: args.layer,
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
        templates: templates?,
        ..Settings::default()
    })
}

/// Opens a photo; returns it with the seconds that it took.
fn open(path: &std::path::Path, args: &OutputArgs, terminal: &Terminal) -> Result<(Photo, f64)> {
    let start = Instant::now();
    let photo = Photo::open_with(path, &PhotoOptions { pixel_limit: args.pixel_limit })?;
    terminal.warn(photo.warnings());
    Ok((photo, start.elapsed().as_secs_f64()))
}

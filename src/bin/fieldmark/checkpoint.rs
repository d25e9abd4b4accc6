//! The checkpoint that a command works with: where it is found, what is kept of its work, and its hash.

use std::{path::PathBuf, sync::Arc, time::Instant};

use anyhow::{Context, Result};
use fieldmark::{
    Explainer,
    explain::LoadOptions,
    model::hub::{HubOptions, ModelSpec, locate},
    run::hashes,
};

use crate::{args::ModelArgs, terminal::Terminal};

/// The Hub as the environment and the command line describe it.
pub fn hub_options(offline: bool) -> HubOptions {
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
pub fn load(args: &ModelArgs, terminal: &Terminal) -> Result<(Explainer, f64)> {
    let start = Instant::now();
    let text_cache = (!args.no_text_cache).then(cache_folder).flatten().map(|folder| folder.join("texts"));
    let precision = args.precision;
    let options = LoadOptions::default()
        .hub(hub_options(args.offline))
        .device(args.device)
        .precision(precision)
        .text_cache(text_cache);
    let explainer = Explainer::load_with(&args.model, &options, terminal)?;
    let explainer = explainer.with_progress(Arc::new(terminal.clone()));
    Ok((explainer, start.elapsed().as_secs_f64()))
}

/// The hash of the checkpoint's files; none of the miniature, which is a part of the program.
pub fn model_hash(args: &ModelArgs, terminal: &Terminal) -> Result<Option<String>> {
    let spec = ModelSpec::parse(&args.model)?;
    if spec == ModelSpec::Builtin {
        return Ok(None);
    }
    let found = locate(&spec, &hub_options(args.offline), terminal)?;
    let files = found.files.into_iter().map(|file| (file.name, file.path)).collect();
    let hash = hashes::of_checkpoint(&found.directory, files);
    Ok(Some(hash.with_context(|| format!("{}: cannot be read", found.directory.display()))?))
}

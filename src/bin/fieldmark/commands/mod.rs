//! One command a file. What several of them need is here.

pub mod batch;
pub mod compare;
pub mod completions;
pub mod download;
pub mod evaluate;
pub mod localize;
pub mod man;
pub mod methods;
pub mod models;
pub mod prompts;
pub mod reference;

use std::{
    io::{self, ErrorKind},
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result};
use fieldmark::{
    Error, Explainer, Settings,
    attribution::METHODS,
    model::hub::{HubOptions, ModelSpec, locate},
    objective::{Strength, objective, references::By},
    page::PageOptions,
    pipeline::{LoadOptions, Rivals},
    prompt::{ConceptList, templates},
    refine::Tiles,
};

use crate::{
    args::{ALL_METHODS, MapArgs, ModelArgs, OutputArgs, Preview, RivalArgs, ShowArgs, ViewArgs},
    destination::Destination,
    exit::{Exit, is_broken_pipe},
    hashes,
    in_order::AT_ONCE,
    output,
    preview::Protocol,
    run_folder::NewFolders,
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
    let text_cache = (!args.no_text_cache).then(cache_folder).flatten().map(|folder| folder.join("texts"));
    let precision = args.precision;
    let options = LoadOptions { hub: hub_options(args.offline), device: args.device, precision, text_cache };
    let explainer = Explainer::load_with(&args.model, &options, terminal)?;
    let explainer = explainer.with_progress(Arc::new(terminal.clone()));
    Ok((explainer, start.elapsed().as_secs_f64()))
}

/// How many groups of photos are at work at once, and how many photos are in one.
fn at_once(explainer: &Explainer, settings: &Settings) -> Result<(usize, usize)> {
    match settings.tiles {
        Tiles::Off => Ok((AT_ONCE, explainer.photos_together(settings)?)),
        // Passes over tiles are told one by one, of one photo.
        _ => Ok((1, 1)),
    }
}

/// The hash of the checkpoint's files; none of the miniature, which is a part of the program.
fn model_hash(args: &ModelArgs, terminal: &Terminal) -> Result<Option<String>> {
    let spec = ModelSpec::parse(&args.model)?;
    if spec == ModelSpec::Builtin {
        return Ok(None);
    }
    let found = locate(&spec, &hub_options(args.offline), terminal)?;
    let files = found.files.into_iter().map(|file| (file.name, file.path)).collect();
    let hash = hashes::of_checkpoint(&found.directory, files);
    Ok(Some(hash.with_context(|| format!("{}: cannot be read", found.directory.display()))?))
}

/// Where a command's results go.
struct Outputs {
    coco: Option<Destination>,
    report: Option<Destination>,
    /// Whether standard output is for results alone, rather than for a table or JSON.
    prints: bool,
    _new: Option<NewFolders>,
}

/// Makes the results' directory, if files are written there, and looks at single files, before long work.
fn prepare_output(args: &OutputArgs, show: &ShowArgs, writes: bool) -> Result<Outputs> {
    let new = if writes { Some(NewFolders::prepare(&args.output)?) } else { None };
    let prepare = |option, path: &Option<PathBuf>| {
        path.as_deref().map(|path| Destination::prepare(option, path)).transpose()
    };
    let (coco, report) = (prepare("--coco", &show.coco)?, prepare("--report", &show.report)?);
    Destination::check_distinct(coco.as_ref(), report.as_ref())?;
    let files: Vec<&Destination> = coco.iter().chain(&report).collect();
    Destination::check_standard_output(&files, args.json)?;
    let prints = !files.iter().any(|file| file.is_standard_output());
    Ok(Outputs { coco, report, prints, _new: new })
}

/// What a COCO file of these maps says of itself.
fn coco_description(explainer: &Explainer, map: &MapArgs) -> String {
    format!("places where {} sees the prompts, by fieldmark; threshold {}", explainer.name(), map.threshold)
}

/// The settings that were typed.
fn settings(args: &MapArgs, method: Option<&str>, strength: Strength) -> Result<Settings> {
    Ok(Settings {
        strength,
        method: method.map(str::to_owned),
        layer: args.layers.block(),
        layers: args.layers.several(),
        threshold: args.threshold,
        aggregate: args.aggregate.clone(),
        ..view(&args.view)?
    })
}

/// The strength that was typed, else the usual one. An objective that takes the references whole or not at all would
/// silently read 0.3 as 1, and one without references as 0.
fn strength(aggregate: &str, typed: Option<f64>, usual: f64) -> Result<Strength> {
    let objective = objective(aggregate)?;
    let Some(typed) = typed else {
        return Ok(objective.strength_in_force(Strength::new(usual)?));
    };
    let typed = Strength::new(typed)?;
    if objective.strength_in_force(typed) == typed {
        return Ok(typed);
    }
    let expected = if objective.contrasts() { "0 or 1" } else { "0" };
    let reason = format!("expected {expected} with {aggregate}, found {}", typed.get());
    Err(Error::Option { option: "strength", reason }.into())
}

/// The strengths that were typed, else the usual one.
fn strengths(aggregate: &str, typed: &[f64]) -> Result<Vec<Strength>> {
    let usual = Strength::default().get();
    match typed {
        [] => Ok(vec![strength(aggregate, None, usual)?]),
        _ => typed.iter().map(|typed| strength(aggregate, Some(*typed), usual)).collect(),
    }
}

/// By which rule rivals are found among the concepts of a list.
fn rivals(args: &RivalArgs, concepts: ConceptList, synonym_threshold: f64) -> Rivals {
    let (by, count) = (args.by, if args.by == By::Group { 1 } else { 3 });
    Rivals {
        concepts,
        by,
        count: args.nearest.unwrap_or(count),
        synonym_threshold: args.synonym_threshold.unwrap_or(synonym_threshold),
    }
}

/// The methods that a list names, or all of them, each once.
fn methods(list: &[String]) -> Vec<String> {
    if list.iter().any(|name| name == ALL_METHODS) {
        return METHODS.iter().map(|method| method.name().into()).collect();
    }
    let mut names: Vec<String> = Vec::new();
    for name in list {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// The settings that the maps of one run have in common; the others are the defaults.
fn view(args: &ViewArgs) -> Result<Settings> {
    let sets: fieldmark::Result<Vec<_>> = args.template.iter().map(|template| templates(template)).collect();
    Ok(Settings {
        fit: args.fit,
        detail: args.detail,
        tiles: args.tiles,
        artifacts: args.artifacts,
        refine: args.refine.clone(),
        templates: sets?.concat(),
        ..Settings::default()
    })
}

/// What a page shows of a run whose checkpoint is not hashed; `strength`, as [`page_strength`] returns it.
fn page_options(settings: &Settings, strength: Option<f64>) -> PageOptions {
    PageOptions { target: 0, strength, templates: texts(settings), model_hash: None }
}

/// The strength that a page of compared prompts opens at: the usual one unless another was typed, since rivals change
/// nothing at 0.
fn page_strength(aggregate: &str, typed: Option<f64>) -> Result<Option<f64>> {
    match typed {
        Some(_) => Ok(None),
        None => Ok(Some(strength(aggregate, None, Strength::default().get())?.get())),
    }
}

/// How prompts are phrased, as texts.
fn texts(settings: &Settings) -> Vec<String> {
    settings.templates.iter().map(|template| template.as_str().to_owned()).collect()
}

/// Whether an error would come again with every photo: what is wrong is the model, or the place of the results.
pub fn would_come_again(error: &anyhow::Error) -> bool {
    match error.downcast_ref() {
        Some(Error::Weights { .. } | Error::Config { .. } | Error::Tokenizer { .. }) => true,
        Some(Error::Write { source, .. }) => is_about_the_place(source),
        _ => false,
    }
}

/// Whether nothing can be written in a place any more, rather than one file of it.
fn is_about_the_place(error: &io::Error) -> bool {
    /// An error of input or output.
    const EIO: i32 = 5;
    match error.kind() {
        ErrorKind::StorageFull
        | ErrorKind::QuotaExceeded
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::NotFound
        | ErrorKind::NotADirectory
        | ErrorKind::StaleNetworkFileHandle
        | ErrorKind::PermissionDenied => true,
        _ => cfg!(unix) && error.raw_os_error() == Some(EIO),
    }
}

/// Answers that are of one checkpoint: it did not change meanwhile.
fn if_unchanged<A>(explainer: &Explainer, answers: Vec<Result<A>>) -> Vec<Result<A>> {
    let check = |answer: Result<A>| {
        let answer = answer?;
        explainer.model().check_unchanged()?;
        Ok(answer)
    };
    answers.into_iter().map(check).collect()
}

/// The end of a run that could not go on: what is done stays done. That nobody reads the results any more is no failure.
fn ended_early(error: anyhow::Error, done: usize, terminal: &Terminal) -> Result<Exit> {
    if done == 0 || is_broken_pipe(&error) {
        return Err(error);
    }
    terminal.error(&error);
    Ok(Exit::SomeFailed)
}

/// How the results of so many photos are shown in the terminal, if they are.
fn preview(wish: Preview, photos: usize, output: &OutputArgs) -> Option<Protocol> {
    let detect = || Protocol::detect(&|name| std::env::var(name).ok());
    match wish {
        _ if output.json => None,
        Preview::Never => None,
        Preview::Auto => detect().filter(|_| photos == 1 && output::is_terminal()),
        Preview::Always => detect().or(Some(Protocol::Blocks256)),
        Preview::Kitty => Some(Protocol::Kitty),
        Preview::Iterm2 => Some(Protocol::Iterm2),
        Preview::Sixel => Some(Protocol::Sixel),
        Preview::Blocks => Some(Protocol::Blocks),
    }
}

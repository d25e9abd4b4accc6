//! `fieldmark compare`: several prompts on one photo, on one shared scale.

use std::time::Instant;

use anyhow::{Result, bail};
use fieldmark::{
    Photo, Settings,
    files::{Names, path_of, prepare_folder, save_png},
    pipeline::{Compare, Lineup, Pairs},
    prompt::ConceptList,
    render::{RenderOptions, overlay},
};
use image::RgbImage;

use crate::{
    args::CompareArgs,
    exit::Exit,
    output,
    preview::Protocol,
    saving::{ComparisonFiles, PhotoNames, save_page},
    terminal::Terminal,
};

/// The most prompts whose maps against each other are drawn: more would be too small to see.
const MOST_IN_MATRIX: usize = 10;

pub fn run(args: &CompareArgs, terminal: &Terminal) -> Result<Exit> {
    let lineup = lineup(args)?;
    let settings = super::settings(&args.map, args.strength)?;
    prepare_folder(&args.output.output)?;
    args.report.as_deref().map(super::prepare_folder_of).transpose()?;
    let (photo, open_seconds) = super::open(&args.image, &args.output, terminal)?;
    let (explainer, load_seconds) = super::load(&args.model, terminal)?;
    let mut compared = explainer.rank(&photo, &lineup, &settings)?;
    terminal.warn(&compared.warnings);
    let start = Instant::now();
    save(args, &settings, &photo, &mut compared)?;
    let preview =
        super::preview(args.preview, 1, &args.output).map(|way| (picture(&photo, &compared, way), way));
    let mut report = compared.report;
    report.seconds.render = start.elapsed().as_secs_f64();
    report.seconds.decode += open_seconds;
    report.seconds.load = load_seconds;
    match args.output.json {
        true => output::json(&report)?,
        false => output::comparison(&report)?,
    }
    if let Some((picture, protocol)) = preview {
        output::picture(&picture, protocol)?;
    }
    Ok(Exit::Done)
}

/// What competes: the prompts, and the concepts that are not one of them by another name.
fn lineup(args: &CompareArgs) -> Result<Lineup> {
    let prompts = args.prompts.clone();
    let pairs = if args.matrix { Pairs::All } else { Pairs::None };
    let Some(concepts) = &args.concepts else {
        if prompts.len() < 2 {
            bail!("prompts: expected two or more, or a list of concepts, found {}", prompts.len());
        }
        return Ok(Lineup { prompts, pairs, ..Lineup::default() });
    };
    let list = ConceptList::open(concepts)?;
    let own: Vec<_> = prompts.iter().filter_map(|prompt| list.find(prompt)).collect();
    let others = list.concepts().iter().filter(|concept| !own.contains(concept));
    let concepts = others.map(|concept| concept.name.clone()).collect();
    Ok(Lineup { prompts, concepts, top: args.top, pairs })
}

fn save(args: &CompareArgs, settings: &Settings, photo: &Photo, compared: &mut Compare) -> Result<()> {
    let prompts: Vec<String> =
        compared.report.prompts.iter().map(|prompt| prompt.score.prompt.clone()).collect();
    let names = PhotoNames::new(&mut Names::new(), &args.image, &prompts);
    let options = super::page_options(settings);
    let folder = &args.output.output;
    ComparisonFiles { folder, names: &names, photo, options: &options }.save(&args.save, compared)?;
    if let Some(matrix) = compared.matrix(photo, MOST_IN_MATRIX) {
        let path = path_of(folder, &names.photo, "matrix", "png");
        save_png(&path, &matrix.into())?;
        compared.report.files.insert("matrix".into(), path);
    }
    if let Some(path) = &args.report {
        save_page(path, &compared.page(photo, &options)?)?;
        compared.report.files.insert("report".into(), path.clone());
    }
    Ok(())
}

/// The sheet; where its letters could not be read, the evidence for the prompt that fits best.
fn picture(photo: &Photo, compared: &Compare, protocol: Protocol) -> RgbImage {
    let scores = compared.report.prompts.iter().zip(&compared.maps);
    match scores.max_by(|(one, _), (other, _)| one.score.logit.total_cmp(&other.score.logit)) {
        Some((_, map)) if !protocol.is_fine() => overlay(photo.rgb(), map, &RenderOptions::default()),
        _ => compared.sheet(photo),
    }
}

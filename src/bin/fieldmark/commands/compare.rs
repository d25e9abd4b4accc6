//! `fieldmark compare`: several prompts on one photo, on one shared scale.

use std::time::Instant;

use anyhow::Result;
use fieldmark::{
    Photo,
    files::{Names, prepare_folder},
    pipeline::Compare,
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

pub fn run(args: &CompareArgs, terminal: &Terminal) -> Result<Exit> {
    let settings = super::settings(&args.map, args.strength)?;
    prepare_folder(&args.output.output)?;
    args.report.as_deref().map(super::prepare_folder_of).transpose()?;
    let (photo, open_seconds) = super::open(&args.image, &args.output, terminal)?;
    let (explainer, load_seconds) = super::load(&args.model, terminal)?;
    let mut compared = explainer.compare(&photo, &args.prompts, &settings)?;
    terminal.warn(&compared.warnings);
    let start = Instant::now();
    save(args, &photo, &mut compared)?;
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

fn save(args: &CompareArgs, photo: &Photo, compared: &mut Compare) -> Result<()> {
    let names = PhotoNames::new(&mut Names::new(), &args.image, &args.prompts);
    let options = super::page_options(&args.map, 0);
    let files = ComparisonFiles { folder: &args.output.output, names: &names, photo, options: &options };
    files.save(&args.save, compared)?;
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

//! `fieldmark compare`: several prompts on one photo, on one shared scale.

use std::time::Instant;

use anyhow::{Result, bail};
use fieldmark::{
    Photo,
    files::{Names, path_of, prepare_folder, save_png},
    pipeline::{Compare, Lineup, Pairs},
    prompt::ConceptList,
    render::Scale,
};

use crate::{
    args::{CompareArgs, CompareKind, Kind},
    exit::Exit,
    output,
    saving::Files,
    terminal::Terminal,
};

/// The most prompts whose maps against each other are drawn: more would be too small to see.
const MOST_IN_MATRIX: usize = 10;

pub fn run(args: &CompareArgs, terminal: &Terminal) -> Result<Exit> {
    let lineup = lineup(args)?;
    let settings = super::settings(&args.map, args.strength)?;
    prepare_folder(&args.output.output)?;
    let (photo, open_seconds) = super::open(&args.image, &args.output, terminal)?;
    let (explainer, load_seconds) = super::load(&args.model, terminal)?;
    let mut compared = explainer.rank(&photo, &lineup, &settings)?;
    terminal.warn(&compared.warnings);
    let start = Instant::now();
    save(args, &photo, &mut compared)?;
    let mut report = compared.report;
    report.seconds.render = start.elapsed().as_secs_f64();
    report.seconds.decode += open_seconds;
    report.seconds.load = load_seconds;
    match args.output.json {
        true => output::json(&report)?,
        false => output::comparison(&report)?,
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

fn save(args: &CompareArgs, photo: &Photo, compared: &mut Compare) -> Result<()> {
    let mut names = Names::new();
    let image_name = names.for_image(&args.image);
    let folder = &args.output.output;
    if args.save.contains(&CompareKind::Sheet) {
        let path = path_of(folder, &image_name, "sheet", "png");
        save_png(&path, &compared.sheet(photo).into())?;
        compared.report.files.insert("sheet".into(), path);
    }
    if let Some(matrix) = compared.matrix(photo, MOST_IN_MATRIX) {
        let path = path_of(folder, &image_name, "matrix", "png");
        save_png(&path, &matrix.into())?;
        compared.report.files.insert("matrix".into(), path);
    }
    let kinds: Vec<Kind> = args.save.iter().filter_map(|kind| kind.of_one_prompt()).collect();
    let top = |value: fn(&fieldmark::attribution::ConceptMap) -> f32| {
        Scale::Shared(compared.maps.iter().map(value).fold(0.0, f32::max))
    };
    let scales = [top(|map| map.max()), top(|map| map.max_abs())];
    for (prompt, map) in compared.report.prompts.iter_mut().zip(&compared.maps) {
        let name = names.for_prompt(&args.image, &prompt.score.prompt);
        prompt.files = Files { folder, name: &name, photo, map, scales }.save(&kinds)?;
    }
    Ok(())
}

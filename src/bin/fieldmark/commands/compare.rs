//! `fieldmark compare`: several prompts on one photo, on one shared scale.

use std::time::Instant;

use anyhow::{Result, bail};
use fieldmark::{
    Photo, Settings,
    coco::Coco,
    files::{Names, path_of, save_png},
    pipeline::{Compare, Lineup, Pairs, methods_sheet},
    prompt::ConceptList,
    regions::instances,
    render::Scale,
    report::Comparison,
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
    let settings = super::settings(&args.map, super::strength(&args.map.view, args.strength, 0.0)?)?;
    super::prepare_output(&args.output)?;
    let (photo, open_seconds) = super::open(&args.image, &args.output, terminal)?;
    let (explainer, load_seconds) = super::load(&args.model, terminal)?;
    let with = |name: String| Settings { method: Some(name), ..settings.clone() };
    let methods = super::methods(&args.methods, &explainer, &settings, terminal)?;
    let all = match methods.is_empty() {
        true => vec![settings],
        false => methods.into_iter().map(with).collect(),
    };
    let mut compared = explainer.rank_all(&photo, &lineup, &all)?;
    compared.iter().for_each(|compared| terminal.warn(&compared.warnings));
    let start = Instant::now();
    let mut coco = Coco::new(super::coco_description(&explainer, &args.map));
    save(args, &photo, &mut compared, &mut coco)?;
    if let Some(path) = &args.output.coco {
        coco.save(path)?;
    }
    for compared in &mut compared {
        let seconds = &mut compared.report.seconds;
        seconds.render = start.elapsed().as_secs_f64();
        seconds.decode += open_seconds;
        seconds.load = load_seconds;
    }
    print(args, &compared.into_iter().map(|compared| compared.report).collect::<Vec<_>>())?;
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

fn print(args: &CompareArgs, reports: &[Comparison]) -> Result<()> {
    match (args.output.json, reports) {
        (true, _) => reports.iter().try_for_each(output::json),
        (false, [report]) => output::comparison(report),
        (false, _) => output::methods_comparison(reports),
    }
}

fn save(args: &CompareArgs, photo: &Photo, compared: &mut [Compare], coco: &mut Coco) -> Result<()> {
    let mut names = Names::new();
    let (folder, image_name) = (&args.output.output, names.for_image(&args.image));
    if args.save.contains(&CompareKind::Sheet) {
        let path = path_of(folder, &image_name, "sheet", "png");
        let sheet = match &*compared {
            [only] => only.sheet(photo),
            all => methods_sheet(photo, all),
        };
        save_png(&path, &sheet.into())?;
        compared.iter_mut().for_each(|one| drop(one.report.files.insert("sheet".into(), path.clone())));
    }
    if let [only] = compared {
        if let Some(matrix) = only.matrix(photo, MOST_IN_MATRIX) {
            let path = path_of(folder, &image_name, "matrix", "png");
            save_png(&path, &matrix.into())?;
            only.report.files.insert("matrix".into(), path);
        }
    }
    let several = compared.len() > 1;
    compared.iter_mut().try_for_each(|compared| {
        let suffix = if several { format!(" {}", compared.report.setup.method) } else { String::new() };
        save_each(args, photo, compared, (&mut names, &suffix), coco)
    })
}

/// Writes the files of each prompt; their names end in the prompt and a suffix.
fn save_each(
    args: &CompareArgs,
    photo: &Photo,
    compared: &mut Compare,
    (names, suffix): (&mut Names, &str),
    coco: &mut Coco,
) -> Result<()> {
    let folder = &args.output.output;
    let kinds: Vec<Kind> = args.save.iter().filter_map(|kind| kind.of_one_prompt()).collect();
    let top = |value: fn(&fieldmark::attribution::ConceptMap) -> f32| {
        Scale::Shared(compared.maps.iter().map(value).fold(0.0, f32::max))
    };
    let scales = [top(|map| map.max()), top(|map| map.max_abs())];
    let threshold = args.map.threshold;
    let image = coco.add_image(&args.image, photo.size());
    for (index, map) in compared.maps.iter().enumerate() {
        // Of maps on the photo's pixels one at a time is held: they are large.
        let Some(shown) = compared.on_pixels(index, photo) else { continue };
        let prompt = &compared.report.prompts[index].score.prompt;
        let name = names.for_prompt(&args.image, &format!("{prompt}{suffix}"));
        if args.output.coco.is_some() {
            coco.add_instances(image, prompt, &instances(&shown, threshold));
        }
        let files =
            Files { folder, name: &name, photo, map, shown: &shown, threshold, scales }.save(&kinds)?;
        compared.report.prompts[index].files = files;
    }
    Ok(())
}

//! `fieldmark compare`: several prompts on one photo, on one shared scale.

use std::{io::Write, time::Instant};

use anyhow::{Result, bail};
use fieldmark::{
    Photo,
    coco::Coco,
    explain::{Compare, CompareQuery, Pairs, methods_sheet},
    files::{Names, path_of, save_png},
    page::PageOptions,
    prompt::ConceptList,
    regions::instances,
    render::{RenderOptions, overlay},
    report::{Comparison, ListUsed},
    run::{ComparisonFiles, Drawing, FileKind, PhotoNames},
};
use image::RgbImage;

use crate::{
    args::{CompareArgs, Kind, settings},
    checkpoint,
    exit::Exit,
    images, output,
    output_folder::{Outputs, coco_description, prepare_output},
    preview::{self, Protocol},
    terminal::Terminal,
};

/// The most prompts whose maps against each other are drawn: more would be too small to see.
const MOST_IN_MATRIX: usize = 10;

pub fn run(args: &CompareArgs, terminal: &Terminal) -> Result<Exit> {
    let lineup = lineup(args)?;
    if args.asked.image.is_dir() {
        bail!("{}: expected one photo, found a directory", args.asked.image.display());
    }
    let methods = settings::methods(&args.methods);
    check_methods(args, methods.len())?;
    let settings =
        settings::settings(&args.map, None, settings::strength(&args.map.aggregate, args.strength, 0.0)?)?;
    let writes = args.matrix || args.save.iter().any(|kind| *kind != Kind::None);
    let outputs = prepare_output(&args.output, &args.show, writes)?;
    let (photo, open_seconds) = images::open(&args.asked.image, args.output.pixel_limit, terminal)?;
    let (explainer, load_seconds) = checkpoint::load(&args.model, terminal)?;
    let with = |name: String| settings.clone().method(Some(name));
    let strength = settings::page_strength(&args.map.aggregate, args.strength)?;
    let options = settings::page_options(&settings, strength);
    let all = if methods.is_empty() { vec![settings] } else { methods.into_iter().map(with).collect() };
    let mut compared = explainer.rank_all(&photo, &lineup, &all)?;
    compared.iter().for_each(|compared| terminal.warn(&compared.warnings));
    let start = Instant::now();
    save(args, &photo, &mut compared, &options)?;
    save_page_of(&photo, &mut compared, &options, &outputs)?;
    if let Some(file) = &outputs.coco {
        let coco = Coco::new(coco_description(&explainer, args.map.threshold));
        file.write(|out| regions(&photo, &compared, coco).write(out))?;
    }
    let preview = preview::protocol(args.show.preview, 1, &args.output)
        .map(|way| (picture(&photo, &compared, way), way));
    for compared in &mut compared {
        let seconds = &mut compared.report.seconds;
        seconds.render = start.elapsed().as_secs_f64();
        seconds.decode += open_seconds;
        seconds.load = load_seconds;
    }
    if outputs.prints {
        print(args, &compared.into_iter().map(|compared| compared.report).collect::<Vec<_>>())?;
    }
    if let Some((picture, protocol)) = preview {
        output::picture(&picture, protocol)?;
    }
    Ok(Exit::Done)
}

/// What competes: the prompts, and the concepts that are not one of them by another name.
fn lineup(args: &CompareArgs) -> Result<CompareQuery> {
    let prompts = args.asked.prompts.clone();
    let pairs = if args.matrix { Pairs::All } else { Pairs::None };
    let Some(concepts) = &args.concepts else {
        if prompts.len() < 2 {
            bail!("prompts: expected two or more, or a list of concepts, found {}", prompts.len());
        }
        return Ok(CompareQuery::default().prompts(prompts).pairs(pairs));
    };
    let list = ConceptList::open(concepts)?;
    let own: Vec<_> = prompts.iter().filter_map(|prompt| list.find(prompt)).collect();
    let others = list.concepts().iter().filter(|concept| !own.contains(concept));
    let names = others.map(|concept| concept.name.clone()).collect();
    let list = Some(ListUsed::new(Some(concepts.to_string_lossy().into_owned()), &list));
    Ok(CompareQuery::default().prompts(prompts).concepts(names).top(args.top).pairs(pairs).list(list))
}

fn print(args: &CompareArgs, reports: &[Comparison]) -> Result<()> {
    match (args.output.json, reports) {
        (true, _) => reports.iter().try_for_each(output::json),
        (false, [report]) => output::comparison(report),
        (false, _) => output::methods_comparison(reports),
    }
}

fn save(args: &CompareArgs, photo: &Photo, compared: &mut [Compare], options: &PageOptions) -> Result<()> {
    match compared {
        [only] => save_one(args, photo, only, options),
        several => save_methods(args, photo, several, options),
    }
}

fn save_one(args: &CompareArgs, photo: &Photo, compared: &mut Compare, options: &PageOptions) -> Result<()> {
    let names = PhotoNames::new(&mut Names::new(), images::naming(&args.asked.image), &prompts(compared));
    let folder = &args.output.output;
    let drawing = Drawing::of_one(args.pictures.scale, args.pictures.bar);
    ComparisonFiles { folder, names: &names, photo, options, drawing }.save(&kinds(args), compared)?;
    if let Some(matrix) = compared.matrix(photo, MOST_IN_MATRIX) {
        let path = path_of(folder, &names.photo, "matrix", "png");
        save_png(&path, &matrix.into())?;
        compared.report.files.insert("matrix".into(), path);
    }
    Ok(())
}

/// The page that was asked for in a file of its own, which shows one method's maps.
fn save_page_of(
    photo: &Photo,
    compared: &mut [Compare],
    options: &PageOptions,
    outputs: &Outputs,
) -> Result<()> {
    let (Some(file), [compared]) = (&outputs.report, compared) else { return Ok(()) };
    let page = compared.page(photo, options)?;
    file.write(|out| out.write_all(page.as_bytes()))?;
    compared.report.files.insert("report".into(), file.path().into());
    Ok(())
}

/// One sheet for all methods; the names of each prompt's files end in the method.
fn save_methods(
    args: &CompareArgs,
    photo: &Photo,
    compared: &mut [Compare],
    options: &PageOptions,
) -> Result<()> {
    let (mut names, folder) = (Names::new(), &args.output.output);
    let file = images::naming(&args.asked.image);
    let image = names.for_image(file);
    if args.save.contains(&Kind::File(FileKind::Sheet)) {
        let path = path_of(folder, &image, "sheet", "png");
        save_png(&path, &methods_sheet(photo, compared).into())?;
        compared.iter_mut().for_each(|one| drop(one.report.files.insert("sheet".into(), path.clone())));
    }
    for compared in compared {
        let method = &compared.report.setup.method;
        let named = prompts(compared).into_iter().map(|prompt| format!("{prompt} {method}"));
        let prompts = named.map(|prompt| names.for_prompt(file, &prompt)).collect();
        let names = PhotoNames { photo: image.clone(), prompts };
        let drawing = Drawing::of_one(args.pictures.scale, args.pictures.bar);
        ComparisonFiles { folder, names: &names, photo, options, drawing }
            .save_each(&kinds(args), compared)?;
    }
    Ok(())
}

/// Which files are written.
fn kinds(args: &CompareArgs) -> Vec<FileKind> {
    args.save.iter().filter_map(|kind| kind.of_file()).collect()
}

fn prompts(compared: &Compare) -> Vec<String> {
    compared.report.prompts.iter().map(|prompt| prompt.score.prompt.clone()).collect()
}

/// The regions of all prompts.
fn regions(photo: &Photo, compared: &[Compare], mut coco: Coco) -> Coco {
    let image = coco.add_image(photo.path(), photo.size());
    for compared in compared {
        for (index, prompt) in compared.report.prompts.iter().enumerate() {
            if let Some(map) = compared.on_pixels(index, photo) {
                let found = instances(&map, compared.report.setup.threshold);
                coco.add_instances(image, &prompt.score.prompt, &found);
            }
        }
    }
    coco
}

/// The sheet; where its letters could not be read, the evidence for the prompt that fits best.
fn picture(photo: &Photo, compared: &[Compare], protocol: Protocol) -> RgbImage {
    let [only] = compared else { return methods_sheet(photo, compared) };
    let scores = only.report.prompts.iter().zip(&only.maps);
    match scores.max_by(|(one, _), (other, _)| one.score.logit.total_cmp(&other.score.logit)) {
        Some((_, map)) if !protocol.is_fine() => overlay(photo.rgb(), map, &RenderOptions::default()),
        _ => only.sheet(photo),
    }
}

/// What belongs to one method's maps is refused for several.
fn check_methods(args: &CompareArgs, methods: usize) -> Result<()> {
    let asked = [
        ("--matrix", args.matrix),
        ("--coco", args.show.coco.is_some()),
        ("--report", args.show.report.is_some()),
        ("--save report", args.save.contains(&Kind::File(FileKind::Report))),
    ];
    match asked.iter().find(|(_, is_asked)| *is_asked && methods > 1) {
        Some((option, _)) => bail!("{option}: expected one method, found {methods}"),
        None => Ok(()),
    }
}

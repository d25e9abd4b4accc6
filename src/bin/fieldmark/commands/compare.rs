//! `fieldmark compare`: several prompts on one photo, on one shared scale.

use std::time::Instant;

use anyhow::Result;
use fieldmark::{
    Photo,
    coco::Coco,
    files::{Names, path_of, save_png},
    pipeline::Compare,
    regions::instances,
    render::Scale,
};

use crate::{
    args::{CompareArgs, CompareKind, Kind},
    exit::Exit,
    output,
    saving::Files,
    terminal::Terminal,
};

pub fn run(args: &CompareArgs, terminal: &Terminal) -> Result<Exit> {
    let settings = super::settings(&args.map, args.strength)?;
    super::prepare_output(&args.output)?;
    let (photo, open_seconds) = super::open(&args.image, &args.output, terminal)?;
    let (explainer, load_seconds) = super::load(&args.model, terminal)?;
    let mut compared = explainer.compare(&photo, &args.prompts, &settings)?;
    terminal.warn(&compared.warnings);
    let start = Instant::now();
    let mut coco = Coco::new(super::coco_description(&explainer, &args.map));
    save(args, &photo, &mut compared, &mut coco)?;
    if let Some(path) = &args.output.coco {
        coco.save(path)?;
    }
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

fn save(args: &CompareArgs, photo: &Photo, compared: &mut Compare, coco: &mut Coco) -> Result<()> {
    let mut names = Names::new();
    let folder = &args.output.output;
    if args.save.contains(&CompareKind::Sheet) {
        let path = path_of(folder, &names.for_image(&args.image), "sheet", "png");
        save_png(&path, &compared.sheet(photo).into())?;
        compared.report.files.insert("sheet".into(), path);
    }
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
        let name = names.for_prompt(&args.image, prompt);
        if args.output.coco.is_some() {
            coco.add_instances(image, prompt, &instances(&shown, threshold));
        }
        let files =
            Files { folder, name: &name, photo, map, shown: &shown, threshold, scales }.save(&kinds)?;
        compared.report.prompts[index].files = files;
    }
    Ok(())
}

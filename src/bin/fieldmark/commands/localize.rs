//! `fieldmark localize`: a map per image.

use std::{path::Path, time::Instant};

use anyhow::Result;
use fieldmark::{
    Error, Explainer, Query,
    coco::Coco,
    files::Names,
    objective::Strength,
    prompt::{ConceptList, same_words},
    regions::instances,
    render::Scale,
    report::Localization,
};

use crate::{args::LocalizeArgs, exit::Exit, images, output, saving::Files, terminal::Terminal};

pub fn run(args: &LocalizeArgs, terminal: &Terminal) -> Result<Exit> {
    let settings = super::settings(&args.map, args.strength, Strength::default().get())?;
    if args.prompt.contains('.') && Path::new(&args.prompt).is_file() {
        terminal.note(&format!("{} is taken as the prompt, which comes before the images", args.prompt));
    }
    let concepts = args.concepts.as_deref().map(ConceptList::read).transpose()?;
    super::prepare_output(&args.output)?;
    let (explainer, load_seconds) = super::load(&args.model, terminal)?;
    let mut query = Query::new(&args.prompt).against(args.against.iter()).with(settings);
    if let Some(list) = concepts {
        query = add_nearest(query, &list, &explainer, args, terminal)?;
    }
    let start = Instant::now();
    explainer.check(&query)?;
    let text_seconds = start.elapsed().as_secs_f64();
    let run = Run { args, explainer: &explainer, query: &query, load_seconds, text_seconds, terminal };
    let mut coco = Coco::new(super::coco_description(&explainer, &args.map));
    let exit = run.all(&mut coco)?;
    if let Some(path) = &args.output.coco {
        coco.save(path)?;
    }
    Ok(exit)
}

/// Makes the concepts nearest to the target its rivals, and says which.
fn add_nearest(
    query: Query,
    list: &ConceptList,
    explainer: &Explainer,
    args: &LocalizeArgs,
    terminal: &Terminal,
) -> Result<Query> {
    let templates = &query.settings.templates;
    let is_new = |concept: &&String| !query.references.iter().any(|given| same_words(given, concept));
    let others: Vec<String> = list.concepts().iter().filter(is_new).cloned().collect();
    let chosen = explainer.nearest(&query.target, &others, args.nearest, templates)?;
    terminal.note(&format!("rivals, by similarity of the texts: {}", chosen.join(", ")));
    Ok(query.against(chosen))
}

struct Run<'a> {
    args: &'a LocalizeArgs,
    explainer: &'a Explainer,
    query: &'a Query,
    load_seconds: f64,
    text_seconds: f64,
    terminal: &'a Terminal,
}

impl Run<'_> {
    fn all(&self, coco: &mut Coco) -> Result<Exit> {
        let images = images::expand(&self.args.images);
        let bar = self.terminal.photos(images.len());
        let mut names = Names::new();
        let (mut done, mut failed) = (0, 0);
        for image in images {
            let result = image.and_then(|image| {
                let name = names.for_prompt(&image, &self.query.target);
                self.one(&image, &name, coco)
            });
            match result {
                Ok(found) => {
                    self.terminal.without_bars(|| self.print(&found))?;
                    done += 1;
                }
                // What is wrong with the model is wrong for every photo.
                Err(error) if is_about_the_model(&error) => return Err(error),
                Err(error) => {
                    self.terminal.error(&error);
                    failed += 1;
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(Exit::of(done, failed))
    }

    fn one(&self, image: &Path, name: &str, coco: &mut Coco) -> Result<Localization> {
        let (photo, open_seconds) = super::open(image, &self.args.output, self.terminal)?;
        let found = self.explainer.localize(&photo, self.query)?;
        self.terminal.warn(&found.warnings);
        let start = Instant::now();
        let folder = &self.args.output.output;
        let shown = found.on_pixels(&photo);
        let threshold = self.query.settings.threshold;
        let (map, scales) = (&found.map, [Scale::Own; 2]);
        let files = Files { folder, name, photo: &photo, map, shown: &shown, threshold, scales }
            .save(&self.args.save)?;
        if self.args.output.coco.is_some() {
            let id = coco.add_image(image, photo.size());
            coco.add_instances(id, &self.query.target, &instances(&shown, threshold));
        }
        let mut report = found.report;
        report.files = files;
        report.seconds.render = start.elapsed().as_secs_f64();
        report.seconds.decode += open_seconds;
        report.seconds.load = self.load_seconds;
        report.seconds.text += self.text_seconds;
        Ok(report)
    }

    fn print(&self, found: &Localization) -> Result<()> {
        match self.args.output.json {
            true => output::json(found),
            false => output::localization(found),
        }
    }
}

fn is_about_the_model(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(Error::Weights { .. } | Error::Config { .. } | Error::Tokenizer { .. })
    )
}

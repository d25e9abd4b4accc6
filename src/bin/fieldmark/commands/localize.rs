//! `fieldmark localize`: a map per image.

use std::{path::Path, time::Instant};

use anyhow::{Result, bail};
use fieldmark::{
    Explainer, Photo, Query,
    files::{Names, prepare_folder},
    prompt::{ConceptList, same_words},
    render::Scale,
    report::Localization,
};
use image::RgbImage;

use crate::{
    args::LocalizeArgs,
    exit::Exit,
    images, output,
    saving::{Files, save_page},
    terminal::Terminal,
};

pub fn run(args: &LocalizeArgs, terminal: &Terminal) -> Result<Exit> {
    let settings = super::settings(&args.map, args.strength)?;
    if args.prompt.contains('.') && Path::new(&args.prompt).is_file() {
        terminal.note(&format!("{} is taken as the prompt, which comes before the images", args.prompt));
    }
    let concepts = args.concepts.as_deref().map(ConceptList::read).transpose()?;
    prepare_folder(&args.output.output)?;
    args.report.as_deref().map(super::prepare_folder_of).transpose()?;
    if args.report.is_some() && (args.images.len() > 1 || args.images.iter().any(|path| path.is_dir())) {
        bail!("--report: expected one photo, found several; `fieldmark batch` makes a page for each");
    }
    let (explainer, load_seconds) = super::load(&args.model, terminal)?;
    let mut query = Query::new(&args.prompt).against(args.against.iter()).with(settings);
    if let Some(list) = concepts {
        query = add_nearest(query, &list, &explainer, args, terminal)?;
    }
    let start = Instant::now();
    explainer.check(&query)?;
    let text_seconds = start.elapsed().as_secs_f64();
    let run = Run { args, explainer: &explainer, query: &query, load_seconds, text_seconds, terminal };
    run.all()
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
    fn all(&self) -> Result<Exit> {
        let images = images::expand(&self.args.images);
        let bar = self.terminal.photos(images.len());
        let preview = super::preview(self.args.preview, images.len(), &self.args.output);
        let mut names = Names::new();
        let (mut done, mut failed) = (0, 0);
        for image in images {
            let result = image.and_then(|image| {
                let name = names.for_prompt(&image, &self.query.target);
                self.one(&image, &name, preview.is_some())
            });
            match result {
                Ok((found, picture)) => {
                    self.terminal.without_bars(|| self.print(&found))?;
                    if let Some((picture, protocol)) = picture.zip(preview) {
                        self.terminal.without_bars(|| output::picture(&picture, protocol))?;
                    }
                    done += 1;
                }
                // What is wrong with the model is wrong for every photo.
                Err(error) if super::is_about_the_model(&error) => return Err(error),
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

    /// Answers one photo; returns the picture of it too, if it is to be shown.
    fn one(&self, image: &Path, name: &str, shows: bool) -> Result<(Localization, Option<RgbImage>)> {
        let (photo, open_seconds) = super::open(image, &self.args.output, self.terminal)?;
        let found = self.explainer.localize(&photo, self.query)?;
        self.terminal.warn(&found.warnings);
        let picture = shows.then(|| found.overlay(&photo));
        let start = Instant::now();
        let folder = &self.args.output.output;
        let files = Files { folder, name, photo: &photo, map: &found.map, scales: [Scale::Own; 2] };
        let mut report = found.report;
        report.files = files.save(&self.args.save)?;
        if let Some(path) = &self.args.report {
            save_page(path, &self.page(&photo)?)?;
            report.files.insert("report".into(), path.clone());
        }
        report.seconds.render = start.elapsed().as_secs_f64();
        report.seconds.decode += open_seconds;
        report.seconds.load = self.load_seconds;
        report.seconds.text += self.text_seconds;
        Ok((report, picture))
    }

    /// The page shows every prompt alone, too: that is a pass of its own.
    fn page(&self, photo: &Photo) -> Result<String> {
        let Query { target, references, settings } = self.query;
        let prompts: Vec<String> = std::iter::once(target).chain(references).cloned().collect();
        let compared = self.explainer.compare(photo, &prompts, settings)?;
        Ok(compared.page(photo, &super::page_options(&self.args.map, 0))?)
    }

    fn print(&self, found: &Localization) -> Result<()> {
        match self.args.output.json {
            true => output::json(found),
            false => output::localization(found),
        }
    }
}

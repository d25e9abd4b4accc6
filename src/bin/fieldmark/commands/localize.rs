//! `fieldmark localize`: a map per image.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Result, bail};
use fieldmark::{
    Explainer, Photo, Query,
    coco::Coco,
    files::{Names, path_of, save_png},
    folder::Skipped,
    geometry::Size,
    objective::{Strength, references::SYNONYM_THRESHOLD},
    pipeline::{Found, Looks, Rivals, strip_at},
    progress::Warning,
    prompt::ConceptList,
    regions::Instance,
    render::{RenderOptions, Scale, overlay},
    report::{Localization, Setup},
};
use image::RgbImage;
use serde::Serialize;

use super::Outputs;
use crate::{
    args::{Kind, LocalizeArgs, RivalArgs},
    exit::Exit,
    images,
    in_order::{Opening, groups, in_order, in_steps},
    output,
    preview::Protocol,
    saving::{Drawing, Files},
    terminal::Terminal,
};

pub fn run(args: &LocalizeArgs, terminal: &Terminal) -> Result<Exit> {
    images::check_standard_input(&args.images)?;
    let strengths = strengths(args)?;
    let settings = super::settings(&args.map, strengths[0])?;
    if args.prompt.contains('.') && Path::new(&args.prompt).is_file() {
        terminal.note(&format!("{} is taken as the prompt, which comes before the images", args.prompt));
    }
    let rivals = rivals(&args.rivals)?;
    let writes = args.save.is_empty() || args.save.iter().any(|kind| *kind != Kind::None);
    let outputs = super::prepare_output(&args.output, &args.show, writes)?;
    if args.show.report.is_some() && (args.images.len() > 1 || args.images.iter().any(|path| path.is_dir())) {
        bail!("--report: expected one photo, found several; `fieldmark batch` makes a page for each");
    }
    let (explainer, load_seconds) = super::load(&args.model, terminal)?;
    let mut query = Query::new(&args.prompt).against(args.against.iter()).with(settings);
    query.rivals = rivals;
    let start = Instant::now();
    explainer.check(&query)?;
    let text_seconds = start.elapsed().as_secs_f64();
    let drawing = Drawing::of(&args.pictures);
    let (explainer, outputs) = (&explainer, &outputs);
    let run =
        Run { args, outputs, explainer, query, strengths, drawing, load_seconds, text_seconds, terminal };
    let mut coco = Coco::new(super::coco_description(explainer, &args.map));
    let exit = run.all(&mut coco)?;
    if let Some(file) = &outputs.coco {
        file.write(|out| coco.write(out))?;
    }
    Ok(exit)
}

/// The strengths that were typed; each makes files of its own, so none may be there twice.
fn strengths(args: &LocalizeArgs) -> Result<Vec<Strength>> {
    let strengths = super::strengths(&args.map.aggregate, &args.strength)?;
    match strengths.iter().enumerate().find(|(place, strength)| strengths[..*place].contains(strength)) {
        Some((_, strength)) => bail!("strength: {} is there twice", strength.get()),
        None => Ok(strengths),
    }
}

/// Which rivals are to be found, if any.
fn rivals(args: &RivalArgs) -> Result<Option<Rivals>> {
    let Some(concepts) = &args.concepts else { return Ok(None) };
    Ok(Some(super::rivals(args, ConceptList::open(concepts)?, SYNONYM_THRESHOLD)))
}

/// A photo, the name of its files and the seconds that opening it took.
struct Opened {
    name: String,
    path: PathBuf,
    photo: Photo,
    seconds: f64,
}

/// What one photo gave.
struct Answers {
    found: Vec<Localization>,
    /// What the user should know.
    warnings: Vec<Warning>,
    picture: Option<RgbImage>,
    /// The photo and the places on it, for each answer, if they are wanted.
    instances: Option<(PathBuf, Size, Vec<Vec<Instance>>)>,
}

struct Run<'a> {
    args: &'a LocalizeArgs,
    outputs: &'a Outputs,
    explainer: &'a Explainer,
    query: Query,
    strengths: Vec<Strength>,
    drawing: Drawing,
    load_seconds: f64,
    text_seconds: f64,
    terminal: &'a Terminal,
}

impl Run<'_> {
    fn all(&self, coco: &mut Coco) -> Result<Exit> {
        let images::Photos { files: images, skipped } = images::expand(&self.args.images, self.terminal);
        let bar = self.terminal.photos(images.len());
        let preview = super::preview(self.args.show.preview, images.len(), &self.args.output);
        let mut names = Names::new();
        let mut named =
            |image: PathBuf| (names.for_prompt(images::naming(&image), &self.query.target), image);
        let images: Vec<_> = images.into_iter().map(|image| image.map(&mut named)).collect();
        let (at_once, together) = super::at_once(self.explainer, &self.query.settings)?;
        let memory =
            |image: &Result<(String, PathBuf)>| image.as_ref().map_or(0, |(_, image)| images::memory(image));
        let groups = groups(images.into_iter(), together, memory);
        let (mut done, mut failed) = (0, 0);
        let shows = preview.is_some();
        let work = |group: Vec<_>| {
            let paths: Vec<_> = group.iter().map(path_of_image).collect();
            paths.into_iter().zip(self.some(group, shows)).collect::<Vec<_>>()
        };
        let ended = in_order(groups, at_once, work, |group| {
            for (path, answers) in group {
                match answers {
                    Ok(answers) => {
                        self.tell(answers, preview, coco, skipped)?;
                        done += 1;
                    }
                    Err(error) if super::would_come_again(&error) => return Err(error),
                    Err(error) => {
                        self.terminal.error(&images::named(error, &path));
                        failed += 1;
                    }
                }
                bar.inc(1);
            }
            self.go_on()
        });
        bar.finish_and_clear();
        if let Err(error) = ended {
            return super::ended_early(error, done, self.terminal);
        }
        Ok(Exit::of(done, failed))
    }

    /// Ends a run that writes no files once nobody reads what it prints.
    fn go_on(&self) -> Result<()> {
        let show = &self.args.show;
        let writes = self.args.save != [Kind::None] || show.coco.is_some() || show.report.is_some();
        if writes { Ok(()) } else { output::check_printed() }
    }

    /// The answers on photos that pass the vision tower together, with their files written.
    fn some(&self, group: Vec<Result<(String, PathBuf)>>, shows: bool) -> Vec<Result<Answers>> {
        let open = |image: Result<(String, PathBuf)>| {
            let (name, path) = image?;
            let (photo, seconds) = images::open(&path, self.args.output.pixel_limit, self.terminal)?;
            Ok(Opening::Open(Opened { name, path, photo, seconds }))
        };
        let answer = |opened: &[Opened]| {
            let photos = opened.iter().map(|opened| &opened.photo);
            let looks = self.explainer.look(photos, &self.query.settings);
            let sweep = |mut looks: Looks| Ok(looks.sweep(&self.query, &self.strengths)?);
            super::if_unchanged(self.explainer, looks.into_iter().map(sweep).collect())
        };
        in_steps(group, open, answer, |opened, answers| self.finish(opened, answers, shows))
    }

    /// A photo's answers, one for every strength, with their files written; and the picture of them, if it is to be
    /// shown.
    fn finish(&self, opened: &Opened, mut answers: Vec<Found>, shows: bool) -> Result<Answers> {
        let Opened { name, path, photo, seconds: open_seconds } = opened;
        let picture = match &answers[..] {
            [found] if shows => Some(self.preview(photo, found)),
            _ if shows => strip_at(photo, &answers, self.drawing.of_all()),
            _ => None,
        };
        let start = Instant::now();
        self.save(photo, name, &mut answers)?;
        self.save_page(photo, &mut answers)?;
        let instances = self.args.show.coco.is_some().then(|| {
            (path.clone(), photo.size(), answers.iter().map(|found| found.instances(photo)).collect())
        });
        let render_seconds = start.elapsed().as_secs_f64();
        let warnings = answers.iter().flat_map(|found| found.warnings.clone()).collect();
        let finished = |found: Found| {
            let mut report = found.report;
            report.seconds.render = render_seconds;
            report.seconds.decode += open_seconds;
            report.seconds.load = self.load_seconds;
            report.seconds.text += self.text_seconds;
            report
        };
        Ok(Answers { found: answers.into_iter().map(finished).collect(), warnings, picture, instances })
    }

    /// Tells what a photo gave.
    fn tell(
        &self,
        answers: Answers,
        preview: Option<Protocol>,
        coco: &mut Coco,
        skipped: Skipped,
    ) -> Result<()> {
        self.terminal.warn(&answers.warnings);
        if let Some((image, size, instances)) = &answers.instances {
            let id = coco.add_image(image, *size);
            for found in instances {
                coco.add_instances(id, &self.query.target, found);
            }
        }
        if self.outputs.prints {
            self.terminal.without_bars(|| self.print(&answers.found, skipped))?;
        }
        if let Some((picture, protocol)) = answers.picture.zip(preview) {
            self.terminal.without_bars(|| output::picture(&picture, protocol))?;
        }
        Ok(())
    }

    /// The page of the first strength, if it is wanted. It shows every prompt alone, too: that is a pass of its own.
    fn save_page(&self, photo: &Photo, answers: &mut [Found]) -> Result<()> {
        let (Some(file), Some(found)) = (&self.outputs.report, answers.first_mut()) else { return Ok(()) };
        let rivals = found.report.against.iter().map(|rival| &rival.score.prompt);
        let prompts: Vec<String> =
            std::iter::once(&found.report.target.prompt).chain(rivals).cloned().collect();
        let compared = self.explainer.compare(photo, &prompts, &self.query.settings)?;
        let page = compared.page(photo, &super::page_options(&self.query.settings, None))?;
        file.write(|out| out.write_all(page.as_bytes()))?;
        found.report.files.insert("report".into(), file.path().into());
        Ok(())
    }

    /// Writes the files of all strengths; where there are several, a file of one of them has it in its name.
    fn save(&self, photo: &Photo, name: &str, answers: &mut [Found]) -> Result<()> {
        let folder = &self.args.output.output;
        let several = answers.len() > 1;
        let kinds = match (&self.args.save[..], several) {
            ([], true) => &[Kind::Strip][..],
            ([], false) => &[Kind::Overlay],
            (kinds, _) => kinds,
        };
        let strip = match kinds.contains(&Kind::Strip) {
            true => strip_at(photo, answers, self.drawing.of_all()),
            false => None,
        };
        for found in &mut *answers {
            let name = match several {
                true => format!("{name}.strength-{}", found.report.setup.strength),
                false => name.to_owned(),
            };
            let (map, &Setup { threshold, strength, unit, .. }) = (&found.map, &found.report.setup);
            let look = self.drawing.look([Scale::Own; 2], unit);
            let shown = found.on_pixels(photo);
            let asked = (self.query.target.as_str(), strength);
            let files = Files { folder, name: &name, asked, photo, map, shown: &shown, threshold, look };
            let (files, drawn) = (files.save(kinds)?, look.drawn(self.drawing.scale, &shown, kinds));
            drop(shown);
            found.report.files = files;
            found.report.scale = drawn;
        }
        if let Some(strip) = strip {
            let path = path_of(folder, name, "strip", "png");
            save_png(&path, &strip.into())?;
            answers.iter_mut().for_each(|found| {
                found.report.files.insert("strip".into(), path.clone());
            });
        }
        Ok(())
    }

    /// The overlay as it is saved, but without a colour bar: a terminal has too few pixels for letters.
    fn preview(&self, photo: &Photo, found: &Found) -> RgbImage {
        let options = RenderOptions { scale: self.drawing.of_all(), ..Default::default() };
        overlay(photo.rgb(), &found.on_pixels(photo), &options)
    }

    fn print(&self, answers: &[Localization], skipped: Skipped) -> Result<()> {
        /// A line of `--json`.
        #[derive(Serialize)]
        struct Line<'a> {
            #[serde(flatten)]
            found: &'a Localization,
            /// What the folders of the run hold beside photos.
            #[serde(skip_serializing_if = "Skipped::is_empty")]
            skipped: Skipped,
        }
        match (self.args.output.json, answers) {
            (true, _) => answers.iter().try_for_each(|found| output::json(&Line { found, skipped })),
            (false, [found]) => output::localization(found),
            (false, _) => output::strengths(answers),
        }
    }
}

/// The photo's file, for messages; none of a folder that has none.
fn path_of_image(image: &Result<(String, PathBuf)>) -> Option<PathBuf> {
    image.as_ref().ok().map(|(_, path)| path.clone())
}

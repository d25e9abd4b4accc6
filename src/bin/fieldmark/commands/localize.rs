//! `fieldmark localize`: a map per image.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Result, bail};
use fieldmark::{
    Explainer, Photo, PhotoOptions, Query,
    coco::Coco,
    explain::{Found, PhotoSession, Rivals, strip_at},
    files::{Names, path_of, save_png},
    folder::Skipped,
    geometry::Size,
    objective::{Strength, references::SYNONYM_THRESHOLD},
    progress::Warning,
    prompt::ConceptList,
    regions::Instance,
    render::{RenderOptions, Scale, ScaleRule, overlay},
    report::{Localization, Origin, Setup},
    run::{
        Drawing, EachAlone, Ended, FileKind, Later, MapFiles, Open, Opening, Outcome, Photos, Runner,
        Waiting, Work, memory,
    },
};
use image::RgbImage;
use serde::Serialize;

use super::{Outputs, earlier};
use crate::{
    args::{Kind, LocalizeArgs, ModelArgs, OutputArgs, RivalArgs, is_of_one_prompt},
    exit::Exit,
    images,
    later::Lines,
    output,
    preview::Protocol,
    signals,
    terminal::Terminal,
};

pub fn run(args: &LocalizeArgs, terminal: &Terminal) -> Result<Exit> {
    let question = match &args.asked.from {
        Some(result) => Question::again(args, result)?,
        None => Question::typed(args, terminal)?,
    };
    let images = &question.images;
    images::check_standard_input(images)?;
    if question.scale == ScaleRule::Run && images.iter().any(|image| images::is_standard_input(image)) {
        bail!("--scale run: expected files and directories, found standard input: each photo is read twice");
    }
    let writes = question.save.is_empty() || question.save.iter().any(|kind| *kind != Kind::None);
    let outputs = super::prepare_output(&args.output, &args.show, writes)?;
    if args.show.report.is_some() && (images.len() > 1 || images.iter().any(|path| path.is_dir())) {
        bail!("--report: expected one photo, found several; `fieldmark batch` makes a page for each");
    }
    let (explainer, load_seconds) = super::load(&question.model, terminal)?;
    if let Some(earlier) = &question.earlier {
        note_differences(earlier, explainer.origin(), terminal);
    }
    let start = Instant::now();
    explainer.check(&question.query)?;
    let text_seconds = start.elapsed().as_secs_f64();
    let drawing = Drawing::new(question.scale, args.pictures.bar);
    let threshold = question.query.settings.threshold;
    let (explainer, outputs) = (&explainer, &outputs);
    let run = Run { args, outputs, explainer, question, drawing, load_seconds, text_seconds, terminal };
    let mut coco = Coco::new(super::coco_description(explainer, threshold));
    let exit = run.all(&mut coco)?;
    if let Some(file) = &outputs.coco {
        file.write(|out| coco.write(out))?;
    }
    Ok(exit)
}

/// What is asked of which photos, as typed or as in an earlier result.
struct Question {
    query: Query,
    strengths: Vec<Strength>,
    images: Vec<PathBuf>,
    model: ModelArgs,
    save: Vec<Kind>,
    scale: ScaleRule,
    /// What the earlier result came from.
    earlier: Option<Origin>,
}

impl Question {
    fn typed(args: &LocalizeArgs, terminal: &Terminal) -> Result<Self> {
        let prompt = &args.asked.prompt;
        if prompt.contains('.') && Path::new(prompt).is_file() {
            terminal.note(&format!("{prompt} is taken as the prompt, which comes before the images"));
        }
        let strengths = strengths(args)?;
        let settings = super::settings(&args.map, args.method.as_deref(), strengths[0])?;
        let rivals = rivals(&args.rivals)?;
        Ok(Self {
            query: rivals
                .into_iter()
                .fold(Query::new(prompt).against(args.against.iter()).with(settings), Query::with_rivals),
            strengths,
            images: args.asked.images.clone(),
            model: args.model.clone(),
            save: args.save.clone(),
            scale: args.pictures.scale,
            earlier: None,
        })
    }

    /// The question of an earlier result; the photos may be others.
    fn again(args: &LocalizeArgs, result: &Path) -> Result<Self> {
        let record = earlier::read(result)?;
        let query = earlier::query(&record)?;
        let kinds = record.files.keys().filter_map(|name| name.parse().ok());
        let save: Vec<Kind> = kinds.filter(|kind| is_of_one_prompt(*kind)).map(Kind::File).collect();
        let typed = Some(args.pictures.scale).filter(|scale| *scale != ScaleRule::default());
        let drawn = record.scale.map(|drawn| drawn.rule);
        let images = &args.asked.images;
        Ok(Self {
            strengths: vec![query.settings.strength],
            query,
            images: if images.is_empty() { vec![record.image.clone()] } else { images.clone() },
            model: ModelArgs {
                model: earlier::model(&record),
                precision: record.setup.precision,
                ..args.model.clone()
            },
            save: if save.is_empty() { vec![Kind::None] } else { save },
            scale: typed.or(drawn).unwrap_or_default(),
            earlier: Some(record.origin),
        })
    }
}

/// Another program or checkpoint may answer otherwise.
fn note_differences(earlier: &Origin, now: &Origin, terminal: &Terminal) {
    if !earlier.version.is_empty() && earlier.version != now.version {
        terminal
            .note(&format!("the result was made by fieldmark {}, this is {}", earlier.version, now.version));
    }
    let differs = |one: &Option<String>, other: &Option<String>| {
        one.as_ref().zip(other.as_ref()).is_some_and(|(one, other)| one != other)
    };
    if differs(&earlier.model_sha256, &now.model_sha256) {
        terminal.note("the checkpoint is not the one of the result");
    }
}

/// The strengths that were typed; each makes files of its own, so none may be there twice.
fn strengths(args: &LocalizeArgs) -> Result<Vec<Strength>> {
    let strengths = super::strengths(&args.map.aggregate, &args.strength)?;
    match strengths.iter().enumerate().find(|(place, strength)| strengths[..*place].contains(strength)) {
        Some((_, strength)) => bail!("strength: {} is given twice", strength.get()),
        None => Ok(strengths),
    }
}

/// Which rivals are to be found, if any.
fn rivals(args: &RivalArgs) -> Result<Option<Rivals>> {
    let Some(concepts) = &args.concepts else { return Ok(None) };
    Ok(Some(super::rivals(args, ConceptList::open(concepts)?, SYNONYM_THRESHOLD)))
}

/// A photo's file, and the name of its results.
struct Named {
    name: String,
    path: PathBuf,
}

/// A photo, and the seconds that opening it took.
struct Opened {
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
    /// The pictures that are drawn when all photos are done, if there are any.
    waiting: Option<Waiting>,
    /// The page, if it is wanted.
    page: Option<String>,
}

/// A line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    found: &'a Localization,
    /// What the folders of the run hold beside photos.
    #[serde(skip_serializing_if = "Skipped::is_empty")]
    skipped: Skipped,
}

/// What is kept of the photos until the scale of the run is known, and what is the same in all lines.
struct Unfinished {
    skipped: Skipped,
    /// The photos, and how many lines of JSON each has.
    photos: Vec<(Waiting, usize)>,
    /// None if no picture waits.
    lines: Option<Lines>,
}

struct Run<'a> {
    args: &'a LocalizeArgs,
    outputs: &'a Outputs,
    explainer: &'a Explainer,
    question: Question,
    drawing: Drawing,
    load_seconds: f64,
    text_seconds: f64,
    terminal: &'a Terminal,
}

impl Run<'_> {
    fn all(&self, coco: &mut Coco) -> Result<Exit> {
        let Photos { files: images, skipped } = images::expand(&self.question.images, self.terminal);
        let preview = super::preview(self.args.show.preview, images.len(), &self.args.output);
        let lines = self.drawing.waits.then(Lines::new).transpose()?;
        let mut unfinished = Unfinished { skipped, photos: Vec::new(), lines };
        let (mut done, mut failed) = (0, 0);
        let runner = super::runner(self.explainer, &self.question.query.settings, self.terminal)?
            .expecting(images.len());
        let mut names = Names::new();
        let mut named = |path: PathBuf| Named {
            name: names.for_prompt(images::naming(&path), &self.question.query.target),
            path,
        };
        let asking = Asking { run: self, shows: preview.is_some() };
        let ended = runner.run(images.into_iter().map(|image| image.map(&mut named)), &asking, |outcome| {
            match outcome.result {
                Ok(answers) => {
                    self.show((answers, outcome.seconds), preview, coco, &mut unfinished)?;
                    done += 1;
                }
                Err(error) => {
                    let path = outcome.input.as_ref().map(|photo| &*photo.path);
                    self.terminal.error(&images::named(error, path));
                    failed += 1;
                }
            }
            self.go_on()
        });
        if let Err(error) = ended {
            return super::ended_early(error, done, self.terminal);
        }
        match self.draw_later(unfinished) {
            Ok(lost) => Ok(Exit::of(done - lost, failed + lost)),
            Err(error) => super::ended_early(error, done, self.terminal),
        }
    }

    /// Draws the pictures on the scale of the run, and prints what waits for it; returns how many photos failed.
    fn draw_later(&self, unfinished: Unfinished) -> Result<usize> {
        let Unfinished { photos, lines: Some(lines), .. } = unfinished else { return Ok(0) };
        let kinds = self.kinds().into_iter().filter(|kind| kind.has_scale()).collect();
        let OutputArgs { output: folder, pixel_limit, .. } = &self.args.output;
        let photo = PhotoOptions::default().pixel_limit(*pixel_limit);
        let later = Later { folder, kinds, bar: self.drawing.bar, photo };
        let scale = later.scale(photos.iter().map(|(photo, _)| photo));
        let (mut lines, mut lost) = (lines.read(scale)?, 0);
        let runner = Runner::new()
            .expecting(photos.len())
            .with_progress(self.terminal)
            .cancelled_by(&signals::cancel());
        let needed = |(photo, _): &(Waiting, usize)| memory(&photo.image);
        let drawing = EachAlone::new(needed, |(photo, _): &(Waiting, usize)| later.draw(photo, scale));
        runner.run(photos.into_iter().map(Ok), &drawing, |Outcome { input, result, .. }| {
            let mut lines = lines.by_ref().take(input.map_or(0, |(_, count)| count));
            match result {
                Ok(()) => lines.try_for_each(|line| self.terminal.without_bars(|| output::text(&line?)))?,
                Err(error) => {
                    lines.try_for_each(|line| line.map(drop))?;
                    self.terminal.error(&error.into());
                    lost += 1;
                }
            }
            Ok::<_, anyhow::Error>(())
        })?;
        Ok(lost)
    }

    /// Which files are written for each photo.
    fn kinds(&self) -> Vec<FileKind> {
        match (&self.question.save[..], self.question.strengths.len() > 1) {
            ([], true) => vec![FileKind::Strip],
            ([], false) => vec![FileKind::Overlay],
            (kinds, _) => kinds.iter().filter_map(|kind| kind.of_file()).collect(),
        }
    }

    /// What stands before the kind in the names of one strength's files: the strength, where there are several.
    fn name(&self, name: &str, found: &Found) -> String {
        if self.question.strengths.len() > 1 {
            format!("{name}.strength-{}", found.report.setup.strength)
        } else {
            name.to_owned()
        }
    }

    /// The photo with its pictures that are drawn later.
    fn waiting(&self, photo: &Photo, name: &str, answers: &[Found]) -> fieldmark::Result<Option<Waiting>> {
        let waits = self.drawing.waits && self.kinds().iter().any(|kind| kind.has_scale());
        let Some(first) = answers.first().filter(|_| waits) else { return Ok(None) };
        let names = answers.iter().map(|found| self.name(name, found)).collect();
        Waiting::new(photo, &first.report.setup, names).map(Some)
    }

    /// Ends a run that writes no files once nobody reads what it prints.
    fn go_on(&self) -> Result<()> {
        let show = &self.args.show;
        let writes = self.question.save != [Kind::None] || show.coco.is_some() || show.report.is_some();
        if writes { Ok(()) } else { output::check_printed() }
    }

    /// A photo's answers, one for every strength, with their files written; and the picture of them, if it is to be
    /// shown.
    fn finish(
        &self,
        Named { name, path }: &Named,
        Opened { photo, seconds }: &Opened,
        mut answers: Vec<Found>,
        shows: bool,
    ) -> fieldmark::Result<Answers> {
        let picture = match &answers[..] {
            [found] if shows => Some(self.preview(photo, found)),
            _ if shows => strip_at(photo, &answers, self.drawing.of_all()),
            _ => None,
        };
        let start = Instant::now();
        let waiting = self.waiting(photo, name, &answers)?;
        self.save(photo, name, &mut answers)?;
        let page = self.page(photo, &mut answers)?;
        let instances = self.args.show.coco.is_some().then(|| {
            (path.clone(), photo.size(), answers.iter().map(|found| found.instances(photo)).collect())
        });
        let render_seconds = start.elapsed().as_secs_f64();
        let warnings = answers.iter().flat_map(|found| found.warnings.clone()).collect();
        let finished = |found: Found| {
            let mut report = found.report;
            report.seconds.render = render_seconds;
            report.seconds.decode += seconds;
            report
        };
        let found = answers.into_iter().map(finished).collect();
        Ok(Answers { found, warnings, picture, instances, waiting, page })
    }

    /// Shows what a photo gave, which had so many seconds of the run.
    fn show(
        &self,
        (mut answers, seconds): (Answers, f64),
        preview: Option<Protocol>,
        coco: &mut Coco,
        unfinished: &mut Unfinished,
    ) -> Result<()> {
        self.terminal.warn(&answers.warnings);
        for Localization { seconds: stages, .. } in &mut answers.found {
            *stages = stages.adding_up_to(seconds);
            stages.load = self.load_seconds;
            stages.text += self.text_seconds;
        }
        if let Some((file, page)) = self.outputs.report.as_ref().zip(answers.page) {
            file.write(|out| out.write_all(page.as_bytes()))?;
        }
        if let Some((image, size, instances)) = &answers.instances {
            let id = coco.add_image(image, *size);
            for found in instances {
                coco.add_instances(id, &self.question.query.target, found);
            }
        }
        let (is_json, skipped) = (self.args.output.json, unfinished.skipped);
        let mut count = 0;
        match &mut unfinished.lines {
            Some(lines) if is_json && answers.waiting.is_some() => {
                answers.found.iter().try_for_each(|found| lines.push(&Line { found, skipped }))?;
                count = answers.found.len();
            }
            _ if !self.outputs.prints => {}
            _ => self.terminal.without_bars(|| self.print(&answers.found, skipped))?,
        }
        unfinished.photos.extend(answers.waiting.map(|photo| (photo, count)));
        if let Some((picture, protocol)) = answers.picture.zip(preview) {
            self.terminal.without_bars(|| output::picture(&picture, protocol))?;
        }
        Ok(())
    }

    /// The page of the first strength, if it is wanted. It also shows every prompt alone: that is a pass of its own.
    fn page(&self, photo: &Photo, answers: &mut [Found]) -> fieldmark::Result<Option<String>> {
        let (Some(file), Some(found)) = (&self.outputs.report, answers.first_mut()) else { return Ok(None) };
        let rivals = found.report.against.iter().map(|rival| &rival.score.prompt);
        let prompts: Vec<String> =
            std::iter::once(&found.report.target.prompt).chain(rivals).cloned().collect();
        let compared = self.explainer.compare(photo, &prompts, &self.question.query.settings)?;
        found.report.files.insert("report".into(), file.path().into());
        compared.page(photo, &super::page_options(&self.question.query.settings, None)).map(Some)
    }

    /// Writes the files of all strengths; where there are several, a file of one of them has it in its name.
    fn save(&self, photo: &Photo, name: &str, answers: &mut [Found]) -> fieldmark::Result<()> {
        let (folder, kinds) = (&self.args.output.output, &self.kinds()[..]);
        let strip = if kinds.contains(&FileKind::Strip) {
            strip_at(photo, answers, self.drawing.of_all())
        } else {
            None
        };
        for found in &mut *answers {
            let name = self.name(name, found);
            let (map, &Setup { threshold, strength, unit, .. }) = (&found.map, &found.report.setup);
            let style = self.drawing.style([Scale::Own; 2], unit);
            let shown = found.on_pixels(photo);
            let asked = (self.question.query.target.as_str(), strength);
            let files = MapFiles { folder, name: &name, asked, photo, map, shown: &shown, threshold, style };
            let (files, drawn) = (files.save(kinds)?, style.drawn(&shown, kinds));
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
        let options = RenderOptions::default().scale(self.drawing.of_all());
        overlay(photo.rgb(), &found.on_pixels(photo), &options)
    }

    fn print(&self, answers: &[Localization], skipped: Skipped) -> Result<()> {
        match (self.args.output.json, answers) {
            (true, _) => answers.iter().try_for_each(|found| output::json(&Line { found, skipped })),
            (false, [found]) => output::localization(found),
            (false, _) => output::strengths(answers),
        }
    }
}

/// What the run does with each photo.
struct Asking<'r> {
    run: &'r Run<'r>,
    /// Whether pictures are shown in the terminal.
    shows: bool,
}

impl Work for Asking<'_> {
    type Input = Named;
    type Opened = Opened;
    type Answer = Vec<Found>;
    type Output = Answers;

    fn memory(&self, photo: &Named) -> u64 {
        images::memory(&photo.path)
    }

    fn open(&self, photo: &Named) -> fieldmark::Result<Opening<Opened, Answers>> {
        let Run { args, terminal, .. } = self.run;
        let (photo, seconds) = images::open(&photo.path, args.output.pixel_limit, terminal)?;
        Ok(Opening::Photo(Opened { photo, seconds }))
    }

    fn answer(
        &self,
        opened: &[Open<'_, Named, Opened>],
        ended: &Ended,
    ) -> Vec<fieldmark::Result<Vec<Found>>> {
        let Run { explainer, question: Question { query, strengths, .. }, .. } = self.run;
        let photos = opened.iter().map(|open| &open.photo.photo);
        let sessions = explainer.sessions(photos, &query.settings);
        let sweep = |mut session: PhotoSession| {
            ended.check()?;
            session.sweep(query, strengths)
        };
        let answers = sessions.into_iter().map(sweep);
        super::if_unchanged(explainer, answers)
    }

    fn finish(&self, open: &Open<'_, Named, Opened>, answers: Vec<Found>) -> fieldmark::Result<Answers> {
        self.run.finish(open.input, &open.photo, answers, self.shows)
    }
}

//! `fieldmark batch`: a list of prompts on many photos, with a page of all results. It can be interrupted at any
//! moment and resumed, and made again from its manifest.

use anyhow::{Result, bail};
use fieldmark::{
    Error,
    run::{Batch, BatchEvent, FileKind, Manifest, Recipe, RunFolder, RunScale, Start},
};

use crate::{
    args::{BatchArgs, Kind, ModelArgs},
    exit::Exit,
    images,
    later::{LaterLines, Lines},
    output,
    terminal::Terminal,
};

pub fn run(args: &BatchArgs, terminal: &Terminal) -> Result<Exit> {
    if args.asked.images.iter().any(|image| images::is_standard_input(image)) {
        bail!(
            "-: expected files and directories, found standard input: a batch can be resumed and made again"
        );
    }
    let earlier = args.from.as_deref().map(Manifest::read).transpose()?;
    let recipe = match &earlier {
        Some(manifest) => manifest.recipe.clone(),
        None => typed(args)?,
    };
    recipe.kinds()?;
    let mut folder = RunFolder::claim(&args.output.output)?;
    let (model, precision) = (recipe.model_name(), recipe.precision);
    let model = ModelArgs { model, precision, ..args.model.clone() };
    let (explainer, load_seconds) = super::load(&model, terminal)?;
    let (prompts, runner) = (recipe.prompts.clone(), super::runner(&explainer, &recipe.settings, terminal)?);
    let batch = Batch::new(&explainer, recipe)?
        .with_model_hash(super::model_hash(&model, terminal)?)
        .with_load_seconds(load_seconds)
        .repeating(earlier);
    let start = if args.resume { Start::Resumed } else { Start::Anew };
    let mut printing = Printing::new(args, batch.waits(), terminal)?;
    let done = match batch.run(&mut folder, start, &runner, |event| printing.hear(event)) {
        Ok(done) => done,
        Err(error) => return super::ended_early(error, printing.done, terminal),
    };
    if !args.output.json {
        output::batch(&prompts, &done.entries, &done.page)?;
    }
    Ok(Exit::of(done.entries.len(), done.failed))
}

/// What was typed.
fn typed(args: &BatchArgs) -> Result<Recipe> {
    let strength = super::strength(&args.map.aggregate, args.strength, 0.0)?;
    let strength_in_reports = super::page_strength(&args.map.aggregate, args.strength)?;
    let settings = super::settings(&args.map, args.method.as_deref(), strength)?;
    let names = args.save.iter().map(|kind| kind.of_file().map_or(Kind::NONE, FileKind::name).to_owned());
    Ok(Recipe::new(&args.model.model, args.asked.all_prompts()?, &args.asked.images, settings)
        .save(names.collect())
        .scale(args.pictures.scale)
        .bar(args.pictures.bar)
        .strength_in_reports(strength_in_reports)
        .pixel_limit(args.output.pixel_limit)
        .precision(args.model.precision))
}

/// What is printed of a batch as it goes on.
struct Printing<'t> {
    is_json: bool,
    /// The records that wait for the scale of the run, if they do and are printed.
    lines: Option<LaterLines>,
    /// How many photos are done.
    done: usize,
    terminal: &'t Terminal,
}

impl<'t> Printing<'t> {
    fn new(args: &BatchArgs, waits: bool, terminal: &'t Terminal) -> Result<Self> {
        let is_json = args.output.json;
        let lines = (waits && is_json).then(Lines::new).transpose()?.map(LaterLines::from);
        Ok(Self { is_json, lines, done: 0, terminal })
    }

    fn hear(&mut self, event: BatchEvent) -> Result<()> {
        let terminal = self.terminal;
        match event {
            BatchEvent::Note(note) => terminal.note(note),
            BatchEvent::Replaced => terminal
                .note("the results in the output directory are replaced; --resume would go on with them"),
            BatchEvent::Skipped(skipped) => images::note_skipped(skipped, terminal),
            BatchEvent::Warnings(warnings) => terminal.warn(warnings),
            BatchEvent::Known => self.done += 1,
            BatchEvent::Answered(record) => {
                match &mut self.lines {
                    Some(lines) => lines.push(record)?,
                    None if self.is_json => terminal.without_bars(|| output::json(record))?,
                    None => {}
                }
                self.done += 1;
            }
            BatchEvent::Failed { photo, error } => terminal.error(&images::named(error, photo)),
            BatchEvent::Drawn { is_new, scale, error } => self.drawn(is_new, scale, error)?,
            _ => {}
        }
        Ok(())
    }

    /// Prints the record of a photo whose pictures waited, or what is wrong with them.
    fn drawn(&mut self, is_new: bool, scale: RunScale, error: Option<Error>) -> Result<()> {
        let lines = self.lines.as_mut().filter(|_| is_new);
        let line = lines.map(|lines| lines.next(scale)).transpose()?.flatten();
        match (error, line) {
            (Some(error), _) => self.terminal.error(&error.into()),
            (None, Some(line)) => self.terminal.without_bars(|| output::text(&line))?,
            (None, None) => {}
        }
        Ok(())
    }
}

//! EVALUATE: how well do maps find what is known to be there? A data set's pictures become answers, answers rows of a
//! file, and these a summary.
//!
//! Every question is asked under every setting: for the plain map (strength 0) and for the contrasted ones, so that the
//! difference can be taken pair by pair. Where a question has no rivals all are the same map. Maps are measured at the
//! photo's size, against a mask of the photo's pixels. The caller walks the data set, so that it can stop and go on.

mod answer;
mod columns;
mod grid;
mod marks;
mod markdown;
mod plan;
pub mod plots;
mod row;
mod rows_file;
mod summary;
mod tally;

pub use answer::{Answer, Curve, Outcome};
pub use grid::pairs;
pub use marks::{METRICS, Metric, Tolerance};
pub use plan::{Plan, Record, RivalsPlan};
pub use row::{Row, Setting, Sides};
pub use rows_file::{METADATA, RowsFile, RowsWriter};
pub use summary::{Compared, ComparedCurve, Counts, Estimate, Failure, Resampling, SettingSummary, Summary};

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::{
    Explainer, Photo, PhotoOptions, Query, Settings,
    dataset::{Picture, Question},
    error::{Error, Result},
    objective::Strength,
    pipeline::{Found, Rivals},
    progress::Warning,
    verdict::NEUTRAL,
};
use grid::Grid;
use marks::marks;

/// What to evaluate: every method with every layer; of each of them the plain map, and one of every objective with every
/// strength.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// All other settings; its method, layer, strength and objective play no part where they are listed here.
    pub settings: Settings,
    /// The methods' names. Empty: what the checkpoint recommends, else the first.
    pub methods: Vec<String>,
    /// The layers; negative counts from the end. Empty: each method's own choice.
    pub layers: Vec<i64>,
    /// The strengths of the contrasted maps. An objective that knows only some takes the nearest that it knows.
    pub strengths: Vec<Strength>,
    /// The objectives' names. Empty: that of the settings.
    pub aggregates: Vec<String>,
    /// How rivals are found, in place of those that the data set names.
    pub rivals: Option<Rivals>,
    /// What is measured.
    pub metrics: Vec<Metric>,
    /// How far beside the truth a point may lie.
    pub tolerance: Tolerance,
    /// What photos may be.
    pub photo: PhotoOptions,
}

impl Default for Options {
    fn default() -> Self {
        let settings = Settings::default();
        Self {
            methods: Vec::new(),
            layers: Vec::new(),
            strengths: vec![settings.strength],
            aggregates: Vec::new(),
            rivals: None,
            metrics: METRICS.to_vec(),
            tolerance: Tolerance::default(),
            photo: PhotoOptions::default(),
            settings,
        }
    }
}

/// Asks a checkpoint a data set's questions and measures the answers.
pub struct Evaluator<'a> {
    explainer: &'a Explainer,
    options: Options,
    grid: Grid,
}

/// What one picture gave.
#[derive(Clone, Debug)]
pub struct Measured {
    /// One for every question.
    pub answers: Vec<Answer>,
    /// What the user should know.
    pub warnings: Vec<Warning>,
}

impl<'a> Evaluator<'a> {
    /// Checks the options. What is listed twice is evaluated once.
    ///
    /// # Errors
    /// If there is no strength or metric, or a setting is not one of the checkpoint's.
    pub fn new(explainer: &'a Explainer, options: Options) -> Result<Self> {
        options.tolerance.check()?;
        if options.metrics.is_empty() {
            return Err(Error::Option {
                option: "metrics",
                reason: "expected at least one, found none".into(),
            });
        }
        let grid = Grid::new(explainer, &options)?;
        for (settings, _) in &grid.asked {
            explainer.check(&Query::new(NEUTRAL).with(settings.clone()))?;
        }
        Ok(Self { explainer, options, grid })
    }

    /// What is evaluated, as results record it.
    pub fn record(&self) -> Record {
        let plan = Plan::new(self.explainer.name(), &self.options);
        Record { plan, settings: self.grid.settings.clone() }
    }

    /// Asks a picture's questions under every setting. The picture passes the vision tower once, whatever is asked; of
    /// metrics that look at changed pictures each of these passes as well.
    ///
    /// # Errors
    /// If the picture or a mask cannot be read, the truth does not fit the picture, or a query fails.
    pub fn measure(&self, picture: &Picture) -> Result<Measured> {
        let photo = Photo::open_with(&picture.path, &self.options.photo)?;
        let masks: Result<Vec<_>> = picture
            .questions
            .iter()
            .map(|question| question.truth.mask(&picture.path, photo.size()))
            .collect();
        let queries: Vec<Query> = picture.questions.iter().map(|question| self.query(question)).collect();
        let masks = masks?;
        let found = self.explainer.localize_grid(&photo, &queries, &self.grid.asked)?;
        let mut measured = Measured { answers: Vec::new(), warnings: photo.warnings().to_vec() };
        for ((question, mask), found) in picture.questions.iter().zip(&masks).zip(&found) {
            let Some(first) = found.first() else { continue };
            measured.warnings.extend(found.iter().flat_map(|found| found.warnings.iter().cloned()));
            let asked = Asked { photo: &photo, question, mask: mask.as_deref(), options: &self.options };
            let outcomes = found.par_iter().map(|found| asked.outcome(found)).collect();
            measured.answers.push(Answer::new(picture, question, first, outcomes));
        }
        Ok(measured)
    }

    fn query(&self, question: &Question) -> Query {
        let query = Query::new(&question.prompt).with(self.options.settings.clone());
        match &self.options.rivals {
            Some(rivals) => query.finding(rivals.clone()),
            None => query.against(question.against.iter()),
        }
    }
}

/// One question of one picture, ready to be measured.
struct Asked<'a> {
    photo: &'a Photo,
    question: &'a Question,
    mask: Option<&'a [bool]>,
    options: &'a Options,
}

impl Asked<'_> {
    fn outcome(&self, found: &Found) -> Outcome {
        let marks = self.mask.map_or(Vec::new(), |mask| {
            marks(&found.on_pixels(self.photo), &self.question.truth, mask, self.options.tolerance)
        });
        let wanted = marks.into_iter().filter(|(metric, _)| self.options.metrics.contains(metric));
        Outcome {
            verdict: found.report.evidence.verdict,
            metrics: wanted.filter_map(|(metric, mark)| Some((metric.name().to_owned(), mark?))).collect(),
            curves: BTreeMap::new(),
        }
    }
}

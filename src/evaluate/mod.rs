//! EVALUATE: how well do maps find what is known to be there? A data set's pictures become rows, rows a summary.
//!
//! Every question is asked twice under every setting: for the plain map (strength 0) and for the contrasted one, so
//! that the difference can be taken pair by pair. Where a question has no rivals both are the same map. Maps are
//! measured at the photo's size, against a mask of the photo's pixels.

pub mod faithfulness;
mod marks;
mod metrics;
mod row;
pub mod sanity;
mod summary;

pub use faithfulness::Faithfulness;
pub use marks::Tolerance;
pub use metrics::{Better, Group, METRICS, Metric, Needs};
pub use row::{Row, Setting, Sides};
pub use sanity::Sanity;
pub use summary::{Compared, Counts, Estimate, Failure, Plan, SettingSummary, Summary, Tally};

use crate::{
    Explainer, Photo, PhotoOptions, Query, Settings,
    dataset::{Picture, Question},
    error::{Error, Result},
    objective::Strength,
    pipeline::Found,
    progress::Warning,
    verdict::NEUTRAL,
};
use marks::{Known, marks};

/// What to evaluate: every method with every layer and every strength.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// All other settings; its method, layer and strength play no part.
    pub settings: Settings,
    /// The methods' names. Empty: what the checkpoint recommends, else the first.
    pub methods: Vec<String>,
    /// The layers; negative counts from the end. Empty: each method's own choice.
    pub layers: Vec<i64>,
    /// The strengths of the contrasted maps.
    pub strengths: Vec<Strength>,
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
    /// One for every method and layer, at strength 0.
    plain: Vec<Settings>,
}

/// A picture's rows, setting by setting for each of its questions.
#[derive(Clone, Debug)]
pub struct Measured {
    /// One for every question and setting.
    pub rows: Vec<Row>,
    /// What the user should know.
    pub warnings: Vec<Warning>,
}

impl<'a> Evaluator<'a> {
    /// Checks the options. What is listed twice is evaluated once.
    ///
    /// # Errors
    /// If there is no strength, or a setting is not one of the checkpoint's.
    pub fn new(explainer: &'a Explainer, mut options: Options) -> Result<Self> {
        if options.methods.is_empty() {
            options.methods.push(explainer.method(&options.settings)?.name().into());
        }
        keep_first(&mut options.methods);
        keep_first(&mut options.layers);
        keep_first(&mut options.strengths);
        require("strengths", &options.strengths)?;
        options.tolerance.check()?;
        let plain = plain_settings(&options)?;
        for settings in &plain {
            explainer.check(&Query::new(NEUTRAL).with(settings.clone()))?;
        }
        Ok(Self { explainer, options, plain })
    }

    /// What is evaluated, as the summary records it.
    pub fn plan(&self) -> Plan {
        Plan::new(self.explainer.name(), &self.options)
    }

    /// Asks a picture's questions. The picture passes the vision tower once for every layer, whatever is asked.
    ///
    /// # Errors
    /// If the picture or a mask cannot be read, the truth does not fit the picture, or a query fails.
    pub fn measure(&self, picture: &Picture) -> Result<Measured> {
        let photo = Photo::open_with(&picture.path, &self.options.photo)?;
        let known: Result<Vec<_>> = picture
            .questions
            .iter()
            .map(|question| Known::of(&question.truth, &picture.path, photo.size()))
            .collect();
        let queries: Vec<Query> =
            picture.questions.iter().flat_map(|question| self.queries(question)).collect();
        let known = known?;
        let found = self.explainer.localize_all(&photo, &queries)?;
        let mut measured = Measured { rows: Vec::new(), warnings: photo.warnings().to_vec() };
        let mut found = found.chunks(1 + self.options.strengths.len());
        for (question, known) in picture.questions.iter().zip(&known) {
            let (known, tolerance) = (known.as_ref(), self.options.tolerance);
            let asked = Asked { picture, photo: &photo, question, known, tolerance };
            for answers in found.by_ref().take(self.plain.len()) {
                asked.measure(answers, &mut measured);
            }
        }
        Ok(measured)
    }

    /// For every method and layer the plain query, then one for every strength.
    fn queries(&self, question: &Question) -> Vec<Query> {
        let strengths =
            || std::iter::once(None).chain(self.options.strengths.iter().map(|strength| Some(*strength)));
        let queries = self.plain.iter().flat_map(|plain| strengths().map(move |strength| (plain, strength)));
        let query = |(plain, strength): (&Settings, Option<Strength>)| {
            let settings = Settings { strength: strength.unwrap_or(plain.strength), ..plain.clone() };
            Query::new(&question.prompt).against(question.against.iter()).with(settings)
        };
        queries.map(query).collect()
    }
}

/// The settings of the plain maps: every method with every layer.
fn plain_settings(options: &Options) -> Result<Vec<Settings>> {
    let strength = Strength::new(0.0)?;
    let with = |method: &String, layer: Option<i64>| Settings {
        method: Some(method.clone()),
        layer,
        strength,
        ..options.settings.clone()
    };
    let layers: Vec<_> = match options.layers[..] {
        [] => vec![None],
        _ => options.layers.iter().copied().map(Some).collect(),
    };
    let methods = options.methods.iter();
    Ok(methods.flat_map(|method| layers.iter().map(move |layer| with(method, *layer))).collect())
}

fn keep_first<T: PartialEq>(values: &mut Vec<T>) {
    let mut kept: Vec<T> = Vec::with_capacity(values.len());
    for value in values.drain(..) {
        if !kept.contains(&value) {
            kept.push(value);
        }
    }
    *values = kept;
}

fn require<T>(option: &'static str, values: &[T]) -> Result<()> {
    match values.is_empty() {
        true => Err(Error::Option { option, reason: "expected at least one, found none".into() }),
        false => Ok(()),
    }
}

/// One question of one picture, ready to be measured.
struct Asked<'a> {
    picture: &'a Picture,
    photo: &'a Photo,
    question: &'a Question,
    known: Option<&'a Known>,
    tolerance: Tolerance,
}

impl Asked<'_> {
    /// Adds a row for every contrasted answer; the plain one comes first.
    fn measure(&self, answers: &[Found], measured: &mut Measured) {
        let Some((plain, contrasted)) = answers.split_first() else { return };
        measured.warnings.extend(plain.warnings.iter().cloned());
        let plain_marks = self.marks(plain);
        for contrasted in contrasted {
            let pairs = plain_marks.iter().zip(self.marks(contrasted));
            let both = pairs.filter_map(|((metric, plain), (_, contrasted))| {
                Some((metric.name(), Sides { plain: (*plain)?, contrasted: contrasted? }))
            });
            measured.rows.push(Row::new(self.picture, self.question, plain, contrasted, both.collect()));
        }
    }

    fn marks(&self, found: &Found) -> Vec<(Metric, Option<f64>)> {
        self.known.map_or(Vec::new(), |known| marks(&found.on_pixels(self.photo), known, self.tolerance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_twice_is_kept_once_in_its_first_place() {
        let mut layers = vec![-1, -2, -1, 3, -2];
        keep_first(&mut layers);
        assert_eq!(layers, [-1, -2, 3]);
    }

    #[test]
    fn every_method_is_paired_with_every_layer() -> Result<()> {
        let methods = vec!["grad-cam".to_owned(), "hires-cam".to_owned()];
        let settings = plain_settings(&Options { methods, layers: vec![-1, -2], ..Options::default() })?;
        let pairs: Vec<_> =
            settings.iter().map(|settings| (settings.method.as_deref(), settings.layer)).collect();
        let (grad, hires) = (Some("grad-cam"), Some("hires-cam"));
        let (last, before) = (Some(-1), Some(-2));
        assert_eq!(pairs, [(grad, last), (grad, before), (hires, last), (hires, before)]);
        assert!(settings.iter().all(|settings| settings.strength.get() == 0.0));
        Ok(())
    }
}

//! Rows become means with intervals.
//!
//! Lines about one picture are not independent, so pictures are what is resampled, and every picture counts the
//! same: its value is the mean over its lines.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

use serde::Serialize;

use super::{Options, Row, Setting, Sides, Tolerance};
use crate::{dataset::Picture, geometry::Fit, metric::Bootstrap, verdict::Verdict};

/// A run's result: what `evaluate --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The data set's file.
    pub dataset: PathBuf,
    /// What was evaluated.
    #[serde(flatten)]
    pub plan: Plan,
    /// How the intervals were made.
    pub bootstrap: Resampling,
    /// What was measured.
    #[serde(flatten)]
    pub counts: Counts,
    /// What could not be measured; none of it is in any figure.
    pub failed: Vec<Failure>,
    /// Over the present lines with rivals: how often the prompt is more similar to the picture than each of them.
    /// `null` without such lines.
    pub pair_accuracy: Option<Estimate>,
    /// One for every method, layer and strength.
    pub settings: Vec<SettingSummary>,
}

/// What all settings of a run have in common.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The checkpoint as it was asked for.
    pub model: String,
    /// How photos were fitted to the model.
    pub fit: Fit,
    /// How many times the trained resolution [`Fit::Whole`] used along each side.
    pub detail: f64,
    /// How prompts were phrased.
    pub templates: Vec<String>,
    /// How far beside the truth the pointing game counted a hit, in pixels of the photo.
    pub tolerance: Tolerance,
}

impl Plan {
    pub(super) fn new(model: &str, options: &Options) -> Self {
        let settings = &options.settings;
        Self {
            model: model.into(),
            fit: settings.fit,
            detail: settings.detail,
            templates: settings.templates.iter().map(|template| template.as_str().into()).collect(),
            tolerance: options.tolerance,
        }
    }
}

/// How intervals were made: percentiles of the means of resampled pictures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Resampling {
    /// How many times the pictures were drawn anew.
    pub rounds: usize,
    /// The share of those means inside an interval.
    pub coverage: f64,
    /// What the draws follow from.
    pub seed: u64,
}

/// How much was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Different pictures.
    pub images: usize,
    /// Lines of the data set.
    pub lines: usize,
    /// Lines whose concept is in the picture.
    pub present: usize,
    /// Lines whose concept is not.
    pub absent: usize,
    /// Present lines with rivals. In the others the contrasted map is the plain one.
    pub with_rivals: usize,
}

/// A picture that could not be measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The picture as the data set names it.
    pub image: String,
    /// The data set's lines that are lost with it.
    pub lines: Vec<usize>,
    /// Why.
    pub error: String,
}

/// A mean over pictures, with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// The interval's lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// Plain and contrasted maps side by side, over the same lines.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The plain maps' mean, and the contrasted ones'.
    #[serde(flatten)]
    pub means: Sides<Estimate>,
    /// Contrasted minus plain, picture by picture: contrast makes a difference where the interval excludes 0.
    pub difference: Estimate,
    /// How many pictures this is about.
    pub images: usize,
    /// How many lines.
    pub lines: usize,
}

/// What one setting gave.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SettingSummary {
    /// Which.
    #[serde(flatten)]
    pub setting: Setting,
    /// By metric; those that no line could be measured by are missing.
    pub metrics: BTreeMap<&'static str, Compared>,
    /// How many of the present lines the verdict called absent; `null` without such lines.
    pub present_called_absent: Option<Compared>,
    /// How many of the absent lines the verdict called absent; `null` without such lines.
    pub absent_called_absent: Option<Compared>,
}

/// Collects rows. It keeps a few sums for every picture, not the rows.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    images: HashMap<String, usize>,
    counts: Counts,
    failed: Vec<Failure>,
    pairs: Sums,
    settings: Vec<SettingTally>,
}

#[derive(Clone, Debug)]
struct SettingTally {
    setting: Setting,
    metrics: BTreeMap<&'static str, Sums>,
    present_called_absent: Sums,
    absent_called_absent: Sums,
}

impl SettingTally {
    fn new(setting: &Setting) -> Self {
        let (metrics, sums) = (BTreeMap::new(), Sums::default());
        Self {
            setting: setting.clone(),
            metrics,
            present_called_absent: sums.clone(),
            absent_called_absent: sums,
        }
    }

    fn add(&mut self, image: usize, row: &Row) {
        for (name, value) in &row.metrics {
            self.metrics.entry(name).or_default().add(image, *value);
        }
        let verdicts =
            if row.present { &mut self.present_called_absent } else { &mut self.absent_called_absent };
        verdicts.add(image, row.verdict.map(|verdict| share(verdict == Verdict::Absent)));
    }

    fn summary(&self, bootstrap: &Bootstrap) -> SettingSummary {
        let metrics = self.metrics.iter();
        SettingSummary {
            setting: self.setting.clone(),
            metrics: metrics.filter_map(|(name, sums)| Some((*name, sums.compared(bootstrap)?))).collect(),
            present_called_absent: self.present_called_absent.compared(bootstrap),
            absent_called_absent: self.absent_called_absent.compared(bootstrap),
        }
    }
}

impl Tally {
    /// Nothing collected yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the rows of one picture.
    pub fn add(&mut self, rows: &[Row]) {
        for row in rows {
            let next = self.images.len();
            let image = *self.images.entry(row.image.clone()).or_insert(next);
            let known = self.settings.iter().position(|tally| tally.setting == row.setting);
            let index = known.unwrap_or(self.settings.len());
            if known.is_none() {
                self.settings.push(SettingTally::new(&row.setting));
            }
            self.settings[index].add(image, row);
            // Every line comes once under every setting.
            if index == 0 {
                self.count(image, row);
            }
        }
    }

    fn count(&mut self, image: usize, row: &Row) {
        let counts = &mut self.counts;
        counts.images = self.images.len();
        counts.lines += 1;
        counts.present += usize::from(row.present);
        counts.absent += usize::from(!row.present);
        if let Some(beats) = row.beats_rivals {
            counts.with_rivals += 1;
            self.pairs.add(image, Sides { plain: beats, contrasted: beats }.map(share));
        }
    }

    /// Records that a picture could not be measured.
    pub fn fail(&mut self, picture: &Picture, error: String) {
        let lines = picture.questions.iter().map(|question| question.line).collect();
        self.failed.push(Failure { image: picture.name.clone(), lines, error });
    }

    /// The figures of what was collected.
    pub fn summary(&self, dataset: PathBuf, plan: Plan, bootstrap: &Bootstrap) -> Summary {
        let Bootstrap { rounds, coverage, seed } = *bootstrap;
        Summary {
            dataset,
            plan,
            bootstrap: Resampling { rounds, coverage, seed },
            counts: self.counts,
            failed: self.failed.clone(),
            pair_accuracy: self.pairs.compared(bootstrap).map(|compared| compared.means.plain),
            settings: self.settings.iter().map(|tally| tally.summary(bootstrap)).collect(),
        }
    }
}

fn share(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

/// A measure's sums over the lines of each picture, by the picture's number.
#[derive(Clone, Debug, Default)]
struct Sums(BTreeMap<usize, (Sides<f64>, usize)>);

impl Sums {
    fn add(&mut self, image: usize, value: Sides<f64>) {
        let (sum, lines) = self.0.entry(image).or_insert((Sides { plain: 0.0, contrasted: 0.0 }, 0));
        sum.plain += value.plain;
        sum.contrasted += value.contrasted;
        *lines += 1;
    }

    fn compared(&self, bootstrap: &Bootstrap) -> Option<Compared> {
        let estimate = |value: fn(&Sides<f64>) -> f64| {
            let means: Vec<f64> = self.0.values().map(|(sum, lines)| value(sum) / *lines as f64).collect();
            let interval = bootstrap.mean(&means)?;
            Some(Estimate { mean: interval.mean, low: interval.low, high: interval.high })
        };
        Some(Compared {
            means: Sides { plain: estimate(|sum| sum.plain)?, contrasted: estimate(|sum| sum.contrasted)? },
            difference: estimate(|sum| sum.contrasted - sum.plain)?,
            images: self.0.len(),
            lines: self.0.values().map(|(_, lines)| lines).sum(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(line: usize, image: &str, strength: f64, pointing: Option<(f64, f64)>) -> Row {
        let setting = Setting {
            method: "grad-cam".into(),
            layer: -1,
            layers: Vec::new(),
            layers_combine: None,
            strength,
            aggregate: "mean".into(),
        };
        let sides = |(plain, contrasted)| Sides { plain, contrasted };
        let verdict = if pointing.is_some() { Verdict::Present } else { Verdict::Absent };
        Row {
            line,
            id: None,
            image: image.into(),
            prompt: "wing".into(),
            against: vec!["tail".into()],
            part: None,
            present: pointing.is_some(),
            setting,
            similarity: 0.3,
            probability: 0.6,
            beats_rivals: pointing.map(|(_, contrasted)| contrasted == 1.0),
            verdict: Sides { plain: verdict, contrasted: verdict },
            metrics: pointing.map(|pair| ("pointing_game", sides(pair))).into_iter().collect(),
        }
    }

    fn summary(tally: &Tally) -> Summary {
        let plan = Plan::new("model", &Options::default());
        tally.summary("manifest.jsonl".into(), plan, &Bootstrap::default())
    }

    #[test]
    fn every_picture_counts_the_same() {
        let mut tally = Tally::new();
        tally.add(&[row(1, "a", 0.6, Some((0.0, 1.0))), row(2, "a", 0.6, Some((1.0, 1.0)))]);
        tally.add(&[row(3, "b", 0.6, Some((1.0, 0.0)))]);
        tally.add(&[row(4, "a", 0.6, None)]);
        let summary = summary(&tally);
        let pointing = &summary.settings[0].metrics["pointing_game"];
        // Picture a: 0.5 and 1; picture b: 1 and 0.
        assert_eq!((pointing.means.plain.mean, pointing.means.contrasted.mean), (0.75, 0.5));
        assert_eq!(pointing.difference.mean, -0.25);
        assert_eq!((pointing.difference.low, pointing.difference.high), (-1.0, 0.5));
        assert_eq!((pointing.images, pointing.lines), (2, 3));
        assert_eq!(summary.counts, Counts { images: 2, lines: 4, present: 3, absent: 1, with_rivals: 3 });
        assert_eq!(summary.pair_accuracy.map(|accuracy| accuracy.mean), Some(0.5));
    }

    #[test]
    fn verdicts_are_counted_apart_for_present_and_absent_lines() {
        let mut tally = Tally::new();
        tally.add(&[row(1, "a", 0.6, Some((0.0, 1.0))), row(2, "a", 0.6, None)]);
        let setting = &summary(&tally).settings[0];
        assert_eq!(setting.present_called_absent.map(|rate| rate.means.contrasted.mean), Some(0.0));
        assert_eq!(setting.absent_called_absent.map(|rate| rate.means.contrasted.mean), Some(1.0));
    }

    #[test]
    fn lines_are_counted_once_however_many_settings_there_are() {
        let mut tally = Tally::new();
        tally.add(&[row(1, "a", 0.3, Some((0.0, 1.0))), row(1, "a", 0.6, Some((0.0, 0.0)))]);
        let summary = summary(&tally);
        assert_eq!((summary.counts.lines, summary.settings.len()), (1, 2));
        assert_eq!(summary.settings[1].metrics["pointing_game"].means.contrasted.mean, 0.0);
    }

    #[test]
    fn without_rows_there_is_no_figure() {
        let summary = summary(&Tally::new());
        assert_eq!((summary.pair_accuracy, summary.settings.len()), (None, 0));
    }
}

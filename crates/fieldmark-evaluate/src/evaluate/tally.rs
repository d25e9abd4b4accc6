//! A file of rows becomes means with intervals, one column after the other.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
};

use parquet::data_type::{BoolType, ByteArrayType, DoubleType};
use rayon::prelude::*;

use super::{
    Compared, ComparedCurve, Counts, CurveKind, Estimate, RowsFile, SettingSummary, Sides, columns::AT, pairs,
};
use crate::metric::{Bootstrap, SignFlip, holm, wilcoxon};
use fieldmark_explain::verdict::Verdict;
use fieldmark_model::error::Result;

/// The most memory for the sums of the pictures under several settings, in bytes.
const SUMS: usize = 64 << 20;

/// What the rows of every setting have in common.
pub(super) struct Tally<'a> {
    rows: &'a RowsFile,
    bootstrap: &'a Bootstrap,
    questions: Vec<Question>,
    images: usize,
    pairs: Vec<Sides<usize>>,
}

/// Is shown the value of every row, with the row's place.
type Visit<'v> = dyn FnMut(usize, Option<f64>) + 'v;

/// One line of the data set.
struct Question {
    /// The picture's number, by first appearance: successive looks at one picture count as one.
    image: u32,
    present: bool,
    beats_rivals: Option<bool>,
}

impl<'a> Tally<'a> {
    /// Reads the questions.
    pub(super) fn new(rows: &'a RowsFile, bootstrap: &'a Bootstrap) -> Result<Self> {
        let settings = &rows.record().settings;
        let (pairs, step) = (pairs(settings), settings.len().max(1));
        let mut questions = Vec::new();
        let mut images: HashMap<u64, u32> = HashMap::new();
        rows.each::<ByteArrayType>("image", |row, name| {
            if row % step == 0 {
                let mut hasher = DefaultHasher::new();
                name.first().map(|name| name.data()).hash(&mut hasher);
                let next = images.len() as u32;
                let image = *images.entry(hasher.finish()).or_insert(next);
                questions.push(Question { image, present: false, beats_rivals: None });
            }
        })?;
        let mut tally = Self { rows, bootstrap, questions, images: images.len(), pairs };
        tally.read_flags("present", step, |question, flag| question.present = flag == Some(true))?;
        tally.read_flags("beats_rivals", step, |question, flag| question.beats_rivals = flag)?;
        Ok(tally)
    }

    fn read_flags(
        &mut self,
        column: &str,
        step: usize,
        mut set: impl FnMut(&mut Question, Option<bool>),
    ) -> Result<()> {
        let questions = &mut self.questions;
        self.rows.each::<BoolType>(column, |row, flag| {
            if let Some(question) = questions.get_mut(row / step).filter(|_| row % step == 0) {
                set(question, flag.first().copied());
            }
        })
    }

    pub(super) fn counts(&self) -> Counts {
        let count = |is: &dyn Fn(&Question) -> bool| self.questions.iter().filter(|asked| is(asked)).count();
        Counts {
            images: self.images,
            lines: self.questions.len(),
            present: count(&|question| question.present),
            absent: count(&|question| !question.present),
            with_rivals: count(&|question| question.beats_rivals.is_some()),
        }
    }

    /// Over the present lines with rivals: how often the prompt is more similar to the picture than each of them.
    pub(super) fn pair_accuracy(&self) -> Option<Estimate> {
        let mut sums = Sums::new(self.images);
        for question in &self.questions {
            if let Some(beats) = question.beats_rivals {
                sums.add(question.image, Sides { plain: beats, contrasted: beats }.map(share));
            }
        }
        sums.compared(self.bootstrap).map(|compared| compared.means.plain)
    }

    /// What every contrasted setting gave beside its plain one.
    pub(super) fn settings(&self) -> Result<Vec<SettingSummary>> {
        let record = self.rows.record();
        let mut summaries: Vec<SettingSummary> = self.pairs.iter().map(|pair| self.empty(pair)).collect();
        for metric in &record.plan.metrics {
            let compared = self.measure(&|visit| {
                self.rows.each::<DoubleType>(metric.name(), |row, mark| visit(row, mark.first().copied()))
            })?;
            for (summary, compared) in summaries.iter_mut().zip(compared) {
                summary.metrics.extend(compared.map(|compared| (metric.name(), compared)));
            }
        }
        let present = self.called_absent(true)?;
        let absent = self.called_absent(false)?;
        for (summary, (present, absent)) in summaries.iter_mut().zip(present.into_iter().zip(absent)) {
            (summary.present_called_absent, summary.absent_called_absent) = (present, absent);
        }
        for CurveKind { name, .. } in record.plan.curves() {
            for (summary, pair) in summaries.iter_mut().zip(&self.pairs) {
                summary.curves.extend(self.curve(name, pair)?.map(|compared| (*name, compared)));
            }
        }
        Ok(summaries)
    }

    fn empty(&self, pair: &Sides<usize>) -> SettingSummary {
        SettingSummary {
            setting: self.rows.record().settings[pair.contrasted].clone(),
            metrics: BTreeMap::new(),
            curves: BTreeMap::new(),
            present_called_absent: None,
            absent_called_absent: None,
        }
    }

    /// How many of the present or the absent lines the verdict called absent; lines whose words the model cannot know
    /// do not count.
    fn called_absent(&self, present: bool) -> Result<Vec<Option<Compared>>> {
        let step = self.rows.record().settings.len().max(1);
        self.measure(&|visit| {
            self.rows.each::<ByteArrayType>("verdict", |row, verdict| {
                let asked =
                    self.questions.get(row / step).is_some_and(|question| question.present == present);
                let verdict = verdict.first().map(|verdict| verdict.data());
                let known = verdict.filter(|verdict| *verdict != Verdict::Unknown.name().as_bytes());
                let absent = known.map(|verdict| verdict == Verdict::Absent.name().as_bytes());
                visit(row, absent.filter(|_| asked).map(share));
            })
        })
    }

    /// A measure of every pair; `read` shows a function the value of every row. The rows are read anew for as many
    /// pairs as have room in memory.
    fn measure(&self, read: &dyn Fn(&mut Visit<'_>) -> Result<()>) -> Result<Vec<Option<Compared>>> {
        let step = self.rows.record().settings.len().max(1);
        let at_once = (SUMS / (size_of::<Sum>() * self.images.max(1))).max(1);
        let mut compared = Vec::with_capacity(self.pairs.len());
        for pairs in self.pairs.chunks(at_once) {
            let mut sums = vec![Sums::new(self.images); pairs.len()];
            let mut values = vec![None; step];
            read(&mut |row, value| {
                values[row % step] = value;
                if row % step + 1 < step {
                    return;
                }
                let Some(question) = self.questions.get(row / step) else { return };
                for (pair, sums) in pairs.iter().zip(&mut sums) {
                    if let (Some(plain), Some(contrasted)) = (values[pair.plain], values[pair.contrasted]) {
                        sums.add(question.image, Sides { plain, contrasted });
                    }
                }
            })?;
            compared.par_extend(sums.par_iter().map(|sums| sums.compared(self.bootstrap)));
        }
        correct(&mut compared);
        Ok(compared)
    }

    /// A curve of one pair; none where it was not measured.
    fn curve(&self, name: &'static str, pair: &Sides<usize>) -> Result<Option<ComparedCurve>> {
        let step = self.rows.record().settings.len().max(1);
        let mut at: Vec<f64> = Vec::new();
        self.rows.each::<DoubleType>(&format!("{name}{AT}"), |_, values| {
            if at.is_empty() {
                at.extend(values);
            }
        })?;
        let mut points = vec![Sums::new(self.images); at.len()];
        let mut plain: Vec<f64> = Vec::new();
        self.rows.each::<DoubleType>(name, |row, values| {
            if row % step == pair.plain {
                plain = values.to_vec();
            }
            let is_whole = [&plain[..], values].iter().all(|curve| curve.len() == at.len());
            if let Some(question) =
                self.questions.get(row / step).filter(|_| row % step == pair.contrasted && is_whole)
            {
                for ((sums, plain), contrasted) in points.iter_mut().zip(&plain).zip(values) {
                    sums.add(question.image, Sides { plain: *plain, contrasted: *contrasted });
                }
            }
        })?;
        let means: Option<Vec<_>> =
            points.par_iter().map(|sums| Some(sums.compared(self.bootstrap)?.means)).collect();
        Ok(means.filter(|means| !means.is_empty()).map(|means| ComparedCurve {
            at,
            means: Sides {
                plain: means.iter().map(|sides| sides.plain).collect(),
                contrasted: means.iter().map(|sides| sides.contrasted).collect(),
            },
        }))
    }
}

/// Corrects the tests of one measure for each other.
fn correct(compared: &mut [Option<Compared>]) {
    let tests = || compared.iter().flatten().filter_map(|compared| compared.p_sign_flip);
    let mut corrected = holm(&tests().collect::<Vec<_>>()).into_iter();
    for compared in compared.iter_mut().flatten() {
        compared.p_holm = compared.p_sign_flip.and_then(|_| corrected.next());
    }
}

fn share(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

/// A measure's sum over the lines of one picture, and how many these are.
type Sum = (Sides<f64>, u32);

/// A measure's sums, by the picture's number.
#[derive(Clone)]
struct Sums(Vec<Sum>);

impl Sums {
    fn new(images: usize) -> Self {
        Self(vec![(Sides { plain: 0.0, contrasted: 0.0 }, 0); images])
    }

    fn add(&mut self, image: u32, value: Sides<f64>) {
        let (sum, lines) = &mut self.0[image as usize];
        sum.plain += value.plain;
        sum.contrasted += value.contrasted;
        *lines += 1;
    }

    /// Every picture counts the same: its value is the mean over its lines.
    fn compared(&self, bootstrap: &Bootstrap) -> Option<Compared> {
        let known = || self.0.iter().filter(|(_, lines)| *lines > 0);
        let estimate = |value: fn(&Sides<f64>) -> f64| {
            let means: Vec<f64> = known().map(|(sum, lines)| value(sum) / f64::from(*lines)).collect();
            let interval = bootstrap.mean(&means)?;
            Some(Estimate { mean: interval.mean, low: interval.low, high: interval.high })
        };
        let differences: Vec<f64> =
            known().map(|(sum, lines)| (sum.contrasted - sum.plain) / f64::from(*lines)).collect();
        let sign_flip = SignFlip { seed: bootstrap.seed, ..SignFlip::default() };
        Some(Compared {
            means: Sides { plain: estimate(|sum| sum.plain)?, contrasted: estimate(|sum| sum.contrasted)? },
            difference: estimate(|sum| sum.contrasted - sum.plain)?,
            p_sign_flip: sign_flip.p_value(&differences),
            p_holm: None,
            p_wilcoxon: wilcoxon(&differences),
            images: known().count(),
            lines: known().map(|(_, lines)| *lines as usize).sum(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_picture_counts_the_same() {
        let mut sums = Sums::new(3);
        for (image, plain, contrasted) in [(0, 0.0, 1.0), (0, 1.0, 1.0), (2, 1.0, 0.0)] {
            sums.add(image, Sides { plain, contrasted });
        }
        let compared = sums.compared(&Bootstrap::default()).unwrap();
        // Picture 0: 0.5 and 1; picture 2: 1 and 0; picture 1 has no line.
        assert_eq!((compared.means.plain.mean, compared.means.contrasted.mean), (0.75, 0.5));
        assert_eq!(compared.difference, Estimate { mean: -0.25, low: -1.0, high: 0.5 });
        assert_eq!((compared.images, compared.lines), (2, 3));
        // Of the four ways to set two signs, two are as far from 0 as they are, and two further.
        assert_eq!((compared.p_sign_flip, compared.p_wilcoxon), (Some(1.0), Some(1.0)));
        assert_eq!(Sums::new(2).compared(&Bootstrap::default()), None);
    }

    #[test]
    fn tests_of_one_measure_are_corrected_for_each_other() {
        let of = |p: Option<f64>| {
            let mut sums = Sums::new(1);
            sums.add(0, Sides { plain: 0.0, contrasted: 1.0 });
            sums.compared(&Bootstrap::default()).map(|compared| Compared { p_sign_flip: p, ..compared })
        };
        let mut compared = [of(Some(0.01)), None, of(None), of(Some(0.03))];
        correct(&mut compared);
        let corrected = compared.map(|compared| compared.and_then(|compared| compared.p_holm));
        assert_eq!(corrected, [Some(0.02), None, None, Some(0.03)]);
    }
}

//! A checkpoint is asked a data set's questions, and the answers are measured.

use std::borrow::Borrow;

use rayon::prelude::*;

use super::{
    Answer, Faithfulness, Group, Metric, Options, Outcome, Plan, Record, curves,
    faithfulness::{Faithful, FaithfulnessTest},
    grid::Grid,
    marks::{Known, marks},
    sanity::{Sane, SanityTest},
};
use crate::dataset::{Picture, Question};
use fieldmark_explain::{
    explain::{Explainer, Found, PhotoSession, Query},
    verdict::NEUTRAL,
};
use fieldmark_model::{
    error::{Error, Result},
    geometry::Size,
    photo::Photo,
    progress::Warning,
};

/// Asks a checkpoint a data set's questions and measures the answers.
pub struct Evaluator<'a> {
    explainer: &'a Explainer,
    options: Options,
    grid: Grid,
    faithfulness: Option<Faithfulness>,
    sanity: Option<SanityTest<'a>>,
}

/// What one picture gave.
#[derive(Clone, Debug)]
#[non_exhaustive]
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
        let faithfulness = options.asked_faithfulness();
        faithfulness.as_ref().map_or(Ok(()), Faithfulness::check)?;
        let grid = Grid::new(explainer, &options)?;
        for (settings, _) in &grid.asked {
            explainer.check(&Query::new(NEUTRAL).with(settings.clone()))?;
        }
        // In the order of the list, whichever picture comes first: texts that are embedded together may change each
        // other's last digits.
        let concepts = options.rivals.as_ref().map(|rivals| rivals.concepts.names()).unwrap_or_default();
        if let Some((first, others)) = concepts.split_first() {
            explainer.prompts(first, others, &options.settings.templates)?;
        }
        let sanity = options.asked_sanity().map(|sanity| SanityTest::new(explainer, &sanity)).transpose()?;
        Ok(Self { explainer, options, grid, faithfulness, sanity })
    }

    /// What is evaluated, as results record it.
    pub fn record(&self) -> Record {
        let precision = self.explainer.model().precision();
        let model_bytes = self.explainer.name_bytes().map(str::to_owned);
        let plan = Plan { model_bytes, ..Plan::new(self.explainer.name(), precision, &self.options) };
        Record { plan, settings: self.grid.settings.clone() }
    }

    /// The checkpoint that is evaluated.
    pub(super) fn explainer(&self) -> &Explainer {
        self.explainer
    }

    /// How many pictures [`measure_each`](Self::measure_each) should be given at a time: as
    /// [`Explainer::photos_together`] returns.
    ///
    /// # Errors
    /// If a setting is not one of the checkpoint's.
    pub fn pictures_together(&self) -> Result<usize> {
        let each = self.grid.asked.iter().map(|(settings, _)| self.explainer.photos_together(settings));
        Ok(each.collect::<Result<Vec<_>>>()?.into_iter().min().unwrap_or(1))
    }

    /// Measures pictures, which pass the vision tower together ([`Explainer::sessions`]), in their order. Each one's numbers
    /// are those that it has alone.
    pub fn measure_each<P: Borrow<Picture> + Sync>(&self, pictures: &[P]) -> Vec<Result<Measured>> {
        let open = |picture: &P| Photo::open_with(&picture.borrow().path, &self.options.photo);
        let opened: Vec<Result<Photo>> = pictures.par_iter().map(open).collect();
        let mut photos = Vec::with_capacity(pictures.len());
        let failed: Vec<_> =
            opened.into_iter().map(|photo| photo.map(|photo| photos.push(photo)).err()).collect();
        let settings = self.grid.asked.iter().map(|(settings, _)| settings);
        let mut sessions = photos.iter().zip(self.explainer.sessions_for(&photos, settings));
        let measured = pictures.iter().zip(failed).filter_map(|(picture, failed)| match failed {
            Some(error) => Some(Err(error)),
            None => Some(self.measure_seen(picture.borrow(), sessions.next()?)),
        });
        measured.collect()
    }

    /// Asks a picture's questions under every setting. The picture passes the vision tower once for all questions; of
    /// metrics that look at changed pictures each of these passes as well.
    ///
    /// # Errors
    /// If the picture or a mask cannot be read, the truth does not fit the picture, or a query fails.
    pub fn measure(&self, picture: &Picture) -> Result<Measured> {
        self.measure_each(std::slice::from_ref(picture)).remove(0)
    }

    fn measure_seen(
        &self,
        picture: &Picture,
        (photo, mut session): (&Photo, PhotoSession),
    ) -> Result<Measured> {
        let mut known = known(picture, photo.size())?;
        let queries: Vec<Query> = picture.questions.iter().map(|question| self.query(question)).collect();
        let found = self.explainer.localize_grid(&mut session, &queries, &self.grid.asked)?;
        let faithful = self.faithful(photo, picture, &found)?;
        let sane = self.sane(photo, picture, &found)?;
        let mut measured = Measured { answers: Vec::new(), warnings: photo.warnings().to_vec() };
        for (place, question) in picture.questions.iter().enumerate() {
            let Some(first) = found[place].first() else { continue };
            measured.warnings.extend(found[place].iter().flat_map(|found| found.warnings.iter().cloned()));
            let known = match known[place].take() {
                Some(known) => known,
                None => Known::of(&question.truth, &picture.path, photo.size())?,
            };
            let at = |setting: usize| MapMarks {
                places: self.places(photo, &found[place][setting], known.as_ref()),
                faithful: faithful[place].get(setting),
                sane: sane[place].get(setting),
            };
            let outcome =
                |setting: &usize| at(*setting).outcome(&found[place][*setting], &self.options.metrics);
            let settings: Vec<usize> = (0..found[place].len()).collect();
            let parts = settings.chunks(maps_at_once(photo.size()));
            let outcomes = parts.flat_map(|part| part.par_iter().map(outcome).collect::<Vec<_>>());
            measured.answers.push(Answer::new(picture, question, first, outcomes.collect()));
        }
        Ok(measured)
    }

    fn query(&self, question: &Question) -> Query {
        let query = Query::new(&question.prompt).with(self.options.settings.clone());
        match &self.options.rivals {
            Some(rivals) => query.with_rivals(rivals.clone()),
            None => query.against(question.against.iter()),
        }
    }

    /// What a map says of the concept's place.
    fn places(&self, photo: &Photo, found: &Found, known: Option<&Known>) -> Vec<(Metric, Option<f64>)> {
        match known {
            Some(known) if !self.options.metrics_of(Group::Localisation).is_empty() => {
                marks(found.on_pixels(photo), known, self.options.tolerance)
            }
            _ => Vec::new(),
        }
    }

    /// For every question that is about something in the picture what its maps' pixels mean to the model.
    fn faithful(&self, photo: &Photo, picture: &Picture, found: &[Vec<Found>]) -> Result<Vec<Vec<Faithful>>> {
        let mut all = vec![Vec::new(); found.len()];
        let Some(options) = &self.faithfulness else { return Ok(all) };
        let settings = &self.options.settings;
        let test = FaithfulnessTest::new(self.explainer, photo, settings, options)?;
        for ((question, found), measured) in picture.questions.iter().zip(found).zip(&mut all) {
            let Some(first) = found.first().filter(|_| question.truth.is_present()) else { continue };
            let prompts = self.explainer.prompts(&question.prompt, &rivals(first), &settings.templates)?;
            for (place, one) in found.iter().enumerate() {
                // Without rivals every contrast is the plain map.
                let same = found[..place].iter().position(|other| other.map == one.map);
                measured.push(match same {
                    Some(same) => Faithful::clone(&measured[same]),
                    None => test.measure(&one.on_pixels(photo), &prompts)?,
                });
            }
        }
        Ok(all)
    }

    /// For every question that is about something in the picture what its maps have in common with others.
    fn sane(&self, photo: &Photo, picture: &Picture, found: &[Vec<Found>]) -> Result<Vec<Vec<Sane>>> {
        let mut all = vec![Vec::new(); found.len()];
        let Some(test) = &self.sanity else { return Ok(all) };
        let mut asked = Vec::new();
        for (question, found) in picture.questions.iter().zip(found) {
            if question.truth.is_present() {
                let settings = self.grid.each().zip(found);
                asked.extend(settings.map(|(settings, found)| {
                    (Query::new(&question.prompt).against(rivals(found)).with(settings), &found.map)
                }));
            }
        }
        let pairs: Vec<_> = asked.iter().map(|(query, map)| (query, *map)).collect();
        let mut sane = test.measure(photo, &pairs, &self.options.concepts)?.into_iter();
        for ((question, found), measured) in picture.questions.iter().zip(found).zip(&mut all) {
            if question.truth.is_present() {
                measured.extend(sane.by_ref().take(found.len()));
            }
        }
        Ok(all)
    }
}

/// What is known of the places that a picture's questions are about; all of it is checked. Of a large photo's masks some
/// are not kept, but made anew when they are needed: none in the list.
fn known(picture: &Picture, size: Size) -> Result<Vec<Option<Option<Known>>>> {
    const KEPT: u64 = 64 << 20;
    let most = (KEPT / size.area().max(1)).max(1) as usize;
    let of = |(place, question): (usize, &Question)| {
        let known = Known::of(&question.truth, &picture.path, size)?;
        Ok((place < most).then_some(known))
    };
    picture.questions.iter().enumerate().map(of).collect()
}

/// How many maps of a photo may be measured at the same time: each takes memory for every pixel.
fn maps_at_once(size: Size) -> usize {
    const ROOM: u64 = 256 << 20;
    /// The values, their sorted copy, and the pixels that two metrics call the concept's.
    const OF_A_PIXEL: u64 = 10;
    (ROOM / size.area().saturating_mul(OF_A_PIXEL).max(1)).max(1) as usize
}

/// The rivals of an answer, by name.
fn rivals(found: &Found) -> Vec<String> {
    found.report.against.iter().map(|rival| rival.score.prompt.clone()).collect()
}

/// Everything that was measured of one map.
struct MapMarks<'a> {
    places: Vec<(Metric, Option<f64>)>,
    faithful: Option<&'a Faithful>,
    sane: Option<&'a Sane>,
}

impl MapMarks<'_> {
    fn outcome(&self, found: &Found, wanted: &[Metric]) -> Outcome {
        let faithful = self.faithful.into_iter().flat_map(|faithful| &faithful.marks);
        let sane = self.sane.into_iter().flat_map(|sane| &sane.marks);
        let marks =
            self.places.iter().chain(faithful).chain(sane).filter(|(metric, _)| wanted.contains(metric));
        Outcome {
            verdict: found.report.evidence.verdict,
            metrics: marks.filter_map(|(metric, mark)| Some((metric.name().to_owned(), (*mark)?))).collect(),
            curves: curves::of(self.faithful, self.sane),
        }
    }
}

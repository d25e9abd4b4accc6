//! What comes back: maps with the numbers that belong to them, ready to be drawn.

use std::borrow::Cow;

use image::{RgbImage, imageops};

use crate::{
    attribution::ConceptMap,
    page::{self, Maps, PageOptions, ReportPage, View},
    refine::{Refinement, guided},
    regions::{Instance, instances},
    render,
    report::{Compared, Comparison, Localization, MapUnit, Score, Setup},
};
use fieldmark_model::{error::Result, photo::Photo, progress::Warning};

/// The answer to a [`Query`](super::Query) on one photo.
#[derive(Clone, Debug)]
pub struct Found {
    /// The numbers.
    pub report: Localization,
    /// The signed map on its grid.
    pub map: ConceptMap,
    /// What the user should know.
    pub warnings: Vec<Warning>,
}

impl Found {
    /// The photo with the evidence drawn over it.
    pub fn overlay(&self, photo: &Photo) -> RgbImage {
        render::overlay(photo.rgb(), &self.on_pixels(photo), &render::RenderOptions::default())
    }

    /// The map as it is drawn, cut and measured: on the photo's pixels and along its edges, if that refinement was
    /// asked for; else the map on its grid. It is made anew at every call, so that answers stay small.
    pub fn on_pixels(&self, photo: &Photo) -> Cow<'_, ConceptMap> {
        on_pixels(&self.map, &self.report.setup, photo.rgb())
    }

    /// The separate places of the report's regions, with their pixels.
    pub fn instances(&self, photo: &Photo) -> Vec<Instance> {
        instances(&self.on_pixels(photo), self.report.setup.threshold)
    }
}

/// Several prompts on one photo.
#[derive(Clone, Debug)]
pub struct Compare {
    /// The numbers.
    pub report: Comparison,
    /// The signed maps of the report's prompts on their grid, in their order.
    pub maps: Vec<ConceptMap>,
    /// The same at strength 0, if the method is linear in the gradient: any contrast is a mix of them.
    pub plain: Option<Vec<ConceptMap>>,
    /// The signed maps of the report's matrix, in its order.
    pub pairs: Vec<ConceptMap>,
    /// What the user should know.
    pub warnings: Vec<Warning>,
    /// What the method measures, in a line.
    pub(super) measures: &'static str,
}

impl Compare {
    /// One sheet with the photo and all maps on one shared signed scale: the largest of them.
    pub fn sheet(&self, photo: &Photo) -> RgbImage {
        self.sheet_at(photo, render::Scale::Own)
    }

    /// A [`sheet`](Self::sheet) on another scale.
    pub fn sheet_at(&self, photo: &Photo, scale: render::Scale) -> RgbImage {
        let shown = self.on_small_pixels(photo);
        let panels = self.report.prompts.iter().zip(&shown).map(|(prompt, map)| {
            let mut notes = scores(&prompt.score);
            let (kind, verdict) = (self.report.probability_kind, prompt.evidence.verdict);
            notes.push(format!("{} {} · {verdict}", kind.name(), prompt.score.percent(kind)));
            notes.extend(self.report.setup.remarks());
            render::Panel { title: prompt.score.prompt.clone(), notes, map }
        });
        let unit = self.report.setup.unit.words();
        render::sheet(photo.rgb(), &panels.collect::<Vec<_>>(), scale, unit)
    }

    /// The maps as a sheet shows them. Those that follow the photo's edges are made for its small pictures: large
    /// ones would be many.
    fn on_small_pixels(&self, photo: &Photo) -> Vec<Cow<'_, ConceptMap>> {
        let (width, height) = fitting(photo, render::LONGEST_PANEL);
        let guide = if self.report.setup.refined.contains(&Refinement::Guided) {
            imageops::thumbnail(photo.rgb(), width, height)
        } else {
            RgbImage::new(0, 0)
        };
        self.maps.iter().map(|map| on_pixels(map, &self.report.setup, &guide)).collect()
    }

    /// One HTML file in which target, rivals and strength can be changed: see [`page::report`].
    ///
    /// # Errors
    /// If the photo cannot be encoded.
    pub fn page(&self, photo: &Photo, options: &PageOptions) -> Result<String> {
        let view = |target: usize| {
            let against = (0..self.maps.len()).filter(|index| *index != target).collect();
            View { target, against, strength: self.report.setup.strength }
        };
        let maps = match &self.plain {
            Some(plain) => Maps::Plain(plain),
            None => {
                Maps::Computed(self.maps.iter().enumerate().map(|(index, map)| (view(index), map)).collect())
            }
        };
        let mut first = view(options.target.min(self.maps.len().saturating_sub(1)));
        // What was computed is all that a page of other maps can show.
        if let (Maps::Plain(_), Some(strength), false) = (&maps, options.strength, first.against.is_empty()) {
            first.strength = strength;
        }
        page::report(&ReportPage { photo: photo.rgb(), comparison: &self.report, maps, first, options })
    }

    /// One figure with every one of the first prompts, `most` at most, against every other; none if the pairs were not
    /// asked for.
    pub fn matrix(&self, photo: &Photo, most: usize) -> Option<RgbImage> {
        let prompts = &self.report.prompts;
        if self.pairs.is_empty() {
            return None;
        }
        // The pairs are in rows of all prompts but the row's own.
        let cell = |row: usize, column: usize| {
            let place = column.checked_sub(usize::from(column > row)).filter(|_| column != row)?;
            let index = row * (prompts.len() - 1) + place;
            let difference = format!("{:+.2}", self.report.matrix[index].difference).replace('-', "−");
            Some((difference, &self.pairs[index]))
        };
        let shown = prompts.len().min(most);
        let row = |(index, prompt): (usize, &Compared)| render::PairRow {
            title: prompt.score.prompt.clone(),
            note: format!("logit {:.2}", prompt.score.logit),
            cells: (0..shown).map(|column| cell(index, column)).collect(),
        };
        let rows: Vec<_> = prompts.iter().take(shown).enumerate().map(row).collect();
        let unit = self.report.setup.unit.words();
        Some(render::pairs(photo.rgb(), &rows, render::Scale::Own, unit))
    }

    /// One prompt's map as returned by [`Found::on_pixels`]; none if there is no such prompt.
    pub fn on_pixels(&self, prompt: usize, photo: &Photo) -> Option<Cow<'_, ConceptMap>> {
        self.maps.get(prompt).map(|map| on_pixels(map, &self.report.setup, photo.rgb()))
    }
}

/// One sheet with a row for every method that the same prompts were compared by, each row on its own signed scale.
pub fn methods_sheet(photo: &Photo, compared: &[Compare]) -> RgbImage {
    let columns = compared.first().map_or(Vec::new(), |compare| {
        let column = |prompt: &Compared| render::MethodColumn {
            title: prompt.score.prompt.clone(),
            notes: scores(&prompt.score),
        };
        compare.report.prompts.iter().map(column).collect()
    });
    let shown: Vec<_> = compared.iter().map(|compare| compare.on_small_pixels(photo)).collect();
    let rows =
        compared.iter().zip(&shown).map(|(Compare { report, measures, .. }, maps)| render::MethodRow {
            title: report.setup.method.clone(),
            note: (*measures).into(),
            unit: match report.setup.unit {
                MapUnit::None => "(no unit)".into(),
                unit => unit.words().into(),
            },
            maps: maps.iter().map(AsRef::as_ref).collect(),
        });
    render::methods(photo.rgb(), &columns, &rows.collect::<Vec<_>>())
}

fn scores(score: &Score) -> Vec<String> {
    vec![format!("similarity {:.3} · logit {:.2}", score.similarity, score.logit)]
}

/// A map along the edges of a picture of the photo, if its settings ask for that.
pub(super) fn on_pixels<'map>(
    map: &'map ConceptMap,
    setup: &Setup,
    picture: &RgbImage,
) -> Cow<'map, ConceptMap> {
    if setup.refined.contains(&Refinement::Guided) {
        Cow::Owned(guided(map, picture))
    } else {
        Cow::Borrowed(map)
    }
}

/// The size of a photo whose longer side is at most so many pixels.
fn fitting(photo: &Photo, longest: u32) -> (u32, u32) {
    let size = photo.size();
    let scale = (f64::from(longest) / f64::from(size.width.max(size.height))).min(1.0);
    let side = |pixels: u32| ((f64::from(pixels) * scale).round() as u32).max(1);
    (side(size.width), side(size.height))
}

/// One figure with the photo and the maps of one query at several strengths (see
/// [`Explainer::sweep`](super::Explainer::sweep)), all on one signed scale; none if there are none.
pub fn strip(photo: &Photo, answers: &[Found]) -> Option<RgbImage> {
    strip_at(photo, answers, render::Scale::Own)
}

/// A [`strip`] on another scale than the largest of its maps.
pub fn strip_at(photo: &Photo, answers: &[Found], scale: render::Scale) -> Option<RgbImage> {
    let report = &answers.first()?.report;
    let rivals: Vec<&str> = report.against.iter().map(|rival| rival.score.prompt.as_str()).collect();
    let mut words = vec![report.target.prompt.clone()];
    if !rivals.is_empty() {
        words.push(format!("against {}", rivals.join(", ")));
    }
    words.push("all maps on one scale".into());
    let panels = answers.iter().map(|found| {
        let (strength, evidence) = (found.report.setup.strength, &found.report.evidence);
        let plain = if strength == 0.0 { " (plain)" } else { "" };
        render::Panel {
            title: format!("strength {strength}{plain}"),
            notes: vec![
                format!("objective {:.2}", found.report.objective).replace('-', "−"),
                format!("evidence +{:.2} for, −{:.2} against", evidence.positive, -evidence.negative),
            ],
            map: &found.map,
        }
    });
    let unit = report.setup.unit.words();
    Some(render::strip(photo.rgb(), &words, &panels.collect::<Vec<_>>(), scale, unit))
}

//! What comes back: maps with the numbers that belong to them, ready to be drawn.

use image::RgbImage;

use crate::{
    attribution::ConceptMap,
    error::Result,
    page::{self, Maps, PageOptions, ReportPage, View},
    photo::Photo,
    progress::Warning,
    render,
    report::{Compared, Comparison, Localization, Score},
};

/// The answer to a [`Query`] on one photo.
#[derive(Clone, Debug)]
pub struct Found {
    /// The numbers.
    pub report: Localization,
    /// The signed map.
    pub map: ConceptMap,
    /// What the user should know.
    pub warnings: Vec<Warning>,
}

impl Found {
    /// The photo with the evidence drawn over it.
    pub fn overlay(&self, photo: &Photo) -> RgbImage {
        render::overlay(photo.rgb(), &self.map, &render::RenderOptions::default())
    }
}

/// Several prompts on one photo.
#[derive(Clone, Debug)]
pub struct Compare {
    /// The numbers.
    pub report: Comparison,
    /// The signed maps of the report's prompts, in their order.
    pub maps: Vec<ConceptMap>,
    /// The same at strength 0, if the method is linear in the gradient: any contrast is a mix of them.
    pub plain: Option<Vec<ConceptMap>>,
    /// The signed maps of the report's matrix, in its order.
    pub pairs: Vec<ConceptMap>,
    /// What the user should know.
    pub warnings: Vec<Warning>,
}

impl Compare {
    /// One sheet with the photo and all maps on one shared signed scale.
    pub fn sheet(&self, photo: &Photo) -> RgbImage {
        let panels = self.report.prompts.iter().zip(&self.maps).map(|(prompt, map)| {
            let Score { prompt: title, similarity, logit, .. } = &prompt.score;
            let (kind, verdict) = (self.report.probability_kind, prompt.evidence.verdict);
            let notes = vec![
                format!("similarity {similarity:.3} · logit {logit:.2}"),
                format!("{} {} · {verdict}", kind.name(), prompt.score.percent(kind)),
            ];
            render::Panel { title: title.clone(), notes, map }
        });
        render::sheet(photo.rgb(), &panels.collect::<Vec<_>>(), render::Scale::Own)
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
        let first = view(options.target.min(self.maps.len().saturating_sub(1)));
        page::report(&ReportPage { photo: photo.rgb(), comparison: &self.report, maps, first, options })
    }
}

impl Compare {
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
        Some(render::pairs(photo.rgb(), &rows, render::Scale::Own))
    }
}

/// One figure with the photo and the maps of one query at several strengths (see
/// [`Explainer::sweep`](super::Explainer::sweep)), all on one signed scale; none if there are none.
pub fn strip(photo: &Photo, answers: &[Found]) -> Option<RgbImage> {
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
                format!("objective {:.2} logits", found.report.objective).replace('-', "−"),
                format!("evidence +{:.2} for, −{:.2} against", evidence.positive, -evidence.negative),
            ],
            map: &found.map,
        }
    });
    Some(render::strip(photo.rgb(), &words, &panels.collect::<Vec<_>>(), render::Scale::Own))
}

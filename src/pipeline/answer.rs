//! What comes back: maps with the numbers that belong to them, ready to be drawn.

use image::RgbImage;

use crate::{
    attribution::ConceptMap,
    photo::Photo,
    progress::Warning,
    render,
    report::{Comparison, Localization, Score},
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
    /// The prompts' signed maps, in their order.
    pub maps: Vec<ConceptMap>,
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
}

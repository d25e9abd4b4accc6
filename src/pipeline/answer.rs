//! What comes back: maps with the numbers that belong to them, ready to be drawn.

use image::RgbImage;

use crate::{
    attribution::ConceptMap,
    error::Result,
    page::{self, Maps, PageOptions, ReportPage, View},
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
    /// The same at strength 0, if the method is linear in the gradient: any contrast is a mix of them.
    pub plain: Option<Vec<ConceptMap>>,
    /// What the user should know.
    pub warnings: Vec<Warning>,
}

impl Compare {
    /// One sheet with the photo and all maps on one shared signed scale.
    pub fn sheet(&self, photo: &Photo) -> RgbImage {
        let panels = self.report.prompts.iter().zip(&self.maps).map(|(prompt, map)| {
            let Score { prompt: title, similarity, logit, probability } = &prompt.score;
            let notes = vec![
                format!("similarity {similarity:.3} · logit {logit:.2}"),
                format!("softmax {:.1} % · {}", probability * 100.0, prompt.evidence.verdict),
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

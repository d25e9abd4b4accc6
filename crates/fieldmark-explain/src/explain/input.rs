//! A photo as the model sees it, which can be changed and seen again: what measures that ask the model once more
//! stand on. candle's tensors stay in here.

use candle_core::Tensor;
use rayon::prelude::*;

use crate::prompt::Template;
use fieldmark_model::{
    embed::Scores, error::Result, geometry::Placement, model::network::Recording, photo::Photo,
    progress::Event,
};

use super::{
    Explainer,
    settings::Settings,
    tower_pass::{fit_request, refuse_too_many_tokens},
};

/// A photo after preprocessing.
pub struct ModelInput<'e> {
    explainer: &'e Explainer,
    pixels: Vec<f32>,
    placement: Placement,
}

/// Texts that were embedded, the target's first.
#[derive(Clone, Debug)]
pub struct Prompts {
    texts: Tensor,
}

/// A picture's embedding, a unit vector.
#[derive(Clone, Debug)]
pub struct Embedding(Tensor);

impl Explainer {
    /// A photo as these settings show it to the model. Tiles play no part: this is the look at the whole photo.
    ///
    /// # Errors
    /// If the settings' fit or detail cannot be used for the photo.
    pub fn input(&self, photo: &Photo, settings: &Settings) -> Result<ModelInput<'_>> {
        let request = fit_request(&self.model, settings);
        request.check()?;
        let prepared = self.model.preprocess().prepare(photo, &request)?;
        let tokens = self.model.config().vision.prefix_tokens() + prepared.placement.grid.cells();
        refuse_too_many_tokens(&self.model, tokens, &Recording::default())?;
        Ok(ModelInput { explainer: self, pixels: prepared.pixels, placement: prepared.placement })
    }

    /// Embeds a target and its rivals, or takes them from those that were embedded before.
    ///
    /// # Errors
    /// If a prompt is empty.
    pub fn prompts(&self, target: &str, rivals: &[String], templates: &[Template]) -> Result<Prompts> {
        let all: Vec<&str> = std::iter::once(target).chain(rivals.iter().map(String::as_str)).collect();
        Ok(Prompts { texts: self.texts.embed(&self.model, &all, templates)?.0 })
    }

    /// What prompts score on a picture, in their order.
    ///
    /// # Errors
    /// If the computation fails.
    pub fn scores(&self, picture: &Embedding, prompts: &Prompts) -> Result<Scores> {
        let scores = Scores::new(&picture.0, &prompts.texts, self.model.logit_scale())?;
        Ok(scores.with_bias(self.model.logit_bias()))
    }
}

impl Prompts {
    /// How many there are: the target and its rivals.
    pub fn count(&self) -> usize {
        self.texts.dims().first().copied().unwrap_or(0)
    }
}

impl ModelInput<'_> {
    /// Normalised values, `[3, height, width]`: channel by channel, each row by row.
    pub fn pixels(&self) -> &[f32] {
        &self.pixels
    }

    /// What of the photo they show.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// What a colour becomes, of which every channel goes from 0 to 255.
    pub fn normalised(&self, colour: [f32; 3]) -> [f32; 3] {
        let preprocess = self.explainer.model.preprocess();
        let rescale = preprocess.rescale as f32;
        std::array::from_fn(|at| (colour[at] * rescale - preprocess.mean[at]) / preprocess.std[at])
    }

    /// The embeddings of changed pictures of this size, in their order. They pass the vision tower in batches of
    /// bounded memory, and only a batch of them exists at a time; `make` is called on several threads.
    ///
    /// # Errors
    /// If a picture has another number of values, or an embedding is not finite.
    pub fn embed<T: Sync>(
        &self,
        changes: &[T],
        make: impl Fn(&T) -> Vec<f32> + Sync,
    ) -> Result<Vec<Embedding>> {
        let Explainer { model, progress, .. } = self.explainer;
        let tower = model.vision()?;
        let (height, width) = (self.placement.input.height as usize, self.placement.input.width as usize);
        let mut embeddings = Vec::with_capacity(changes.len());
        progress.event(Event::PassesStarted { passes: changes.len() });
        for batch in changes.chunks(tower.images_at_once(self.placement.grid)) {
            let pictures: Vec<f32> = batch.par_iter().map(&make).collect::<Vec<_>>().concat();
            let pictures = Tensor::from_vec(pictures, (batch.len(), 3, height, width), model.device())?;
            let rows = model.unit(&tower.embeddings(&pictures)?, "image embedding")?;
            for row in 0..batch.len() {
                embeddings.push(Embedding(rows.get(row)?));
            }
            progress.event(Event::PassesAdvanced { passes: batch.len() });
        }
        progress.event(Event::PassesFinished);
        Ok(embeddings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::Query;

    #[test]
    fn an_unchanged_photo_scores_what_its_report_says() -> Result<()> {
        let photo = Photo::open("../../tests/fixtures/photos/shapes-96x64.png")?;
        for name in ["../../tests/fixtures/models/tiny-gelu", "../../tests/fixtures/models/tiny-siglip"] {
            let explainer = Explainer::load(name)?;
            let query = Query::new("red square").against(["blue circle"]);
            let report = explainer.localize(&photo, &query)?.report;
            let input = explainer.input(&photo, &query.settings)?;
            let prompts = explainer.prompts("red square", &query.references, &query.settings.templates)?;
            // As many as do not fit one batch, and different ones between them.
            let changes: Vec<f32> = (0..40).map(|index| f32::from(index % 2 == 0)).collect();
            let changed = |keep: &f32| input.pixels().iter().map(|value| value * keep).collect();
            let embeddings = input.embed(&changes, changed)?;
            let scores: Vec<Scores> =
                embeddings.iter().map(|one| explainer.scores(one, &prompts)).collect::<Result<_>>()?;
            for (index, scores) in scores.iter().enumerate() {
                let off = (scores.similarities[0] - report.target.similarity).abs();
                assert_eq!(off < 1e-5, index % 2 == 0, "{name}, picture {index}: {off}");
                assert!((scores.logits[0] - scores_of(&scores.similarities, &explainer)).abs() < 1e-9);
            }
        }
        Ok(())
    }

    fn scores_of(similarities: &[f64], explainer: &Explainer) -> f64 {
        similarities[0] * explainer.model().logit_scale() + explainer.model().logit_bias()
    }

    #[test]
    fn colours_are_normalised_as_pixels_are() -> Result<()> {
        let explainer = Explainer::load("miniature")?;
        let photo = Photo::open("../../tests/fixtures/photos/shapes-96x64.png")?;
        let input = explainer.input(&photo, &Settings::default())?;
        let [low, high] = [[0.0; 3], [255.0; 3]].map(|colour| input.normalised(colour));
        let channel = input.pixels().len() / 3;
        for (index, values) in input.pixels().chunks_exact(channel).enumerate() {
            assert!(values.iter().all(|value| (low[index] - 1e-5..=high[index] + 1e-5).contains(value)));
        }
        Ok(())
    }
}

//! Prompts become text embeddings: each text once, however many photos it is asked of, and once for all runs where
//! there is a cache.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use candle_core::Tensor;

use crate::{attribution::Method, prompt::Template, verdict::NEUTRAL};
use fieldmark_model::{
    error::{Error, Result},
    model::{Model, TextCache, tokenizer::Tokens},
    progress::Warning,
};

/// Texts in one pass of the text tower: more would need memory and save no time.
const TEXT_BATCH: usize = 32;

/// So many texts are remembered, or twice as many as one call asks for if that is more: a data set may have another
/// prompt for every picture.
const MOST_KNOWN: usize = 1 << 15;

/// The texts that were embedded so far.
#[derive(Default)]
pub(super) struct Texts {
    known: Mutex<HashMap<String, EmbeddedText>>,
    cache: Option<TextCache>,
}

/// An embedded text.
struct EmbeddedText {
    row: Tensor,
    /// Set where the text was longer than the model's context.
    truncated: Option<Warning>,
}

impl Texts {
    /// No texts yet but those that a cache knows.
    pub(super) fn new(cache: Option<TextCache>) -> Self {
        Self { cache, ..Self::default() }
    }

    /// The prompts' embeddings, each a unit vector: [prompts, embedding]. The neutral prompt is never phrased by
    /// a template.
    pub(super) fn embed(
        &self,
        model: &Model,
        prompts: &[&str],
        templates: &[Template],
    ) -> Result<(Tensor, Vec<Warning>)> {
        if let Some(empty) = prompts.iter().find(|prompt| prompt.trim().is_empty()) {
            return Err(Error::Prompt { prompt: (*empty).into(), reason: "it is empty".into() });
        }
        self.embed_any(model, prompts, templates)
    }

    /// The embeddings of what a method asks for beside the prompts, phrased as they are; none where it asks for
    /// nothing. An empty text is embedded like any other.
    pub(super) fn embed_extra(
        &self,
        model: &Model,
        method: &dyn Method,
        templates: &[Template],
    ) -> Result<Option<Tensor>> {
        match method.extra_prompts() {
            [] => Ok(None),
            prompts => Ok(Some(self.embed_any(model, prompts, templates)?.0)),
        }
    }

    fn embed_any(
        &self,
        model: &Model,
        prompts: &[&str],
        templates: &[Template],
    ) -> Result<(Tensor, Vec<Warning>)> {
        let mut warnings = Vec::new();
        let mut rows = Vec::with_capacity(prompts.len());
        let plain = [Template::default()];
        for prompt in prompts {
            let templates = if *prompt == NEUTRAL || templates.is_empty() { &plain } else { templates };
            rows.push(templates.iter().map(|template| template.fill(prompt)).collect::<Vec<_>>());
        }
        self.embed_new(model, rows.iter().flatten(), &mut warnings)?;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mean = |texts: &Vec<String>| -> Result<Tensor> {
            let rows: Vec<_> = texts.iter().filter_map(|text| Some(&known.get(text)?.row)).collect();
            Ok(Tensor::stack(&rows, 0)?.mean(0)?)
        };
        let means: Result<Vec<_>> = rows.iter().map(mean).collect();
        let means = Tensor::stack(&means?, 0)?;
        Ok((model.unit(&means, "text embedding")?, warnings))
    }

    /// Embeds the texts that were not embedded before. Those that the cache knows need no tokenizer.
    fn embed_new<'t>(
        &self,
        model: &Model,
        texts: impl Iterator<Item = &'t String> + Clone,
        warnings: &mut Vec<Warning>,
    ) -> Result<()> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > MOST_KNOWN.max(2 * texts.clone().count()) {
            known.clear();
        }
        let mut new: Vec<(&str, Tokens)> = Vec::new();
        let mut awaited: HashSet<&String> = HashSet::new();
        for text in texts {
            if let Some(known) = known.get(text) {
                warnings.extend(known.truncated.clone());
                continue;
            }
            if !awaited.insert(text) {
                continue;
            }
            match self.find(model, text)? {
                Ok(found) => {
                    warnings.extend(found.truncated.clone());
                    known.insert(text.clone(), found);
                }
                Err(tokens) => {
                    warnings.extend(tokens.truncated.clone());
                    new.push((text, tokens));
                }
            }
        }
        // Texts of one length waste no work on what fills the shorter ones up.
        new.sort_by_key(|(_, tokens)| tokens.end);
        for batch in new.chunks(TEXT_BATCH) {
            let tokens: Vec<_> = batch.iter().map(|(_, tokens)| tokens.clone()).collect();
            let rows = model.embed_texts(&tokens)?;
            for (index, (text, tokens)) in batch.iter().enumerate() {
                let embedded = EmbeddedText { row: rows.get(index)?, truncated: tokens.truncated.clone() };
                known.insert((*text).to_owned(), embedded);
            }
            warnings.extend(self.keep(batch, &rows)?);
        }
        Ok(())
    }

    /// What the cache knows of a text, else its tokens.
    fn find(&self, model: &Model, text: &str) -> Result<std::result::Result<EmbeddedText, Tokens>> {
        let known = |row: Vec<f32>, truncated| -> Result<EmbeddedText> {
            Ok(EmbeddedText { row: Tensor::new(row, model.device())?, truncated })
        };
        if let Some(row) = self.cache.as_ref().and_then(|cache| cache.find(text)) {
            return Ok(Ok(known(row, None)?));
        }
        let tokens = model.tokenize_any(text)?;
        let cut = self.cache.as_ref().filter(|_| tokens.truncated.is_some());
        match cut.and_then(|cache| cache.find_cut(&tokens)) {
            Some(row) => Ok(Ok(known(row, tokens.truncated)?)),
            None => Ok(Err(tokens)),
        }
    }

    /// Keeps embeddings for later runs. That they cannot be kept stops nothing.
    fn keep(&self, texts: &[(&str, Tokens)], rows: &Tensor) -> Result<Option<Warning>> {
        let Some(cache) = &self.cache else { return Ok(None) };
        let texts = texts.iter().zip(rows.to_vec2::<f32>()?);
        let kept: Vec<_> = texts.map(|((text, tokens), row)| (*text, tokens, row)).collect();
        Ok(cache.add(&kept).err().map(|error| Warning::text_cache(&error)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::{explain::Explainer, explain::LoadOptions, explain::Query};
    use fieldmark_model::{photo::Photo, progress::Silent};

    const CHECKPOINT: &str = "../../tests/fixtures/models/tiny-gelu";

    fn explainer(cache: Option<&Path>) -> fieldmark_model::error::Result<Explainer> {
        let options = LoadOptions { text_cache: cache.map(Path::to_owned), ..LoadOptions::default() };
        Explainer::load_with(CHECKPOINT, &options, &Silent)
    }

    #[test]
    fn a_second_run_with_the_same_texts_needs_neither_text_tower_nor_tokenizer()
    -> fieldmark_model::error::Result<()> {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let photo = Photo::open("../../tests/fixtures/photos/shapes-96x64.png")?;
        let query = Query::new("red square").against(["blue circle"]);
        let mut answers = Vec::new();
        for (run, expected) in [(1, true), (2, false)] {
            let explainer = explainer(Some(folder.path()))?;
            assert_eq!(explainer.model().loaded(), [true, false, false], "run {run}");
            answers.push(explainer.localize(&photo, &query)?);
            assert_eq!(explainer.model().loaded(), [true, expected, expected], "run {run}");
        }
        assert_eq!(answers[0].map, answers[1].map);
        assert_eq!(answers[0].report.target.similarity, answers[1].report.target.similarity);
        // Another text needs the tower, and the same ones do without a folder.
        let again = explainer(Some(folder.path()))?;
        again.check(&Query::new("green square"))?;
        assert_eq!(again.model().loaded(), [true, true, true]);
        let without = explainer(None)?;
        without.check(&query)?;
        assert_eq!(without.model().loaded(), [true, true, true]);
        Ok(())
    }

    #[test]
    fn texts_alone_do_not_load_the_vision_tower() -> fieldmark_model::error::Result<()> {
        let model = fieldmark_model::model::Model::open(Path::new(CHECKPOINT), candle_core::Device::Cpu)?;
        model.embed_texts(&[model.tokenize("red square")?])?;
        assert_eq!(model.loaded(), [false, true, true]);
        Ok(())
    }
}

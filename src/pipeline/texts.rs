//! Prompts become text embeddings: each text once, however many photos it is asked of.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use candle_core::Tensor;

use crate::{
    attribution::Method,
    error::{Error, Result},
    model::Model,
    progress::Warning,
    prompt::Template,
    verdict::NEUTRAL,
};

/// Texts in one pass of the text tower: more would need memory and save no time.
const TEXT_BATCH: usize = 32;

/// The texts that were embedded so far.
#[derive(Default)]
pub(super) struct Texts {
    known: Mutex<HashMap<String, Tensor>>,
}

impl Texts {
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
            let rows: Vec<_> = texts.iter().filter_map(|text| known.get(text)).collect();
            Ok(Tensor::stack(&rows, 0)?.mean(0)?)
        };
        let means: Result<Vec<_>> = rows.iter().map(mean).collect();
        let means = Tensor::stack(&means?, 0)?;
        Ok((model.unit(&means, "text embedding")?, warnings))
    }

    /// Embeds the texts that were not embedded before, in one batch.
    fn embed_new<'t>(
        &self,
        model: &Model,
        texts: impl Iterator<Item = &'t String>,
        warnings: &mut Vec<Warning>,
    ) -> Result<()> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new: Vec<(&String, _)> = Vec::new();
        for text in texts {
            let tokens = model.tokenize_any(text)?;
            warnings.extend(tokens.truncated.clone());
            if !known.contains_key(text) && new.iter().all(|(other, _)| *other != text) {
                new.push((text, tokens));
            }
        }
        for batch in new.chunks(TEXT_BATCH) {
            let tokens: Vec<_> = batch.iter().map(|(_, tokens)| tokens.clone()).collect();
            let rows = model.embed_texts(&tokens)?;
            for (index, (text, _)) in batch.iter().enumerate() {
                known.insert((*text).clone(), rows.get(index)?);
            }
        }
        Ok(())
    }
}

//! What was typed, as the library's settings.

use anyhow::Result;
use fieldmark::{
    Error, Settings,
    attribution::METHODS,
    explain::Rivals,
    objective::{Strength, objective, references::By},
    page::PageOptions,
    prompt::{ConceptList, templates},
};

use super::{
    shared::{MapArgs, RivalArgs, ViewArgs},
    values::ALL_METHODS,
};

/// The settings that were typed.
pub fn settings(args: &MapArgs, method: Option<&str>, strength: Strength) -> Result<Settings> {
    Ok(view(&args.view)?
        .strength(strength)
        .method(method.map(str::to_owned))
        .layers(args.layers.layers())
        .threshold(args.threshold)
        .aggregate(args.aggregate.clone()))
}

/// The strength that was typed, else the usual one. An objective that takes the references whole or not at all would
/// silently read 0.3 as 1, and one without references as 0.
pub fn strength(aggregate: &str, typed: Option<f64>, usual: f64) -> Result<Strength> {
    let objective = objective(aggregate)?;
    let Some(typed) = typed else {
        return Ok(objective.effective_strength(Strength::new(usual)?));
    };
    let typed = Strength::new(typed)?;
    if objective.effective_strength(typed) == typed {
        return Ok(typed);
    }
    let expected = if objective.contrasts() { "0 or 1" } else { "0" };
    let reason = format!("expected {expected} with {aggregate}, found {}", typed.get());
    Err(Error::Option { option: "strength", reason }.into())
}

/// The strengths that were typed, else the usual one.
pub fn strengths(aggregate: &str, typed: &[f64]) -> Result<Vec<Strength>> {
    let usual = Strength::default().get();
    match typed {
        [] => Ok(vec![strength(aggregate, None, usual)?]),
        _ => typed.iter().map(|typed| strength(aggregate, Some(*typed), usual)).collect(),
    }
}

/// By which rule rivals are found among the concepts of a list.
pub fn rivals(args: &RivalArgs, concepts: ConceptList, synonym_threshold: f64) -> Rivals {
    let (by, count) = (args.by, if args.by == By::Group { 1 } else { 3 });
    Rivals::among(concepts)
        .by(by)
        .count(args.nearest.unwrap_or(count))
        .synonym_threshold(args.synonym_threshold.unwrap_or(synonym_threshold))
        .list(args.concepts.as_ref().map(|list| list.to_string_lossy().into_owned()))
}

/// The methods that a list names, or all of them, each once.
pub fn methods(list: &[String]) -> Vec<String> {
    if list.iter().any(|name| name == ALL_METHODS) {
        return METHODS.iter().map(|method| method.name().into()).collect();
    }
    let mut names: Vec<String> = Vec::new();
    for name in list {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// The settings that the maps of one run have in common; the others are the defaults.
pub fn view(args: &ViewArgs) -> Result<Settings> {
    let sets: fieldmark::Result<Vec<_>> = args.template.iter().map(|template| templates(template)).collect();
    Ok(Settings::default()
        .fit(args.fit)
        .detail(args.detail)
        .tiles(args.tiles)
        .artifacts(args.artifacts)
        .refine(args.refine.clone())
        .templates(sets?.concat()))
}

/// What a page shows of a run whose checkpoint is not hashed; `strength`, as [`page_strength`] returns it.
pub fn page_options(settings: &Settings, strength: Option<f64>) -> PageOptions {
    PageOptions::default().target(0).strength(strength).templates(texts(settings)).model_hash(None)
}

/// The strength that a page of compared prompts opens at: the usual one unless another was typed, since rivals change
/// nothing at 0.
pub fn page_strength(aggregate: &str, typed: Option<f64>) -> Result<Option<f64>> {
    match typed {
        Some(_) => Ok(None),
        None => Ok(Some(strength(aggregate, None, Strength::default().get())?.get())),
    }
}

/// How prompts are phrased, as texts.
pub fn texts(settings: &Settings) -> Vec<String> {
    settings.templates.iter().map(|template| template.as_str().to_owned()).collect()
}

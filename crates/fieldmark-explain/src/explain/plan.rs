//! Settings, resolved for one checkpoint; which prompts count in a map, and with which sign.

use std::ops::Range;

use crate::{
    attribution::{Combination, Method, Needs},
    objective::{self, Objective, Strength},
    refine::{self, Refinement},
    report::{MapUnit, Setup},
};
use fieldmark_model::{
    error::{Error, Result},
    model::{config::ClipConfig, network::Recording},
};

use super::{Explainer, layers::Layers, settings::Settings, tower_pass::fit_request};

/// The settings, resolved for one checkpoint.
pub(super) struct Plan<'e> {
    /// The blocks whose maps become one, ascending.
    pub(super) layers: Vec<usize>,
    pub(super) combination: Combination,
    pub(super) recording: Recording,
    pub(super) method: &'e dyn Method,
    pub(super) objective: &'e dyn Objective,
    pub(super) setup: Setup,
}

impl<'e> Plan<'e> {
    /// Resolves the settings' names against what there is.
    pub(super) fn new(explainer: &'e Explainer, settings: &Settings) -> Result<Self> {
        let model = &explainer.model;
        let config = model.config();
        fit_request(model, settings).check()?;
        let mut refined = settings.refine.clone();
        refined.sort_unstable();
        refined.dedup();
        let (method, objective) = (explainer.method(settings)?, explainer.objective(settings)?);
        let needs = needs(config, settings, method)?;
        let mut layers: Vec<usize> = needs.iter().map(|need| need.layer).collect();
        layers.sort_unstable();
        layers.dedup();
        let from_end = |need: &Needs| need.layer as i64 - config.vision.tower.layers as i64;
        let asked = match &settings.layers {
            Layers::Own => needs.iter().map(from_end).collect(),
            layers => layers.blocks().to_vec(),
        };
        let combination = settings.layers.combination();
        let combined = combination.filter(|_| layers.len() > 1);
        let facts = method.facts();
        let objective_unit = objective::Unit::Logits;
        let setup = Setup {
            method: method.name().into(),
            layer: asked.last().copied().unwrap_or(-1),
            layers: asked,
            layers_combine: combined,
            strength: objective.effective_strength(settings.strength).get(),
            aggregate: objective.name().into(),
            objective_unit,
            unit: MapUnit::new(facts.unit, objective_unit, combined),
            linear: facts.linear
                && combined != Some(Combination::Product)
                && !refined.contains(&Refinement::Affinity),
            precision: model.precision(),
            fit: settings.fit,
            grid: [0; 2],
            covers: [0.0; 4],
            tiles: None,
            artifacts: None,
            refined,
            threshold: settings.threshold,
            detail: settings.detail,
            tiles_asked: settings.tiles,
            templates: settings.templates.clone(),
        };
        let mut recording = needs.iter().fold(Recording::default(), |all, need| all.and(&need.recording));
        if setup.refined.contains(&Refinement::Affinity) {
            let attention = attending_blocks(config.vision.tower.layers);
            recording = recording.and(&Recording { attention, ..Recording::default() });
        }
        Ok(Self { layers, combination: combination.unwrap_or_default(), recording, method, objective, setup })
    }

    /// Whether the map of a mix of prompts is the same mix of their maps.
    pub(super) fn is_linear(&self) -> bool {
        self.setup.linear
    }

    /// A setup with what depends on the strength and on how many prompts compete.
    pub(super) fn in_force(&self, setup: Setup, competing: usize, strength: Strength) -> Setup {
        let objective_unit = self.objective.unit(competing, strength);
        Setup {
            strength: self.objective.effective_strength(strength).get(),
            objective_unit,
            unit: MapUnit::new(self.method.facts().unit, objective_unit, setup.layers_combine),
            ..setup
        }
    }
}

/// What the method needs for every layer that the settings name, or for its own.
fn needs(config: &ClipConfig, settings: &Settings, method: &dyn Method) -> Result<Vec<Needs>> {
    let of_block = |asked: i64| {
        let block = block(asked, config.vision.tower.layers as i64)?;
        method.needs(&config.vision, Some(block))
    };
    match &settings.layers {
        Layers::Own => Ok(vec![method.needs(&config.vision, None)?]),
        layers if layers.blocks().is_empty() => {
            let reason = "expected at least one, found none".to_owned();
            Err(Error::Option { option: "layers", reason })
        }
        layers => layers.blocks().iter().map(|asked| of_block(*asked)).collect(),
    }
}

/// The blocks whose attention refines a map.
pub(super) fn attending_blocks(layers: usize) -> Range<usize> {
    layers.saturating_sub(refine::BLOCKS)..layers
}

/// The index of a block, from a number that counts from either end.
fn block(layer: i64, layers: i64) -> Result<usize> {
    let index = if layer < 0 { layer.saturating_add(layers) } else { layer };
    if (0..layers).contains(&index) {
        return Ok(index as usize);
    }
    let reason = format!("expected {} to {}, found {layer}", -layers, layers - 1);
    Err(Error::Option { option: "layer", reason })
}

/// One prompt as the target and all others as references: the objective's weights in the prompts' order.
pub(super) struct PromptWeights {
    pub(super) weights: Vec<f64>,
    pub(super) value: f64,
}

impl PromptWeights {
    pub(super) fn new(plan: &Plan, logits: &[f64], target: usize, settings: &Settings) -> Self {
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order[..=target].rotate_right(1);
        if settings.strength.get() == 0.0 {
            order.truncate(1);
        }
        let chosen: Vec<f64> = order.iter().map(|index| logits[*index]).collect();
        let mut weights = vec![0.0; logits.len()];
        for (index, weight) in order.iter().zip(plan.objective.gradient(&chosen, settings.strength)) {
            weights[*index] = weight;
        }
        Self { weights, value: plan.objective.value(&chosen, settings.strength) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_eight_blocks_refine_a_map_or_all_there_are() {
        assert_eq!(attending_blocks(12), 4..12);
        assert_eq!(attending_blocks(3), 0..3);
    }
}

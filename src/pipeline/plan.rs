//! Settings, resolved for one checkpoint; which prompts count in a map, and with which sign.

use crate::{
    attribution::{self, Method},
    error::{Error, Result},
    model::{Model, config::ClipConfig},
    objective::{self, Objective},
    report::Setup,
};

use super::{look::fit_request, settings::Settings};

/// The settings, resolved for one checkpoint.
pub(super) struct Plan {
    pub(super) layer: usize,
    pub(super) method: &'static dyn Method,
    pub(super) objective: &'static dyn Objective,
    pub(super) setup: Setup,
}

impl Plan {
    /// Resolves the settings' names against what there is.
    pub(super) fn new(model: &Model, settings: &Settings) -> Result<Self> {
        let config = model.config();
        let layers = config.vision.tower.layers as i64;
        let layer = if settings.layer < 0 { settings.layer + layers } else { settings.layer };
        if !(0..layers).contains(&layer) {
            let reason = format!("expected {} to {}, found {}", -layers, layers - 1, settings.layer);
            return Err(Error::Option { option: "layer", reason });
        }
        fit_request(model, settings).check()?;
        let mut refined = settings.refine.clone();
        refined.sort_unstable();
        refined.dedup();
        let method = method(config, settings)?;
        let objective = objective::objective(&settings.aggregate)?;
        let setup = Setup {
            method: method.name().into(),
            layer: settings.layer,
            strength: settings.strength.get(),
            aggregate: objective.name().into(),
            fit: settings.fit,
            grid: [0; 2],
            covers: [0.0; 4],
            tiles: None,
            artifacts: None,
            refined,
            threshold: settings.threshold,
        };
        Ok(Self { layer: layer as usize, method, objective, setup })
    }
}

/// The method that these settings mean for this checkpoint.
pub(super) fn method(config: &ClipConfig, settings: &Settings) -> Result<&'static dyn Method> {
    match settings.method.as_ref().or(config.recommended_method.as_ref()) {
        Some(name) => attribution::method(name),
        None => Ok(attribution::METHODS[0]),
    }
}

/// One prompt as the target and all others as references: the objective's weights in the prompts' order.
pub(super) struct Mix {
    pub(super) weights: Vec<f64>,
    pub(super) value: f64,
}

impl Mix {
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

//! Methods and objectives of a user's own, beside those that ship.

use std::sync::Arc;

use crate::{
    attribution::{self, METHODS, Method},
    objective::{self, OBJECTIVES, Objective},
};
use fieldmark_model::error::{Error, Result};

/// What an explainer knows beside [`METHODS`] and [`OBJECTIVES`].
#[derive(Clone, Default)]
pub(super) struct Extensions {
    methods: Vec<Arc<dyn Method>>,
    objectives: Vec<Arc<dyn Objective>>,
}

impl Extensions {
    pub(super) fn add_method(&mut self, method: Arc<dyn Method>) -> Result<()> {
        let known = METHODS.iter().map(|known| known.name()).chain(self.methods.iter().map(|own| own.name()));
        refuse_taken("method", method.name(), known)?;
        self.methods.push(method);
        Ok(())
    }

    pub(super) fn add_objective(&mut self, objective: Arc<dyn Objective>) -> Result<()> {
        let own = self.objectives.iter().map(|own| own.name());
        refuse_taken("aggregate", objective.name(), OBJECTIVES.iter().map(|known| known.name()).chain(own))?;
        self.objectives.push(objective);
        Ok(())
    }

    /// The method of that name: one of a user's own, or one that ships.
    pub(super) fn method(&self, name: &str) -> Result<&dyn Method> {
        match self.methods.iter().find(|method| method.name() == name) {
            Some(own) => Ok(&**own),
            None => Ok(attribution::method(name)?),
        }
    }

    /// The objective of that name: one of a user's own, or one that ships.
    pub(super) fn objective(&self, name: &str) -> Result<&dyn Objective> {
        match self.objectives.iter().find(|objective| objective.name() == name) {
            Some(own) => Ok(&**own),
            None => Ok(objective::objective(name)?),
        }
    }
}

/// A name stands for one thing, in results as well.
fn refuse_taken(
    option: &'static str,
    name: &str,
    mut known: impl Iterator<Item = &'static str>,
) -> Result<()> {
    if known.any(|known| known == name) {
        let reason = format!("expected a name that is not taken, found {name:?}");
        return Err(Error::Option { option, reason });
    }
    Ok(())
}

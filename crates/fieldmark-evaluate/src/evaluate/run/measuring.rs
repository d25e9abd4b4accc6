//! The pictures of a run are measured, several at once.

use crate::{
    dataset::Picture,
    evaluate::{Evaluator, Measured},
};
use fieldmark_explain::run::{Ended, Open, Opening, Work, memory};
use fieldmark_model::error::Result;

/// What a run does with each picture, which comes with its place in the data set: those of a batch are opened and measured
/// together.
pub(super) struct Measuring<'a>(pub(super) &'a Evaluator<'a>);

impl Work for Measuring<'_> {
    type Input = (usize, Picture);
    type Opened = ();
    type Answer = Measured;
    type Output = Measured;

    fn memory(&self, (_, picture): &(usize, Picture)) -> u64 {
        memory(&picture.path)
    }

    fn open(&self, _: &(usize, Picture)) -> Result<Opening<(), Measured>> {
        Ok(Opening::Photo(()))
    }

    fn answer(&self, open: &[Open<'_, (usize, Picture), ()>], _: &Ended) -> Vec<Result<Measured>> {
        let pictures: Vec<&Picture> = open.iter().map(|open| &open.input.1).collect();
        let checked = |measured: Result<Measured>| {
            let measured = measured?;
            self.0.explainer().model().check_unchanged()?;
            Ok(measured)
        };
        self.0.measure_each(&pictures).into_iter().map(checked).collect()
    }

    fn finish(&self, _: &Open<'_, (usize, Picture), ()>, measured: Measured) -> Result<Measured> {
        Ok(measured)
    }
}

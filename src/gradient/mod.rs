//! GRADIENTS: how the image's embedding depends on the activations of one layer.
//!
//! The trunk runs once. What is asked of the head afterwards are products of gradients with a few *directions*
//! of the embedding, one a prompt or a mix of prompts: the gradient is linear in them. At the last block of a tower
//! that ends in its class token these products have a closed form that costs next to nothing (`last_block`);
//! elsewhere, and where all tokens are pooled, candle's automatic differentiation gives them. The general way works
//! everywhere and is the check of the closed form.

mod last_block;

use std::sync::OnceLock;

use candle_core::{Tensor, Var};

use crate::{
    error::{Error, Result},
    model::nn::{BlockInput, VisionTower},
};
use last_block::LastBlock;

/// One image's activations at one layer, and the way from there to its embedding.
pub struct LayerTrace<'a> {
    tower: &'a VisionTower,
    layer: usize,
    input: BlockInput,
    head: Head,
    general: OnceLock<Graph>,
}

enum Head {
    Closed(Box<LastBlock>),
    Graph,
}

/// The head with a graph behind it: the variable and what became of it.
struct Graph {
    activations: Var,
    embedding: Tensor,
}

/// How a [`LayerTrace`] differentiates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differentiation {
    /// In closed form where there is one.
    Fastest,
    /// By candle's automatic differentiation everywhere.
    Automatic,
}

impl<'a> LayerTrace<'a> {
    /// Runs the tower on one image.
    ///
    /// # Shapes
    /// `pixels`: [3, height, width].
    ///
    /// # Errors
    /// If the sides are not multiples of the patch, or `layer` is not below the number of blocks.
    pub fn new(
        tower: &'a VisionTower,
        pixels: &Tensor,
        layer: usize,
        differentiation: Differentiation,
    ) -> Result<Self> {
        let input = tower.run_until(&pixels.unsqueeze(0)?, layer)?;
        let last = differentiation == Differentiation::Fastest && layer + 1 == tower.layers();
        let head = match tower.class_token_end().filter(|_| last) {
            Some(end) => Head::Closed(Box::new(LastBlock::new(end, &input)?)),
            None => Head::Graph,
        };
        Ok(Self { tower, layer, input, head, general: OnceLock::new() })
    }

    /// The image's embedding before it is made a unit vector.
    ///
    /// # Shapes
    /// Returns `[embedding]`.
    ///
    /// # Errors
    /// If the tensor computation fails.
    pub fn embedding(&self) -> Result<Tensor> {
        match &self.head {
            Head::Closed(block) => Ok(block.embedding().clone()),
            Head::Graph => Ok(self.graph()?.embedding.detach()),
        }
    }

    /// The activations of the patches (without a class token's): the output of the layer's `ln_1`.
    ///
    /// # Shapes
    /// Returns [cells, width].
    ///
    /// # Errors
    /// If the tensor computation fails.
    pub fn patch_activations(&self) -> Result<Tensor> {
        self.patches_of(&self.input.activations)
    }

    /// The gradient along one direction of the embedding with respect to the patches' activations.
    ///
    /// # Shapes
    /// `direction`: `[embedding]`; returns [cells, width].
    ///
    /// # Errors
    /// [`Error::Numeric`] if the gradient got lost or is not finite.
    pub fn patch_gradients(&self, direction: &Tensor) -> Result<Tensor> {
        let graph = self.graph()?;
        let along = (&graph.embedding * direction)?.sum_all()?;
        let gradients = along.backward()?;
        let lost = |reason: &str| Error::Numeric { what: "gradient", reason: reason.into() };
        let gradient = gradients.get(&graph.activations).ok_or_else(|| {
            lost("the embedding does not depend on the layer: an operation on the way has no backward")
        })?;
        let size = gradient.abs()?.sum_all()?.to_scalar::<f32>()?;
        match size.is_finite() {
            true => self.patches_of(gradient),
            false => Err(lost("expected finite numbers, found NaN or infinity")),
        }
    }

    /// The gradients' means over the patches, for several directions.
    ///
    /// # Shapes
    /// `directions`: [rows, embedding]; returns [rows, width].
    ///
    /// # Errors
    /// As [`patch_gradients`](Self::patch_gradients).
    pub fn mean_gradients(&self, directions: &Tensor) -> Result<Tensor> {
        match &self.head {
            Head::Closed(block) => block.mean_gradients(directions),
            Head::Graph => self.each(directions, |gradients| Ok(gradients.mean(0)?)),
        }
    }

    /// The gradients times the activations, summed over the width, for several directions.
    ///
    /// # Shapes
    /// `directions`: [rows, embedding]; returns [rows, cells].
    ///
    /// # Errors
    /// As [`patch_gradients`](Self::patch_gradients).
    pub fn gradients_times_activations(&self, directions: &Tensor) -> Result<Tensor> {
        match &self.head {
            Head::Closed(block) => block.gradients_times_activations(directions),
            Head::Graph => {
                let activations = self.patch_activations()?;
                self.each(directions, |gradients| Ok((gradients * &activations)?.sum(1)?))
            }
        }
    }

    fn each(&self, directions: &Tensor, reduce: impl Fn(Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let rows: Result<Vec<_>> =
            (0..directions.dim(0)?).map(|row| reduce(self.patch_gradients(&directions.get(row)?)?)).collect();
        Ok(Tensor::stack(&rows?, 0)?)
    }

    /// The rows of the patches of one image's tokens: [1, tokens, width] to [cells, width].
    fn patches_of(&self, tokens: &Tensor) -> Result<Tensor> {
        let (count, prefix) = (tokens.dim(1)?, self.tower.prefix_tokens());
        Ok(tokens.squeeze(0)?.narrow(0, prefix, count - prefix)?.contiguous()?)
    }

    fn graph(&self) -> Result<&Graph> {
        if let Some(graph) = self.general.get() {
            return Ok(graph);
        }
        let activations = Var::from_tensor(&self.input.activations)?;
        let input =
            BlockInput { hidden: self.input.hidden.clone(), activations: activations.as_tensor().clone() };
        let embedding = self.tower.run_from(self.layer, &input)?.squeeze(0)?;
        Ok(self.general.get_or_init(|| Graph { activations, embedding }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{config::Activation, nn::tests::Source};

    fn assert_near(found: &Tensor, expected: &Tensor) -> Result<()> {
        assert_eq!(found.dims(), expected.dims());
        let error = (found - expected)?.sqr()?.sum_all()?.to_scalar::<f32>()?.sqrt();
        let size = expected.sqr()?.sum_all()?.to_scalar::<f32>()?.sqrt();
        assert!(error < 1e-5 * size, "off by {error} of {size}");
        Ok(())
    }

    #[test]
    fn the_closed_form_agrees_with_automatic_differentiation() -> Result<()> {
        for activation in [Activation::QuickGelu, Activation::Gelu] {
            let mut source = Source::new(11);
            let tower = source.tower(activation);
            let pixels = source.tensor(&[3, 4, 10]);
            let directions = source.tensor(&[3, 5]);
            let closed = LayerTrace::new(&tower, &pixels, 2, Differentiation::Fastest)?;
            let general = LayerTrace::new(&tower, &pixels, 2, Differentiation::Automatic)?;
            assert!(matches!(closed.head, Head::Closed(_)) && matches!(general.head, Head::Graph));
            assert_near(&closed.embedding()?, &general.embedding()?)?;
            assert_near(&closed.mean_gradients(&directions)?, &general.mean_gradients(&directions)?)?;
            assert_near(
                &closed.gradients_times_activations(&directions)?,
                &general.gradients_times_activations(&directions)?,
            )?;
        }
        Ok(())
    }

    #[test]
    fn without_a_class_token_every_row_is_a_patch() -> Result<()> {
        let mut source = Source::new(14);
        let tower = source.siglip_tower();
        let (pixels, directions) = (source.tensor(&[3, 4, 10]), source.tensor(&[2, 8]));
        for layer in 0..3 {
            let trace = LayerTrace::new(&tower, &pixels, layer, Differentiation::Fastest)?;
            assert!(matches!(trace.head, Head::Graph), "all tokens are pooled: there is no closed form");
            assert_eq!(trace.patch_activations()?.dims(), [10, 8]);
            let (means, products) =
                (trace.mean_gradients(&directions)?, trace.gradients_times_activations(&directions)?);
            for row in 0..2 {
                let gradients = trace.patch_gradients(&directions.get(row)?)?;
                assert_eq!(gradients.dims(), [10, 8]);
                assert_near(&means.get(row)?, &gradients.mean(0)?)?;
                assert_near(&products.get(row)?, &(gradients * trace.patch_activations()?)?.sum(1)?)?;
            }
        }
        Ok(())
    }

    #[test]
    fn gradients_are_linear_in_the_direction() -> Result<()> {
        let mut source = Source::new(12);
        let tower = source.tower(Activation::QuickGelu);
        let pixels = source.tensor(&[3, 6, 6]);
        let (one, other) = (source.tensor(&[5]), source.tensor(&[5]));
        for layer in 0..3 {
            let trace = LayerTrace::new(&tower, &pixels, layer, Differentiation::Fastest)?;
            let mixed = trace.patch_gradients(&(&one - (&other * 0.6)?)?)?;
            let apart = (trace.patch_gradients(&one)? - (trace.patch_gradients(&other)? * 0.6)?)?;
            assert_near(&mixed, &apart)?;
        }
        Ok(())
    }
}

//! One image's activations at one layer, and what its embedding's gradients with respect to them give.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

use candle_core::Tensor;

use super::{
    graph::{self, Graph},
    last_block::LastBlock,
    masked,
};
use crate::{
    error::{Error, Result},
    geometry::Grid,
    model::network::{BlockInput, Linear, Recorded, Recording, VisionTower},
    progress::{ProgressHandler, Silent},
};

/// One image's activations at one layer, and the way from there to its embedding.
pub struct LayerTrace<'a> {
    pub(super) tower: &'a VisionTower,
    pub(super) pixels: Tensor,
    pub(super) layer: usize,
    pub(super) input: BlockInput,
    head: Head<'a>,
    shared: Arc<Shared>,
    pub(super) masked: masked::Known,
    pub(super) progress: &'a dyn ProgressHandler,
}

/// What the traces of one photo at several layers have in common.
struct Shared {
    /// The layers whose gradients come from one graph, ascending, and what enters the lowest of them.
    stops: Vec<usize>,
    start: Option<BlockInput>,
    graph: OnceLock<Graph>,
    recorded: Recorded,
}

enum Head<'a> {
    Closed(Box<LastBlock<'a>>),
    Graph,
}

/// How a [`LayerTrace`] differentiates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
        Self::recording(tower, pixels, layer, differentiation, &Recording::default())
    }

    /// Runs the tower on one image as [`new`](Self::new) does, and keeps what happens inside its blocks.
    ///
    /// # Errors
    /// As `new`, and if a block to be recorded is not one of the tower's.
    pub fn recording(
        tower: &'a VisionTower,
        pixels: &Tensor,
        layer: usize,
        differentiation: Differentiation,
        recording: &Recording,
    ) -> Result<Self> {
        let mut traces = Self::at_layers(tower, pixels, &[layer], differentiation, recording)?;
        traces
            .pop()
            .ok_or_else(|| Error::Option { option: "layer", reason: "expected one, found none".into() })
    }

    /// Runs the tower on one image and stops at several layers. They share one pass through the trunk; and where
    /// there is no closed form, each direction's gradients at all of them come from one backward pass.
    ///
    /// Returns one trace a layer, the lowest first, none of them twice.
    ///
    /// # Errors
    /// As [`recording`](Self::recording).
    pub fn at_layers(
        tower: &'a VisionTower,
        pixels: &Tensor,
        layers: &[usize],
        differentiation: Differentiation,
        recording: &Recording,
    ) -> Result<Vec<Self>> {
        Ok(Self::of_each(tower, std::slice::from_ref(pixels), layers, differentiation, recording)?.remove(0))
    }

    /// [`at_layers`](Self::at_layers) for several images, of any sizes, which share one pass through the trunk as far as
    /// nothing of its blocks is recorded. On a CPU an image's numbers do not depend on the rest of the batch.
    ///
    /// Returns the images' traces, in their order.
    ///
    /// # Shapes
    /// `pixels`, for each image: [3, height, width].
    ///
    /// # Errors
    /// As `at_layers`, if any of the images fails.
    pub fn of_each(
        tower: &'a VisionTower,
        pixels: &[Tensor],
        layers: &[usize],
        differentiation: Differentiation,
        recording: &Recording,
    ) -> Result<Vec<Vec<Self>>> {
        let mut layers = layers.to_vec();
        layers.sort_unstable();
        layers.dedup();
        let images: Vec<Tensor> =
            pixels.iter().map(|pixels| pixels.unsqueeze(0)).collect::<candle_core::Result<_>>()?;
        let passed = tower.run_trunk(&images, &layers, recording)?;
        let each = pixels.iter().zip(passed);
        each.map(|(pixels, (inputs, recorded))| {
            Self::behind(tower, pixels, (&layers, inputs), recorded, differentiation)
        })
        .collect()
    }

    /// The traces of one image, from what enters its layers.
    fn behind(
        tower: &'a VisionTower,
        pixels: &Tensor,
        (layers, inputs): (&[usize], Vec<BlockInput>),
        recorded: Recorded,
        differentiation: Differentiation,
    ) -> Result<Vec<Self>> {
        let end = tower.class_token_end().filter(|_| differentiation == Differentiation::Fastest);
        let is_closed = |layer: usize| end.is_some() && layer + 1 == tower.layers();
        let stops: Vec<usize> = layers.iter().copied().filter(|layer| !is_closed(*layer)).collect();
        let start = inputs.first().cloned();
        let shared = Arc::new(Shared { stops, start, graph: OnceLock::new(), recorded });
        let trace = |(layer, input): (&usize, BlockInput)| -> Result<Self> {
            let layer = *layer;
            let head = match tower.class_token_end().filter(|_| is_closed(layer)) {
                Some(end) => Head::Closed(Box::new(LastBlock::new(end, &input)?)),
                None => Head::Graph,
            };
            let (pixels, shared, masked) = (pixels.clone(), shared.clone(), masked::Known::default());
            Ok(Self { tower, pixels, layer, input, head, shared, masked, progress: &Silent })
        };
        layers.iter().zip(inputs).map(trace).collect()
    }

    /// What was kept of the insides of the blocks.
    pub fn recorded(&self) -> &Recorded {
        &self.shared.recorded
    }

    /// The same trace; `progress` hears of methods that run the model again.
    #[must_use]
    pub fn with_progress(mut self, progress: &'a dyn ProgressHandler) -> Self {
        self.progress = progress;
        self
    }

    /// Who hears how far long work on this trace is.
    pub fn progress(&self) -> &'a dyn ProgressHandler {
        self.progress
    }

    /// The image as the tower saw it: [3, height, width].
    pub fn pixels(&self) -> &Tensor {
        &self.pixels
    }

    /// The tower, for methods that run it again or look into its blocks.
    pub fn tower(&self) -> &'a VisionTower {
        self.tower
    }

    /// The rows and columns of the patches.
    ///
    /// # Errors
    /// If the pixels have another shape than [3, height, width].
    pub fn grid(&self) -> Result<Grid> {
        let (_, height, width) = self.pixels.dims3()?;
        Ok(Grid::new(height / self.tower.patch, width / self.tower.patch))
    }

    /// The values of the patches, of values of all tokens.
    ///
    /// # Shapes
    /// `values`: `[tokens]`; returns `[cells]`.
    ///
    /// # Errors
    /// If there are fewer values than tokens that are no patches.
    pub fn patches_of_row(&self, values: &Tensor) -> Result<Tensor> {
        let (count, prefix) = (values.dim(0)?, self.tower.prefix_tokens());
        Ok(values.narrow(0, prefix, count.saturating_sub(prefix))?)
    }

    /// How many directions should be asked for at one layer before the same ones are asked for at the next: the
    /// gradients of so many are kept for the other layers' turn.
    pub fn directions_at_once(&self) -> usize {
        match self.shared.stops.len() {
            0 | 1 => usize::MAX,
            layers => graph::kept_directions(layers, &self.input),
        }
    }

    /// The index of the block whose `ln_1` output is explained.
    pub fn layer(&self) -> usize {
        self.layer
    }

    /// Embeddings of other images, before they are made unit vectors.
    ///
    /// # Shapes
    /// `pixels`: [images, 3, height, width]; returns [images, embedding].
    ///
    /// # Errors
    /// If the sides are not multiples of the patch.
    pub fn embeddings_of(&self, pixels: &Tensor) -> Result<Tensor> {
        Ok(self.tower.embeddings(pixels)?)
    }

    /// The image's embedding before it is made a unit vector.
    ///
    /// # Shapes
    /// Returns `[embedding]`.
    ///
    /// # Errors
    /// If the tensor computation fails.
    pub fn embedding(&self) -> Result<Tensor> {
        let last = self.tower.layers().saturating_sub(1);
        if let Head::Closed(block) = &self.head {
            return Ok(block.embedding().clone());
        }
        if let Ok(record) = self.recorded().inside(last) {
            let output = record.after(&self.tower.blocks[last], self.queries_of_last_block(record)?)?.output;
            return Ok(self.tower.embedding_of(&output.unsqueeze(0)?)?.squeeze(0)?);
        }
        if let Some((layer, input)) = self.recorded().furthest() {
            return Ok(self.tower.run_from(*layer, input)?.squeeze(0)?);
        }
        match self.shared.graph.get() {
            // Who looks into blocks asks for no gradients of activations: no graph is needed.
            None if self.recorded().asked() != &Recording::default() => {
                Ok(self.tower.run_from(self.layer, &self.input)?.squeeze(0)?)
            }
            _ => Ok(self.graph()?.embedding()),
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

    /// The channels of the patches' activations, weighted and summed: Σ_k w_k A_ik.
    ///
    /// # Shapes
    /// `weights`: [rows, width]; returns [rows, cells].
    ///
    /// # Errors
    /// If the tensor computation fails.
    pub fn weighted_activations(&self, weights: &Tensor) -> Result<Tensor> {
        // As a layer with frozen weights: that product uses the threads better than candle's.
        Ok(Linear::new(self.patch_activations()?, None).forward(weights)?)
    }

    /// Which patches attend to which: the attention of some blocks, averaged over their heads and over the blocks,
    /// without what goes to and comes from other tokens.
    ///
    /// # Shapes
    /// Returns [cells, cells], a row for every query.
    ///
    /// # Errors
    /// If the attention of a block was not recorded.
    pub fn patch_attention(&self, blocks: Range<usize>) -> Result<Tensor> {
        let prefix = self.tower.prefix_tokens();
        let of_patches = |block: usize| -> Result<Tensor> {
            let attention = self.recorded().attention(block)?;
            let cells = attention.dim(0)? - prefix;
            Ok(attention.narrow(0, prefix, cells)?.narrow(1, prefix, cells)?)
        };
        let parts: Vec<Tensor> = blocks.map(of_patches).collect::<Result<_>>()?;
        Ok(Tensor::stack(&parts, 0)?.mean(0)?)
    }

    /// The Euclidean norm of every patch's token in the residual stream that enters the layer's block.
    ///
    /// # Errors
    /// If the tensor computation fails.
    pub fn patch_norms(&self) -> Result<Vec<f32>> {
        let norm = |token: &Vec<f32>| token.iter().map(|value| value * value).sum::<f32>().sqrt();
        Ok(self.patches_of(&self.input.hidden)?.to_vec2()?.iter().map(norm).collect())
    }

    /// The gradient along one direction of the embedding with respect to the patches' activations.
    ///
    /// # Shapes
    /// `direction`: `[embedding]`; returns [cells, width].
    ///
    /// # Errors
    /// [`Error::Numeric`] if the gradient got lost or is not finite.
    pub fn patch_gradients(&self, direction: &Tensor) -> Result<Tensor> {
        let gradient = match &self.head {
            Head::Closed(block) => block.patch_gradients(direction)?,
            Head::Graph => self.patches_of(&self.graph()?.gradient(self.layer, direction)?)?,
        };
        let size = gradient.abs()?.sum_all()?.to_scalar::<f32>()?;
        if size.is_finite() {
            return Ok(gradient);
        }
        let reason = "expected finite numbers, found NaN or infinity";
        Err(Error::Numeric { what: "gradient", reason: reason.into() })
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
            Head::Graph => self.each_gradient(directions, |gradients| Ok(gradients.mean(0)?)),
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
                self.each_gradient(directions, |gradients| Ok((gradients * &activations)?.sum(1)?))
            }
        }
    }

    /// The whole gradient along each of several directions in turn, reduced to one tensor a direction.
    ///
    /// # Shapes
    /// `directions`: [rows, embedding]; `reduce` is given [cells, width]; returns what it does, stacked: [rows, ...].
    ///
    /// # Errors
    /// As [`patch_gradients`](Self::patch_gradients), and what `reduce` fails with.
    pub fn each_gradient(
        &self,
        directions: &Tensor,
        reduce: impl Fn(Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
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
        if let Some(graph) = self.shared.graph.get() {
            return Ok(graph);
        }
        let start = self.shared.start.as_ref().unwrap_or(&self.input);
        let made = Graph::new(self.tower, &self.shared.stops, start)?;
        Ok(self.shared.graph.get_or_init(|| made))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{config::Activation, network::tests::Source};

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
            for row in 0..3 {
                let direction = directions.get(row)?;
                assert_near(&closed.patch_gradients(&direction)?, &general.patch_gradients(&direction)?)?;
            }
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
    fn patches_attend_with_and_without_a_class_token() -> Result<()> {
        let mut source = Source::new(15);
        let recording = Recording { attention: 1..3, ..Recording::default() };
        for tower in [source.tower(Activation::Gelu), source.siglip_tower()] {
            let pixels = source.tensor(&[3, 4, 10]);
            let trace = LayerTrace::recording(&tower, &pixels, 2, Differentiation::Fastest, &recording)?;
            let attention = trace.patch_attention(1..3)?;
            assert_eq!(attention.dims(), [10, 10]);
            let most = if tower.prefix_tokens() == 0 { 1.0 } else { 0.999 };
            for sum in attention.sum(1)?.to_vec1::<f32>()? {
                assert!(sum > 0.1 && sum < most + 1e-5, "{sum}");
            }
            assert!(trace.patch_attention(0..3).is_err(), "block 0 was not recorded");
        }
        Ok(())
    }

    #[test]
    fn a_token_that_was_made_large_is_found_by_its_norm() -> Result<()> {
        let mut source = Source::new(16);
        // Without a norm before the blocks, bright pixels make a large token.
        let tower = source.siglip_tower();
        let mut pixels = source.tensor(&[3 * 6 * 6]).to_vec1::<f32>()?;
        let norms = |pixels: &[f32]| -> Result<Vec<f32>> {
            let pixels = Tensor::new(pixels, &candle_core::Device::Cpu)?.reshape((3, 6, 6))?;
            LayerTrace::new(&tower, &pixels, 1, Differentiation::Fastest)?.patch_norms()
        };
        let plain = norms(&pixels)?;
        // The first row of the patch at row 1, column 2: pixels 4 and 5 of row 2.
        pixels[2 * 6 + 4..2 * 6 + 6].fill(500.0);
        let bright = norms(&pixels)?;
        assert!(bright[5] > 10.0 * plain[5]);
        for cell in (0..9).filter(|cell| *cell != 5) {
            assert!(bright[cell] < 3.0 * plain[cell], "cell {cell}: {} and {}", bright[cell], plain[cell]);
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

    #[test]
    fn several_layers_at_once_are_the_same_as_one_by_one() -> Result<()> {
        let mut source = Source::new(13);
        let tower = source.tower(Activation::Gelu);
        let pixels = source.tensor(&[3, 4, 10]);
        let directions = source.tensor(&[2, 5]);
        for differentiation in [Differentiation::Fastest, Differentiation::Automatic] {
            let together = LayerTrace::at_layers(
                &tower,
                &pixels,
                &[2, 0, 1, 0],
                differentiation,
                &Recording::default(),
            )?;
            assert_eq!(together.iter().map(LayerTrace::layer).collect::<Vec<_>>(), [0, 1, 2]);
            for trace in &together {
                let alone = LayerTrace::new(&tower, &pixels, trace.layer(), differentiation)?;
                assert_near(&trace.embedding()?, &alone.embedding()?)?;
                assert_near(&trace.patch_activations()?, &alone.patch_activations()?)?;
                for row in [0, 1, 0] {
                    let direction = directions.get(row)?;
                    assert_near(&trace.patch_gradients(&direction)?, &alone.patch_gradients(&direction)?)?;
                }
            }
        }
        Ok(())
    }
}

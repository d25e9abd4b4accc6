//! Every gradient against finite differences: the operations alone, then the head from every layer.

use candle_core::{Device, Result, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    Attention, AttentionPool, Block, BlockInput, LayerNorm, Linear, Mlp, Pool, Queries, VisionTower, softmax,
};
use crate::{geometry::Grid, model::formats::config::Activation};

/// Makes tensors of numbers from -1 to 1, the same ones in every run.
pub(crate) struct Source(ChaCha8Rng);

impl Source {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn tensor(&mut self, shape: &[usize]) -> Tensor {
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| self.0.random_range(-1.0..1.0)).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).expect("the shape fits")
    }

    fn linear(&mut self, to: usize, from: usize) -> Linear {
        Linear::new(self.tensor(&[to, from]), Some(self.tensor(&[to])))
    }

    fn norm(&mut self, width: usize) -> LayerNorm {
        LayerNorm::new(self.tensor(&[width]), self.tensor(&[width]), 1e-5)
    }

    fn block(&mut self, width: usize, activation: Activation) -> Block {
        Block {
            ln_1: self.norm(width),
            attention: self.attention(width),
            ln_2: self.norm(width),
            mlp: self.mlp(width, activation),
        }
    }

    fn attention(&mut self, width: usize) -> Attention {
        Attention { projections: self.linear(3 * width, width), output: self.linear(width, width), heads: 2 }
    }

    fn mlp(&mut self, width: usize, activation: Activation) -> Mlp {
        let (expand, contract) = (self.linear(2 * width, width), self.linear(width, 2 * width));
        Mlp { expand, activation, gated: false, contract }
    }

    fn attention_pool(&mut self, width: usize, activation: Activation) -> AttentionPool {
        AttentionPool {
            probe: self.tensor(&[width]),
            attention: self.attention(width),
            norm: self.norm(width),
            mlp: self.mlp(width, activation),
        }
    }

    /// A tower of three blocks: width 8, two heads, patches of 2 on a 3 x 3 grid, embeddings of 5.
    pub(crate) fn tower(&mut self, activation: Activation) -> VisionTower {
        VisionTower {
            patches: Linear::new(self.tensor(&[8, 12]), None),
            class: Some(self.tensor(&[8])),
            registers: None,
            positions: self.tensor(&[10, 8]),
            position_resampling: crate::model::config::PositionResampling::Bicubic,
            pre_norm: Some(self.norm(8)),
            blocks: (0..3).map(|_| self.block(8, activation)).collect(),
            post_norm: self.norm(8),
            pool: Pool::ClassToken,
            projection: Some(Linear::new(self.tensor(&[5, 8]), None)),
            trained: Grid::new(3, 3),
            patch: 2,
        }
    }

    /// The same without a class token and without a norm before the blocks, as in SigLIP: all patches are
    /// pooled, and the pooled embedding is the embedding, of 8.
    pub(crate) fn pooled_tower(&mut self, activation: Activation, pool: Pool) -> VisionTower {
        let mut tower = self.tower(activation);
        tower.patches = self.linear(8, 12);
        (tower.class, tower.pre_norm, tower.projection, tower.pool) = (None, None, None, pool);
        tower.positions = self.tensor(&[9, 8]);
        tower
    }

    /// A tower with SigLIP's pooling head.
    pub(crate) fn siglip_tower(&mut self) -> VisionTower {
        let pool = self.attention_pool(8, Activation::GeluTanh);
        self.pooled_tower(Activation::GeluTanh, Pool::Attention(Box::new(pool)))
    }
}

/// Asserts that the gradient of the sum of `function(x) · weights` agrees with central differences.
fn assert_gradient(
    input: &Tensor,
    weights: &Tensor,
    function: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<()> {
    let scalar = |x: &Tensor| (function(x)? * weights)?.sum_all();
    let variable = Var::from_tensor(input)?;
    let gradients = scalar(&variable)?.backward()?;
    let found = gradients.get(&variable).expect("the graph is not cut").flatten_all()?.to_vec1::<f32>()?;
    let values = input.flatten_all()?.to_vec1::<f32>()?;
    let step = 1e-2;
    let at = |index: usize, offset: f32| {
        let mut moved = values.clone();
        moved[index] += offset;
        scalar(&Tensor::from_vec(moved, input.shape(), &Device::Cpu)?)?.to_scalar::<f32>()
    };
    let mut error = 0.0;
    let mut size = 0.0;
    for (index, found) in found.iter().enumerate() {
        let expected = (at(index, step)? - at(index, -step)?) / (2.0 * step);
        error += (found - expected).powi(2);
        size += expected.powi(2);
    }
    assert!(size > 1e-4, "the check needs a gradient: its length is {}", size.sqrt());
    assert!(error.sqrt() < 2e-3 * size.sqrt(), "off by {} of {}", error.sqrt(), size.sqrt());
    Ok(())
}

#[test]
fn operations_have_their_gradients() -> Result<()> {
    let mut source = Source::new(1);
    let input = source.tensor(&[2, 3, 8]);
    let weights = source.tensor(&[2, 3, 8]);
    let norm = source.norm(8);
    assert_gradient(&input, &weights, |x| norm.forward(x))?;
    assert_gradient(&input, &weights, softmax)?;
    for activation in Activation::ALL {
        assert_gradient(&(&input * 3.0)?, &weights, |x| activation.forward(x))?;
    }
    let linear = source.linear(8, 8);
    assert_gradient(&input, &weights, |x| linear.forward(x))
}

#[test]
fn layer_norm_gives_its_parameters_gradients_too() -> Result<()> {
    let mut source = Source::new(2);
    let (input, weights) = (source.tensor(&[3, 8]), source.tensor(&[3, 8]));
    let (weight, bias) = (source.tensor(&[8]), source.tensor(&[8]));
    assert_gradient(&weight, &weights, |w| LayerNorm::new(w.clone(), bias.clone(), 1e-5).forward(&input))?;
    assert_gradient(&bias, &weights, |b| LayerNorm::new(weight.clone(), b.clone(), 1e-5).forward(&input))
}

#[test]
fn a_block_has_its_gradient_in_hidden_state_and_activations() -> Result<()> {
    for (activation, batch) in [(Activation::QuickGelu, 1), (Activation::Gelu, 2)] {
        let mut source = Source::new(3);
        let block = source.block(8, activation);
        let (hidden, weights) = (source.tensor(&[batch, 4, 8]), source.tensor(&[batch, 4, 8]));
        assert_gradient(&hidden, &weights, |x| block.forward(x, None))?;
        let activations = block.ln_1.forward(&hidden)?;
        let class = weights.narrow(1, 0, 1)?;
        assert_gradient(&activations, &class, |a| block.forward_from(&hidden, a, Queries::Class, None))?;
    }
    Ok(())
}

#[test]
fn the_head_has_its_gradient_at_every_layer() -> Result<()> {
    for activation in [Activation::QuickGelu, Activation::Gelu] {
        for (layer, batch) in [(0, 1), (1, 2), (2, 1), (2, 2)] {
            let mut source = Source::new(4);
            let tower = source.tower(activation);
            let input = tower.run_until(&source.tensor(&[batch, 3, 6, 6]), layer)?;
            let weights = source.tensor(&[batch, 5]);
            assert_gradient(&input.activations, &weights, |activations| {
                let (hidden, activations) = (input.hidden.clone(), activations.clone());
                tower.run_from(layer, &BlockInput { hidden, activations })
            })?;
        }
    }
    Ok(())
}

#[test]
fn the_pooling_head_has_its_gradient_in_the_tokens() -> Result<()> {
    for batch in [1, 2] {
        let mut source = Source::new(8);
        let pool = source.attention_pool(8, Activation::GeluTanh);
        let (tokens, weights) = (source.tensor(&[batch, 5, 8]), source.tensor(&[batch, 8]));
        assert_gradient(&tokens, &weights, |tokens| pool.forward(tokens))?;
    }
    Ok(())
}

#[test]
fn a_pooled_head_has_its_gradient_at_every_layer() -> Result<()> {
    for (layer, batch) in [(0, 1), (1, 2), (2, 1), (2, 2)] {
        let mut source = Source::new(9);
        for tower in [source.siglip_tower(), source.pooled_tower(Activation::Gelu, Pool::MeanOfPatches)] {
            let input = tower.run_until(&source.tensor(&[batch, 3, 6, 4]), layer)?;
            assert_eq!(input.activations.dims(), [batch, 6, 8]);
            let weights = source.tensor(&[batch, 8]);
            assert_gradient(&input.activations, &weights, |activations| {
                let (hidden, activations) = (input.hidden.clone(), activations.clone());
                tower.run_from(layer, &BlockInput { hidden, activations })
            })?;
        }
    }
    Ok(())
}

#[test]
fn a_token_alone_has_the_embedding_of_a_tower_with_no_other() -> Result<()> {
    let mut source = Source::new(11);
    let means = [Pool::MeanOfPatches, Pool::MeanBeforeNorm];
    let means = means.map(|pool| source.pooled_tower(Activation::Gelu, pool));
    for tower in means.iter().chain([&source.siglip_tower(), &source.tower(Activation::Gelu)]) {
        let tokens = source.tensor(&[4, 8]);
        let found = tower.embed_each(&tokens)?;
        for row in 0..4 {
            let token = tokens.narrow(0, row, 1)?;
            let alone = tower.embedding_of(&token.unsqueeze(0)?)?;
            let off = (alone - found.narrow(0, row, 1)?)?.abs()?.max_all()?.to_scalar::<f32>()?;
            assert!(off < 1e-5, "{off}");
        }
    }
    Ok(())
}

#[test]
fn a_scaled_layer_multiplies_its_outputs() -> Result<()> {
    let mut source = Source::new(10);
    let (linear, scale, input) = (source.linear(4, 3), source.tensor(&[4]), source.tensor(&[2, 3]));
    let expected = linear.forward(&input)?.broadcast_mul(&scale)?;
    let off = (linear.scaled(&scale)?.forward(&input)? - expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
    assert!(off < 1e-6, "{off}");
    Ok(())
}

#[test]
fn candles_own_fused_operations_still_cut_the_graph() -> Result<()> {
    // If this fails, candle has learnt their backward, and the operations here may no longer be needed.
    let input = Var::from_tensor(&Source::new(5).tensor(&[2, 8]))?;
    let (weight, bias) =
        (Tensor::ones(8, input.dtype(), &Device::Cpu)?, Tensor::zeros(8, input.dtype(), &Device::Cpu)?);
    let norm = candle_nn::ops::layer_norm(&input, &weight, &bias, 1e-5)?;
    assert!(norm.sqr()?.sum_all()?.backward()?.get(&input).is_none());
    let shares = candle_nn::ops::softmax_last_dim(&input)?;
    assert!(shares.sqr()?.sum_all()?.backward()?.get(&input).is_none());
    Ok(())
}

#[test]
fn a_batch_is_its_single_runs() -> Result<()> {
    let mut source = Source::new(6);
    let tower = source.tower(Activation::QuickGelu);
    let pixels = source.tensor(&[2, 3, 4, 8]);
    let run = |pixels: &Tensor| tower.run_from(1, &tower.run_until(pixels, 1)?);
    let both = run(&pixels)?;
    for index in 0..2 {
        let alone = run(&pixels.narrow(0, index, 1)?)?;
        let distance = (alone - both.narrow(0, index, 1)?)?.abs()?.max_all()?.to_scalar::<f32>()?;
        assert!(distance < 1e-5, "image {index} differs by {distance}");
    }
    Ok(())
}

#[test]
fn the_layer_does_not_change_the_embedding() -> Result<()> {
    let mut source = Source::new(7);
    let tower = source.tower(Activation::Gelu);
    let pixels = source.tensor(&[1, 3, 6, 6]);
    let run = |layer: usize| tower.run_from(layer, &tower.run_until(&pixels, layer)?);
    let last = run(2)?;
    for layer in [0, 1] {
        let distance = (run(layer)? - &last)?.abs()?.max_all()?.to_scalar::<f32>()?;
        assert!(distance < 1e-5, "layer {layer} differs by {distance}");
    }
    Ok(())
}

#[test]
fn blocks_without_a_graph_compute_what_blocks_with_one_do() -> Result<()> {
    for (activation, tokens) in [(Activation::QuickGelu, 1), (Activation::Gelu, 5), (Activation::Gelu, 70)] {
        let mut source = Source::new(8);
        let blocks = [source.block(8, activation), source.block(8, activation)];
        let (hidden, mask) = (source.tensor(&[3, tokens, 8]), source.tensor(&[tokens, tokens]));
        for mask in [None, Some(&mask)] {
            let found = super::block::forward(&blocks, hidden.clone(), mask)?;
            let expected =
                blocks.iter().try_fold(hidden.clone(), |hidden, block| block.forward(&hidden, mask))?;
            let distance = (found - &expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
            let size = expected.abs()?.max_all()?.to_scalar::<f32>()?;
            assert!(distance < 1e-6 * size, "{tokens} tokens differ by {distance} of {size}");
        }
    }
    Ok(())
}

#[test]
fn a_graph_is_kept_where_something_is_tracked() -> Result<()> {
    let mut source = Source::new(9);
    let blocks = [source.block(8, Activation::Gelu)];
    let hidden = Var::from_tensor(&source.tensor(&[1, 4, 8]))?;
    let output = super::block::forward(&blocks, hidden.as_tensor().clone(), None)?;
    assert!(output.sqr()?.sum_all()?.backward()?.get(&hidden).is_some());
    Ok(())
}

#[test]
fn tokens_of_any_number_pass_together_with_a_graph_and_without() -> Result<()> {
    let mut source = Source::new(10);
    let blocks = [source.block(8, Activation::Gelu), source.block(8, Activation::QuickGelu)];
    // Two of one shape that follow each other, and two that do not.
    let shapes = [[1, 4, 8], [1, 4, 8], [2, 7, 8], [1, 4, 8]];
    let hidden: Vec<Tensor> = shapes.iter().map(|shape| source.tensor(shape)).collect();
    let tracked: Vec<Var> = hidden.iter().map(Var::from_tensor).collect::<Result<_>>()?;
    let tracked: Vec<Tensor> = tracked.iter().map(|hidden| hidden.as_tensor().clone()).collect();
    for together in
        [super::block::forward_each(&blocks, hidden.clone())?, super::block::forward_each(&blocks, tracked)?]
    {
        assert_eq!(together.len(), hidden.len());
        for (together, hidden) in together.iter().zip(&hidden) {
            let alone = super::block::forward(&blocks, hidden.clone(), None)?;
            assert_eq!(together.dims(), alone.dims());
            assert!((together - alone)?.abs()?.max_all()?.to_scalar::<f32>()? < 1e-5);
        }
    }
    assert!(super::block::forward_each(&blocks, Vec::new())?.is_empty());
    let narrow = vec![hidden[0].clone(), source.tensor(&[1, 4, 6])];
    assert!(super::block::forward_each(&blocks, narrow).is_err());
    Ok(())
}

#[test]
fn sums_of_rows_are_those_of_candle() -> Result<()> {
    let mut source = Source::new(12);
    let large = source.tensor(&[2, 300, 120]);
    let shapes: [&[usize]; 6] = [&[120], &[1, 120], &[300, 120], &[2, 300, 120], &[1, 1, 1], &[2, 1, 120]];
    for shape in shapes {
        let row = source.tensor(shape);
        let difference = (super::add(&large, &row)? - large.broadcast_add(&row)?)?;
        assert_eq!(difference.abs()?.max_all()?.to_scalar::<f32>()?, 0.0, "{shape:?}");
    }
    // What is not contiguous, and the other way around.
    let turned = large.transpose(1, 2)?;
    let row = source.tensor(&[300]);
    assert_eq!(
        super::add(&turned, &row)?.flatten_all()?.to_vec1::<f32>()?,
        turned.broadcast_add(&row)?.flatten_all()?.to_vec1::<f32>()?
    );
    assert_eq!(super::add(&row.unsqueeze(0)?, &source.tensor(&[4, 300]))?.dims(), [4, 300]);
    assert!(super::add(&large, &source.tensor(&[7])).is_err());
    // A graph is kept.
    let row = Var::from_tensor(&row)?;
    let sum = super::add(&turned, row.as_tensor())?.sum_all()?;
    let gradient = sum.backward()?.get(&row).map(|gradient| gradient.to_vec1::<f32>()).transpose()?;
    assert_eq!(gradient, Some(vec![240.0; 300]));
    Ok(())
}

//! Blocks without a graph: what the trunk and the text tower run on a CPU.
//!
//! The arithmetic is that of [`Block::forward`], and a test holds the two together. What differs is where numbers
//! go. Memory is taken once for all blocks; queries, keys and values stay where their product put them, since a
//! product reads rows at any distance; biases and residuals are where a product adds its result; the activation
//! happens while the bias is added. So beside the products a block makes eight passes over a few megabytes.

use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

use super::{
    Block, LayerNorm, Linear, kernels,
    product::{Matrix, Output, Threads, multiply},
    storage::read,
};

/// Runs blocks one after the other, without a graph behind the results. The tokens of all tensors pass together, which
/// only attention distinguishes: so they may be of images of any size.
///
/// An image's result is bit-identical in any batch: no sum is cut otherwise for having
/// more rows beside it, save in products of no more than 256 numbers.
///
/// # Shapes
/// `hidden`, float32 on a CPU: each [batch, tokens, width]; `mask`, added to the attention scores: [tokens, tokens],
/// for one number of tokens; returns the same shapes as `hidden`.
///
/// # Errors
/// If a tensor is not on the CPU, not float32 or not contiguous, or the widths differ.
pub(crate) fn run(blocks: &[Block], hidden: &[Tensor], mask: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let shapes: Vec<(usize, usize, usize)> = hidden.iter().map(Tensor::dims3).collect::<Result<_>>()?;
    let Some((_, _, width)) = shapes.first().copied() else { return Ok(Vec::new()) };
    let images: Vec<usize> =
        shapes.iter().flat_map(|(batch, tokens, _)| std::iter::repeat_n(*tokens, *batch)).collect();
    if let Some((_, _, other)) = shapes.iter().find(|shape| shape.2 != width) {
        bail!("expected tokens of {width} numbers, found {other}");
    }
    let mut values = Vec::with_capacity(images.iter().sum::<usize>() * width);
    for hidden in hidden {
        values.extend(hidden.flatten_all()?.to_vec1::<f32>()?);
    }
    let mask = mask.map(|mask| mask.flatten_all()?.to_vec1::<f32>()).transpose()?;
    let mut workspace = Workspace::default();
    for block in blocks {
        View::new(block, &images, width)?.run(&mut values, mask.as_deref(), &mut workspace)?;
    }
    let mut values = values.as_slice();
    let leaving = hidden.iter().zip(shapes).map(|(hidden, shape)| {
        let (own, others) = values.split_at(hidden.elem_count());
        values = others;
        Tensor::from_slice(own, shape, hidden.device())
    });
    leaving.collect()
}

/// The memory between the steps of a block.
#[derive(Default)]
struct Workspace {
    /// Norms, then what attention found: [rows, width].
    normed: Vec<f32>,
    /// Queries, keys and values, or the inside of the MLP: [rows, 3 · width or MLP width].
    inner: Vec<f32>,
    /// [rows, width].
    attended: Vec<f32>,
}

/// A slice of at least `length` values, not initialised to anything in particular.
fn room(values: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if values.len() < length {
        values.resize(length, 0.0);
    }
    &mut values[..length]
}

/// One block and the shape of what passes it.
struct View<'a> {
    block: &'a Block,
    /// The number of every image's tokens.
    images: &'a [usize],
    width: usize,
    /// All tokens.
    rows: usize,
}

impl<'a> View<'a> {
    fn new(block: &'a Block, images: &'a [usize], width: usize) -> Result<Self> {
        if block.attention.heads == 0 || !width.is_multiple_of(block.attention.heads) {
            bail!("expected a width that {} heads divide, found {width}", block.attention.heads);
        }
        Ok(Self { block, images, width, rows: images.iter().sum() })
    }

    /// u = x + attention(ln_1(x)); x = u + mlp(ln_2(u)).
    fn run(&self, hidden: &mut [f32], mask: Option<&[f32]>, workspace: &mut Workspace) -> Result<()> {
        let Self { block, width, rows, .. } = *self;
        let Workspace { normed, inner, attended } = workspace;
        let (normed, attended) = (room(normed, rows * width), room(attended, rows * width));

        norm(&block.ln_1, hidden, normed)?;
        let projected = room(inner, rows * 3 * width);
        block.attention.projections.multiply(normed, rows, projected, false)?;
        with_bias(&block.attention.projections, |bias| kernels::add_rows(projected, bias))?;
        self.attend(projected, mask, attended);
        with_bias(&block.attention.output, |bias| kernels::add_rows(hidden, bias))?;
        block.attention.output.multiply(attended, rows, hidden, true)?;

        norm(&block.ln_2, hidden, normed)?;
        let expanded = room(inner, rows * block.mlp.expand.weight.outputs());
        block.mlp.expand.multiply(normed, rows, expanded, false)?;
        if block.mlp.gated {
            return self.gated(expanded, hidden);
        }
        match &block.mlp.expand.bias {
            Some(bias) => read(bias, |bias| block.mlp.activation.add_and_apply(expanded, bias))?,
            None => block.mlp.activation.add_and_apply(expanded, &[0.0]),
        }
        with_bias(&block.mlp.contract, |bias| kernels::add_rows(hidden, bias))?;
        block.mlp.contract.multiply(expanded, rows, hidden, true)
    }

    /// The rest of a gated MLP: the nonlinearity of the first half of what its first layer gave, times the second half,
    /// and its second layer.
    fn gated(&self, expanded: &mut [f32], hidden: &mut [f32]) -> Result<()> {
        let mlp = &self.block.mlp;
        with_bias(&mlp.expand, |bias| kernels::add_rows(expanded, bias))?;
        let twice = mlp.expand.weight.outputs();
        let width = twice / 2;
        let mut gated = vec![0.0; self.rows * width];
        gated.par_chunks_mut(width).zip(expanded.par_chunks(twice)).for_each(|(gated, expanded)| {
            let (gate, values) = expanded.split_at(width);
            gated.copy_from_slice(gate);
            mlp.activation.add_and_apply(gated, &[0.0]);
            gated.iter_mut().zip(values).for_each(|(gate, value)| *gate *= value);
        });
        with_bias(&mlp.contract, |bias| kernels::add_rows(hidden, bias))?;
        mlp.contract.multiply(&gated, self.rows, hidden, true)
    }

    /// Attention, a piece of an image's rows at a time: the piece's scores stay in the cache of its core. How large the
    /// pieces are must not depend on the other images (see [`run`]).
    ///
    /// # Shapes
    /// `projected`: [rows, 3 · width]; `attended`: [rows, width].
    fn attend(&self, projected: &[f32], mask: Option<&[f32]>, attended: &mut [f32]) {
        let (width, threads) = (self.width, rayon::current_num_threads().max(1));
        let (mut projected, mut attended) = (projected, attended);
        let mut pieces = Vec::new();
        for tokens in self.images {
            let (asked, others) = projected.split_at(tokens * 3 * width);
            let (found, rest) = attended.split_at_mut(tokens * width);
            (projected, attended) = (others, rest);
            let piece = tokens.div_ceil(threads).max(1);
            let found = found.chunks_mut(piece * width).enumerate();
            pieces.extend(found.map(|(index, found)| (asked, index * piece, found)));
        }
        pieces.into_par_iter().for_each(|(projected, first, attended)| {
            self.attend_piece(projected, first, mask, attended);
        });
    }

    /// What the tokens from `first` on find in all tokens of their image.
    fn attend_piece(&self, projected: &[f32], first: usize, mask: Option<&[f32]>, attended: &mut [f32]) {
        let Self { width, block, .. } = *self;
        let (queries, tokens) = (attended.len() / width, projected.len() / (3 * width));
        let head = width / block.attention.heads;
        let scale = 1.0 / (head as f32).sqrt();
        let mut scores = vec![0.0; queries * tokens];
        for at in (0..width).step_by(head) {
            let part = |row: usize, start: usize, rows: usize| {
                Matrix::new(&projected[row * 3 * width + start + at..], rows, head, 3 * width)
            };
            let (query, key) = (part(first, 0, queries), part(0, width, tokens));
            let place = Output { values: &mut scores, row_step: tokens, add: false };
            multiply(place, scale, query, key.transposed(), Threads::One);
            if let Some(mask) = mask {
                let mask = &mask[first * tokens..(first + queries) * tokens];
                scores.iter_mut().zip(mask).for_each(|(score, mask)| *score += mask);
            }
            kernels::softmax_in_place(&mut scores, tokens);
            let place = Output { values: &mut attended[at..], row_step: width, add: false };
            let shares = Matrix::new(&scores, queries, tokens, tokens);
            multiply(place, 1.0, shares, part(0, 2 * width, tokens), Threads::One);
        }
    }
}

fn norm(norm: &LayerNorm, input: &[f32], output: &mut [f32]) -> Result<()> {
    read(&norm.weight, |weight| {
        read(&norm.bias, |bias| kernels::layer_norm(input, weight, bias, norm.epsilon as f32, output))
    })?
}

fn with_bias(linear: &Linear, add: impl FnOnce(&[f32])) -> Result<()> {
    linear.bias.as_ref().map_or(Ok(()), |bias| read(bias, add))
}

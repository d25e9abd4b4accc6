//! A recording of what happens inside the blocks during the forward pass, for methods that look there.

use std::ops::Range;

use candle_core::{Result, Tensor, bail};

use super::{Block, BlockInput, Projected, Queries, add, attention_weights};

/// What is kept of a pass through the tower, beside the activations of one layer. Nothing, by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// The blocks whose attention, averaged over the heads, is kept: tokens² numbers each.
    pub attention: Range<usize>,
    /// The blocks whose [`BlockRecord`] is kept: some ten times tokens · width numbers each.
    pub insides: Range<usize>,
}

impl Recording {
    /// What both ask for; ranges that do not touch are filled up between them.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let hull = |one: &Range<usize>, other: &Range<usize>| match (one.is_empty(), other.is_empty()) {
            (true, _) => other.clone(),
            (_, true) => one.clone(),
            _ => one.start.min(other.start)..one.end.max(other.end),
        };
        Self {
            attention: hull(&self.attention, &other.attention),
            insides: hull(&self.insides, &other.insides),
        }
    }

    /// The first block to be recorded.
    pub(super) fn first(&self) -> Option<usize> {
        [&self.attention, &self.insides]
            .into_iter()
            .filter(|range| !range.is_empty())
            .map(|range| range.start)
            .min()
    }

    /// Whether anything is kept of a block.
    pub(super) fn keeps(&self, block: usize) -> bool {
        self.attention.contains(&block) || self.insides.contains(&block)
    }

    /// The number of blocks that have to be run.
    pub(super) fn depth(&self) -> usize {
        let end = |range: &Range<usize>| if range.is_empty() { 0 } else { range.end };
        end(&self.attention).max(end(&self.insides))
    }
}

/// What one block computed for one image: enough to look at its attention, to attend in another way, and to take
/// gradients back through it.
#[derive(Clone, Debug)]
pub struct BlockRecord {
    /// The residual stream that enters: [tokens, width].
    pub hidden: Tensor,
    /// Not yet scaled: [heads, tokens, head width].
    pub query: Tensor,
    /// [heads, tokens, head width].
    pub key: Tensor,
    /// [heads, tokens, head width].
    pub value: Tensor,
    /// The rest of the block for every token, where a later block needed it.
    pub(crate) after: Option<AfterAttention>,
}

/// What follows attention in a block, for some of its tokens.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AfterAttention {
    /// The residual stream with what attention adds: [rows, width].
    pub middle: Tensor,
    /// What the MLP's nonlinearity is applied to: [rows, mlp width].
    pub expanded: Tensor,
    /// The residual stream that leaves: [rows, width].
    pub output: Tensor,
}

impl Block {
    /// The block from what attention gives on, before its output layer.
    ///
    /// # Shapes
    /// `hidden`, what enters the block: [rows, width]; `attended`: [heads, rows, head width].
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn after_attention(&self, hidden: &Tensor, attended: &Tensor) -> Result<AfterAttention> {
        let middle = (hidden + self.attention_output(attended)?)?;
        let expanded = self.mlp.expand.forward(&self.ln_2.forward(&middle)?)?;
        let output = (&middle + self.mlp.contracted(&expanded)?)?;
        Ok(AfterAttention { middle, expanded, output })
    }

    /// The gradient with respect to the residual stream after attention.
    ///
    /// # Shapes
    /// `gradient`, with respect to what leaves: [rows, width], where it or `after` may have one row for all of the
    /// other's; returns [rows, width].
    pub(crate) fn after_attention_backward(
        &self,
        after: &AfterAttention,
        gradient: &Tensor,
    ) -> Result<Tensor> {
        let normed = self.mlp.backward(&after.expanded, gradient)?;
        add(&self.ln_2.backward(&after.middle, &normed)?, gradient)
    }
}

impl BlockRecord {
    /// The attention of every head, made anew: kept, it would be the larger part of a record.
    ///
    /// # Shapes
    /// Returns [heads, tokens, tokens], a row for every query; rows sum to 1.
    ///
    /// # Errors
    /// If the tensor computation fails.
    pub fn attention(&self) -> Result<Tensor> {
        self.attention_of(self.tokens()?)
    }

    /// The attention of the first `queries` tokens: [heads, queries, tokens].
    pub(crate) fn attention_of(&self, queries: usize) -> Result<Tensor> {
        attention_weights(&self.query.narrow(1, 0, queries)?, &self.key, None)
    }

    /// What follows attention for the first `queries` tokens of the block that this is the record of.
    ///
    /// # Errors
    /// If `block` is another one, or `queries` is more than its tokens.
    pub fn after(&self, block: &Block, queries: usize) -> Result<AfterAttention> {
        if let (Some(after), true) = (&self.after, queries == self.tokens()?) {
            return Ok(after.clone());
        }
        let attended = self.attention_of(queries)?.matmul(&self.value)?;
        block.after_attention(&self.hidden.narrow(0, 0, queries)?, &attended)
    }

    /// The number of tokens.
    pub fn tokens(&self) -> Result<usize> {
        self.hidden.dim(0)
    }
}

/// What was kept of a pass.
#[derive(Debug, Default)]
pub struct Recorded {
    asked: Recording,
    attention: Vec<Tensor>,
    insides: Vec<BlockRecord>,
    pub(super) furthest: Option<(usize, BlockInput)>,
}

impl Recorded {
    /// What was asked to be kept.
    pub fn asked(&self) -> &Recording {
        &self.asked
    }

    /// The mean of the heads' attention in a block.
    ///
    /// # Shapes
    /// Returns [tokens, tokens], a row for every query; rows sum to 1.
    ///
    /// # Errors
    /// If it was not asked for.
    pub fn attention(&self, block: usize) -> Result<&Tensor> {
        kept(&self.attention, &self.asked.attention, block)
    }

    /// The last block that was reached behind the layer, with what enters it.
    pub(crate) fn furthest(&self) -> Option<&(usize, BlockInput)> {
        self.furthest.as_ref()
    }

    /// The inside of a block.
    ///
    /// # Errors
    /// If it was not asked for.
    pub fn inside(&self, block: usize) -> Result<&BlockRecord> {
        kept(&self.insides, &self.asked.insides, block)
    }
}

fn kept<'a, T>(items: &'a [T], asked: &Range<usize>, block: usize) -> Result<&'a T> {
    match block.checked_sub(asked.start).and_then(|index| items.get(index)) {
        Some(item) => Ok(item),
        None => bail!("block {block} is not one of {asked:?}, which were recorded"),
    }
}

impl Recorded {
    /// Before the pass.
    pub(super) fn nothing_yet(asked: &Recording) -> Self {
        Self { asked: asked.clone(), ..Self::default() }
    }

    /// Runs a block that is recorded; `onward`: whether its output is needed.
    pub(super) fn pass(
        &mut self,
        index: usize,
        block: &Block,
        hidden: Tensor,
        onward: bool,
    ) -> Result<Tensor> {
        let keep_attention = self.asked.attention.contains(&index);
        let Projected { query, key, value } = block.project(&block.ln_1.forward(&hidden)?, Queries::All)?;
        let (query, key, value) = (query.squeeze(0)?, key.squeeze(0)?, value.squeeze(0)?);
        let entering = hidden.squeeze(0)?;
        let mut after = None;
        if keep_attention || onward {
            let attention = attention_weights(&query, &key, None)?;
            if keep_attention {
                self.attention.push(attention.mean(0)?);
            }
            if onward {
                after = Some(block.after_attention(&entering, &attention.matmul(&value)?)?);
            }
        }
        let leaving = match &after {
            Some(after) => after.output.unsqueeze(0)?,
            None => hidden,
        };
        if self.asked.insides.contains(&index) {
            self.insides.push(BlockRecord { hidden: entering, query, key, value, after });
        }
        Ok(leaving)
    }
}

/// [heads, rows, head width] to [rows, heads · head width].
///
/// # Errors
/// If `tensor` has not three dimensions.
pub fn merge_heads(tensor: &Tensor) -> Result<Tensor> {
    let (heads, rows, head_width) = tensor.dims3()?;
    tensor.transpose(0, 1)?.reshape((rows, heads * head_width))
}

/// [rows, width] to [heads, rows, width / heads].
pub(crate) fn split_heads(tensor: &Tensor, heads: usize) -> Result<Tensor> {
    let (rows, width) = tensor.dims2()?;
    tensor.reshape((rows, heads, width / heads))?.transpose(0, 1)?.contiguous()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        formats::config::Activation,
        network::{VisionTower, tests::Source},
    };

    fn largest(tensor: Tensor) -> Result<f32> {
        tensor.abs()?.max_all()?.to_scalar::<f32>()
    }

    fn run_one(
        tower: &VisionTower,
        pixels: &Tensor,
        layers: &[usize],
        recording: &Recording,
    ) -> Result<(Vec<BlockInput>, Recorded)> {
        Ok(tower.run_trunk(std::slice::from_ref(pixels), layers, recording)?.remove(0))
    }

    #[test]
    fn recording_changes_nothing_and_agrees_with_itself() -> Result<()> {
        let mut source = Source::new(21);
        let tower = source.tower(Activation::Gelu);
        let pixels = source.tensor(&[1, 3, 4, 8]);
        for layer in 0..3 {
            let plain = tower.run_until(&pixels, layer)?;
            for (attention, insides) in
                [(0..3, 0..3), (1..3, 0..0), (0..0, 1..2), (2..3, 0..1), (0..2, 0..2), (0..0, 0..0)]
            {
                let recording = Recording { attention: attention.clone(), insides: insides.clone() };
                let (inputs, recorded) = run_one(&tower, &pixels, &[layer], &recording)?;
                let [input] = &inputs[..] else { panic!("one layer was asked for") };
                assert!(largest((&input.activations - &plain.activations)?)? < 1e-5);
                assert!(largest((&input.hidden - &plain.hidden)?)? < 1e-5);
                for block in 0..3 {
                    assert_eq!(recorded.attention(block).is_ok(), attention.contains(&block));
                    assert_eq!(recorded.inside(block).is_ok(), insides.contains(&block));
                    if let (Ok(mean), Ok(inside)) = (recorded.attention(block), recorded.inside(block)) {
                        assert!(largest((mean - inside.attention()?.mean(0)?)?)? < 1e-6);
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn a_record_is_what_the_blocks_compute() -> Result<()> {
        let mut source = Source::new(22);
        let tower = source.tower(Activation::QuickGelu);
        let pixels = source.tensor(&[1, 3, 6, 6]);
        let recording = Recording { attention: 0..3, insides: 0..3 };
        let (_, recorded) = run_one(&tower, &pixels, &[2], &recording)?;
        for block in 0..3 {
            let inside = recorded.inside(block)?;
            let expected = tower.blocks[block].forward(&inside.hidden.unsqueeze(0)?, None)?.squeeze(0)?;
            for queries in [1, 10] {
                let output = inside.after(&tower.blocks[block], queries)?.output;
                assert!(largest((output - expected.narrow(0, 0, queries)?)?)? < 1e-5);
            }
            assert!(largest((recorded.attention(block)?.sum(1)? - 1.0)?)? < 1e-5);
            if block < 2 {
                assert!(largest((&expected - &recorded.inside(block + 1)?.hidden)?)? < 1e-5);
            }
        }
        Ok(())
    }

    #[test]
    fn blocks_that_are_not_there_are_refused() -> Result<()> {
        let mut source = Source::new(23);
        let tower = source.tower(Activation::Gelu);
        let pixels = source.tensor(&[1, 3, 6, 6]);
        let recording = Recording { attention: 2..4, insides: 0..0 };
        assert!(run_one(&tower, &pixels, &[2], &recording).is_err());
        assert!(run_one(&tower, &pixels, &[0, 3], &Recording::default()).is_err());
        Ok(())
    }

    #[test]
    fn one_pass_to_several_layers_is_the_same_as_one_to_each() -> Result<()> {
        let mut source = Source::new(24);
        let tower = source.tower(Activation::Gelu);
        let pixels = source.tensor(&[1, 3, 4, 8]);
        let (inputs, _) = run_one(&tower, &pixels, &[0, 1, 2], &Recording::default())?;
        assert_eq!(inputs.len(), 3);
        for (layer, input) in inputs.iter().enumerate() {
            let alone = tower.run_until(&pixels, layer)?;
            assert_eq!(largest((&input.hidden - &alone.hidden)?)?, 0.0, "layer {layer}");
            assert_eq!(largest((&input.activations - &alone.activations)?)?, 0.0, "layer {layer}");
        }
        Ok(())
    }

    #[test]
    fn images_of_any_size_pass_together_and_none_notices() -> Result<()> {
        let mut source = Source::new(25);
        let tower = source.tower(Activation::QuickGelu);
        let pixels =
            [[6, 6], [4, 10], [12, 8], [6, 6]].map(|[height, width]| source.tensor(&[1, 3, height, width]));
        for (attention, insides) in [(0..0, 0..0), (1..2, 0..0), (0..3, 2..3)] {
            let recording = Recording { attention, insides };
            let together = tower.run_trunk(&pixels, &[1, 2], &recording)?;
            assert_eq!(together.len(), 4);
            for (pixels, (inputs, recorded)) in pixels.iter().zip(&together) {
                let (alone, recorded_alone) = run_one(&tower, pixels, &[1, 2], &recording)?;
                for (one, other) in inputs.iter().zip(&alone) {
                    assert!(largest((&one.hidden - &other.hidden)?)? < 1e-5);
                    assert!(largest((&one.activations - &other.activations)?)? < 1e-5);
                }
                for (one, other) in recorded.attention.iter().zip(&recorded_alone.attention) {
                    assert!(largest((one - other)?)? < 1e-5);
                }
                assert_eq!(recorded.insides.len(), recorded_alone.insides.len());
            }
        }
        Ok(())
    }

    #[test]
    fn recordings_are_joined_by_hand() {
        let one = Recording { attention: 4..12, insides: 0..0 };
        let other = Recording { attention: 0..2, insides: 10..12 };
        assert_eq!(one.and(&other), Recording { attention: 0..12, insides: 10..12 });
        assert_eq!(Recording::default().and(&one), one);
    }
}

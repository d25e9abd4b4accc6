//! What happens inside the blocks on one image's way through the tower, kept for methods that look there.

use std::ops::Range;

use candle_core::{D, Result, Tensor, bail};

use super::{Block, BlockInput, Projected, Queries, VisionTower, softmax};

/// What is kept of a pass through the tower, beside the activations of one layer. Nothing, by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// The blocks of which the mean of the heads' attention is kept: tokens² numbers each.
    pub attention: Range<usize>,
    /// The blocks of which a [`BlockRecord`] is kept: some 10 · tokens · width numbers each.
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

    /// The number of blocks that have to be run.
    fn depth(&self) -> usize {
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
    /// The residual stream after attention: [tokens, width].
    pub middle: Tensor,
    /// What the MLP's nonlinearity is applied to: [tokens, mlp width].
    pub expanded: Tensor,
    /// The residual stream that leaves: [tokens, width].
    pub output: Tensor,
}

impl BlockRecord {
    /// The attention of every head, made anew: kept, it would be the larger part of a record.
    ///
    /// # Shapes
    /// Returns [heads, tokens, tokens], a row for every token that asks; rows sum to 1.
    ///
    /// # Errors
    /// If the tensor computation fails.
    pub fn attention(&self) -> Result<Tensor> {
        attention(&self.query, &self.key)
    }
}

/// What was kept of a pass.
#[derive(Debug, Default)]
pub struct Recorded {
    asked: Recording,
    attention: Vec<Tensor>,
    insides: Vec<BlockRecord>,
}

impl Recorded {
    /// What was asked to be kept.
    pub fn asked(&self) -> &Recording {
        &self.asked
    }

    /// The mean of the heads' attention in a block.
    ///
    /// # Shapes
    /// Returns [tokens, tokens], a row for every token that asks; rows sum to 1.
    ///
    /// # Errors
    /// If it was not asked for.
    pub fn attention(&self, block: usize) -> Result<&Tensor> {
        kept(&self.attention, &self.asked.attention, block)
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

impl VisionTower {
    /// The trunk as [`run_until`](Self::run_until) has it, keeping what is asked for on the way. Blocks behind
    /// `layer` are run as far as the recording needs them.
    ///
    /// # Shapes
    /// `pixels`, of one image: [1, 3, height, width].
    ///
    /// # Errors
    /// As `run_until`, and if a block to be recorded is not one of the tower's.
    pub fn run_recording(
        &self,
        pixels: &Tensor,
        layer: usize,
        recording: &Recording,
    ) -> Result<(BlockInput, Recorded)> {
        let depth = recording.depth();
        if depth > self.layers() {
            bail!("block {} is not one of {}", depth - 1, self.layers());
        }
        let mut hidden = self.embed(pixels)?;
        let mut recorded = Recorded { asked: recording.clone(), ..Recorded::default() };
        let mut input = None;
        for (index, block) in self.blocks.iter().enumerate() {
            if index == layer {
                let activations = block.ln_1.forward(&hidden)?;
                input = Some(BlockInput { hidden: hidden.clone(), activations });
            }
            if index >= layer.max(depth) {
                break;
            }
            let is_last = index + 1 >= layer.max(depth);
            hidden = recorded.pass(index, block, hidden, is_last)?;
        }
        match input {
            Some(input) => Ok((input, recorded)),
            None => bail!("layer {layer} is not one of {}", self.layers()),
        }
    }
}

impl Recorded {
    /// Runs one block and keeps of it what was asked for. Of the last block to be run, nobody needs the output.
    fn pass(&mut self, index: usize, block: &Block, hidden: Tensor, is_last: bool) -> Result<Tensor> {
        let keep_attention = self.asked.attention.contains(&index);
        let keep_inside = self.asked.insides.contains(&index);
        if !keep_attention && !keep_inside {
            return block.forward(&hidden, None);
        }
        let activations = block.ln_1.forward(&hidden)?;
        let Projected { query, key, value } = block.project(&activations, Queries::All)?;
        let (query, key, value) = (query.squeeze(0)?, key.squeeze(0)?, value.squeeze(0)?);
        let attention = attention(&query, &key)?;
        if keep_attention {
            self.attention.push(attention.mean(0)?);
        }
        if is_last && !keep_inside {
            return Ok(hidden);
        }
        let hidden = hidden.squeeze(0)?;
        let middle =
            (&hidden + block.attention.output.forward(&merge_heads(&attention.matmul(&value)?)?)?)?;
        let expanded = block.mlp.expand.forward(&block.ln_2.forward(&middle)?)?;
        let output = (&middle + block.mlp.contract.forward(&block.mlp.activation.forward(&expanded)?)?)?;
        let leaving = output.unsqueeze(0)?;
        if keep_inside {
            self.insides.push(BlockRecord { hidden, query, key, value, middle, expanded, output });
        }
        Ok(leaving)
    }
}

/// softmax(q kᵀ / √head width): [heads, tokens, tokens].
fn attention(query: &Tensor, key: &Tensor) -> Result<Tensor> {
    let scale = (query.dim(D::Minus1)? as f64).sqrt();
    softmax(&(query / scale)?.matmul(&key.t()?)?)
}

/// [heads, rows, head width] to [rows, heads · head width].
pub(crate) fn merge_heads(tensor: &Tensor) -> Result<Tensor> {
    let (heads, rows, head_width) = tensor.dims3()?;
    tensor.transpose(0, 1)?.reshape((rows, heads * head_width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{config::Activation, nn::tests::Source};

    fn largest(tensor: Tensor) -> Result<f32> {
        tensor.abs()?.max_all()?.to_scalar::<f32>()
    }

    #[test]
    fn recording_changes_nothing_and_agrees_with_itself() -> Result<()> {
        let mut source = Source::new(21);
        let tower = source.tower(Activation::Gelu);
        let pixels = source.tensor(&[1, 3, 4, 8]);
        for layer in 0..3 {
            let plain = tower.run_until(&pixels, layer)?;
            for (attention, insides) in [(0..3, 0..3), (1..3, 0..0), (0..0, 1..2), (2..3, 0..1), (0..0, 0..0)]
            {
                let recording = Recording { attention: attention.clone(), insides: insides.clone() };
                let (input, recorded) = tower.run_recording(&pixels, layer, &recording)?;
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
        let (_, recorded) = tower.run_recording(&pixels, 2, &recording)?;
        for block in 0..3 {
            let inside = recorded.inside(block)?;
            let expected = tower.blocks[block].forward(&inside.hidden.unsqueeze(0)?, None)?.squeeze(0)?;
            assert!(largest((&inside.output - &expected)?)? < 1e-5);
            assert!(largest((recorded.attention(block)?.sum(1)? - 1.0)?)? < 1e-5);
            if block < 2 {
                assert!(largest((&inside.output - &recorded.inside(block + 1)?.hidden)?)? == 0.0);
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
        assert!(tower.run_recording(&pixels, 2, &recording).is_err());
        assert!(tower.run_recording(&pixels, 3, &Recording::default()).is_err());
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

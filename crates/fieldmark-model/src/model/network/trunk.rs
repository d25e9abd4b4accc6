//! The forward pass of the vision tower up to the blocks that are explained.

use candle_core::{Result, Tensor, bail};

use super::{
    Block, BlockInput, Recorded, Recording, VisionTower,
    block::{forward, forward_each},
};

/// What enters each of the layers that were asked for, and what was recorded on the way.
pub type Passed = (Vec<BlockInput>, Recorded);

/// Which blocks a pass runs.
struct Course<'a> {
    layers: &'a [usize],
    /// The last of the layers.
    highest: usize,
    /// The number of blocks that the recording needs.
    depth: usize,
    /// The blocks before this one run as one.
    first: usize,
    /// Whether every token's way out of the last block is needed.
    pooled: bool,
}

impl VisionTower {
    /// The trunk: runs the blocks before `layer`.
    ///
    /// # Shapes
    /// `pixels`: [batch, 3, height, width], normalised, sides multiples of the patch; tokens are the class token,
    /// where there is one, and then the patches, row by row.
    ///
    /// # Errors
    /// If the sides are not multiples of the patch, or `layer` is not below the number of blocks.
    pub fn run_until(&self, pixels: &Tensor, layer: usize) -> Result<BlockInput> {
        let Some(block) = self.blocks.get(layer) else {
            bail!("layer {layer} is not one of {}", self.layers());
        };
        block.input(forward(&self.blocks[..layer], self.embed(pixels)?, None)?)
    }

    /// The trunk as [`run_until`](Self::run_until) runs it, in one pass to each of some layers, with a recording of what
    /// happens on the way. Blocks behind the layers are run as far as the recording needs them.
    ///
    /// The images pass together where nothing is recorded. On a CPU the result for an image is bit-identical to that of a
    /// pass of its own.
    ///
    /// Returns for every image what enters each of the layers, which ascend without repetition.
    ///
    /// # Shapes
    /// `pixels`, for each image: [1, 3, height, width].
    ///
    /// # Errors
    /// As `run_until`, and if a block to be recorded is not one of the tower's.
    pub fn run_trunk(
        &self,
        pixels: &[Tensor],
        layers: &[usize],
        recording: &Recording,
    ) -> Result<Vec<Passed>> {
        let course = self.course(layers, recording)?;
        let embedded = pixels.iter().map(|pixels| self.embed(pixels)).collect::<Result<_>>()?;
        let mut hidden = forward_each(&self.blocks[..course.first], embedded)?;
        let before = || (Vec::with_capacity(layers.len()), Recorded::nothing_yet(recording));
        let mut passed: Vec<Passed> = hidden.iter().map(|_| before()).collect();
        for (index, block) in self.blocks.iter().enumerate().take(course.end()).skip(course.first) {
            for (hidden, (inputs, recorded)) in hidden.iter().zip(&mut passed) {
                if layers.contains(&index) {
                    inputs.push(block.input(hidden.clone())?);
                } else if course.is_furthest(index) {
                    recorded.furthest = Some((index, block.input(hidden.clone())?));
                }
            }
            if !course.runs(index) {
                continue;
            }
            hidden = if recording.keeps(index) {
                let each = hidden.into_iter().zip(&mut passed);
                let leaving = each.map(|(hidden, (_, recorded))| {
                    recorded.pass(index, block, hidden, course.goes_on(index))
                });
                leaving.collect::<Result<_>>()?
            } else {
                forward_each(std::slice::from_ref(block), hidden)?
            };
        }
        Ok(passed)
    }

    fn course<'a>(&self, layers: &'a [usize], recording: &Recording) -> Result<Course<'a>> {
        let (lowest, highest) = match layers {
            [] => (0, 0),
            [first, rest @ ..] => (*first, *rest.last().unwrap_or(first)),
        };
        if highest >= self.layers() {
            bail!("layer {highest} is not one of {}", self.layers());
        }
        let depth = recording.depth();
        if depth > self.layers() {
            bail!("block {} is not one of {}", depth - 1, self.layers());
        }
        let first = recording.first().map_or(lowest, |first| first.min(lowest));
        let last = self.layers().saturating_sub(1);
        let pooled = recording.insides.contains(&last) && self.class_token_end().is_none();
        Ok(Course { layers, highest, depth, first, pooled })
    }
}

impl Course<'_> {
    /// The block that is not reached any more.
    fn end(&self) -> usize {
        self.depth.max(self.highest + 1)
    }

    /// Whether a block behind the layers is the last that is reached.
    fn is_furthest(&self, index: usize) -> bool {
        index > self.highest && index + 1 == self.depth && !self.layers.contains(&index)
    }

    /// Whether a block is run: of the last layer only the input is wanted.
    fn runs(&self, index: usize) -> bool {
        index < self.depth.max(self.highest)
    }

    /// Whether what leaves a block is needed.
    fn goes_on(&self, index: usize) -> bool {
        index < self.highest || index + 1 < self.depth || self.pooled
    }
}

impl Block {
    /// What enters this block, with the output of its `ln_1`.
    fn input(&self, hidden: Tensor) -> Result<BlockInput> {
        Ok(BlockInput { activations: self.ln_1.forward(&hidden)?, hidden })
    }
}

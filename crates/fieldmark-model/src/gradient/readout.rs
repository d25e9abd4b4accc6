//! The embedding that a tower would give if it ended at an earlier block, and how it depends on attention: what
//! LeGrad asks of every block (Bousselham et al., ICCV 2025, arXiv 2404.03214).

use candle_core::Tensor;

use super::{LayerTrace, attention_backward::Step, pooling::PoolRecord};
use crate::{error::Result, model::network::Pool};

/// One block's output, read as if the tower ended there.
pub struct Readout<'t> {
    trace: &'t LayerTrace<'t>,
    block: usize,
    embedding: Tensor,
    end: End<'t>,
}

enum End<'t> {
    /// The mean of all tokens, before the last norm: [1, width].
    Mean(Tensor),
    Pool(PoolRecord<'t>),
}

impl<'a> LayerTrace<'a> {
    /// Reads the output of a recorded block. A tower with a pooling head pools it, behind the last norm; any other
    /// takes the mean of **all** tokens, the class token's too, then the last norm and the projection: the class
    /// token of an early block knows little of the image yet.
    ///
    /// # Errors
    /// If the block was not recorded.
    pub fn readout(&'a self, block: usize) -> Result<Readout<'a>> {
        let record = self.recorded().inside(block)?;
        let output = record.after(&self.tower.blocks[block], record.tokens()?)?.output;
        let (pooled, end) = match &self.tower.pool {
            Pool::Attention(pool) => {
                let record = PoolRecord::new(pool, &self.tower.post_norm.forward(&output)?)?;
                (record.pooled()?, End::Pool(record))
            }
            Pool::MeanUnnormed => {
                let mean = output.mean_keepdim(0)?;
                (mean.clone(), End::Mean(mean))
            }
            Pool::ClassTokenAndMean => {
                let mean = output.mean_keepdim(0)?;
                let normed = self.tower.post_norm.forward(&mean)?;
                (Tensor::cat(&[&normed, &normed], 1)?, End::Mean(mean))
            }
            Pool::ClassToken | Pool::MeanOfPatches | Pool::MeanBeforeNorm | Pool::MeanOfTokens => {
                let mean = output.mean_keepdim(0)?;
                (self.tower.post_norm.forward(&mean)?, End::Mean(mean))
            }
        };
        let embedding = self.tower.project(&pooled)?.squeeze(0)?;
        Ok(Readout { trace: self, block, embedding, end })
    }
}

impl Readout<'_> {
    /// The embedding, before it is made a unit vector.
    ///
    /// # Shapes
    /// Returns `[embedding]`.
    pub fn embedding(&self) -> &Tensor {
        &self.embedding
    }

    /// The query of a pooling head's probe, and the tokens' keys; none where there is no such head.
    ///
    /// # Shapes
    /// Returns [heads, 1, head width] and [heads, tokens, head width].
    pub fn probe(&self) -> Option<(&Tensor, &Tensor)> {
        match &self.end {
            End::Pool(record) => Some((&record.query, &record.key)),
            End::Mean(_) => None,
        }
    }

    /// The gradient along a direction of this embedding with respect to the attention that it comes from: the block's
    /// own, or the pooling head's where there is one.
    ///
    /// # Shapes
    /// `direction`: `[embedding]`; returns [heads, queries, tokens], where the queries are all tokens in a block, and the probe
    /// alone in a pooling head.
    ///
    /// # Errors
    /// [`Error::Numeric`](crate::Error::Numeric) if it is not finite.
    pub fn attention_gradient(&self, direction: &Tensor) -> Result<Tensor> {
        let tower = self.trace.tower;
        let pooled = tower.project_backward(&direction.unsqueeze(0)?)?;
        match &self.end {
            End::Pool(record) => Ok(record.backward(&pooled)?.shown.gradient),
            End::Mean(mean) => {
                let record = self.trace.recorded().inside(self.block)?;
                let tokens = record.tokens()?;
                let leaving = match tower.pool {
                    Pool::MeanUnnormed => pooled,
                    Pool::ClassTokenAndMean => {
                        let width = pooled.dim(1)? / 2;
                        let both = (pooled.narrow(1, 0, width)? + pooled.narrow(1, width, width)?)?;
                        tower.post_norm.backward(mean, &both)?
                    }
                    _ => tower.post_norm.backward(mean, &pooled)?,
                };
                let leaving = (leaving / tokens as f64)?;
                Ok(Step::new(&tower.blocks[self.block], record, &leaving, tokens)?.shown.gradient)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        gradient::Differentiation,
        model::{
            config::Activation,
            network::{Recording, VisionTower, attention_weights, tests::Source},
        },
    };

    /// The readout's embedding along `direction`, with `change` added to the attention.
    fn score(tower: &VisionTower, readout: &Readout, change: &Tensor, direction: &Tensor) -> Result<Tensor> {
        let record = readout.trace.recorded().inside(readout.block)?;
        let block = &tower.blocks[readout.block];
        let pooled = match &tower.pool {
            Pool::Attention(pool) => {
                let output = record.after(block, record.tokens()?)?.output;
                let tokens = tower.post_norm.forward(&output)?.unsqueeze(0)?;
                let probe = pool.probe.reshape((1, 1, ()))?;
                let projected = pool.attention.project_from(&probe, &tokens)?;
                let attention = attention_weights(&projected.query, &projected.key, None)?.squeeze(0)?;
                let attended = (attention + change)?.matmul(&projected.value.squeeze(0)?)?;
                let attended = pool.attention.output.forward(&attended.reshape((1, ()))?)?;
                (&attended + pool.mlp.forward(&pool.norm.forward(&attended)?)?)?
            }
            _ => {
                let attended = (record.attention()? + change)?.matmul(&record.value)?;
                let output = block.after_attention(&record.hidden, &attended)?.output;
                let mean = output.mean_keepdim(0)?;
                match &tower.pool {
                    Pool::MeanUnnormed => mean,
                    Pool::ClassTokenAndMean => {
                        let normed = tower.post_norm.forward(&mean)?;
                        Tensor::cat(&[&normed, &normed], 1)?
                    }
                    _ => tower.post_norm.forward(&mean)?,
                }
            }
        };
        Ok((tower.project(&pooled)?.squeeze(0)? * direction)?.sum_all()?)
    }

    #[test]
    fn attention_gradients_agree_with_finite_differences() -> Result<()> {
        let mut source = Source::new(41);
        let read = |tower: VisionTower, pool| VisionTower { pool, projection: None, ..tower };
        let towers = [
            (source.tower(Activation::QuickGelu), 5),
            (source.tower(Activation::Gelu), 5),
            (source.siglip_tower(), 8),
            (read(source.tower(Activation::Gelu), Pool::MeanUnnormed), 8),
            (read(source.tower(Activation::Gelu), Pool::ClassTokenAndMean), 16),
        ];
        for (tower, width) in towers {
            let (pixels, direction) = (source.tensor(&[3, 2, 6]), source.tensor(&[width]));
            let recording = Recording { insides: 1..3, ..Recording::default() };
            let trace = LayerTrace::recording(&tower, &pixels, 1, Differentiation::Fastest, &recording)?;
            for block in 1..3 {
                let readout = trace.readout(block)?;
                let gradient = readout.attention_gradient(&direction)?;
                let found = gradient.flatten_all()?.to_vec1::<f32>()?;
                let (mut error, mut size) = (0.0, 0.0);
                for (place, found) in found.iter().enumerate() {
                    let at = |step: f32| -> Result<f32> {
                        let mut change = vec![0.0_f32; gradient.elem_count()];
                        change[place] = step;
                        let change = Tensor::from_vec(change, gradient.shape(), pixels.device())?;
                        Ok(score(&tower, &readout, &change, &direction)?.to_scalar::<f32>()?)
                    };
                    let expected = (at(1e-2)? - at(-1e-2)?) / 2e-2;
                    error += (found - expected).powi(2);
                    size += expected.powi(2);
                }
                assert!(size > 1e-4, "the check needs a gradient");
                assert!(error.sqrt() < 3e-3 * size.sqrt(), "block {block}: off by {error} of {size}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_pooling_head_reads_the_last_block_as_the_tower_does() -> Result<()> {
        let mut source = Source::new(42);
        let tower = source.siglip_tower();
        let pixels = source.tensor(&[3, 4, 6]);
        let recording = Recording { insides: 2..3, ..Recording::default() };
        let trace = LayerTrace::recording(&tower, &pixels, 2, Differentiation::Fastest, &recording)?;
        let distance = (trace.readout(2)?.embedding() - trace.embedding()?)?.abs()?.max_all()?;
        assert!(distance.to_scalar::<f32>()? < 1e-5);
        Ok(())
    }
}

//! A block forgets what it learnt: the values of each of its tensors change places.

use candle_core::{Result, Tensor};

use super::{Attention, Block, LayerNorm, Linear, Mlp, VisionTower};
use crate::random::Random;

impl VisionTower {
    /// The same tower with the weights of one block shuffled; there is no such block beyond the last. The other
    /// blocks' tensors are shared.
    ///
    /// # Errors
    /// If the tensor computation fails.
    pub fn with_shuffled(&self, block: usize, random: &mut Random) -> Result<Self> {
        let mut tower = self.clone();
        if let Some(block) = tower.blocks.get_mut(block) {
            *block = block.shuffled(random)?;
        }
        Ok(tower)
    }
}

impl Block {
    fn shuffled(&self, random: &mut Random) -> Result<Self> {
        Ok(Self {
            ln_1: self.ln_1.shuffled(random)?,
            attention: Attention {
                projections: self.attention.projections.shuffled(random)?,
                output: self.attention.output.shuffled(random)?,
                heads: self.attention.heads,
            },
            ln_2: self.ln_2.shuffled(random)?,
            mlp: Mlp {
                expand: self.mlp.expand.shuffled(random)?,
                activation: self.mlp.activation,
                gated: self.mlp.gated,
                contract: self.mlp.contract.shuffled(random)?,
            },
        })
    }
}

impl Linear {
    fn shuffled(&self, random: &mut Random) -> Result<Self> {
        let weight = shuffled(&self.weight.tensor()?, random)?;
        let bias = self.bias.as_ref().map(|bias| shuffled(bias, random)).transpose()?;
        let layer = Self::new(weight, bias);
        // What was kept of the layer's own weights is of no use to others.
        Ok(match &self.rounded {
            Some(rounded) => layer.rounding(rounded.kernel),
            None => layer,
        })
    }
}

impl LayerNorm {
    fn shuffled(&self, random: &mut Random) -> Result<Self> {
        let (weight, bias) = (shuffled(&self.weight, random)?, shuffled(&self.bias, random)?);
        Ok(Self { weight, bias, epsilon: self.epsilon })
    }
}

fn shuffled(tensor: &Tensor, random: &mut Random) -> Result<Tensor> {
    let mut values = tensor.flatten_all()?.to_vec1::<f32>()?;
    random.shuffle(&mut values);
    Tensor::from_vec(values, tensor.shape(), tensor.device())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn values_change_places_and_none_is_lost() -> Result<()> {
        let tensor = Tensor::arange(0.0_f32, 60.0, &Device::Cpu)?.reshape((6, 10))?;
        let found = shuffled(&tensor, &mut Random::new(1))?;
        assert_eq!(found.dims(), [6, 10]);
        let mut values = found.flatten_all()?.to_vec1::<f32>()?;
        assert_ne!(values, tensor.flatten_all()?.to_vec1::<f32>()?);
        assert_eq!(values, shuffled(&tensor, &mut Random::new(1))?.flatten_all()?.to_vec1::<f32>()?);
        values.sort_by(f32::total_cmp);
        assert_eq!(values, tensor.flatten_all()?.to_vec1::<f32>()?);
        Ok(())
    }
}

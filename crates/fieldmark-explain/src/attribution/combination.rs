//! Maps of one photo at several layers become one.

use candle_core::Tensor;
use fieldmark_model::error::Result;
use fieldmark_model::named;

/// How the maps of several layers become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Combination {
    /// Their mean. It keeps sign and unit, and is linear in the gradient where the method is. pytorch-grad-cam
    /// rectifies and scales each layer's map first; then a layer with hardly any evidence counts like the others.
    #[default]
    Mean,
    /// The product of their positive parts, each over its own peak: 0 to 1 and without a unit, and above 0 only where
    /// every layer has evidence for the concept. It is not linear, and what speaks against the concept is lost.
    Product,
}

named!(Combination, "layers-combine", Mean => "mean", Product => "product");

impl Combination {
    /// One map a row, of at least one layer's maps. One layer alone stays as it is.
    ///
    /// # Shapes
    /// `layers`, each: [rows, cells]; returns the same.
    ///
    /// # Errors
    /// If there is no layer, or the shapes differ.
    pub fn combine(self, layers: &[Tensor]) -> Result<Tensor> {
        if let [only] = layers {
            return Ok(only.clone());
        }
        let stacked = match self {
            Self::Mean => return Ok(Tensor::stack(layers, 0)?.mean(0)?),
            Self::Product => Tensor::stack(layers, 0)?.relu()?,
        };
        let peaks = stacked.max_keepdim(2)?;
        // A layer without positive evidence is zero everywhere, so any divisor will do.
        let peaks = peaks.gt(0.0)?.where_cond(&peaks, &peaks.ones_like()?)?;
        let shares = stacked.broadcast_div(&peaks)?;
        let mut product = shares.get(0)?;
        for layer in 1..layers.len() {
            product = (product * shares.get(layer)?)?;
        }
        Ok(product)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn layers_are_averaged_or_multiplied_by_hand() -> Result<()> {
        let layers = [[[4.0_f32, -2.0, 2.0]], [[8.0, 6.0, 2.0]]];
        let layers = layers.map(|layer| Tensor::new(&layer, &Device::Cpu));
        let layers = layers.into_iter().collect::<candle_core::Result<Vec<_>>>()?;
        assert_eq!(Combination::Mean.combine(&layers)?.to_vec2::<f32>()?, [[6.0, 2.0, 2.0]]);
        // 1 · 1, 0 · 0.75 and 0.5 · 0.25.
        assert_eq!(Combination::Product.combine(&layers)?.to_vec2::<f32>()?, [[1.0, 0.0, 0.125]]);
        assert_eq!(Combination::Product.combine(&layers[..1])?.to_vec2::<f32>()?, [[4.0, -2.0, 2.0]]);
        Ok(())
    }

    #[test]
    fn a_layer_without_positive_evidence_leaves_none() -> Result<()> {
        let layers = [[[1.0_f32, 2.0]], [[-1.0, 0.0]]].map(|layer| Tensor::new(&layer, &Device::Cpu));
        let layers = layers.into_iter().collect::<candle_core::Result<Vec<_>>>()?;
        assert_eq!(Combination::Product.combine(&layers)?.to_vec2::<f32>()?, [[0.0, 0.0]]);
        Ok(())
    }
}

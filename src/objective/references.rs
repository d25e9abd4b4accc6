//! Choosing the references of a target from a list of concepts.

use candle_core::Tensor;

use crate::error::Result;

/// The rows of `concepts` that are most similar to the target, the most similar first.
///
/// # Shapes
/// `target`: `[embedding]`; `concepts`: [count, embedding]; all unit vectors.
///
/// # Errors
/// If the shapes do not fit.
pub fn nearest(target: &Tensor, concepts: &Tensor, count: usize) -> Result<Vec<usize>> {
    let similarities = concepts.matmul(&target.unsqueeze(1)?)?.squeeze(1)?.to_vec1::<f32>()?;
    let mut order: Vec<usize> = (0..similarities.len()).collect();
    order.sort_by(|one, other| similarities[*other].total_cmp(&similarities[*one]));
    order.truncate(count);
    Ok(order)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn the_nearest_come_first() -> Result<()> {
        let target = Tensor::new(&[1.0_f32, 0.0], &Device::Cpu)?;
        let concepts = Tensor::new(&[[0.0_f32, 1.0], [0.8, 0.6], [0.6, 0.8]], &Device::Cpu)?;
        assert_eq!(nearest(&target, &concepts, 2)?, [1, 2]);
        assert_eq!(nearest(&target, &concepts, 9)?.len(), 3);
        Ok(())
    }
}

//! Eigen-CAM (Muhammad and Yeasin, IJCNN 2020, arXiv 2008.00299), as pytorch-grad-cam computes it: the patches'
//! activations on their first principal component. It shows what sets some patches apart from others, and asks no
//! prompt.
//!
//! Which end of a component is positive is arbitrary, and the reference takes what its decomposition gives. Here the
//! map is turned so that it correlates positively with Grad-CAM's: the positive end is where there is evidence for the
//! target. Where Grad-CAM's map says neither, the end that reaches farther is positive (Seg-Eigen-CAM's rule,
//! doi 10.3390/app15137562).

use candle_core::{DType, Tensor};

use super::{Facts, GradCam, Method, Targets, Unit, principal::projection};
use crate::{error::Result, gradient::LayerTrace};

/// M_i = ± Σ_k (A_ik - mean_j A_jk) v_k, v the first right singular vector of the centred A.
#[derive(Clone, Copy, Debug, Default)]
pub struct EigenCam;

impl Method for EigenCam {
    fn name(&self) -> &'static str {
        "eigen-cam"
    }

    fn facts(&self) -> Facts {
        Facts {
            measures: "the activations' first principal component; prompts only turn its sign",
            unit: Unit::Activations,
            signed: true,
            linear: false,
            discriminative: false,
            cost: None,
            paper: "Muhammad and Yeasin, IJCNN 2020, arXiv 2008.00299",
        }
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        let map = projection(&trace.patch_activations()?)?;
        let guides = GradCam.maps(trace, targets)?;
        let rows = (0..guides.dim(0)?).map(|row| turned(&map, &guides.get(row)?));
        Ok(Tensor::stack(&rows.collect::<Result<Vec<_>>>()?, 0)?)
    }
}

/// The map or its negative, whichever correlates positively with the guide; where neither does, the one that reaches
/// farther above zero.
///
/// # Shapes
/// `map`, 64 bits, on the processor, of mean zero: `[cells]`; `guide`: `[cells]`; returns `[cells]` as the guide is.
pub(super) fn turned(map: &Tensor, guide: &Tensor) -> Result<Tensor> {
    let along =
        (map * guide.to_device(map.device())?.to_dtype(DType::F64)?)?.sum_all()?.to_scalar::<f64>()?;
    let positive = match along == 0.0 {
        true => map.max_all()?.to_scalar::<f64>()? >= -map.min_all()?.to_scalar::<f64>()?,
        false => along > 0.0,
    };
    let map = if positive { map.clone() } else { map.neg()? };
    Ok(map.to_dtype(guide.dtype())?.to_device(guide.device())?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn a_map_is_turned_towards_its_guide_else_to_its_longer_end() -> Result<()> {
        let map = Tensor::new(&[1.0_f64, 1.0, -2.0], &Device::Cpu)?;
        let turn = |guide: [f32; 3]| {
            turned(&map, &Tensor::new(&guide, &Device::Cpu)?)?.to_vec1::<f32>().map_err(Into::into)
        };
        assert_eq!(turn([1.0, 0.0, 0.0])?, [1.0, 1.0, -2.0]);
        assert_eq!(turn([0.0, 0.0, 3.0])?, [-1.0, -1.0, 2.0]);
        let flat: Result<Vec<f32>> = turn([0.0; 3]);
        assert_eq!(flat?, [-1.0, -1.0, 2.0]);
        Ok(())
    }
}

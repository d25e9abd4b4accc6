//! Eigen-CAM (Muhammad and Yeasin, IJCNN 2020, arXiv 2008.00299), as pytorch-grad-cam computes it: the patches'
//! activations on their first principal component. It shows what sets some patches apart from others, and asks no
//! prompt.
//!
//! Which end of a component is positive is arbitrary, and the reference takes what its decomposition gives. Here the
//! map is turned so that it correlates positively with Grad-CAM's: the positive end is where there is evidence for the
//! target. Where Grad-CAM's map says neither, the end that reaches farther is positive (Seg-Eigen-CAM's rule,
//! doi 10.3390/app15137562).

use candle_core::Tensor;

use super::{Facts, GradCam, Method, Targets, Unit, principal::projection};
use fieldmark_model::{error::Result, gradient::LayerTrace};

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
            cost: Some(1.1),
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
/// `map`, of mean zero: a value a cell; `guide`: `[cells]`; returns the same as the guide.
pub(super) fn turned(map: &[f64], guide: &Tensor) -> Result<Tensor> {
    let along: f64 =
        map.iter().zip(guide.to_vec1::<f32>()?).map(|(value, guide)| value * f64::from(guide)).sum();
    let (low, high) =
        map.iter().fold((0.0, 0.0), |(low, high): (f64, f64), value| (low.min(*value), high.max(*value)));
    let is_positive = if along == 0.0 { high >= -low } else { along > 0.0 };
    let sign = if is_positive { 1.0 } else { -1.0 };
    Ok(Tensor::from_iter(map.iter().map(|value| (sign * value) as f32), guide.device())?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn a_map_is_turned_towards_its_guide_else_to_its_longer_end() -> Result<()> {
        let turn = |guide: [f32; 3]| -> Result<Vec<f32>> {
            Ok(turned(&[1.0, 1.0, -2.0], &Tensor::new(&guide, &Device::Cpu)?)?.to_vec1()?)
        };
        assert_eq!(turn([1.0, 0.0, 0.0])?, [1.0, 1.0, -2.0]);
        assert_eq!(turn([0.0, 0.0, 3.0])?, [-1.0, -1.0, 2.0]);
        assert_eq!(turn([0.0; 3])?, [-1.0, -1.0, 2.0]);
        Ok(())
    }
}

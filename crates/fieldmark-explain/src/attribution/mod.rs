//! MAP: activations and gradients become a signed map of evidence on the grid of patches.
//!
//! A new method is one file here and one line in [`METHODS`].

mod attention_rollout;
mod combination;
mod dense;
mod eigen_cam;
mod eigen_grad_cam;
mod facts;
mod game;
mod grad_cam;
mod grad_cam_elementwise;
mod grad_cam_plus_plus;
mod grad_eclip;
mod hires_cam;
mod layer_cam;
mod le_grad;
mod map;
mod needs;
mod principal;
pub mod resample;
pub(crate) mod runs;
mod score_cam;
mod targets;
mod xgrad_cam;

pub use attention_rollout::AttentionRollout;
pub use combination::Combination;
pub use dense::{ClearClip, ClipSurgery, Gem, MaskClip, NaClip, Sclip};
pub use eigen_cam::EigenCam;
pub use eigen_grad_cam::EigenGradCam;
pub use facts::{Facts, Unit};
pub use game::Game;
pub use grad_cam::GradCam;
pub use grad_cam_elementwise::GradCamElementwise;
pub use grad_cam_plus_plus::GradCamPlusPlus;
pub use grad_eclip::GradEclip;
pub use hires_cam::HiResCam;
pub use layer_cam::LayerCam;
pub use le_grad::LeGrad;
pub use map::ConceptMap;
pub use needs::Needs;
pub use score_cam::{GScoreCam, ScoreCam};
pub use targets::Targets;
pub use xgrad_cam::XGradCam;

use candle_core::Tensor;

use fieldmark_model::{
    error::{Error, Result},
    gradient::LayerTrace,
    model::config::VisionConfig,
};

/// A way to turn activations and gradients into maps.
pub trait Method: Send + Sync {
    /// The name on the command line and in results.
    fn name(&self) -> &'static str;

    /// What users choose it by, and what results depend on.
    fn facts(&self) -> Facts;

    /// What the method needs of an image's pass through a vision tower. `asked` is the block that the user named,
    /// counted from 0; without it the method chooses, which is the last block unless it says otherwise.
    ///
    /// # Errors
    /// [`Error::Option`] if it cannot explain such a tower, or that block of it.
    fn needs(&self, vision: &VisionConfig, asked: Option<usize>) -> Result<Needs> {
        Ok(Needs::activations(vision, asked))
    }

    /// Prompts whose embeddings the method asks for beside those that are compared; they may be empty.
    fn extra_prompts(&self) -> &'static [&'static str] {
        &[]
    }

    /// The maps, one for every target, before the paper's last ReLU and scaling.
    ///
    /// Values are finite for any gradient; where a method shows a gradient and that is zero, so is the map.
    /// A method that runs the model again reports its progress to [`LayerTrace::progress`].
    ///
    /// # Shapes
    /// Returns [rows, cells], the rows in the targets' order.
    ///
    /// # Errors
    /// [`Error::Numeric`] if a gradient got lost or is not finite.
    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor>;
}

/// Every method, the default first.
pub static METHODS: &[&dyn Method] = &[
    &GradCam,
    &HiResCam,
    &LayerCam,
    &GradCamElementwise,
    &GradCamPlusPlus,
    &XGradCam,
    &EigenCam,
    &EigenGradCam,
    &ScoreCam,
    &GScoreCam::AUTHORS,
    &LeGrad,
    &GradEclip,
    &AttentionRollout,
    &Game,
    &ClipSurgery,
    &Gem,
    &MaskClip,
    &Sclip,
    &ClearClip,
    &NaClip,
];

/// The method of that name.
///
/// # Errors
/// [`Error::Option`] names those that there are.
pub fn method(name: &str) -> Result<&'static dyn Method> {
    let found = METHODS.iter().find(|method| method.name() == name);
    found.copied().ok_or_else(|| {
        let names: Vec<_> = METHODS.iter().map(|method| method.name()).collect();
        let reason = format!("expected one of {}, found {name:?}", names.join(", "));
        Error::Option { option: "method", reason }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use fieldmark_model::{gradient::Differentiation, model::Model};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Numbers from -1 to 1, the same ones in every run.
    fn tensor(random: &mut ChaCha8Rng, shape: &[usize]) -> Result<Tensor> {
        let values = (0..shape.iter().product()).map(|_| random.random_range(-1.0_f32..1.0)).collect();
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }

    #[test]
    fn methods_of_activations_need_no_class_token() -> Result<()> {
        let model = Model::open("../../tests/fixtures/models/tiny-siglip".as_ref(), Device::Cpu)?;
        let tower = model.vision()?;
        let mut random = ChaCha8Rng::seed_from_u64(31);
        let pixels = tensor(&mut random, &[3, 16, 40])?;
        let (texts, weights) = (tensor(&mut random, &[3, 32])?, tensor(&mut random, &[2, 3])?);
        let methods: [&dyn Method; 10] = [
            &GradCam,
            &HiResCam,
            &LayerCam,
            &GradCamElementwise,
            &GradCamPlusPlus,
            &XGradCam,
            &EigenCam,
            &EigenGradCam,
            &ScoreCam,
            &GScoreCam { channels: 3 },
        ];
        for layer in 0..3 {
            let trace = LayerTrace::new(tower, &pixels, layer, Differentiation::Fastest)?;
            let targets = Targets::new(&trace.embedding()?, &texts, &weights, 10.0)?;
            for method in methods {
                let maps = method.maps(&trace, &targets)?;
                assert_eq!(maps.dims(), [2, 10], "{}", method.name());
                let size = maps.abs()?.sum_all()?.to_scalar::<f32>()?;
                assert!(size.is_finite() && size > 0.0, "{}: {size}", method.name());
            }
        }
        Ok(())
    }

    #[test]
    fn names_and_measures_are_each_methods_own() {
        for (index, method) in METHODS.iter().enumerate() {
            let Facts { measures, .. } = method.facts();
            assert!(!measures.is_empty() && !measures.ends_with('.'), "{measures}");
            assert!(measures.len() <= 90, "{measures} is longer than a line");
            for other in &METHODS[..index] {
                assert!(other.name() != method.name() && other.facts().measures != measures, "{measures}");
            }
        }
    }
}

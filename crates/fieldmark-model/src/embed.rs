//! EMBED: unit vectors of images and prompts become similarities, logits and probabilities.

use candle_core::Tensor;

use crate::{
    error::Result,
    model::{config::ProbabilityKind, network::add},
};

/// What the model says of one image and several prompts. All lists are in the prompts' order.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Scores {
    /// Cosines of image and prompt, from -1 to 1.
    pub similarities: Vec<f64>,
    /// Similarities times the checkpoint's logit scale, plus its bias where it has one.
    pub logits: Vec<f64>,
}

impl Scores {
    /// Scores an image.
    ///
    /// # Shapes
    /// `image`: `[embedding]`; `texts`: [prompts, embedding]; all unit vectors.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn new(image: &Tensor, texts: &Tensor, logit_scale: f64) -> Result<Self> {
        let similarities = texts.matmul(&image.unsqueeze(1)?)?.squeeze(1)?.to_vec1::<f32>()?;
        let similarities: Vec<f64> = similarities.into_iter().map(f64::from).collect();
        let logits = similarities.iter().map(|similarity| similarity * logit_scale).collect();
        Ok(Self { similarities, logits })
    }

    /// Adds the bias of a checkpoint that was trained with a sigmoid to every logit.
    #[must_use]
    pub fn with_bias(mut self, logit_bias: f64) -> Self {
        self.logits.iter_mut().for_each(|logit| *logit += logit_bias);
        self
    }
}

/// What a checkpoint's logits say as probabilities, from 0 to 1.
pub fn probabilities(logits: &[f64], kind: ProbabilityKind) -> Vec<f64> {
    match kind {
        ProbabilityKind::Softmax => softmax(logits),
        ProbabilityKind::Sigmoid => logits.iter().copied().map(sigmoid).collect(),
    }
}

/// 1 / (1 + e^-x).
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The softmax of some logits.
pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|logit| (logit - top).exp()).collect();
    let total: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / total).collect()
}

/// The gradient of logits with respect to the image's embedding before it was made a unit vector:
/// ∂y/∂z = scale / |z| · (t - (ẑ·t) ẑ), for every row of `texts`.
///
/// # Shapes
/// `embedding` z: `[embedding]`; `texts`: [rows, embedding], unit vectors or mixes of them, since the gradient is
/// linear in the text; returns [rows, embedding].
///
/// # Errors
/// If the shapes do not fit.
pub fn logit_gradients(embedding: &Tensor, texts: &Tensor, logit_scale: f64) -> Result<Tensor> {
    let length = f64::from(embedding.sqr()?.sum_all()?.sqrt()?.to_scalar::<f32>()?);
    let unit = (embedding / length)?.unsqueeze(0)?;
    let along = texts.matmul(&unit.t()?)?;
    let across = add(texts, &along.matmul(&unit.neg()?)?)?;
    Ok((across * (logit_scale / length))?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn logit_gradients_agree_with_finite_differences() -> Result<()> {
        let (z, text, scale) = ([0.5_f32, -1.0, 2.0], [0.6_f32, 0.0, 0.8], 10.0);
        let embedding = Tensor::new(&z, &Device::Cpu)?;
        let texts = Tensor::new(&text, &Device::Cpu)?.unsqueeze(0)?;
        let found = logit_gradients(&embedding, &texts, scale)?.get(0)?.to_vec1::<f32>()?;
        let logit = |z: [f64; 3]| {
            let length = z.iter().map(|x| x * x).sum::<f64>().sqrt();
            z.iter().zip(text).map(|(z, t)| z * f64::from(t)).sum::<f64>() / length * scale
        };
        for (index, found) in found.into_iter().enumerate() {
            let at = |step: f64| {
                let mut moved = z.map(f64::from);
                moved[index] += step;
                logit(moved)
            };
            let expected = (at(1e-4) - at(-1e-4)) / 2e-4;
            assert!((f64::from(found) - expected).abs() < 1e-4, "{found} against {expected}");
        }
        Ok(())
    }

    #[test]
    fn a_bias_is_part_of_the_logit_and_of_its_sigmoid() -> Result<()> {
        let image = Tensor::new(&[1.0_f32, 0.0], &Device::Cpu)?;
        let texts = Tensor::new(&[[0.5_f32, 0.0], [1.0, 0.0]], &Device::Cpu)?;
        let scores = Scores::new(&image, &texts, 10.0)?.with_bias(-5.0);
        assert_eq!(
            (scores.similarities.as_slice(), scores.logits.as_slice()),
            (&[0.5, 1.0][..], &[0.0, 5.0][..])
        );
        let found = probabilities(&scores.logits, ProbabilityKind::Sigmoid);
        assert_eq!(found, [0.5, 1.0 / (1.0 + (-5.0_f64).exp())]);
        assert_eq!(probabilities(&[0.0, 0.0], ProbabilityKind::Softmax), [0.5, 0.5]);
        Ok(())
    }

    #[test]
    fn softmax_is_stable() {
        assert_eq!(softmax(&[1000.0, 1000.0]), [0.5, 0.5]);
        assert_eq!(softmax(&[3.0]), [1.0]);
    }
}

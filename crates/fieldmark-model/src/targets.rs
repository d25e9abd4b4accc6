//! Targets: directions of a feature that a photo is scored against. The rows of a classifier are targets, and so are the
//! embeddings of texts, photos and taxa.

use candle_core::{DType, Tensor};

use crate::{
    embed::{Scores, logit_gradients},
    error::{Error, Result},
    feature::Feature,
};

/// The most names that an error offers for one that is unknown.
const OFFERED: usize = 3;

/// Named vectors of one feature, each with a bias.
#[derive(Clone, Debug)]
pub struct Targets {
    feature: Feature,
    vectors: Tensor,
    biases: Vec<f64>,
    names: Vec<String>,
}

impl Targets {
    /// Targets of a feature. For [`Feature::Embedding`] the vectors are made unit vectors; for every other feature
    /// they stay as they are.
    ///
    /// # Shapes
    /// `vectors`: [targets, width]; `biases` and `names`: one for each target.
    ///
    /// # Errors
    /// [`Error::Option`] if the numbers of vectors, biases and names differ or are zero, if a value is not finite, or
    /// if a vector of the embedding is zero.
    pub fn new(feature: Feature, vectors: &Tensor, biases: Vec<f64>, names: Vec<String>) -> Result<Self> {
        let vectors = vectors.to_dtype(DType::F32)?.contiguous()?;
        let (count, _) = vectors.dims2()?;
        if count == 0 || biases.len() != count || names.len() != count {
            let (biases, names) = (biases.len(), names.len());
            let reason = format!(
                "expected as many vectors as biases and names, found {count} vectors, {biases} biases and {names} names"
            );
            return Err(Error::Option { option: "targets", reason });
        }
        let targets = Self { feature, vectors, biases, names };
        targets.check_finite()?;
        if feature.is_cosine() { targets.normalised() } else { Ok(targets) }
    }

    /// Targets without biases.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn unbiased(feature: Feature, vectors: &Tensor, names: Vec<String>) -> Result<Self> {
        let biases = vec![0.0; names.len()];
        Self::new(feature, vectors, biases, names)
    }

    /// The feature that the vectors are compared with.
    pub fn feature(&self) -> Feature {
        self.feature
    }

    /// The vectors: [targets, width].
    pub fn vectors(&self) -> &Tensor {
        &self.vectors
    }

    /// What is added to each target's logit; in the targets' order.
    pub fn biases(&self) -> &[f64] {
        &self.biases
    }

    /// The targets' names, in their order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The number of targets: at least one.
    #[expect(clippy::len_without_is_empty, reason = "there is at least one")]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The numbers in a vector.
    pub fn width(&self) -> usize {
        self.vectors.dims().last().copied().unwrap_or(0)
    }

    /// The targets of these indices, in this order.
    ///
    /// # Errors
    /// [`Error::Option`] if there is no index, or none of that number.
    pub fn select(&self, indices: &[usize]) -> Result<Self> {
        if let Some(index) = indices.iter().find(|index| **index >= self.len()) {
            let reason = format!("expected an index below {}, found {index}", self.len());
            return Err(Error::Option { option: "targets", reason });
        }
        let rows = indices.iter().map(|index| self.vectors.get(*index));
        let rows = rows.collect::<candle_core::Result<Vec<_>>>()?;
        if rows.is_empty() {
            let reason = "expected at least one index, found none".into();
            return Err(Error::Option { option: "targets", reason });
        }
        Ok(Self {
            feature: self.feature,
            vectors: Tensor::stack(&rows, 0)?,
            biases: indices.iter().map(|index| self.biases[*index]).collect(),
            names: indices.iter().map(|index| self.names[*index].clone()).collect(),
        })
    }

    /// The index of a name: as it is written, else without regard to upper and lower case.
    ///
    /// # Errors
    /// [`Error::UnknownClass`] with the nearest names if no target has it, or if several have.
    pub fn find(&self, name: &str) -> Result<usize> {
        let exact: Vec<usize> = self.places(|known| known == name);
        let lower = name.to_lowercase();
        let folded = || self.places(|known| known.to_lowercase() == lower);
        let found = if exact.is_empty() { folded() } else { exact };
        match found.as_slice() {
            [only] => Ok(*only),
            [] => Err(Error::UnknownClass {
                name: name.to_owned(),
                reason: format!("none of the {} classes has this name", self.len()),
                nearest: nearest(name, &self.names),
            }),
            several => {
                let shown: Vec<String> = several.iter().take(4).map(|index| format!("#{index}")).collect();
                let reason = format!("{} classes have this name", several.len());
                Err(Error::UnknownClass { name: name.to_owned(), reason, nearest: shown })
            }
        }
    }

    /// Holds the vectors' width against that of the feature in a tower.
    ///
    /// # Errors
    /// [`Error::Option`] names both numbers if they differ.
    pub fn check_width(&self, width: usize) -> Result<()> {
        if self.width() == width {
            return Ok(());
        }
        let reason = format!(
            "expected vectors of {width} numbers, the width of the feature {}, found {}",
            self.feature,
            self.width()
        );
        Err(Error::Option { option: "targets", reason })
    }

    /// Scores an image. `scale` and `bias` are the checkpoint's, and count for [`Feature::Embedding`] alone.
    ///
    /// # Shapes
    /// `read`, the feature as the tower gives it, before it is made a unit vector: `[width]`.
    ///
    /// # Errors
    /// If the widths differ; [`Error::Numeric`] if the feature is zero or not finite.
    pub fn scores(&self, read: &Tensor, scale: f64, bias: f64) -> Result<Scores> {
        self.check_width(read.dims1()?)?;
        let length = f64::from(read.sqr()?.sum_all()?.sqrt()?.to_scalar::<f32>()?);
        if !(length.is_finite() && length > 0.0) {
            let reason = "it is zero or not finite".into();
            return Err(Error::Numeric { what: "feature", reason });
        }
        let mut scores = if self.feature.is_cosine() {
            Scores::new(&(read / length)?, &self.vectors, scale)?.with_bias(bias)
        } else {
            self.dot_products(read, length)?
        };
        scores.logits.iter_mut().zip(&self.biases).for_each(|(logit, own)| *logit += own);
        Ok(scores)
    }

    /// The gradients of the logits with respect to the feature, before it is made a unit vector: the directions that
    /// a [`LayerTrace`](crate::gradient::LayerTrace) takes. `mixes` are rows over the targets, such as an objective's
    /// weights.
    ///
    /// # Shapes
    /// `read`: `[width]`; `mixes`: [rows, targets]; returns [rows, width].
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn directions(&self, read: &Tensor, mixes: &Tensor, scale: f64) -> Result<Tensor> {
        let mixed = mixes.matmul(&self.vectors)?;
        if self.feature.is_cosine() { logit_gradients(read, &mixed, scale) } else { Ok(mixed) }
    }

    /// Dot products, without biases; similarities are cosines here too.
    fn dot_products(&self, read: &Tensor, length: f64) -> Result<Scores> {
        let products = self.vectors.matmul(&read.unsqueeze(1)?)?.squeeze(1)?.to_vec1::<f32>()?;
        let lengths = self.vectors.sqr()?.sum(1)?.sqrt()?.to_vec1::<f32>()?;
        let cosine = |(product, own): (&f32, f32)| {
            if own > 0.0 { f64::from(*product) / (f64::from(own) * length) } else { 0.0 }
        };
        let similarities = products.iter().zip(lengths).map(cosine).collect();
        Ok(Scores { similarities, logits: products.into_iter().map(f64::from).collect() })
    }

    fn check_finite(&self) -> Result<()> {
        let sums = self.vectors.abs()?.sum(1)?.to_vec1::<f32>()?;
        let broken =
            (0..self.len()).find(|index| !(sums[*index].is_finite() && self.biases[*index].is_finite()));
        let Some(index) = broken else { return Ok(()) };
        let name = crate::error::cut(&self.names[index], 80);
        let reason = format!("target {name:?}: expected finite numbers, found NaN or infinity");
        Err(Error::Option { option: "targets", reason })
    }

    fn normalised(self) -> Result<Self> {
        let lengths = self.vectors.sqr()?.sum_keepdim(1)?.sqrt()?;
        if let Some(index) = lengths.flatten_all()?.to_vec1::<f32>()?.iter().position(|length| *length <= 0.0)
        {
            let name = crate::error::cut(&self.names[index], 80);
            let reason = format!("target {name:?}: expected a direction, found a vector of zeros");
            return Err(Error::Option { option: "targets", reason });
        }
        Ok(Self { vectors: self.vectors.broadcast_div(&lengths)?, ..self })
    }

    fn places(&self, is_it: impl Fn(&String) -> bool) -> Vec<usize> {
        (0..self.len()).filter(|index| is_it(&self.names[*index])).collect()
    }
}

/// The names that are most like one that is unknown, the nearest first: those that contain it, then by the number of
/// letters that differ.
pub fn nearest(name: &str, names: &[String]) -> Vec<String> {
    let wanted: Vec<char> = name.to_lowercase().chars().take(LONGEST).collect();
    let text: String = wanted.iter().collect();
    let mut ranked: Vec<(usize, usize)> = names
        .iter()
        .enumerate()
        .filter_map(|(index, known)| {
            let known = known.to_lowercase();
            if !text.is_empty() && known.contains(&text) {
                return Some((0, index));
            }
            let known: Vec<char> = known.chars().take(LONGEST).collect();
            let distance = distance(&wanted, &known);
            (2 * distance <= wanted.len().max(known.len()) + 1).then_some((distance, index))
        })
        .collect();
    ranked.sort_unstable();
    ranked.into_iter().take(OFFERED).map(|(_, index)| names[index].clone()).collect()
}

/// The most letters of a name that are compared.
const LONGEST: usize = 100;

/// Levenshtein's distance.
fn distance(one: &[char], other: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.iter().enumerate() {
        let mut diagonal = line;
        row[0] = line + 1;
        for (column, against) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != against);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn targets(feature: Feature) -> Result<Targets> {
        let vectors = Tensor::new(&[[3.0_f32, 4.0], [0.0, 2.0]], &Device::Cpu)?;
        Targets::new(feature, &vectors, vec![0.5, -1.0], vec!["Wren".into(), "Painted Bunting".into()])
    }

    #[test]
    fn a_plain_logit_is_a_dot_product_and_a_bias() -> Result<()> {
        let read = Tensor::new(&[1.0_f32, 2.0], &Device::Cpu)?;
        let scores = targets(Feature::MeanPatches)?.scores(&read, 100.0, 7.0)?;
        assert_eq!(scores.logits, [11.5, 3.0]);
        let cosines = [11.0 / (5.0 * 5.0_f64.sqrt()), 2.0 / 5.0_f64.sqrt()];
        for (found, expected) in scores.similarities.iter().zip(cosines) {
            assert!((found - expected).abs() < 1e-6);
        }
        Ok(())
    }

    #[test]
    fn an_embedding_is_compared_by_its_direction() -> Result<()> {
        let read = Tensor::new(&[2.0_f32, 0.0], &Device::Cpu)?;
        let scores = targets(Feature::Embedding)?.scores(&read, 10.0, 1.0)?;
        for (found, expected) in scores.logits.iter().zip([6.0 + 1.0 + 0.5, 0.0]) {
            assert!((found - expected).abs() < 1e-5, "{found} against {expected}");
        }
        Ok(())
    }

    #[test]
    fn directions_are_mixes_of_rows_or_gradients_of_cosines() -> Result<()> {
        let read = Tensor::new(&[1.0_f32, 0.0], &Device::Cpu)?;
        let mixes = Tensor::new(&[[1.0_f32, -0.5]], &Device::Cpu)?;
        let plain = targets(Feature::ClassToken)?.directions(&read, &mixes, 10.0)?;
        assert_eq!(plain.to_vec2::<f32>()?, [[3.0, 3.0]]);
        let cosine = targets(Feature::Embedding)?.directions(&read, &mixes, 10.0)?.to_vec2::<f32>()?;
        assert!(cosine[0][0].abs() < 1e-6 && (cosine[0][1] - 3.0).abs() < 1e-5, "{cosine:?}");
        Ok(())
    }

    #[test]
    fn what_cannot_be_used_is_named() -> Result<()> {
        let error = targets(Feature::MeanPatches)?.check_width(768).unwrap_err().to_string();
        assert_eq!(
            error,
            "targets: expected vectors of 768 numbers, the width of the feature mean-patches, found 2"
        );
        let broken = Tensor::new(&[[f32::NAN, 0.0]], &Device::Cpu)?;
        let error = Targets::unbiased(Feature::Projected, &broken, vec!["a".into()]).unwrap_err().to_string();
        assert_eq!(error, "targets: target \"a\": expected finite numbers, found NaN or infinity");
        let zero = Tensor::zeros((1, 2), DType::F32, &Device::Cpu)?;
        assert!(Targets::unbiased(Feature::Embedding, &zero, vec!["a".into()]).is_err());
        assert!(Targets::unbiased(Feature::Projected, &zero, vec![]).is_err());
        assert!(targets(Feature::Projected)?.select(&[2]).is_err());
        Ok(())
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest() -> Result<()> {
        let targets = targets(Feature::Projected)?;
        assert_eq!((targets.find("Wren")?, targets.find("painted bunting")?), (0, 1));
        for (name, offered) in
            [("Painted Buntin", "Painted Bunting"), ("wern", "Wren"), ("bunting", "Painted Bunting")]
        {
            match targets.find(name) {
                Err(Error::UnknownClass { nearest, .. }) => assert_eq!(nearest, [offered], "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        Ok(())
    }
}

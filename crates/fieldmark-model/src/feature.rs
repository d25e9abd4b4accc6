//! The features of the vision tower that a target can be read from.

use crate::{error::Result, model::network::VisionTower};

/// Which vector of the vision tower a target is compared with.
///
/// Tokens are those behind the last block, after the last norm unless it says otherwise. Patches are the tokens of the
/// grid: neither the class token nor registers are among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Feature {
    /// The tower's own pooled and projected vector, made a unit vector: a logit is a cosine times the checkpoint's
    /// scale. Texts, photos and taxa are compared so. Of a tower without a projection it is the pooled vector alone.
    #[default]
    Embedding,
    /// The same vector as it is: a logit is a dot product plus a bias.
    Projected,
    /// The mean of the patches, projected: open_clip with `pool_type = "avg"`.
    ProjectedMeanPatches,
    /// The class token: `ViTForImageClassification`, and timm's `token`.
    ClassToken,
    /// The mean of the patches: linear layers on DINOv2, and timm's `avg`. In a tower whose last norm follows the mean
    /// (timm's `fc_norm`), that mean with the norm behind it.
    MeanPatches,
    /// The class token, and behind it the mean of the patches: `Dinov2ForImageClassification`. Twice the tower's width.
    ClassTokenAndMeanPatches,
    /// The mean of all tokens, the class token and registers among them.
    MeanTokens,
    /// The mean of the patches as they leave the last block, before the last norm: `CLIPForImageClassification`.
    MeanPatchesRaw,
}

crate::named!(
    Feature, "feature",
    Embedding => "embedding",
    Projected => "projected",
    ProjectedMeanPatches => "projected-mean-patches",
    ClassToken => "class-token",
    MeanPatches => "mean-patches",
    ClassTokenAndMeanPatches => "class-token+mean-patches",
    MeanTokens => "mean-tokens",
    MeanPatchesRaw => "mean-patches-raw",
);

impl Feature {
    /// Whether a logit is the cosine of feature and target, times a scale; else it is their dot product.
    pub fn is_cosine(self) -> bool {
        self == Self::Embedding
    }

    /// Every feature that a tower can be read as, with its width.
    pub fn of(tower: &VisionTower) -> Vec<(Self, usize)> {
        let width = |feature: &Self| Some((*feature, tower.read_as(*feature).ok()?.feature_width()));
        Self::ALL.iter().filter_map(width).collect()
    }

    /// Reads a tower as this feature: [`VisionTower::read_as`].
    ///
    /// # Errors
    /// [`Error::Option`](crate::Error::Option) if the tower has no such feature.
    pub fn read(self, tower: &VisionTower) -> Result<VisionTower> {
        tower.read_as(self)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;

    use super::*;
    use crate::{
        error::Error,
        model::{
            config::Activation,
            network::{Pool, tests::Source},
        },
    };

    fn near(one: &Tensor, other: &Tensor) -> Result<bool> {
        assert_eq!(one.dims(), other.dims());
        Ok((one - other)?.abs()?.max_all()?.to_scalar::<f32>()? < 1e-5)
    }

    #[test]
    fn each_feature_is_made_of_the_tokens_behind_the_last_block() -> Result<()> {
        let mut source = Source::new(71);
        let mut tower = source.tower(Activation::Gelu);
        tower.registers = Some(source.tensor(&[2, 8]));
        let pixels = source.tensor(&[1, 3, 4, 6]);
        let last = tower.run_until(&pixels, 2)?;
        let hidden = tower.blocks[2].forward_from(
            &last.hidden,
            &last.activations,
            crate::model::network::Queries::All,
            None,
        )?;
        let normed = tower.post_norm.forward(&hidden)?;
        assert_eq!(hidden.dims(), [1, 1 + 2 + 6, 8]);
        let patches = |tokens: &Tensor| tokens.narrow(1, 3, 6)?.mean(1);
        let class = normed.narrow(1, 0, 1)?.squeeze(1)?;
        let expected = [
            (Feature::Embedding, tower.project(&class)?),
            (Feature::Projected, tower.project(&class)?),
            (Feature::ProjectedMeanPatches, tower.project(&patches(&normed)?)?),
            (Feature::ClassToken, class.clone()),
            (Feature::MeanPatches, patches(&normed)?),
            (Feature::ClassTokenAndMeanPatches, Tensor::cat(&[&class, &patches(&normed)?], 1)?),
            (Feature::MeanTokens, normed.mean(1)?),
            (Feature::MeanPatchesRaw, patches(&hidden)?),
        ];
        let widths: Vec<_> = expected.iter().map(|(feature, vector)| (*feature, vector.dims()[1])).collect();
        assert_eq!(Feature::of(&tower), widths);
        for (feature, vector) in &expected {
            assert!(near(&tower.read_as(*feature)?.embeddings(&pixels)?, vector)?, "{feature}");
        }
        Ok(())
    }

    #[test]
    fn a_tower_has_only_the_features_that_it_has_the_parts_for() -> Result<()> {
        let mut source = Source::new(72);
        let tower = source.siglip_tower();
        let names: Vec<_> = Feature::of(&tower).iter().map(|(feature, _)| feature.name()).collect();
        assert_eq!(names, ["embedding", "projected", "mean-patches", "mean-tokens", "mean-patches-raw"]);
        let error = tower.read_as(Feature::ClassToken).map(drop).unwrap_err().to_string();
        assert_eq!(error, "feature: class-token: expected a tower with a class token, found one without");
        assert!(matches!(tower.read_as(Feature::ProjectedMeanPatches), Err(Error::Option { .. })));
        let normed_behind = source.pooled_tower(Activation::Gelu, Pool::MeanBeforeNorm);
        let mean = normed_behind.read_as(Feature::MeanPatches)?;
        assert!(matches!(mean.pool, Pool::MeanBeforeNorm));
        Ok(())
    }
}

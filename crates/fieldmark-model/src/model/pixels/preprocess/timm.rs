//! timm's `pretrained_cfg`, in `config.json`: what its `create_transform` does with photos that are not trained on.

use std::path::Path;

use serde_json::Value;

use super::{CenterCrop, CropRounding, Preprocess, Resample, Resize};
use crate::{error::Result, geometry::Size, json::ConfigFile, model::formats::config::Section};

impl Preprocess {
    /// From the `pretrained_cfg` of timm's `config.json`, for a model whose input is `image_size` pixels square; what is
    /// missing has timm's default.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) with `path` if a value is broken or not supported.
    pub fn from_timm(path: &Path, config: &Value, image_size: u32) -> Result<Self> {
        let fields = Section::of(config, ConfigFile(path))?;
        let share = fields.number("crop_pct")?.unwrap_or(0.875);
        if !(share > 0.0 && share <= 1.0) {
            return Err(fields.error("crop_pct", "a number above 0 and up to 1", share));
        }
        let scaled = (f64::from(image_size) / share).floor() as u32;
        let resize = match fields.text("crop_mode")?.unwrap_or("center") {
            "center" => Resize::Shortest(scaled),
            "squash" => Resize::Exact(Size::new(scaled, scaled)),
            other => return Err(fields.error("crop_mode", "center or squash", format!("{other:?}"))),
        };
        let resample = match fields.text("interpolation")?.unwrap_or("bicubic") {
            "bicubic" => Resample::Bicubic,
            "bilinear" => Resample::Bilinear,
            other => return Err(fields.error("interpolation", "bicubic or bilinear", format!("{other:?}"))),
        };
        let size = Size::new(image_size, image_size);
        let mut out = Self {
            resize,
            crop: Some(CenterCrop { size, rounding: CropRounding::HalfEven, fill: 0 }),
            resample,
            ..Self::vit_default(image_size)
        };
        (out.mean, out.std) = (super::IMAGENET_MEAN, super::IMAGENET_STD);
        out.read_mean_and_std(&fields, ["mean", "std"])?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_crop_is_a_share_of_the_resized_photo() {
        let parse = |config: Value| Preprocess::from_timm(Path::new("config.json"), &config, 224);
        let found = parse(json!({"crop_pct": 0.9, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]})).unwrap();
        assert_eq!((found.resize, found.resample), (Resize::Shortest(248), Resample::Bicubic));
        assert_eq!((found.crop.unwrap().size, found.mean), (Size::new(224, 224), [0.5; 3]));
        let squash =
            parse(json!({"crop_pct": 1.0, "crop_mode": "squash", "interpolation": "bilinear"})).unwrap();
        assert_eq!(
            (squash.resize, squash.resample),
            (Resize::Exact(Size::new(224, 224)), Resample::Bilinear)
        );
        assert_eq!(squash.mean, super::super::IMAGENET_MEAN);
        for broken in
            [json!({"crop_pct": 0}), json!({"crop_mode": "border"}), json!({"interpolation": "nearest"})]
        {
            assert!(parse(broken.clone()).is_err(), "{broken}");
        }
    }
}

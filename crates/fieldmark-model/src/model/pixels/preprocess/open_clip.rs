//! open_clip's `preprocess_cfg`, in `open_clip_config.json`.

use std::path::Path;

use serde_json::Value;

use super::{
    CenterCrop, CropRounding, Preprocess, Resample, Resize,
    fields::{both_sides, side},
};
use crate::{error::Result, geometry::Size, json::ConfigFile, model::formats::config::Section};

impl Preprocess {
    /// From the `preprocess_cfg` of `open_clip_config.json`, for a model whose input is `image_size`; what
    /// is missing or null has open_clip's default.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) with `path` if a value is broken or not supported.
    pub fn from_open_clip(path: &Path, config: &Value, image_size: u32) -> Result<Self> {
        let fields = Section::of(config, ConfigFile(path))?;
        let mut out = Self::clip_default(image_size);
        let size = square(&fields, "size")?.unwrap_or(image_size);
        let square = Size::new(size, size);
        let grey = |value: &Value| value.as_u64().and_then(|grey| u8::try_from(grey).ok());
        let fill = fields.read("fill_color", "an integer from 0 to 255", grey)?.unwrap_or(0);
        let crop = |fill| Some(CenterCrop { size: square, rounding: CropRounding::HalfEven, fill });
        (out.resize, out.crop) = match fields.text("resize_mode")?.unwrap_or("shortest") {
            "shortest" => (Resize::Shortest(size), crop(0)),
            "longest" => (Resize::Longest(size), crop(fill)),
            "squash" => (Resize::Exact(square), None),
            other => {
                let expected = "shortest, longest or squash";
                return Err(fields.error("resize_mode", expected, format!("{other:?}")));
            }
        };
        out.resample = match fields.text("interpolation")?.unwrap_or("bicubic") {
            // Only training chooses at random.
            "bicubic" | "random" => Resample::Bicubic,
            "bilinear" => Resample::Bilinear,
            other => return Err(fields.error("interpolation", "bicubic or bilinear", format!("{other:?}"))),
        };
        out.read_mean_and_std(&fields, ["mean", "std"])?;
        Ok(out)
    }
}

/// An integer, or a list of two that are equal.
fn square(fields: &Section, name: &str) -> Result<Option<u32>> {
    fields.read(name, "an integer from 1 to 65536, or two that are equal", |value| match value {
        Value::Array(_) => both_sides(value).filter(|size| size.width == size.height).map(|size| size.width),
        other => side(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn open_clip_has_its_own_words_and_rounding() {
        let parse =
            |config: Value| Preprocess::from_open_clip(Path::new("open_clip_config.json"), &config, 224);
        let half_even = CenterCrop { size: Size::new(224, 224), rounding: CropRounding::HalfEven, fill: 0 };
        assert_eq!(
            parse(json!({})).unwrap(),
            Preprocess { crop: Some(half_even), ..Preprocess::clip_default(224) }
        );
        let siglip = json!({"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "resize_mode": "squash"});
        assert_eq!(parse(siglip).unwrap(), Preprocess::siglip_default(224));
        let longest = parse(json!({"resize_mode": "longest", "fill_color": 9, "size": [224, 224]})).unwrap();
        assert_eq!(longest.resize, Resize::Longest(224));
        assert_eq!(longest.crop, Some(CenterCrop { fill: 9, ..half_even }));
        assert_eq!(parse(json!({"interpolation": "random"})).unwrap().resample, Resample::Bicubic);
        for broken in [json!({"resize_mode": "fit"}), json!({"fill_color": 256}), json!({"size": [224, 225]})]
        {
            assert!(parse(broken.clone()).is_err(), "{broken}");
        }
    }
}

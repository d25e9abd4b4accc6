//! transformers' image processors: `preprocessor_config.json` and `processor_config.json`.

use std::path::Path;

use serde_json::{Map, Value};

use super::{
    CenterCrop, CropRounding, Preprocess, ProcessorKind, Resample, Resize,
    fields::{both_sides, side},
};
use crate::{
    error::Result,
    geometry::Size,
    json::{ConfigFile, read_object},
    model::formats::{config::Section, read_config_file},
};

impl Preprocess {
    /// Reads a checkpoint directory: the image processor in `processor_config.json` (newer transformers),
    /// else `preprocessor_config.json`, else [`Preprocess::default_of`] `kind` and `image_size`. What files do not
    /// say which processor they are for are read as those of `kind`.
    ///
    /// # Errors
    /// [`Error::Read`](crate::Error::Read) if an existing file cannot be read, [`Error::Config`](crate::Error::Config) if it is broken or asks
    /// for something that is not supported.
    pub fn from_directory(directory: &Path, kind: ProcessorKind, image_size: u32) -> Result<Self> {
        let nested = directory.join("processor_config.json");
        let config = read(&nested)?;
        if let Some(processor) = config.as_ref().and_then(|config| config.get("image_processor"))
            && !processor.is_null()
        {
            return Self::from_transformers(&nested, processor, kind);
        }
        let plain = directory.join("preprocessor_config.json");
        match read(&plain)? {
            Some(config) => Self::from_fields(&Section::new(&config, ConfigFile(&plain)), kind),
            None => Ok(Self::default_of(kind, image_size)),
        }
    }

    /// From transformers' image processor settings, old or new. What is missing or null has the default of the
    /// processor that the settings name, or of `kind` if they name none.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) with `path` if a value is broken or not supported.
    pub fn from_transformers(path: &Path, config: &Value, kind: ProcessorKind) -> Result<Self> {
        Self::from_fields(&Section::of(config, ConfigFile(path))?, kind)
    }

    fn from_fields(fields: &Section, kind: ProcessorKind) -> Result<Self> {
        let named = processor(fields)?;
        // What a file leaves out has the processor's own default, which for BitImageProcessor is CLIP's.
        let kind = match (named, kind) {
            (None, ProcessorKind::Dinov2) => ProcessorKind::Clip,
            (named, kind) => named.unwrap_or(kind),
        };
        let mut out = Self::default_of(kind, 224);
        if let Some(resize) = resize(fields, "size")? {
            out.resize = match (resize, kind) {
                // A number is a square for this processor.
                (Resize::Shortest(side), ProcessorKind::Vit)
                    if fields.get("size").is_some_and(Value::is_number) =>
                {
                    Resize::Exact(Size::new(side, side))
                }
                (resize, _) => resize,
            };
        }
        if let Some(size) = crop_size(fields, "crop_size")? {
            out.crop = Some(CenterCrop { size, rounding: CropRounding::Floor, fill: 0 });
        }
        if !fields.flag("do_resize")?.unwrap_or(true) {
            out.resize = Resize::Keep;
        }
        if !fields.flag("do_center_crop")?.unwrap_or(kind == ProcessorKind::Clip) {
            out.crop = None;
        }
        if let Some(resample) = resample(fields, "resample")? {
            out.resample = resample;
        }
        if let Some(factor) = factor(fields, "rescale_factor")? {
            out.rescale = factor;
        }
        out.read_mean_and_std(fields, ["image_mean", "image_std"])?;
        if !fields.flag("do_rescale")?.unwrap_or(true) {
            out.rescale = 1.0;
        }
        if !fields.flag("do_normalize")?.unwrap_or(true) {
            (out.mean, out.std) = ([0.0; 3], [1.0; 3]);
        }
        Ok(out)
    }
}

/// The fields of a file, if it exists.
fn read(file: &Path) -> Result<Option<Map<String, Value>>> {
    read_object(file, &ConfigFile(file), read_config_file)
}

/// The processor that the settings name.
fn processor(fields: &Section) -> Result<Option<ProcessorKind>> {
    let name = ["image_processor_type", "feature_extractor_type"]
        .into_iter()
        .find(|name| fields.get(name).is_some());
    let Some(name) = name else { return Ok(None) };
    let kind = fields.text(name)?.unwrap_or_default();
    match kind.trim_end_matches("Fast").trim_end_matches("Pil") {
        "CLIPImageProcessor" | "CLIPFeatureExtractor" | "ChineseCLIPImageProcessor" => {
            Ok(Some(ProcessorKind::Clip))
        }
        "SiglipImageProcessor" => Ok(Some(ProcessorKind::Siglip)),
        "ViTImageProcessor" | "ViTFeatureExtractor" => Ok(Some(ProcessorKind::Vit)),
        // Its defaults are those of CLIPImageProcessor.
        "BitImageProcessor" => Ok(Some(ProcessorKind::Clip)),
        _ => {
            let expected = "CLIPImageProcessor, SiglipImageProcessor, ViTImageProcessor or BitImageProcessor";
            Err(fields.error(name, expected, format!("{kind:?}")))
        }
    }
}

fn resample(fields: &Section, name: &str) -> Result<Option<Resample>> {
    fields.read(name, "one of Pillow's filters, 0 to 5", |value| Resample::from_pillow(value.as_u64()?))
}

/// An integer or `{"shortest_edge": n}`, or `{"height": h, "width": w}`.
fn resize(fields: &Section, name: &str) -> Result<Option<Resize>> {
    let expected = "an integer, shortest_edge, or height and width, each from 1 to 65536";
    fields.read(name, expected, |value| match value {
        Value::Object(map) if map.contains_key("shortest_edge") => {
            let alone = map.iter().all(|(key, value)| key == "shortest_edge" || value.is_null());
            side(map.get("shortest_edge")?).filter(|_| alone).map(Resize::Shortest)
        }
        Value::Object(_) | Value::Array(_) => both_sides(value).map(Resize::Exact),
        other => side(other).map(Resize::Shortest),
    })
}

/// An integer for a square, or `{"height": h, "width": w}`.
fn crop_size(fields: &Section, name: &str) -> Result<Option<Size>> {
    let expected = "an integer, or height and width, each from 1 to 65536";
    fields.read(name, expected, |value| match value {
        Value::Object(_) | Value::Array(_) => both_sides(value),
        other => side(other).map(|side| Size::new(side, side)),
    })
}

fn factor(fields: &Section, name: &str) -> Result<Option<f64>> {
    fields.read(name, "a finite number above 0", |value| {
        value.as_f64().filter(|number| number.is_finite() && *number > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use serde_json::json;

    fn parse(config: Value) -> Result<Preprocess> {
        Preprocess::from_transformers(Path::new("dir/preprocessor_config.json"), &config, ProcessorKind::Clip)
    }

    fn message(config: Value) -> String {
        parse(config).unwrap_err().to_string()
    }

    #[test]
    fn old_and_new_files_say_the_same() {
        let old = json!({"size": 336, "crop_size": 336, "resample": 3, "do_convert_rgb": null});
        let new = json!({
            "size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336},
            "image_processor_type": "CLIPImageProcessor", "rescale_factor": 0.003_921_568_627_450_98,
        });
        assert_eq!(parse(old).unwrap(), Preprocess::clip_default(336));
        assert_eq!(parse(new).unwrap(), Preprocess::clip_default(336));
        assert_eq!(parse(json!({})).unwrap(), Preprocess::clip_default(224));
    }

    #[test]
    fn siglip_is_not_cropped() {
        let config =
            json!({"image_processor_type": "SiglipImageProcessor", "size": {"height": 256, "width": 256}});
        assert_eq!(parse(config).unwrap(), Preprocess::siglip_default(256));
    }

    #[test]
    fn siglip_2_is_resized_bilinearly() {
        let config = json!({"image_processor_type": "SiglipImageProcessorFast", "do_convert_rgb": null,
            "resample": 2, "size": {"height": 224, "width": 224}});
        let expected = Preprocess { resample: Resample::Bilinear, ..Preprocess::siglip_default(224) };
        assert_eq!(parse(config).unwrap(), expected);
    }

    #[test]
    fn files_without_a_name_are_those_of_the_model() {
        let path = Path::new("preprocessor_config.json");
        let config = json!({"size": {"height": 224, "width": 224}});
        let found = Preprocess::from_transformers(path, &config, ProcessorKind::Siglip).unwrap();
        assert_eq!(found, Preprocess::siglip_default(224));
        let folder = tempfile::tempdir().unwrap();
        let found = Preprocess::from_directory(folder.path(), ProcessorKind::Siglip, 384).unwrap();
        assert_eq!(found, Preprocess::siglip_default(384));
    }

    #[test]
    fn steps_can_be_turned_off() {
        let found = parse(json!({
            "do_resize": false, "do_center_crop": false, "do_rescale": false, "do_normalize": false
        }));
        let found = found.unwrap();
        assert_eq!((found.resize, found.crop, found.rescale), (Resize::Keep, None, 1.0));
        assert_eq!((found.mean, found.std), ([0.0; 3], [1.0; 3]));
    }

    #[test]
    fn broken_values_are_named() {
        let std = message(json!({"image_std": [0.5, 0.0, 0.5]}));
        assert_eq!(
            std,
            "dir/preprocessor_config.json: image_std: expected 3 values, each a finite number above 0, \
             found [0.5,0.0,0.5]"
        );
        for (field, value) in [
            ("size", json!(0)),
            ("size", json!(65_537)),
            ("size", json!({"shortest_edge": 224, "longest_edge": 400})),
            ("size", json!({"height": 224})),
            ("crop_size", json!("224")),
            ("image_mean", json!([0.5, 0.5])),
            ("image_mean", json!([0.5, 0.5, 1e60])),
            ("resample", json!(6)),
            ("resample", json!("bicubic")),
            ("rescale_factor", json!(0)),
            ("do_resize", json!("yes")),
            ("image_processor_type", json!("BlipImageProcessor")),
        ] {
            let message = message(json!({ field: value }));
            assert!(message.contains(&format!("{field}: expected ")), "{message}");
        }
        assert!(message(json!([1, 2])).contains("expected a JSON object"));
    }

    #[test]
    fn a_nested_processor_goes_before_a_plain_one() {
        let open = |folder: &Path| Preprocess::from_directory(folder, ProcessorKind::Clip, 98);
        let folder = tempfile::tempdir().unwrap();
        let default = open(folder.path()).unwrap();
        assert_eq!(default, Preprocess::clip_default(98));
        std::fs::write(folder.path().join("preprocessor_config.json"), r#"{"size": 30, "crop_size": 30}"#)
            .unwrap();
        assert_eq!(open(folder.path()).unwrap(), Preprocess::clip_default(30));
        let nested = folder.path().join("processor_config.json");
        std::fs::write(&nested, r#"{"processor_class": "CLIPProcessor"}"#).unwrap();
        assert_eq!(open(folder.path()).unwrap(), Preprocess::clip_default(30));
        std::fs::write(&nested, r#"{"image_processor": {"size": 40, "crop_size": 40}}"#).unwrap();
        assert_eq!(open(folder.path()).unwrap(), Preprocess::clip_default(40));
        std::fs::write(&nested, "{").unwrap();
        assert!(matches!(open(folder.path()), Err(Error::Config { .. })));
    }
}

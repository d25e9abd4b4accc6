//! Classifiers of every kind against the libraries that they come from, and maps of their logits against
//! pytorch-grad-cam, plain and under its `FinerWeightedTarget`.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use fieldmark::{
    Error, Result,
    feature::Feature,
    gradient::{Differentiation, LayerTrace},
    head::Head,
    model::{
        Model,
        network::Recording,
        preprocess::{IMAGENET_MEAN, Preprocess, ProcessorKind, Resample, Resize},
    },
    targets::Targets,
};
use serde_json::Value;

/// Every model, with the feature that its classifier is on.
const MODELS: [(&str, Feature); 11] = [
    ("vit", Feature::ClassToken),
    ("dinov2", Feature::ClassTokenAndMeanPatches),
    ("dinov2-swiglu", Feature::ClassTokenAndMeanPatches),
    ("dinov2-registers", Feature::ClassTokenAndMeanPatches),
    ("clip", Feature::MeanPatchesRaw),
    ("siglip", Feature::MeanTokens),
    ("timm-token", Feature::ClassToken),
    ("timm-avg", Feature::MeanPatches),
    ("timm-map", Feature::Projected),
    ("timm-gap", Feature::MeanPatches),
    ("timm-clip", Feature::ClassToken),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folder(name: &str) -> PathBuf {
    root().join("tests/fixtures/classifiers").join(name)
}

fn open(name: &str) -> Model {
    Model::open(&folder(name), Device::Cpu).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn golden() -> Value {
    let file = root().join("tests/golden/classifiers.json");
    serde_json::from_slice(&std::fs::read(file).expect("it exists")).expect("is JSON")
}

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number") as f32).collect()
}

fn integer(value: &Value) -> usize {
    value.as_u64().expect("an integer") as usize
}

/// A case of the golden file.
struct Case<'a> {
    values: &'a Value,
    pixels: Tensor,
}

impl<'a> Case<'a> {
    fn all(model: &'a Value) -> impl Iterator<Item = Self> {
        let patch = integer(&model["patch"]);
        model["cases"].as_array().expect("cases").iter().map(move |values| {
            let (rows, columns) = (integer(&values["grid"][0]), integer(&values["grid"][1]));
            let shape = (3, rows * patch, columns * patch);
            let pixels = Tensor::from_vec(numbers(&values["pixels"]), shape, &Device::Cpu);
            Self { values, pixels: pixels.expect("the shape fits") }
        })
    }

    /// The weights of the logits: of the target alone, or the gradient of pytorch-grad-cam's `FinerWeightedTarget`, whose
    /// probabilities depend on the logits as well.
    fn mix(&self, kind: &str, logits: &[f64]) -> Vec<f32> {
        let target = integer(&self.values["target"]);
        let mut mix = vec![0.0; logits.len()];
        if kind == "plain" {
            mix[target] = 1.0;
            return mix;
        }
        let strength = self.values["strength"].as_f64().expect("a number");
        let rivals: Vec<usize> =
            self.values["rivals"].as_array().expect("a list").iter().map(integer).collect();
        let probabilities = fieldmark::embed::softmax(logits);
        let above = |rival: usize| logits[target] - strength * logits[rival];
        let whole: f64 = rivals.iter().map(|rival| probabilities[*rival] * above(*rival)).sum();
        let total: f64 = rivals.iter().map(|rival| probabilities[*rival]).sum::<f64>() + 1e-9;
        for (class, weight) in mix.iter_mut().enumerate() {
            let (mut of_whole, mut of_total) = (0.0, 0.0);
            for rival in &rivals {
                let slope = probabilities[*rival] * (f64::from(class == *rival) - probabilities[class]);
                of_whole += slope * above(*rival);
                of_total += slope;
                if class == target {
                    of_whole += probabilities[*rival];
                }
                if class == *rival {
                    of_whole -= strength * probabilities[*rival];
                }
            }
            *weight = ((of_whole * total - whole * of_total) / (total * total)) as f32;
        }
        mix
    }
}

/// The map of a method, as its paper writes it.
fn map(trace: &LayerTrace, method: &str, direction: &Tensor) -> Result<Vec<f32>> {
    let (activations, gradients) = (trace.patch_activations()?, trace.patch_gradients(direction)?);
    let product = match method {
        "grad-cam" => activations.broadcast_mul(&gradients.mean_keepdim(0)?)?,
        "hires-cam" => (activations * gradients)?,
        "layer-cam" => (activations * gradients.relu()?)?,
        other => panic!("{other} is no method of the golden file"),
    };
    Ok(product.sum(1)?.to_vec1()?)
}

fn assert_near(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() <= tolerance * size.max(1.0),
            "{what}: {found}, expected {expected}"
        );
    }
}

#[test]
fn logits_and_maps_are_those_of_the_libraries() -> Result<()> {
    let golden = golden();
    for (name, feature) in MODELS {
        let model = open(name);
        let classes = model.classes().expect("is a classifier");
        assert_eq!(classes.feature(), feature, "{name}");
        assert_eq!(classes.names(), ["wren", "tit", "Painted Bunting", "rook", "kite"], "{name}");
        assert!(!model.has_text_tower());
        let read = model.read_as(feature)?;
        let mut compared = 0;
        for case in Case::all(&golden[name]) {
            let fastest = Differentiation::Fastest;
            let traces =
                LayerTrace::at_layers(read.vision()?, &case.pixels, &[1, 2], fastest, &Recording::default())?;
            let embedding = traces[1].embedding()?;
            let scores = classes.scores(&embedding, model.logit_scale(), model.logit_bias())?;
            let logits: Vec<f32> = scores.logits.iter().map(|logit| *logit as f32).collect();
            assert_near(&logits, &numbers(&case.values["logits"]), 1e-4, &format!("{name}: logits"));
            for expected in case.values["maps"].as_array().expect("maps") {
                let [method, kind] = ["method", "kind"].map(|key| expected[key].as_str().expect("a name"));
                let layer = integer(&expected["layer"]);
                let mix = Tensor::from_vec(case.mix(kind, &scores.logits), (1, 5), &Device::Cpu)?;
                let direction = classes.directions(&embedding, &mix, model.logit_scale())?.get(0)?;
                let values = numbers(&expected["values"]);
                let size = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
                let scaled = |values: &[f32]| values.iter().map(|value| value / size).collect::<Vec<f32>>();
                let found = map(&traces[layer - 1], method, &direction)?;
                let what = format!("{name}, layer {layer}, {method}, {kind}");
                assert_near(&scaled(&found), &scaled(&values), 1e-3, &what);
                compared += 1;
            }
        }
        assert_eq!(compared, 2 * 2 * 3 * 2, "{name}");
    }
    Ok(())
}

#[test]
fn words_are_refused_where_there_is_no_text_tower() {
    let error = open("dinov2").tokenize("a bird").map(drop).unwrap_err();
    assert!(matches!(error, Error::NoTextTower));
    let expected =
        "the checkpoint has no text tower: expected a class, a photo or a vector as the target, found a text";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_class_is_found_by_its_name() -> Result<()> {
    let model = open("vit");
    let classes = model.classes().expect("is a classifier");
    assert_eq!(classes.find("painted bunting")?, 2);
    let error = classes.find("painted bintung").unwrap_err().to_string();
    let expected =
        "class \"painted bintung\": none of the 5 classes has this name; nearest: \"Painted Bunting\"";
    assert_eq!(error, expected);
    Ok(())
}

#[test]
fn features_have_their_widths() -> Result<()> {
    let widths = |name: &str| -> Result<Vec<(&'static str, usize)>> {
        Ok(open(name).features()?.into_iter().map(|(feature, width)| (feature.name(), width)).collect())
    };
    let of_tokens = [("mean-patches", 24), ("mean-tokens", 24), ("mean-patches-raw", 24)];
    assert_eq!(widths("siglip")?, [&[("embedding", 24), ("projected", 24)][..], &of_tokens].concat());
    let with_class = [
        ("embedding", 24),
        ("projected", 24),
        ("class-token", 24),
        ("mean-patches", 24),
        ("class-token+mean-patches", 48),
        ("mean-tokens", 24),
        ("mean-patches-raw", 24),
    ];
    assert_eq!(widths("dinov2-registers")?, with_class);
    Ok(())
}

#[test]
fn heads_of_their_own_are_read_as_they_are_saved() -> Result<()> {
    let golden = &golden()["heads"];
    for name in ["finer-cam.pth", "nested.safetensors", "fortran.npz"] {
        let head = Head::read(&folder(name))?;
        assert_eq!((head.classes(), head.width()), (5, 24), "{name}");
        assert_near(&head.weight.flatten_all()?.to_vec1::<f32>()?, &numbers(&golden["weight"]), 1e-6, name);
        let biases: Vec<f32> = head.biases.iter().map(|bias| *bias as f32).collect();
        assert_near(&biases, &numbers(&golden["bias"]), 1e-6, name);
    }
    let binary = Head::read(&folder("binary.npz"))?;
    let targets = binary.targets(Some(Feature::MeanPatches))?;
    assert_eq!(targets.names(), ["tit", "wren"]);
    let features = Tensor::from_vec(numbers(&golden["binary"]["features"]), (3, 24), &Device::Cpu)?;
    for (row, expected) in numbers(&golden["binary"]["decisions"]).into_iter().enumerate() {
        let logits = targets.scores(&features.get(row)?, 1.0, 0.0)?.logits;
        assert!((logits[1] - logits[0] - f64::from(expected)).abs() < 1e-5, "row {row}");
    }
    let error = Head::read(&folder("objects.npz")).unwrap_err().to_string();
    assert!(
        error.ends_with("objects.npz: coef_: expected numbers, found an array of Python objects (|O)"),
        "{error}"
    );
    Ok(())
}

#[test]
fn a_head_that_does_not_fit_names_both_widths() -> Result<()> {
    let head = Head::read(&folder("nested.safetensors"))?;
    let targets: Targets = head.targets(Some(Feature::ClassTokenAndMeanPatches))?;
    let width = open("dinov2").reading(Feature::ClassTokenAndMeanPatches)?.feature_width();
    let error = targets.check_width(width).unwrap_err().to_string();
    let expected = "targets: expected vectors of 48 numbers, the width of the feature class-token+mean-patches, found 24";
    assert_eq!(error, expected);
    Ok(())
}

#[test]
fn files_that_were_damaged_are_refused() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    for name in ["finer-cam.pth", "nested.safetensors", "fortran.npz", "binary.npz"] {
        let whole = std::fs::read(folder(name)).expect("it exists");
        let path = scratch.path().join(name);
        for length in (0..whole.len()).step_by(whole.len() / 23 + 1) {
            std::fs::write(&path, &whole[..length]).expect("is written");
            assert!(Head::read(&path).is_err(), "{name}: {length} bytes");
        }
        for place in (0..whole.len()).step_by(whole.len() / 101 + 1) {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x55;
            std::fs::write(&path, &bytes).expect("is written");
            // Numbers may change unnoticed; nothing else may happen.
            if let Err(error) = Head::read(&path) {
                assert!(!error.to_string().contains('\n'), "{error}");
            }
        }
    }
}

#[test]
fn a_vision_transformer_has_the_pixels_of_its_processor() -> Result<()> {
    let timm = open("timm-token");
    assert_eq!((timm.preprocess().resize, timm.preprocess().mean), (Resize::Shortest(35), [0.5; 3]));
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let of = |kind, json: &str| {
        std::fs::write(scratch.path().join("preprocessor_config.json"), json).expect("is written");
        Preprocess::from_directory(scratch.path(), kind, 224)
    };
    let vit = of(
        ProcessorKind::Vit,
        r#"{"image_processor_type": "ViTImageProcessor", "size": 384, "resample": 2}"#,
    )?;
    assert_eq!(vit, Preprocess::vit_default(384));
    let bit = r#"{"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 256}, "resample": 3,
        "crop_size": {"height": 224, "width": 224}, "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225], "do_convert_rgb": true}"#;
    assert_eq!(of(ProcessorKind::Dinov2, bit)?, Preprocess::dinov2_default());
    let dinov2 = open("dinov2");
    assert_eq!(
        (dinov2.preprocess().resize, dinov2.preprocess().mean),
        (Resize::Shortest(256), IMAGENET_MEAN)
    );
    assert_eq!(open("vit").preprocess().resample, Resample::Bilinear);
    Ok(())
}

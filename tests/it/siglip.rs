//! SigLIP through the front door: what the program says of it, what it loads, and the forms its files have.

use candle_core::Device;
use fieldmark::model::{
    Model,
    preprocess::{FitRequest, Preprocess, ProcessorKind},
};
use fieldmark::{Explainer, Photo, Query, Settings, geometry::Fit, objective::Strength};
use serde_json::{Value, json};

use crate::sandbox::{PROMPT, Sandbox, fixture};

const RIVAL: &str = "house sparrow";

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[test]
fn probabilities_are_sigmoids_and_the_json_says_so() {
    for name in ["tiny-siglip", "tiny-siglip2"] {
        let sandbox = Sandbox::with_model(name);
        let found = sandbox.found(PROMPT, &["wide.png", "--against", RIVAL]);
        assert_eq!(found["probability_kind"], "sigmoid", "{name}");
        for score in [&found, &found["against"][0]] {
            let (logit, probability) = (number(&score["logit"]), number(&score["probability"]));
            assert!((probability - sigmoid(logit)).abs() < 1e-9, "{name}: {score}");
        }
        // The bias is part of the logit: see tiny_siglips.py for scale and bias.
        let [scale, bias] = if name == "tiny-siglip" { [20.0, -3.0] } else { [110.0, -16.0] };
        let expected = number(&found["similarity"]) * scale + bias;
        assert!((number(&found["logit"]) - expected).abs() < 1e-3, "{name}: {found}");
    }
}

#[test]
fn a_clip_says_that_its_probabilities_are_a_softmax() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.found(PROMPT, &["wide.png"])["probability_kind"], "softmax");
    let outcome = sandbox.run(&["compare", "wide.png", PROMPT, RIVAL, "--model", "model", "--json"]);
    assert_eq!(outcome.json()[0]["probability_kind"], "softmax");
}

#[test]
fn the_table_names_the_kind_of_probability() {
    let sandbox = Sandbox::with_model("tiny-siglip2");
    for arguments in [vec!["localize", PROMPT, "wide.png"], vec!["compare", "wide.png", PROMPT, RIVAL]] {
        let outcome = sandbox.run(&[arguments, vec!["--model", "model"]].concat());
        outcome.assert_done();
        assert!(
            outcome.stdout.contains("sigmoid") && !outcome.stdout.contains("softmax"),
            "{}",
            outcome.stdout
        );
    }
}

#[test]
fn maps_keep_their_contract_at_every_layer_and_fit() {
    let directory = fixture("models/tiny-siglip");
    let explainer = Explainer::load(&directory).unwrap();
    let photo = Photo::open(fixture("photos/shapes-96x64.png")).unwrap();
    for fit in [Fit::Whole, Fit::Squash, Fit::Crop] {
        for layer in [-1, -2, -3] {
            let settings = Settings::default().fit(fit).layer(Some(layer));
            let plain = settings.clone().strength(Strength::new(0.0).unwrap());
            let query = Query::new(PROMPT).against([RIVAL]);
            let found = explainer.localize(&photo, &query.clone().with(settings)).unwrap();
            let grid = found.map.grid();
            assert_eq!(found.map.values().len(), grid.cells());
            assert_eq!(grid.rows == grid.columns, fit != Fit::Whole, "{grid:?}");
            // The contrast is arithmetic on signed plain maps here too.
            let map = |prompt: &str| {
                let alone = Query::new(prompt).with(plain.clone());
                explainer.localize(&photo, &alone).unwrap().map.values().to_vec()
            };
            let (target, rival) = (map(PROMPT), map(RIVAL));
            let largest = found.map.max_abs();
            for ((value, target), rival) in found.map.values().iter().zip(&target).zip(&rival) {
                assert!((value - (target - 0.6 * rival)).abs() < 1e-4 * largest, "{fit:?} {layer}");
            }
        }
    }
}

#[test]
fn the_verdict_goes_by_the_neutral_prompt_unless_bounds_are_given() {
    let sandbox = Sandbox::with_model("tiny-siglip");
    let found = sandbox.found(PROMPT, &["wide.png"]);
    assert!(number(&found["probability"]) < 0.3 && number(&found["evidence"]["positive"]) > 0.0);
    // Against the bounds of a calibrated checkpoint every picture would be without a concept.
    sandbox.change_json("config.json", "/fieldmark", json!({"present": 1e-6, "absent": 1e-9}));
    assert_eq!(sandbox.found(PROMPT, &["wide.png"])["evidence"]["verdict"], "present");
    sandbox.change_json("config.json", "/fieldmark", json!({"present": 0.99, "absent": 0.98}));
    assert_eq!(sandbox.found(PROMPT, &["wide.png"])["evidence"]["verdict"], "absent");
}

#[test]
fn a_long_prompt_is_cut_with_a_warning() {
    let sandbox = Sandbox::with_model("tiny-siglip2");
    let outcome = sandbox.localize(&"bird ".repeat(40), &["wide.png"]);
    outcome.assert_done();
    assert!(outcome.stderr.contains("20"), "{}", outcome.stderr);
    let model = Model::open(&fixture("models/tiny-siglip2"), Device::Cpu).unwrap();
    let tokens = model.tokenize(&"bird ".repeat(40)).unwrap();
    assert_eq!((tokens.ids.len(), tokens.end, tokens.ids[19]), (20, 19, 1), "the end token stays");
}

#[test]
fn the_photo_is_resized_as_the_files_say() {
    let golden = |name: &str| {
        let path = fixture("../golden/parity").join(format!("{name}.safetensors"));
        candle_core::safetensors::load(path, &Device::Cpu).unwrap()
    };
    for (name, side, patch) in [("tiny-siglip", 48, 8), ("tiny-siglip2", 56, 14)] {
        let tensors = golden(name);
        let folder = fixture("models").join(name);
        let preprocess = Preprocess::from_directory(&folder, ProcessorKind::Siglip, side).unwrap();
        let trained = Model::open(&folder, Device::Cpu).unwrap().config().vision.grid();
        for photo in ["shapes-96x64.png", "shapes-50x83.png"] {
            let file = Photo::open(fixture("photos").join(photo)).unwrap();
            let request = FitRequest { fit: Fit::Crop, patch, trained, detail: 1.0 };
            let (rgb, _) = preprocess.fit(&file, &request).unwrap();
            let expected = &tensors[&format!("preprocess.{photo}.crop.pillow")];
            let expected =
                expected.permute((1, 2, 0)).unwrap().flatten_all().unwrap().to_vec1::<u8>().unwrap();
            assert!(rgb.as_raw() == &expected, "{name} {photo}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let sandbox = Sandbox::with_model("tiny-siglip");
    std::fs::remove_file(sandbox.path("model/tokenizer.json")).unwrap();
    let message = |sandbox: &Sandbox| {
        let outcome = sandbox.localize(PROMPT, &["wide.png"]);
        assert_eq!(outcome.status, Some(2), "{}", outcome.stderr);
        outcome.stderr
    };
    let found = message(&sandbox);
    assert!(
        found.contains("expected tokenizer.json, found the same tokenizer only as spiece.model"),
        "{found}"
    );

    let sandbox = Sandbox::with_model("tiny-siglip");
    sandbox.change_json("config.json", "/model_type", "siglip2");
    let found = message(&sandbox);
    assert!(found.contains("\"siglip2\" (NaFlex, which has no fixed resolution)"), "{found}");

    let sandbox = Sandbox::with_model("tiny-siglip");
    sandbox.change_json("preprocessor_config.json", "/image_processor_type", "Siglip2ImageProcessor");
    let found = message(&sandbox);
    assert!(found.contains("image_processor_type: expected"), "{found}");

    let sandbox = Sandbox::with_model("tiny-siglip");
    sandbox.change_json("tokenizer_config.json", "/pad_token", "<nothing>");
    let found = message(&sandbox);
    assert!(found.contains("the padding token \"<nothing>\" is not one of its tokens"), "{found}");
}

#[test]
fn a_pooling_head_that_is_missing_is_missed() {
    let sandbox = Sandbox::with_model("tiny-siglip");
    let path = sandbox.path("model/model.safetensors");
    let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    tensors.remove("vision_model.head.probe").unwrap();
    candle_core::safetensors::save(&tensors, &path).unwrap();
    let outcome = sandbox.localize(PROMPT, &["wide.png"]);
    assert!(outcome.stderr.contains("tensor vision_model.head.probe is missing"), "{}", outcome.stderr);
}

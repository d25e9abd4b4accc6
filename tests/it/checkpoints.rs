//! Checkpoints as people have them: names with what training put before them, pickles of every age, two forms in one
//! folder, files that are pointers. What can be read gives the answer of the unbroken twin, `sound`; what cannot is
//! refused with the reason.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

use fieldmark::{
    Error, Explainer, Photo, Query,
    explain::LoadOptions,
    geometry::Fit,
    model::{hub::HubOptions, hub::ModelSpec, inspect::Inspection},
    progress::{Event, ProgressHandler, Silent, Warning},
};
use serde_json::{Value, json};
use tempfile::TempDir;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A checkpoint in a temporary folder, to be changed.
struct Copy {
    folder: TempDir,
}

impl Copy {
    /// Of a folder among the fixtures.
    fn of(name: &str) -> Self {
        let copy = Self { folder: tempfile::tempdir().unwrap() };
        for entry in std::fs::read_dir(fixtures().join(name)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path(entry.file_name().to_str().unwrap())).unwrap();
        }
        copy
    }

    fn sound() -> Self {
        Self::of("checkpoints/sound")
    }

    /// `sound` with other names for its tensors: several each, or none.
    fn renamed(rename: impl Fn(&str) -> Vec<String>) -> Self {
        let copy = Self::sound();
        let path = copy.path("model.safetensors");
        let (header, data) = taken_apart(&path);
        let mut changed = serde_json::Map::new();
        let mut numbers = Vec::new();
        for (name, tensor) in header.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__") {
            let place = |index: usize| tensor["data_offsets"][index].as_u64().unwrap() as usize;
            for name in rename(name) {
                let start = numbers.len();
                numbers.extend_from_slice(&data[place(0)..place(1)]);
                let mut tensor = tensor.clone();
                tensor["data_offsets"] = json!([start, numbers.len()]);
                changed.insert(name, tensor);
            }
        }
        put_together(&path, &Value::Object(changed), &numbers);
        copy
    }

    fn prefixed(prefix: &str) -> Self {
        Self::renamed(|name| vec![format!("{prefix}{name}")])
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.path(name)).unwrap();
    }

    /// The answer of the checkpoint in the folder.
    fn answer(&self) -> Value {
        answer(self.folder.path().to_str().unwrap()).unwrap()
    }

    fn error(&self) -> String {
        let error = answer(self.folder.path().to_str().unwrap()).expect_err("is refused");
        error.to_string()
    }

    fn inspection(&self) -> Inspection {
        Inspection::new(&ModelSpec::Directory(self.folder.path().into()), &HubOptions::default(), &Silent)
            .unwrap()
    }
}

fn taken_apart(path: &Path) -> (Value, Vec<u8>) {
    let bytes = std::fs::read(path).unwrap();
    let (length, rest) = bytes.split_first_chunk::<8>().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    (serde_json::from_slice(header).unwrap(), data.to_vec())
}

fn put_together(path: &Path, header: &Value, data: &[u8]) {
    let mut header = serde_json::to_vec(header).unwrap();
    // Numbers lie where they can be used in place, as safetensors itself has them.
    header.resize(header.len().next_multiple_of(8), b' ');
    std::fs::write(path, [&(header.len() as u64).to_le_bytes()[..], &header, data].concat()).unwrap();
}

/// What a checkpoint says of a photo and two prompts, all numbers of it.
fn answer(model: &str) -> fieldmark::Result<Value> {
    Ok(answer_of(&Explainer::load(model)?))
}

fn answer_of(explainer: &Explainer) -> Value {
    let photo = Photo::open(fixtures().join("photos/shapes-96x64.png")).unwrap();
    let query = Query::new("red-winged blackbird").against(["house sparrow"]);
    let found = explainer.localize(&photo, &query).unwrap();
    let mut report = serde_json::to_value(&found.report).unwrap();
    for field in ["image", "model", "model_sha256", "files", "seconds"] {
        report.as_object_mut().unwrap().remove(field);
    }
    report
}

/// Compares two answers. Numbers may differ by rounding: weights that are mapped and such that are read are multiplied in
/// another order.
#[track_caller]
fn assert_same(found: &Value, expected: &Value, context: &str) {
    let is_same = match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            found
                .iter()
                .for_each(|(key, value)| assert_same(value, &expected[key], &format!("{context}/{key}")));
            found.len() == expected.len()
        }
        (Value::Array(found), Value::Array(expected)) => {
            found.iter().zip(expected).for_each(|(one, other)| assert_same(one, other, context));
            found.len() == expected.len()
        }
        (Value::Number(one), Value::Number(other)) => {
            let (one, other) = (one.as_f64().unwrap(), other.as_f64().unwrap());
            (one - other).abs() <= 1e-5 * (1.0 + other.abs())
        }
        _ => found == expected,
    };
    assert!(is_same, "{context}: expected {expected}, found {found}");
}

fn sound() -> Value {
    let answer = Copy::sound().answer();
    assert!(answer["similarity"].is_number() && answer["peak"].is_object(), "{answer:#}");
    answer
}

#[test]
fn whatever_training_put_before_the_names_comes_off() {
    let sound = sound();
    for prefix in [
        "module.",
        "_orig_mod.",
        "clip.",
        "model.",
        "base_model.model.",
        "_orig_mod.module.",
        "module._orig_mod.model.clip.",
        "_fsdp_wrapped_module.module.",
        "_forward_module.model.",
        "net.backbone.",
    ] {
        let copy = Copy::prefixed(prefix);
        assert_same(&copy.answer(), &sound, prefix);
        assert!(copy.inspection().is_usable(), "{prefix}");
    }
    assert_eq!(Copy::prefixed("module.model.").inspection().weights.prefix, "model.");
    let inside = Copy::renamed(|name| {
        vec![name.replace("layers.0.", "layers.0._fsdp_wrapped_module._checkpoint_wrapped_module.")]
    });
    assert_same(&inside.answer(), &sound, "the answer");
    // Another copy of the model, and what lies beside it, are passed over.
    let averaged = Copy::renamed(|name| vec![format!("model.{name}"), format!("ema.{name}")]);
    assert_same(&averaged.answer(), &sound, "the answer");
    let error = Copy::renamed(|name| vec![format!("student.{name}"), format!("teacher.{name}")]).error();
    assert!(
        error.ends_with(r#"expected one model, found one under "student." and one under "teacher.""#),
        "{error}"
    );
}

#[test]
fn names_in_open_clips_form_are_read_by_the_same_rule() {
    for name in ["open-clip-gelu", "open-clip-mean", "tiny-siglip", "tiny-gelu"] {
        let plain = Copy::of(&format!("models/{name}"));
        let wrapped = Copy::of(&format!("models/{name}"));
        for entry in std::fs::read_dir(wrapped.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "safetensors") {
                continue;
            }
            let (header, data) = taken_apart(&path);
            let header = header.as_object().unwrap().clone();
            let named = header.into_iter().map(|(name, tensor)| match name.as_str() {
                "__metadata__" => (name, tensor),
                _ => (format!("_orig_mod.module.clip.{name}"), tensor),
            });
            put_together(&path, &Value::Object(named.collect()), &data);
        }
        assert_same(&wrapped.answer(), &plain.answer(), name);
    }
}

#[test]
fn an_adapter_that_is_not_merged_is_called_that() {
    let copy = Copy::renamed(|name| {
        let name = name.replace("q_proj.", "q_proj.base_layer.");
        let added =
            name.ends_with("q_proj.base_layer.weight").then(|| name.replace("base_layer", "lora_A.default"));
        [name].into_iter().chain(added).map(|name| format!("base_model.model.{name}")).collect()
    });
    let error = copy.error();
    assert!(error.contains("expected a whole model, found an adapter that is not merged into it"), "{error}");
    let alone = Copy::sound();
    alone.rename("model.safetensors", "adapter_model.safetensors");
    alone.write("adapter_config.json", "{}");
    assert!(alone.error().contains("only an adapter that is not merged into a model"), "{}", alone.error());
}

#[test]
fn where_tensors_are_missing_the_error_says_what_all_names_have_in_common() {
    let copy = Copy::renamed(|name| if name.contains("fc1") { vec![] } else { vec![format!("net.{name}")] });
    let error = copy.error();
    assert!(error.contains("mlp.fc1.weight is missing"), "{error}");
    assert!(error.ends_with(r#"names begin with "net.""#), "{error}");
    let tower =
        Copy::renamed(|name| if name.starts_with("vision_model.") { vec![name.into()] } else { vec![] });
    assert!(tower.error().ends_with(r#"names begin with "vision_model.""#), "{}", tower.error());
    let other =
        Copy::renamed(|name| vec![format!("{}.{name}x", if name.contains("fc") { "a" } else { "b" })]);
    assert!(other.error().ends_with(r#"names begin with "a", "b""#), "{}", other.error());
    assert!(!copy.inspection().is_usable());
    assert!(copy.inspection().weights.hint.is_some());
}

/// Keeps the warnings.
#[derive(Default)]
struct Warnings(Mutex<Vec<Warning>>);

impl ProgressHandler for Warnings {
    fn event(&self, event: Event) {
        if let Event::Warning(warning) = event {
            self.0.lock().unwrap().push(warning);
        }
    }
}

#[test]
fn heads_beside_a_whole_model_are_a_warning() {
    let copy = Copy::renamed(|name| {
        let head = (name == "logit_scale").then(|| "classifier.weight".to_owned());
        [name.to_owned()].into_iter().chain(head).collect()
    });
    let warnings = Warnings::default();
    let name = copy.folder.path().to_str().unwrap();
    let explainer = Explainer::load_with(name, &LoadOptions::default(), &warnings).unwrap();
    assert_same(&answer_of(&explainer), &sound(), "the answer");
    let warnings = warnings.0.into_inner().unwrap();
    let [Warning::ExtraTensors { tensors: 1, first, .. }] = warnings.as_slice() else {
        panic!("{warnings:?}")
    };
    assert_eq!(first, "classifier.weight");
    let inspection = copy.inspection();
    assert!(inspection.is_usable());
    assert_eq!(inspection.weights.extra, ["classifier.weight"]);
    // Inside the model's own modules a tensor that nothing uses means that it is another model.
    let deeper = Copy::renamed(|name| {
        let more =
            name.contains("text_model.encoder.layers.0.").then(|| name.replace("layers.0", "layers.1"));
        [name.to_owned()].into_iter().chain(more).collect()
    });
    assert!(deeper.error().contains("layers.1."), "{}", deeper.error());
    assert!(!deeper.inspection().is_usable());
}

#[test]
fn pickles_of_every_age_hold_the_same_model() {
    let sound = sound();
    for name in ["legacy.bin", "lightning.bin"] {
        let copy = Copy::sound();
        copy.remove("model.safetensors");
        let pickled = std::fs::read(fixtures().join("checkpoints/pickled").join(name)).unwrap();
        copy.write("pytorch_model.bin", &pickled);
        assert_same(&copy.answer(), &sound, name);
        // In shards: all of them in one.
        copy.rename("pytorch_model.bin", "pytorch_model-00001-of-00001.bin");
        copy.write(
            "pytorch_model.bin.index.json",
            r#"{"weight_map": {"a": "pytorch_model-00001-of-00001.bin"}}"#,
        );
        assert_same(&copy.answer(), &sound, name);
        copy.remove("pytorch_model-00001-of-00001.bin");
        assert!(copy.error().contains("pytorch_model-00001-of-00001.bin is not there"), "{}", copy.error());
        // Under its own name, with the configuration beside it.
        for own in ["last.ckpt", "weights.pt", "best.pth"] {
            copy.write(own, &pickled);
            assert_same(&answer(copy.path(own).to_str().unwrap()).unwrap(), &sound, own);
            copy.remove(own);
        }
    }
}

#[test]
fn a_file_of_weights_is_a_model_with_the_configuration_beside_it() {
    let copy = Copy::sound();
    let sound = copy.answer();
    // The file that was named counts, not the one that the folder would have.
    copy.rename("model.safetensors", "mine.safetensors");
    copy.write("model.safetensors", "broken");
    let named = copy.path("mine.safetensors");
    assert_same(&answer(named.to_str().unwrap()).unwrap(), &sound, "the answer");
    let spec = ModelSpec::parse(named.to_str().unwrap()).unwrap();
    let inspection = Inspection::new(&spec, &HubOptions::default(), &Silent).unwrap();
    let files: Vec<_> = inspection.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(files, ["config.json", "preprocessor_config.json", "tokenizer.json", "mine.safetensors"]);
    let scheme = format!("local-dir:{}", fixtures().join("checkpoints/sound").display());
    assert_same(&answer(&scheme).unwrap(), &sound, "the answer");
    copy.remove("config.json");
    let error = answer(named.to_str().unwrap()).expect_err("has no configuration").to_string();
    assert!(error.contains("neither config.json nor open_clip_config.json was found"), "{error}");
    let error = answer(copy.path("tokenizer.json").to_str().unwrap()).expect_err("is no weights").to_string();
    assert!(error.contains("is a file, expected a directory or a file of weights"), "{error}");
}

#[test]
fn open_clips_folders_are_read_by_any_of_their_names() {
    let pickled = Copy::of("models/open-clip-gelu").answer();
    for name in ["pytorch_model.bin", "epoch_12.pt", "epoch_latest.pt"] {
        let copy = Copy::of("models/open-clip-gelu");
        copy.rename("open_clip_pytorch_model.bin", name);
        copy.write(
            "epoch_2.pt",
            if name.starts_with("epoch_l") {
                std::fs::read(copy.path(name)).unwrap()
            } else {
                b"older".into()
            },
        );
        assert_same(&copy.answer(), &pickled, name);
        assert!(copy.inspection().is_usable(), "{name}");
    }
    let copy = Copy::of("models/open-clip-mean");
    let plain = copy.answer();
    copy.rename("open_clip_model.safetensors", "model.safetensors");
    assert_same(&copy.answer(), &plain, "the answer");
}

#[test]
fn a_foreign_configuration_gives_way_to_open_clips() {
    let plain = Copy::of("models/open-clip-mean").answer();
    // As of Marqo's repositories: classes of the repository's own, under the name of one of transformers'.
    let own_classes = json!({
        "auto_map": {"AutoConfig": "marqo.Config", "AutoModel": "marqo.Model"},
        "open_clip_model_name": "hf-hub:someone/birds", "model_type": "siglip",
    });
    for config in [own_classes, json!({"model_type": "other"}), json!([])] {
        let copy = Copy::of("models/open-clip-mean");
        copy.write("config.json", config.to_string());
        std::fs::copy(copy.path("open_clip_model.safetensors"), copy.path("model.safetensors")).unwrap();
        assert_same(&copy.answer(), &plain, &config.to_string());
        assert_eq!(copy.inspection().format, "CLIP (open_clip)");
        // A file that was named is read in the form that it has.
        assert_same(&answer(copy.path("model.safetensors").to_str().unwrap()).unwrap(), &plain, "the answer");
    }
}

#[test]
fn a_named_file_is_read_in_the_form_that_its_tensors_have() {
    let copy = Copy::sound();
    for name in ["open_clip_config.json", "vocab.json", "merges.txt"] {
        std::fs::copy(fixtures().join("models/open-clip-mean").join(name), copy.path(name)).unwrap();
    }
    let weights = fixtures().join("models/open-clip-mean/open_clip_model.safetensors");
    std::fs::copy(weights, copy.path("theirs.safetensors")).unwrap();
    let inspect = |name: &str| {
        let spec = ModelSpec::WeightsFile(copy.path(name));
        Inspection::new(&spec, &HubOptions::default(), &Silent).unwrap().format
    };
    assert_eq!(inspect("theirs.safetensors"), "CLIP (open_clip)");
    assert_eq!(inspect("model.safetensors"), "CLIP (transformers)");
}

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:aaaa\nsize 605157884\n";

#[test]
fn a_pointer_of_git_lfs_is_called_that_whatever_file_it_is_for() {
    let cases = [
        (
            "checkpoints/sound",
            vec!["model.safetensors", "config.json", "preprocessor_config.json", "tokenizer.json"],
        ),
        ("models/tiny-gelu", vec!["model.safetensors.index.json", "model-00002-of-00004.safetensors"]),
        ("models/tiny-quick-gelu", vec!["vocab.json", "merges.txt"]),
        (
            "models/open-clip-gelu",
            vec!["open_clip_pytorch_model.bin", "open_clip_model_config.json", "merges.txt"],
        ),
        ("models/tiny-siglip", vec!["tokenizer_config.json"]),
    ];
    for (model, files) in cases {
        for file in files {
            let copy = Copy::of(model);
            copy.write(file, POINTER);
            let name = copy.folder.path().to_str().unwrap();
            let loaded =
                Explainer::load(name).and_then(|explainer| explainer.model().tokenize("a bird").map(drop));
            let Err(Error::LfsPointer { path, size }) = loaded else { panic!("{model}/{file}: {loaded:?}") };
            assert_eq!(
                (path.file_name().unwrap().to_str(), size),
                (Some(file), Some(605_157_884)),
                "{model}/{file}"
            );
        }
    }
}

#[test]
fn numbers_that_json_does_not_have_are_passed_over_where_nobody_reads_them() {
    let sound = sound();
    let insert = |text: &str, entry: &str| text.replacen('{', &format!("{{{entry}, "), 1);
    for file in ["config.json", "preprocessor_config.json"] {
        let copy = Copy::sound();
        let text = std::fs::read_to_string(copy.path(file)).unwrap();
        copy.write(file, insert(&text, r#""a": Infinity, "b": [-Infinity, NaN, 1e999], "c": "NaN""#));
        assert_same(&copy.answer(), &sound, file);
    }
    let copy = Copy::sound();
    let text = std::fs::read_to_string(copy.path("config.json")).unwrap();
    let cases = [
        (
            text.replacen("\"projection_dim\": 16", "\"projection_dim\": NaN", 1),
            "projection_dim: expected a whole number from 1 to 1048576, found NaN",
        ),
        (insert(&text, "\"logit_bias\": -Infinity"), "logit_bias: expected a number, found -Infinity"),
        (
            text.replacen("\"model_type\": \"clip\"", "\"model_type\": Infinity", 1),
            "model_type: expected \"clip\", \"siglip\", \"vit\", \"dinov2\" or \"dinov2_with_registers\", found Infinity",
        ),
    ];
    for (changed, reason) in cases {
        assert_ne!(changed, text);
        copy.write("config.json", changed);
        assert!(copy.error().ends_with(reason), "{}", copy.error());
    }
}

#[test]
fn every_name_of_an_activation_is_read() {
    let answer = |name: &str| {
        let copy = Copy::sound();
        let text = std::fs::read_to_string(copy.path("config.json")).unwrap();
        copy.write("config.json", text.replace("\"gelu\"", &format!("{name:?}")));
        copy.answer()
    };
    let [tanh, exact, quick] = ["gelu_pytorch_tanh", "gelu", "quick_gelu"].map(answer);
    assert!(tanh != exact && exact != quick && tanh != quick);
    for name in ["gelu_new", "gelu_fast", "gelu_accurate"] {
        assert_same(&answer(name), &tanh, name);
    }
    assert_same(&answer("gelu_python"), &exact, "gelu_python");
}

/// The logits that transformers 5.24.0 gives for the same photo, cropped, and the same prompts: `CLIPModel` on what
/// `CLIPImageProcessorPil` makes of it.
#[test]
fn activations_are_those_of_transformers() {
    let photo = Photo::open(fixtures().join("photos/shapes-96x64.png")).unwrap();
    for (activation, expected) in
        [("gelu", [-7.767_917_156, -4.771_260_262]), ("gelu_new", [-7.767_897_606, -4.771_275_043])]
    {
        let copy = Copy::sound();
        let text = std::fs::read_to_string(copy.path("config.json")).unwrap();
        copy.write("config.json", text.replace("\"gelu\"", &format!("{activation:?}")));
        let explainer = Explainer::load(copy.folder.path().to_str().unwrap()).unwrap();
        let mut query = Query::new("red-winged blackbird").against(["house sparrow"]);
        query.settings.fit = Fit::Crop;
        let report = serde_json::to_value(&explainer.localize(&photo, &query).unwrap().report).unwrap();
        let found = [&report["logit"], &report["against"][0]["logit"]].map(|logit| logit.as_f64().unwrap());
        for (found, expected) in found.into_iter().zip(expected) {
            // Four units of float32's last place at this size, measured; the two activations are 1.5e-5 apart.
            assert!((found - expected).abs() < 8e-6, "{activation}: expected {expected}, found {found}");
        }
    }
}

//! Broken, lying and missing input: one clear error that names the thing, and never a panic, a hang or a
//! half-written file.

use serde_json::{Value, json};

use crate::sandbox::{Outcome, PROMPT, Sandbox, Weights, fixture};

fn jpeg() -> Vec<u8> {
    std::fs::read(fixture("photos/harsh_420.jpg")).unwrap()
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let picture = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 200]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A PNG whose header claims another size than its pixels have.
fn lying_png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = png(8, 8);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    bytes
}

#[cfg(unix)]
fn named_pipe(path: &std::path::Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

// Photos.

/// What is in a photo's file, and what the error must say of it.
fn bad_photos() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let whole = jpeg();
    vec![
        ("text.jpg", b"this is not a photo".to_vec(), "not an image"),
        ("empty.png", Vec::new(), "the file is empty"),
        ("cut.jpg", whole[..whole.len() * 2 / 3].to_vec(), "the JPEG data is truncated"),
        ("start.jpg", whole[..20].to_vec(), "JPEG"),
        ("cut.png", png(40, 40)[..200].to_vec(), "the PNG data is truncated"),
        ("huge.png", lying_png(60_000, 60_000), "60000 x 60000 pixels, more than the limit of 200000000"),
        ("flat.png", lying_png(8, 0), "expected at least one pixel, found 8 x 0"),
        ("page.png", b"%PDF-1.7".to_vec(), "PDF is not supported; supported: JPEG"),
    ]
}

#[test]
fn a_bad_photo_is_named_with_what_is_wrong() {
    let sandbox = Sandbox::new();
    for (name, bytes, reason) in bad_photos() {
        sandbox.write(name, bytes);
        let outcome = sandbox.localize(PROMPT, &[name]);
        outcome.assert_refused(&[&format!("error: {name}: "), reason]);
        assert_eq!(outcome.hints().len(), 1, "{outcome:#?}");
        assert!(!sandbox.path("fieldmark-out").exists());
    }
    sandbox.run(&["compare", "cut.jpg", "reed", "marsh", "--model", "model"]).assert_refused(&["cut.jpg"]);
}

#[test]
fn bad_photos_in_a_folder_never_stop_the_others() {
    let sandbox = Sandbox::new();
    for (name, bytes, _) in bad_photos() {
        sandbox.write(format!("photos/{name}"), bytes);
    }
    sandbox.write("photos/good.jpg", jpeg());
    sandbox.copy_photo("shapes-96x64.png", "photos/zebra.png");
    let outcome = sandbox.localize(PROMPT, &["photos", "--json"]);
    assert_eq!(outcome.status, Some(1), "{outcome:#?}");
    let images: Vec<Value> = outcome.json().into_iter().map(|line| line["image"].clone()).collect();
    assert_eq!(images, ["photos/good.jpg", "photos/zebra.png"]);
    let errors = outcome.errors();
    assert_eq!(errors.len(), bad_photos().len(), "{outcome:#?}");
    for (name, _, reason) in bad_photos() {
        assert!(errors.iter().any(|error| error.contains(name) && error.contains(reason)), "{outcome:#?}");
    }
    assert_eq!(sandbox.names("fieldmark-out").len(), 2, "nothing half-written");
}

#[test]
fn photos_of_extreme_shape_have_maps() {
    let sandbox = Sandbox::new();
    for (width, height) in [(1, 1), (3000, 20), (20, 3000), (1, 500)] {
        let name = format!("{width}x{height}.png");
        sandbox.write(&name, png(width, height));
        for fit in ["whole", "squash", "crop"] {
            let kinds = ["--save", "overlay,heatmap,map,full,mask"];
            let found = sandbox.found(PROMPT, &[&[name.as_str(), "--fit", fit], &kinds[..]].concat());
            assert_eq!(found["image_size"], json!([width, height]));
            let overlay = sandbox.path(found["files"]["overlay"].as_str().unwrap());
            assert_eq!(image::image_dimensions(overlay).unwrap(), (width, height));
        }
        let compared = sandbox.run(&["compare", &name, "reed", "marsh", "--model", "model"]);
        compared.assert_done();
    }
}

#[test]
fn a_folder_without_images_is_an_error() {
    let sandbox = Sandbox::new();
    sandbox.write("notes/read.me", "no image");
    sandbox.localize(PROMPT, &["notes"]).assert_refused(&["notes: no image is in this directory"]);
    let outcome = sandbox.localize(PROMPT, &["notes", "wide.png"]);
    assert_eq!((outcome.status, outcome.errors().len()), (Some(1), 1), "{outcome:#?}");
    sandbox
        .run(&["compare", "notes", "reed", "marsh", "--model", "model"])
        .assert_refused(&["notes", "directory"]);
}

#[cfg(unix)]
#[test]
fn named_pipes_are_not_waited_for() {
    let sandbox = Sandbox::new();
    named_pipe(&sandbox.path("pipe.png"));
    sandbox
        .localize(PROMPT, &["pipe.png"])
        .assert_refused(&["pipe.png: cannot be read: expected a regular file"]);
    for file in ["config.json", "preprocessor_config.json", "model.safetensors", "vocab.json"] {
        let sandbox = Sandbox::new();
        let path = sandbox.path("model").join(file);
        std::fs::remove_file(&path).unwrap();
        named_pipe(&path);
        sandbox.localize(PROMPT, &["wide.png"]).assert_refused(&["model"]);
    }
}

// Checkpoints.

/// Runs a question that must fail because of the checkpoint, before anything is written.
pub(crate) fn refused(sandbox: &Sandbox, parts: &[&str]) -> Outcome {
    let outcome = sandbox.localize(PROMPT, &["wide.png", "tall.png"]);
    outcome.assert_refused(parts);
    assert_eq!(outcome.hints().len(), 1, "{outcome:#?}");
    assert!(!sandbox.path("fieldmark-out").exists());
    outcome
}

fn weights(sandbox: &Sandbox, change: impl FnOnce(&mut Weights)) {
    let path = sandbox.path("model/model.safetensors");
    let mut weights = Weights::read(&path);
    change(&mut weights);
    weights.write(&path);
}

#[test]
fn a_model_that_is_not_there_is_named() {
    let sandbox = Sandbox::new();
    let with = |model: &str| sandbox.run(&["localize", PROMPT, "wide.png", "--model", model]);
    with("./nowhere").assert_refused(&["model ./nowhere: ", "no such directory"]);
    with("nowhere").assert_refused(&["model nowhere: ", "org/name"]);
    with("wide.png").assert_refused(&["model wide.png: ", "is a file"]);
    with("").assert_refused(&["model"]);
    with("org/name@../x").assert_refused(&["org/name@../x"]);
    let offline = sandbox.run(&["localize", PROMPT, "wide.png", "--model", "org/bird-clip", "--offline"]);
    offline.assert_refused(&["org/bird-clip", "config.json", "offline"]);
    assert!(offline.hints()[0].contains("fieldmark download"), "{offline:#?}");
}

#[test]
fn a_hub_that_cannot_be_reached_is_one_error() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command();
    command.env("HF_ENDPOINT", "http://127.0.0.1:1").env("NO_PROXY", "127.0.0.1");
    let outcome = sandbox.finish(command.args(["localize", PROMPT, "wide.png", "--model", "org/bird-clip"]));
    outcome.assert_refused(&["http://127.0.0.1:1"]);
    assert!(outcome.hints()[0].contains("HF_ENDPOINT"), "{outcome:#?}");
}

#[test]
fn missing_files_of_a_checkpoint_are_named() {
    for (removed, parts) in [
        (&["config.json"][..], &["model", "neither config.json nor open_clip_config.json was found"][..]),
        (
            &["model.safetensors"],
            &["model", "neither model.safetensors nor model.safetensors.index.json nor pytorch_model.bin"],
        ),
        (&["vocab.json"], &["model", "neither tokenizer.json nor vocab.json with merges.txt"]),
        (&["merges.txt"], &["model", "neither tokenizer.json nor vocab.json with merges.txt"]),
    ] {
        let sandbox = Sandbox::new();
        for file in removed {
            std::fs::remove_file(sandbox.path("model").join(file)).unwrap();
        }
        refused(&sandbox, parts);
    }
    let sandbox = Sandbox::new();
    std::fs::remove_file(sandbox.path("model/preprocessor_config.json")).unwrap();
    sandbox.localize(PROMPT, &["wide.png"]).assert_done();
}

#[test]
fn a_wrong_configuration_is_reported_by_tensor_and_shapes() {
    for (at, value, parts) in [
        (
            "/vision_config/intermediate_size",
            81,
            &["vision_model.encoder.layers.0.mlp.fc1.weight", "[81, 48]", "[80, 48]"][..],
        ),
        ("/projection_dim", 25, &["text_projection.weight", "[25, 32]", "[24, 32]"]),
        (
            "/vision_config/image_size",
            72,
            &["vision_model.embeddings.position_embedding.weight", "[82, 48]", "[65, 48]"],
        ),
        (
            "/text_config/vocab_size",
            590,
            &["text_model.embeddings.token_embedding.weight", "[590, 32]", "[589, 32]"],
        ),
        ("/vision_config/num_hidden_layers", 5, &["vision_model.encoder.layers.4", "missing"]),
        ("/vision_config/num_hidden_layers", 3, &["vision_model.encoder.layers.3", "not part of a model"]),
        ("/vision_config/num_hidden_layers", 1_048_576, &["vision_config.num_hidden_layers", "1048576"]),
        ("/vision_config/image_size", 1_048_576, &["position_embedding"]),
        ("/vision_config/num_attention_heads", 0, &["vision_config.num_attention_heads", "found 0"]),
        ("/vision_config/num_attention_heads", 5, &["vision_config.num_attention_heads", "hidden_size 48"]),
        ("/text_config/num_attention_heads", 3, &["text_config.num_attention_heads", "hidden_size 32"]),
        ("/vision_config/patch_size", 65, &["vision_config.patch_size", "image_size 64"]),
        ("/vision_config/patch_size", 0, &["vision_config.patch_size", "found 0"]),
        ("/text_config/max_position_embeddings", 1, &["text_model.embeddings.position_embedding.weight"]),
        ("/text_config/eos_token_id", -1, &["text_config.eos_token_id", "-1"]),
    ] {
        let sandbox = Sandbox::new();
        sandbox.change_json("config.json", at, value);
        refused(&sandbox, parts);
    }
}

#[test]
fn a_broken_configuration_is_named() {
    let sandbox = Sandbox::new();
    for (text, part) in [
        (&b"{\"model_type\": \"clip\","[..], "not valid JSON"),
        (b"", "not valid JSON"),
        (b"[]", "expected a JSON object"),
        (
            b"{\"model_type\": \"bert\"}",
            "model_type: expected \"clip\", \"siglip\", \"vit\", \"dinov2\" or \"dinov2_with_registers\", found \"bert\"",
        ),
        (b"\xff\xfe\x00", "not valid JSON"),
    ] {
        sandbox.write("model/config.json", text);
        refused(&sandbox, &["model/config.json", part]);
    }
    sandbox.write("model/config.json", "[".repeat(100_000));
    refused(&sandbox, &["model/config.json", "not valid JSON"]);
}

#[test]
fn a_broken_preprocessor_configuration_is_named() {
    let file = "preprocessor_config.json";
    for (at, value, part) in [
        ("/image_std", json!([0.0, 1.0, 1.0]), "image_std"),
        ("/image_mean", json!(["a", 1, 1]), "image_mean"),
        ("/size", json!(0), "size"),
        ("/size", json!({"shortest_edge": -1}), "size"),
        ("/crop_size", json!("large"), "crop_size"),
        ("/resample", json!(99), "resample"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.change_json(file, at, value);
        refused(&sandbox, &[file, part, "expected"]);
    }
    let sandbox = Sandbox::new();
    sandbox.write("model/preprocessor_config.json", "{");
    refused(&sandbox, &[file, "JSON"]);
    // A crop that would fill the memory.
    let sandbox = Sandbox::new();
    sandbox.change_json(file, "/crop_size", 65_536);
    sandbox
        .localize(PROMPT, &["wide.png", "--fit", "crop"])
        .assert_refused(&["fit: expected a model input", "8192"]);
    sandbox.localize(PROMPT, &["wide.png"]).assert_done();
}

#[test]
fn broken_weights_are_named() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("model/model.safetensors");
    let whole = std::fs::read(&file).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let mut endless = whole.clone();
    endless[..8].copy_from_slice(&(1u64 << 60).to_le_bytes());
    let mut longer = whole.clone();
    longer.extend([0; 100]);
    let mut garbled = whole.clone();
    garbled[8..header].fill(b'{');
    for bytes in [
        &whole[..whole.len() - 1],
        &whole[..header],
        &whole[..header - 10],
        &whole[..5],
        &[],
        &endless,
        &longer,
        &garbled,
        b"\x80\x02}q\x00(X\x06\x00\x00\x00",
    ] {
        std::fs::write(&file, bytes).unwrap();
        refused(&sandbox, &["model/model.safetensors: ", "not a whole safetensors file"]);
    }
}

#[test]
fn a_tensor_that_is_missing_unknown_or_of_another_shape_is_named() {
    let sandbox = Sandbox::new();
    weights(&sandbox, |weights| {
        let tensor = weights.header.remove("visual_projection.weight").unwrap();
        weights.header.insert("visual_projection.wait".into(), tensor);
    });
    refused(&sandbox, &["tensor visual_projection.weight is missing", "[24, 48]"]);

    let sandbox = Sandbox::new();
    weights(&sandbox, |weights| {
        let end = weights.data.len();
        weights.data.extend([0; 8]);
        let surprise = json!({"dtype": "F32", "shape": [2], "data_offsets": [end, end + 8]});
        weights.header.insert("text_model.surprise".into(), surprise);
    });
    refused(&sandbox, &["tensor text_model.surprise is not part of a model of this configuration"]);

    let sandbox = Sandbox::new();
    weights(&sandbox, |weights| {
        let tensor = &mut weights.header["visual_projection.weight"];
        tensor["shape"] = json!([48, 24]);
    });
    refused(&sandbox, &["tensor visual_projection.weight", "[24, 48]", "[48, 24]"]);

    // Its bytes would reach beyond the file, or into another tensor.
    for offsets in [json!([0, 1u64 << 40]), json!([4, 0]), json!([0, 4])] {
        let sandbox = Sandbox::new();
        weights(&sandbox, |weights| weights.header["visual_projection.weight"]["data_offsets"] = offsets);
        refused(&sandbox, &["not a whole safetensors file"]);
    }
}

#[test]
fn weights_that_are_no_numbers_are_reported_by_tensor() {
    for tensor in [
        "text_projection.weight",
        "text_model.final_layer_norm.bias",
        "visual_projection.weight",
        "vision_model.embeddings.class_embedding",
        "vision_model.encoder.layers.2.mlp.fc1.weight",
        "vision_model.encoder.layers.3.self_attn.k_proj.weight",
    ] {
        for value in [f32::NAN, f32::INFINITY] {
            let sandbox = Sandbox::new();
            weights(&sandbox, |weights| weights.set_first(tensor, value));
            refused(&sandbox, &[&format!("tensor {tensor}"), "found NaN or infinity"]);
        }
    }
    for value in [f32::NAN, f32::INFINITY, 1e30] {
        let sandbox = Sandbox::new();
        weights(&sandbox, |weights| weights.set_first("logit_scale", value));
        refused(&sandbox, &["tensor logit_scale"]);
    }
}

#[test]
fn weights_of_zero_give_no_direction() {
    let sandbox = Sandbox::new();
    weights(&sandbox, |weights| weights.data.fill(0));
    let outcome = sandbox.localize(PROMPT, &["wide.png"]);
    outcome.assert_refused(&["embedding", "zero or not finite"]);
}

#[test]
fn a_tokenizer_that_does_not_fit_is_named() {
    let sandbox = Sandbox::new();
    sandbox.change_json("vocab.json", "/red<~1w>", 100_000);
    refused(&sandbox, &["vocab.json", "100000", "vocabulary of 589"]);

    let sandbox = Sandbox::new();
    sandbox.write("model/vocab.json", "{\"a\": 1}");
    refused(&sandbox, &["vocab.json", "<|startoftext|> is missing"]);

    for (file, text) in
        [("vocab.json", &b"{"[..]), ("merges.txt", b"\xff\xff"), ("merges.txt", b"one two three\n")]
    {
        let sandbox = Sandbox::new();
        sandbox.write(format!("model/{file}"), text);
        refused(&sandbox, &["model/"]);
    }

    let sandbox = Sandbox::with_model("tiny-gelu");
    sandbox.change_json("config.json", "/text_config/eos_token_id", 5);
    refused(&sandbox, &["tokenizer.json", "end token 5"]);
    for text in ["{", "[]", "{\"model\": 1}", ""] {
        sandbox.write("model/tokenizer.json", text);
        refused(&sandbox, &["tokenizer.json", "not a tokenizer"]);
    }
}

#[test]
fn shards_that_are_missing_or_elsewhere_are_named() {
    let index = "model.safetensors.index.json";
    let sandbox = Sandbox::with_model("tiny-gelu");
    sandbox.localize(PROMPT, &["wide.png", "--save", "none"]).assert_done();
    std::fs::remove_file(sandbox.path("model/model-00002-of-00004.safetensors")).unwrap();
    refused(&sandbox, &[index, "model-00002-of-00004.safetensors is not there"]);

    for name in ["../model-00001-of-00004.safetensors", "/etc/passwd", "..", ""] {
        let sandbox = Sandbox::with_model("tiny-gelu");
        sandbox.change_json(index, "/weight_map/logit_scale", name);
        refused(&sandbox, &[index]);
    }
    for text in ["{", "[]", "{}", "{\"weight_map\": {}}", "{\"weight_map\": {\"logit_scale\": 1}}"] {
        let sandbox = Sandbox::with_model("tiny-gelu");
        sandbox.write(format!("model/{index}"), text);
        refused(&sandbox, &[index]);
    }
}

#[test]
fn random_damage_to_a_checkpoint_never_ends_in_a_panic() {
    // A small generator is enough: every run damages the same bytes.
    let mut state = 7_u32;
    let mut next = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    for file in ["config.json", "preprocessor_config.json", "vocab.json", "merges.txt", "model.safetensors"] {
        for _ in 0..6 {
            let sandbox = Sandbox::new();
            let path = sandbox.path("model").join(file);
            let mut bytes = std::fs::read(&path).unwrap();
            let reach = bytes.len().min(2000);
            for _ in 0..3 {
                bytes[next(reach)] = b" \0[]{}:,\"0129-e\xff"[next(16)];
            }
            std::fs::write(&path, &bytes).unwrap();
            let outcome = sandbox.localize(PROMPT, &["wide.png"]);
            assert!(matches!(outcome.status, Some(0 | 2)), "{file}: {outcome:#?}");
            assert!(!outcome.stderr.contains("panicked"), "{file}: {outcome:#?}");
            assert_eq!(
                outcome.errors().len(),
                usize::from(outcome.status == Some(2)),
                "{file}: {outcome:#?}"
            );
        }
    }
}

// Where results go.

#[test]
fn an_output_directory_that_cannot_be_written_fails_before_the_model_is_opened() {
    let sandbox = Sandbox::new();
    sandbox.write("taken", "a file");
    for output in ["taken", "taken/inside"] {
        for command in [&["localize", PROMPT, "wide.png"][..], &["compare", "wide.png", "reed", "marsh"]] {
            let outcome = sandbox.run(&[command, &["--model", "./nowhere", "--output", output]].concat());
            outcome.assert_refused(&[output, "cannot be written"]);
            assert!(outcome.hints()[0].contains("--output"), "{outcome:#?}");
        }
    }
    assert_eq!(std::fs::read_to_string(sandbox.path("taken")).unwrap(), "a file");
}

#[cfg(target_os = "linux")]
#[test]
fn a_read_only_file_system_is_named() {
    let sandbox = Sandbox::new();
    let outcome = sandbox.localize(PROMPT, &["wide.png", "--output", "/proc/fieldmark"]);
    outcome.assert_refused(&["/proc/fieldmark: cannot be written"]);
}

#[test]
fn a_result_whose_place_is_taken_is_named_and_nothing_is_left() {
    let sandbox = Sandbox::new();
    let place = format!("fieldmark-out/wide.{}.overlay.png", fieldmark::files::slug(PROMPT));
    sandbox.write(format!("{place}/inside.txt"), "in the way");
    let outcome = sandbox.localize(PROMPT, &["wide.png"]);
    outcome.assert_refused(&[&place, "cannot be written"]);
    assert_eq!(sandbox.names("fieldmark-out").len(), 1);
}

/// A limit on the size of files stands in for a full disk: writing fails in the middle in the same way.
#[cfg(unix)]
#[test]
fn a_disk_that_fills_up_leaves_nothing_half_written() {
    let sandbox = Sandbox::new();
    sandbox.write("large.png", png(400, 300));
    let mut shell = std::process::Command::new("sh");
    shell.env_clear().env("HOME", sandbox.path("home")).current_dir(sandbox.path(""));
    shell.arg("-c").arg("trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"").arg(env!("CARGO_BIN_EXE_fieldmark"));
    shell.args(["localize", PROMPT, "large.png", "--model", "model", "--save", "full,map"]);
    let outcome = sandbox.finish(&mut shell);
    outcome.assert_refused(&["full.npy: cannot be written", "File too large"]);
    assert!(!sandbox.path("fieldmark-out").exists());
}

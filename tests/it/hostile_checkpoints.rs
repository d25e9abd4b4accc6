//! Checkpoints of open_clip's form and files that mean harm: one clear error each, no code run, no memory taken on a
//! file's word.

use std::io::Write;

use serde_json::{Value, json};
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::{
    hostile::refused,
    sandbox::{PROMPT, Sandbox, Weights},
};

const PICKLED: &str = "model/open_clip_pytorch_model.bin";

/// An archive of `torch.save` with this program and these other entries.
fn archive(program: &[u8], others: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in [("archive/data.pkl", program)].iter().chain(others) {
        let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        writer.start_file(*name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A program that makes the dictionary {"a": tensor} of a storage `0` with this type, offset, shape and stride.
fn tensor(kind: &str, offset: u8, shape: i32, stride: i32) -> Vec<u8> {
    let mut program =
        b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage".to_vec();
    program.extend(format!("ctorch\n{kind}\nX\x01\0\0\00X\x03\0\0\0cpuK\x04tQK").bytes());
    program.push(offset);
    for number in [shape, stride] {
        program.push(b'J');
        program.extend(number.to_le_bytes());
        program.push(0x85);
    }
    program.extend(b"\x89NtRs.");
    program
}

#[test]
fn a_pickle_that_asks_for_more_than_tensors_is_refused_by_name() {
    let sandbox = Sandbox::with_model("open-clip-gelu");
    sandbox.localize(PROMPT, &["wide.png", "--save", "none"]).assert_done();
    let system = b"\x80\x02cposix\nsystem\nX\x12\x00\x00\x00touch model/harmed\x85R.";
    let cases: [(&[u8], &str); 5] = [
        (system, "data.pkl: asks for posix.system, which no state dictionary needs"),
        (b"\x80\x02c__builtin__\neval\n)R.", "asks for __builtin__.eval"),
        (b"\x80\x04\x8c\x05torch\x8c\x04load\x93)R.", "asks for torch.load"),
        (b"\x80\x02(ios\nsystem\n.", "asks for os.system, which no state dictionary needs"),
        (b"\x80\x02}.", "expected a dictionary of named tensors, found none"),
    ];
    for (program, reason) in cases {
        sandbox.write(PICKLED, archive(program, &[]));
        refused(&sandbox, &[PICKLED, reason]);
        assert!(!sandbox.path("model/harmed").exists());
    }
}

#[test]
fn a_pickle_that_lies_about_its_numbers_is_refused() {
    let sandbox = Sandbox::with_model("open-clip-gelu");
    let storage: (&str, &[u8]) = ("archive/data/0", &[0; 16]);
    let outside = "tensor a: lies outside its storage of 16 bytes";
    for (program, reason) in [
        (tensor("FloatStorage", 1, 4, 1), outside),
        (tensor("DoubleStorage", 0, 4, 1), outside),
        (tensor("FloatStorage", 0, i32::MAX, 1), outside),
        (tensor("FloatStorage", 0, i32::MAX, 0), outside),
        (tensor("FloatStorage", 0, 4, i32::MAX), outside),
        (tensor("FloatStorage", 0, -4, 1), "has the size -4"),
        (tensor("QuantizedStorage", 0, 4, 1), "asks for torch.QuantizedStorage"),
        (tensor("FloatStorage", 0, 4, 1), "tensor logit_scale is missing"),
    ] {
        sandbox.write(PICKLED, archive(&program, &[storage]));
        refused(&sandbox, &[PICKLED, reason]);
    }
    sandbox.write(PICKLED, archive(&tensor("FloatStorage", 0, 4, 1), &[]));
    refused(&sandbox, &["its storage data/0 is not in the archive"]);
}

#[test]
fn archives_of_another_kind_are_recognised() {
    let sandbox = Sandbox::with_model("open-clip-gelu");
    let script = archive(b"\x80\x02}.", &[("archive/constants.pkl", b"."), ("archive/code/a.py", b"")]);
    sandbox.write(PICKLED, script);
    refused(&sandbox, &[PICKLED, "is a TorchScript archive, which holds a program"]);
    sandbox.write(PICKLED, archive(&tensor("FloatStorage", 0, 4, 1), &[("archive/byteorder", b"big")]));
    refused(&sandbox, &[PICKLED, "its numbers are not little-endian"]);
    // Method 8 is deflate: in the entry's own header, and in the list at the end.
    let mut packed = archive(b"\x80\x02}.", &[]);
    let list = packed.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    packed[8] = 8;
    packed[list + 10] = 8;
    sandbox.write(PICKLED, packed);
    refused(&sandbox, &[PICKLED, "found it compressed"]);
    // What torch.save wrote before PyTorch 1.6 is no archive at all.
    sandbox.write(PICKLED, b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.");
    refused(&sandbox, &[PICKLED, "not a whole PyTorch file: header: ends early"]);
}

#[test]
fn random_damage_to_open_clips_files_never_ends_in_a_panic() {
    let mut state = 11_u32;
    let mut next = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    for file in ["open_clip_model_config.json", "open_clip_pytorch_model.bin", "merges.txt", "vocab.json"] {
        for round in 0..8 {
            let sandbox = Sandbox::with_model("open-clip-gelu");
            let path = sandbox.path("model").join(file);
            let mut bytes = std::fs::read(&path).unwrap();
            let reach = bytes.len().min(4000);
            // The list of an archive's entries is at its end.
            let first = if round % 2 == 0 { 0 } else { bytes.len() - reach };
            for _ in 0..3 {
                bytes[first + next(reach)] = b" \0[]{}:,\"0129-e\xff"[next(16)];
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

#[test]
fn a_configuration_of_open_clip_that_lies_is_named() {
    let config = "open_clip_config.json";
    for (at, value, reason) in [
        ("/model_cfg/text_cfg/heads", json!(0), "text_cfg.heads: expected a whole number from 1"),
        ("/model_cfg/text_cfg/heads", json!(5), "text_cfg.heads: expected a divisor of width 24, found 5"),
        ("/model_cfg/vision_cfg/head_width", json!(31), "expected a divisor of width 32, found 31"),
        (
            "/model_cfg/vision_cfg/layers",
            json!(1u64 << 60),
            "vision_cfg.layers: expected a whole number from 1",
        ),
        ("/model_cfg/vision_cfg/layers", json!([1, 2, 3, 4]), "(a ResNet)"),
        ("/model_cfg/vision_cfg/timm_model_name", json!("fastvit_mci2"), "(a FastViT of MobileCLIP)"),
        ("/model_cfg/text_cfg/hf_model_name", json!("roberta-base"), "found \"roberta-base\""),
        ("/preprocess_cfg/resize_mode", json!("other"), "resize_mode: expected shortest, longest or squash"),
    ] {
        let sandbox = Sandbox::with_model("open-clip-mean");
        sandbox.change_json(config, at, value);
        refused(&sandbox, &[config, reason]);
    }
    for (at, value, tensor) in [
        ("/model_cfg/vision_cfg/width", json!(64), "visual."),
        (
            "/model_cfg/text_cfg/layers",
            json!(3),
            "tensor text.transformer.resblocks.2.ln_1.weight is missing",
        ),
        ("/model_cfg/vision_cfg/layers", json!(1), "tensor visual.transformer.resblocks.1."),
        ("/model_cfg/vision_cfg/no_ln_pre", json!(false), "tensor visual.ln_pre.weight is missing"),
        ("/model_cfg/text_cfg/proj_bias", json!(false), "tensor text.text_projection is missing"),
    ] {
        let sandbox = Sandbox::with_model("open-clip-mean");
        sandbox.change_json(config, at, value);
        refused(&sandbox, &["model/open_clip_model.safetensors", tensor]);
    }
}

#[test]
fn leftovers_of_open_clip_are_passed_over_and_nothing_else() {
    let sandbox = Sandbox::with_model("open-clip-mean");
    let path = sandbox.path("model/open_clip_model.safetensors");
    let mut weights = Weights::read(&path);
    let mut add = |name: &str| {
        let end = weights.data.len();
        weights.data.extend([0; 4]);
        let tensor = json!({"dtype": "F32", "shape": [1], "data_offsets": [end, end + 4]});
        weights.header.insert(name.into(), tensor);
    };
    for name in ["text.attn_mask", "input_resolution", "context_length", "vocab_size"] {
        add(name);
    }
    weights.write(&path);
    sandbox.localize(PROMPT, &["wide.png", "--save", "none"]).assert_done();
    let end = weights.data.len();
    weights.data.extend([0; 4]);
    let tensor = json!({"dtype": "F32", "shape": [1], "data_offsets": [end, end + 4]});
    weights.header.insert("text.cls_emb".into(), tensor);
    weights.write(&path);
    refused(&sandbox, &["tensor text.cls_emb is not part of a model of this configuration"]);
}

#[test]
fn a_json_of_two_gigabytes_is_not_read() {
    let cases = [
        ("tiny-quick-gelu", "config.json"),
        ("tiny-quick-gelu", "preprocessor_config.json"),
        ("tiny-quick-gelu", "vocab.json"),
        ("tiny-gelu", "tokenizer.json"),
        ("open-clip-mean", "open_clip_config.json"),
        ("open-clip-mean", "merges.txt"),
    ];
    for (model, file) in cases {
        let sandbox = Sandbox::with_model(model);
        let path = sandbox.path("model").join(file);
        // A hole: the file has this length, and takes no place.
        std::fs::File::options().write(true).open(&path).unwrap().set_len(2 << 30).unwrap();
        let outcome = sandbox.localize(PROMPT, &["wide.png"]);
        outcome.assert_refused(&[file, "expected at most", "found 2147483648"]);
    }
}

#[cfg(unix)]
#[test]
fn links_that_leave_the_checkpoint_are_refused() {
    use std::os::unix::fs::symlink;
    for (model, file) in [
        ("tiny-quick-gelu", "config.json"),
        ("tiny-quick-gelu", "model.safetensors"),
        ("tiny-gelu", "model-00002-of-00004.safetensors"),
        ("open-clip-gelu", "open_clip_pytorch_model.bin"),
        ("open-clip-gelu", "vocab.json"),
    ] {
        let sandbox = Sandbox::with_model(model);
        let path = sandbox.path("model").join(file);
        std::fs::rename(&path, sandbox.path("outside")).unwrap();
        symlink("../outside", &path).unwrap();
        let outcome = sandbox.localize(PROMPT, &["wide.png"]);
        outcome.assert_refused(&[
            file,
            "expected a file of the checkpoint's directory, found a link to",
            "outside",
        ]);
        // Inside, under another name, it may lie.
        std::fs::remove_file(&path).unwrap();
        std::fs::rename(sandbox.path("outside"), sandbox.path("model/elsewhere")).unwrap();
        symlink("elsewhere", &path).unwrap();
        sandbox.localize(PROMPT, &["wide.png", "--save", "none"]).assert_done();
    }
}

#[test]
fn a_repository_with_both_forms_is_read_in_that_of_transformers() {
    let sandbox = Sandbox::new();
    sandbox.write("model/open_clip_config.json", "{");
    sandbox.write("model/open_clip_model.safetensors", "not one");
    sandbox.localize(PROMPT, &["wide.png", "--save", "none"]).assert_done();
    std::fs::remove_file(sandbox.path("model/model.safetensors")).unwrap();
    refused(&sandbox, &["model/open_clip_config.json", "not valid JSON"]);
    sandbox.write("model/open_clip_config.json", Value::Object(Default::default()).to_string());
    refused(&sandbox, &["vision_cfg: expected an object, found none"]);
}

//! Mutants of `tokenizer.json` and of what lies beside it, each of which then splits some texts.

use std::{path::Path, time::Instant};

use base64::Engine as _;
use fieldmark::{
    Error,
    model::{config::ClipConfig, tokenizer::PromptTokenizer},
};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{json, rounds};

/// The longest time that one mutant may take, on a busy machine and without optimisation.
const LONGEST: f64 = 20.0;

fn config() -> ClipConfig {
    let text = r#"{"model_type": "clip", "vision_config": {}, "text_config": {"eos_token_id": 2}}"#;
    ClipConfig::parse(text.as_bytes(), Path::new("config.json")).unwrap()
}

/// SentencePiece's table with one entry: "a" becomes "xyz".
fn table() -> String {
    let mut trie = vec![0_u32; 0x200];
    trie[0] = 0x100 << 10;
    trie[0x100 ^ usize::from(b'a')] = 1 << 8 | u32::from(b'a') | (0x80 << 10);
    trie[0x100 ^ usize::from(b'a') ^ 0x80] = 1 << 31;
    let mut bytes = (trie.len() as u32 * 4).to_le_bytes().to_vec();
    trie.iter().for_each(|unit| bytes.extend(unit.to_le_bytes()));
    bytes.extend(b"xyz\0");
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn added() -> Value {
    let token = |id: usize, content: &str, normalized: bool| {
        json!({"id": id, "content": content, "single_word": !normalized, "lstrip": normalized, "rstrip": false,
               "normalized": normalized, "special": true})
    };
    json!([token(0, "<pad>", false), token(1, "</s>", false), token(2, "Bird", true)])
}

fn normalizers() -> Value {
    json!({"type": "Sequence", "normalizers": [
        {"type": "Precompiled", "precompiled_charsmap": table()},
        {"type": "Replace", "pattern": {"Regex": "\\s+(?!\\S)|\\s+"}, "content": " "},
        {"type": "Replace", "pattern": {"String": "b"}, "content": "aa"},
        {"type": "Prepend", "prepend": "_"},
        {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
         "lowercase": true},
        {"type": "NFKC"}, {"type": "StripAccents"}, {"type": "Strip", "strip_left": true, "strip_right": true}]})
}

fn rules() -> Value {
    json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "[a-z]+|\\s(?=a)"}, "behavior": "MergedWithNext", "invert": true},
        {"type": "Metaspace", "replacement": "_", "prepend_scheme": "first", "split": true},
        {"type": "Digits", "individual_digits": true},
        {"type": "FixedLength", "length": 3},
        {"type": "Punctuation", "behavior": "Isolated"},
        {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}]})
}

fn template() -> Value {
    json!({"type": "Sequence", "processors": [
        {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        {"type": "TemplateProcessing",
         "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
         "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
         "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}}]})
}

/// A sound tokenizer of each kind, with rules of every sort.
fn documents() -> Vec<Value> {
    let words =
        json!({"<pad>": 0, "</s>": 1, "a": 2, "b": 3, "ab": 4, "##a": 5, "##b": 6, "_a": 7, "[UNK]": 8});
    let scored = json!([["<pad>", 0.0], ["</s>", 0.0], ["a", -1.5], ["b", -2.0], ["ab", -2.5], ["_a", -3.0]]);
    let models = [
        json!({"type": "BPE", "vocab": words, "merges": ["a b"], "unk_token": "[UNK]", "fuse_unk": true,
               "byte_fallback": true, "dropout": null, "continuing_subword_prefix": "",
               "end_of_word_suffix": "", "ignore_merges": false}),
        json!({"type": "BPE", "vocab": words, "merges": [["a", "##b"]], "continuing_subword_prefix": "##",
               "unk_token": "[UNK]"}),
        json!({"type": "WordPiece", "vocab": words, "unk_token": "[UNK]", "continuing_subword_prefix": "##",
               "max_input_chars_per_word": 100}),
        json!({"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"}),
        json!({"type": "Unigram", "vocab": scored, "unk_id": 0, "byte_fallback": false}),
    ];
    let whole = |model: Value| {
        json!({"version": "1.0", "truncation": {"direction": "Right", "max_length": 8, "strategy": "LongestFirst",
               "stride": 0}, "padding": {"strategy": {"Fixed": 16}, "direction": "Right",
               "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"},
               "added_tokens": added(), "normalizer": normalizers(), "pre_tokenizer": rules(),
               "post_processor": template(), "decoder": null, "model": model})
    };
    let mut documents: Vec<Value> = models.into_iter().map(whole).collect();
    for name in ["tiny-gelu", "tiny-siglip", "tiny-siglip2"] {
        let path = crate::sandbox::fixture(&format!("models/{name}/tokenizer.json"));
        documents.push(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap());
    }
    documents
}

/// Splits texts of every sort; returns whether the tokenizer was read at all.
fn attack(bytes: &[u8], config: &ClipConfig) -> bool {
    let error = |error: Error| {
        let message = error.to_string();
        assert!(!message.contains('\n') && message.len() < 20_000, "{message}");
    };
    let tokenizer =
        match PromptTokenizer::parse(bytes, Path::new("tokenizer.json"), config.text.as_ref().unwrap()) {
            Ok(tokenizer) => tokenizer,
            Err(refused) => {
                error(refused);
                return false;
            }
        };
    let long = "ab".repeat(3000);
    let texts =
        ["a red-winged blackbird's shoulder", "", "</s>Bird a", "\u{fdfa}\u{1f426} ﬁ\u{301} \u{0}", &long];
    for text in texts {
        if let Ok(tokens) = tokenizer.tokenize_any(text).map_err(error) {
            assert!(
                tokens.ids.len() <= config.text.as_ref().unwrap().context.max(8)
                    && tokens.end < tokens.ids.len()
            );
        }
    }
    true
}

#[test]
fn sound_tokenizers_of_every_kind_are_read() {
    let config = config();
    for document in documents() {
        let bytes = document.to_string();
        let tokenizer = PromptTokenizer::parse(
            bytes.as_bytes(),
            Path::new("tokenizer.json"),
            config.text.as_ref().unwrap(),
        );
        let tokens = tokenizer.expect("is sound").tokenize("a ab").expect("is split");
        assert!(!tokens.ids.is_empty(), "{bytes}");
    }
}

#[test]
fn mutants_of_tokenizers_are_read_or_refused() {
    let (documents, config) = (documents(), config());
    let mut random = ChaCha8Rng::seed_from_u64(17);
    let (mut read, mut slowest) = (0, 0.0_f64);
    let rounds = rounds(3000);
    let last = std::env::temp_dir().join(format!("fieldmark-attack-{}.json", std::process::id()));
    for _ in 0..rounds {
        let document = documents.choose(&mut random).unwrap();
        let bytes = json::mutant(document, &mut random);
        // What ends the process leaves its mutant behind.
        std::fs::write(&last, &bytes).unwrap();
        let start = Instant::now();
        read += usize::from(attack(&bytes, &config));
        slowest = slowest.max(start.elapsed().as_secs_f64());
        assert!(slowest < LONGEST, "{}: {slowest} s", last.display());
    }
    std::fs::remove_file(&last).unwrap();
    println!("tokenizers: {rounds} mutants, {read} read, {} refused, slowest {slowest:.2} s", rounds - read);
    assert!(read > rounds / 20 && read < rounds, "some are read and some are refused");
}

#[test]
fn mutants_of_the_files_beside_it_are_read_or_refused() {
    let mut random = ChaCha8Rng::seed_from_u64(18);
    let rounds = rounds(300);
    let mut opened = 0;
    for (model, names) in [
        ("tiny-quick-gelu", ["vocab.json", "merges.txt"]),
        ("open-clip-gelu", ["vocab.json", "merges.txt"]),
        ("tiny-siglip", ["tokenizer_config.json", "special_tokens_map.json"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let from = crate::sandbox::fixture(&format!("models/{model}"));
        for entry in std::fs::read_dir(&from).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        let config = match ClipConfig::read(&folder.path().join("config.json")) {
            Ok(config) => config,
            Err(_) => config(),
        };
        for _ in 0..rounds / 3 {
            let name = *names.choose(&mut random).unwrap();
            let path = folder.path().join(name);
            let Ok(sound) = std::fs::read(from.join(name)) else { continue };
            let mut bytes = match serde_json::from_slice::<Value>(&sound) {
                Ok(document) => json::mutant(&document, &mut random),
                Err(_) => sound.clone(),
            };
            (0..random.random_range(0..3)).for_each(|_| json::change_bytes(&mut bytes, &mut random));
            std::fs::write(&path, &bytes).unwrap();
            let tokenizer = PromptTokenizer::open(folder.path(), config.text.as_ref().unwrap());
            let split = tokenizer.and_then(|tokenizer| tokenizer.tokenize("a red-winged blackbird"));
            opened += usize::from(split.is_ok());
            if let Err(error) = split {
                assert!(!error.to_string().contains('\n'), "{error}");
            }
            std::fs::write(&path, sound).unwrap();
        }
    }
    println!("files beside tokenizers: {rounds} mutants, {opened} read");
    assert!(opened > 0 && opened < rounds);
}

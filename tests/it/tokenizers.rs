//! Tokenizers that mean harm: what they claim is checked, and texts have limits.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use fieldmark::model::{config::ClipConfig, tokenizer::PromptTokenizer};
use serde_json::{Value, json};

fn config() -> ClipConfig {
    let text = r#"{"model_type": "clip", "vision_config": {}, "text_config": {"eos_token_id": 2}}"#;
    ClipConfig::parse(text.as_bytes(), Path::new("config.json")).unwrap()
}

fn open(bytes: &[u8]) -> Result<PromptTokenizer, String> {
    PromptTokenizer::parse(bytes, Path::new("t.json"), config().text.as_ref().unwrap())
        .map_err(|error| error.to_string())
}

fn split(document: &Value, prompt: &str) -> Result<Vec<u32>, String> {
    let tokens = open(document.to_string().as_bytes())?.tokenize_any(prompt);
    tokens.map(|tokens| tokens.ids).map_err(|error| error.to_string())
}

/// A tokenizer of the pieces `a` and `b` with one part changed.
fn with(part: &str, value: Value) -> Value {
    let mut document = json!({"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null,
        "post_processor": null, "model": {"type": "BPE", "vocab": {"<pad>": 0, "a": 2, "b": 3}, "merges": [],
        "unk_token": "<pad>"}});
    document[part] = value;
    document
}

#[test]
fn files_that_ended_the_library_are_refused_by_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hostile/tokenizers");
    let file = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let refused = |name: &str| open(&file(name)).err().unwrap();
    let cases = [
        ("cut_in_decoder.json", "t.json: not a tokenizer: EOF while parsing a list at line 1 column 311"),
        (
            "fixed_length_0.json",
            "t.json: not a tokenizer: pre_tokenizer: length: expected at least 1, found 0",
        ),
        (
            "merge_prefix.json",
            "t.json: not a tokenizer: model: merges[0]: expected a second part that begins with \"##\", \
             found \"b\"",
        ),
        (
            "precompiled_too_short.json",
            "t.json: not a tokenizer: normalizer: precompiled_charsmap: expected at least 4 bytes, found 3",
        ),
    ];
    for (name, message) in cases {
        assert_eq!(refused(name), message);
    }
}

#[test]
fn what_no_prompt_needs_is_not_read() {
    let expected = vec![2, 3];
    for (part, value) in [
        ("decoder", json!({"type": "Sequence", "decoders": 3})),
        (
            "truncation",
            json!({"direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 9}),
        ),
        ("padding", json!({"strategy": {"Fixed": u64::MAX}, "pad_id": 0, "pad_to_multiple_of": 0})),
        ("unknown", json!([1])),
    ] {
        assert_eq!(split(&with(part, value), "ab"), Ok(expected.clone()), "{part}");
    }
    let mut document = with("version", json!("1.0"));
    document["model"]["dropout"] = json!(1.0);
    document["model"]["merges"] = json!(["a b"]);
    document["model"]["vocab"]["ab"] = json!(4);
    assert_eq!(split(&document, "ab"), Ok(vec![4]), "nothing is left out at random");
}

#[test]
fn normalizing_has_a_limit() {
    let rule = json!({"type": "Replace", "pattern": {"Regex": "."}, "content": "aaaaaaaaaaaaaaaa"});
    let steps = json!({"type": "Sequence", "normalizers": vec![rule; 8]});
    let error = split(&with("normalizer", steps), "abababababababababababababab").unwrap_err();
    assert!(error.contains("cannot be split: its rules make 1835008 bytes of it, at most 262144"), "{error}");
    // Every round of letters for bytes makes two of each byte that is not ASCII.
    let bytes =
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": false});
    let rounds = |count: usize| json!({"type": "Sequence", "pretokenizers": vec![bytes.clone(); count]});
    assert!(split(&with("pre_tokenizer", rounds(2)), "a b").is_ok());
    let error = split(&with("pre_tokenizer", rounds(40)), "a b").unwrap_err();
    assert!(error.contains("its rules make ") && error.contains(", at most 262144"), "{error}");
    // Tokens that are added are normalized when the file is read.
    let mut document = with("normalizer", json!({"type": "Prepend", "prepend": "x".repeat(4000)}));
    let token = |id: usize| {
        json!({"id": id, "content": format!("t{id}"), "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": true, "special": false})
    };
    document["added_tokens"] = (10..1000).map(token).collect();
    assert!(
        open(document.to_string().as_bytes())
            .err()
            .unwrap()
            .contains("added_tokens: expected at most 1048576")
    );
}

#[test]
fn texts_have_a_limit() {
    let tokenizer = open(with("version", json!("1.0")).to_string().as_bytes()).unwrap();
    let error = tokenizer.tokenize(&"a ".repeat(50 << 20)).unwrap_err().to_string();
    assert!(error.ends_with("...\": expected at most 65536 bytes, found 104857600"), "{error}");
    assert!(error.len() < 200, "the message shows the beginning");
    // A word as long as a text may be takes no time that grows with its square.
    let start = Instant::now();
    assert!(tokenizer.tokenize(&"ab".repeat(1 << 15)).unwrap().truncated.is_some());
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}

#[test]
fn patterns_that_go_back_and_forth_are_an_error() {
    let rule = json!({"type": "Split", "pattern": {"Regex": "(?=(a+)+\\1b)"}, "behavior": "Isolated", "invert": false});
    let error = split(&with("pre_tokenizer", rule), &"a".repeat(60)).unwrap_err();
    assert!(error.contains("a pattern takes too long"), "{error}");
    let rule = json!({"type": "Replace", "pattern": {"Regex": "(unclosed"}, "content": ""});
    let error = split(&with("normalizer", rule), "a").unwrap_err();
    assert!(error.contains("normalizer: pattern \"(unclosed\": ") && !error.contains('\n'), "{error}");
}

#[test]
fn nested_rules_end_no_process() {
    for depth in [20, 100, 10_000, 1_000_000] {
        let nested = |name: &str, kind: &str| {
            let open = format!(r#"{{"type": "Sequence", "{kind}": ["#).repeat(depth);
            let text = format!(r#"{{"{name}": {open}{}, "#, "]}".repeat(depth));
            with("version", json!("1.0")).to_string().replacen('{', &text, 1)
        };
        for (name, kind) in [
            ("normalizer", "normalizers"),
            ("pre_tokenizer", "pretokenizers"),
            ("post_processor", "processors"),
        ] {
            let document = nested(name, kind).replacen(&format!(r#","{name}":null"#), "", 1);
            assert!(open(document.as_bytes()).is_err(), "{name} {depth}");
        }
        assert!(open(nested("decoder", "decoders").as_bytes()).is_ok(), "the decoder is not read");
    }
    let piece = "a".repeat(1 << 20);
    let model = json!({"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], [piece, -1.0]]});
    assert!(
        open(with("model", model).to_string().as_bytes())
            .err()
            .unwrap()
            .contains("pieces of at most 256 bytes")
    );
}

#[test]
fn broken_files_beside_it_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let message =
        || PromptTokenizer::open(folder.path(), config().text.as_ref().unwrap()).err().unwrap().to_string();
    let ends_with = |path: &str| folder.path().join(PathBuf::from(path)).display().to_string();
    write("vocab.json", r#"{"<|startoftext|>": 0, "<|endoftext|>": 1, "a": 2}"#);
    write("merges.txt", "a b\n");
    assert!(message().starts_with(&ends_with("vocab.json")), "{}", message());
    write("merges.txt", "ab\n");
    assert!(message().contains("model: "), "{}", message());
}

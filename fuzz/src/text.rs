//! What is read as text: JSON as Python writes it, configurations, tokenizers, lists of prompts.

use std::path::Path;

use fieldmark_explain::prompt::{ConceptList, Template};
use fieldmark_model::{
    json,
    model::{
        config::{ClipConfig, OpenClipConfig},
        preprocess::{Preprocess, ProcessorKind},
        tokenizer::PromptTokenizer,
    },
};
use serde_json::Value;

use crate::check_error;

/// What is JSON is read as serde_json reads it; what is not may only be Python's numbers beside it.
///
/// # Panics
/// If the readers disagree.
pub fn json(bytes: &[u8]) {
    let strict = serde_json::from_slice::<Value>(bytes);
    let (ours, nulls) = (json::parse(bytes), json::parse_with_nulls(bytes));
    assert_eq!(ours.is_ok(), nulls.is_ok(), "both ways of reading accept the same texts");
    match (strict, ours, nulls) {
        (Ok(strict), Ok(ours), Ok(nulls)) => {
            assert_eq!(strict, ours);
            assert_eq!(strict, nulls);
        }
        (Ok(strict), ..) => panic!("is JSON, and was refused: {strict}"),
        (Err(_), Ok(value), _) => {
            let text = String::from_utf8_lossy(bytes);
            let extended = text.contains("NaN")
                || text.contains("Infinity")
                || text.contains(|c: char| c.is_ascii_digit());
            assert!(extended, "is neither JSON nor has numbers of Python's: {value}");
            let shown = json::shown(&value.to_string());
            assert!(!shown.is_empty());
        }
        _ => {}
    }
}

/// Reads a `config.json` as in transformers and open_clip.
pub fn config(bytes: &[u8]) {
    if let Err(error) = OpenClipConfig::parse(bytes, Path::new("open_clip_config.json")) {
        check_error(&error);
    }
    match ClipConfig::parse(bytes, Path::new("config.json")) {
        Ok(config) => {
            // What follows from a configuration follows without a panic.
            let _ = (config.vision.grid(), config.vision.prefix_tokens(), config.text.sees_padding());
        }
        Err(error) => check_error(&error),
    }
}

/// Reads a `preprocessor_config.json` in each of its forms, and fits a small picture by it.
pub fn preprocessor(bytes: &[u8]) {
    let path = Path::new("preprocessor_config.json");
    let Ok(value) = json::parse(bytes) else { return };
    let forms = [
        Preprocess::from_transformers(path, &value, ProcessorKind::Clip),
        Preprocess::from_transformers(path, &value, ProcessorKind::Siglip),
        Preprocess::from_open_clip(path, &value, 32),
    ];
    for form in forms {
        match form {
            Ok(preprocess) => crate::resize::fit_small(&preprocess),
            Err(error) => check_error(&error),
        }
    }
}

/// Reads a `tokenizer.json` and splits texts with it.
///
/// # Panics
/// If a prompt gets more tokens than the model takes.
pub fn tokenizer(bytes: &[u8]) {
    let text = br#"{"model_type": "clip", "vision_config": {}, "text_config": {"eos_token_id": 2}}"#;
    let config = ClipConfig::parse(text, Path::new("config.json")).expect("the configuration is sound");
    let tokenizer = match PromptTokenizer::parse(bytes, Path::new("tokenizer.json"), &config.text) {
        Ok(tokenizer) => tokenizer,
        Err(error) => return check_error(&error),
    };
    let long = "ab".repeat(300);
    for text in
        ["a red-winged blackbird's shoulder", "", "</s>Bird a", "\u{fdfa}\u{1f426} ﬁ\u{301} \u{0}", &long]
    {
        match tokenizer.tokenize_any(text) {
            Ok(tokens) => {
                assert!(tokens.ids.len() <= config.text.context.max(8) && tokens.end < tokens.ids.len());
            }
            Err(error) => check_error(&error),
        }
    }
}

/// Reads a list of prompts and its templates.
///
/// # Panics
/// If the list has concepts that it does not find again.
pub fn list(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(template) = Template::new(&text) {
        assert!(template.fill("crow").contains("crow"));
    }
    match ConceptList::parse(&text) {
        Ok(list) => {
            for name in list.names().into_iter().take(20) {
                assert!(list.find(&name).is_some(), "{name:?} is in the list");
                let _ = (list.groups_of(&name), list.candidates(&name));
            }
        }
        Err(error) => check_error(&error),
    }
}

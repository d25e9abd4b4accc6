//! The checkpoint that ships: its files are part of the program, so that it needs neither network nor folder.
//! `miniature/README.md` says what it was trained on and what it can do.

/// `config.json`.
pub const CONFIG: &[u8] = include_bytes!("miniature/config.json");
/// `model.safetensors`.
pub const WEIGHTS: &[u8] = include_bytes!("miniature/model.safetensors");
/// `tokenizer.json`.
pub const TOKENIZER: &[u8] = include_bytes!("miniature/tokenizer.json");
/// `preprocessor_config.json`.
pub const PREPROCESSOR: &[u8] = include_bytes!("miniature/preprocessor_config.json");

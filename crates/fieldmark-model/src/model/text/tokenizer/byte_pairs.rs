//! Cleaned text becomes token ids as open_clip's own tokenizer, `SimpleTokenizer`, makes them: CLIP's byte pairs, with
//! the vocabulary from a checkpoint's files or, where it has none, OpenAI's.
//!
//! transformers' tokenizer of the same vocabulary gives other ids where a text has the names of special tokens in it:
//! there they are `<|startoftext|>` and `<|endoftext|>`, here `<start_of_text>` and `<end_of_text>`.

use std::path::{Path, PathBuf};

use instant_clip_tokenizer as openai;
use serde_json::Value;
use tokenizers::{
    AddedToken, SplitDelimiterBehavior, Tokenizer,
    models::bpe::{BPE, Vocab},
    pre_tokenizers::{
        byte_level::ByteLevel,
        sequence::Sequence,
        split::{Split, SplitPattern},
    },
};

use super::prompt_tokenizer::{MERGES, TOKENIZER, VOCABULARY};
use crate::{
    error::{Error, Result},
    guard::guarded,
    json,
    model::formats::read_text_file,
};

/// The start and the end token: what they are called in files, and what they are in a text.
const SPECIAL: [(&str, &str); 2] =
    [("<|startoftext|>", "<start_of_text>"), ("<|endoftext|>", "<end_of_text>")];
/// Where words begin and end.
const WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
/// Tokens in OpenAI's vocabulary.
const OPENAI_TOKENS: usize = 49408;

/// The longest text that is split with OpenAI's vocabulary: the crate's time grows with the square of a word's length.
const LONGEST_TEXT: usize = 1 << 14;

/// open_clip's own tokenizer.
pub(super) enum BytePairs {
    /// With the vocabulary of a checkpoint's files.
    Files {
        /// Without special tokens around a text.
        tokenizer: Box<Tokenizer>,
        /// The ids of the start and the end token.
        special: [u32; 2],
    },
    /// With OpenAI's vocabulary, which a crate brings along.
    OpenAi(openai::Tokenizer),
}

impl BytePairs {
    /// Reads the vocabulary in a directory: `tokenizer.json`, else `vocab.json` with `merges.txt`, else OpenAI's if
    /// the model has as many tokens. Also returns the file, for errors.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if it is broken, is not one of byte pairs, or is not there and another than OpenAI's.
    pub(super) fn open(directory: &Path, tokens: usize) -> Result<(Self, PathBuf)> {
        let [whole, vocabulary, merges] = [TOKENIZER, VOCABULARY, MERGES].map(|name| directory.join(name));
        if whole.is_file() {
            let root = read_json(&whole)?;
            let pairs = root["model"]["merges"].as_array().map(|all| all.iter().map(pair).collect());
            return Ok((Self::build(&root["model"]["vocab"], pairs.flatten(), &whole)?, whole));
        }
        if vocabulary.is_file() && merges.is_file() {
            let text = String::from_utf8(read_text_file(&merges)?)
                .map_err(|_| error(&merges, "not UTF-8 text".into()))?;
            let lines = text.lines().filter(|line| !line.starts_with("#version") && !line.trim().is_empty());
            let pairs = lines.map(pair_of_text).collect();
            return Ok((Self::build(&read_json(&vocabulary)?, pairs, &merges)?, vocabulary));
        }
        if tokens != OPENAI_TOKENS {
            let reason = format!(
                "neither {TOKENIZER} nor {VOCABULARY} with {MERGES} is there, and the model's {tokens} tokens are \
                 not OpenAI's {OPENAI_TOKENS}"
            );
            return Err(error(directory, reason));
        }
        Ok((Self::OpenAi(openai::Tokenizer::new()), directory.to_path_buf()))
    }

    /// `pairs`: none if they are not pairs of texts.
    fn build(vocabulary: &Value, pairs: Option<Vec<(String, String)>>, path: &Path) -> Result<Self> {
        let error = |reason: &str| error(path, reason.to_owned());
        let pairs =
            pairs.ok_or_else(|| error("expected merges of byte pairs, found another kind of tokenizer"))?;
        let entries = vocabulary.as_object().ok_or_else(|| error("expected a vocabulary, found none"))?;
        let id = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok());
        let ids: Option<Vocab> =
            entries.iter().map(|(token, value)| Some((own_name(token), id(value)?))).collect();
        let ids = ids.ok_or_else(|| error("expected whole numbers as ids in the vocabulary"))?;
        let mut special = [0; 2];
        for (id, (name, own)) in special.iter_mut().zip(SPECIAL) {
            *id = *ids.get(own).ok_or_else(|| error(&format!("token {name} is missing")))?;
        }
        let tokenizer =
            guarded(|| splitter(ids, pairs)).map_err(|panic| error(&format!("not a tokenizer: {panic}")))?;
        let tokenizer = tokenizer.map_err(|source| error(&format!("not a tokenizer: {source}")))?;
        Ok(Self::Files { tokenizer: Box::new(tokenizer), special })
    }

    /// The ids of a cleaned text, between those of the start and the end token.
    ///
    /// # Errors
    /// If the text is far too long, or the tokenizers library fails.
    pub(super) fn encode(&self, text: &str) -> tokenizers::Result<Vec<u32>> {
        match self {
            Self::Files { tokenizer, special: [start, end] } => {
                let encoding = tokenizer.encode_fast(text, false)?;
                Ok(std::iter::once(*start).chain(encoding.get_ids().iter().copied()).chain([*end]).collect())
            }
            Self::OpenAi(_) if text.len() > LONGEST_TEXT => {
                Err(format!("expected at most {LONGEST_TEXT} bytes, found {}", text.len()).into())
            }
            Self::OpenAi(tokenizer) => {
                let mut tokens = vec![tokenizer.start_of_text()];
                tokenizer.encode(text, &mut tokens);
                tokens.push(tokenizer.end_of_text());
                Ok(tokens.into_iter().map(|token| u32::from(token.to_u16())).collect())
            }
        }
    }
}

/// What open_clip calls a token.
fn own_name(token: &str) -> String {
    let special = SPECIAL.iter().find(|(name, _)| *name == token);
    special.map_or(token, |(_, own)| own).to_owned()
}

/// A merge in a `tokenizer.json`: `"a b"`, or `["a", "b"]` as newer libraries write it.
fn pair(merge: &Value) -> Option<(String, String)> {
    match merge {
        Value::String(text) => pair_of_text(text),
        Value::Array(both) => match both.as_slice() {
            [Value::String(first), Value::String(second)] => Some((first.clone(), second.clone())),
            _ => None,
        },
        _ => None,
    }
}

fn pair_of_text(text: &str) -> Option<(String, String)> {
    text.split_once(' ').map(|(first, second)| (first.to_owned(), second.to_owned()))
}

fn splitter(ids: Vocab, pairs: Vec<(String, String)>) -> tokenizers::Result<Tokenizer> {
    let model = BPE::builder().vocab_and_merges(ids, pairs).end_of_word_suffix("</w>".into()).build()?;
    let mut tokenizer = Tokenizer::new(model);
    let words = SplitPattern::Regex(WORDS.into());
    let words = Split::new(words, SplitDelimiterBehavior::Removed, true)?;
    let bytes = ByteLevel::new(false, false, false);
    tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![words.into(), bytes.into()])));
    tokenizer.add_tokens(SPECIAL.map(|(_, own)| AddedToken::from(own, false).normalized(false)))?;
    Ok(tokenizer)
}

fn read_json(path: &Path) -> Result<Value> {
    json::parse(&read_text_file(path)?).map_err(|source| error(path, format!("not valid JSON: {source}")))
}

fn error(path: &Path, reason: String) -> Error {
    Error::Tokenizer { path: path.into(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All single bytes, and two merges: "bi" and "bir".
    fn small() -> BytePairs {
        let letters = "abcdefghijklmnopqrstuvwxyz<_>'1".chars();
        let mut ids: serde_json::Map<String, Value> = serde_json::Map::new();
        for letter in letters {
            for name in [letter.to_string(), format!("{letter}</w>")] {
                ids.insert(name, (ids.len() as u64).into());
            }
        }
        for name in ["bi", "bir", "<|startoftext|>", "<|endoftext|>"] {
            ids.insert(name.into(), (ids.len() as u64).into());
        }
        let pairs = vec![("b".into(), "i".into()), ("bi".into(), "r".into())];
        BytePairs::build(&Value::Object(ids), Some(pairs), Path::new("vocab.json")).expect("is valid")
    }

    #[test]
    fn pairs_are_merged_and_special_tokens_are_open_clips() -> tokenizers::Result<()> {
        let (bir, start, end) = (63, 64, 65);
        let last = |letter: char| (letter as u32 - 'a' as u32) * 2 + 1;
        assert_eq!(small().encode("bird")?, [start, bir, last('d'), end]);
        assert_eq!(small().encode("a<end_of_text>b")?, [start, last('a'), end, last('b'), end]);
        assert_eq!(small().encode("it's 11")?, [start, 16, last('t'), 58, last('s'), 61, 61, end]);
        Ok(())
    }

    #[test]
    fn openais_vocabulary_is_there_without_files() -> Result<()> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (pairs, _) = BytePairs::open(folder.path(), OPENAI_TOKENS)?;
        let ids = pairs.encode("a photo of a red-winged blackbird's shoulder").expect("is split");
        assert_eq!(ids, [49406, 320, 1125, 539, 320, 736, 268, 24993, 38526, 568, 8476, 49407]);
        let error = BytePairs::open(folder.path(), 100).err().expect("is not OpenAI's").to_string();
        assert!(pairs.encode(&"a".repeat(LONGEST_TEXT + 1)).is_err());
        assert!(error.contains("the model's 100 tokens are not OpenAI's 49408"), "{error}");
        Ok(())
    }

    #[test]
    fn another_kind_of_tokenizer_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for text in [r#"{"model": {"type": "Unigram", "vocab": [["a", 0.0]]}}"#, "{}", "[", r#"{"model": 3}"#]
        {
            std::fs::write(folder.path().join(TOKENIZER), text).expect("a file");
            assert!(BytePairs::open(folder.path(), OPENAI_TOKENS).is_err(), "{text}");
        }
    }
}

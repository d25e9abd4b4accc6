//! What a tokenizer's vocabulary claims, read before the tokenizers library builds its tables of it.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

/// The most pieces, or merges.
const MOST_PIECES: usize = 4 << 20;
/// The longest piece of a vocabulary with scores, in bytes: the library's tree of them is as deep, and dropping it takes
/// as much of the stack.
const LONGEST_PIECE: usize = 256;
/// The most nodes of this tree, of some 400 bytes each; vocabularies of 250,000 pieces have less than a million.
const MOST_NODES: usize = 2 << 20;
/// The longest prefix or suffix of pieces, in bytes.
const LONGEST_AFFIX: usize = 64;
/// The longest word that WordPiece looks up piece by piece: its time grows with the cube.
const LONGEST_WORD: u64 = 256;

/// A model, as far as its claims go.
#[derive(Deserialize)]
struct Claims<'a> {
    #[serde(borrow, default)]
    vocab: Vocabulary<'a>,
    #[serde(default)]
    merges: Count,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    max_input_chars_per_word: Option<u64>,
}

/// Checks the `model` of a `tokenizer.json`.
///
/// # Errors
/// The field, what was expected and what was found.
pub(super) fn check(model: &str) -> Result<(), String> {
    let mut claims: Claims = serde_json::from_str(model).map_err(|source| source.to_string())?;
    for (field, count) in [("vocab", claims.vocab.count), ("merges", claims.merges.0)] {
        if count > MOST_PIECES {
            return Err(format!("{field}: expected at most {MOST_PIECES} entries, found {count}"));
        }
    }
    let affixes = [
        ("continuing_subword_prefix", &claims.continuing_subword_prefix),
        ("end_of_word_suffix", &claims.end_of_word_suffix),
    ];
    for (field, affix) in affixes {
        let length = affix.as_deref().map_or(0, str::len);
        if length > LONGEST_AFFIX {
            return Err(format!("{field}: expected at most {LONGEST_AFFIX} bytes, found {length}"));
        }
    }
    if let Some(length) = claims.max_input_chars_per_word.filter(|length| *length > LONGEST_WORD) {
        return Err(format!("max_input_chars_per_word: expected at most {LONGEST_WORD}, found {length}"));
    }
    if let Some(prefix) = claims.continuing_subword_prefix.filter(|prefix| !prefix.is_empty()) {
        check_prefix(model, &prefix)?;
    }
    claims.vocab.check()
}

/// A vocabulary.
#[derive(Default)]
struct Vocabulary<'a> {
    count: usize,
    /// The pieces, where they have scores.
    scored: Vec<Cow<'a, str>>,
}

impl Vocabulary<'_> {
    fn check(&mut self) -> Result<(), String> {
        if let Some(piece) = self.scored.iter().find(|piece| piece.len() > LONGEST_PIECE) {
            let length = piece.len();
            return Err(format!("vocab: expected pieces of at most {LONGEST_PIECE} bytes, found {length}"));
        }
        match self.nodes() {
            nodes if nodes > MOST_NODES => {
                Err(format!("vocab: expected a tree of at most {MOST_NODES} letters, found {nodes}"))
            }
            _ => Ok(()),
        }
    }

    /// The nodes of the tree that the pieces make.
    fn nodes(&mut self) -> usize {
        self.scored.sort_unstable();
        let mut before: &str = "";
        let mut nodes = 0;
        for piece in &self.scored {
            let shared = piece.bytes().zip(before.bytes()).take_while(|(one, other)| one == other).count();
            nodes += piece.len() - shared;
            before = piece;
        }
        nodes
    }
}

/// A piece and its score.
#[derive(Deserialize)]
struct Scored<'a>(#[serde(borrow)] Cow<'a, str>, #[allow(dead_code)] IgnoredAny);

impl<'de: 'a, 'a> Deserialize<'de> for Vocabulary<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Vocabulary<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("a vocabulary")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Vocabulary::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut count = 0;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Vocabulary { count, scored: Vec::new() })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut scored = Vec::new();
                while let Some(Scored(piece, _)) = list.next_element()? {
                    scored.push(piece);
                }
                Ok(Vocabulary { count: scored.len(), scored })
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// How many entries a list has.
#[derive(Default)]
struct Count(usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Count;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("a list")
            }

            fn visit_unit<E>(self) -> Result<Count, E> {
                Ok(Count(0))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Count, A::Error> {
                let mut count = 0;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Count(count))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// The merges, read only where pieces have a prefix.
#[derive(Deserialize)]
struct Merges {
    merges: Vec<Value>,
}

/// The second part of a merge loses the prefix; the library takes it for granted that the part is as long.
fn check_prefix(model: &str, prefix: &str) -> Result<(), String> {
    let Ok(Merges { merges }) = serde_json::from_str(model) else { return Ok(()) };
    for (at, merge) in merges.iter().enumerate() {
        let second = match merge {
            Value::String(both) => both.split_once(' ').map(|(_, second)| second),
            both => both[1].as_str(),
        };
        if let Some(second) = second.filter(|second| !second.is_char_boundary(prefix.len())) {
            return Err(format!(
                "merges[{at}]: expected a second part that begins with {prefix:?}, found {second:?}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_that_end_the_library_are_refused() {
        let long = "x".repeat(300);
        let cases: [(String, String); 5] = [
            (
                r#"{"vocab": {"a": 0}, "merges": ["a b", "ab ab"], "continuing_subword_prefix": "@@@"}"#
                    .into(),
                r#"merges[0]: expected a second part that begins with "@@@", found "b""#.to_owned(),
            ),
            (
                r#"{"merges": [["a", "é"]], "continuing_subword_prefix": "@"}"#.into(),
                r#"merges[0]: expected a second part that begins with "@", found "é""#.to_owned(),
            ),
            (
                format!(r#"{{"vocab": [["a", 0], ["{long}", -1.5]]}}"#),
                "vocab: expected pieces of at most 256 bytes, found 300".to_owned(),
            ),
            (
                format!(r#"{{"end_of_word_suffix": "{long}"}}"#),
                "end_of_word_suffix: expected at most 64 bytes, found 300".to_owned(),
            ),
            (
                r#"{"max_input_chars_per_word": 1000000}"#.into(),
                "max_input_chars_per_word: expected at most 256, found 1000000".to_owned(),
            ),
        ];
        for (model, expected) in cases {
            assert_eq!(check(&model).expect_err(&model), expected);
        }
    }

    #[test]
    fn usual_models_are_passed() {
        for model in [
            r#"{"vocab": {"a": 0}, "merges": [["a", "@@b"]], "continuing_subword_prefix": "@@"}"#,
            r#"{"vocab": {"a": 0}, "merges": ["a b"], "continuing_subword_prefix": ""}"#,
            r#"{"vocab": [["\u2581a", -3.5]], "unk_id": 0, "merges": null}"#,
        ] {
            assert_eq!(check(model), Ok(()), "{model}");
        }
    }

    #[test]
    fn the_nodes_of_a_tree_are_counted_once() {
        let mut vocabulary = Vocabulary { count: 2, scored: vec!["abc".into(), "abd".into(), "abc".into()] };
        assert_eq!(vocabulary.nodes(), 4);
    }
}

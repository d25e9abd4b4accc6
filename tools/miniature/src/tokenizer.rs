//! Builds the miniature's tokenizer: byte-level BPE in CLIP's manner, in which every word of the grammar is one
//! token and every other text falls apart into known pieces.

use crate::captions;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// CLIP's begin-of-text token.
pub const START: &str = "<|startoftext|>";
/// CLIP's end-of-text token; the text embedding is read off at its place.
pub const END: &str = "<|endoftext|>";

/// Vocabulary and merges.
pub struct Bpe {
    /// Pieces in the order of their ids.
    pub pieces: Vec<String>,
    /// Pairs in the order in which they are merged.
    pub merges: Vec<(String, String)>,
}

/// The stand-in for each byte, as in GPT-2 and CLIP: printable characters stand for themselves.
fn byte_letters() -> Vec<char> {
    let printable = |byte: u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let mut next = 256;
    let mut letters = Vec::new();
    for byte in 0..256_u32 {
        let code = if printable(byte) {
            byte
        } else {
            next += 1;
            next - 1
        };
        letters.push(char::from_u32(code).unwrap_or(' '));
    }
    letters
}

impl Bpe {
    /// Merges the most frequent pair (the first in the alphabet among equals) until every word is one piece.
    pub fn from_words(words: &[String]) -> Self {
        let letters = byte_letters();
        let mut pieces: Vec<String> = letters.iter().map(char::to_string).collect();
        pieces.extend(letters.iter().map(|letter| format!("{letter}</w>")));
        let mut split: Vec<Vec<String>> = words.iter().map(|word| split_word(word)).collect();
        let mut merges = Vec::new();
        while let Some(pair) = most_frequent_pair(&split) {
            split.iter_mut().for_each(|word| merge(word, &pair));
            let joined = format!("{}{}", pair.0, pair.1);
            if !pieces.contains(&joined) {
                pieces.push(joined);
            }
            merges.push(pair);
        }
        pieces.extend([START.to_string(), END.to_string()]);
        Bpe { pieces, merges }
    }

    /// The tokenizer of the captions' grammar.
    pub fn of_the_grammar() -> Self {
        Bpe::from_words(&captions::vocabulary())
    }

    /// The number of ids.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// The contents of `tokenizer.json`.
    pub fn tokenizer_json(&self) -> Value {
        let (start, end) = (self.len() - 2, self.len() - 1);
        let special = |id: usize, content: &str| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        };
        let words = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
        json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": [special(start, START), special(end, END)],
            "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "NFC"},
                {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
                {"type": "Lowercase"}]},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": words}, "behavior": "Removed", "invert": true},
                {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]},
            "post_processor": {"type": "RobertaProcessing", "sep": [END, end], "cls": [START, start],
                "trim_offsets": false, "add_prefix_space": false},
            "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
            "model": {"type": "BPE", "dropout": null, "unk_token": END, "continuing_subword_prefix": "",
                "end_of_word_suffix": "</w>", "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": self.vocabulary(),
                "merges": self.merges.iter().map(|(left, right)| json!([left, right])).collect::<Vec<_>>()},
        })
    }

    /// Piece to id.
    pub fn vocabulary(&self) -> BTreeMap<&str, usize> {
        self.pieces.iter().enumerate().map(|(id, piece)| (piece.as_str(), id)).collect()
    }

    /// The contents of `merges.txt`.
    pub fn merges_txt(&self) -> String {
        let lines = self.merges.iter().map(|(left, right)| format!("{left} {right}\n"));
        std::iter::once("#version: 0.2\n".to_string()).chain(lines).collect()
    }
}

fn split_word(word: &str) -> Vec<String> {
    let mut symbols: Vec<String> = word.chars().map(|letter| letter.to_string()).collect();
    if let Some(last) = symbols.last_mut() {
        last.push_str("</w>");
    }
    symbols
}

fn most_frequent_pair(words: &[Vec<String>]) -> Option<(String, String)> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for pair in words.iter().flat_map(|word| word.windows(2)) {
        *counts.entry((&pair[0], &pair[1])).or_default() += 1;
    }
    let most = counts.values().copied().max()?;
    let (left, right) = counts.into_iter().find(|&(_, count)| count == most)?.0;
    Some((left.to_string(), right.to_string()))
}

fn merge(word: &mut Vec<String>, pair: &(String, String)) {
    let mut merged: Vec<String> = Vec::with_capacity(word.len());
    for symbol in word.drain(..) {
        match merged.last_mut() {
            Some(last) if *last == pair.0 && symbol == pair.1 => last.push_str(&symbol),
            _ => merged.push(symbol),
        }
    }
    *word = merged;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkpoint_that_ships_lists_the_words_of_the_grammar() {
        let config: Value =
            serde_json::from_str(include_str!("../../../weights/miniature/config.json")).unwrap();
        assert_eq!(config["fieldmark"]["vocabulary"], json!(captions::vocabulary()));
    }

    #[test]
    fn every_word_of_the_grammar_is_one_token_and_others_fall_into_pieces() {
        let bpe = Bpe::of_the_grammar();
        let json = bpe.tokenizer_json().to_string();
        let tokenizer = tokenizers::Tokenizer::from_bytes(json.as_bytes()).unwrap();
        for word in captions::vocabulary() {
            let ids = tokenizer.encode(word.as_str(), true).unwrap().get_ids().to_vec();
            assert_eq!(ids.len(), 3, "{word} became {ids:?}");
        }
        let unknown = tokenizer.encode("Zebra ünïcode 42", true).unwrap();
        assert!(unknown.get_ids().len() > 8);
        assert_eq!(unknown.get_ids().last(), Some(&((bpe.len() - 1) as u32)));
    }
}

//! What the rules of a `tokenizer.json` claim is checked before the tokenizers library sees it: there a wrong claim is
//! a panic, takes all memory, or ends the process.

use serde_json::{Map, Value};

use super::pattern::{LONGEST, Pattern, Source};

/// How deep rules may be nested.
const DEEPEST: usize = 16;
/// The most values in one set of rules; a normalizer has some ten.
const MOST_VALUES: usize = 20_000;
/// The most patterns in one set of rules.
const MOST_PATTERNS: usize = 64;
/// How often templates may repeat a text.
const MOST_REPEATS: usize = 8;
/// The most special tokens around a text.
const MOST_SPECIAL: usize = 1024;
/// The longest replacement in SentencePiece's table; the longest of Unicode has 33 bytes.
const LONGEST_ENTRY: usize = 256;

/// Checks a set of rules: a normalizer, what splits words, or what puts special tokens around a text.
///
/// # Errors
/// The field, what was expected and what was found.
pub(super) fn check(field: &str, rules: &Value) -> Result<(), String> {
    let mut counts = Counts { repeats: 1, ..Counts::default() };
    counts.walk(rules, 0).map_err(|reason| format!("{field}: {reason}"))
}

#[derive(Default)]
struct Counts {
    values: usize,
    patterns: usize,
    repeats: usize,
    special: usize,
}

impl Counts {
    fn walk(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        self.values += 1;
        if depth > 2 * DEEPEST {
            return Err(format!("nested more than {DEEPEST} levels deep"));
        }
        if self.values > MOST_VALUES {
            return Err(format!("expected at most {MOST_VALUES} values, found more"));
        }
        match value {
            Value::Array(values) => values.iter().try_for_each(|value| self.walk(value, depth + 1)),
            Value::Object(fields) => {
                self.rule(fields)?;
                fields.iter().try_for_each(|(name, value)| {
                    self.text(name, value)?;
                    self.walk(value, depth + 1)
                })
            }
            _ => Ok(()),
        }
    }

    /// A text in the field `name`.
    fn text(&mut self, name: &str, value: &Value) -> Result<(), String> {
        let Value::String(text) = value else { return Ok(()) };
        match name {
            "Regex" => {
                self.patterns += 1;
                if self.patterns > MOST_PATTERNS {
                    return Err(format!("expected at most {MOST_PATTERNS} patterns, found more"));
                }
                Pattern::new(&Source::Regex(text.clone()), false).map(drop)
            }
            "precompiled_charsmap" => table(text).map_err(|reason| format!("{name}: {reason}")),
            _ if text.len() > LONGEST => {
                Err(format!("{name}: expected at most {LONGEST} bytes, found {}", text.len()))
            }
            _ => Ok(()),
        }
    }

    /// One rule of a kind whose claims have to fit each other.
    fn rule(&mut self, fields: &Map<String, Value>) -> Result<(), String> {
        match fields.get("type").and_then(Value::as_str) {
            Some("FixedLength") if fields.get("length").and_then(Value::as_u64) == Some(0) => {
                Err("length: expected at least 1, found 0".into())
            }
            _ if fields.contains_key("single") => self.template(fields),
            _ => Ok(()),
        }
    }

    /// What puts special tokens around a text; `pair` is for two texts, and not used.
    fn template(&mut self, fields: &Map<String, Value>) -> Result<(), String> {
        let known = fields.get("special_tokens").and_then(Value::as_object);
        let mut texts = 0;
        for piece in fields.get("single").and_then(Value::as_array).into_iter().flatten() {
            if let Some(id) = piece["SpecialToken"]["id"].as_str() {
                let token = known.and_then(|known| known.get(id));
                let token = token.ok_or_else(|| format!("token {id:?} is not one of its special_tokens"))?;
                self.special += token["ids"].as_array().map_or(0, Vec::len);
            }
            match piece["Sequence"]["id"].as_str() {
                Some("A") => texts += 1,
                Some(other) => return Err(format!("single: expected the text A, found {other:?}")),
                None => {}
            }
        }
        self.repeats = self.repeats.saturating_mul(texts.max(1));
        if self.repeats > MOST_REPEATS {
            return Err(format!("single: expected a text at most {MOST_REPEATS} times, found it more often"));
        }
        if self.special > MOST_SPECIAL {
            return Err(format!("expected at most {MOST_SPECIAL} special tokens around a text, found more"));
        }
        Ok(())
    }
}

/// SentencePiece's table: the size of a trie, the trie, and replacements that end in a null.
fn table(text: &str) -> Result<(), String> {
    use base64::Engine;
    let bytes =
        base64::engine::general_purpose::STANDARD.decode(text).map_err(|source| source.to_string())?;
    let (size, rest) = bytes
        .split_first_chunk()
        .ok_or_else(|| format!("expected at least 4 bytes, found {}", bytes.len()))?;
    let size = u32::from_le_bytes(*size) as usize;
    if size == 0 || !size.is_multiple_of(4) || size > rest.len() {
        return Err(format!("expected a trie of 4 to {} bytes, found one of {size}", rest.len()));
    }
    let longest = rest[size..].split(|byte| *byte == 0).map(<[u8]>::len).max().unwrap_or(0);
    if longest > LONGEST_ENTRY {
        return Err(format!(
            "expected replacements of at most {LONGEST_ENTRY} bytes, found one of {longest}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(rules: &str) -> String {
        check("rules", &serde_json::from_str(rules).expect("JSON")).expect_err(rules)
    }

    #[test]
    fn claims_that_end_the_library_are_refused() {
        let cases = [
            (r#"{"type": "FixedLength", "length": 0}"#, "rules: length: expected at least 1, found 0"),
            (
                r#"{"type": "Precompiled", "precompiled_charsmap": "AAAA"}"#,
                "rules: precompiled_charsmap: expected at least 4 bytes, found 3",
            ),
            (
                r#"{"type": "Precompiled", "precompiled_charsmap": "/P///wAAAAA="}"#,
                "rules: precompiled_charsmap: expected a trie of 4 to 4 bytes, found one of 4294967292",
            ),
            (
                r#"{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "</s>", "type_id": 0}}],
                    "pair": [], "special_tokens": {}}"#,
                r#"rules: token "</s>" is not one of its special_tokens"#,
            ),
            (
                r#"{"single": [{"Sequence": {"id": "B", "type_id": 0}}]}"#,
                r#"rules: single: expected the text A, found "B""#,
            ),
        ];
        for (rules, expected) in cases {
            assert_eq!(reason(rules), expected);
        }
    }

    #[test]
    fn rules_that_multiply_are_refused() {
        let nested = |depth: usize| {
            let (open, close) = (r#"{"normalizers": ["#.repeat(depth), "]}".repeat(depth));
            format!("{open}{close}")
        };
        assert!(check("rules", &serde_json::from_str(&nested(10)).expect("JSON")).is_ok());
        assert!(reason(&nested(30)).contains("nested more than 16 levels deep"));
        let text = r#"{"Sequence": {"id": "A", "type_id": 0}}"#;
        let template = format!(r#"{{"single": [{text}, {text}]}}"#);
        assert!(reason(&format!("[{}]", [template.as_str(); 4].join(","))).contains("at most 8 times"));
        assert!(reason(&format!("[{}]", vec!["0"; MOST_VALUES].join(","))).contains("20000 values"));
        let patterns = format!("[{}]", vec![r#"{"Regex": "a"}"#; MOST_PATTERNS + 1].join(","));
        assert!(reason(&patterns).contains("at most 64 patterns"));
        assert!(reason(&format!(r#"{{"content": "{}"}}"#, "x".repeat(5000))).contains("at most 4096 bytes"));
    }
}

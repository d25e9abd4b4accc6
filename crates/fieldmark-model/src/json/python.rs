//! The JSON of a checkpoint's files, as Python's `json` writes and reads it: `NaN`, `Infinity` and `-Infinity` are
//! numbers there, and so is a number beyond the largest one (`1e999`).
//!
//! JSON itself has none of them. A field that nobody reads may hold one; where a field is read, [`shown`] names it in
//! the error as the file does.

use serde_json::{Error, Value};

/// Stands before the name of such a number in the text that takes its place: a character for private use, which no
/// checkpoint has in its texts.
const MARK: char = '\u{f8ff}';

/// The names, the longest first where one begins with another.
const NAMES: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// Parses a file. Numbers that JSON does not have become texts that no field accepts.
///
/// # Errors
/// What is wrong with the text.
pub fn parse(bytes: &[u8]) -> Result<Value, Error> {
    let strict = serde_json::from_slice(bytes);
    match strict {
        Ok(value) => Ok(value),
        Err(error) => match replaced(bytes, |name| format!("\"{MARK}{name}\"")) {
            Some(changed) => serde_json::from_slice(&changed),
            None => Err(error),
        },
    }
}

/// Parses JSON. Numbers that JSON does not have are read as `null`.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_with_nulls(bytes: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(bytes).or_else(|error| match replaced(bytes, |_| "null".into()) {
        Some(changed) => serde_json::from_slice(&changed),
        None => Err(error),
    })
}

/// A text field's value; none for a number that JSON does not have.
pub fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.starts_with(MARK))
}

/// A value as written in its file, for errors.
pub fn shown(found: &str) -> String {
    if !found.contains(MARK) {
        return found.to_owned();
    }
    let quoted = |text: &str, name: &str| text.replace(&format!("\"{MARK}{name}\""), name);
    NAMES.iter().fold(found.to_owned(), |text, name| quoted(&text, name)).replace(MARK, "")
}

/// The text with something else in the place of numbers that JSON does not have; none if it has no such numbers.
fn replaced(bytes: &[u8], replacement: impl Fn(&str) -> String) -> Option<Vec<u8>> {
    let mut changed = Vec::with_capacity(bytes.len() + 64);
    let mut at = 0;
    let mut any = false;
    while let Some(first) = bytes.get(at) {
        let length = if *first == b'"' { string_length(&bytes[at..]) } else { word_length(&bytes[at..]) };
        let token = &bytes[at..at + length];
        match number_without_json(token) {
            Some(name) => {
                changed.extend(replacement(name).bytes());
                any = true;
            }
            None => changed.extend_from_slice(token),
        }
        at += length;
    }
    any.then_some(changed)
}

/// The bytes of a string at the start, its quotes included; all that is left if it does not end.
fn string_length(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// The bytes up to the next sign, space or string, at least one.
fn word_length(text: &[u8]) -> usize {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
    text.iter().take_while(|byte| is_part(byte)).count().max(1)
}

/// The name of a number that JSON does not have.
fn number_without_json(token: &[u8]) -> Option<&'static str> {
    if let Some(name) = NAMES.iter().find(|name| name.as_bytes() == token) {
        return Some(name);
    }
    let is_number = token.iter().any(u8::is_ascii_digit)
        && token.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E'));
    let number: f64 = std::str::from_utf8(token).ok().filter(|_| is_number)?.parse().ok()?;
    match number {
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_python_are_read_and_shown_as_they_are() {
        let text = br#"{"a": NaN, "b": [Infinity, -Infinity,1e999, -1E999], "c": "NaN, \"Infinity", "d": 1}"#;
        let value = parse(text).unwrap();
        assert_eq!(value["c"], "NaN, \"Infinity");
        assert_eq!(value["d"], 1);
        assert_eq!(text_of(&value["a"]), "NaN");
        assert_eq!(text_of(&value["b"]), "[Infinity,-Infinity,Infinity,-Infinity]");
        assert_eq!((super::text(&value["a"]), super::text(&value["c"])), (None, Some("NaN, \"Infinity")));
        assert_eq!(value["a"].as_f64(), None);
    }

    #[test]
    fn numbers_of_python_are_null_where_that_is_asked_for() {
        let read = |text: &str| parse_with_nulls(text.as_bytes()).map_err(|error| error.to_string());
        let expected = serde_json::json!({"a": [null, null, -1], "NaN \\\" NaN": null});
        assert_eq!(read(r#"{"a": [NaN, -Infinity, -1], "NaN \\\" NaN": Infinity}"#), Ok(expected));
        assert!(read("[nan]").is_err() && read("[NaNa]").is_err());
    }

    fn text_of(value: &Value) -> String {
        shown(&value.to_string())
    }

    #[test]
    fn what_is_no_json_stays_none() {
        let cases: [&[u8]; 11] = [
            b"",
            b"{",
            b"{\"a\": nan}",
            b"{\"a\": NaNs}",
            b"{\"a\": +Infinity}",
            b"{NaN: 1}x",
            b"[Infinity",
            b"\"NaN",
            b"\"\\",
            b"[NaN,]",
            b"\xff",
        ];
        for text in cases {
            assert!(parse(text).is_err(), "{text:?}");
        }
        // A key must be a text, and the number that became one is no key of Python's either.
        assert_eq!(shown("plain"), "plain");
    }
}

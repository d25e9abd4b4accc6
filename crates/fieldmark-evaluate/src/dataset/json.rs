//! JSON becomes the fields that a layout asks for, and a file of any length its items one at a time.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::lines::{cut, open};
use fieldmark_model::{
    error::{Error, Result},
    json::{Object, Origin, parse_with_nulls},
};

/// The longest item that is read, in bytes.
const LONGEST_ITEM: usize = 4 << 20;

/// What errors are where the file and the item are known to the caller alone: a reason.
#[derive(Clone, Copy)]
struct Reason;

impl Origin for Reason {
    type Error = String;

    fn error(&self, reason: String) -> String {
        reason
    }

    fn name(&self, key: &str) -> String {
        format!("{key:?}")
    }
}

/// An object's fields; `null` counts as left out.
pub(super) struct Fields<'a>(Object<'a, Reason>);

impl<'a> Fields<'a> {
    pub(super) fn of(value: &'a Value) -> Result<Self, String> {
        Object::of(value, Reason).map(Self)
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name)
    }

    pub(super) fn required(&self, name: &str) -> Result<&'a Value, String> {
        self.0.required(name)
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<String>, String> {
        self.0.read(name, "a text", |value| {
            Some(value.as_str().filter(|text| !text.trim().is_empty())?.to_owned())
        })
    }

    pub(super) fn required_text(&self, name: &str) -> Result<String, String> {
        self.text(name)?.ok_or_else(|| self.0.error(name, "a text", "nothing"))
    }

    /// A text or a number as text: names are often numbers.
    pub(super) fn name(&self, name: &str) -> Result<Option<String>, String> {
        match self.get(name) {
            Some(Value::Number(number)) => Ok(Some(whole(number).unwrap_or_else(|| number.to_string()))),
            _ => self.text(name),
        }
    }

    pub(super) fn numbers<const N: usize>(&self, name: &str, form: &str) -> Result<[f64; N], String> {
        let value = self.get(name).unwrap_or(&Value::Null);
        let list = numbers(value).and_then(|list| list.try_into().ok());
        list.ok_or_else(|| self.0.error(name, form, value))
    }
}

/// A number that is whole, though it may be written as `1.0`.
fn whole(number: &serde_json::Number) -> Option<String> {
    let value = number.as_f64().filter(|value| number.is_f64() && value.fract() == 0.0)?;
    (value.abs() < 2_f64.powi(53)).then(|| format!("{value:.0}"))
}

/// A list of numbers, if it is one.
pub(super) fn numbers(value: &Value) -> Option<Vec<f64>> {
    value.as_array()?.iter().map(Value::as_f64).collect()
}

/// What to say of a value that is not the expected one.
pub(super) fn wrong(name: &str, expected: &str, found: &Value) -> String {
    format!("{name:?}: expected {expected}, found {}", shown(found))
}

/// A value as JSON, cut to what a message can carry.
pub(super) fn shown(value: &Value) -> String {
    cut(&value.to_string())
}

/// An item of a list in a JSON file.
pub(super) struct Item<'a> {
    /// The field of the file's object that has the list; empty where the file is a list itself.
    pub(super) field: &'a str,
    /// Its place in the list; the first is 1.
    pub(super) number: usize,
    /// Where it begins in the file, in bytes.
    pub(super) offset: u64,
    pub(super) bytes: &'a [u8],
}

impl Item<'_> {
    /// The item's value.
    pub(super) fn value(&self) -> Result<Value, String> {
        value(self.bytes).map_err(|error| format!("expected JSON, found an error: {error}"))
    }
}

/// A value. `NaN`, `Infinity` and `-Infinity`, which Python writes though they are not JSON, are read as `null`.
pub(super) fn value(bytes: &[u8]) -> serde_json::Result<Value> {
    parse_with_nulls(bytes)
}

/// Walks the items of a file that is a JSON list, or an object with lists, of which `fields` names those that are
/// wanted. No more than an item is in memory.
///
/// # Errors
/// [`Error::Read`] if the file cannot be read; [`Error::Dataset`] if it is not such JSON, an item is longer than 4 MiB,
/// or `take` gives a reason.
pub(super) fn for_items(
    path: &Path,
    fields: &[&str],
    take: &mut dyn FnMut(Item<'_>) -> Result<(), String>,
) -> Result<()> {
    let mut scanner = Scanner { path: path.into(), file: open(path)?, offset: 0 };
    match scanner.next_sign()? {
        Some(b'[') => scanner.list("", take),
        Some(b'{') => scanner.object(fields, take),
        _ => Err(scanner.error("expected a JSON list or object")),
    }
}

/// Says what is wrong with an item.
pub(super) fn item_error(path: &Path, field: &str, number: usize, reason: &str) -> Error {
    Error::Dataset { path: path.into(), reason: named(field, number, reason) }
}

/// What is wrong with an item, and which it is.
pub(super) fn named(field: &str, number: usize, reason: &str) -> String {
    let list = if field.is_empty() { String::new() } else { format!("{field:?}, ") };
    format!("{list}item {number}: {reason}")
}

/// Finds the bounds of JSON values without reading what they are. serde_json streams too, but neither says where an item
/// begins, so that it can be read again, nor refuses one that is too long before it is in memory.
struct Scanner {
    path: PathBuf,
    file: BufReader<File>,
    offset: u64,
}

impl Scanner {
    fn error(&self, reason: &str) -> Error {
        Error::Dataset { path: self.path.clone(), reason: format!("byte {}: {reason}", self.offset + 1) }
    }

    /// The next byte, which stays where it is.
    fn peek(&mut self) -> Result<Option<u8>> {
        let path = &self.path;
        let buffer = self.file.fill_buf().map_err(|source| Error::Read { path: path.clone(), source })?;
        Ok(buffer.first().copied())
    }

    fn advance(&mut self) {
        self.file.consume(1);
        self.offset += 1;
    }

    /// The next byte that is not white space, which stays where it is.
    fn next_sign(&mut self) -> Result<Option<u8>> {
        loop {
            match self.peek()? {
                // A byte order mark is no sign of JSON, but some files begin with one.
                Some(0xef | 0xbb | 0xbf) if self.offset < 3 => self.advance(),
                Some(byte) if byte.is_ascii_whitespace() => self.advance(),
                sign => return Ok(sign),
            }
        }
    }

    fn expect(&mut self, sign: u8) -> Result<()> {
        match self.next_sign()? {
            Some(found) if found == sign => {
                self.advance();
                Ok(())
            }
            _ => Err(self.error(&format!("expected {:?} of a JSON file", char::from(sign)))),
        }
    }

    /// After a value: whether another one follows.
    fn another(&mut self, end: u8) -> Result<bool> {
        match self.next_sign()? {
            Some(b',') => {
                self.advance();
                Ok(true)
            }
            _ => self.expect(end).map(|()| false),
        }
    }

    fn object(
        &mut self,
        fields: &[&str],
        take: &mut dyn FnMut(Item<'_>) -> Result<(), String>,
    ) -> Result<()> {
        self.expect(b'{')?;
        let mut another = self.next_sign()? != Some(b'}');
        while another {
            let mut key = Vec::new();
            self.value(Some(&mut key))?;
            let key: String = serde_json::from_slice(&key)
                .map_err(|_| self.error("expected the name of a field before this"))?;
            self.expect(b':')?;
            if fields.contains(&key.as_str()) && self.next_sign()? == Some(b'[') {
                self.list(&key, take)?;
            } else {
                self.value(None)?;
            }
            another = self.another(b'}')?;
        }
        Ok(())
    }

    fn list(&mut self, field: &str, take: &mut dyn FnMut(Item<'_>) -> Result<(), String>) -> Result<()> {
        self.expect(b'[')?;
        if self.next_sign()? == Some(b']') {
            return self.expect(b']');
        }
        let (mut bytes, mut number, mut another) = (Vec::new(), 0, true);
        while another {
            self.next_sign()?;
            let offset = self.offset;
            number += 1;
            bytes.clear();
            self.value(Some(&mut bytes))?;
            take(Item { field, number, offset, bytes: &bytes })
                .map_err(|reason| item_error(&self.path, field, number, &reason))?;
            another = self.another(b']')?;
        }
        Ok(())
    }

    /// Reads over a value, and keeps its bytes if that is asked for.
    fn value(&mut self, mut keep: Option<&mut Vec<u8>>) -> Result<()> {
        self.next_sign()?;
        let (mut depth, mut in_text, mut is_escaped) = (0_usize, false, false);
        loop {
            let Some(byte) = self.peek()? else {
                return Err(self.error("expected the rest of a JSON value, found the end"));
            };
            let ends_before =
                !in_text && depth == 0 && (b",]}:".contains(&byte) || byte.is_ascii_whitespace());
            if ends_before {
                return Ok(());
            }
            self.advance();
            if let Some(bytes) = &mut keep {
                bytes.push(byte);
                if bytes.len() > LONGEST_ITEM {
                    return Err(
                        self.error(&format!("expected at most {LONGEST_ITEM} bytes of one item, found more"))
                    );
                }
            }
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if in_text => is_escaped = true,
                b'"' => in_text = !in_text,
                _ if in_text => {}
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            if !in_text && depth == 0 && b"\"}]".contains(&byte) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str) -> Result<Vec<(String, usize, String)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.json");
        std::fs::write(&path, text).unwrap();
        let mut found = Vec::new();
        for_items(&path, &["", "a", "b"], &mut |item| {
            assert_eq!(&text.as_bytes()[item.offset as usize..][..item.bytes.len()], item.bytes);
            item.value()?;
            found.push((item.field.into(), item.number, String::from_utf8_lossy(item.bytes).into()));
            Ok(())
        })
        .map_err(|error| error.to_string().split_once("list.json: ").unwrap().1.to_owned())?;
        Ok(found)
    }

    #[test]
    fn items_of_wanted_lists_are_found() {
        let text =
            "{\"x\": [1, {\"a\": [2]}], \"a\" : [ {\"n\": \"}],\\\"\"} , [1, 2],3 ], \"b\": [], \"c\": null}";
        let found = items(text).unwrap();
        let expected = ["{\"n\": \"}],\\\"\"}", "[1, 2]", "3"];
        assert_eq!(found.iter().map(|item| item.2.as_str()).collect::<Vec<_>>(), expected);
        assert!(found.iter().all(|item| item.0 == "a") && found[2].1 == 3);
        assert_eq!(items("\u{feff} [true]").unwrap(), [(String::new(), 1, "true".to_owned())]);
        assert_eq!(items("{}").unwrap(), []);
    }

    #[test]
    fn names_may_be_whole_numbers() {
        let names = serde_json::json!({"a": 1.0, "b": 1, "c": "1", "d": 1.5, "e": 1e300});
        let fields = Fields::of(&names).unwrap();
        let name = |field: &str| fields.name(field).unwrap().unwrap();
        assert_eq!(["a", "b", "c", "d", "e"].map(name), ["1", "1", "1", "1.5", &names["e"].to_string()]);
    }

    #[test]
    fn invalid_json_is_reported_with_its_place() {
        let reason = |text: &str| items(text).err().unwrap_or_default();
        assert_eq!(reason("hello"), "byte 1: expected a JSON list or object");
        assert_eq!(reason("[{\"a\": 1"), "byte 9: expected the rest of a JSON value, found the end");
        assert_eq!(reason("{\"a\": [1 2]}"), "byte 10: expected ']' of a JSON file");
        assert_eq!(reason("{3: 1}"), "byte 3: expected the name of a field before this");
        assert!(
            reason("{\"a\": [1, {\"x\" 1}]}").starts_with("\"a\", item 2: expected JSON, found an error")
        );
        assert!(reason("[,]").starts_with("item 1: expected JSON"));
        assert!(reason("]").contains("expected a JSON list"));
        let long = format!("[\"{}\"]", "a".repeat(LONGEST_ITEM));
        assert!(reason(&long).ends_with("expected at most 4194304 bytes of one item, found more"));
    }
}

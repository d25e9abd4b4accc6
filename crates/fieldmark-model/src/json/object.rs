//! One JSON object, read with errors that name its file, the field, what was expected and what was found.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::{parse, shown, text};
use crate::error::{Error, Result as FileResult, cut, one_line};

/// The most characters of a value that a message shows.
const LONGEST: usize = 60;

/// Where an object comes from, and so what its errors are.
pub trait Origin {
    /// What is returned for a value that is not expected.
    type Error;

    /// The error for a reason.
    fn error(&self, reason: String) -> Self::Error;

    /// A field's name as messages show it.
    fn name(&self, key: &str) -> String {
        key.to_owned()
    }
}

/// A checkpoint's configuration: errors are [`Error::Config`].
#[derive(Clone, Copy, Debug)]
pub struct ConfigFile<'a>(pub &'a Path);

/// A tokenizer's settings: errors are [`Error::Tokenizer`].
#[derive(Clone, Copy, Debug)]
pub struct TokenizerFile<'a>(pub &'a Path);

impl Origin for ConfigFile<'_> {
    type Error = Error;

    fn error(&self, reason: String) -> Error {
        Error::Config { path: PathBuf::from(self.0), reason }
    }
}

impl Origin for TokenizerFile<'_> {
    type Error = Error;

    fn error(&self, reason: String) -> Error {
        Error::Tokenizer { path: PathBuf::from(self.0), reason }
    }
}

/// A JSON object whose fields are read one by one; `null` counts as left out.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a, O> {
    origin: O,
    /// What stands before the names of its fields in messages, `vision_config.` for instance.
    prefix: &'static str,
    values: &'a Map<String, Value>,
}

impl<'a, O: Origin> Object<'a, O> {
    /// The outermost object of a file.
    pub fn new(values: &'a Map<String, Value>, origin: O) -> Self {
        Self { origin, prefix: "", values }
    }

    /// A value, if it is an object.
    ///
    /// # Errors
    /// The origin's, if it is something else.
    pub fn of(value: &'a Value, origin: O) -> Result<Self, O::Error> {
        match value {
            Value::Object(values) => Ok(Self::new(values, origin)),
            other => Err(origin.error(not_an_object(other))),
        }
    }

    /// An object inside this one, with what stands before the names of its fields: `vision_config.` for instance.
    pub fn inner<'b>(&self, values: &'b Map<String, Value>, prefix: &'static str) -> Object<'b, O>
    where
        O: Copy,
    {
        Object { origin: self.origin, prefix, values }
    }

    /// This object with other fields.
    pub fn with_values<'b>(&self, values: &'b Map<String, Value>) -> Object<'b, O>
    where
        O: Copy,
    {
        self.inner(values, self.prefix)
    }

    /// All of its fields.
    pub fn values(&self) -> &'a Map<String, Value> {
        self.values
    }

    /// What to say of a field whose value is not the expected one.
    pub fn error(&self, key: &str, expected: impl Display, found: impl Display) -> O::Error {
        let name = self.origin.name(&format!("{}{key}", self.prefix));
        let found = cut(&one_line(&shown(&found.to_string())), LONGEST);
        self.origin.error(format!("{}: expected {expected}, found {found}", one_line(&name)))
    }

    /// A field's value, unless it is missing or null.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    /// A field's value.
    ///
    /// # Errors
    /// The origin's, if it is missing or null.
    pub fn required(&self, key: &str) -> Result<&'a Value, O::Error> {
        self.get(key).ok_or_else(|| self.error(key, "a value", "nothing"))
    }

    /// A field's value through `read`, which gives `None` for what is not `expected`.
    ///
    /// # Errors
    /// The origin's, if it exists and is not what was expected.
    pub fn read<T>(
        &self,
        key: &str,
        expected: impl Display,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, O::Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.error(key, expected, value))
    }

    /// A boolean.
    ///
    /// # Errors
    /// As [`Object::read`].
    pub fn flag(&self, key: &str) -> Result<Option<bool>, O::Error> {
        self.read(key, "true or false", Value::as_bool)
    }

    /// A text.
    ///
    /// # Errors
    /// As [`Object::read`].
    pub fn text(&self, key: &str) -> Result<Option<&'a str>, O::Error> {
        self.read(key, "a text", text)
    }

    /// A number.
    ///
    /// # Errors
    /// As [`Object::read`].
    pub fn number(&self, key: &str) -> Result<Option<f64>, O::Error> {
        self.read(key, "a number", Value::as_f64)
    }

    /// The fields of an object in this one.
    ///
    /// # Errors
    /// As [`Object::read`].
    pub fn object(&self, key: &str) -> Result<Option<&'a Map<String, Value>>, O::Error> {
        self.read(key, "an object", Value::as_object)
    }
}

/// The object that a file's bytes hold.
///
/// # Errors
/// The origin's, if they are no JSON or something else.
pub(crate) fn parse_object<O: Origin>(bytes: &[u8], origin: &O) -> Result<Map<String, Value>, O::Error> {
    match parse(bytes) {
        Ok(Value::Object(values)) => Ok(values),
        Ok(other) => Err(origin.error(not_an_object(&other))),
        Err(source) => Err(origin.error(format!("not valid JSON: {source}"))),
    }
}

/// The object that a file holds, if the file exists.
///
/// # Errors
/// As [`parse_object`], and if `read` fails.
pub(crate) fn read_object<O: Origin<Error = Error>>(
    path: &Path,
    origin: &O,
    read: impl FnOnce(&Path) -> FileResult<Vec<u8>>,
) -> FileResult<Option<Map<String, Value>>> {
    if !path.exists() {
        return Ok(None);
    }
    parse_object(&read(path)?, origin).map(Some)
}

fn not_an_object(found: &Value) -> String {
    format!("expected a JSON object, found {}", cut(&one_line(&shown(&found.to_string())), LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str, ask: impl Fn(&Object<'_, ConfigFile<'_>>) -> FileResult<()>) -> String {
        let value = parse(text.as_bytes()).unwrap();
        let origin = ConfigFile(Path::new("a.json"));
        let asked = Object::of(&value, origin).and_then(|object| ask(&object));
        asked.map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn errors_name_the_file_the_field_and_what_was_found() {
        let flag = |object: &Object<'_, ConfigFile<'_>>| object.flag("a").map(drop);
        assert_eq!(reason(r#"{"a": 1}"#, flag), "a.json: a: expected true or false, found 1");
        assert_eq!(reason(r#"{"a": NaN}"#, flag), "a.json: a: expected true or false, found NaN");
        assert_eq!(reason(r#"{"a": null}"#, flag), "");
        assert_eq!(
            reason("{}", |object| object.required("a").map(drop)),
            "a.json: a: expected a value, found nothing"
        );
        assert_eq!(reason("[1, 2]", |_| Ok(())), "a.json: expected a JSON object, found [1,2]");
    }

    #[test]
    fn what_is_found_is_cut_and_stays_one_line() {
        let long = format!("{{\"a\": \"{}\"}}", "ä".repeat(100));
        let found = reason(&long, |object| object.number("a").map(drop));
        assert_eq!(found, format!("a.json: a: expected a number, found \"{}...", "ä".repeat(59)));
        let found = reason("{\"a\": \"\u{9b}\"}", |object| object.number("a").map(drop));
        assert_eq!(found, "a.json: a: expected a number, found \"\\u{9b}\"");
    }

    #[test]
    fn a_field_inside_another_object_is_named_with_it() {
        let value = serde_json::json!({"b": []});
        let empty = Map::new();
        let outer = Object::new(&empty, TokenizerFile(Path::new("t.json")));
        let inner = outer.inner(value.as_object().unwrap(), "a.");
        assert_eq!(inner.object("b").unwrap_err().to_string(), "t.json: a.b: expected an object, found []");
        assert_eq!(inner.text("c").unwrap(), None);
    }
}

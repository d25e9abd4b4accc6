//! A JSON-lines manifest becomes pictures with questions.
//!
//! Every line is an object:
//!
//! | field | |
//! |---|---|
//! | `image` | the picture's path |
//! | `prompt` | the concept that is asked about |
//! | `against` | its rivals, a list of prompts; none if it is left out |
//! | `mask` | path of a PNG of the upright photo's size, not zero where the concept is |
//! | `box` | or: `[x, y, width, height]` around it |
//! | `point` | or: `[x, y]` on it |
//! | `present` | `false`: the concept is not in the picture; then there is no mask, box or point. `true` if left out |
//! | `part` | a label of what is pointed at; free |
//! | `id` | a name for the line; free |
//!
//! Positions are pixels of the upright photo, from its outer top left corner. A field that is `null` counts as left out,
//! other fields are ignored, blank lines are skipped. Paths are relative to the manifest's folder. They may lead out
//! of it and may be absolute: the manifest belongs to the user as much as the command line, and what it names is
//! only read, as pictures.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{
    Picture, QUESTIONS_A_PASS, Question, Source, Truth, Walk,
    json::{Fields, wrong},
    lines::{Line, Lines},
    wording::Concepts,
};
use fieldmark_explain::prompt::same_words;
use fieldmark_model::{
    error::{Error, Result},
    geometry::Rect,
};

/// The manifest's name in a data set's directory.
pub const FILE_NAME: &str = "manifest.jsonl";

/// A manifest whose lines are all sound. It is read anew for every walk, so its length costs no memory.
#[derive(Clone, Debug)]
pub struct Manifest {
    path: PathBuf,
    passes: usize,
}

impl Manifest {
    /// Opens a data set: a directory with a [`FILE_NAME`] in it, or such a file itself; and checks every line.
    /// Pictures and masks are not opened.
    ///
    /// # Errors
    /// [`Error::Read`] if the file cannot be read; [`Error::Dataset`] if it has no line, or names the line, the
    /// field, what was expected and what was found.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let path = if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() };
        let unread = Self { path, passes: 0 };
        let mut passes = 0;
        for picture in unread.pictures()? {
            picture?;
            passes += 1;
        }
        match passes {
            0 => Err(unread.error("expected a JSON object a line, found no line".into())),
            _ => Ok(Self { passes, ..unread }),
        }
    }

    /// The manifest's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many pictures [`pictures`](Self::pictures) yields.
    pub fn passes(&self) -> usize {
        self.passes
    }

    /// The pictures in the manifest's order. Successive lines about the same picture are put together, 64 at most.
    ///
    /// # Errors
    /// [`Error::Read`] if the file cannot be opened; [`Error::Dataset`] if it is not a regular file.
    pub fn pictures(&self) -> Result<Pictures<'_>> {
        Ok(Pictures { manifest: self, lines: Lines::open(&self.path)?, ahead: None, ended: false })
    }

    fn error(&self, reason: String) -> Error {
        Error::Dataset { path: self.path.clone(), reason }
    }

    fn resolve(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }
}

/// The pictures of a manifest, one after another. Ends after the first error.
pub struct Pictures<'a> {
    manifest: &'a Manifest,
    lines: Lines,
    /// A line that was read, but belongs to the next picture.
    ahead: Option<Entry>,
    ended: bool,
}

/// One line: a question and the picture that it is about.
struct Entry {
    image: String,
    question: Question,
}

impl Iterator for Pictures<'_> {
    type Item = Result<Picture>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let picture = self.picture();
        self.ended = !matches!(picture, Ok(Some(_)));
        picture.transpose()
    }
}

impl Pictures<'_> {
    fn picture(&mut self) -> Result<Option<Picture>> {
        let first = match self.ahead.take() {
            Some(entry) => Some(entry),
            None => self.entry()?,
        };
        let Some(Entry { image: name, question }) = first else { return Ok(None) };
        let mut questions = vec![question];
        while let Some(entry) = self.entry()? {
            if entry.image != name || questions.len() == QUESTIONS_A_PASS {
                self.ahead = Some(entry);
                break;
            }
            questions.push(entry.question);
        }
        Ok(Some(Picture { path: self.manifest.resolve(&name), name, questions }))
    }

    fn entry(&mut self) -> Result<Option<Entry>> {
        let resolve = |path: &str| self.manifest.resolve(path);
        self.lines.next()?.map(|line| parse(&line, &resolve).map_err(|reason| line.error(reason))).transpose()
    }
}

impl Source for Manifest {
    fn path(&self) -> &Path {
        self.path()
    }

    fn concepts(&self) -> Option<&Concepts> {
        None
    }

    fn pictures(&self) -> Result<Walk<'_>> {
        Ok(Box::new(self.pictures()?))
    }
}

/// Reads one line; an error says what is wrong with which field.
fn parse(line: &Line<'_>, resolve: &dyn Fn(&str) -> PathBuf) -> Result<Entry, String> {
    let value: Value = serde_json::from_slice(line.bytes)
        .map_err(|error| format!("expected a JSON object, found broken JSON at column {}", error.column()))?;
    let fields = Entries(Fields::of(&value)?);
    let question = Question {
        line: line.number,
        id: fields.0.name("id")?,
        prompt: fields.0.required_text("prompt")?,
        label: None,
        against: fields.against()?,
        part: fields.0.text("part")?,
        truth: fields.truth(resolve)?,
    };
    if let Some(same) = question.against.iter().find(|rival| same_words(rival, &question.prompt)) {
        return Err(format!("\"against\": expected rivals of the prompt, found the prompt itself, {same:?}"));
    }
    Ok(Entry { image: fields.0.required_text("image")?, question })
}

/// Reads a line's fields.
struct Entries<'a>(Fields<'a>);

impl Entries<'_> {
    fn against(&self) -> Result<Vec<String>, String> {
        let Some(value) = self.0.get("against") else { return Ok(Vec::new()) };
        let text = |rival: &Value| rival.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned);
        let rivals: Option<Vec<_>> = value.as_array().and_then(|list| list.iter().map(text).collect());
        rivals.ok_or_else(|| wrong("against", "a list of texts", value))
    }

    fn truth(&self, resolve: &dyn Fn(&str) -> PathBuf) -> Result<Truth, String> {
        let given: Vec<&str> =
            ["mask", "box", "point"].into_iter().filter(|name| self.0.get(name).is_some()).collect();
        match (self.present()?, given.as_slice()) {
            (false, []) => Ok(Truth::Absent),
            (false, [name, ..]) => {
                Err(format!("{name:?}: expected nothing where \"present\" is false, found a place"))
            }
            (true, ["mask"]) => Ok(Truth::Mask(resolve(&self.0.required_text("mask")?))),
            (true, ["box"]) => self.area(),
            (true, ["point"]) => {
                let [x, y] = self.0.numbers("point", "[x, y]")?;
                Ok(Truth::Point { x, y })
            }
            (true, []) => Err("expected one of \"mask\", \"box\" and \"point\", found none".into()),
            (true, several) => Err(format!(
                "expected one of \"mask\", \"box\" and \"point\", found {}",
                several.join(" and ")
            )),
        }
    }

    fn present(&self) -> Result<bool, String> {
        let flag = |value: &Value| value.as_bool().ok_or_else(|| wrong("present", "true or false", value));
        self.0.get("present").map_or(Ok(true), flag)
    }

    fn area(&self) -> Result<Truth, String> {
        let [x, y, width, height] = self.0.numbers("box", "[x, y, width, height]")?;
        let area = Rect { x0: x, y0: y, x1: x + width, y1: y + height };
        if width > 0.0 && height > 0.0 && area.x1.is_finite() && area.y1.is_finite() {
            Ok(Truth::Box(area))
        } else {
            Err(format!("\"box\": expected a width and a height above 0, found {width} x {height}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(line: &str) -> Result<Entry, String> {
        parse(&Line::of(line, 7), &|path| Path::new("set").join(path))
    }

    fn reason(line: &str) -> String {
        entry(line).map(|entry| entry.image).expect_err("the line is bad")
    }

    #[test]
    fn a_full_line_is_read() {
        let entry = entry(
            r#"{"image": "a.png", "prompt": "red wing", "against": ["blue wing"], "mask": "../m.png",
                "part": "wing", "id": 12, "colour": [1, 2]}"#,
        );
        let Ok(Entry { image, question }) = entry else { panic!("the line is good") };
        assert_eq!(image, "a.png");
        assert_eq!(question.truth, Truth::Mask("set/../m.png".into()));
        assert_eq!((question.id.as_deref(), question.part.as_deref()), (Some("12"), Some("wing")));
        assert_eq!((question.line, question.against), (7, vec!["blue wing".to_owned()]));
    }

    #[test]
    fn places_are_read() {
        let truth = |rest: &str| {
            entry(&format!(r#"{{"image": "a.png", "prompt": "p", {rest}}}"#))
                .map(|entry| entry.question.truth)
        };
        let area = Rect { x0: 1.0, y0: 2.0, x1: 4.0, y1: 6.5 };
        assert_eq!(truth(r#""box": [1, 2, 3, 4.5], "mask": null"#), Ok(Truth::Box(area)));
        assert_eq!(truth(r#""point": [1.5, 2]"#), Ok(Truth::Point { x: 1.5, y: 2.0 }));
        assert_eq!(truth(r#""present": false"#), Ok(Truth::Absent));
    }

    #[test]
    fn bad_lines_say_which_field_is_wrong() {
        let with = |rest: &str| reason(&format!(r#"{{"image": "a.png", "prompt": "red wing"{rest}}}"#));
        assert_eq!(reason("{"), "expected a JSON object, found broken JSON at column 1");
        assert_eq!(reason("[1]"), "expected a JSON object, found [1]");
        assert_eq!(
            reason(r#"{"image": 3, "prompt": "a", "point": [1, 1]}"#),
            r#""image": expected a text, found 3"#
        );
        assert_eq!(
            reason(r#"{"image": "a.png", "point": [1, 1]}"#),
            r#""prompt": expected a text, found nothing"#
        );
        assert_eq!(with(""), r#"expected one of "mask", "box" and "point", found none"#);
        assert_eq!(
            with(r#", "point": [1, 1], "mask": "m.png""#),
            r#"expected one of "mask", "box" and "point", found mask and point"#
        );
        assert_eq!(with(r#", "box": [1, 2]"#), r#""box": expected [x, y, width, height], found [1,2]"#);
        assert_eq!(
            with(r#", "box": [1, 2, 0, 4]"#),
            r#""box": expected a width and a height above 0, found 0 x 4"#
        );
        assert_eq!(with(r#", "present": 1"#), r#""present": expected true or false, found 1"#);
        assert_eq!(
            with(r#", "present": false, "point": [1, 1]"#),
            r#""point": expected nothing where "present" is false, found a place"#
        );
        assert_eq!(with(r#", "against": "blue""#), r#""against": expected a list of texts, found "blue""#);
        assert_eq!(
            with(r#", "point": [1, 1], "against": ["Red  wing"]"#),
            r#""against": expected rivals of the prompt, found the prompt itself, "Red  wing""#
        );
    }

    #[test]
    fn long_values_are_cut_in_messages() {
        let long = "ä".repeat(200);
        let found = reason(&format!(r#"{{"image": "a", "prompt": "p", "present": "{long}"}}"#));
        assert!(found.ends_with("ä...") && found.chars().count() < 120, "{found}");
    }
}

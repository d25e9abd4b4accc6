//! CUB's attribute labels become questions about properties that a picture shows.
//!
//! An attribute is asked about where somebody saw it in the picture and was certain enough. Nobody marked its place, but
//! most attributes are of a part: then the points of that part are the place.

use std::{collections::HashMap, path::Path};

use super::{
    Options, Question, Truth,
    cub_files::{index, named},
    index::{IndexedLines, LineIndex},
    lines::Line,
    passed_over::PassedOver,
    wording::{Wording, plain_words},
};
use fieldmark_model::error::{Error, Result};

/// The certainty "probably".
const PROBABLY: u8 = 3;

/// Which parts an attribute is about, by the word after `has_`; what is not here is about the whole bird.
const PARTS: [(&str, &[&str]); 17] = [
    ("bill", &["beak"]),
    ("wing", &["left wing", "right wing"]),
    ("upperparts", &["back"]),
    ("underparts", &["belly", "breast"]),
    ("breast", &["breast"]),
    ("back", &["back"]),
    ("tail", &["tail"]),
    ("upper_tail", &["tail"]),
    ("under_tail", &["tail"]),
    ("head", &["crown", "forehead"]),
    ("throat", &["throat"]),
    ("eye", &["left eye", "right eye"]),
    ("forehead", &["forehead"]),
    ("nape", &["nape"]),
    ("belly", &["belly"]),
    ("leg", &["left leg", "right leg"]),
    ("crown", &["crown"]),
];

/// The names of the attributes, and where each picture's lines are.
#[derive(Debug)]
pub(super) struct Attributes {
    /// Such as `has_wing_color::blue`.
    names: HashMap<u32, String>,
    pub(super) index: LineIndex,
    pub(super) odd: PassedOver,
    least_certainty: u8,
}

impl Attributes {
    pub(super) fn open(
        path: &Path,
        root: &Path,
        positions: &HashMap<u32, usize>,
        options: &Options,
    ) -> Result<Self> {
        let least_certainty = options.certainty.unwrap_or(PROBABLY);
        if !(1..=4).contains(&least_certainty) {
            let reason = format!("expected a number from 1 to 4, found {least_certainty}");
            return Err(Error::Option { option: "certainty", reason });
        }
        // The archive has the names beside its folder, though its README says inside.
        let usual = [
            root.join("attributes/attributes.txt"),
            path.join("attributes.txt"),
            root.join("../attributes.txt"),
        ];
        let names = usual.iter().find(|path| path.is_file()).unwrap_or(&usual[0]);
        let labels = root.join("attributes/image_attribute_labels.txt");
        let odd = PassedOver::new(&labels, "lines");
        let index = index(&labels, positions, &odd)?;
        Ok(Self { names: named(names, "attribute id")?, index, odd, least_certainty })
    }

    /// Every prompt about an attribute of a class.
    pub(super) fn prompts(&self, wording: &Wording, class: &str) -> impl Iterator<Item = String> {
        let mut numbers: Vec<_> = self.names.keys().collect();
        numbers.sort_unstable();
        numbers.into_iter().map(move |number| prompt(&self.names[number], wording, class))
    }

    /// A question for each attribute that a picture shows; the place is left open.
    pub(super) fn questions(
        &self,
        picture: usize,
        reader: &mut IndexedLines<'_>,
        wording: &Wording,
        class: &str,
    ) -> Result<Vec<Question>> {
        let mut questions = Vec::new();
        reader.of(picture, &mut |line| {
            let at = line.number;
            if let Some((image, number, name)) = self.odd.unless(self.shown(line))?.flatten() {
                questions.push(Question {
                    line: at,
                    id: Some(format!("{image} attribute {number}")),
                    prompt: prompt(name, wording, class),
                    label: Some(name.into()),
                    against: Vec::new(),
                    part: None,
                    truth: Truth::Unknown,
                });
            }
            Ok(())
        })?;
        Ok(questions)
    }

    /// A line's picture and attribute, if somebody saw it there and was certain enough.
    fn shown(&self, line: Line<'_>) -> Result<Option<(u32, u32, &str)>> {
        let mut fields = line.fields()?;
        let image: u32 = fields.number("image id", "a whole number")?;
        let number: u32 = fields.number("attribute id", "a whole number")?;
        let present: u8 = fields.number("is present", "0 or 1")?;
        // Some lines have more fields between this one and the time; nothing behind it is of use here.
        let certainty: u8 = fields.number("certainty", "a number from 1 to 4")?;
        let Some(name) = self.names.get(&number) else {
            return Err(fields.wrong("attribute id", "a number of attributes.txt", &number.to_string()));
        };
        if present > 1 {
            return Err(fields.wrong("is present", "0 or 1", &present.to_string()));
        }
        Ok((present == 1 && certainty >= self.least_certainty).then_some((image, number, name)))
    }

    /// The parts that an attribute is about; none if it is about the whole bird.
    pub(super) fn parts_of(name: &str) -> Option<&'static [&'static str]> {
        let of = name.strip_prefix("has_")?;
        let about = |part: &str| of.strip_prefix(part).is_some_and(|rest| rest.starts_with('_'));
        PARTS.iter().find(|(part, _)| about(part)).map(|(_, parts)| *parts)
    }
}

/// The user's own words for the attribute, else its phrase.
fn prompt(name: &str, wording: &Wording, class: &str) -> String {
    let (attribute, value) = name.split_once("::").unwrap_or(("", name));
    let attribute = plain_words(attribute.strip_prefix("has_").unwrap_or(attribute));
    let phrase = || wording.attribute(&plain_words(value), &attribute, class);
    wording.own(name).map_or_else(phrase, str::to_owned)
}

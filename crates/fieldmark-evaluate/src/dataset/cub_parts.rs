//! CUB's part locations become points that are asked about.
//!
//! What a picture calls left and right is the bird's own left and right, and the words mean little to a model. So
//! `left wing` and `right wing` are both asked about as "wing", in one question that either point answers, unless the
//! user's own words distinguish them.

use std::{collections::HashMap, path::Path};

use super::{
    PointLabels, PointUnit, Question, Truth,
    cub_files::{index, named},
    index::{IndexedLines, LineIndex},
    lines::Line,
    passed_over::PassedOver,
    wording::{Wording, join_label, plain_words},
};
use fieldmark_model::error::Result;

/// The names of the parts, and where each picture's lines are.
#[derive(Debug)]
pub(super) struct Parts {
    names: HashMap<u32, String>,
    /// How each is called in prompts.
    words: HashMap<u32, String>,
    pub(super) index: LineIndex,
    pub(super) odd: PassedOver,
}

/// The parts of one picture that can be seen, in the file's order.
#[derive(Debug, Default)]
pub(super) struct VisibleParts(Vec<VisiblePart>);

#[derive(Debug)]
struct VisiblePart {
    number: u32,
    name: String,
    words: String,
    line: usize,
    point: [f64; 2],
}

impl Parts {
    pub(super) fn open(root: &Path, positions: &HashMap<u32, usize>, wording: &Wording) -> Result<Self> {
        let names = named(&root.join("parts/parts.txt"), "part id")?;
        let words = |name: &String| {
            let sided = ["left ", "right "].iter().find_map(|side| name.strip_prefix(side));
            wording.own(name).map_or_else(|| plain_words(sided.unwrap_or(name)), str::to_owned)
        };
        let words = names.iter().map(|(number, name)| (*number, words(name))).collect();
        let path = root.join("parts/part_locs.txt");
        let odd = PassedOver::new(&path, "lines");
        Ok(Self { names, words, index: index(&path, positions, &odd)?, odd })
    }

    /// How the parts are called in prompts, in the order of their numbers.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        let mut numbers: Vec<_> = self.words.keys().collect();
        numbers.sort_unstable();
        numbers.into_iter().map(|number| self.words[number].as_str())
    }

    /// The parts that can be seen in a picture.
    pub(super) fn visible(&self, picture: usize, reader: &mut IndexedLines<'_>) -> Result<VisibleParts> {
        let mut visible = Vec::new();
        reader.of(picture, &mut |line| {
            visible.extend(self.odd.unless(self.part(line))?.flatten());
            Ok(())
        })?;
        Ok(VisibleParts(visible))
    }

    /// The part that a line is about, if it can be seen.
    fn part(&self, line: Line<'_>) -> Result<Option<VisiblePart>> {
        let at = line.number;
        let mut fields = line.fields()?;
        fields.number::<u32>("image id", "a whole number")?;
        let number: u32 = fields.number("part id", "a whole number")?;
        let (x, y) = (fields.finite("x")?, fields.finite("y")?);
        let (Some(name), Some(words)) = (self.names.get(&number), self.words.get(&number)) else {
            return Err(fields.wrong("part id", "a number of parts.txt", &number.to_string()));
        };
        let (name, words) = (name.clone(), words.clone());
        match fields.number::<u8>("visible", "0 or 1")? {
            0 => Ok(None),
            1 => Ok(Some(VisiblePart { number, name, words, line: at, point: [x, y] })),
            other => Err(fields.wrong("visible", "0 or 1", &other.to_string())),
        }
    }
}

impl VisibleParts {
    /// A question for each prompt; `prompt` makes it of the part's words.
    pub(super) fn questions(&self, image: u32, prompt: impl Fn(&str) -> String) -> Vec<Question> {
        let mut questions: Vec<Question> = Vec::new();
        for part in &self.0 {
            let prompt = prompt(&part.words);
            if let Some(question) = questions.iter_mut().find(|question| question.prompt == prompt) {
                if let Truth::Points(points) = &mut question.truth {
                    points.yes.push(part.point);
                }
                question.label.iter_mut().for_each(|labels| join_label(labels, &part.name));
                continue;
            }
            questions.push(Question {
                line: part.line,
                id: Some(format!("{image} part {}", part.number)),
                prompt,
                label: Some(part.name.clone()),
                against: Vec::new(),
                part: Some(part.words.clone()),
                truth: points(vec![part.point]),
            });
        }
        questions
    }

    /// Where any of these parts is, by their official names.
    pub(super) fn truth(&self, names: &[&str]) -> Truth {
        let of_them = self.0.iter().filter(|part| names.contains(&part.name.as_str()));
        let found: Vec<_> = of_them.map(|part| part.point).collect();
        if found.is_empty() { Truth::Unknown } else { points(found) }
    }
}

fn points(yes: Vec<[f64; 2]>) -> Truth {
    Truth::Points(PointLabels { yes, no: Vec::new(), unit: PointUnit::Pixel })
}

//! The point labels of OpenImages V7 (Benenson and Ferrari, 2022) become pictures with questions about what points show.
//!
//! In memory: of each picture its id and where its lines are, some 150 bytes; and of each label its name. The lines are
//! read picture by picture.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    Options, Picture, PointLabels, PointUnit, Question, Source, Truth, Walk,
    index::LineIndex,
    lines::{Line, Lines, cut},
    passed_over::PassedOver,
    paths::{file_name, files_ending, images_folder, named_file, only},
    table::Splitter,
    wording::{Concepts, Phrases, Wording},
};
use fieldmark_model::{
    error::{Error, Result},
    files::read_bounded,
    progress::Warning,
};

/// The end of the points' file's name.
pub(super) const ENDING: &str = "annotations-point-labels.csv";

/// The most bytes that the hierarchy of labels may have.
const LARGEST_HIERARCHY: u64 = 16 << 20;

/// The most labels above another one.
const DEEPEST: usize = 8;

/// The data set.
#[derive(Debug)]
pub(super) struct OpenImages {
    path: PathBuf,
    images_folder: PathBuf,
    /// The pictures' ids.
    images: Vec<String>,
    columns: Columns,
    index: LineIndex,
    /// The prompt of each label that a point shows.
    prompts: HashMap<String, String>,
    concepts: Concepts,
    odd: PassedOver,
}

/// The places of the columns that are read.
#[derive(Clone, Copy, Debug)]
struct Columns {
    image: usize,
    x: usize,
    y: usize,
    label: usize,
    answer: usize,
    /// The label's name, which older files do not have.
    text: Option<usize>,
}

/// What a line says.
struct Point {
    image: String,
    place: [f64; 2],
    label: String,
    text: Option<String>,
    /// `None`: nobody is sure.
    answer: Option<bool>,
}

impl OpenImages {
    /// # Errors
    /// [`Error::Read`], [`Error::Dataset`] or [`Error::Option`], as [`Dataset::open`](super::Dataset::open).
    pub(super) fn open(path: &Path, options: &Options) -> Result<Self> {
        let wording = Wording::new(options, &Phrases::default())?;
        let file = if path.is_dir() {
            only(path, files_ending(path, ENDING)?, options.split.as_deref(), "point labels")?
        } else {
            named_file(path, options.split.as_deref())?
        };
        let root = file.parent().unwrap_or(Path::new("")).to_owned();
        let odd = PassedOver::new(&file, "lines");
        let Contents { images, columns, index, labels } = read(&file, &odd)?;
        let names = files_ending(&root, "class-descriptions.csv")?;
        let names = names.first().map_or_else(|| Ok(HashMap::new()), |path| read_names(path))?;
        let prompt = |label: &str, text: Option<&String>| {
            let name = names.get(label).or(text).map_or(label, String::as_str);
            wording.class(wording.own(label).unwrap_or(&wording.words(name)))
        };
        let parents = read_parents(&root)?;
        let mut concepts = Concepts::default();
        let mut prompts = HashMap::new();
        for (label, text) in labels {
            let named = above(&label, &parents).filter(|above| names.contains_key(*above));
            let groups: Vec<_> = named.map(|above| prompt(above, None)).collect();
            let own = prompt(&label, text.as_ref());
            concepts.add(&own, &groups.iter().map(String::as_str).collect::<Vec<_>>());
            prompts.insert(label, own);
        }
        let files: Vec<_> = images.iter().take(16).map(|id| format!("{id}.jpg")).collect();
        let folder = || images_folder(usual_folders(&root, &file), files.iter().map(String::as_str));
        let images_folder = options.images.clone().unwrap_or_else(folder);
        Ok(Self { path: file, images_folder, images, columns, index, prompts, concepts, odd })
    }
}

/// The labels above a label, the most special first.
fn above<'a>(label: &str, parents: &'a HashMap<String, String>) -> impl Iterator<Item = &'a str> {
    std::iter::successors(parents.get(label), |above| parents.get(*above)).map(String::as_str).take(DEEPEST)
}

impl Source for OpenImages {
    fn path(&self) -> &Path {
        &self.path
    }

    fn concepts(&self) -> Option<&Concepts> {
        Some(&self.concepts)
    }

    fn passed_over(&self) -> Vec<Warning> {
        self.odd.warning().into_iter().collect()
    }

    fn pictures(&self) -> Result<Walk<'_>> {
        let mut reader = self.index.reader()?;
        let mut splitter = Splitter::new();
        Ok(Box::new(self.images.iter().enumerate().map(move |(position, id)| {
            let mut found: Vec<Labelled<'_>> = Vec::new();
            let mut places: HashMap<&str, usize> = HashMap::new();
            reader.of(position, &mut |line| {
                let point = self.columns.point(&line, &mut splitter)?;
                let Some(prompt) = self.prompts.get(&point.label) else { return Ok(()) };
                let place = *places.entry(prompt).or_insert(found.len());
                if place == found.len() {
                    found.push(Labelled {
                        line: line.number,
                        prompt,
                        labels: Vec::new(),
                        yes: Vec::new(),
                        no: Vec::new(),
                    });
                }
                found[place].add(point);
                Ok(())
            })?;
            // Where no point shows it, it may be elsewhere in the picture: nobody knows.
            let shown = found.into_iter().filter(|labelled| !labelled.yes.is_empty());
            let questions = shown.map(|labelled| labelled.question(id)).collect();
            Ok(Picture { name: id.clone(), path: self.images_folder.join(format!("{id}.jpg")), questions })
        })))
    }
}

/// The points of a picture about one prompt.
struct Labelled<'a> {
    /// The first one's.
    line: usize,
    prompt: &'a str,
    /// More than one where the user has one prompt for several.
    labels: Vec<String>,
    yes: Vec<[f64; 2]>,
    no: Vec<[f64; 2]>,
}

impl Labelled<'_> {
    fn add(&mut self, point: Point) {
        match point.answer {
            Some(true) => self.yes.push(point.place),
            Some(false) => self.no.push(point.place),
            None => {}
        }
        if !self.labels.contains(&point.label) {
            self.labels.push(point.label);
        }
    }

    fn question(self, image: &str) -> Question {
        let labels = self.labels.join(", ");
        // A point that is not on a truck may be on a bus, if both are asked about as cars.
        let no = if self.labels.len() == 1 { self.no } else { Vec::new() };
        Question {
            line: self.line,
            id: Some(format!("{image} {labels}")),
            prompt: self.prompt.into(),
            label: Some(labels),
            against: Vec::new(),
            part: None,
            truth: Truth::Points(PointLabels { yes: self.yes, no, unit: PointUnit::Share }),
        }
    }
}

impl Columns {
    /// Reads the first line.
    fn of(header: &Line<'_>) -> Result<Self> {
        let mut splitter = Splitter::new();
        let names = splitter.fields(header)?;
        let find = |wanted: &str| names.iter().position(|name| *name == wanted);
        let required = |wanted: &str| {
            let found = cut(&names.join(","));
            find(wanted).ok_or_else(|| header.error(format!("expected a column {wanted}, found {found:?}")))
        };
        Ok(Self {
            image: required("ImageId")?,
            x: required("X")?,
            y: required("Y")?,
            label: required("Label")?,
            answer: required("EstimatedYesNo")?,
            text: find("TextLabel"),
        })
    }

    fn point(self, line: &Line<'_>, splitter: &mut Splitter) -> Result<Point> {
        let fields = splitter.fields(line)?;
        let wrong = |name: &str, expected: &str, found: &str| {
            line.error(format!("{name}: expected {expected}, found {:?}", cut(found)))
        };
        let text = |column: usize, name: &str| {
            let text = fields.get(column).copied().unwrap_or_default();
            if text.is_empty() { Err(wrong(name, "a text", text)) } else { Ok(text) }
        };
        let share = |column: usize, name: &str| {
            let text = text(column, name)?;
            let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
            number.ok_or_else(|| wrong(name, "a number from 0 to 1", text))
        };
        let answer = text(self.answer, "EstimatedYesNo")?;
        Ok(Point {
            image: text(self.image, "ImageId")?.into(),
            place: [share(self.x, "X")?, share(self.y, "Y")?],
            label: text(self.label, "Label")?.into(),
            text: self
                .text
                .and_then(|column| fields.get(column))
                .filter(|text| !text.is_empty())
                .map(|text| (*text).into()),
            answer: match answer {
                "yes" => Some(true),
                "no" => Some(false),
                "unsure" => None,
                _ => return Err(wrong("EstimatedYesNo", "yes, no or unsure", answer)),
            },
        })
    }
}

/// What a file holds, but for the points themselves.
struct Contents {
    images: Vec<String>,
    columns: Columns,
    index: LineIndex,
    /// Labels that a point shows, in their first order, and their names in the file.
    labels: Vec<(String, Option<String>)>,
}

fn read(path: &Path, odd: &PassedOver) -> Result<Contents> {
    let mut lines = Lines::open(path)?;
    let Some(header) = lines.next()? else {
        let reason = "expected a table of points, found no line".into();
        return Err(Error::Dataset { path: path.into(), reason });
    };
    let columns = Columns::of(&header)?;
    let mut splitter = Splitter::new();
    let mut index = LineIndex::new(path);
    let mut positions: HashMap<String, usize> = HashMap::new();
    let mut images = Vec::new();
    let mut labels = Vec::new();
    let mut seen = HashSet::new();
    while let Some(line) = lines.next()? {
        let Some(point) = odd.unless(columns.point(&line, &mut splitter))? else {
            index.skip();
            continue;
        };
        let position = positions.get(&point.image).copied().unwrap_or_else(|| {
            images.push(point.image.clone());
            positions.insert(point.image, images.len() - 1);
            images.len() - 1
        });
        index.add(position, line.offset, line.number);
        if point.answer == Some(true) && !seen.contains(&point.label) {
            seen.insert(point.label.clone());
            labels.push((point.label, point.text));
        }
    }
    Ok(Contents { images, columns, index, labels })
}

/// Reads a table of labels and their names, which has no first line with titles in V7, but had one before.
fn read_names(path: &Path) -> Result<HashMap<String, String>> {
    let mut names = HashMap::new();
    let mut splitter = Splitter::new();
    let mut lines = Lines::open(path)?;
    while let Some(line) = lines.next()? {
        match splitter.fields(&line)?.as_slice() {
            [label, name, ..] if !label.is_empty() && !name.trim().is_empty() => {
                names.insert((*label).into(), (*name).into());
            }
            fields => {
                let found = cut(&fields.join(","));
                return Err(line.error(format!("expected a label and its name, found {found:?}")));
            }
        }
    }
    Ok(names)
}

/// The label above each label, where the set's hierarchy lies beside the points.
fn read_parents(root: &Path) -> Result<HashMap<String, String>> {
    let mut parents = HashMap::new();
    let Some(path) = files_ending(root, "hierarchy.json")?.into_iter().next() else { return Ok(parents) };
    let bytes = read_bounded(&path, LARGEST_HIERARCHY)?;
    let tree: Value = serde_json::from_slice(&bytes).map_err(|cause| {
        let reason = format!("expected the JSON of a hierarchy, found an error: {cause}");
        Error::Dataset { path, reason }
    })?;
    let mut open = vec![&tree];
    while let Some(node) = open.pop() {
        let below = node["Subcategory"].as_array().into_iter().flatten();
        for child in below {
            // The root, "Entity", says nothing.
            let is_root = std::ptr::eq(node, &tree);
            if let (Some(label), Some(above), false) =
                (child["LabelName"].as_str(), node["LabelName"].as_str(), is_root)
            {
                parents.entry(label.into()).or_insert_with(|| above.into());
            }
            open.push(child);
        }
    }
    Ok(parents)
}

fn usual_folders(root: &Path, file: &Path) -> Vec<PathBuf> {
    let name = file_name(file);
    let split = name.strip_suffix(ENDING).unwrap_or_default().trim_end_matches('-');
    let split = split.rsplit('-').next().unwrap_or(split);
    // The pictures' own folders have the longer name.
    let folder = if split == "val" { "validation" } else { split };
    let folders =
        ["images".into(), format!("images/{split}"), format!("images/{folder}"), split.into(), folder.into()];
    folders.into_iter().map(|folder: String| root.join(folder)).chain([root.into()]).collect()
}

//! Pascal VOC's XML, one file a picture, becomes pictures with questions about things and their parts.
//!
//! In memory: the names of the pictures, and one picture's XML at a time.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use roxmltree::{Document, Node};

use super::{
    Ask, Options, Picture, Question, Source, Truth, Walk,
    lines::{Lines, cut},
    passed_over::PassedOver,
    paths::{file_name, files_ending, image_names},
    wording::{Concepts, Phrases, Wording, join_label},
};
use fieldmark_model::{
    error::{Error, Result},
    files::read_bounded,
    geometry::Rect,
    guard::guarded,
    progress::Warning,
};

/// The most bytes that a picture's XML may have.
const LARGEST_FILE: u64 = 4 << 20;

/// The data set.
#[derive(Debug)]
pub(super) struct Voc {
    root: PathBuf,
    images_folder: PathBuf,
    /// The pictures' names without ending.
    names: Vec<String>,
    /// What is in the folder of pictures.
    images: ImageNames,
    ask: Vec<Ask>,
    wording: Wording,
    concepts: Concepts,
    /// Files that are no XML, and objects that have no name or no box.
    odd: [PassedOver; 2],
}

/// A thing or part that a file names.
struct Thing {
    label: String,
    /// What it is a part of.
    of: Option<String>,
    area: Rect,
    /// The object's, in the XML.
    line: usize,
}

impl Voc {
    /// # Errors
    /// [`Error::Read`], [`Error::Dataset`] or [`Error::Option`], as [`Dataset::open`](super::Dataset::open).
    pub(super) fn open(path: &Path, options: &Options) -> Result<Self> {
        let wording = Wording::new(options, &Phrases::default())?;
        let names = match &options.split {
            Some(split) => split_names(path, split)?,
            None => files_ending(&path.join("Annotations"), ".xml")?.iter().map(|path| stem(path)).collect(),
        };
        let images_folder = options.images.clone().unwrap_or_else(|| path.join("JPEGImages"));
        let annotations = path.join("Annotations");
        let mut voc = Self {
            root: path.into(),
            images: ImageNames::of(&images_folder)?,
            images_folder,
            odd: ["files", "objects"].map(|what| PassedOver::new(&annotations, what)),
            names,
            ask: if options.ask.is_empty() { vec![Ask::Class] } else { options.ask.clone() },
            wording,
            concepts: Concepts::default(),
        };
        voc.concepts = voc.all_concepts()?;
        Ok(voc)
    }

    /// Only the pictures' files say what the data set contains.
    fn all_concepts(&self) -> Result<Concepts> {
        let mut labels = BTreeSet::new();
        let [files, objects] = &self.odd;
        for name in &self.names {
            match self.things(name, objects) {
                Ok((_, things)) => labels.extend(things.into_iter().map(|thing| (thing.of, thing.label))),
                Err(error) => files.add(error.to_string()),
            }
        }
        let mut concepts = Concepts::default();
        for (of, label) in labels {
            let above = of.as_ref().map(|of| self.wording.class(&self.wording.words(of)));
            concepts
                .add(&self.prompt(&label, of.as_deref()), &above.as_deref().into_iter().collect::<Vec<_>>());
        }
        Ok(concepts)
    }

    fn prompt(&self, label: &str, of: Option<&str>) -> String {
        let words = self.wording.words(label);
        match of {
            Some(of) => self.wording.part(&words, &self.wording.words(of)),
            None => self.wording.class(&words),
        }
    }

    /// The picture's file, and what is asked about of the things in it. Those that are odd go to `odd`.
    fn things(&self, name: &str, odd: &PassedOver) -> Result<(PathBuf, Vec<Thing>)> {
        let path = self.root.join("Annotations").join(format!("{name}.xml"));
        let error = |reason: String| Error::Dataset { path: path.clone(), reason };
        let bytes = read_bounded(&path, LARGEST_FILE)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| error("expected UTF-8 text".into()))?;
        let parsed = guarded(|| Document::parse(text)).map_err(|panic| error(panic.to_string()))?;
        let document = parsed.map_err(|cause| error(format!("expected XML, found an error: {cause}")))?;
        let root = document.root_element();
        let mut things = Vec::new();
        let (mut line, mut counted) = (1, 0);
        for object in children(root, "object") {
            let start = object.range().start;
            line += text[counted..start].matches('\n').count();
            counted = start;
            for thing in self.things_of(object, line) {
                match thing {
                    Ok(thing) => things.push(thing),
                    Err(reason) => odd.add(format!("{name}.xml: {reason}")),
                }
            }
        }
        Ok((self.file_of(name, text_of(root, "filename").ok().as_deref()), things))
    }

    /// What is asked about of one object.
    fn things_of(&self, object: Node<'_, '_>, line: usize) -> Vec<Result<Thing, String>> {
        let label = match text_of(object, "name") {
            Ok(label) => label,
            Err(reason) => return vec![Err(reason)],
        };
        let mut things = Vec::new();
        if self.ask.contains(&Ask::Part) {
            things.extend(children(object, "part").map(|part| thing(part, Some(&label), line)));
        }
        if self.ask.contains(&Ask::Class) {
            things.push(thing(object, None, line));
        }
        things
    }

    /// The picture that a file is about: the one with its name, ignoring what it says inside, since people rename pictures and
    /// leave the camera's name inside; else the one that it names, in another folder or with another ending.
    fn file_of(&self, name: &str, filename: Option<&str>) -> PathBuf {
        let last = filename.and_then(|file| file.rsplit(['/', '\\']).next()).filter(|last| !last.is_empty());
        let known = self.images.with_stem(name).or_else(|| {
            let last = last?;
            self.images.named(last).or_else(|| self.images.with_stem(stem_of(last)))
        });
        // ImageNet's files name the picture without its ending.
        let missing = || last.filter(|last| last.contains('.')).map_or(format!("{name}.jpg"), str::to_owned);
        self.images_folder.join(known.map_or_else(missing, str::to_owned))
    }

    fn picture(&self, name: &str) -> Result<Picture> {
        // What is odd was counted before.
        let odd = PassedOver::new(&self.root, "objects");
        let (path, things) = match self.things(name, &odd) {
            Ok(found) => found,
            Err(_) => (self.file_of(name, None), Vec::new()),
        };
        let mut questions: Vec<Question> = Vec::new();
        for thing in things {
            let prompt = self.prompt(&thing.label, thing.of.as_deref());
            if let Some(question) = questions.iter_mut().find(|question| question.prompt == prompt) {
                let boxes = question.truth.boxes().iter().copied().chain([thing.area]).collect();
                question.truth = Truth::Boxes(boxes);
                question.label.iter_mut().for_each(|labels| join_label(labels, &thing.label));
                continue;
            }
            questions.push(Question {
                line: thing.line,
                id: None,
                prompt,
                part: thing.of.as_ref().map(|_| thing.label.clone()),
                label: Some(thing.label),
                against: Vec::new(),
                truth: Truth::Boxes(vec![thing.area]),
            });
        }
        Ok(Picture { name: name.into(), path, questions })
    }
}

impl Source for Voc {
    fn path(&self) -> &Path {
        &self.root
    }

    fn concepts(&self) -> Option<&Concepts> {
        Some(&self.concepts)
    }

    fn passed_over(&self) -> Vec<Warning> {
        self.odd.iter().filter_map(PassedOver::warning).collect()
    }

    fn pictures(&self) -> Result<Walk<'_>> {
        Ok(Box::new(self.names.iter().map(|name| self.picture(name))))
    }
}

/// The names of the files in a folder of pictures.
#[derive(Debug, Default)]
struct ImageNames {
    /// By their stem.
    stems: HashMap<String, String>,
    /// By their stem in lower case.
    lower: HashMap<String, String>,
}

impl ImageNames {
    fn of(folder: &Path) -> Result<Self> {
        let mut names = Self::default();
        // Backwards, so that the first of several stays.
        for name in image_names(folder)?.into_iter().rev() {
            let stem = stem_of(&name);
            names.lower.insert(stem.to_lowercase(), name.clone());
            names.stems.insert(stem.to_owned(), name);
        }
        Ok(names)
    }

    /// The file with this stem, else with this stem in another case.
    fn with_stem(&self, stem: &str) -> Option<&str> {
        self.stems.get(stem).or_else(|| self.lower.get(&stem.to_lowercase())).map(String::as_str)
    }

    /// The file with this name.
    fn named(&self, name: &str) -> Option<&str> {
        self.stems.get(stem_of(name)).filter(|known| *known == name).map(String::as_str)
    }
}

/// A name without its ending.
fn stem_of(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

fn stem(path: &Path) -> String {
    let name = file_name(path);
    name.strip_suffix(".xml").map_or(name.clone(), str::to_owned)
}

/// The names in a file of `ImageSets`; what stands behind them is about one class.
fn split_names(root: &Path, split: &str) -> Result<Vec<String>> {
    let file = |folder: &str| root.join("ImageSets").join(folder).join(format!("{split}.txt"));
    let usual = ["Main", "Layout", "Segmentation"].map(file);
    let mut lines = Lines::open(usual.iter().find(|path| path.is_file()).unwrap_or(&usual[0]))?;
    let mut names = Vec::new();
    while let Some(line) = lines.next()? {
        names.push(line.fields()?.number("name", "a name")?);
    }
    Ok(names)
}

fn children<'a, 'input>(
    node: Node<'a, 'input>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(move |child| child.has_tag_name(name))
}

fn line_of(node: Node<'_, '_>) -> usize {
    node.document().text_pos_at(node.range().start).row as usize
}

fn text_of(node: Node<'_, '_>, name: &'static str) -> Result<String, String> {
    let text = children(node, name).next().and_then(|child| child.text()).map(str::trim);
    let text = text.filter(|text| !text.is_empty()).map(str::to_owned);
    text.ok_or_else(|| format!("line {}: {name}: expected a text, found nothing", line_of(node)))
}

fn thing(node: Node<'_, '_>, of: Option<&str>, line: usize) -> Result<Thing, String> {
    let error = |reason: String| format!("line {}: {reason}", line_of(node));
    let Some(bounds) = children(node, "bndbox").next() else {
        return Err(error("bndbox: expected a box, found nothing".into()));
    };
    let edge = |name: &'static str| {
        let text = text_of(bounds, name)?;
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        number.ok_or_else(|| error(format!("{name}: expected a finite number, found {:?}", cut(&text))))
    };
    // The first and last pixel, counted from 1.
    let area =
        Rect { x0: edge("xmin")? - 1.0, y0: edge("ymin")? - 1.0, x1: edge("xmax")?, y1: edge("ymax")? };
    if area.width() > 0.0 && area.height() > 0.0 {
        return Ok(Thing { label: text_of(node, "name")?, of: of.map(str::to_owned), area, line });
    }
    let (width, height) = (area.width(), area.height());
    Err(error(format!("bndbox: expected a width and a height above 0, found {width} x {height}")))
}

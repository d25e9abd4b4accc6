//! CUB-200-2011 (Wah et al., 2011) becomes pictures with questions about species, parts and attributes.
//!
//! In memory: of each picture its name, species and box, and where its lines are in the files of parts and attributes,
//! some 200 bytes together; and the names of species, parts and attributes. The 3.7 million lines of attributes are read
//! picture by picture.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::{
    Ask, Inside, Options, Picture, Place, Question, Source, Truth, Walk,
    cub_attributes::Attributes,
    cub_files::named,
    cub_parts::{Parts, VisibleParts},
    index::IndexedLines,
    lines::{Fields, Lines},
    passed_over::PassedOver,
    wording::{Concepts, Phrases, Wording},
};
use fieldmark_model::{
    error::{Error, Result},
    geometry::Rect,
    progress::Warning,
};

/// The folder in the archive, and a file in it by which the layout is recognised.
pub(super) const FOLDER: &str = "CUB_200_2011";
pub(super) const TELLING_FILE: &str = "image_class_labels.txt";

/// The file of boxes.
const BOXES: &str = "bounding_boxes.txt";

/// A mask's grey counts the people who say that a pixel is the bird: more than half of them, of 255.
const MAJORITY: Inside = Inside::Above(128);

/// The data set.
#[derive(Debug)]
pub(super) struct Cub {
    root: PathBuf,
    images_folder: PathBuf,
    /// The folder of segmentations, if there is one and it is to be used.
    masks: Option<PathBuf>,
    images: Vec<Image>,
    /// The names of the species, by their number.
    classes: HashMap<u32, String>,
    asks_class: bool,
    /// Where parts are asked about, or attributes that lie on one.
    parts: Option<Parts>,
    asks_part: bool,
    attributes: Option<Attributes>,
    wording: Wording,
    concepts: Concepts,
    odd_boxes: PassedOver,
}

/// What is known of a picture.
#[derive(Debug)]
struct Image {
    number: u32,
    /// In `images.txt`.
    line: usize,
    name: String,
    class: u32,
    area: Option<Rect>,
    /// Whether there is a line with a box, which is odd.
    has_odd_box: bool,
}

impl Cub {
    /// # Errors
    /// [`Error::Read`], [`Error::Dataset`] or [`Error::Option`], as [`Dataset::open`](super::Dataset::open).
    pub(super) fn open(path: &Path, options: &Options) -> Result<Self> {
        let root = root(path);
        let wording = Wording::new(options, &Phrases::default())?;
        let asks = |ask| options.ask.contains(&ask) || ask == Ask::Class && options.ask.is_empty();
        let classes = named(&root.join("classes.txt"), "class id")?;
        let mut images = read_images(&root, &classes)?;
        if let Some(split) = &options.split {
            keep_split(&root, split, &mut images)?;
        }
        let (asks_part, asks_attribute) = (asks(Ask::Part), asks(Ask::Attribute));
        let masks = masks_folder(path, &root, options);
        let odd_boxes = PassedOver::new(&root.join(BOXES), "boxes");
        if masks.is_none() && (asks(Ask::Class) || asks_attribute) {
            read_boxes(&odd_boxes, &root, &mut images)?;
        }
        let positions = positions(&images);
        let parts = (asks_part || asks_attribute).then(|| Parts::open(&root, &positions, &wording));
        let attributes = asks_attribute.then(|| Attributes::open(path, &root, &positions, options));
        let mut cub = Self {
            images_folder: options.images.clone().unwrap_or_else(|| root.join("images")),
            masks,
            asks_class: asks(Ask::Class),
            parts: parts.transpose()?,
            attributes: attributes.transpose()?,
            concepts: Concepts::default(),
            root,
            images,
            classes,
            asks_part,
            wording,
            odd_boxes,
        };
        cub.concepts = cub.all_concepts();
        Ok(cub)
    }

    fn all_concepts(&self) -> Concepts {
        let mut concepts = Concepts::default();
        let mut numbers: Vec<_> = self.classes.keys().collect();
        numbers.sort_unstable();
        let classes = || numbers.iter().map(|number| self.class_words(**number));
        if self.asks_class {
            classes().for_each(|class| concepts.add(&self.wording.class(&class), &[]));
        }
        for (class, part) in
            classes().flat_map(|class| self.part_words().map(move |part| (class.clone(), part)))
        {
            concepts.add(&self.wording.part(part, &class), &[&self.wording.class(&class)]);
        }
        if let Some(attributes) = &self.attributes {
            let every = if self.wording.attribute_names_class() { numbers.len() } else { 1 };
            for class in classes().take(every) {
                attributes.prompts(&self.wording, &class).for_each(|prompt| concepts.add(&prompt, &[]));
            }
        }
        concepts
    }

    fn part_words(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter(|_| self.asks_part).flat_map(Parts::words)
    }

    fn class_words(&self, class: u32) -> String {
        self.wording.words(&self.classes[&class])
    }

    /// The bird itself; none where its box is odd or missing, which is counted.
    fn place(&self, image: &Image) -> Option<Truth> {
        if let Some(folder) = &self.masks {
            let path = folder.join(&image.name).with_extension("png");
            return Some(Truth::MaskOf { path, inside: MAJORITY });
        }
        if image.area.is_none() && !image.has_odd_box {
            self.odd_boxes.add(format!("picture {}: expected a box, found none", image.number));
        }
        image.area.map(Truth::Box)
    }

    fn questions(&self, position: usize, readers: &mut Readers<'_>) -> Result<Vec<Question>> {
        let image = &self.images[position];
        let class = self.class_words(image.class);
        let mut questions = Vec::new();
        if self.asks_class {
            questions.extend(self.place(image).map(|truth| Question {
                line: image.line,
                id: Some(image.number.to_string()),
                prompt: self.wording.class(&class),
                label: Some(self.classes[&image.class].clone()),
                against: Vec::new(),
                part: None,
                truth,
            }));
        }
        let visible = match (&self.parts, &mut readers.parts) {
            (Some(parts), Some(reader)) => parts.visible(position, reader)?,
            _ => VisibleParts::default(),
        };
        if self.asks_part {
            questions.extend(visible.questions(image.number, |part| self.wording.part(part, &class)));
        }
        if let (Some(attributes), Some(reader)) = (&self.attributes, &mut readers.attributes) {
            for mut question in attributes.questions(position, reader, &self.wording, &class)? {
                let truth = match question.label.as_deref().and_then(Attributes::parts_of) {
                    Some(parts) => Some(visible.truth(parts)),
                    None => self.place(image),
                };
                questions.extend(truth.map(|truth| {
                    question.truth = truth;
                    question
                }));
            }
        }
        Ok(questions)
    }
}

/// The files that are read along with the pictures.
struct Readers<'a> {
    parts: Option<IndexedLines<'a>>,
    attributes: Option<IndexedLines<'a>>,
}

impl Source for Cub {
    fn path(&self) -> &Path {
        &self.root
    }

    fn concepts(&self) -> Option<&Concepts> {
        Some(&self.concepts)
    }

    fn passed_over(&self) -> Vec<Warning> {
        let parts = self.parts.iter().map(|parts| &parts.odd);
        let attributes = self.attributes.iter().map(|attributes| &attributes.odd);
        let all = std::iter::once(&self.odd_boxes).chain(parts).chain(attributes);
        all.filter_map(PassedOver::warning).collect()
    }

    fn pictures(&self) -> Result<Walk<'_>> {
        let mut readers = Readers {
            parts: self.parts.as_ref().map(|parts| parts.index.reader()).transpose()?,
            attributes: self.attributes.as_ref().map(|attributes| attributes.index.reader()).transpose()?,
        };
        Ok(Box::new((0..self.images.len()).map(move |position| {
            let name = self.images[position].name.clone();
            let questions = self.questions(position, &mut readers)?;
            Ok(Picture { path: self.images_folder.join(&name), name, questions })
        })))
    }
}

/// The archive's folder, or the one in which it was unpacked.
fn root(path: &Path) -> PathBuf {
    let inner = path.join(FOLDER);
    if inner.join(TELLING_FILE).is_file() { inner } else { path.into() }
}

fn masks_folder(path: &Path, root: &Path, options: &Options) -> Option<PathBuf> {
    let usual = [root.join("segmentations"), path.join("segmentations"), root.join("../segmentations")];
    let found = options.masks.clone().or_else(|| usual.into_iter().find(|folder| folder.is_dir()));
    found.filter(|_| options.place == Place::Finest)
}

/// Where the pictures are in the list, by their number.
fn positions(images: &[Image]) -> HashMap<u32, usize> {
    images.iter().enumerate().map(|(position, image)| (image.number, position)).collect()
}

/// Hands over each line that is about one of the pictures, and where the picture is. Lines about others are skipped,
/// since people cut the list of pictures only.
fn for_images(
    path: &Path,
    positions: &HashMap<u32, usize>,
    take: &mut dyn FnMut(usize, Fields<'_>) -> Result<()>,
) -> Result<()> {
    let mut lines = Lines::open(path)?;
    while let Some(line) = lines.next()? {
        let mut fields = line.fields()?;
        let number: u32 = fields.number("image id", "a whole number")?;
        if let Some(position) = positions.get(&number) {
            take(*position, fields)?;
        }
    }
    Ok(())
}

fn read_images(root: &Path, classes: &HashMap<u32, String>) -> Result<Vec<Image>> {
    let mut images = Vec::new();
    let mut lines = Lines::open(&root.join("images.txt"))?;
    while let Some(line) = lines.next()? {
        let at = line.number;
        let mut fields = line.fields()?;
        let number = fields.number("image id", "a whole number")?;
        let name = fields.rest("path")?.to_owned();
        images.push(Image { number, line: at, name, class: 0, area: None, has_odd_box: false });
    }
    let positions = positions(&images);
    let path = root.join(TELLING_FILE);
    let mut labelled = vec![false; images.len()];
    for_images(&path, &positions, &mut |position, mut fields| {
        let class = fields.number("class id", "a whole number")?;
        if !classes.contains_key(&class) {
            return Err(fields.wrong("class id", "a number of classes.txt", &class.to_string()));
        }
        (images[position].class, labelled[position]) = (class, true);
        Ok(())
    })?;
    match labelled.iter().position(|is_labelled| !is_labelled) {
        // A repeated number also leaves its first picture without a class.
        Some(position) => {
            let reason = format!("expected a class of picture {}, found none", images[position].number);
            Err(Error::Dataset { path, reason })
        }
        None => Ok(images),
    }
}

fn keep_split(root: &Path, split: &str, images: &mut Vec<Image>) -> Result<()> {
    let wanted = match split {
        "train" => 1,
        "test" => 0,
        _ => {
            let reason = format!("expected train or test for cub, found {split:?}");
            return Err(Error::Option { option: "split", reason });
        }
    };
    let mut is_kept = vec![false; images.len()];
    for_images(&root.join("train_test_split.txt"), &positions(images), &mut |position, mut fields| {
        let part: u8 = fields.number("is training image", "0 or 1")?;
        if part > 1 {
            return Err(fields.wrong("is training image", "0 or 1", &part.to_string()));
        }
        is_kept[position] = part == wanted;
        Ok(())
    })?;
    let mut kept = is_kept.into_iter();
    images.retain(|_| kept.next().unwrap_or(false));
    Ok(())
}

fn read_boxes(odd: &PassedOver, root: &Path, images: &mut [Image]) -> Result<()> {
    let positions = positions(images);
    for_images(&root.join(BOXES), &positions, &mut |position, mut fields| {
        let image = &mut images[position];
        image.area = odd.unless(area(&mut fields))?;
        image.has_odd_box = image.area.is_none();
        Ok(())
    })
}

fn area(fields: &mut Fields<'_>) -> Result<Rect> {
    let (x, y) = (fields.finite("x")?, fields.finite("y")?);
    let (width, height) = (fields.finite("width")?, fields.finite("height")?);
    if width <= 0.0 || height <= 0.0 {
        return Err(fields.wrong("width and height", "numbers above 0", &format!("{width} x {height}")));
    }
    Ok(Rect { x0: x, y0: y, x1: x + width, y1: y + height })
}

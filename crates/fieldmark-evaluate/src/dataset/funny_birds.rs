//! FunnyBirds (Hesse et al., 2023) becomes pictures with questions about species and parts.
//!
//! In memory: eight bytes for each picture.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    Ask, Inside, Options, Picture, Question, Source, Truth, Walk,
    json::{Fields, for_items, named, wrong},
    passed_over::PassedOver,
    wording::{Concepts, Phrases, Wording},
};
use fieldmark_model::{
    error::{Error, Result},
    progress::Warning,
};

/// The list of pictures of each split.
pub(super) const INDEX_FILES: [&str; 2] = ["dataset_test.json", "dataset_train.json"];

/// The parts and their colours in the map of parts.
const PARTS: [(&str, Colours); 5] = [
    ("eye", &[[255, 255, 253], [255, 255, 254]]),
    ("beak", &[[255, 255, 0]]),
    ("foot", &[[255, 0, 1], [255, 0, 2]]),
    ("wing", &[[0, 255, 1], [0, 255, 2]]),
    ("tail", &[[0, 0, 255]]),
];

/// What is asked about a picture.
struct Asked {
    label: String,
    prompt: String,
    /// The part's, if it is one.
    colours: Option<Colours>,
}

/// Red, green and blue of a part, on the left and on the right.
type Colours = &'static [[u8; 3]];

/// One split of the data set.
#[derive(Debug)]
pub(super) struct FunnyBirds {
    index_file: PathBuf,
    images_folder: PathBuf,
    /// The folder with the maps of parts, if there is one.
    masks: Option<PathBuf>,
    /// The class of each picture; none where the index has something else.
    classes: Vec<Option<u32>>,
    odd: PassedOver,
    ask: Vec<Ask>,
    wording: Wording,
    concepts: Concepts,
}

impl FunnyBirds {
    /// # Errors
    /// [`Error::Read`], [`Error::Dataset`] or [`Error::Option`], as [`Dataset::open`](super::Dataset::open).
    pub(super) fn open(path: &Path, options: &Options) -> Result<Self> {
        let split = options.split.as_deref().unwrap_or("test");
        let index_file = path.join(format!("dataset_{split}.json"));
        let phrases = Phrases { part: "bird {part}", ..Phrases::default() };
        let wording = Wording::new(options, &phrases)?;
        let odd = PassedOver::new(&index_file, "pictures");
        let classes = read_classes(&index_file, &odd)?;
        let ask = if options.ask.is_empty() { vec![Ask::Class] } else { options.ask.clone() };
        let usual = options.masks.clone().unwrap_or_else(|| path.join(format!("{split}_part_map")));
        let masks = usual.is_dir().then_some(usual);
        if masks.is_none() && ask.contains(&Ask::Part) {
            let reason = format!("expected a folder {split}_part_map with the places of parts, found none");
            return Err(Error::Dataset { path: path.into(), reason });
        }
        let images_folder = options.images.clone().unwrap_or_else(|| path.join(split));
        let concepts = Concepts::default();
        let mut birds = Self { index_file, images_folder, masks, classes, odd, ask, wording, concepts };
        let classes: BTreeSet<u32> = birds.classes.iter().flatten().copied().collect();
        let mut concepts = Concepts::default();
        for asked in classes.into_iter().flat_map(|class| birds.asked(class)) {
            concepts.add(&asked.prompt, &[]);
        }
        birds.concepts = concepts;
        Ok(birds)
    }

    /// What is asked about a picture of that class.
    fn asked(&self, class: u32) -> Vec<Asked> {
        let label = class.to_string();
        let own = self.wording.own(&label);
        let words = own.map_or_else(|| format!("funny bird {class}"), str::to_owned);
        let mut asked = Vec::new();
        if self.ask.contains(&Ask::Class) {
            asked.push(Asked { label, prompt: self.wording.class(&words), colours: None });
        }
        if self.ask.contains(&Ask::Part) {
            asked.extend(PARTS.map(|(part, colours)| Asked {
                label: part.into(),
                prompt: self.wording.part(&self.wording.words(part), &words),
                colours: Some(colours),
            }));
        }
        asked
    }

    fn truth(&self, file: &str, colours: Option<Colours>) -> Truth {
        match (self.masks.as_ref().map(|folder| folder.join(file)), colours) {
            (None, _) => Truth::Unknown,
            // The body has no colour in the map: what is known of a bird is its parts.
            (Some(path), None) => Truth::Mask(path),
            (Some(path), Some(colours)) => Truth::MaskOf { path, inside: Inside::Colours(colours.into()) },
        }
    }
}

fn read_classes(path: &Path, odd: &PassedOver) -> Result<Vec<Option<u32>>> {
    let mut classes = Vec::new();
    for_items(path, &[], &mut |item| {
        let class = item.value().and_then(|value| class_of(&value));
        // A picture's name is its place in the list, so that an odd one keeps its place.
        classes.push(class.map_err(|reason| odd.add(named(item.field, item.number, &reason))).ok());
        Ok(())
    })?;
    Ok(classes)
}

fn class_of(value: &Value) -> Result<u32, String> {
    let fields = Fields::of(value)?;
    let class = fields.required("class_idx")?;
    let number = class.as_u64().and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| wrong("class_idx", "a number of a class", class))
}

impl Source for FunnyBirds {
    fn path(&self) -> &Path {
        &self.index_file
    }

    fn concepts(&self) -> Option<&Concepts> {
        Some(&self.concepts)
    }

    fn passed_over(&self) -> Vec<Warning> {
        self.odd.warning().into_iter().collect()
    }

    fn pictures(&self) -> Result<Walk<'_>> {
        let classes = self.classes.iter().enumerate().filter_map(|(index, class)| Some((index, (*class)?)));
        Ok(Box::new(classes.map(|(index, class)| {
            let name = format!("{class}/{index:06}.png");
            let question = |Asked { label, prompt, colours }: Asked| Question {
                line: index + 1,
                id: None,
                prompt,
                part: colours.map(|_| label.clone()),
                label: Some(label),
                against: Vec::new(),
                truth: self.truth(&name, colours),
            };
            let questions = self.asked(class).into_iter().map(question).collect();
            Ok(Picture { path: self.images_folder.join(&name), name, questions })
        })))
    }
}

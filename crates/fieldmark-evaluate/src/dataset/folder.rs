//! A folder for each class becomes pictures that are asked about their class.
//!
//! Nothing is known of places, so such questions serve what is measured without one. In memory: the classes, and the
//! names of one class's pictures at a time.

use std::path::{Path, PathBuf};

use super::{
    Options, Picture, Question, Source, Truth, Walk,
    paths::{file_name, folders},
    wording::{Concepts, Phrases, Wording},
};
use fieldmark_model::error::{Error, Result};
use fieldmark_model::files::escaped;
use fieldmark_model::folder::{self, Skipped};

/// The data set.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    classes: Vec<Class>,
    concepts: Concepts,
}

#[derive(Debug)]
struct Class {
    folder: PathBuf,
    label: String,
    prompt: String,
}

impl Folder {
    /// # Errors
    /// [`Error::Read`], [`Error::Dataset`] or [`Error::Option`], as [`Dataset::open`](super::Dataset::open).
    pub(super) fn open(path: &Path, options: &Options) -> Result<Self> {
        let wording = Wording::new(options, &Phrases::default())?;
        let root = options.split.as_ref().map_or_else(|| path.to_owned(), |split| path.join(split));
        let mut concepts = Concepts::default();
        let mut classes = Vec::new();
        for folder in folders(&root)? {
            let label = file_name(&folder);
            let prompt = wording.class(&wording.words(&label));
            concepts.add(&prompt, &[]);
            classes.push(Class { folder, label, prompt });
        }
        if classes.is_empty() {
            let reason = "expected folders with pictures, one for each class, found none".into();
            return Err(Error::Dataset { path: root, reason });
        }
        Ok(Self { root, classes, concepts })
    }
}

impl Source for Folder {
    fn skipped(&self) -> Result<Skipped> {
        let mut skipped = Skipped::default();
        for class in &self.classes {
            skipped += folder::Folder::list(&class.folder)?.skipped;
        }
        Ok(skipped)
    }

    fn path(&self) -> &Path {
        &self.root
    }

    fn concepts(&self) -> Option<&Concepts> {
        Some(&self.concepts)
    }

    fn pictures(&self) -> Result<Walk<'_>> {
        let files = self.classes.iter().flat_map(|class| match folder::Folder::list(&class.folder) {
            Ok(listed) => listed.photos.into_iter().map(|path| Ok((class, path))).collect(),
            Err(error) => vec![Err(error)],
        });
        Ok(Box::new(files.enumerate().map(|(index, file)| {
            let (class, path) = file?;
            let question = Question {
                line: index + 1,
                id: None,
                prompt: class.prompt.clone(),
                label: Some(class.label.clone()),
                against: Vec::new(),
                part: None,
                truth: Truth::Unknown,
            };
            // Two names that are not UTF-8 may look the same.
            let file = path.file_name().map(Path::new).and_then(escaped).unwrap_or_else(|| file_name(&path));
            let name = format!("{}/{file}", class.label);
            Ok(Picture { name, path, questions: vec![question] })
        })))
    }
}

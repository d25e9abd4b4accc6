//! DATA: pictures with questions whose answers are known, read from files. One layout a file.
//!
//! [`Dataset`] reads what people have, as it was published: nothing is converted first. A data set is walked picture by
//! picture. What is in memory beside the picture at hand is an index: where in its files a picture's lines are, in a
//! hundred bytes or so for each picture, and the names of what can be asked about. This module knows nothing of models
//! and maps.

mod coco;
mod coco_shapes;
mod cub;
mod cub_attributes;
mod cub_files;
mod cub_parts;
mod folder;
mod funny_birds;
mod index;
mod json;
mod layout;
mod lines;
mod manifest;
mod mask_file;
mod open_images;
mod options;
mod passed_over;
mod paths;
mod region;
mod table;
mod truth;
mod voc;
mod wording;

use std::{
    collections::HashSet,
    fmt,
    path::{Path, PathBuf},
};

use fieldmark_explain::prompt::ConceptList;
use fieldmark_model::{
    error::{Error, Result},
    folder::Skipped,
    progress::Warning,
};
use wording::Concepts;

pub use layout::Layout;
pub use manifest::{FILE_NAME, Manifest, Pictures};
pub use mask_file::Inside;
pub use options::{Ask, Options, Place};
pub use region::{Region, Shape};
pub use truth::{Extent, PointLabels, PointPixels, PointUnit, Truth};

/// So many prompts of a set that lists no concepts are kept.
const PROMPTS_KEPT: usize = 1000;

/// So many questions at most are asked in one look at a picture: their maps are in memory together.
const QUESTIONS_A_PASS: usize = 64;

/// A picture, and what is asked about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// The picture as the data set names it.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// At least one question.
    pub questions: Vec<Question>,
}

/// A concept, its rivals, and what is known about it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Question {
    /// Where the data set's file asks it: the line, or the place in a JSON list or among the pictures where there are
    /// no lines; the first is 1.
    pub line: usize,
    /// The data set's own name for the question.
    pub id: Option<String>,
    /// The concept, in the words that the model reads.
    pub prompt: String,
    /// The data set's own name of the concept, such as `014.Indigo_Bunting`; several, joined by `, `, where they have
    /// one prompt.
    pub label: Option<String>,
    /// Its rivals; none of them is the concept itself.
    pub against: Vec<String>,
    /// A label of what is pointed at, such as `wing`.
    pub part: Option<String>,
    /// Where the concept is.
    pub truth: Truth,
}

/// What a layout's reader offers.
trait Source: fmt::Debug + Send + Sync {
    /// The file or directory that the pictures come from.
    fn path(&self) -> &Path;

    /// What can be asked about, if the set says so.
    fn concepts(&self) -> Option<&Concepts>;

    /// What of the files cannot be used, once all pictures were walked.
    fn passed_over(&self) -> Vec<Warning> {
        Vec::new()
    }

    /// The pictures in their order; one without a question may be among them.
    fn pictures(&self) -> Result<Walk<'_>>;

    /// What is left out of folders that are searched for pictures.
    fn skipped(&self) -> Result<Skipped> {
        Ok(Skipped::default())
    }
}

/// Pictures, one after another.
type Walk<'a> = Box<dyn Iterator<Item = Result<Picture>> + 'a>;

/// A data set whose files are sound. It is read anew for every walk, so its length hardly costs memory.
#[derive(Debug)]
pub struct Dataset {
    layout: Layout,
    passes: usize,
    /// What is asked, of a set that lists no concepts.
    asked: Vec<String>,
    warnings: Vec<Warning>,
    source: Box<dyn Source>,
}

impl Dataset {
    /// Opens what lies at a path, and reads everything in it once but the pictures and masks.
    ///
    /// # Errors
    /// [`Error::Read`] if a file cannot be read; [`Error::Option`] if an option does not suit the layout;
    /// [`Error::Dataset`] if it is no data set, or has no question, or names the file, the line or field, what was
    /// expected and what was found.
    pub fn open(path: impl AsRef<Path>, options: &Options) -> Result<Self> {
        let path = path.as_ref();
        let layout = options.layout.map_or_else(|| Layout::of(path), Ok)?;
        options.check(layout)?;
        let source: Box<dyn Source> = match layout {
            Layout::Manifest => Box::new(Manifest::open(path)?),
            Layout::Cub => Box::new(cub::Cub::open(path, options)?),
            Layout::Folder => Box::new(folder::Folder::open(path, options)?),
            Layout::Coco => Box::new(coco::Coco::open(path, options)?),
            Layout::OpenImages => Box::new(open_images::OpenImages::open(path, options)?),
            Layout::FunnyBirds => Box::new(funny_birds::FunnyBirds::open(path, options)?),
            Layout::Voc => Box::new(voc::Voc::open(path, options)?),
        };
        let unread = Self { layout, passes: 0, asked: Vec::new(), warnings: Vec::new(), source };
        let (mut passes, mut seen, mut asked) = (0, HashSet::new(), Vec::new());
        for picture in unread.pictures()? {
            passes += 1;
            for Question { prompt, .. } in picture?.questions {
                if unread.source.concepts().is_none()
                    && asked.len() < PROMPTS_KEPT
                    && seen.insert(prompt.clone())
                {
                    asked.push(prompt);
                }
            }
        }
        let warnings = unread.source.passed_over();
        if passes == 0 {
            let why = warnings.first().map_or(String::new(), |warning| format!("; {warning}"));
            let reason = format!("expected a picture with a question, found none{why}");
            return Err(Error::Dataset { path: unread.path().into(), reason });
        }
        Ok(Self { passes, asked, warnings, ..unread })
    }

    /// What of its files cannot be used and is passed over: odd annotations and lines, by file.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The file or directory that the pictures come from.
    pub fn path(&self) -> &Path {
        self.source.path()
    }

    /// How its files are laid out.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// How many pictures [`pictures`](Self::pictures) yields.
    pub fn passes(&self) -> usize {
        self.passes
    }

    /// How many entries of its folders are left out, where the pictures are the files of a folder; none for layouts
    /// that name their pictures.
    ///
    /// # Errors
    /// [`Error::Read`] if a folder cannot be read.
    pub fn skipped(&self) -> Result<Skipped> {
        self.source.skipped()
    }

    /// Every prompt that the set can ask about, none of them twice: the list in which rivals are found. Empty for a
    /// manifest, which names its rivals.
    pub fn concepts(&self) -> &[String] {
        self.source.concepts().map_or(&[], Concepts::prompts)
    }

    /// Prompts that the set asks about: its concepts; of a manifest, the first 1000 different prompts.
    pub fn prompts(&self) -> &[String] {
        self.source.concepts().map_or(&self.asked, Concepts::prompts)
    }

    /// The concepts as a list, with the more general ones that the set knows: a category's supercategory, the
    /// class of a part. What a prompt belongs to is none of its rivals. None for a manifest.
    ///
    /// # Errors
    /// [`Error::Option`] if there are more than a list may have, or they belong to each other in a circle.
    pub fn concept_list(&self) -> Result<Option<ConceptList>> {
        self.source.concepts().map(Concepts::list).transpose()
    }

    /// The pictures, in the same order each time. One with more than 64 questions comes several times, since all maps
    /// of a look are in memory together. Ends after the first error.
    ///
    /// # Errors
    /// [`Error::Read`] if a file cannot be opened. What is yielded fails as [`Dataset::open`] does, if the files have
    /// changed since.
    pub fn pictures(&self) -> Result<Box<dyn Iterator<Item = Result<Picture>> + '_>> {
        let mut failed = false;
        let until_error = self.source.pictures()?.take_while(move |picture| {
            let go_on = !failed;
            failed = picture.is_err();
            go_on
        });
        Ok(Box::new(until_error.flat_map(passes)))
    }
}

/// A picture as often as it is looked at.
fn passes(picture: Result<Picture>) -> Vec<Result<Picture>> {
    match picture {
        Ok(picture) => {
            let passes = picture.questions.chunks(QUESTIONS_A_PASS);
            passes.map(|questions| Ok(Picture { questions: questions.into(), ..picture.clone() })).collect()
        }
        Err(error) => vec![Err(error)],
    }
}

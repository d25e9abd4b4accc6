//! What is read of a data set, what is asked, and in which words.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Layout;
use fieldmark_model::error::{Error, Result};
use fieldmark_model::named;

/// What is read of a data set, what is asked, and in which words. A manifest says all of it itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Options {
    /// How the files are laid out. None: recognised from the files.
    pub layout: Option<Layout>,
    /// The part of the set, by the set's own name: `train`, `test`, `val`, `val2017`. None: all of it, or the part that
    /// the layout's page names.
    pub split: Option<String>,
    /// What is asked. Empty: the layout's own choice, mostly classes.
    pub ask: Vec<Ask>,
    /// What counts as the place of a class or a thing, where the set knows several.
    pub place: Place,
    /// A file with the prompt of each label: a JSON object. None, and for labels that are not in it: the label's words.
    pub prompts: Option<PathBuf>,
    /// How a class is asked about, with `{class}` in it. None: `{class}`.
    pub class_phrase: Option<String>,
    /// How a part is asked about, with `{part}` and perhaps `{class}` in it. None: the layout's own.
    pub part_phrase: Option<String>,
    /// How an attribute is asked about, with `{value}` and perhaps `{attribute}` and `{class}` in it. None: the
    /// layout's own.
    pub attribute_phrase: Option<String>,
    /// The certainty from which on an attribute counts, as in CUB: from 1, not visible, to 4, definitely. None: 3,
    /// probably.
    pub certainty: Option<u8>,
    /// The folder with the pictures. None: found in the usual places.
    pub images: Option<PathBuf>,
    /// The folder with the masks, where they come apart. None: found in the usual places.
    pub masks: Option<PathBuf>,
}

fieldmark_model::setters!(Options {
    layout: Option<Layout>,
    split: Option<String>,
    ask: Vec<Ask>,
    place: Place,
    prompts: Option<PathBuf>,
    class_phrase: Option<String>,
    part_phrase: Option<String>,
    attribute_phrase: Option<String>,
    certainty: Option<u8>,
    images: Option<PathBuf>,
    masks: Option<PathBuf>,
});

impl Options {
    /// Refuses what a layout does not have.
    pub(super) fn check(&self, layout: Layout) -> Result<()> {
        use Ask::{Attribute, Class, Part};
        let refuse = |option, reason| Err(Error::Option { option, reason });
        let known: &[Ask] = match layout {
            Layout::Manifest => &[],
            Layout::Folder | Layout::OpenImages => &[Class],
            Layout::Coco | Layout::FunnyBirds | Layout::Voc => &[Class, Part],
            Layout::Cub => &[Class, Part, Attribute],
        };
        if let Some(other) = self.ask.iter().find(|ask| !known.contains(ask)) {
            let names: Vec<_> = known.iter().map(|ask| ask.name()).collect();
            let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            return refuse("ask", format!("expected {names} for {layout}, found {}", other.name()));
        }
        if let Some(option) = self.unheard(layout) {
            return refuse(option, format!("expected none for {layout}, found one"));
        }
        match &self.split {
            // It becomes part of file names.
            Some(split) if split.is_empty() || split.contains(['/', '\\']) => {
                refuse("split", format!("expected a name, found {split:?}"))
            }
            _ => Ok(()),
        }
    }

    /// An option that says something to a layout that does not listen.
    fn unheard(&self, layout: Layout) -> Option<&'static str> {
        use Layout::{Coco, Cub, Folder, FunnyBirds, Manifest, Voc};
        let is_manifest = layout == Manifest;
        // Whether it is given, and whether the layout listens.
        let options = [
            ("split", self.split.is_some(), !is_manifest),
            ("place", self.place != Place::Finest, matches!(layout, Cub | Coco | Voc)),
            ("prompts", self.prompts.is_some(), !is_manifest),
            ("class_phrase", self.class_phrase.is_some(), !is_manifest),
            ("part_phrase", self.part_phrase.is_some(), matches!(layout, Cub | Coco | FunnyBirds | Voc)),
            ("attribute_phrase", self.attribute_phrase.is_some(), layout == Cub),
            ("certainty", self.certainty.is_some(), layout == Cub),
            ("images", self.images.is_some(), !matches!(layout, Manifest | Folder)),
            ("masks", self.masks.is_some(), matches!(layout, Cub | FunnyBirds)),
        ];
        let unheard = options.into_iter().find(|(_, is_given, listens)| *is_given && !listens);
        unheard.map(|(option, ..)| option)
    }
}

/// What can be asked about a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ask {
    /// The thing that is shown.
    Class,
    /// A part of it.
    Part,
    /// A property of it.
    Attribute,
}

named!(Ask, "ask", Class => "class", Part => "part", Attribute => "attribute");

/// What counts as the place of a thing, where a set knows several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Place {
    /// The finest that is known: its pixels, else its box.
    #[default]
    Finest,
    /// Its box, even where its pixels are known: what many papers measure against.
    Box,
}

named!(Place, "place", Finest => "finest", Box => "box");

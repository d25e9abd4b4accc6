//! Prompts and photos. Each can be given by position, or the prompts by `--prompt`; then every position is a photo.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use clap::{
    ArgMatches, Args, Command, Error, FromArgMatches,
    error::{ErrorKind, Result},
};
use fieldmark::prompt::ConceptList;

/// One prompt and the photos to look at.
#[derive(Debug)]
pub struct PromptAndPhotos {
    pub prompt: String,
    pub images: Vec<PathBuf>,
    /// A result whose question is asked again; then there is no prompt.
    pub from: Option<PathBuf>,
}

/// One photo and the prompts to compare on it.
#[derive(Debug)]
pub struct PhotoAndPrompts {
    pub image: PathBuf,
    pub prompts: Vec<String>,
}

/// Prompts, given or in a list, and the photos to look at.
#[derive(Debug)]
pub struct PromptsAndPhotos {
    pub prompts: Vec<String>,
    /// A list that ships, or a file.
    pub list: Option<PathBuf>,
    pub images: Vec<PathBuf>,
}

#[derive(Args)]
struct PromptAndPhotosTyped {
    /// The concept to look for, in words; left out with --prompt
    #[arg(required_unless_present_any = ["prompt", "from"], value_name = "PROMPT")]
    first: Option<OsString>,

    /// Photos; a directory means the images in it, - means standard input
    #[arg(required_unless_present_any = ["prompt", "from"], value_name = "IMAGE")]
    images: Vec<PathBuf>,

    /// The concept to look for; all positions are then photos
    #[arg(short, long, help_heading = "Prompts")]
    prompt: Option<String>,

    /// Ask the question of an earlier result again, from a file with its JSON line; FILE:N means line N of several
    ///
    /// Prompt, rivals, settings, model and kinds of files are those of the result, and so is the photo unless photos are
    /// given. The file is what `localize --json` printed.
    #[arg(long, value_name = "FILE", help_heading = "Prompts",
          conflicts_with_all = ["prompt", "against", "strength", "RivalArgs", "method", "MapArgs", "LayersArgs", "ViewArgs",
                                "model", "precision", "save"])]
    from: Option<PathBuf>,
}

#[derive(Args)]
struct PhotoAndPromptsTyped {
    /// The photo; - means standard input
    #[arg(value_name = "IMAGE")]
    image: PathBuf,

    /// Two or more prompts; with --concepts, any number
    #[arg(required_unless_present_any = ["concepts", "prompt"], value_name = "PROMPT")]
    others: Vec<OsString>,

    /// A prompt to compare, in place of those by position; repeatable
    #[arg(short, long, help_heading = "Prompts")]
    prompt: Vec<String>,
}

#[derive(Args)]
struct PromptsAndPhotosTyped {
    /// A list of prompts: one that ships (see `fieldmark prompts`), or a file; left out with --prompts or --prompt
    #[arg(required_unless_present_any = ["from", "prompts", "prompt"], value_name = "PROMPTS")]
    first: Option<PathBuf>,

    /// Photos; a directory means the images in it
    #[arg(required_unless_present_any = ["from", "prompts", "prompt"], value_name = "IMAGE")]
    images: Vec<PathBuf>,

    /// A prompt to ask about; repeatable. All positions are then photos
    #[arg(short, long, help_heading = "Prompts")]
    prompt: Vec<String>,

    /// A list of prompts: one that ships, or a file. All positions are then photos
    #[arg(long, value_name = "LIST", help_heading = "Prompts")]
    prompts: Option<PathBuf>,
}

impl PromptAndPhotos {
    fn new(typed: PromptAndPhotosTyped) -> Result<Self> {
        let PromptAndPhotosTyped { first, images, prompt, from } = typed;
        if from.is_some() {
            let images = first.map_or(Ok(Vec::new()), |first| photos(Some(first), images))?;
            return Ok(Self { prompt: String::new(), images, from });
        }
        let Some(prompt) = prompt else {
            return Ok(Self { prompt: text(first.unwrap_or_default())?, images, from });
        };
        Ok(Self { prompt, images: photos(first, images)?, from })
    }
}

impl PhotoAndPrompts {
    fn new(typed: PhotoAndPromptsTyped) -> Result<Self> {
        let PhotoAndPromptsTyped { image, others, prompt } = typed;
        if prompt.is_empty() {
            return Ok(Self { image, prompts: others.into_iter().map(text).collect::<Result<_>>()? });
        }
        if let Some(other) = others.first() {
            let other = other.to_string_lossy();
            return Err(wrong(format!(
                "expected one photo, found a second position: '{other}'\n\n  With --prompt, positions are photos. Give \
                 all prompts with --prompt, or all by position."
            )));
        }
        Ok(Self { image, prompts: prompt })
    }
}

impl PromptsAndPhotos {
    fn new(typed: PromptsAndPhotosTyped) -> Result<Self> {
        let PromptsAndPhotosTyped { first, images, prompt, prompts } = typed;
        if prompt.is_empty() && prompts.is_none() {
            return Ok(Self { prompts: prompt, list: first, images });
        }
        let images = photos(first.map(PathBuf::into_os_string), images)?;
        Ok(Self { prompts: prompt, list: prompts, images })
    }

    /// The prompts, and then those of the list that are not among them.
    pub fn all_prompts(&self) -> fieldmark::Result<Vec<String>> {
        let mut prompts = self.prompts.clone();
        if let Some(list) = &self.list {
            let names = ConceptList::open(list)?.names();
            prompts.extend(names.into_iter().filter(|name| !self.prompts.contains(name)));
        }
        Ok(prompts)
    }
}

/// Photos by position, of which there must be one. A first one that must be a prompt is refused: otherwise it would be
/// one photo that cannot be read among many.
fn photos(first: Option<OsString>, others: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    let Some(first) = first else {
        return Err(wrong("expected photos, found none\n\n  With --prompt, all positions are photos."));
    };
    if is_words(&first) {
        let first = first.to_string_lossy();
        return Err(wrong(format!(
            "expected a photo or a directory, found '{first}'\n\n  With --prompt or --from, all positions are photos: leave \
             out the prompt by position."
        )));
    }
    Ok(std::iter::once(first.into()).chain(others).collect())
}

/// Whether a position cannot be a photo: nothing of that name is there, and it does not look like the name of a file.
fn is_words(position: &OsStr) -> bool {
    let path = Path::new(position);
    let is_name = path.components().count() > 1 || position.to_string_lossy().contains(['.', '*', '\\']);
    position != "-" && !is_name && path.symlink_metadata().is_err()
}

fn text(position: OsString) -> Result<String> {
    position.into_string().map_err(|_| Error::new(ErrorKind::InvalidUtf8))
}

fn wrong(reason: impl std::fmt::Display) -> Error {
    Error::raw(ErrorKind::WrongNumberOfValues, reason)
}

/// What is typed by `$typed` becomes `$type`, which commands read.
macro_rules! args_through {
    ($type:ident, $typed:ident) => {
        impl FromArgMatches for $type {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self> {
                Self::new($typed::from_arg_matches(matches)?)
            }

            fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self> {
                Self::new($typed::from_arg_matches_mut(matches)?)
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<()> {
                *self = Self::from_arg_matches(matches)?;
                Ok(())
            }
        }

        impl Args for $type {
            fn augment_args(command: Command) -> Command {
                $typed::augment_args(command)
            }

            fn augment_args_for_update(command: Command) -> Command {
                $typed::augment_args_for_update(command)
            }
        }
    };
}

args_through!(PromptAndPhotos, PromptAndPhotosTyped);
args_through!(PhotoAndPrompts, PhotoAndPromptsTyped);
args_through!(PromptsAndPhotos, PromptsAndPhotosTyped);

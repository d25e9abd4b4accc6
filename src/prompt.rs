//! How a concept is put into words: templates, and lists of concepts.

use std::{collections::HashSet, path::Path};

use crate::{
    error::{Error, Result},
    files::read_bounded,
};

/// What stands for the prompt in a template.
const PLACE: &str = "{}";

/// The most bytes that a list of concepts may have.
const LARGEST_LIST: u64 = 16 << 20;

/// How a prompt is phrased before the model reads it: a text in which `{}` stands for the prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(String);

impl Template {
    /// Checks that the text has a place for the prompt.
    ///
    /// # Errors
    /// [`Error::Option`] if `{}` is not in it.
    pub fn new(text: &str) -> Result<Self> {
        match text.contains(PLACE) {
            true => Ok(Self(text.into())),
            false => {
                let reason = format!("expected a text with {PLACE} in it, found {text:?}");
                Err(Error::Option { option: "template", reason })
            }
        }
    }

    /// The prompt in its place.
    pub fn fill(&self, prompt: &str) -> String {
        self.0.replace(PLACE, prompt)
    }

    /// The text with `{}` in it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Template {
    /// The prompt as it is.
    fn default() -> Self {
        Self(PLACE.into())
    }
}

/// A list of concepts, from which rivals are chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConceptList {
    concepts: Vec<String>,
}

impl ConceptList {
    /// Reads a text file: a concept a line; blank lines and what follows a `#` are skipped.
    ///
    /// # Errors
    /// [`Error::Read`] if it cannot be read, [`Error::Option`] if it is not UTF-8 or has no concept.
    pub fn read(path: &Path) -> Result<Self> {
        let error = |reason: &str| {
            let reason = format!("{}: {reason}", path.display());
            Error::Option { option: "concepts", reason }
        };
        let bytes = read_bounded(path, LARGEST_LIST)?;
        let list = Self::parse(&String::from_utf8(bytes).map_err(|_| error("expected UTF-8 text"))?);
        match list.concepts.is_empty() {
            true => Err(error("expected a concept a line, found none")),
            false => Ok(list),
        }
    }

    /// Parses the text of such a file. Of concepts that differ only in case, the first is kept.
    pub fn parse(text: &str) -> Self {
        let mut seen = HashSet::new();
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let concepts = lines
            .filter(|line| !line.is_empty() && seen.insert(line.to_lowercase()))
            .map(str::to_owned)
            .collect();
        Self { concepts }
    }

    /// The concepts, in the file's order.
    pub fn concepts(&self) -> &[String] {
        &self.concepts
    }
}

/// Whether two prompts are the same words, whatever their case and spacing.
pub fn same_words(one: &str, other: &str) -> bool {
    words(one).eq(words(other))
}

/// The first prompt that has the same words as one before it.
pub(crate) fn repeated(prompts: &[String]) -> Option<&String> {
    let mut seen = HashSet::new();
    prompts.iter().find(|prompt| !seen.insert(words(prompt).collect::<Vec<_>>()))
}

fn words(prompt: &str) -> impl Iterator<Item = String> {
    prompt.split_whitespace().map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_have_a_place() {
        let template = Template::new("a photo of a {}, a bird").map(|template| template.fill("dunnock"));
        assert_eq!(template.ok().as_deref(), Some("a photo of a dunnock, a bird"));
        assert!(Template::new("a photo").is_err());
    }

    #[test]
    fn lists_skip_comments_and_repetitions() {
        let list = ConceptList::parse("# birds\nDunnock\n\n house sparrow # common\ndunnock\n");
        assert_eq!(list.concepts(), ["Dunnock", "house sparrow"]);
    }

    #[test]
    fn words_are_compared_without_case_and_spacing() {
        assert!(same_words(" Rusty  blackbird", "rusty blackbird"));
        assert!(!same_words("rusty blackbird", "rustyblackbird"));
        let prompts = ["rusty", "Dunnock", " dunnock", "rusty"].map(str::to_owned);
        assert_eq!(repeated(&prompts), Some(&prompts[2]));
        assert_eq!(repeated(&prompts[..2]), None);
    }
}

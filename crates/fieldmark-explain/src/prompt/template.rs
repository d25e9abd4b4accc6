//! Templates: how a prompt is phrased before the model reads it.
//!
//! CLIP's authors put class names into sentences ("a photo of a {}.") and average the text embeddings of several,
//! each made a unit vector first (Radford et al., arXiv 2103.00020, section 3.1.4). An article in a template stays as
//! it is written, before a vowel too, because theirs did.

use std::{fmt, str::FromStr};

use fieldmark_model::{
    as_text,
    error::{Error, Result},
};

/// What stands for the prompt in a template.
pub(super) const PLACE: &str = "{}";

/// How a prompt is phrased before the model reads it: a text in which `{}` stands for the prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(String);

as_text!(Template);

impl Template {
    /// Checks that the text has a place for the prompt.
    ///
    /// # Errors
    /// [`Error::Option`] if `{}` is not in it.
    pub fn new(text: &str) -> Result<Self> {
        if text.contains(PLACE) {
            Ok(Self(text.into()))
        } else {
            Err(template_error(&format!("expected a text with {PLACE} in it, found {text:?}")))
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

impl FromStr for Template {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl Default for Template {
    /// The prompt as it is.
    fn default() -> Self {
        Self(PLACE.into())
    }
}

pub(super) fn template_error(reason: &str) -> Error {
    Error::Option { option: "template", reason: reason.into() }
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
}

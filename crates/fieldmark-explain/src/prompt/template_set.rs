//! The sets of templates that ship, from the folder `prompts`, compiled in.

use std::sync::LazyLock;

use fieldmark_model::error::Result;

use super::template::{PLACE, Template, template_error};

/// Templates that belong together.
#[derive(Clone, Copy, Debug)]
pub struct TemplateSet {
    /// What stands for the set on the command line.
    pub name: &'static str,
    text: &'static str,
}

/// The sets of templates that ship.
pub static TEMPLATE_SETS: LazyLock<Vec<TemplateSet>> = LazyLock::new(|| {
    fieldmark_prompts::TEMPLATE_SETS.iter().map(|&(name, text)| TemplateSet { name, text }).collect()
});

impl TemplateSet {
    /// What they are, as the first line of their file says.
    pub fn about(&self) -> &'static str {
        self.text.lines().next().unwrap_or_default().trim_start_matches(['#', ' '])
    }

    /// The templates, in the file's order.
    ///
    /// # Errors
    /// None for the sets that ship: a test reads them all.
    pub fn templates(&self) -> Result<Vec<Template>> {
        let lines = self.text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(Template::new).collect()
    }
}

/// The templates that are meant: those of a set that ships, by its name, or the text itself.
///
/// # Errors
/// [`Error::Option`](fieldmark_model::error::Error::Option) if it is neither a name of [`TEMPLATE_SETS`] nor a text with `{}` in it.
pub fn templates(name_or_text: &str) -> Result<Vec<Template>> {
    if name_or_text.contains(PLACE) {
        return Ok(vec![Template::new(name_or_text)?]);
    }
    match TEMPLATE_SETS.iter().find(|set| set.name == name_or_text) {
        Some(set) => set.templates(),
        None => {
            let names: Vec<_> = TEMPLATE_SETS.iter().map(|set| set.name).collect();
            let expected = format!("expected a text with {PLACE} in it or one of {}", names.join(", "));
            Err(template_error(&format!("{expected}; found {name_or_text:?}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_that_ship_are_whole_and_say_what_they_are() -> Result<()> {
        for set in TEMPLATE_SETS.iter() {
            let templates = set.templates()?;
            let expected = set.name.strip_prefix("openai-").and_then(|count| count.parse().ok());
            assert!(expected.is_none_or(|count: usize| templates.len() == count), "{}", set.name);
            assert!(!templates.is_empty() && !set.about().is_empty(), "{}", set.name);
            let repeated = templates.iter().enumerate().find(|(at, one)| templates[..*at].contains(one));
            assert!(repeated.is_none(), "{}: {repeated:?}", set.name);
        }
        Ok(())
    }

    #[test]
    fn a_name_stands_for_its_set_and_a_text_for_itself() -> Result<()> {
        assert_eq!(templates("plain")?, [Template::default()]);
        assert_eq!(templates("photo")?[0].as_str(), "a photo of a {}.");
        assert_eq!(templates("the {} here")?, [Template::new("the {} here")?]);
        let reason = templates("photos").err().map(|error| error.to_string()).unwrap_or_default();
        assert!(reason.contains("plain, photo") && reason.ends_with("found \"photos\""), "{reason}");
        Ok(())
    }
}

//! The lists of concepts that ship, from the folder `prompts`, compiled in.

use std::path::Path;

use fieldmark_model::error::{Error, Result};

pub use fieldmark_prompts::CONCEPT_LISTS;

use super::list::{ConceptList, list_error};

/// What a list is also called.
const OTHER_NAMES: [(&str, &str); 2] = [("birds", "cub-birds"), ("colors", "colours")];

impl ConceptList {
    /// The list that is meant: one that ships, by its name, or else a file. A file whose name is also that of a list
    /// is meant by a path, `./birds`.
    ///
    /// # Errors
    /// As [`ConceptList::read`]; or [`Error::Option`], which names the lists, if it is neither a list that ships nor
    /// looks like a file.
    pub fn open(name_or_file: impl AsRef<Path>) -> Result<Self> {
        let path = name_or_file.as_ref();
        // No list that ships has a name that is not UTF-8.
        let Some(name_or_file) = path.to_str() else { return Self::read(path) };
        let other = OTHER_NAMES.iter().find(|(other, _)| *other == name_or_file);
        let name = other.map_or(name_or_file, |(_, name)| name);
        if let Some((_, text)) = CONCEPT_LISTS.iter().find(|(shipped, _)| *shipped == name) {
            return Self::parse(text);
        }
        if path.exists() || name_or_file.contains(['.', '/', std::path::MAIN_SEPARATOR]) {
            return Self::read(path);
        }
        let names: Vec<_> = CONCEPT_LISTS.iter().map(|(name, _)| *name).collect();
        let reason = format!("expected a file or one of {}; found {name_or_file:?}", names.join(", "));
        Err::<Self, Error>(list_error(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_ship_are_whole_and_say_what_they_are() -> Result<()> {
        let whole = [
            ("cub-birds", 200),
            ("birds-525", 525),
            ("dogs", 120),
            ("flowers", 102),
            ("cars", 196),
            ("aircraft", 100),
            ("imagenet", 1000),
        ];
        for (name, text) in CONCEPT_LISTS {
            let list = ConceptList::parse(text)?;
            let expected = whole.iter().find(|(known, _)| known == name);
            assert!(expected.is_none_or(|(_, count)| list.concepts().len() == *count), "{name}");
            assert!(list.concepts().len() >= 10 && list.about().is_some(), "{name}");
            assert!(!list.templates().is_empty(), "{name}");
        }
        Ok(())
    }

    #[test]
    fn all_that_ships_is_small() {
        let lists: usize = CONCEPT_LISTS.iter().map(|(_, text)| text.len()).sum();
        let templates: usize = fieldmark_prompts::TEMPLATE_SETS.iter().map(|(_, text)| text.len()).sum();
        assert!(lists + templates < 300_000);
    }

    #[test]
    fn a_list_has_its_name_and_may_have_another() -> Result<()> {
        assert_eq!(ConceptList::open("birds")?, ConceptList::open("cub-birds")?);
        let reason = ConceptList::open("brids").err().map(|error| error.to_string()).unwrap_or_default();
        assert!(reason.contains("cub-birds, blackbirds") && reason.ends_with("found \"brids\""), "{reason}");
        Ok(())
    }
}

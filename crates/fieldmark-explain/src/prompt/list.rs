//! A list of concepts: their names, other names for the same, and the more general concepts that they belong to.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    str::FromStr,
};

use fieldmark_model::{
    as_text,
    error::{Error, Result},
};

use super::{key, template::Template};

/// A concept of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Concept {
    /// The words that the model reads.
    pub name: String,
    /// Other words for the same. They are never rivals of each other.
    pub synonyms: Vec<String>,
}

/// A list of concepts, from which rivals are chosen.
///
/// Written out, it is a file that [`ConceptList::parse`] reads back to the same list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConceptList {
    pub(super) about: Option<String>,
    pub(super) templates: Vec<Template>,
    pub(super) concepts: Vec<Concept>,
    /// The groups' names, in the order of their first mention.
    pub(super) groups: Vec<String>,
    /// The more general concept of a concept or group, by the [`key`] of its name.
    pub(super) parents: BTreeMap<String, String>,
    /// Where the concept of a name or synonym is, by its [`key`].
    pub(super) places: HashMap<String, usize>,
    /// The hash of the list as it is written out.
    pub(super) sha256: String,
}

impl ConceptList {
    /// The SHA-256 of the list in hexadecimal digits, as it is written out: comments, blank lines and spacing of its
    /// file do not count.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// What the list holds, if it says so.
    pub fn about(&self) -> Option<&str> {
        self.about.as_deref()
    }

    /// The templates that suit its concepts, if it names any. They are a suggestion: nothing uses them unasked.
    pub fn templates(&self) -> &[Template] {
        &self.templates
    }

    /// The concepts, in the file's order.
    pub fn concepts(&self) -> &[Concept] {
        &self.concepts
    }

    /// The concepts' names, in the file's order.
    pub fn names(&self) -> Vec<String> {
        self.concepts.iter().map(|concept| concept.name.clone()).collect()
    }

    /// The more general concepts that others belong to, in the order of their first mention.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The concept of that name or synonym.
    pub fn find(&self, prompt: &str) -> Option<&Concept> {
        self.places.get(&key(prompt)).map(|place| &self.concepts[*place])
    }

    /// What a prompt belongs to, from its own group to the most general one: of "rusty blackbird", "blackbird" and
    /// "bird". A prompt that is not in the list but has words of it, as "rusty blackbird wing", belongs to the longest
    /// concept or group among its words, "rusty blackbird", and to what that belongs to.
    pub fn groups_of(&self, prompt: &str) -> Vec<&str> {
        let words = key(prompt);
        let mut groups = Vec::new();
        let mut at = match self.find(prompt) {
            Some(concept) => key(&concept.name),
            None if self.groups.iter().any(|group| key(group) == words) => words,
            None => {
                groups.extend(self.longest_in(&words));
                groups.first().map(|name| key(name)).unwrap_or_default()
            }
        };
        while let Some(parent) = self.parents.get(&at) {
            groups.push(parent);
            at = key(parent);
        }
        groups
    }

    /// The concepts that may be rivals of a prompt: neither the same concept by another name, nor what it belongs to,
    /// which is true of it as well, nor what belongs to it.
    pub fn candidates(&self, prompt: &str) -> Vec<&str> {
        let own = self.places.get(&key(prompt));
        let words = key(prompt);
        let above: Vec<String> = self.groups_of(prompt).into_iter().map(key).collect();
        let is_rival = |(place, concept): &(usize, &Concept)| {
            let name = key(&concept.name);
            let is_below = || self.groups_of(&concept.name).into_iter().any(|group| key(group) == words);
            Some(place) != own && !above.contains(&name) && !is_below()
        };
        let rivals = self.concepts.iter().enumerate().filter(is_rival);
        rivals.map(|(_, concept)| concept.name.as_str()).collect()
    }

    /// The name of the concept or group with the most letters whose words are among some words.
    fn longest_in(&self, words: &str) -> Option<&str> {
        let around = format!(" {words} ");
        let concepts =
            self.places.iter().map(|(key, place)| (key.clone(), self.concepts[*place].name.as_str()));
        let groups = self.groups.iter().map(|name| (key(name), name.as_str()));
        let inside = concepts.chain(groups).filter(|(key, _)| around.contains(&format!(" {key} ")));
        // The name decides between keys of one length, so that the answer is always the same.
        inside.max_by_key(|(key, name)| (key.len(), *name)).map(|(_, name)| name)
    }

    /// A concept's or group's groups as they are written behind it or in a heading: `blackbird < bird`.
    fn chain(&self, name: &str) -> String {
        self.groups_of(name).join(" < ")
    }
}

impl FromStr for ConceptList {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

as_text!(ConceptList);

impl fmt::Display for ConceptList {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(about) = &self.about {
            writeln!(formatter, "@about {about}")?;
        }
        for template in &self.templates {
            writeln!(formatter, "@template {}", template.as_str())?;
        }
        let mut heading = String::new();
        for concept in &self.concepts {
            let chain = self.chain(&concept.name);
            if chain != heading {
                writeln!(formatter, "\n[{chain}]")?;
                heading = chain;
            }
            let names = std::iter::once(&concept.name).chain(&concept.synonyms);
            writeln!(formatter, "{}", names.map(String::as_str).collect::<Vec<_>>().join(" = "))?;
        }
        Ok(())
    }
}

/// What is wrong with a list.
pub(super) fn list_error(reason: String) -> Error {
    Error::Option { option: "concepts", reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldmark_model::error::Result;

    const BIRDS: &str =
        "[blackbird < bird]\nrusty blackbird = rusty\nred-winged blackbird\n[]\nreed\nbird\nwing\n";

    #[test]
    fn a_concept_belongs_to_its_group_and_what_that_belongs_to() -> Result<()> {
        let list = ConceptList::parse(BIRDS)?;
        assert_eq!(list.groups_of("Rusty  Blackbird"), ["blackbird", "bird"]);
        assert_eq!(list.groups_of("rusty"), ["blackbird", "bird"]);
        assert_eq!(list.groups_of("blackbird"), ["bird"]);
        assert_eq!(list.groups_of("reed"), [""; 0]);
        assert_eq!(list.groups(), ["blackbird", "bird"]);
        Ok(())
    }

    #[test]
    fn a_part_belongs_to_the_longest_concept_among_its_words() -> Result<()> {
        let list = ConceptList::parse(BIRDS)?;
        assert_eq!(list.groups_of("rusty blackbird wing"), ["rusty blackbird", "blackbird", "bird"]);
        assert_eq!(list.groups_of("blackbird wing"), ["blackbird", "bird"]);
        assert_eq!(list.groups_of("wingspan"), [""; 0], "only whole words count");
        Ok(())
    }

    #[test]
    fn what_is_true_of_the_prompt_too_is_no_rival() -> Result<()> {
        let list = ConceptList::parse(BIRDS)?;
        assert_eq!(list.candidates("rusty"), ["red-winged blackbird", "reed", "wing"]);
        assert_eq!(list.candidates("rusty blackbird crown"), ["red-winged blackbird", "reed", "wing"]);
        assert_eq!(list.candidates("blackbird"), ["reed", "wing"]);
        assert_eq!(list.candidates("stone").len(), 5);
        Ok(())
    }

    #[test]
    fn synonyms_lead_to_their_concept() -> Result<()> {
        let list = ConceptList::parse(BIRDS)?;
        assert_eq!(list.find("RUSTY").map(|concept| concept.name.as_str()), Some("rusty blackbird"));
        assert_eq!(list.find("blackbird"), None, "a group is no concept unless it is listed");
        Ok(())
    }

    #[test]
    fn what_ships_reads_back_as_it_is_written() -> Result<()> {
        for (name, text) in crate::prompt::CONCEPT_LISTS {
            let list = ConceptList::parse(text)?;
            assert_eq!(ConceptList::parse(&list.to_string())?, list, "{name}");
        }
        Ok(())
    }
}

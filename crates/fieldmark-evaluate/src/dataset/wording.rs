//! Labels of a data set become prompts, and prompts the list of what can be asked about.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
};

use super::{Options, lines::cut};
use fieldmark_explain::prompt::{ConceptList, key};
use fieldmark_model::{
    error::{Error, Result},
    files::read_bounded,
};

/// The most bytes that a file of prompts may have.
const LARGEST_FILE: u64 = 16 << 20;

/// How the labels of a data set are put into words.
#[derive(Debug)]
pub(super) struct Wording {
    /// The user's own words for a label.
    prompts: BTreeMap<String, String>,
    class: Phrase,
    part: Phrase,
    attribute: Phrase,
}

/// A layout's own phrases.
pub(super) struct Phrases {
    pub(super) part: &'static str,
    pub(super) attribute: &'static str,
}

impl Default for Phrases {
    fn default() -> Self {
        Self { part: "{class} {part}", attribute: "{value} {attribute}" }
    }
}

impl Wording {
    /// # Errors
    /// [`Error::Option`] if a phrase has no place for what it must name, or one for something else; [`Error::Read`] and
    /// [`Error::Dataset`] if the file of prompts cannot be read or is not an object of texts.
    pub(super) fn new(options: &Options, own: &Phrases) -> Result<Self> {
        let prompts = options.prompts.as_deref().map_or_else(|| Ok(BTreeMap::new()), read_prompts)?;
        let text = |chosen: &Option<String>, own: &str| chosen.clone().unwrap_or_else(|| own.into());
        Ok(Self {
            prompts,
            class: Phrase::new("class_phrase", text(&options.class_phrase, "{class}"), &["class"])?,
            part: Phrase::new("part_phrase", text(&options.part_phrase, own.part), &["part", "class"])?,
            attribute: Phrase::new(
                "attribute_phrase",
                text(&options.attribute_phrase, own.attribute),
                &["value", "attribute", "class"],
            )?,
        })
    }

    /// The user's own words for a label, if there are any.
    pub(super) fn own(&self, label: &str) -> Option<&str> {
        self.prompts.get(label).map(String::as_str)
    }

    /// The words of a label: the user's own, else those that it is made of.
    pub(super) fn words(&self, label: &str) -> String {
        self.own(label).map_or_else(|| plain_words(label), str::to_owned)
    }

    /// How a class is asked about, by its words.
    pub(super) fn class(&self, class: &str) -> String {
        self.class.fill(&[("class", class)])
    }

    /// How a part is asked about, by the words of the part and of what it is a part of.
    pub(super) fn part(&self, part: &str, class: &str) -> String {
        self.part.fill(&[("part", part), ("class", class)])
    }

    /// How an attribute is asked about.
    pub(super) fn attribute(&self, value: &str, attribute: &str, class: &str) -> String {
        self.attribute.fill(&[("value", value), ("attribute", attribute), ("class", class)])
    }

    /// Whether the words of an attribute's prompt depend on the class.
    pub(super) fn attribute_names_class(&self) -> bool {
        self.attribute.text.contains("{class}")
    }
}

/// The words that a label is made of: `014.Indigo_Bunting` are the words "indigo bunting".
pub(super) fn plain_words(label: &str) -> String {
    let name = match label.split_once('.') {
        Some((number, name)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            name
        }
        _ => label,
    };
    let words = key(&name.replace('_', " "));
    if words.is_empty() { label.to_owned() } else { words }
}

/// Adds a label to those that are asked about by one prompt.
pub(super) fn join_label(labels: &mut String, label: &str) {
    if labels.split(", ").all(|known| known != label) {
        labels.push_str(", ");
        labels.push_str(label);
    }
}

fn read_prompts(path: &Path) -> Result<BTreeMap<String, String>> {
    let error = |reason: String| Error::Dataset { path: path.into(), reason };
    let bytes = read_bounded(path, LARGEST_FILE)?;
    let prompts: BTreeMap<String, String> = serde_json::from_slice(&bytes)
        .map_err(|cause| error(format!("expected a JSON object of texts, found an error: {cause}")))?;
    match prompts.iter().find(|(_, prompt)| prompt.trim().is_empty()) {
        Some((label, _)) => Err(error(format!("{:?}: expected a prompt, found a blank text", cut(label)))),
        None => Ok(prompts),
    }
}

/// A text with places in braces.
#[derive(Debug)]
struct Phrase {
    text: String,
}

impl Phrase {
    /// `places` are those that it may have; it must have the first.
    fn new(option: &'static str, text: String, places: &[&str]) -> Result<Self> {
        let known: Vec<String> = places.iter().map(|place| format!("{{{place}}}")).collect();
        let error = |expected: &str| {
            let reason = format!("expected {expected}, found {:?}", cut(&text));
            Err(Error::Option { option, reason })
        };
        if !text.contains(&known[0]) {
            return error(&format!("a text with {} in it", known[0]));
        }
        let rest = known.iter().fold(text.clone(), |rest, place| rest.replace(place, ""));
        if rest.contains(['{', '}']) {
            error(&format!("no braces but {}", known.join(", ")))
        } else {
            Ok(Self { text })
        }
    }

    fn fill(&self, words: &[(&str, &str)]) -> String {
        let mut pieces = self.text.split('{');
        let mut filled = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let (place, after) = piece.split_once('}').unwrap_or((piece, ""));
            let word = words.iter().find(|(name, _)| *name == place);
            filled.push_str(word.map_or("", |(_, word)| word));
            filled.push_str(after);
        }
        filled.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// What can be asked about: prompts, none of them twice, and what is more general than each.
#[derive(Debug, Default)]
pub(super) struct Concepts {
    prompts: Vec<String>,
    seen: HashSet<String>,
    /// The more general concept of a concept, or of one that was named here, by its [`key`].
    above: HashMap<String, String>,
}

impl Concepts {
    /// Adds a prompt, if it is new, and what it belongs to, the most special first.
    pub(super) fn add(&mut self, prompt: &str, groups: &[&str]) {
        if !self.seen.insert(key(prompt)) {
            return;
        }
        self.prompts.push(prompt.into());
        let mut below = key(prompt);
        for group in groups {
            let own = key(group);
            if own == below || self.above.contains_key(&below) {
                return;
            }
            self.above.insert(std::mem::replace(&mut below, own), (*group).into());
        }
    }

    pub(super) fn prompts(&self) -> &[String] {
        &self.prompts
    }

    /// The list in which rivals are found.
    ///
    /// # Errors
    /// [`Error::Option`] if it is longer than lists may be, or groups lie within each other in a circle.
    pub(super) fn list(&self) -> Result<ConceptList> {
        let mut groups = Vec::new();
        let mut joined = HashSet::new();
        for prompt in &self.prompts {
            let mut below = prompt;
            while joined.insert(key(below))
                && let Some(group) = self.above.get(&key(below))
            {
                groups.push((below.as_str(), group.as_str()));
                below = group;
            }
        }
        ConceptList::new(&self.prompts, &groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_become_words() {
        assert_eq!(plain_words("014.Indigo_Bunting"), "indigo bunting");
        assert_eq!(plain_words("C.30 coupe"), "c.30 coupe");
        assert_eq!(plain_words("ABBOTTS  BABBLER"), "abbotts babbler");
        assert_eq!(plain_words("007."), "007.");
    }

    #[test]
    fn phrases_are_filled_once() -> Result<()> {
        let options = Options { part_phrase: Some("the {part} of a {class}".into()), ..Options::default() };
        let wording = Wording::new(&options, &Phrases::default())?;
        assert_eq!(wording.part("beak", "{part} bird"), "the beak of a {part} bird");
        assert_eq!(wording.attribute("blue", "wing color", "x"), "blue wing color");
        assert_eq!(wording.class("dunnock"), "dunnock");
        Ok(())
    }

    #[test]
    fn bad_phrases_are_refused() {
        let refused = |text: &str| Phrase::new("part_phrase", text.into(), &["part", "class"]).err();
        let reason = refused("{class}").map(|error| error.to_string());
        assert_eq!(
            reason.as_deref(),
            Some("part_phrase: expected a text with {part} in it, found \"{class}\"")
        );
        assert!(refused("{part} of {bird}").is_some() && refused("{part}}").is_some());
        assert!(refused("a {part}").is_none());
    }

    #[test]
    fn concepts_are_listed_once_with_their_groups() -> Result<()> {
        let mut concepts = Concepts::default();
        concepts.add("Dog", &["pet", "animal"]);
        concepts.add("cat", &["pet"]);
        concepts.add("dog", &["tool"]);
        concepts.add("person", &["person"]);
        concepts.add("animal", &[]);
        assert_eq!(concepts.prompts(), ["Dog", "cat", "person", "animal"]);
        let list = concepts.list()?;
        assert_eq!(list.groups_of("dog"), ["pet", "animal"]);
        assert_eq!(list.candidates("dog"), ["cat", "person"]);
        Ok(())
    }
}

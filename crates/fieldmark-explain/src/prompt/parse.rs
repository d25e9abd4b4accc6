//! The text of a file becomes a list of concepts, or a reason with the number of the line that is wrong.
//!
//! The format is described in `prompts/README.md`.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use fieldmark_model::{digest, error::Result as ListResult, files::read_bounded};

use super::{
    key,
    list::{Concept, ConceptList, list_error},
    template_set::templates,
};

/// The most bytes that a list of concepts may have.
const LARGEST_LIST: u64 = 4 << 20;

/// The most concepts that a list may have: each costs a pass through the text tower.
const MOST_CONCEPTS: usize = 50_000;

/// The most groups that may lie within each other.
const DEEPEST: usize = 16;

impl ConceptList {
    /// Reads a file of at most 4 MiB, in the format that `prompts/README.md` describes: at its simplest, a concept a
    /// line; blank lines and what follows a `#` are skipped.
    ///
    /// # Errors
    /// [`Error::Read`](fieldmark_model::error::Error::Read) if it cannot be read or is larger, [`Error::Option`](fieldmark_model::error::Error::Option) if it is not UTF-8 or not such a list;
    /// then it names the line.
    pub fn read(path: &Path) -> ListResult<Self> {
        let error = |reason: String| list_error(format!("{}: {reason}", path.display()));
        let bytes = read_bounded(path, LARGEST_LIST)?;
        let text = String::from_utf8(bytes).map_err(|_| error("expected UTF-8 text".into()))?;
        parse(&text).map_err(error)
    }

    /// Parses the text of such a file.
    ///
    /// # Errors
    /// [`Error::Option`](fieldmark_model::error::Error::Option) if it is not such a list; it names the line.
    pub fn parse(text: &str) -> ListResult<Self> {
        parse(text).map_err(list_error)
    }

    /// Makes a list of names, none of which may be given twice, and of pairs of a name and the more general concept
    /// that it belongs to.
    ///
    /// # Errors
    /// [`Error::Option`](fieldmark_model::error::Error::Option) if there is no name or too many, one is given twice or belongs to two groups, or groups lie in
    /// each other in a circle.
    pub fn new(names: &[String], groups: &[(&str, &str)]) -> ListResult<Self> {
        join(names, groups).map_err(list_error)
    }
}

/// Parses a list; the error begins with `line`, and a number.
fn parse(text: &str) -> Result<ConceptList, String> {
    let mut parser = Parser::default();
    for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        parser.line(line, index + 1).map_err(|reason| format!("line {}: {reason}", index + 1))?;
    }
    parser.finish()
}

/// Makes a list of names, and of pairs of a name and the group that it belongs to; an error names the place of one.
fn join(names: &[String], groups: &[(&str, &str)]) -> Result<ConceptList, String> {
    let mut parser = Parser::default();
    for (index, name) in names.iter().enumerate() {
        parser.add(name.clone(), Vec::new(), index + 1)?;
    }
    groups.iter().try_for_each(|(name, group)| parser.join(name, group, 0))?;
    parser.finish()
}

#[derive(Default)]
struct Parser {
    list: ConceptList,
    /// The groups of the last heading, the most special first. They count when a concept is under it.
    heading: Vec<String>,
    /// In which line a name or synonym stands.
    named_in: HashMap<String, usize>,
    /// In which line the group of a name was said first.
    grouped_in: HashMap<String, usize>,
}

impl Parser {
    fn line(&mut self, line: &str, number: usize) -> Result<(), String> {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.chars().any(|c| c.is_control() && c != '\t' || c == '\u{feff}') {
            return Err("expected text, found a control character".into());
        }
        match line.chars().next() {
            None => Ok(()),
            Some('@') => self.statement(line),
            Some('[') => self.heading(line),
            Some(_) => self.concept(line, number),
        }
    }

    /// `@about TEXT` or `@template TEXT or NAME`.
    fn statement(&mut self, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        match word {
            "@about" | "@template" if rest.is_empty() => {
                Err(format!("expected a text after {word}, found none"))
            }
            "@about" if self.list.about.is_some() => Err("expected one @about, found another".into()),
            "@about" => {
                self.list.about = Some(rest.into());
                Ok(())
            }
            "@template" => {
                self.list.templates.extend(templates(rest).map_err(|error| error.to_string())?);
                Ok(())
            }
            _ => Err(format!("expected @about or @template, found {word:?}")),
        }
    }

    /// `[GROUP < MORE GENERAL < ...]`, or `[]` for none.
    fn heading(&mut self, line: &str) -> Result<(), String> {
        let inside = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let inside = inside.ok_or_else(|| format!("expected ] at the end of a heading, found {line:?}"))?;
        self.heading = match inside.trim() {
            "" => Vec::new(),
            inside => groups(inside)?,
        };
        Ok(())
    }

    /// `CONCEPT = SYNONYM = ... < GROUP < ...`; without a group, that of the heading.
    fn concept(&mut self, line: &str, number: usize) -> Result<(), String> {
        let (names, chain) = match line.split_once('<') {
            Some((names, chain)) => (names, groups(chain)?),
            None => (line, self.heading.clone()),
        };
        let mut names = names.split('=').map(|name| named(name, "a concept"));
        let name = names.next().unwrap_or_else(|| named("", "a concept"))?;
        let synonyms = names.collect::<Result<Vec<_>, _>>()?;
        self.add(name.clone(), synonyms, number)?;
        chain.windows(2).try_for_each(|pair| self.join(&pair[0], &pair[1], number))?;
        chain.first().map_or(Ok(()), |group| self.join(&name, group, number))
    }

    /// Adds a concept without a group.
    fn add(&mut self, name: String, synonyms: Vec<String>, number: usize) -> Result<(), String> {
        let place = self.list.concepts.len();
        if place == MOST_CONCEPTS {
            return Err(format!("expected at most {MOST_CONCEPTS} concepts, found more"));
        }
        for name in std::iter::once(&name).chain(&synonyms) {
            if let Some(line) = self.named_in.insert(key(name), number) {
                return Err(format!("{name:?} is given already, in line {line}"));
            }
            self.list.places.insert(key(name), place);
        }
        self.list.concepts.push(Concept { name, synonyms });
        Ok(())
    }

    /// Notes that a concept or group belongs to a group.
    fn join(&mut self, name: &str, group: &str, number: usize) -> Result<(), String> {
        let child = key(name);
        if let Some(known) = self.list.parents.get(&child)
            && key(known) != key(group)
        {
            let line = self.grouped_in.get(&child).copied().unwrap_or_default();
            return Err(format!("{name:?} belongs to {known:?} already, by line {line}; found {group:?}"));
        }
        self.grouped_in.entry(child.clone()).or_insert(number);
        self.list.parents.entry(child).or_insert_with(|| group.into());
        Ok(())
    }

    fn finish(mut self) -> Result<ConceptList, String> {
        if self.list.concepts.is_empty() {
            return Err("expected a concept a line, found none".into());
        }
        self.list.parents.keys().try_for_each(|name| self.check_depth(name))?;
        let mut seen = HashSet::new();
        let mut mentioned = Vec::new();
        for concept in &self.list.concepts {
            let groups = self.list.groups_of(&concept.name);
            mentioned.extend(groups.into_iter().filter(|group| seen.insert(key(group))).map(str::to_owned));
        }
        self.list.groups = mentioned;
        let text = self.list.to_string();
        self.list.sha256 = digest::hexadecimal(&digest::sha256(text.as_bytes()));
        Ok(self.list)
    }

    /// Groups in a circle have no end either.
    fn check_depth(&self, name: &str) -> Result<(), String> {
        let mut at = name.to_owned();
        for _ in 0..=DEEPEST {
            match self.list.parents.get(&at) {
                Some(parent) => at = key(parent),
                None => return Ok(()),
            }
        }
        let line = self.grouped_in.get(name).copied().unwrap_or_default();
        Err(format!("line {line}: expected at most {DEEPEST} groups above {name:?}, found more, or a circle"))
    }
}

/// The parts between `<`.
fn groups(text: &str) -> Result<Vec<String>, String> {
    if text.contains('=') {
        return Err("expected synonyms before the first <, found = behind it".into());
    }
    text.split('<').map(|name| named(name, "a group")).collect()
}

/// A name with single spaces between its words.
fn named(text: &str, what: &str) -> Result<String, String> {
    let name = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if name.is_empty() { Err(format!("expected {what}, found nothing beside the = or <")) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        parse(text).unwrap().concepts.into_iter().map(|concept| concept.name).collect()
    }

    #[test]
    fn a_plain_file_has_a_concept_a_line() {
        let text = "\u{feff}# birds\r\nDunnock\r\n\r\n  house  sparrow # common\r\nC/V van, 2012\r\n";
        assert_eq!(names(text), ["Dunnock", "house sparrow", "C/V van, 2012"]);
    }

    #[test]
    fn every_line_that_is_wrong_is_named() {
        let wrong = [
            ("a\n\nA\n", "line 3: \"A\" is given already, in line 1"),
            ("a = b\nb\n", "line 2: \"b\" is given already, in line 1"),
            ("a =\n", "line 1: expected a concept, found nothing"),
            ("a <\n", "line 1: expected a group, found nothing"),
            ("a < b = c\n", "line 1: expected synonyms before the first <"),
            ("x\n[a\n", "line 2: expected ] at the end of a heading, found \"[a\""),
            ("[a <]\nx\n", "line 1: expected a group, found nothing"),
            ("@title x\n", "line 1: expected @about or @template, found \"@title\""),
            ("@about\n", "line 1: expected a text after @about"),
            ("@about x\n@about y\n", "line 2: expected one @about"),
            ("@template no place\nx\n", "line 1: template: expected a text with {} in it"),
            ("x < a\ny < a < b\na < c\n", "line 3: \"a\" belongs to \"b\" already, by line 2; found \"c\""),
            ("x < x\n", "line 1: expected at most 16 groups above \"x\", found more, or a circle"),
            ("y < x\nx < y\n", "found more, or a circle"),
            ("a\u{7}b\n", "line 1: expected text, found a control character"),
            ("# nothing\n[a]\n", "expected a concept a line, found none"),
        ];
        for (text, expected) in wrong {
            let reason = parse(text).err().unwrap_or_default();
            assert!(reason.contains(expected), "{text:?}: {reason}");
        }
    }

    #[test]
    fn a_list_is_bounded() {
        let lines = |count: usize| (0..count).map(|number| format!("{number}\n")).collect::<String>();
        assert!(parse(&lines(MOST_CONCEPTS)).is_ok());
        assert!(parse(&lines(MOST_CONCEPTS + 1)).is_err());
        let deep: Vec<String> = (0..100_000).map(|number| format!("g{number}")).collect();
        assert!(parse(&format!("x < {}\n", deep.join(" < "))).is_err());
    }
}

//! `fieldmark prompts`: the lists of concepts and the templates that ship, or what is in one of them.

use std::path::Path;

use anyhow::Result;
use fieldmark::prompt::{CONCEPT_LISTS, Concept, ConceptList, TEMPLATE_SETS, Template, TemplateSet};
use serde::Serialize;

use crate::{args::PromptsArgs, exit::Exit, output};

/// A list of concepts in `prompts --json`.
#[derive(Serialize)]
pub struct ListLine<'a> {
    pub list: &'a str,
    /// How many concepts it has.
    pub count: usize,
    /// How many groups they belong to.
    pub groups: usize,
    pub about: Option<&'a str>,
    /// A concept as the list's templates phrase it.
    pub example: String,
    pub templates: Vec<&'a str>,
}

/// A set of templates in `prompts --json`.
#[derive(Serialize)]
pub struct TemplateLine<'a> {
    pub template: &'a str,
    pub count: usize,
    pub about: &'a str,
    pub texts: Vec<&'a str>,
}

/// A concept in `prompts NAME --json`.
#[derive(Serialize)]
struct ConceptLine<'a> {
    concept: &'a str,
    synonyms: &'a [String],
    /// What it belongs to, the nearest first.
    groups: Vec<&'a str>,
}

pub fn run(args: &PromptsArgs) -> Result<Exit> {
    match &args.name {
        None => all(args.json)?,
        Some(name) => one(name, args.json)?,
    }
    Ok(Exit::Done)
}

fn all(json: bool) -> Result<()> {
    let lists: fieldmark::Result<Vec<_>> =
        CONCEPT_LISTS.iter().map(|(name, text)| Ok((*name, ConceptList::parse(text)?))).collect();
    let sets: fieldmark::Result<Vec<_>> =
        TEMPLATE_SETS.iter().map(|set| Ok((set, set.templates()?))).collect();
    let (lists, sets) = (lists?, sets?);
    let lists: Vec<_> = lists.iter().map(|(name, list)| list_line(name, list)).collect();
    let sets: Vec<_> = sets.iter().map(|(set, templates)| template_line(set, templates)).collect();
    if !json {
        return output::prompts(&lists, &sets);
    }
    lists.iter().try_for_each(output::json)?;
    sets.iter().try_for_each(output::json)
}

/// A list, or else a set of templates. A list shows its own templates, so that those of its name are there too.
fn one(name: &Path, json: bool) -> Result<()> {
    let list = ConceptList::open(name);
    let set = TEMPLATE_SETS.iter().find(|set| Path::new(set.name) == name);
    match (list, set) {
        (Err(_), Some(set)) => {
            let templates = set.templates()?;
            if json {
                output::json(&template_line(set, &templates))
            } else {
                output::text(&texts(&templates).join("\n"))
            }
        }
        (list, _) => {
            let list = list?;
            if json {
                list.concepts()
                    .iter()
                    .map(|concept| concept_line(&list, concept))
                    .try_for_each(|line| output::json(&line))
            } else {
                output::text(list.to_string().trim_end())
            }
        }
    }
}

fn list_line<'a>(name: &'a str, list: &'a ConceptList) -> ListLine<'a> {
    let first = list.concepts().first().map(|concept| concept.name.as_str()).unwrap_or_default();
    let example = list.templates().first().map_or(first.to_owned(), |template| template.fill(first));
    ListLine {
        list: name,
        count: list.concepts().len(),
        groups: list.groups().len(),
        about: list.about(),
        example,
        templates: texts(list.templates()),
    }
}

fn template_line<'a>(set: &'a TemplateSet, templates: &'a [Template]) -> TemplateLine<'a> {
    TemplateLine { template: set.name, count: templates.len(), about: set.about(), texts: texts(templates) }
}

fn concept_line<'a>(list: &'a ConceptList, concept: &'a Concept) -> ConceptLine<'a> {
    ConceptLine { concept: &concept.name, synonyms: &concept.synonyms, groups: list.groups_of(&concept.name) }
}

fn texts(templates: &[Template]) -> Vec<&str> {
    templates.iter().map(Template::as_str).collect()
}

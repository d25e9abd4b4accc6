//! The lists of concepts that ship: all of their names, and those that begin or go on as what is typed.

use axum::{
    Json,
    extract::{Path, Query, State as Extract},
};
use fieldmark_explain::prompt::{CONCEPT_LISTS, ConceptList};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{problem::Problem, state::State};

/// The most completions of what is typed.
const MOST_COMPLETIONS: usize = 50;

/// The lists that ship.
pub(super) struct Lists {
    lists: Vec<(&'static str, ConceptList)>,
    /// Every name once, in lower case and as it is, with its list.
    names: Vec<(String, String, &'static str)>,
}

/// A list of concepts.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct ListInfo {
    /// Its name.
    name: String,
    /// What it holds.
    about: Option<String>,
    /// How many concepts it has.
    concepts: usize,
}

/// A concept that what is typed may become.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Completion {
    /// The concept.
    name: String,
    /// The list that it is from.
    list: String,
}

/// What is typed.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Typed {
    /// The text so far.
    #[serde(default)]
    prefix: String,
    /// How many completions are wanted, 50 at most.
    limit: Option<usize>,
}

impl Lists {
    /// Reads them.
    pub(super) fn new() -> fieldmark_model::error::Result<Self> {
        let open = |(name, _): &(&'static str, _)| Ok((*name, ConceptList::open(name)?));
        let lists: Vec<(&'static str, ConceptList)> =
            CONCEPT_LISTS.iter().map(open).collect::<fieldmark_model::error::Result<_>>()?;
        let all =
            lists.iter().flat_map(|(list, concepts)| concepts.names().into_iter().map(|name| (name, *list)));
        let mut names: Vec<_> = all.map(|(name, list)| (name.to_lowercase(), name, list)).collect();
        // Of a concept that is in several lists the first one counts.
        let mut seen = std::collections::HashSet::new();
        names.retain(|(lower, ..)| seen.insert(lower.clone()));
        Ok(Self { lists, names })
    }

    /// The list of that name.
    pub(super) fn find(&self, name: &str) -> Result<&ConceptList, Problem> {
        let found = self.lists.iter().find(|(known, _)| *known == name);
        found.map(|(_, list)| list).ok_or_else(|| {
            let names: Vec<_> = self.lists.iter().map(|(name, _)| *name).collect();
            Problem::invalid(format!("concepts: expected one of {}, found {name:?}", names.join(", ")))
        })
    }

    /// What is said of each.
    pub(super) fn infos(&self) -> Vec<ListInfo> {
        let info = |(name, list): &(&'static str, ConceptList)| ListInfo {
            name: (*name).into(),
            about: list.about().map(Into::into),
            concepts: list.concepts().len(),
        };
        self.lists.iter().map(info).collect()
    }

    /// Concepts that begin as what is typed, then those of which a later word does.
    fn complete(&self, typed: &str, limit: usize) -> Vec<Completion> {
        let typed = typed.trim_start().to_lowercase();
        if typed.is_empty() {
            return Vec::new();
        }
        let begins = |(lower, ..): &&(String, String, &str)| lower.starts_with(&typed);
        let goes_on = |(lower, ..): &&(String, String, &str)| {
            let mut later = lower.match_indices([' ', '-']).map(|(at, _)| &lower[at + 1..]);
            !lower.starts_with(&typed) && later.any(|rest| rest.starts_with(&typed))
        };
        let found = self.names.iter().filter(begins).chain(self.names.iter().filter(goes_on));
        let found = found.take(limit.min(MOST_COMPLETIONS));
        found.map(|(_, name, list)| Completion { name: name.clone(), list: (*list).into() }).collect()
    }
}

/// Concepts of the shipped lists that what is typed may become.
#[utoipa::path(get, path = "/api/v1/concepts", params(Typed), tag = "concepts",
    responses((status = 200, description = "Those that begin as what is typed, then those of which a later word does",
               body = [Completion])))]
pub(super) async fn complete(Extract(shared): State, Query(typed): Query<Typed>) -> Json<Vec<Completion>> {
    Json(shared.lists.complete(&typed.prefix, typed.limit.unwrap_or(12)))
}

/// The names of a list that ships.
#[utoipa::path(get, path = "/api/v1/concepts/{list}", params(("list" = String, Path, description = "The list's name")),
    tag = "concepts",
    responses((status = 200, description = "The concepts, in the list's order", body = [String]),
              (status = 422, description = "There is no such list", body = Problem,
               content_type = "application/problem+json")))]
pub(super) async fn list(
    Extract(shared): State,
    Path(name): Path<String>,
) -> Result<Json<Vec<String>>, Problem> {
    Ok(Json(shared.lists.find(&name)?.names()))
}

//! The JSON of a question, checked against what the server takes.

use fieldmark_explain::{
    Query, Settings,
    explain::{CompareQuery, Rivals},
    refine::Tiles,
    report::ListUsed,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{concepts::Lists, problem::Problem};
use crate::engine::Hidden;

/// The most rectangles that are hidden at once: every patch of a fine grid.
const MOST_HIDDEN: usize = 4096;

/// The most phrasings of a prompt.
const MOST_TEMPLATES: usize = 100;

/// What a question may ask for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) prompts: usize,
    pub(super) prompt_length: usize,
    pub(super) detail: f64,
}

/// How maps are made; what is missing is the default. See `fieldmark localize --help`.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "it describes the fields of the library's settings")]
pub(super) struct MapSettings {
    /// How much of the rivals is subtracted: not negative, 0 for the plain map.
    strength: Option<f64>,
    /// How several rivals are combined: `mean`, `weighted`, ...
    aggregate: Option<String>,
    /// The method: a name in the answer of `/api/v1/server`.
    method: Option<String>,
    /// The block that the map explains; negative counts from the end.
    layer: Option<i64>,
    /// Several blocks.
    layers: Option<Vec<i64>>,
    /// How the maps of several blocks are combined: `mean` or `product`.
    layers_combine: Option<String>,
    /// How the photo is fitted to the model: `whole`, `squash` or `crop`.
    fit: Option<String>,
    /// How many times the trained resolution is used along each side.
    detail: Option<f64>,
    /// Whether the photo is also looked at in tiles: `off`, `auto` or a number from 1 to 4.
    tiles: Option<String>,
    /// What is done with evidence on artifact tokens: `keep` or `suppress`.
    artifacts: Option<String>,
    /// Refinements of the finished map: `affinity`, `guided`.
    refine: Option<Vec<String>>,
    /// Which evidence belongs to a region, such as `peak:0.5`.
    threshold: Option<String>,
    /// How prompts are phrased: texts with `{}`.
    templates: Option<Vec<String>>,
}

/// A question about one target.
#[derive(Deserialize, ToSchema)]
pub(super) struct LocalizeRequest {
    /// The concept that is asked about.
    pub(super) prompt: String,
    /// Its rivals.
    #[serde(default)]
    pub(super) against: Vec<String>,
    /// A list that ships, from which further rivals are selected.
    #[serde(default)]
    pub(super) concepts: Option<String>,
    /// How they are selected: `text`, `image` or `group`.
    #[serde(default)]
    pub(super) by: Option<String>,
    /// How many are selected.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub(super) nearest: Option<usize>,
    /// Rectangles of the photo that are hidden from the model: left, top, right, bottom in pixels.
    #[serde(default)]
    pub(super) hidden: Vec<[f64; 4]>,
    #[serde(flatten)]
    #[schema(value_type = MapSettings)]
    settings: Map<String, Value>,
}

/// A question about several prompts.
#[derive(Deserialize, ToSchema)]
pub(super) struct CompareRequest {
    /// The prompts that get a map each.
    #[serde(default)]
    pub(super) prompts: Vec<String>,
    /// A list that ships, whose concepts compete as well.
    #[serde(default)]
    pub(super) concepts: Option<String>,
    /// How many of them get a map: those with the highest logits.
    #[serde(default)]
    pub(super) top: Option<usize>,
    /// Rectangles of the photo that are hidden from the model: left, top, right, bottom in pixels.
    #[serde(default)]
    pub(super) hidden: Vec<[f64; 4]>,
    #[serde(flatten)]
    #[schema(value_type = MapSettings)]
    settings: Map<String, Value>,
}

/// Reads the JSON of a request.
pub(super) fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::invalid(format!("body: {error}")))
}

impl LocalizeRequest {
    /// The query, if it keeps the bounds.
    pub(super) fn query(&self, lists: &Lists, bounds: &Bounds) -> Result<(Query, Hidden), Problem> {
        let prompts = std::iter::once(&self.prompt).chain(&self.against);
        check_prompts(prompts, bounds)?;
        let settings = settings(&self.settings, bounds)?;
        let mut query = Query::new(&self.prompt).against(&self.against).with(settings);
        if let Some(name) = &self.concepts {
            let mut rivals = Rivals::among(lists.find(name)?.clone()).list(Some(name.clone()));
            if let Some(by) = &self.by {
                rivals.by = serde_json::from_value(Value::from(by.as_str()))
                    .map_err(|error| Problem::invalid(error.to_string()))?;
            }
            if let Some(count) = self.nearest {
                rivals.count = count.min(bounds.prompts);
            }
            query = query.with_rivals(rivals);
        }
        Ok((query, hidden(&self.hidden)?))
    }
}

impl CompareRequest {
    /// What competes and how, if it keeps the bounds.
    pub(super) fn lineup(
        &self,
        lists: &Lists,
        bounds: &Bounds,
    ) -> Result<(CompareQuery, Settings, Hidden), Problem> {
        check_prompts(self.prompts.iter(), bounds)?;
        let mut lineup = CompareQuery::default().prompts(self.prompts.clone());
        if let Some(name) = &self.concepts {
            let list = lists.find(name)?;
            lineup.concepts = list.names();
            lineup.list = Some(ListUsed::new(Some(name.clone()), list));
        }
        lineup.top = self.top.unwrap_or(0).min(bounds.prompts);
        Ok((lineup, settings(&self.settings, bounds)?, hidden(&self.hidden)?))
    }
}

fn check_prompts<'p>(prompts: impl Iterator<Item = &'p String>, bounds: &Bounds) -> Result<(), Problem> {
    for (number, prompt) in prompts.enumerate() {
        if number >= bounds.prompts {
            return Err(Problem::invalid(format!(
                "prompts: expected at most {}, found more",
                bounds.prompts
            )));
        }
        let length = prompt.chars().count();
        if length > bounds.prompt_length {
            let most = bounds.prompt_length;
            return Err(Problem::invalid(format!(
                "prompt: expected at most {most} characters, found {length}"
            )));
        }
    }
    Ok(())
}

/// The settings. A field of another name is an error: a typing mistake would else be a default.
fn settings(fields: &Map<String, Value>, bounds: &Bounds) -> Result<Settings, Problem> {
    let known = serde_json::to_value(Settings::default()).unwrap_or_default();
    let is_known = |name: &str| known.get(name).is_some() || ["layers", "layers_combine"].contains(&name);
    if let Some(name) = fields.keys().find(|name| !is_known(name)) {
        return Err(Problem::invalid(format!("body: unknown field {name:?}")));
    }
    let settings: Settings = serde_json::from_value(Value::Object(fields.clone()))
        .map_err(|error| Problem::invalid(error.to_string()))?;
    if !(settings.detail > 0.0 && settings.detail <= bounds.detail) {
        let most = bounds.detail;
        let found = settings.detail;
        return Err(Problem::invalid(format!(
            "detail: expected a number above 0, at most {most}, found {found}"
        )));
    }
    if matches!(settings.tiles, Tiles::Along(tiles) if tiles.get() > 4) {
        return Err(Problem::invalid("tiles: expected off, auto or a number from 1 to 4"));
    }
    if settings.templates.len() > MOST_TEMPLATES {
        let found = settings.templates.len();
        return Err(Problem::invalid(format!("templates: expected at most {MOST_TEMPLATES}, found {found}")));
    }
    Ok(settings)
}

fn hidden(rectangles: &[[f64; 4]]) -> Result<Hidden, Problem> {
    if rectangles.len() > MOST_HIDDEN {
        let found = rectangles.len();
        return Err(Problem::invalid(format!(
            "hidden: expected at most {MOST_HIDDEN} rectangles, found {found}"
        )));
    }
    Ok(Hidden(rectangles.to_vec()))
}

//! What a client has to know before it asks: the model, the methods, the lists, how maps are drawn, and the bounds.

use axum::{extract::State as Extract, http::header, response::IntoResponse};
use fieldmark_explain::{
    Explainer, Settings,
    attribution::{Facts, METHODS},
    objective::OBJECTIVES,
    page::Drawing,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    concepts::{ListInfo, Lists},
    state::State,
};
use crate::options::ServeOptions;

/// The server and what it can do.
#[derive(Serialize, ToSchema)]
pub(super) struct ServerInfo {
    /// The version of fieldmark.
    version: &'static str,
    /// The checkpoint as it was asked for.
    model: String,
    /// The blocks of its vision tower.
    layers: usize,
    /// The methods, the default first.
    methods: Vec<MethodInfo>,
    /// The method that is used unless a question names one.
    method: String,
    /// The names of the objectives, the default first.
    objectives: Vec<&'static str>,
    /// The lists of concepts that ship.
    lists: Vec<ListInfo>,
    /// The settings that are used unless a question changes them.
    #[schema(value_type = Object)]
    settings: Settings,
    /// The colour maps (base64 of RGB triples) and the defaults of pictures.
    #[schema(value_type = Object)]
    drawing: Drawing,
    /// The most prompts of a question.
    prompts: usize,
    /// The most characters of a prompt.
    prompt_length: usize,
    /// The most bytes of an upload.
    upload_bytes: usize,
    /// The highest detail.
    detail: f64,
    /// The options of `fieldmark localize` that name the checkpoint.
    model_arguments: Vec<String>,
}

/// A method.
#[derive(Serialize, ToSchema)]
struct MethodInfo {
    /// Its name.
    name: &'static str,
    /// What it measures, its source and its cost.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    facts: Facts,
}

/// The description, as JSON.
pub(super) fn description(
    explainer: &Explainer,
    options: &ServeOptions,
    lists: &Lists,
) -> fieldmark_model::error::Result<String> {
    let settings = Settings::default();
    let info = ServerInfo {
        version: env!("CARGO_PKG_VERSION"),
        model: explainer.name().into(),
        layers: explainer.model().config().vision.tower.layers,
        methods: METHODS
            .iter()
            .map(|method| MethodInfo { name: method.name(), facts: method.facts() })
            .collect(),
        method: explainer.method(&settings)?.name().into(),
        objectives: OBJECTIVES.iter().map(|objective| objective.name()).collect(),
        lists: lists.infos(),
        settings,
        drawing: Drawing::default(),
        prompts: options.prompts,
        prompt_length: options.prompt_length,
        upload_bytes: options.upload_bytes,
        detail: options.detail,
        model_arguments: options.model_arguments.clone(),
    };
    Ok(serde_json::to_string(&info).unwrap_or_default())
}

/// The server: its model, methods, lists and bounds.
#[utoipa::path(get, path = "/api/v1/server", tag = "server",
    responses((status = 200, description = "The server and what it can do", body = ServerInfo)))]
pub(super) async fn server(Extract(shared): State) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], shared.info.clone())
}

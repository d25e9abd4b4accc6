//! Questions about one photo: records with their maps, pictures, regions and pages.

use axum::{
    body::Bytes,
    extract::{Path, State as Extract},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use fieldmark_explain::{
    attribution::ConceptMap,
    coco::Coco,
    explain::CompareQuery,
    page::PageOptions,
    report::{Comparison, Localization},
};
use fieldmark_model::{files::npy, progress::Warning};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    accept::preferred,
    problem::Problem,
    question::{CompareRequest, LocalizeRequest, parsed},
    state::{Shared, State},
};
use crate::engine::{Answer, Fault, lossless};

const JSON: &str = "application/json";
const NPY: &str = "application/x-npy";

/// A map's values.
#[derive(Serialize, ToSchema)]
pub(super) struct MapValues {
    /// Rows and columns.
    shape: [usize; 2],
    /// The evidence row by row, in the record's unit; positive for the target.
    values: Vec<f32>,
}

/// A target on a photo: the fields of a line of `fieldmark localize --json`, and the map.
#[derive(Serialize, ToSchema)]
pub(super) struct Localized {
    #[serde(flatten)]
    #[schema(value_type = Object)]
    record: Localization,
    /// The map on the model's grid.
    map: MapValues,
    /// What is odd about the answer.
    warnings: Vec<String>,
}

/// Several prompts on a photo: the fields of a line of `fieldmark compare --json`, and the maps.
#[derive(Serialize, ToSchema)]
pub(super) struct ComparedPrompts {
    #[serde(flatten)]
    #[schema(value_type = Object)]
    record: Comparison,
    /// One map for each of `prompts`, in their order.
    maps: Vec<MapValues>,
    /// What is odd about the answer.
    warnings: Vec<String>,
}

impl MapValues {
    pub(super) fn of(map: &ConceptMap) -> Self {
        let grid = map.grid();
        Self { shape: [grid.rows, grid.columns], values: map.values().to_vec() }
    }
}

impl Localized {
    pub(super) fn of(answer: Answer) -> Self {
        let map = MapValues::of(&answer.found.map);
        Self { record: answer.found.report, map, warnings: said(&answer.found.warnings) }
    }
}

fn said(warnings: &[Warning]) -> Vec<String> {
    warnings.iter().map(ToString::to_string).collect()
}

/// Where a photo shows a concept, and what sets it apart from its rivals.
#[utoipa::path(post, path = "/api/v1/photos/{id}/localize", params(("id" = String, Path, description = "The photo's id")),
    tag = "questions", request_body(content = LocalizeRequest, content_type = "application/json"),
    responses((status = 200, description = "The record and its map, or with `Accept: application/x-npy` the map alone",
               content((Localized = "application/json"), (Vec<u8> = "application/x-npy"))),
              (status = 404, description = "The photo is unknown, or no longer kept", body = Problem,
               content_type = "application/problem+json"),
              (status = 406, description = "No accepted type is offered", body = Problem,
               content_type = "application/problem+json"),
              (status = 422, description = "The question cannot be answered", body = Problem,
               content_type = "application/problem+json"),
              (status = 429, description = "The server is busy", body = Problem,
               content_type = "application/problem+json")))]
pub(super) async fn localize(
    Extract(shared): State,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let kind = preferred(&headers, &[JSON, NPY]).ok_or_else(not_acceptable)?;
    let bytes = localized(&shared, id, &headers, &body, move |answer| {
        if kind == NPY {
            let map = MapValues::of(&answer.found.map);
            return Ok(npy(&map.values, map.shape));
        }
        json(&Localized::of(answer))
    });
    Ok(([(header::CONTENT_TYPE, kind)], bytes.await?).into_response())
}

/// The same as a picture: the photo with its map, as `fieldmark localize` draws it.
#[utoipa::path(post, path = "/api/v1/photos/{id}/overlay", params(("id" = String, Path, description = "The photo's id")),
    tag = "questions", request_body(content = LocalizeRequest, content_type = "application/json"),
    responses((status = 200, description = "The overlay", body = Vec<u8>, content_type = "image/png"),
              (status = 422, description = "The question cannot be answered", body = Problem,
               content_type = "application/problem+json")))]
pub(super) async fn overlay(
    Extract(shared): State,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let draw = |answer: Answer| lossless(&answer.found.overlay(&answer.photo));
    let bytes = localized(&shared, id, &headers, &body, draw).await?;
    Ok(([(header::CONTENT_TYPE, "image/png")], bytes).into_response())
}

/// The same as regions: COCO annotations.
#[utoipa::path(post, path = "/api/v1/photos/{id}/regions", params(("id" = String, Path, description = "The photo's id")),
    tag = "questions", request_body(content = LocalizeRequest, content_type = "application/json"),
    responses((status = 200, description = "COCO JSON: boxes, outlines, areas and scores", body = Object),
              (status = 422, description = "The question cannot be answered", body = Problem,
               content_type = "application/problem+json")))]
pub(super) async fn regions(
    Extract(shared): State,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let bytes = localized(&shared, id, &headers, &body, |answer| {
        let setup = &answer.found.report.setup;
        let described = format!("regions of {}, {}", answer.found.report.model, setup.method);
        let mut coco = Coco::new(described);
        let image = coco.add_image(answer.photo.path(), answer.photo.size());
        let target = &answer.found.report.target.prompt;
        coco.add_instances(image, target, &answer.found.instances(&answer.photo));
        json(&coco)
    });
    Ok(([(header::CONTENT_TYPE, JSON)], bytes.await?).into_response())
}

/// Scores of several prompts, and a map of each.
#[utoipa::path(post, path = "/api/v1/photos/{id}/compare", params(("id" = String, Path, description = "The photo's id")),
    tag = "questions", request_body(content = CompareRequest, content_type = "application/json"),
    responses((status = 200, description = "The record and its maps", body = ComparedPrompts),
              (status = 404, description = "The photo is unknown, or no longer kept", body = Problem,
               content_type = "application/problem+json"),
              (status = 422, description = "The question cannot be answered", body = Problem,
               content_type = "application/problem+json"),
              (status = 429, description = "The server is busy", body = Problem,
               content_type = "application/problem+json")))]
pub(super) async fn compare(
    Extract(shared): State,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    check_json(&headers)?;
    let request: CompareRequest = parsed(&body)?;
    let (lineup, settings, hidden) = request.lineup(&shared.lists, &shared.bounds)?;
    let bytes = shared.ask(move |engine| {
        let compared = engine.compare(&id, &lineup, &settings, &hidden)?.compare;
        let maps = compared.maps.iter().map(MapValues::of).collect();
        json(&ComparedPrompts { record: compared.report, maps, warnings: said(&compared.warnings) })
    });
    Ok(([(header::CONTENT_TYPE, JSON)], bytes.await?).into_response())
}

/// A page of its own, with photo, maps and numbers, that works without a server.
#[utoipa::path(post, path = "/api/v1/photos/{id}/report", params(("id" = String, Path, description = "The photo's id")),
    tag = "questions", request_body(content = LocalizeRequest, content_type = "application/json"),
    responses((status = 200, description = "One HTML file", body = String, content_type = "text/html"),
              (status = 422, description = "The question cannot be answered", body = Problem,
               content_type = "application/problem+json")))]
pub(super) async fn report(
    Extract(shared): State,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    check_json(&headers)?;
    let (query, hidden) = parsed::<LocalizeRequest>(&body)?.query(&shared.lists, &shared.bounds)?;
    let page = shared.ask(move |engine| {
        let prompts = std::iter::once(query.target.clone()).chain(query.references).collect::<Vec<_>>();
        let lineup = CompareQuery::default().prompts(prompts);
        let compared = engine.compare(&id, &lineup, &query.settings, &hidden)?;
        let options = PageOptions::default()
            .strength(Some(query.settings.strength.get()))
            .templates(query.settings.templates.iter().map(ToString::to_string).collect());
        Ok(compared.compare.page(&compared.photo, &options)?)
    });
    Ok(([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page.await?).into_response())
}

/// Reads a question about one target, and has a worker answer it and put the answer into bytes.
async fn localized(
    shared: &Shared,
    id: String,
    headers: &HeaderMap,
    body: &[u8],
    write: impl FnOnce(Answer) -> Result<Vec<u8>, Fault> + Send + 'static,
) -> Result<Vec<u8>, Problem> {
    check_json(headers)?;
    let (query, hidden) = parsed::<LocalizeRequest>(body)?.query(&shared.lists, &shared.bounds)?;
    Ok(shared.ask(move |engine| write(engine.localize(&id, &query, &hidden)?)).await?)
}

/// A browser sends JSON to another site only after asking; a form's types it sends at once.
pub(super) fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(JSON) {
        return Ok(());
    }
    let detail = format!("Content-Type: expected {JSON}, found {kind:?}");
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "format", "the format is not supported", detail))
}

fn not_acceptable() -> Problem {
    let detail = format!("Accept: expected {JSON} or {NPY}");
    Problem::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", "no accepted type is offered", detail)
}

pub(super) fn json(value: &impl Serialize) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(value).map_err(|error| Fault::Panic(format!("the answer is no JSON: {error}")))
}

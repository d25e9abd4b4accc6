//! Photos: uploads, those of the server's folders, and their pictures.

use axum::{
    Json,
    body::{Body, to_bytes},
    extract::{Path, Query, State as Extract},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{problem::Problem, state::State};
use crate::engine::{Listed, PhotoInfo, picture, thumbnail};

/// The most bytes of a photo's name.
const LONGEST_NAME: usize = 255;

/// How a photo is uploaded.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Named {
    /// The photo's name, which records and messages show.
    name: Option<String>,
}

/// Keeps a photo in memory, until others need the room.
#[utoipa::path(post, path = "/api/v1/photos", params(Named), tag = "photos",
    request_body(content = Vec<u8>, content_type = "application/octet-stream",
                 description = "A file: JPEG, PNG, WebP, GIF, BMP or TIFF"),
    responses((status = 201, description = "The photo can be asked about", body = PhotoInfo),
              (status = 413, description = "It has too many bytes or pixels", body = Problem,
               content_type = "application/problem+json"),
              (status = 415, description = "The format is not supported", body = Problem,
               content_type = "application/problem+json"),
              (status = 422, description = "It cannot be decoded", body = Problem,
               content_type = "application/problem+json"),
              (status = 429, description = "The server is busy", body = Problem,
               content_type = "application/problem+json")))]
pub(super) async fn upload(
    Extract(shared): State,
    Query(named): Query<Named>,
    body: Body,
) -> Result<Response, Problem> {
    let _place = shared.uploads.try_acquire().map_err(|_| Problem::busy())?;
    let received = tokio::time::timeout(shared.timeout, to_bytes(body, shared.upload_bytes)).await;
    let bytes = received
        .map_err(|_| Problem::from(crate::engine::Fault::Late))?
        .map_err(|_| too_large(shared.upload_bytes))?;
    let name = named.name.filter(|name| !name.is_empty()).unwrap_or_else(|| "photo".into());
    if name.len() > LONGEST_NAME {
        return Err(Problem::invalid(format!(
            "name: expected at most {LONGEST_NAME} bytes, found {}",
            name.len()
        )));
    }
    // Only the name: what is before it is a path of the client's.
    let name = name.rsplit(['/', '\\']).next().unwrap_or("photo").to_owned();
    let info = shared.ask(move |engine| Ok(engine.upload(name, &bytes)?.info())).await?;
    let location = format!("/api/v1/photos/{}", info.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(info)).into_response())
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("expected at most {limit} bytes, found more or a body that breaks off");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the upload is too large", detail)
}

/// The photos of the folders that the server was started with.
#[utoipa::path(get, path = "/api/v1/photos", tag = "photos",
    responses((status = 200, description = "Their ids and names", body = [Listed])))]
pub(super) async fn listed(Extract(shared): State) -> Json<Vec<Listed>> {
    Json(shared.listed.clone())
}

/// A photo's name and size.
#[utoipa::path(get, path = "/api/v1/photos/{id}", params(("id" = String, Path, description = "The photo's id")),
    tag = "photos",
    responses((status = 200, description = "The photo can be asked about", body = PhotoInfo),
              (status = 404, description = "It is unknown, or no longer kept", body = Problem,
               content_type = "application/problem+json")))]
pub(super) async fn info(Extract(shared): State, Path(id): Path<String>) -> Result<Json<PhotoInfo>, Problem> {
    Ok(Json(shared.ask(move |engine| Ok(engine.entry(&id)?.info())).await?))
}

/// Forgets a photo.
#[utoipa::path(delete, path = "/api/v1/photos/{id}", params(("id" = String, Path, description = "The photo's id")),
    tag = "photos",
    responses((status = 204, description = "The photo is not kept any more"),
              (status = 404, description = "It was not kept", body = Problem,
               content_type = "application/problem+json")))]
pub(super) async fn forget(Extract(shared): State, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let name = id.clone();
    let was_kept = shared.ask(move |engine| Ok(engine.shelf.remove(&id))).await?;
    if was_kept {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found(format!("photo {name}: not kept")))
    }
}

/// The photo as the page shows it: upright, without loss up to 1.5 million pixels, else at most 2048 pixels long.
#[utoipa::path(get, path = "/api/v1/photos/{id}/picture", params(("id" = String, Path, description = "The photo's id")),
    tag = "photos",
    responses((status = 200, description = "A picture", content((Vec<u8> = "image/png"), (Vec<u8> = "image/jpeg"))),
              (status = 404, description = "The photo is unknown, or no longer kept", body = Problem,
               content_type = "application/problem+json")))]
pub(super) async fn shown(Extract(shared): State, Path(id): Path<String>) -> Result<Response, Problem> {
    let (bytes, kind) = shared.ask(move |engine| picture(&*engine.entry(&id)?)).await?;
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}

/// A small picture of the photo.
#[utoipa::path(get, path = "/api/v1/photos/{id}/thumbnail",
    params(("id" = String, Path, description = "The photo's id")), tag = "photos",
    responses((status = 200, description = "A picture of at most 240 pixels", body = Vec<u8>,
               content_type = "image/jpeg"),
              (status = 404, description = "The photo is unknown, or no longer kept", body = Problem,
               content_type = "application/problem+json")))]
pub(super) async fn small(Extract(shared): State, Path(id): Path<String>) -> Result<Response, Problem> {
    let bytes = shared.ask(move |engine| thumbnail(&*engine.entry(&id)?)).await?;
    Ok(([(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, "private, max-age=3600")], bytes)
        .into_response())
}

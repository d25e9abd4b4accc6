//! The description of the API (OpenAPI 3.1), made of the handlers.

use axum::Json;
use utoipa::OpenApi;

use super::{ask, concepts, info, photos, problem::Problem, search};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "fieldmark",
        description = "Where in a photograph a vision-language model sees a concept, and what sets it apart from its \
                       rivals. Errors are problem documents (RFC 9457). Every response has an `X-Request-Id`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    paths(
        info::server,
        photos::upload,
        photos::listed,
        photos::info,
        photos::forget,
        photos::shown,
        photos::small,
        ask::localize,
        ask::compare,
        ask::overlay,
        ask::regions,
        ask::report,
        search::search,
        concepts::complete,
        concepts::list,
        described
    ),
    components(schemas(Problem)),
    tags(
        (name = "server", description = "What the server can do"),
        (name = "photos", description = "Photos that can be asked about; they are kept in memory only"),
        (name = "questions", description = "Records, maps and pictures"),
        (name = "concepts", description = "The lists of concepts that ship")
    )
)]
struct Description;

/// The description of the HTTP API (OpenAPI 3.1) as JSON.
pub fn openapi() -> serde_json::Value {
    serde_json::to_value(Description::openapi()).unwrap_or_default()
}

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "server",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(super) async fn described() -> Json<serde_json::Value> {
    Json(openapi())
}

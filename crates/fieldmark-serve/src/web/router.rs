//! Which address is answered by which function.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    middleware::from_fn_with_state,
    routing::{get, post},
};
use fieldmark_explain::Explainer;
use tokio::sync::Semaphore;

use super::{
    ask, assets,
    concepts::{self, Lists},
    gate::gate,
    info, openapi, photos,
    problem::Problem,
    question::Bounds,
    search,
    state::{Shared, listed, token_hash},
};
use crate::{engine::Tasks, error::Result, options::ServeOptions};

/// The most bytes of a question.
const QUESTION_BYTES: usize = 1 << 20;

/// All that the server answers.
pub(crate) fn router(
    options: &ServeOptions,
    address: SocketAddr,
    explainer: &Explainer,
    tasks: Tasks,
) -> Result<Router> {
    let lists = Lists::new()?;
    let info = info::description(explainer, options, &lists)?;
    let bounds =
        Bounds { prompts: options.prompts, prompt_length: options.prompt_length, detail: options.detail };
    let shared = Arc::new(Shared {
        address,
        token: options.token.as_deref().map(token_hash),
        tasks,
        uploads: Semaphore::new(options.uploads),
        searches: Arc::new(Semaphore::new(1)),
        upload_bytes: options.upload_bytes,
        timeout: options.timeout,
        bounds,
        lists,
        listed: listed(options),
        info,
    });
    let api = Router::new()
        .route("/server", get(info::server))
        .route("/openapi.json", get(openapi::described))
        .route("/concepts", get(concepts::complete))
        .route("/concepts/{list}", get(concepts::list))
        .route("/photos", get(photos::listed).post(photos::upload))
        .route("/photos/{id}", get(photos::info).delete(photos::forget))
        .route("/photos/{id}/picture", get(photos::shown))
        .route("/photos/{id}/thumbnail", get(photos::small))
        .route("/photos/{id}/localize", post(ask::localize))
        .route("/photos/{id}/compare", post(ask::compare))
        .route("/photos/{id}/overlay", post(ask::overlay))
        .route("/photos/{id}/regions", post(ask::regions))
        .route("/photos/{id}/report", post(ask::report))
        .route("/search", post(search::search));
    Ok(Router::new()
        .route("/", get(assets::page))
        .route("/page/{name}", get(assets::file))
        .nest("/api/v1", api)
        .fallback(|| async { Problem::not_found("there is nothing at this address") })
        .method_not_allowed_fallback(|| async {
            let detail = "the address is not asked in this way";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", "the method is not allowed", detail)
        })
        .layer(DefaultBodyLimit::max(QUESTION_BYTES))
        .layer(from_fn_with_state(Arc::clone(&shared), gate))
        .with_state(shared))
}

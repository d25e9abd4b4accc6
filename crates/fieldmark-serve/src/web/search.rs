//! One question about every photo of the server's folders, with results as they arrive (server-sent events).

use std::convert::Infallible;

use axum::{
    body::{Body, Bytes},
    extract::State as Extract,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::{
    ask::{Localized, check_json},
    problem::Problem,
    question::{LocalizeRequest, parsed},
    state::State,
};

/// Events that may wait for a slow client before the work does.
const WAITING_EVENTS: usize = 16;

/// A photo's answer.
#[derive(Serialize)]
struct Hit<'a> {
    id: &'a str,
    #[serde(flatten)]
    answer: Localized,
}

/// Asks one question about every photo of the server's folders. Events: `result` (the fields of a localization, with the
/// photo's `id`), `failed` (`id`, `name`, `detail`), `progress` (`done`, `total`) and `done`.
#[utoipa::path(post, path = "/api/v1/search", tag = "questions",
    request_body(content = LocalizeRequest, content_type = "application/json"),
    responses((status = 200, description = "Results as they arrive", body = String, content_type = "text/event-stream"),
              (status = 422, description = "The question cannot be answered", body = Problem,
               content_type = "application/problem+json"),
              (status = 429, description = "Another search is running", body = Problem,
               content_type = "application/problem+json")))]
pub(super) async fn search(
    Extract(shared): State,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    check_json(&headers)?;
    let (query, hidden) = parsed::<LocalizeRequest>(&body)?.query(&shared.lists, &shared.bounds)?;
    let checked = query.clone();
    shared.ask(move |engine| Ok(engine.explainer.check(&checked)?)).await?;
    let place = shared.searches.clone().try_acquire_owned().map_err(|_| Problem::busy())?;
    let (sender, events) = channel(WAITING_EVENTS);
    let (tasks, listed) = (shared.tasks.clone(), shared.listed.clone());
    let timeout = shared.timeout;
    // One photo is one task, so that questions of the page come in between. The search ends with its client.
    tokio::spawn(async move {
        let _place = place;
        let total = listed.len();
        for (done, photo) in listed.into_iter().enumerate() {
            let (id, query, hidden) = (photo.id.clone(), query.clone(), hidden.clone());
            let ask = || {
                let (id, query, hidden) = (id.clone(), query.clone(), hidden.clone());
                tasks.ask(timeout, move |engine| engine.localize(&id, &query, &hidden))
            };
            let mut answer = ask().await;
            while matches!(answer, Err(crate::engine::Fault::Busy)) && !sender.is_closed() {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                answer = ask().await;
            }
            let sent = match answer {
                Ok(answer) => {
                    let result = Hit { id: &id, answer: Localized::of(answer) };
                    send(&sender, "result", &result).await
                }
                Err(fault) => {
                    let problem = Problem::from(fault);
                    let failed = json!({ "id": id, "name": photo.name, "detail": problem.detail() });
                    send(&sender, "failed", &failed).await
                }
            };
            let progress = json!({ "done": done + 1, "total": total });
            if !sent || !send(&sender, "progress", &progress).await {
                return;
            }
        }
        send(&sender, "done", &json!({ "total": total })).await;
    });
    let body = Body::from_stream(ReceiverStream::new(events).map(Ok::<_, Infallible>));
    Ok(([(header::CONTENT_TYPE, "text/event-stream")], body).into_response())
}

/// Sends an event; whether somebody listens.
async fn send(sender: &Sender<String>, event: &str, data: &impl Serialize) -> bool {
    let data = serde_json::to_string(data).unwrap_or_default();
    sender.send(format!("event: {event}\ndata: {data}\n\n")).await.is_ok()
}

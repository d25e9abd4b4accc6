//! One question about every photo of the server's folders, with results as they arrive (server-sent events).

use std::{convert::Infallible, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::State as Extract,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use fieldmark_explain::explain::Query;
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
use crate::engine::{Answer, Fault, Hidden, Listed, Tasks};

/// Events that may wait for a slow client before the work does.
const WAITING_EVENTS: usize = 16;

/// The time between two tries while the server is busy.
const PAUSE: Duration = Duration::from_millis(50);

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
    let search = Search { tasks: shared.tasks.clone(), timeout: shared.timeout, query, hidden, sender };
    let listed = shared.listed.clone();
    tokio::spawn(async move {
        let _place = place;
        search.run(&listed).await;
    });
    let body = Body::from_stream(ReceiverStream::new(events).map(Ok::<_, Infallible>));
    Ok(([(header::CONTENT_TYPE, "text/event-stream")], body).into_response())
}

/// A search under way. One photo is one task, so that questions of the page come in between. It ends with its client.
struct Search {
    tasks: Tasks,
    timeout: Duration,
    query: Query,
    hidden: Hidden,
    sender: Sender<String>,
}

impl Search {
    async fn run(&self, listed: &[Listed]) {
        let total = listed.len();
        for (done, photo) in listed.iter().enumerate() {
            let sent = match self.answer(&photo.id).await {
                Ok(answer) => {
                    let hit = Hit { id: &photo.id, answer: Localized::of(answer) };
                    send(&self.sender, "result", &hit).await
                }
                Err(fault) => {
                    let problem = Problem::from(fault);
                    let failed = json!({ "id": photo.id, "name": photo.name, "detail": problem.detail() });
                    send(&self.sender, "failed", &failed).await
                }
            };
            let progress = json!({ "done": done + 1, "total": total });
            if !sent || !send(&self.sender, "progress", &progress).await {
                return;
            }
        }
        send(&self.sender, "done", &json!({ "total": total })).await;
    }

    /// A photo's answer, as soon as the server is not busy.
    async fn answer(&self, id: &str) -> Result<Answer, Fault> {
        loop {
            let (id, query, hidden) = (id.to_owned(), self.query.clone(), self.hidden.clone());
            let asked = self.tasks.ask(self.timeout, move |engine| engine.localize(&id, &query, &hidden));
            match asked.await {
                Err(Fault::Busy) if !self.sender.is_closed() => tokio::time::sleep(PAUSE).await,
                answer => return answer,
            }
        }
    }
}

/// Sends an event; whether somebody listens.
async fn send(sender: &Sender<String>, event: &str, data: &impl Serialize) -> bool {
    let data = serde_json::to_string(data).unwrap_or_default();
    sender.send(format!("event: {event}\ndata: {data}\n\n")).await.is_ok()
}

//! The page's own files, compiled in.

use axum::{
    extract::Path,
    http::header,
    response::{IntoResponse, Response},
};
use fieldmark_explain::page::{SCRIPT, STYLE};

use super::problem::Problem;

const PAGE: &str = include_str!("../page/index.html");

/// The files that the page asks for, by name.
const FILES: &[(&str, &str, &str)] = &[
    ("base.css", "text/css; charset=utf-8", STYLE),
    ("serve.css", "text/css; charset=utf-8", include_str!("../page/serve.css")),
    ("drawing.js", "text/javascript; charset=utf-8", SCRIPT),
    ("client.js", "text/javascript; charset=utf-8", include_str!("../page/client.js")),
    ("state.js", "text/javascript; charset=utf-8", include_str!("../page/state.js")),
    ("views.js", "text/javascript; charset=utf-8", include_str!("../page/views.js")),
    ("probe.js", "text/javascript; charset=utf-8", include_str!("../page/probe.js")),
    ("serve.js", "text/javascript; charset=utf-8", include_str!("../page/serve.js")),
    ("icon.svg", "image/svg+xml", include_str!("../page/icon.svg")),
];

pub(super) async fn page() -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], PAGE).into_response()
}

pub(super) async fn file(Path(name): Path<String>) -> Result<Response, Problem> {
    let known = FILES.iter().find(|(known, ..)| *known == name);
    let (_, kind, text) = known.ok_or_else(|| Problem::not_found(format!("page/{name}: not found")))?;
    Ok(([(header::CONTENT_TYPE, *kind)], *text).into_response())
}

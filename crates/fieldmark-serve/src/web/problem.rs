//! Errors as problem documents (RFC 9457).

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use fieldmark_model::error::Error;
use serde::Serialize;
use utoipa::ToSchema;

use crate::engine::Fault;

/// Seconds after which a busy server is worth another try.
const RETRY_AFTER: u32 = 1;

/// Why a request was not answered (RFC 9457, `application/problem+json`).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// What kind of problem it is: a URN that begins with `urn:fieldmark:`.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What was expected and what was found.
    detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        let (kind, title) = (format!("urn:fieldmark:{kind}"), title.to_owned());
        Self { kind, title, status: status.as_u16(), detail: detail.into() }
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// A request that is not what the API expects.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "the request cannot be answered", detail)
    }

    pub(super) fn busy() -> Self {
        let detail = "as many requests as the server takes at once are waiting";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", "the server is busy", detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "not found", detail)
    }

    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "the request is not allowed", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match status {
            StatusCode::TOO_MANY_REQUESTS => drop(headers.insert(header::RETRY_AFTER, RETRY_AFTER.into())),
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Busy => Self::busy(),
            Fault::Late => {
                let detail = "no answer was ready in time";
                Self::new(StatusCode::GATEWAY_TIMEOUT, "late", "the answer took too long", detail)
            }
            Fault::NoPhoto(id) => {
                let detail = format!("photo {id}: unknown, or no longer kept in memory");
                Self::new(StatusCode::NOT_FOUND, "no-photo", "the photo is not here", detail)
            }
            Fault::TooLarge { bytes, limit } => {
                let detail =
                    format!("the photo takes {bytes} bytes of memory, more than the limit of {limit}");
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the photo is too large", detail)
            }
            Fault::Library(error) => library(&error),
            Fault::Panic(detail) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "fault", "a fault of the program", detail)
            }
        }
    }
}

/// What the library says, with the status of whoever has to act.
fn library(error: &Error) -> Problem {
    let (status, kind, title) = match error {
        Error::Image { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "image", "the photo cannot be decoded"),
        Error::UnsupportedFormat { .. } => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "format", "the format is not supported")
        }
        Error::ImageTooLarge { .. } | Error::ImageSideTooLong { .. } => {
            (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the photo is too large")
        }
        Error::Prompt { .. } | Error::Option { .. } => {
            (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "the request cannot be answered")
        }
        Error::Read { .. } => (StatusCode::NOT_FOUND, "unreadable", "the photo cannot be read"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "model", "the model gave no answer"),
    };
    Problem::new(status, kind, title, error.to_string())
}

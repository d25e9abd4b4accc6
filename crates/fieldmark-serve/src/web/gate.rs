//! What every request must satisfy before anything is done for it, and the headers of every response.
//!
//! A page of another site can make a browser send requests to this machine: by its address, or by a name of its own
//! that it points here (DNS rebinding). The `Host` must be this server's, `Origin` must be the same place, and
//! cross-site requests are refused.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    body::to_bytes,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    problem::Problem,
    state::{Shared, State, token_hash},
};

/// Where a browser may load from, and that it runs only scripts of this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The cookie that holds the token once the page was opened with it.
const COOKIE: &str = "fieldmark-token";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

static REQUESTS: AtomicU64 = AtomicU64::new(1);

/// Lets a request pass, or answers it.
pub(super) async fn gate(axum::extract::State(shared): State, request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let mut response = match admit(&shared, &request) {
        Ok(None) => as_problem(next.run(request).await).await,
        Ok(Some(response)) => response,
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    let set = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    set.into_iter().for_each(|(name, value)| drop(headers.insert(name, HeaderValue::from_static(value))));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(REQUEST_ID, id);
    response
}

/// What the framework refuses by itself (a body that is too large, a query that cannot be read) is a problem document as
/// well.
async fn as_problem(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    if !(status.is_client_error() || status.is_server_error())
        || kind.is_some_and(|kind| kind == "application/problem+json")
    {
        return response;
    }
    let detail = to_bytes(response.into_body(), 4096).await.unwrap_or_default();
    let title = status.canonical_reason().unwrap_or("error").to_lowercase();
    Problem::new(status, "request", &title, String::from_utf8_lossy(&detail)).into_response()
}

/// The client's id of its request, or a number.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_plain = |value: &&HeaderValue| {
        value.len() <= 128 && value.as_bytes().iter().all(|byte| byte.is_ascii_graphic())
    };
    let given = headers.get(&REQUEST_ID).filter(is_plain).filter(|value| !value.is_empty());
    given.cloned().unwrap_or_else(|| REQUESTS.fetch_add(1, Ordering::Relaxed).into())
}

/// None if the request may be answered; a response that takes the token out of the address.
fn admit(shared: &Arc<Shared>, request: &Request) -> Result<Option<Response>, Problem> {
    let headers = request.headers();
    let host = host(request).unwrap_or_default();
    if !is_own_host(shared.address, &host) {
        let detail = format!("Host: expected the address of this server, found {host:?}");
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "host",
            "the request is for another server",
            detail,
        ));
    }
    check_origin(headers, &host)?;
    let Some(expected) = &shared.token else { return Ok(None) };
    let query = request.uri().query().unwrap_or_default();
    let typed = query.split('&').find_map(|pair| pair.strip_prefix("token="));
    if let Some(token) = typed.filter(|token| request.uri().path() == "/" && token_hash(token) == *expected) {
        return Ok(Some(with_cookie(token)?));
    }
    let sent = bearer(headers).or_else(|| cookie(headers));
    if sent.is_some_and(|token| token_hash(token) == *expected) {
        return Ok(None);
    }
    let detail = "expected the token that the server printed when it was started";
    Err(Problem::new(StatusCode::UNAUTHORIZED, "token", "a token is needed", detail))
}

fn host(request: &Request) -> Option<String> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then(|| host.to_ascii_lowercase())
}

/// Whether a `Host` names this server: by an address, which no other site's name can be, or as localhost.
fn is_own_host(address: SocketAddr, host: &str) -> bool {
    let with_port = |host: &str| host.parse::<SocketAddr>().ok();
    let named = host.strip_prefix("localhost").map(|rest| (address.ip(), rest));
    let (ip, port) = match (with_port(host), host.trim_matches(['[', ']']).parse::<IpAddr>(), named) {
        (Some(found), ..) => (found.ip(), Some(found.port())),
        (_, Ok(ip), _) => (ip, Some(80)),
        (_, _, Some((ip, ""))) => (ip, Some(80)),
        (_, _, Some((ip, rest))) => (ip, rest.strip_prefix(':').and_then(|port| port.parse().ok())),
        _ => return false,
    };
    let bound = address.ip();
    let is_reachable = ip == bound || (bound.is_loopback() && ip.is_loopback()) || bound.is_unspecified();
    port == Some(address.port()) && is_reachable
}

/// Refuses what a page of another site makes a browser send.
fn check_origin(headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        if origin.strip_prefix("http://") != Some(host) {
            return Err(Problem::forbidden(format!("Origin: expected http://{host}, found {origin:?}")));
        }
    }
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    let is_navigation = headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
    match site {
        None | Some("same-origin" | "none") => Ok(()),
        // A link to the page, from a mail or a note, is harmless.
        Some(_) if is_navigation => Ok(()),
        Some(site) => {
            Err(Problem::forbidden(format!("expected a request of this page, found one that is {site}")))
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

/// Keeps the token in a cookie that scripts cannot read, so that the address no longer shows it.
fn with_cookie(token: &str) -> Result<Response, Problem> {
    let cookie = format!("{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/");
    let cookie = HeaderValue::from_str(&cookie).map_err(|_| Problem::forbidden("the token is no text"))?;
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, "/")]).into_response();
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_server_are_hosts() {
        let local: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        for host in ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "127.0.0.2:8080"] {
            assert!(is_own_host(local, host), "{host}");
        }
        let others = [
            "",
            "127.0.0.1",
            "127.0.0.1:80",
            "localhost",
            "localhost:81",
            "evil.example:8080",
            "10.0.0.1:8080",
        ];
        for host in others.into_iter().chain(["localhost.evil.example:8080", "127.0.0.1.nip.io:8080"]) {
            assert!(!is_own_host(local, host), "{host}");
        }
        let everywhere: SocketAddr = "0.0.0.0:80".parse().unwrap();
        assert!(is_own_host(everywhere, "192.168.1.5"));
        assert!(is_own_host(everywhere, "localhost:80"));
        assert!(!is_own_host(everywhere, "evil.example"));
    }
}

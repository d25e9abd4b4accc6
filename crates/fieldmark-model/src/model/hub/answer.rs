//! Reads what the Hub answers: turns headers into facts, and everything but success into an error that says what
//! was refused. Knows the Hub's headers; asks nothing.

use std::time::Duration;

use hf_hub::HFError;
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderMap, RETRY_AFTER};
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::HubOptions;
use super::cache::{is_commit, is_xet_hash};
use super::connection::{LEAVES_HTTPS, TOO_MANY_REDIRECTS, root_cause, same_origin};
use crate::error::{Error, Result};

/// One repository at one revision, as the Hub's addresses name it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repository<'a> {
    /// `org/name`.
    pub(super) name: &'a str,
    /// A branch, tag or commit.
    pub(super) revision: &'a str,
}

/// What is in a repository.
#[derive(Debug)]
pub(super) struct Listing {
    /// The commit that the revision stands for.
    pub(super) commit: String,
    /// The files' names, as the server gave them.
    pub(super) files: Vec<String>,
}

/// What the Hub says about a file before it is fetched.
#[derive(Debug)]
pub(super) struct Remote {
    /// The name of the contents; checked to be a plain file name.
    pub(super) etag: String,
    /// Bytes in the file, where the server said.
    pub(super) size: Option<u64>,
    /// The hash under which Xet's storage keeps the contents.
    pub(super) xet: Option<String>,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Trying again would change nothing.
    Final(Error),
    /// It may work in a moment, or after the wait that the server asked for.
    Passing { url: String, reason: String, wait: Option<Duration> },
    /// The server has nothing of the part that was asked for.
    Range { url: String },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Final(error)
    }
}

/// An error about what an address answered.
pub(super) fn network(url: &str, reason: impl Into<String>) -> Error {
    Error::Network { url: url.to_owned(), reason: reason.into() }
}

/// Whether a failed transfer may work in a moment.
pub(super) fn classify(url: &str, error: &reqwest::Error) -> Failure {
    let url = error.url().map_or_else(|| url.to_owned(), without_query);
    let cause = root_cause(error);
    if error.is_redirect() {
        let known = [TOO_MANY_REDIRECTS, LEAVES_HTTPS].into_iter().find(|known| cause.contains(known));
        let reason =
            known.map_or_else(|| format!("redirects to an address that is refused: {cause}"), str::to_owned);
        return Failure::Final(network(&url, reason));
    }
    if error.is_timeout() {
        return Failure::Passing { url, reason: "no answer in time".into(), wait: None };
    }
    // What the other side's certificate lacks, it will lack in a moment.
    if error.is_connect() && cause.contains("certificate") {
        return Failure::Final(network(&url, cause));
    }
    if error.is_builder() {
        return Failure::Final(network(&url, format!("is not an address that can be asked: {cause}")));
    }
    Failure::Passing { url, reason: cause, wait: None }
}

/// An address as messages name it: what follows the question mark may be a signature that gives access.
pub(super) fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// Turns the error of the Hub's own client into one that says what was refused.
pub(super) fn classify_hub(
    url: &str,
    repository: Repository<'_>,
    options: &HubOptions,
    error: HFError,
) -> Failure {
    let (context, wait) = match error {
        HFError::Request { source, .. } => return classify(url, &source),
        HFError::RateLimited { retry_after, context } => (context, retry_after),
        HFError::Http { context }
        | HFError::AuthRequired { context }
        | HFError::Forbidden { context }
        | HFError::Conflict { context }
        | HFError::RepoNotFound { context: Some(context), .. }
        | HFError::RevisionNotFound { context: Some(context), .. }
        | HFError::EntryNotFound { context: Some(context), .. } => (context, None),
        other => return Failure::Final(network(url, root_cause(&other))),
    };
    let answered = context.url.parse().map_or_else(|_| url.to_owned(), |url: Url| without_query(&url));
    let code = context.error_code.as_deref();
    refusal(options, repository, Refused { url: &answered, status: context.status, code, wait })
}

/// An answer that is no success.
pub(super) struct Refused<'a> {
    /// The address that answered.
    pub(super) url: &'a str,
    pub(super) status: StatusCode,
    /// The Hub's own word for it.
    pub(super) code: Option<&'a str>,
    /// How long the server asks to wait.
    pub(super) wait: Option<Duration>,
}

impl<'a> Refused<'a> {
    pub(super) fn new(url: &'a str, status: StatusCode, headers: &'a HeaderMap) -> Self {
        let wait = number(headers, RETRY_AFTER.as_str()).map(Duration::from_secs);
        Refused { url, status, code: header(headers, "x-error-code"), wait }
    }
}

/// What an answer that is no success means.
pub(super) fn refusal(options: &HubOptions, repository: Repository<'_>, refused: Refused<'_>) -> Failure {
    let Refused { url, status, code, wait } = refused;
    let answer = format!("the server answered {status}");
    if status.is_server_error() || status == 429 || status == 408 {
        return Failure::Passing { url: url.to_owned(), reason: answer, wait };
    }
    if status == 416 {
        return Failure::Range { url: url.to_owned() };
    }
    let (model, endpoint) = (repository.name.to_owned(), &options.endpoint);
    let token = match options.token {
        Some(_) => "the token that was sent gives no access",
        None => "no token was sent",
    };
    let missing = |reason| Error::ModelNotFound { model: model.clone(), reason };
    let denied = |why| Error::AccessDenied { model: model.clone(), reason: format!("{why}, and {token}") };
    Failure::Final(match (code, status.as_u16()) {
        (Some("GatedRepo"), _) => denied("it is gated"),
        (Some("RepoNotFound"), _) => {
            missing(format!("{endpoint} has no such repository, or it is private and {token}"))
        }
        (Some("RevisionNotFound"), _) => {
            missing(format!("the repository has no revision {}", repository.revision))
        }
        (_, 401 | 403) if is_at(url, endpoint) => denied(&answer),
        (_, 404) => missing(format!("{url} does not exist")),
        _ => network(url, answer),
    })
}

fn is_at(url: &str, endpoint: &str) -> bool {
    matches!((url.parse(), endpoint.parse()), (Ok(url), Ok(endpoint)) if same_origin(&url, &endpoint))
}

/// Refuses an answer whose body is encoded, which no request asks for.
pub(super) fn refuse_encoding(url: &str, headers: &HeaderMap) -> Result<()> {
    match header(headers, CONTENT_ENCODING.as_str()).map(str::trim) {
        Some(encoding) if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") => {
            Err(network(url, format!("the answer is encoded as {encoding:?}, which was not asked for")))
        }
        _ => Ok(()),
    }
}

#[derive(Deserialize)]
struct ListingBody {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

/// Reads the list of a repository's files.
pub(super) fn parse_listing(url: &str, text: &[u8]) -> Result<Listing> {
    let body: ListingBody = serde_json::from_slice(text)
        .map_err(|error| network(url, format!("the answer is no list of files: {error}")))?;
    if !is_commit(&body.sha) {
        return Err(network(url, "the list of files names no commit"));
    }
    let files = body.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
    Ok(Listing { commit: body.sha, files })
}

/// Reads the headers that describe a file. Those of a redirect describe the redirect, unless they are the Hub's own.
pub(super) fn parse_remote(
    url: &str,
    repository: Repository<'_>,
    headers: &HeaderMap,
    is_redirect: bool,
) -> Result<Remote> {
    let etag = etag(headers).ok_or_else(|| network(url, "the server sent no etag"))?;
    if !is_plain_name(etag) {
        return Err(network(url, format!("the etag {etag:?} cannot name a file")));
    }
    if let Some(commit) = header(headers, "x-repo-commit").filter(|commit| *commit != repository.revision) {
        return Err(network(
            url,
            format!("the file is of commit {commit:?}, expected {}", repository.revision),
        ));
    }
    if !is_redirect {
        refuse_encoding(url, headers)?;
    }
    let own = number(headers, CONTENT_LENGTH.as_str()).filter(|_| !is_redirect);
    let xet = header(headers, "x-xet-hash").filter(|hash| is_xet_hash(hash)).map(str::to_owned);
    Ok(Remote { etag: etag.to_owned(), size: number(headers, "x-linked-size").or(own), xet })
}

/// The name that the Hub gives to a file's contents.
pub(super) fn etag(headers: &HeaderMap) -> Option<&str> {
    let etag = header(headers, "x-linked-etag").or_else(|| header(headers, ETAG.as_str()))?;
    Some(etag.trim_start_matches("W/").trim_matches('"'))
}

fn is_plain_name(etag: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=128).contains(&etag.len()) && !etag.starts_with('.') && etag.chars().all(plain)
}

/// A header's text.
pub(super) fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// The number in a header.
pub(super) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    header(headers, name)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_loses_its_quotes_and_must_be_a_plain_name() {
        let mut headers = HeaderMap::new();
        headers.insert(ETAG, "W/\"abc-1\"".parse().unwrap());
        assert_eq!(etag(&headers), Some("abc-1"));
        headers.insert("x-linked-etag", "\"linked\"".parse().unwrap());
        assert_eq!(etag(&headers), Some("linked"));
        for hostile in ["", "..", "../x", "a/b", "a\\b", ".hidden", "C:x"] {
            assert!(!is_plain_name(hostile), "{hostile}");
        }
    }

    #[test]
    fn an_encoding_is_refused_unless_it_is_none() {
        let mut headers = HeaderMap::new();
        refuse_encoding("http://hub", &headers).unwrap();
        headers.insert(CONTENT_ENCODING, "identity".parse().unwrap());
        refuse_encoding("http://hub", &headers).unwrap();
        headers.insert(CONTENT_ENCODING, "gzip".parse().unwrap());
        assert!(refuse_encoding("http://hub", &headers).unwrap_err().to_string().contains("\"gzip\""));
    }

    #[test]
    fn a_message_shows_no_signature() {
        let url = "https://cdn.example/a/b?X-Amz-Signature=secret#part".parse().unwrap();
        assert_eq!(without_query(&url), "https://cdn.example/a/b");
    }
}

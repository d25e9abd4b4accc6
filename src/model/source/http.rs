//! Asks the Hub: turns a repository and a file name into answers that are checked, or into an error that says
//! what the Hub refused. Knows the Hub's addresses and headers; knows nothing of the cache.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use ureq::http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, LOCATION, RANGE,
};
use ureq::http::{HeaderMap, Response, Uri};
use ureq::{Agent, Body, Proxy};

use super::HubOptions;
use super::cache::is_commit;
use crate::error::{Error, Result};
use crate::progress::{Event, ProgressHandler, Warning};

/// A listing of ten thousand files has about one megabyte.
const MAX_LISTING: u64 = 32 << 20;
const MAX_REDIRECTS: usize = 8;
/// A download that got this many bytes further has not failed in vain: its retries are counted anew.
const NOTICEABLE: u64 = 1 << 20;
/// What stays readable in a part of an address.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const PLAIN_PATH: &AsciiSet = &PLAIN.remove(b'/');

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
}

/// A file's contents on their way.
pub(super) struct Contents {
    /// The offset in the file at which `body` begins.
    pub(super) start: u64,
    /// Bytes in the whole file, where the server said.
    pub(super) total: Option<u64>,
    pub(super) body: Body,
}

/// Why an attempt failed.
pub(super) enum Failure {
    /// Trying again would change nothing.
    Final(Error),
    /// It may work in a moment, or after the wait that the server asked for.
    Passing { url: String, reason: String, wait: Option<Duration> },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Final(error)
    }
}

/// Talks to one Hub.
pub(super) struct Client<'a> {
    agent: Agent,
    endpoint: Uri,
    pub(super) options: &'a HubOptions,
    pub(super) progress: &'a dyn ProgressHandler,
}

#[derive(Clone, Copy, PartialEq)]
enum Method {
    Get,
    Head,
}

/// A request, apart from its address.
#[derive(Clone, Copy)]
struct Request {
    method: Method,
    /// The first byte that is asked for.
    from: u64,
}

impl<'a> Client<'a> {
    pub(super) fn new(options: &'a HubOptions, progress: &'a dyn ProgressHandler) -> Result<Self> {
        let endpoint: Option<Uri> = options.endpoint.parse().ok();
        let endpoint = endpoint.filter(|uri| origin(uri).is_some()).ok_or_else(|| Error::Option {
            option: "endpoint",
            reason: format!("{:?} is not an http or https address", options.endpoint),
        })?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Redirects are followed here, because the library compares hosts without their ports before it
            // sends the token on.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("fieldmark/", env!("CARGO_PKG_VERSION")))
            .proxy(proxy(options)?)
            .timeout_resolve(Some(options.connect_timeout))
            .timeout_connect(Some(options.connect_timeout))
            .timeout_recv_response(Some(options.read_timeout))
            .timeout_per_read(Some(options.read_timeout))
            .timeout_per_write(Some(options.read_timeout))
            .build();
        Ok(Client { agent: config.into(), endpoint, options, progress })
    }

    /// The files of a repository and the commit that they belong to.
    pub(super) fn listing(&self, repository: Repository<'_>) -> Result<Listing> {
        let revision = utf8_percent_encode(repository.revision, PLAIN);
        let url = format!("{}/api/models/{}/revision/{revision}", self.options.endpoint, repository.name);
        self.retrying(repository.name, || {
            let (mut response, _) = self.request(&url, Request { method: Method::Get, from: 0 })?;
            refuse_status(self, &url, repository, &response)?;
            let text = response.body_mut().with_config().limit(MAX_LISTING).read_to_vec();
            let text = text.map_err(|error| classify(&url, &error))?;
            Ok(parse_listing(&url, &text)?)
        })
    }

    /// What the Hub says about a file.
    pub(super) fn describe(&self, repository: Repository<'_>, file: &str) -> Result<Remote> {
        let url = self.address(repository, file);
        self.retrying(&format!("{}/{file}", repository.name), || {
            let (response, _) = self.request(&url, Request { method: Method::Head, from: 0 })?;
            if !response.status().is_redirection() {
                refuse_status(self, &url, repository, &response)?;
            }
            Ok(parse_remote(&url, repository, response.headers(), response.status().is_redirection())?)
        })
    }

    /// Opens a file's contents, from an offset if the server can; nothing if the file ends before it.
    pub(super) fn open(
        &self,
        repository: Repository<'_>,
        file: &str,
        from: u64,
    ) -> Result<Option<Contents>, Failure> {
        let url = self.address(repository, file);
        let (response, final_url) = self.request(&url, Request { method: Method::Get, from })?;
        if response.status() == 416 {
            return Ok(None);
        }
        refuse_status(self, &final_url, repository, &response)?;
        let length = number(response.headers(), CONTENT_LENGTH.as_str());
        let (start, total) = match response.status().as_u16() {
            206 => content_range(response.headers()).ok_or_else(|| {
                Failure::Final(network(&final_url, "the server sent a part without saying which"))
            })?,
            _ => (0, length),
        };
        Ok(Some(Contents { start, total, body: response.into_body() }))
    }

    /// The address of a file, as errors name it.
    pub(super) fn address(&self, repository: Repository<'_>, file: &str) -> String {
        let revision = utf8_percent_encode(repository.revision, PLAIN);
        let file = utf8_percent_encode(file, PLAIN_PATH);
        format!("{}/{}/resolve/{revision}/{file}", self.options.endpoint, repository.name)
    }

    /// Runs `attempt` until it works, cannot work, or has failed too often.
    fn retrying<T>(&self, what: &str, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T> {
        let mut patience = Patience::new(self, what);
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(failure) => patience.after(failure, 0)?,
            }
        }
    }

    /// Sends a request and follows its redirects: a HEAD only until the Hub's own headers are seen, because
    /// another host (a content delivery network) does not know them. The token never leaves the endpoint.
    fn request(&self, url: &str, request: Request) -> Result<(Response<Body>, String), Failure> {
        let invalid = |url: &str| network(url, "is not an address that can be asked");
        let mut uri: Uri = url.parse().map_err(|_| invalid(url))?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(&uri, request).map_err(|error| classify(&uri.to_string(), &error))?;
            let location = response.headers().get(LOCATION).filter(|_| response.status().is_redirection());
            let Some(location) = location else {
                return Ok((response, uri.to_string()));
            };
            let target = location.to_str().ok().and_then(|location| join(&uri, location));
            let target = target
                .ok_or_else(|| network(&uri.to_string(), "redirects to something that is no address"))?;
            let leaves = origin(&target) != origin(&uri);
            if request.method == Method::Head && leaves && etag(response.headers()).is_some() {
                return Ok((response, uri.to_string()));
            }
            if uri.scheme_str() == Some("https") && target.scheme_str() != Some("https") {
                return Err(network(&uri.to_string(), "redirects from https to http").into());
            }
            uri = target;
        }
        Err(network(url, "redirects too often").into())
    }

    fn send(&self, uri: &Uri, request: Request) -> Result<Response<Body>, ureq::Error> {
        let mut builder = match request.method {
            Method::Get => self.agent.get(uri),
            Method::Head => self.agent.head(uri),
        };
        // Compressed, a file would have neither its size nor its ranges.
        builder = builder.header(ACCEPT_ENCODING, "identity");
        if request.from > 0 {
            builder = builder.header(RANGE, format!("bytes={}-", request.from));
        }
        match &self.options.token {
            Some(token) if origin(uri) == origin(&self.endpoint) => {
                builder.header(AUTHORIZATION, format!("Bearer {token}")).call()
            }
            _ => builder.call(),
        }
    }
}

/// Counts failures and waits between them.
pub(super) struct Patience<'a> {
    client: &'a Client<'a>,
    what: &'a str,
    failures: u32,
    reached: u64,
}

impl<'a> Patience<'a> {
    pub(super) fn new(client: &'a Client<'a>, what: &'a str) -> Self {
        Patience { client, what, failures: 0, reached: 0 }
    }

    /// Waits before the next attempt; `reached` is how many bytes there are by now. Returns the failure as an
    /// error if it is final or was one too many.
    pub(super) fn after(&mut self, failure: Failure, reached: u64) -> Result<()> {
        let (url, reason, wait) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Passing { url, reason, wait } => (url, reason, wait),
        };
        let options = self.client.options;
        if reached >= self.reached.saturating_add(NOTICEABLE) {
            self.failures = 0;
            self.reached = reached;
        }
        if self.failures >= options.retries {
            return Err(Error::Network { url, reason });
        }
        let doubled = options.retry_wait.saturating_mul(1 << self.failures.min(16));
        self.failures += 1;
        let what = self.what.to_owned();
        self.client.progress.event(Event::Warning(Warning::Retry { what, reason }));
        std::thread::sleep(wait.unwrap_or(doubled).min(options.longest_wait));
        Ok(())
    }
}

/// An error about what an address answered.
pub(super) fn network(url: &str, reason: impl Into<String>) -> Error {
    Error::Network { url: url.to_owned(), reason: reason.into() }
}

/// Whether a failed transfer may work in a moment.
pub(super) fn classify(url: &str, error: &ureq::Error) -> Failure {
    use std::io::ErrorKind::{InvalidData, InvalidInput};
    let passing = match error {
        ureq::Error::Io(error) => !matches!(error.kind(), InvalidData | InvalidInput),
        ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed | ureq::Error::Protocol(_) => true,
        _ => false,
    };
    let reason = match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::BodyExceedsLimit(limit) => format!("the answer has more than {limit} bytes"),
        error => error.to_string(),
    };
    if passing {
        Failure::Passing { url: url.to_owned(), reason, wait: None }
    } else {
        Failure::Final(network(url, reason))
    }
}

/// Turns every status but success into a failure that says what it means.
fn refuse_status(
    client: &Client<'_>,
    url: &str,
    repository: Repository<'_>,
    response: &Response<Body>,
) -> Result<(), Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let answer = format!("the server answered {status}");
    if status.is_server_error() || status == 429 || status == 408 {
        let wait = number(response.headers(), "retry-after").map(Duration::from_secs);
        return Err(Failure::Passing { url: url.to_owned(), reason: answer, wait });
    }
    let model = repository.name.to_owned();
    let token = if client.options.token.is_some() {
        "the token that was sent gives no access"
    } else {
        "no token was sent"
    };
    let endpoint = &client.options.endpoint;
    let refused = match (header(response.headers(), "x-error-code"), status.as_u16()) {
        (Some("GatedRepo"), _) => Error::AccessDenied { model, reason: format!("it is gated, and {token}") },
        (Some("RepoNotFound"), _) => {
            let reason = format!("{endpoint} has no such repository, or it is private and {token}");
            Error::ModelNotFound { model, reason }
        }
        (Some("RevisionNotFound"), _) => {
            let reason = format!("the repository has no revision {}", repository.revision);
            Error::ModelNotFound { model, reason }
        }
        (Some("EntryNotFound"), _) => Error::ModelNotFound { model, reason: format!("{url} does not exist") },
        (_, 401 | 403) if is_at(url, &client.endpoint) => {
            Error::AccessDenied { model, reason: format!("{answer}, {token}") }
        }
        (_, 404) => Error::ModelNotFound { model, reason: format!("{url} does not exist") },
        _ => network(url, answer),
    };
    Err(refused.into())
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

fn parse_listing(url: &str, text: &[u8]) -> Result<Listing> {
    let body: ListingBody = serde_json::from_slice(text)
        .map_err(|error| network(url, format!("the answer is no list of files: {error}")))?;
    if !is_commit(&body.sha) {
        return Err(network(url, "the list of files names no commit"));
    }
    let files = body.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
    Ok(Listing { commit: body.sha, files })
}

/// Reads the headers that describe a file. Those of a redirect describe the redirect, unless they are the Hub's own.
fn parse_remote(
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
    let own = number(headers, CONTENT_LENGTH.as_str()).filter(|_| !is_redirect);
    Ok(Remote { etag: etag.to_owned(), size: number(headers, "x-linked-size").or(own) })
}

fn etag(headers: &HeaderMap) -> Option<&str> {
    let etag = header(headers, "x-linked-etag").or_else(|| header(headers, ETAG.as_str()))?;
    Some(etag.trim_start_matches("W/").trim_matches('"'))
}

fn is_plain_name(etag: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=128).contains(&etag.len()) && !etag.starts_with('.') && etag.chars().all(plain)
}

/// The first byte and the whole size in a header like `bytes 100-199/200`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let (range, total) = header(headers, CONTENT_RANGE.as_str())?.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, total.trim().parse().ok()))
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    header(headers, name)?.trim().parse().ok()
}

/// Scheme, host and port: what must be equal for the token to be sent.
fn origin(uri: &Uri) -> Option<(&str, String, u16)> {
    let scheme = uri.scheme_str()?;
    let usual = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    Some((scheme, uri.host()?.to_ascii_lowercase(), uri.port_u16().unwrap_or(usual)))
}

fn is_at(url: &str, endpoint: &Uri) -> bool {
    url.parse::<Uri>().is_ok_and(|uri| origin(&uri) == origin(endpoint))
}

/// The address that a redirect from `base` leads to.
fn join(base: &Uri, location: &str) -> Option<Uri> {
    let scheme = base.scheme_str()?;
    let joined = if location.starts_with("http://") || location.starts_with("https://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        let path =
            if location.starts_with('/') { location.to_owned() } else { format!("{folder}/{location}") };
        format!("{scheme}://{}{path}", base.authority()?)
    };
    joined.parse().ok().filter(|uri| origin(uri).is_some())
}

fn proxy(options: &HubOptions) -> Result<Option<Proxy>> {
    let Some(address) = &options.proxy else {
        return Ok(None);
    };
    // The address is not repeated in the message: it may hold a password.
    let invalid = |_| Error::Option { option: "proxy", reason: "is not the address of an http proxy".into() };
    let parsed = Proxy::new(address).map_err(invalid)?;
    let mut builder = Proxy::builder(parsed.protocol()).host(parsed.host()).port(parsed.port());
    if let Some(username) = parsed.username() {
        builder = builder.username(username);
    }
    if let Some(password) = parsed.password() {
        builder = builder.password(password);
    }
    for host in options.no_proxy.split(',').map(str::trim).filter(|host| !host.is_empty()) {
        builder = builder.no_proxy(host);
    }
    builder.build().map(Some).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn a_redirect_is_read_against_the_address_that_it_came_from() {
        let base = uri("https://hub.example:8443/org/name/resolve/main/a.json?x=1");
        let joined = |location| join(&base, location).unwrap().to_string();
        assert_eq!(joined("/other/a.json"), "https://hub.example:8443/other/a.json");
        assert_eq!(joined("b.json"), "https://hub.example:8443/org/name/resolve/main/b.json");
        assert_eq!(joined("//cdn.example/b"), "https://cdn.example/b");
        assert_eq!(joined("https://cdn.example/b?sign=1"), "https://cdn.example/b?sign=1");
        assert!(join(&base, "ftp://cdn.example:x/b y").is_none());
    }

    #[test]
    fn another_port_or_scheme_is_another_origin() {
        assert_eq!(origin(&uri("https://Hub.example/a")), origin(&uri("https://hub.example:443/b")));
        assert_ne!(origin(&uri("https://hub.example")), origin(&uri("https://hub.example:444")));
        assert_ne!(origin(&uri("https://hub.example")), origin(&uri("http://hub.example:443")));
    }

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
    fn reads_where_a_part_begins() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_RANGE, "bytes 100-199/200".parse().unwrap());
        assert_eq!(content_range(&headers), Some((100, Some(200))));
        headers.insert(CONTENT_RANGE, "bytes 5-9/*".parse().unwrap());
        assert_eq!(content_range(&headers), Some((5, None)));
        headers.insert(CONTENT_RANGE, "bytes */200".parse().unwrap());
        assert_eq!(content_range(&headers), None);
    }

    #[test]
    fn a_proxy_is_read_with_the_hosts_that_go_without_it() {
        let mut options = HubOptions { proxy: Some("http://u:p@proxy:3128".into()), ..HubOptions::default() };
        options.no_proxy = "localhost, .internal".into();
        let found = proxy(&options).unwrap().unwrap();
        assert_eq!((found.host(), found.port(), found.username()), ("proxy", 3128, Some("u")));
        assert!(found.is_no_proxy(&uri("http://localhost/")) && !found.is_no_proxy(&uri("http://other/")));
        options.proxy = Some("no such proxy".into());
        assert!(matches!(proxy(&options), Err(Error::Option { option: "proxy", .. })));
    }
}

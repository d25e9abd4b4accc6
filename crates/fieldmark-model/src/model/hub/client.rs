//! Asks the Hub: which files a repository has, what one of them is, and its contents.
//!
//! Contents come through `hf_hub`. Lists and descriptions are asked for here, over the same connections: the crate reads
//! a list without a limit, and describes a file with a client that it makes itself, without the options' proxy,
//! certificates and timeouts.

use std::future::Future;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures_util::StreamExt;
use hf_hub::HFClient;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, LOCATION, RANGE};
use reqwest::{RequestBuilder, Response, Url};
use tokio::runtime::Runtime;

use super::HubOptions;
use super::answer::{
    Failure, Listing, Refused, Remote, Repository, classify, classify_hub, etag, header, network, number,
    parse_listing, parse_remote, refusal, refuse_encoding, without_query,
};
use super::body::{Body, Broken};
use super::connection::{Clients, LEAVES_HTTPS, MAX_REDIRECTS, TOO_MANY_REDIRECTS, same_origin};
use super::patience::Patience;
use crate::error::{Error, Result};
use crate::progress::ProgressHandler;

/// A listing of ten thousand files has about one megabyte.
const MAX_LISTING: u64 = 32 << 20;
/// How often the crate may be woken before it hands contents on. It takes some thirty times; an error page that never
/// ends, which the crate would collect, wakes it for every piece.
const MAX_WAKES: u32 = 400;
/// What makes the crate send no token, instead of looking for one in the environment: it leaves out a token that no
/// header can hold.
const NO_TOKEN: &str = "\n";

/// A file's contents on their way.
pub(super) struct Contents {
    /// Bytes that the server announced; of the whole file, or of the part that was asked for.
    pub(super) length: Option<u64>,
    /// The offset at which they begin, where the server says so.
    pub(super) start: Option<u64>,
    pub(super) body: Body,
}

/// Talks to one Hub.
pub(super) struct Client<'a> {
    runtime: Option<Runtime>,
    clients: Clients,
    /// None where it cannot be built, which is where the system has no certificates.
    hub: Option<HFClient>,
    endpoint: Url,
    pub(super) options: &'a HubOptions,
    pub(super) progress: &'a dyn ProgressHandler,
}

impl Drop for Client<'_> {
    fn drop(&mut self) {
        // Looking up a host's name cannot be stopped; nobody should wait for it.
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl<'a> Client<'a> {
    pub(super) fn new(options: &'a HubOptions, progress: &'a dyn ProgressHandler) -> Result<Self> {
        let endpoint = endpoint(&options.endpoint)?;
        let clients = Clients::new(options)?;
        let broken = |reason: String| Error::Network { url: options.endpoint.clone(), reason };
        let hub = HFClient::builder()
            .client(clients.following.clone())
            .endpoint(options.endpoint.as_str())
            .token(options.token.as_deref().unwrap_or(NO_TOKEN))
            .cache_dir(&options.cache)
            .cache_enabled(false)
            .user_agent("fieldmark")
            .retry_max_attempts(0)
            .build()
            .ok();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| broken(format!("no thread for it: {error}")))?;
        Ok(Client { runtime: Some(runtime), clients, hub, endpoint, options, progress })
    }

    /// The files of a repository and the commit that they belong to.
    pub(super) fn listing(&self, repository: Repository<'_>) -> Result<Listing> {
        let Repository { name, revision } = repository;
        let url = self.url(&["api/models", name, "revision"], Some(revision), "");
        self.retrying(name, || {
            let text = self.text(&url, repository, MAX_LISTING)?;
            Ok(parse_listing(&without_query(&url), &text)?)
        })
    }

    /// What the Hub says about a file.
    pub(super) fn describe(&self, repository: Repository<'_>, file: &str) -> Result<Remote> {
        let url = self.file_url(repository, file);
        self.retrying(&format!("{}/{file}", repository.name), || {
            let response = self.wait(self.head(&url))?;
            let (named, status) = (without_query(response.url()), response.status());
            if !status.is_redirection() && !status.is_success() {
                let refused = Refused::new(&named, status, response.headers());
                return Err(refusal(self.options, repository, refused));
            }
            Ok(parse_remote(&named, repository, response.headers(), status.is_redirection())?)
        })
    }

    /// Opens a file's contents through the Hub's own client; a part of them if there is a range.
    pub(super) fn open(
        &self,
        repository: Repository<'_>,
        file: &str,
        range: Option<Range<u64>>,
    ) -> Result<Contents, Failure> {
        let Some(hub) = &self.hub else {
            return self.open_plain(repository, file, range);
        };
        let (owner, name) = hf_hub::split_id(repository.name);
        let model = hub.model(owner, name);
        let url = self.address(repository, file);
        let stream = model.download_file_stream().filename(file).revision(repository.revision);
        let opening = stream.maybe_range(range).send();
        let opened = self.wait(Bounded { future: pin!(opening), wakes: 0 });
        let opened = opened.ok_or_else(|| network(&url, "the answer is an error page without end"))?;
        let (length, stream) = opened.map_err(|error| classify_hub(&url, repository, self.options, error))?;
        let pieces = stream.map(|piece| piece.map(Vec::from));
        Ok(Contents { length, start: None, body: Body::Streamed(Box::pin(pieces)) })
    }

    /// Opens the contents of a file that Xet stores without going to that storage, which the Hub's own client always
    /// does.
    pub(super) fn open_plain(
        &self,
        repository: Repository<'_>,
        file: &str,
        range: Option<Range<u64>>,
    ) -> Result<Contents, Failure> {
        let url = self.file_url(repository, file);
        let mut request = self.authorized(self.clients.following.get(url.clone()));
        if let Some(range) = &range {
            request = request.header(RANGE, format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        }
        let response =
            self.wait(async { request.send().await }).map_err(|error| classify(url.as_str(), &error))?;
        self.refuse_status(&response, repository)?;
        let length = number(response.headers(), CONTENT_LENGTH.as_str());
        let start = if response.status() == 206 { range_start(response.headers()) } else { Some(0) };
        Ok(Contents { length, start, body: Body::Answered(response) })
    }

    /// The text that an address of the Hub answers, if it is no longer than the limit.
    pub(super) fn text(&self, url: &Url, repository: Repository<'_>, limit: u64) -> Result<Vec<u8>, Failure> {
        let request = self.authorized(self.clients.following.get(url.clone()));
        let response =
            self.wait(async { request.send().await }).map_err(|error| classify(url.as_str(), &error))?;
        self.refuse_status(&response, repository)?;
        let named = without_query(response.url());
        let mut text = Vec::new();
        self.read(&named, repository, Body::Answered(response), &mut |piece| {
            text.extend_from_slice(piece);
            if text.len() as u64 > limit {
                return Err(network(&named, format!("the answer has more than {limit} bytes")).into());
            }
            Ok(true)
        })?;
        Ok(text)
    }

    /// Hands on what arrives of a body.
    pub(super) fn read(
        &self,
        url: &str,
        repository: Repository<'_>,
        body: Body,
        take: &mut dyn FnMut(&[u8]) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        self.wait(body.read(self.options.read_timeout, take)).map_err(|broken| match broken {
            Broken::Connection(error) => classify(url, &error),
            Broken::Hub(error) => classify_hub(url, repository, self.options, error),
            Broken::Slow(reason) => Failure::Passing { url: url.to_owned(), reason, wait: None },
            Broken::Receiver(failure) => failure,
        })
    }

    /// Asks for the headers of a file and follows redirects only until the Hub's own are seen, because another host (a
    /// content delivery network) does not know them. The token never leaves the endpoint.
    async fn head(&self, url: &Url) -> Result<Response, Failure> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.clients.stopping.head(url.clone());
            if same_origin(&url, &self.endpoint) {
                request = self.authorized(request);
            }
            let response = request.send().await.map_err(|error| classify(url.as_str(), &error))?;
            let location = response.headers().get(LOCATION).filter(|_| response.status().is_redirection());
            let Some(location) = location else {
                return Ok(response);
            };
            let target = location.to_str().ok().and_then(|location| url.join(location).ok());
            let target = target.filter(|target| matches!(target.scheme(), "http" | "https"));
            let named = without_query(&url);
            let target =
                target.ok_or_else(|| network(&named, "redirects to something that is no address"))?;
            if !same_origin(&target, &url) && etag(response.headers()).is_some() {
                return Ok(response);
            }
            if url.scheme() == "https" && target.scheme() != "https" {
                return Err(network(&named, LEAVES_HTTPS).into());
            }
            url = target;
        }
        Err(network(&without_query(&url), TOO_MANY_REDIRECTS).into())
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.options.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    fn refuse_status(&self, response: &Response, repository: Repository<'_>) -> Result<(), Failure> {
        let (url, status) = (without_query(response.url()), response.status());
        if !status.is_success() {
            let refused = Refused::new(&url, status, response.headers());
            return Err(refusal(self.options, repository, refused));
        }
        Ok(refuse_encoding(&url, response.headers())?)
    }

    /// The address of a file, as errors name it.
    pub(super) fn address(&self, repository: Repository<'_>, file: &str) -> String {
        self.file_url(repository, file).into()
    }

    fn file_url(&self, repository: Repository<'_>, file: &str) -> Url {
        self.url(&[repository.name, "resolve"], Some(repository.revision), file)
    }

    /// The address at which the Hub hands out access to Xet's storage.
    pub(super) fn xet_token_url(&self, repository: Repository<'_>) -> Url {
        self.url(&["api/models", repository.name, "xet-read-token"], Some(repository.revision), "")
    }

    /// An address below the endpoint: paths as they are, then one part that may have slashes, then a file's path.
    fn url(&self, paths: &[&str], part: Option<&str>, file: &str) -> Url {
        let mut url = self.endpoint.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty();
            segments.extend(paths.iter().flat_map(|path| path.split('/')));
            segments.extend(part);
            segments.extend(file.split('/').filter(|part| !part.is_empty()));
        }
        url
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

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        match &self.runtime {
            Some(runtime) => runtime.block_on(future),
            None => unreachable!("the runtime is there until the client is dropped"),
        }
    }
}

/// The Hub's address, checked.
fn endpoint(address: &str) -> Result<Url> {
    let parsed: Option<Url> = address.parse().ok();
    let usable = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    parsed.filter(usable).ok_or_else(|| Error::Option {
        option: "endpoint",
        reason: format!("{address:?} is not an http or https address"),
    })
}

/// The first byte in a header like `bytes 100-199/200`.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let (range, _) = header(headers, CONTENT_RANGE.as_str())?.strip_prefix("bytes ")?.split_once('/')?;
    range.split_once('-')?.0.trim().parse().ok()
}

/// A future that is given up when it was woken too often.
struct Bounded<'f, F> {
    future: Pin<&'f mut F>,
    wakes: u32,
}

impl<F: Future> Future for Bounded<'_, F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.wakes += 1;
        match self.future.as_mut().poll(context) {
            Poll::Pending if self.wakes > MAX_WAKES => Poll::Ready(None),
            state => state.map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_where_a_part_begins() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_RANGE, "bytes 100-199/200".parse().unwrap());
        assert_eq!(range_start(&headers), Some(100));
        headers.insert(CONTENT_RANGE, "bytes 5-9/*".parse().unwrap());
        assert_eq!(range_start(&headers), Some(5));
        headers.insert(CONTENT_RANGE, "bytes */200".parse().unwrap());
        assert_eq!(range_start(&headers), None);
    }

    #[test]
    fn an_endpoint_is_an_address_that_may_have_a_path() {
        for good in ["https://hub.example", "http://127.0.0.1:80/a/b", "https://mirror.example/hf/"] {
            endpoint(good).unwrap();
        }
        for bad in ["hub.example", "ftp://hub.example", "https://hub.example?x=1", "https://", ""] {
            assert!(matches!(endpoint(bad), Err(Error::Option { option: "endpoint", .. })), "{bad}");
        }
    }

    #[test]
    fn what_is_woken_too_often_is_given_up() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let endless = std::future::poll_fn(|context: &mut Context<'_>| -> Poll<()> {
            context.waker().wake_by_ref();
            Poll::Pending
        });
        assert_eq!(runtime.block_on(Bounded { future: pin!(endless), wakes: 0 }), None);
        assert_eq!(runtime.block_on(Bounded { future: pin!(async { 7 }), wakes: 0 }), Some(7));
    }
}

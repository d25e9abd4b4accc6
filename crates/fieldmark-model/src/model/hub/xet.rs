//! Fetches a file from Xet's storage, where the Hub keeps large ones in pieces: they come in parallel, and each once.
//!
//! `hf_xet` is what `hf_hub` uses for it. The way through `hf_hub` 1.0 asks for the file with a client of its own, without
//! the options' proxy, certificates and timeouts, writes a cache of an older layout and reports to the storage's
//! operators; here none of that happens.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use xet::xet_session::header::AUTHORIZATION;
use xet::xet_session::{
    HeaderMap, HeaderValue, XetConfig, XetFileDownloadGroup, XetFileInfo, XetSession, XetSessionBuilder,
};

use super::HubOptions;
use super::answer::{Failure, Repository};
use super::client::Client;
use super::connection::root_cause;
use crate::guard::guarded;
use crate::progress::Event;

const MAX_ACCESS: u64 = 64 << 10;
/// Where systems keep the certificates that they trust.
const SYSTEM_CERTIFICATES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
const POLL: Duration = Duration::from_millis(50);

/// Contents in the storage.
#[derive(Clone, Copy)]
pub(super) struct Contents<'a> {
    pub(super) hash: &'a str,
    pub(super) size: u64,
    /// Their name in events.
    pub(super) name: &'a str,
}

/// What the Hub hands out for reading from the storage.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Access {
    access_token: String,
    exp: u64,
    cas_url: String,
}

/// Whether the options leave a way to the storage: its client takes no proxy, and no certificates but the system's.
pub(super) fn is_possible(options: &HubOptions) -> bool {
    let certificates = options.certificates.as_deref();
    options.xet && options.proxy.is_none() && certificates.is_none_or(is_of_the_system)
}

/// Whether a file of certificates is the one that the system keeps: many set it as an option all the same.
fn is_of_the_system(path: &Path) -> bool {
    let found = path.canonicalize();
    found.is_ok_and(|found| {
        SYSTEM_CERTIFICATES
            .iter()
            .any(|known| Path::new(known).canonicalize().is_ok_and(|known| known == found))
    })
}

/// Fetches contents into a file; what went wrong is a reason to fetch them the plain way.
pub(super) fn fetch(
    client: &Client<'_>,
    repository: Repository<'_>,
    contents: Contents<'_>,
    path: &Path,
) -> Result<(), String> {
    let access = access(client, repository)?;
    guarded(|| transfer(client, repository, contents, &access, path)).map_err(|panic| panic.message)?
}

fn access(client: &Client<'_>, repository: Repository<'_>) -> Result<Access, String> {
    let url = client.xet_token_url(repository);
    let text = client.text(&url, repository, MAX_ACCESS).map_err(|failure| match failure {
        Failure::Final(error) => error.to_string(),
        Failure::Passing { reason, .. } => reason,
        Failure::Range { url } => format!("{url} has no such part"),
    })?;
    let access: Access =
        serde_json::from_slice(&text).map_err(|error| format!("the answer grants no access: {error}"))?;
    let encrypted = access.cas_url.starts_with("https://") || url.scheme() == "http";
    if encrypted { Ok(access) } else { Err("the storage's address is not https".to_owned()) }
}

fn transfer(
    client: &Client<'_>,
    repository: Repository<'_>,
    contents: Contents<'_>,
    access: &Access,
    path: &Path,
) -> Result<(), String> {
    let say = |error: &dyn std::error::Error| root_cause(error);
    let scratch = tempfile::tempdir().map_err(|error| say(&error))?;
    let session = session(client.options, scratch.path())?;
    let refresh = client.xet_token_url(repository);
    let group = session.new_file_download_group().map_err(|error| say(&error))?;
    let group = group
        .with_endpoint(access.cas_url.as_str())
        .with_token_info(access.access_token.as_str(), access.exp)
        .with_token_refresh_url(refresh, authorization(client.options))
        .build_blocking()
        .map_err(|error| say(&error))?;
    let info = XetFileInfo::new(contents.hash.to_owned(), contents.size);
    group.download_file_to_path_blocking(info, path.to_owned()).map_err(|error| say(&error))?;
    let ended = watch(client, contents, &group);
    if ended.is_err() {
        // Nothing of it is waited for: what hangs must not hold up the plain way.
        let _ = session.abort();
    }
    ended
}

fn session(options: &HubOptions, scratch: &Path) -> Result<XetSession, String> {
    // The defaults, without what the environment says; a program passes that in as options.
    let mut config = XetConfig::default();
    config.client.connect_timeout = options.connect_timeout;
    config.client.read_timeout = options.read_timeout;
    config.client.retry_max_attempts = usize::try_from(options.retries).unwrap_or(usize::MAX);
    config.client.retry_base_delay = options.retry_wait;
    config.client.retry_max_duration = options.longest_wait;
    config.telemetry.enabled = false;
    config.chunk_cache.size_bytes = 0;
    for (setting, value) in [
        ("reconstruction.min_reconstruction_fetch_size", "64mb"),
        ("reconstruction.max_reconstruction_fetch_size", "256mb"),
        ("reconstruction.download_buffer_size", "256mb"),
        ("reconstruction.download_buffer_perfile_size", "64mb"),
        ("reconstruction.download_buffer_limit", "256mb"),
        ("reconstruction.min_prefetch_buffer", "64mb"),
    ] {
        config = config.with_config(setting, value).map_err(|error| error.to_string())?;
    }
    let session = XetSessionBuilder::new_with_config(config).with_cache_dir(scratch).build();
    session.map_err(|error| root_cause(&error))
}

/// The token goes to the Hub's own address, which hands out access when the first one runs out.
fn authorization(options: &HubOptions) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let value =
        options.token.as_ref().and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok());
    if let Some(mut value) = value {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    headers
}

/// Reports how far the transfer is until it ends, or brings nothing for too long.
fn watch(client: &Client<'_>, contents: Contents<'_>, group: &XetFileDownloadGroup) -> Result<(), String> {
    let (progress, total) = (client.progress, Some(contents.size));
    progress.event(Event::DownloadStarted { file: contents.name.to_owned(), total, resumed: 0 });
    let ended = end_of(group)?;
    let patience = client.options.read_timeout.saturating_mul(2);
    let (mut reported, mut moved, mut changed) = (0, 0, Instant::now());
    loop {
        let end = ended.recv_timeout(POLL);
        let state = group.progress();
        let written = if matches!(end, Ok(Ok(()))) { contents.size } else { state.total_bytes_completed };
        let written = written.min(contents.size);
        if written > reported {
            progress.event(Event::DownloadAdvanced { bytes: written - reported });
            reported = written;
        }
        match end {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => return Err("its client failed".to_owned()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = state.total_transfer_bytes_completed.saturating_add(state.total_bytes_completed);
        if now > moved {
            (moved, changed) = (now, Instant::now());
        } else if changed.elapsed() > patience {
            return Err("no answer in time".to_owned());
        }
    }
}

/// Waits for a transfer on a thread of its own, which is left behind if it hangs.
fn end_of(group: &XetFileDownloadGroup) -> Result<Receiver<Result<(), String>>, String> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let group = group.clone();
    let wait = move || {
        let finished = guarded(|| group.finish_blocking().map(drop).map_err(|error| root_cause(&error)));
        // Nobody listens any more if it took too long.
        let _ = sender.send(finished.unwrap_or_else(|panic| Err(panic.message)));
    };
    let thread = std::thread::Builder::new().name("xet".into()).spawn(wait);
    thread.map(|_| receiver).map_err(|error| error.to_string())
}

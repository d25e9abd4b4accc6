//! Builds the client below every request from the options: proxies, certificates, timeouts and redirects.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Client, ClientBuilder, Proxy, Url};

use super::HubOptions;
use super::proxy::ProxyRule;
use crate::error::{Error, Result};

pub(super) const MAX_REDIRECTS: usize = 8;
pub(super) const TOO_MANY_REDIRECTS: &str = "redirects too often";
pub(super) const LEAVES_HTTPS: &str = "redirects from https to http";
/// The bundles of distributions have some 200 kB.
const MAX_CERTIFICATES: u64 = 16 << 20;

/// The two clients that requests are made with; both use the same connections' settings.
pub(super) struct Clients {
    /// Follows redirects. The token stays with the host that it was meant for.
    pub(super) following: Client,
    /// Returns redirects as they come.
    pub(super) stopping: Client,
}

impl Clients {
    pub(super) fn new(options: &HubOptions) -> Result<Self> {
        let following = client(options, || Policy::custom(follow))?;
        Ok(Clients { following, stopping: client(options, Policy::none)? })
    }
}

fn client(options: &HubOptions, policy: fn() -> Policy) -> Result<Client> {
    let mut built = builder(options)?.redirect(policy()).build();
    // Small installations have no certificates; those of Mozilla are compiled in.
    if built.is_err() && options.certificates.is_none() {
        let known = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
        let known: Vec<_> = known.filter_map(|known| Certificate::from_der(known).ok()).collect();
        built = builder(options)?.tls_certs_only(known).redirect(policy()).build();
    }
    built.map_err(|error| Error::Option {
        option: "certificates",
        reason: format!("no client for the network can be made: {}", root_cause(&error)),
    })
}

fn builder(options: &HubOptions) -> Result<ClientBuilder> {
    let mut headers = HeaderMap::new();
    // Compressed, a file would have neither its size nor its ranges.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let mut builder = Client::builder()
        .user_agent(concat!("fieldmark/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .referer(false)
        .connect_timeout(options.connect_timeout)
        .read_timeout(options.read_timeout)
        // The client would look for proxies in the environment, which belongs to the program.
        .no_proxy();
    if let Some(rule) = ProxyRule::new(options)? {
        builder = builder.proxy(Proxy::custom(move |url: &Url| rule.proxy_for(url)));
    }
    if let Some(path) = &options.certificates {
        builder = builder.tls_certs_only(certificates(path)?);
    }
    Ok(builder)
}

/// Follows a redirect unless there were too many or it would give up encryption.
fn follow(attempt: Attempt) -> reqwest::redirect::Action {
    let from_https = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error(TOO_MANY_REDIRECTS)
    } else if from_https && attempt.url().scheme() != "https" {
        attempt.error(LEAVES_HTTPS)
    } else {
        attempt.follow()
    }
}

/// The certificates in a file, or in all files of a folder, as PEM.
fn certificates(path: &Path) -> Result<Vec<Certificate>> {
    let invalid = |reason: String| Error::Option {
        option: "certificates",
        reason: format!("{}: {reason}", path.display()),
    };
    let mut text = Vec::new();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).map_err(|error| invalid(error.to_string()))?.flatten() {
            // A folder of certificates also holds other things, such as lists of revoked ones.
            if entry.path().is_file() {
                let _ = append(&entry.path(), &mut text);
                text.push(b'\n');
            }
        }
    } else {
        append(path, &mut text).map_err(|error| invalid(error.to_string()))?;
    }
    let found = Certificate::from_pem_bundle(&text).map_err(|error| invalid(root_cause(&error)))?;
    if found.is_empty() {
        return Err(invalid("holds no certificate in PEM form".into()));
    }
    Ok(found)
}

fn append(path: &Path, text: &mut Vec<u8>) -> std::io::Result<usize> {
    let left = MAX_CERTIFICATES.saturating_sub(text.len() as u64);
    File::open(path)?.take(left).read_to_end(text)
}

/// What lies at the bottom of an error: the part that says what happened.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Scheme, host and port: what must be equal for the token to be sent.
pub(super) fn same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn another_port_or_scheme_is_another_origin() {
        assert!(same_origin(&url("https://Hub.example/a"), &url("https://hub.example:443/b")));
        assert!(!same_origin(&url("https://hub.example"), &url("https://hub.example:444")));
        assert!(!same_origin(&url("https://hub.example"), &url("http://hub.example:443")));
    }

    #[test]
    fn certificates_come_from_a_file_or_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let mut options = HubOptions { certificates: Some(folder.path().into()), ..HubOptions::default() };
        let reason = |options: &HubOptions| match Clients::new(options) {
            Err(Error::Option { option: "certificates", reason }) => reason,
            Err(other) => panic!("expected Option, found {other:?}"),
            Ok(_) => panic!("expected an error"),
        };
        assert!(reason(&options).contains("holds no certificate"));
        std::fs::write(folder.path().join("ca.pem"), "-----BEGIN CERTIFICATE-----\n").unwrap();
        assert!(reason(&options).contains(folder.path().to_str().unwrap()));
        options.certificates = Some(folder.path().join("missing.pem"));
        assert!(reason(&options).contains("missing.pem: No such file"));
    }
}

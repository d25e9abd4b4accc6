//! Decides which addresses go through the proxy, by the rules of `NO_PROXY`.

use std::net::IpAddr;

use reqwest::Url;

use super::HubOptions;
use crate::error::{Error, Result};

const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// The proxy, and the hosts that are reached without it.
#[derive(Debug)]
pub(super) struct ProxyRule {
    proxy: Url,
    exceptions: Vec<Exception>,
}

/// One entry of `NO_PROXY`.
#[derive(Debug, PartialEq)]
enum Exception {
    /// `*`
    Everything,
    /// A host or a domain with all its hosts, perhaps one port of them alone.
    Host { name: String, port: Option<u16> },
    /// An address or a range of them, perhaps one port of them alone.
    Range { base: IpAddr, prefix: u32, port: Option<u16> },
}

impl ProxyRule {
    /// The rule that the options describe; none without a proxy.
    pub(super) fn new(options: &HubOptions) -> Result<Option<Self>> {
        let Some(address) = &options.proxy else {
            return Ok(None);
        };
        let address = address.trim();
        let whole = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let proxy = whole.parse::<Url>().ok();
        let proxy = proxy.filter(|url| SCHEMES.contains(&url.scheme()) && url.has_host());
        // The address is not repeated in the message: it may hold a password.
        let proxy = proxy.ok_or_else(|| Error::Option {
            option: "proxy",
            reason: format!("is not the address of a proxy; its scheme may be {}", SCHEMES.join(", ")),
        })?;
        let entries = options.no_proxy.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty());
        Ok(Some(ProxyRule { proxy, exceptions: entries.map(Exception::parse).collect() }))
    }

    /// The proxy for an address, unless it is reached without.
    pub(super) fn proxy_for(&self, url: &Url) -> Option<Url> {
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let port = url.port_or_known_default();
        let excepted = self.exceptions.iter().any(|exception| exception.covers(&host, port));
        (!excepted).then(|| self.proxy.clone())
    }
}

impl Exception {
    fn parse(entry: &str) -> Self {
        if entry == "*" {
            return Exception::Everything;
        }
        let (host, port) = split_port(entry);
        let (address, prefix) = match host.split_once('/') {
            Some((address, prefix)) => (address, prefix.parse().ok()),
            None => (host, Some(u32::MAX)),
        };
        match (address.parse(), prefix) {
            (Ok(base), Some(prefix)) => Exception::Range { base, prefix, port },
            _ => {
                let name = host.trim_start_matches("*.").trim_start_matches('.').trim_end_matches('.');
                Exception::Host { name: name.to_ascii_lowercase(), port }
            }
        }
    }

    fn covers(&self, host: &str, asked: Option<u16>) -> bool {
        let fits = |port: &Option<u16>| port.is_none() || *port == asked;
        match self {
            Exception::Everything => true,
            Exception::Host { name, port } => {
                let host = host.trim_end_matches('.');
                let inside = host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                fits(port) && !name.is_empty() && (host == name || inside)
            }
            Exception::Range { base, prefix, port } => {
                fits(port) && host.parse().is_ok_and(|host| is_in_range(host, *base, *prefix))
            }
        }
    }
}

/// Parts a host from its port; an IPv6 address with a port stands in brackets.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    if let Some((address, rest)) = entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

/// Whether the first `prefix` bits of two addresses of one kind are equal.
fn is_in_range(address: IpAddr, base: IpAddr, prefix: u32) -> bool {
    let differ = match (address.to_canonical(), base.to_canonical()) {
        (IpAddr::V4(one), IpAddr::V4(other)) => u128::from(one.to_bits() ^ other.to_bits()) << 96,
        (IpAddr::V6(one), IpAddr::V6(other)) => one.to_bits() ^ other.to_bits(),
        _ => return false,
    };
    differ.leading_zeros() >= prefix.min(if base.is_ipv4() { 32 } else { 128 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(proxy: &str, no_proxy: &str) -> Result<Option<ProxyRule>> {
        let options =
            HubOptions { proxy: Some(proxy.into()), no_proxy: no_proxy.into(), ..HubOptions::default() };
        ProxyRule::new(&options)
    }

    fn goes_through(no_proxy: &str, url: &str) -> bool {
        rule("http://proxy:3128", no_proxy).unwrap().unwrap().proxy_for(&url.parse().unwrap()).is_some()
    }

    #[test]
    fn a_proxy_is_an_address_with_a_known_scheme() {
        for address in ["proxy:3128", "http://u:p@proxy:3128", "socks4://p", "socks4a://p", "socks5h://p:9"] {
            assert!(rule(address, "").unwrap().is_some(), "{address}");
        }
        for address in ["ftp://proxy", "socks6://proxy", "no such proxy", "http://"] {
            assert!(matches!(rule(address, ""), Err(Error::Option { option: "proxy", .. })), "{address}");
        }
        let found = rule("http://u:p@proxy:3128", "").unwrap().unwrap();
        let proxy = found.proxy_for(&"https://hub.example/".parse().unwrap()).unwrap();
        assert_eq!((proxy.host_str(), proxy.port(), proxy.username()), (Some("proxy"), Some(3128), "u"));
    }

    #[test]
    fn exceptions_are_hosts_domains_ports_and_ranges() {
        for (no_proxy, url, through) in [
            ("", "https://hub.example/", true),
            ("*", "https://hub.example/", false),
            ("localhost, .internal", "http://localhost:80/", false),
            ("localhost, .internal", "http://a.internal/", false),
            ("localhost,internal", "http://a.internal/", false),
            ("*.internal", "http://internal./", false),
            ("internal", "http://notinternal/", true),
            ("hub.example:8080", "http://hub.example:8080/", false),
            ("hub.example:8080", "http://hub.example/", true),
            ("hub.example:443", "https://HUB.example/", false),
            ("10.0.0.0/8", "http://10.200.3.4/", false),
            ("10.0.0.0/8", "http://11.0.0.1/", true),
            ("10.0.0.0/8:81", "http://10.0.0.1:82/", true),
            ("10.0.0.1", "http://10.0.0.1/", false),
            ("10.0.0.1:90", "http://10.0.0.1/", true),
            ("0.0.0.0/0", "http://1.2.3.4/", false),
            ("0.0.0.0/0", "http://[::1]/", true),
            ("fd00::/8", "http://[fd12::1]:8000/", false),
            ("fd00::/8", "http://[fe80::1]/", true),
            ("::1", "http://[::1]/", false),
            ("[::1]:81", "http://[::1]:80/", true),
            ("10.0.0.0/99x", "http://10.0.0.1/", true),
            (".", "http://hub.example/", true),
        ] {
            assert_eq!(goes_through(no_proxy, url), through, "{no_proxy} {url}");
        }
    }
}

//! Compares addresses and follows redirects from one to the next: what decides where the token may go.

use ureq::http::Uri;

/// Scheme, host and port: what must be equal for the token to be sent.
pub(super) fn origin(uri: &Uri) -> Option<(&str, String, u16)> {
    let scheme = uri.scheme_str()?;
    let usual = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    Some((scheme, uri.host()?.to_ascii_lowercase(), uri.port_u16().unwrap_or(usual)))
}

pub(super) fn is_at(url: &str, endpoint: &Uri) -> bool {
    url.parse::<Uri>().is_ok_and(|uri| origin(&uri) == origin(endpoint))
}

/// The address that a redirect from `base` leads to.
pub(super) fn join(base: &Uri, location: &str) -> Option<Uri> {
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
}

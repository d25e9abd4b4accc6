//! Where the Hub and its cache are, and how patient to be with them. The library reads no environment itself: a
//! program passes its own in.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PUBLIC_HUB: &str = "https://huggingface.co";
/// Tokens have some forty characters; a longer file is something else.
const MAX_TOKEN_FILE: u64 = 4096;

/// Where the Hub and its cache are, and how patient to be with them.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubOptions {
    /// The cache that all Hugging Face libraries share (`~/.cache/huggingface/hub`). Empty when it is not known:
    /// then nothing of the Hub can be used.
    pub cache: PathBuf,
    /// The Hub's address, `http` or `https`, without a slash at its end.
    pub endpoint: String,
    /// The access token. It is sent to `endpoint` and to no other host.
    pub token: Option<String>,
    /// Never touch the network: what is not in the cache is an error.
    pub offline: bool,
    /// The proxy to go through, as `http://user:password@host:port`; its scheme may also be `https`, `socks4`,
    /// `socks4a`, `socks5` or `socks5h`.
    pub proxy: Option<String>,
    /// What is reached without the proxy, separated by commas: hosts, domains with all their hosts, addresses and
    /// ranges of them such as `10.0.0.0/8`, each perhaps with a port; `*` for everything.
    pub no_proxy: String,
    /// A file with the certificates, in PEM form, that are trusted in place of the system's; or a folder of such files.
    pub certificates: Option<PathBuf>,
    /// Fetch large files from Xet's storage, in parallel pieces. Where there is a proxy or a file of certificates they
    /// come over the plain way, because the storage's client takes neither.
    pub xet: bool,
    /// Keep what comes from Xet's storage once for all repositories of the cache, as Python's huggingface_hub does from
    /// version 2 on, and use what is kept so.
    pub shared_blobs: bool,
    /// How long finding a host and connecting to it may take.
    pub connect_timeout: Duration,
    /// How long a server may send nothing, and how long another process that is fetching the same file may
    /// write nothing. A transfer that brings less than a kibibyte per second for twice as long has failed, too.
    pub read_timeout: Duration,
    /// How often something that failed for the moment is tried again. Counted anew whenever a download has got
    /// noticeably further.
    pub retries: u32,
    /// The wait before the first retry; it doubles from one to the next.
    pub retry_wait: Duration,
    /// The longest wait before a retry, even where a server asks for more.
    pub longest_wait: Duration,
}

crate::setters!(HubOptions {
    cache: PathBuf,
    endpoint: String,
    token: Option<String>,
    offline: bool,
    proxy: Option<String>,
    no_proxy: String,
    certificates: Option<PathBuf>,
    xet: bool,
    shared_blobs: bool,
    connect_timeout: Duration,
    read_timeout: Duration,
    retries: u32,
    retry_wait: Duration,
    longest_wait: Duration,
});

impl Default for HubOptions {
    /// The public Hub without a token, and the cache where Python's libraries keep it unless a variable
    /// says otherwise: `.cache/huggingface/hub` in the home directory.
    fn default() -> Self {
        // The home directory is asked of the operating system; no variable changes what this library does.
        let home = std::env::home_dir().unwrap_or_default();
        HubOptions {
            cache: home.join(".cache/huggingface/hub"),
            endpoint: PUBLIC_HUB.into(),
            token: None,
            offline: false,
            proxy: None,
            no_proxy: String::new(),
            certificates: None,
            xet: true,
            shared_blobs: true,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            retries: 3,
            retry_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(60),
        }
    }
}

/// Leaves out the secrets: the token, and the proxy with its password.
impl fmt::Debug for HubOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubOptions")
            .field("cache", &self.cache)
            .field("endpoint", &self.endpoint)
            .field("has_token", &self.token.is_some())
            .field("offline", &self.offline)
            .field("has_proxy", &self.proxy.is_some())
            .field("certificates", &self.certificates)
            .field("xet", &self.xet)
            .finish_non_exhaustive()
    }
}

impl HubOptions {
    /// The options that Python's huggingface_hub would use in the same environment; `lookup` returns the value of
    /// an environment variable. An empty value counts as none.
    ///
    /// Cache: `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, `HF_HOME/hub`, `XDG_CACHE_HOME/huggingface/hub`,
    /// `~/.cache/huggingface/hub`. Token: `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN`, the file `HF_TOKEN_PATH`, the file
    /// `HF_HOME/token`; none with `HF_HUB_DISABLE_IMPLICIT_TOKEN`. In all these paths, `~` and variables such as
    /// `$SCRATCH` stand for what they mean. Proxy: `https_proxy` or `http_proxy`, `all_proxy` and `no_proxy`, in lower or
    /// upper case. Certificates: `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`, `SSL_CERT_FILE`. Also `HF_ENDPOINT`,
    /// `HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE`, `HF_HUB_DISABLE_XET` and `HF_HUB_DISABLE_SHARED_BLOBS`.
    pub fn from_environment(lookup: &dyn Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&str]| {
            names.iter().find_map(|name| lookup(name).filter(|value| !value.trim().is_empty()))
        };
        let home = first(&["HOME", "USERPROFILE"]).map(PathBuf::from);
        let path = |names: &[&str]| first(names).map(|value| expand(&value, home.as_deref(), lookup));
        let hugging_face = path(&["HF_HOME"]).or_else(|| {
            let caches = path(&["XDG_CACHE_HOME"]).or_else(|| home.as_ref().map(|home| home.join(".cache")));
            caches.map(|caches| caches.join("huggingface"))
        });
        let cache = path(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"])
            .or_else(|| hugging_face.as_ref().map(|home| home.join("hub")));
        let token_file = path(&["HF_TOKEN_PATH"]).or_else(|| hugging_face.map(|home| home.join("token")));
        let token = if is_true(first(&["HF_HUB_DISABLE_IMPLICIT_TOKEN"])) {
            None
        } else {
            let named = first(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]);
            named.or_else(|| read_token(token_file.as_deref()?)).map(|token| token.trim().to_owned())
        };
        let endpoint = first(&["HF_ENDPOINT"]).unwrap_or_else(|| PUBLIC_HUB.into());
        let endpoint = endpoint.trim().trim_end_matches('/').to_owned();
        HubOptions {
            cache: cache.unwrap_or_default(),
            offline: is_true(first(&["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])),
            proxy: first(proxy_variables(&endpoint)),
            no_proxy: first(&["no_proxy", "NO_PROXY"]).unwrap_or_default(),
            certificates: path(&["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"]),
            xet: !is_true(first(&["HF_HUB_DISABLE_XET"])),
            shared_blobs: !is_true(first(&["HF_HUB_DISABLE_SHARED_BLOBS"])),
            token,
            endpoint,
            ..HubOptions::default()
        }
    }
}

fn proxy_variables(endpoint: &str) -> &'static [&'static str] {
    if endpoint.starts_with("http:") {
        &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
    } else {
        &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    }
}

fn is_true(value: Option<String>) -> bool {
    value.is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str()))
}

/// A path as a shell reads it: `~` at its start is the home directory, and `$NAME` and `${NAME}` are variables. What is
/// not set stays as it is.
fn expand(value: &str, home: Option<&Path>, lookup: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    let expanded = match (value.strip_prefix('~'), home.and_then(Path::to_str)) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
        _ => value.to_owned(),
    };
    PathBuf::from(expand_variables(&expanded, lookup))
}

fn expand_variables(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let (name, behind) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some(braced) => braced,
            None => {
                let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
                after.split_at(after.find(|c| !is_part(c)).unwrap_or(after.len()))
            }
        };
        match lookup(name).filter(|_| !name.is_empty()) {
            Some(value) => expanded.push_str(&value),
            None => expanded.push_str(&rest[before.len()..rest.len() - behind.len()]),
        }
        rest = behind;
    }
    expanded + rest
}

fn read_token(path: &Path) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(MAX_TOKEN_FILE).read_to_string(&mut text).ok()?;
    (!text.trim().is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(variables: &[(&str, &str)]) -> HubOptions {
        HubOptions::from_environment(&|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn finds_the_cache_in_the_order_of_the_python_library() {
        let mut variables = vec![("HOME", "/home/ada")];
        assert_eq!(options(&variables).cache, Path::new("/home/ada/.cache/huggingface/hub"));
        variables.push(("XDG_CACHE_HOME", "/xdg"));
        assert_eq!(options(&variables).cache, Path::new("/xdg/huggingface/hub"));
        variables.push(("HF_HOME", "~/hf"));
        assert_eq!(options(&variables).cache, Path::new("/home/ada/hf/hub"));
        variables.push(("HUGGINGFACE_HUB_CACHE", "/old"));
        assert_eq!(options(&variables).cache, Path::new("/old"));
        variables.push(("HF_HUB_CACHE", "/new"));
        assert_eq!(options(&variables).cache, Path::new("/new"));
        assert_eq!(options(&[]).cache, Path::new(""));
    }

    #[test]
    fn paths_have_their_variables_expanded_as_python_does() {
        let cache = |value: &str| {
            let variables =
                [("HOME", "/home/ada"), ("SCRATCH", "/scratch/ada"), ("X", ""), ("HF_HOME", value)];
            options(&variables).cache.to_str().unwrap().to_owned()
        };
        // os.path.expandvars(os.path.expanduser(value))
        for (value, expected) in [
            ("$SCRATCH/hf", "/scratch/ada/hf/hub"),
            ("${SCRATCH}x/$SCRATCH", "/scratch/adax//scratch/ada/hub"),
            ("~/$SCRATCH", "/home/ada//scratch/ada/hub"),
            ("~", "/home/ada/hub"),
            ("~bob/hf", "~bob/hf/hub"),
            ("/a/$UNSET/${UNSET}/$", "/a/$UNSET/${UNSET}/$/hub"),
            ("/a/${SCRATCH", "/a/${SCRATCH/hub"),
            ("/a/$$SCRATCH$X/b", "/a/$/scratch/ada/b/hub"),
        ] {
            assert_eq!(cache(value), expected, "{value}");
        }
        let found = options(&[("HOME", "/home/ada"), ("HF_HUB_CACHE", "$HOME/c"), ("HF_HOME", "/hf")]);
        assert_eq!(found.cache, Path::new("/home/ada/c"));
    }

    #[test]
    fn reads_certificates_and_what_is_switched_off() {
        let found = options(&[("SSL_CERT_FILE", "/ssl"), ("REQUESTS_CA_BUNDLE", "/requests")]);
        assert_eq!(found.certificates.as_deref(), Some(Path::new("/requests")));
        assert!(found.xet && found.shared_blobs);
        let found = options(&[("SSL_CERT_FILE", "/ssl"), ("HF_HUB_DISABLE_XET", "1")]);
        assert_eq!((found.certificates.as_deref(), found.xet), (Some(Path::new("/ssl")), false));
        assert!(!options(&[("HF_HUB_DISABLE_SHARED_BLOBS", "true")]).shared_blobs);
    }

    #[test]
    fn reads_the_token_from_the_variable_before_the_file() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("token"), "from-home\n").unwrap();
        std::fs::write(directory.path().join("other"), " from-path \n").unwrap();
        let home = directory.path().to_str().unwrap();
        let other = format!("{home}/other");
        let token = |variables: &[(&str, &str)]| options(variables).token;
        assert_eq!(token(&[("HF_HOME", home)]).as_deref(), Some("from-home"));
        assert_eq!(token(&[("HF_HOME", home), ("HF_TOKEN_PATH", &other)]).as_deref(), Some("from-path"));
        assert_eq!(token(&[("HF_HOME", home), ("HF_TOKEN", " own ")]).as_deref(), Some("own"));
        assert_eq!(token(&[("HF_HOME", home), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        assert_eq!(token(&[("HF_TOKEN", " ")]), None);
    }

    #[test]
    fn reads_endpoint_offline_mode_and_proxy() {
        let found =
            options(&[("HF_ENDPOINT", "http://mirror:80/"), ("http_proxy", "p"), ("https_proxy", "s")]);
        assert_eq!((found.endpoint.as_str(), found.proxy.as_deref()), ("http://mirror:80", Some("p")));
        assert_eq!(options(&[("ALL_PROXY", "a"), ("https_proxy", "s")]).proxy.as_deref(), Some("s"));
        let found = options(&[("ALL_PROXY", "socks5h://a"), ("NO_PROXY", "upper"), ("no_proxy", "lower")]);
        assert_eq!((found.proxy.as_deref(), found.no_proxy.as_str()), (Some("socks5h://a"), "lower"));
        let found = options(&[("HF_ENDPOINT", "https://mirror.example/hf//")]);
        assert_eq!(found.endpoint, "https://mirror.example/hf");
        assert!(options(&[("HF_HUB_OFFLINE", "yes")]).offline);
        assert!(options(&[("HF_HUB_OFFLINE", ""), ("TRANSFORMERS_OFFLINE", "ON")]).offline);
        assert!(!options(&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")]).offline);
    }

    #[test]
    fn printing_the_options_shows_no_secret() {
        let found = options(&[("HF_TOKEN", "hf_secret"), ("https_proxy", "http://u:secret@proxy")]);
        assert!(!format!("{found:?}").contains("secret"));
    }
}

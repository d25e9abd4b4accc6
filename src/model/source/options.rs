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
    /// The proxy to go through, as `http://user:password@host:port`.
    pub proxy: Option<String>,
    /// Hosts that are reached without the proxy, separated by commas.
    pub no_proxy: String,
    /// How long finding a host and connecting to it may take.
    pub connect_timeout: Duration,
    /// How long a server may send nothing, and how long another process that is fetching the same file may
    /// write nothing.
    pub read_timeout: Duration,
    /// How often something that failed for the moment is tried again. Counted anew whenever a download has got
    /// noticeably further.
    pub retries: u32,
    /// The wait before the first retry; it doubles from one to the next.
    pub retry_wait: Duration,
    /// The longest wait before a retry, even where a server asks for more.
    pub longest_wait: Duration,
}

impl Default for HubOptions {
    /// The public Hub without a token, and the cache in the place where Python's libraries have it unless a variable
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
            .finish_non_exhaustive()
    }
}

impl HubOptions {
    /// The options that Python's huggingface_hub would use in the same environment; `lookup` returns the value of
    /// an environment variable. An empty value counts as none.
    ///
    /// Cache: `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, `HF_HOME/hub`, `XDG_CACHE_HOME/huggingface/hub`,
    /// `~/.cache/huggingface/hub`. Token: `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN`, the file `HF_TOKEN_PATH`, the file
    /// `HF_HOME/token`; none with `HF_HUB_DISABLE_IMPLICIT_TOKEN`. Also `HF_ENDPOINT`, `HF_HUB_OFFLINE`,
    /// `TRANSFORMERS_OFFLINE` and the usual proxy variables.
    pub fn from_environment(lookup: &dyn Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&str]| {
            names.iter().find_map(|name| lookup(name).filter(|value| !value.trim().is_empty()))
        };
        let home = first(&["HOME", "USERPROFILE"]).map(PathBuf::from);
        let path = |names: &[&str]| first(names).map(|value| expand_home(&value, home.as_deref()));
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
            no_proxy: first(&["NO_PROXY", "no_proxy"]).unwrap_or_default(),
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

fn expand_home(value: &str, home: Option<&Path>) -> PathBuf {
    match (value.strip_prefix('~'), home) {
        (Some(""), Some(home)) => home.to_owned(),
        (Some(rest), Some(home)) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        _ => PathBuf::from(value),
    }
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

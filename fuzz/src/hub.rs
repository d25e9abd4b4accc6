//! Answers over HTTP: a Hub that says what the input has, in turns with what a sound one says.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use arbitrary::Arbitrary;
use fieldmark_model::{
    Error,
    model::hub::{HubOptions, ModelSpec, locate},
    progress::Silent,
};

use crate::{check_error, scratch};

const REPO: &str = "org/bird-clip";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// Files and their etags: the SHA-1 that git has for them.
const FILES: [(&str, &[u8], &str); 3] = [
    ("config.json", b"{}", "9e26dfeeb6e641a33dae4961196235bdb965b21b"),
    ("preprocessor_config.json", b"{}", "9e26dfeeb6e641a33dae4961196235bdb965b21b"),
    ("tokenizer.json", b"{}", "9e26dfeeb6e641a33dae4961196235bdb965b21b"),
];

/// What a Hub says, one request after the other; a sound one's answers behind the last.
#[derive(Clone, Debug, Arbitrary)]
pub struct Conversation {
    turns: Vec<Turn>,
}

#[derive(Clone, Debug, Arbitrary)]
enum Turn {
    /// What a sound Hub says.
    Sound,
    /// A sound answer with these headers beside its own, another status or body.
    Changed { status: Option<Status>, headers: Vec<(Header, Value)>, body: Option<Vec<u8>>, cut: Option<u8> },
    /// These bytes.
    Raw(Vec<u8>),
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum Status {
    Partial = 206,
    Found = 302,
    Temporary = 307,
    NotModified = 304,
    Denied = 401,
    Missing = 404,
    Range = 416,
    TooMany = 429,
    Failed = 500,
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum Header {
    ETag,
    LinkedEtag,
    LinkedSize,
    Commit,
    Location,
    Range,
    Retry,
    Encoding,
    Transfer,
    Xet,
    Code,
}

#[derive(Clone, Debug, Arbitrary)]
enum Value {
    Text(String),
    Number(u64),
    Digest(u8),
    Path,
}

impl Header {
    fn name(self) -> &'static str {
        match self {
            Self::ETag => "ETag",
            Self::LinkedEtag => "X-Linked-Etag",
            Self::LinkedSize => "X-Linked-Size",
            Self::Commit => "X-Repo-Commit",
            Self::Location => "Location",
            Self::Range => "Content-Range",
            Self::Retry => "Retry-After",
            Self::Encoding => "Content-Encoding",
            Self::Transfer => "Transfer-Encoding",
            Self::Xet => "X-Xet-Hash",
            Self::Code => "X-Error-Code",
        }
    }
}

impl Value {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.replace(['\r', '\n'], " "),
            Self::Number(number) => number.to_string(),
            Self::Digest(byte) => format!("{byte:02x}").repeat(32),
            Self::Path => "../../../escaped".into(),
        }
    }
}

/// Downloads a checkpoint from such a Hub: it arrives, or the error is one of a network's, and nothing lies outside of
/// the cache.
///
/// # Panics
/// If it does neither.
pub fn converse(conversation: Conversation) {
    let (address, turns) = server();
    *turns.lock().unwrap_or_else(PoisonError::into_inner) = conversation.turns;
    scratch::with(|scratch| {
        let cache = scratch.path().join("cache");
        let options = HubOptions::default()
            .cache(cache.clone())
            .endpoint(format!("http://{address}"))
            .token(Some("hf_secret".into()))
            .retries(1)
            .retry_wait(Duration::from_millis(1))
            .longest_wait(Duration::from_millis(2))
            .connect_timeout(Duration::from_secs(2))
            .read_timeout(Duration::from_millis(100));
        let spec = ModelSpec::parse(REPO).expect("is the name of a repository");
        if let Err(error) = locate(&spec, &options, &Silent) {
            check_error(&error);
            let is_of_a_network = matches!(
                error,
                Error::Network { .. }
                    | Error::ModelNotFound { .. }
                    | Error::AccessDenied { .. }
                    | Error::Write { .. }
            );
            assert!(is_of_a_network, "{error:?}");
        }
        for entry in std::fs::read_dir(scratch.path()).expect("can be read").flatten() {
            assert_eq!(entry.path(), cache, "something was written outside of the cache");
        }
    });
}

/// The server of this process, and what it is to say next.
fn server() -> (SocketAddr, &'static Mutex<Vec<Turn>>) {
    static TURNS: Mutex<Vec<Turn>> = Mutex::new(Vec::new());
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    let address = ADDRESS.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it has an address");
        std::thread::spawn(move || {
            // A client that goes away in the middle is no failure of the server.
            listener.incoming().flatten().for_each(|stream| drop(serve(stream)));
        });
        address
    });
    (*address, &TURNS)
}

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let mut turns = server().1.lock().unwrap_or_else(PoisonError::into_inner);
    let turn = if turns.is_empty() { Turn::Sound } else { turns.remove(0) };
    drop(turns);
    let path = first.split(' ').nth(1).unwrap_or_default();
    stream.write_all(&answer(turn, path, first.starts_with("HEAD")))?;
    stream.flush()
}

fn answer(turn: Turn, path: &str, head_only: bool) -> Vec<u8> {
    let (mut status, mut headers, mut body) = sound(path);
    let mut end = None;
    match turn {
        Turn::Raw(bytes) => return bytes,
        Turn::Sound => {}
        Turn::Changed { status: other, headers: more, body: replaced, cut } => {
            status = other.map_or(status, |other| other as u16);
            body = replaced.unwrap_or(body);
            for (name, value) in more {
                headers.retain(|(header, _)| *header != name.name());
                headers.push((name.name(), value.text()));
            }
            end = cut;
        }
    }
    let mut text = format!("HTTP/1.1 {status} Status\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Transfer-Encoding") {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
    let length = end.map_or(body.len(), |end| body.len().min(usize::from(end)));
    let body = if head_only { &[] } else { &body[..length] };
    [format!("{text}\r\n").as_bytes(), body].concat()
}

type Sound = (u16, Vec<(&'static str, String)>, Vec<u8>);

fn sound(path: &str) -> Sound {
    if path.starts_with(&format!("/api/models/{REPO}/revision/")) {
        let names: Vec<String> =
            FILES.iter().map(|(name, ..)| format!(r#"{{"rfilename": "{name}"}}"#)).collect();
        let listing = format!(r#"{{"id": "{REPO}", "sha": "{COMMIT}", "siblings": [{}]}}"#, names.join(", "));
        return (200, Vec::new(), listing.into_bytes());
    }
    match FILES.iter().find(|(name, ..)| path.ends_with(&format!("/{name}"))) {
        Some((_, body, etag)) => {
            let headers = vec![("ETag", format!("\"{etag}\"")), ("X-Repo-Commit", COMMIT.into())];
            (200, headers, body.to_vec())
        }
        None => (404, vec![("X-Error-Code", "EntryNotFound".into())], Vec::new()),
    }
}

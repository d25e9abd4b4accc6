//! A small server on this machine that plays the Hub, and misbehaves on request.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub(crate) const REPO: &str = "org/bird-clip";

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Request {
    pub(crate) fn is(&self, method: &str, ending: &str) -> bool {
        self.method == method && self.path.ends_with(ending)
    }

    /// The offset that a `Range: bytes=<offset>-<end>` asks for.
    pub(crate) fn offset(&self) -> Option<usize> {
        self.headers.get("range")?.strip_prefix("bytes=")?.split_once('-')?.0.parse().ok()
    }
}

/// What the server answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Close the connection after this many bytes of the body.
    pub(crate) cut: Option<usize>,
    /// Then keep it open and say nothing, instead of closing it.
    pub(crate) stall: bool,
    /// Send the body byte by byte, with this wait before each.
    pub(crate) drip: Option<Duration>,
    /// Send the body again and again, until the client has enough.
    pub(crate) endless: bool,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Answer { status, ..Answer::default() }
    }

    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Answer { status: 200, body: body.into(), ..Answer::default() }
    }

    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(header, _)| header != name);
        self
    }

    pub(crate) fn write(&self, stream: &mut TcpStream, head_only: bool) -> std::io::Result<()> {
        let mut head = format!("HTTP/1.1 {} Status\r\nConnection: close\r\n", self.status);
        let framed = |(name, _): &(String, String)| name == "Transfer-Encoding" || name == "Content-Length";
        if !self.endless && !self.headers.iter().any(framed) {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        let body = &self.body[..self.cut.unwrap_or(self.body.len())];
        match (head_only, self.drip) {
            (true, _) => {}
            (false, Some(wait)) => {
                for byte in body {
                    std::thread::sleep(wait);
                    stream.write_all(&[*byte])?;
                }
            }
            (false, None) => stream.write_all(body)?,
        }
        if self.endless && !head_only {
            // Until the client goes away.
            loop {
                stream.write_all(body)?;
            }
        }
        stream.flush()
    }
}

/// A server on a port of its own; it ends with this value.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    pub(crate) fn start(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (log, stopped, handler) = (requests.clone(), stop.clone(), Arc::new(handler));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (log, stopped, handler) = (log.clone(), stopped.clone(), handler.clone());
                // A client that goes away in the middle is no failure of the server.
                std::thread::spawn(move || drop(serve(stream, &log, &stopped, &*handler)));
            }
        });
        Server { address, requests, stop }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The names of the files whose contents were asked for.
    pub(crate) fn fetched(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for request in self.requests().iter().filter(|request| request.method == "GET") {
            if let Some((_, name)) = request.path.split_once(&format!("/resolve/{COMMIT}/")) {
                names.push(name.to_owned());
            }
        }
        names
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Request>>,
    stop: &AtomicBool,
    handler: &dyn Fn(&Request) -> Answer,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut words = first.split(' ').map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Ok(());
    };
    let mut headers = BTreeMap::new();
    for line in lines {
        match line?.split_once(": ") {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let request = Request { method, path, headers };
    log.lock().unwrap().push(request.clone());
    let answer = handler(&request);
    answer.write(&mut stream, request.method == "HEAD")?;
    while answer.stall && !stop.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A repository as the Hub serves it: large files have their SHA-256 as etag, others git's hash.
#[derive(Clone)]
pub(crate) struct Repository {
    pub(crate) commit: &'static str,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

impl Repository {
    pub(crate) fn new(files: &[(&str, &[u8])]) -> Self {
        let files = files.iter().map(|(name, body)| ((*name).to_owned(), body.to_vec())).collect();
        Repository { commit: COMMIT, files }
    }

    /// What a checkpoint of the Hub usually looks like: three formats of weights, and other files.
    pub(crate) fn usual() -> Self {
        let mut repository = Repository::new(&[
            (".gitattributes", b"*.bin filter=lfs"),
            ("README.md", b"a model"),
            ("config.json", br#"{"model_type": "clip"}"#),
            ("flax_model.msgpack", b"flax"),
            ("merges.txt", b"a b"),
            ("preprocessor_config.json", b"{}"),
            ("pytorch_model.bin", b"pickled"),
            ("special_tokens_map.json", b"{ }"),
            ("tf_model.h5", b"tensorflow"),
            ("tokenizer.json", b"{  }"),
            ("tokenizer_config.json", b"{   }"),
            ("vocab.json", b"{    }"),
        ]);
        repository.files.insert("model.safetensors".into(), weights());
        repository
    }

    pub(crate) fn answer(&self, request: &Request) -> Answer {
        if request.path.starts_with(&format!("/api/models/{REPO}/revision/")) {
            return Answer::ok(self.listing());
        }
        let prefix = format!("/{REPO}/resolve/{}/", self.commit);
        match request.path.strip_prefix(&prefix).and_then(|name| Some((name, self.files.get(name)?))) {
            Some((name, body)) => file_answer(request, name, body).with("X-Repo-Commit", self.commit),
            None => Answer::status(404).with("X-Error-Code", "EntryNotFound"),
        }
    }

    pub(crate) fn listing(&self) -> String {
        let siblings: Vec<String> =
            self.files.keys().map(|name| format!(r#"{{"rfilename": "{name}"}}"#)).collect();
        format!(r#"{{"id": "{REPO}", "sha": "{}", "siblings": [{}]}}"#, self.commit, siblings.join(", "))
    }

    pub(crate) fn serve(self) -> Server {
        Server::start(move |request| self.answer(request))
    }
}

pub(crate) fn file_answer(request: &Request, name: &str, body: &[u8]) -> Answer {
    let etag = etag(name, body);
    let answer = if name.ends_with(".safetensors") {
        Answer::default().with("X-Linked-Etag", format!("\"{etag}\"")).with("X-Linked-Size", body.len())
    } else {
        Answer::default().with("ETag", format!("W/\"{etag}\""))
    };
    match request.offset() {
        Some(start) if start < body.len() => {
            let range = format!("bytes {start}-{}/{}", body.len() - 1, body.len());
            Answer { status: 206, body: body[start..].to_vec(), ..answer }.with("Content-Range", range)
        }
        Some(_) => Answer { status: 416, ..answer },
        None => Answer { status: 200, body: body.to_vec(), ..answer },
    }
}

pub(crate) fn etag(name: &str, body: &[u8]) -> String {
    use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
    let mut context = Context::new(&SHA256);
    if !name.ends_with(".safetensors") {
        context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        context.update(format!("blob {}\0", body.len()).as_bytes());
    }
    context.update(body);
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Large enough to arrive in several pieces.
pub(crate) fn weights() -> Vec<u8> {
    (0..700_001_u32).map(|index| (index % 251) as u8).collect()
}

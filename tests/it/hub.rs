//! Fetching checkpoints, against a small server on this machine that plays the Hub and misbehaves on request.

use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fieldmark::Error;
use fieldmark::model::hub::{HubOptions, ModelFiles, ModelSpec, locate};
use fieldmark::progress::{Event, ProgressHandler, Silent, Warning};
use tempfile::TempDir;

use crate::fake_hub::{Answer, COMMIT, REPO, Repository, Request, Server, etag, file_answer, weights};

const LATER: &str = "89abcdef0123456789abcdef0123456789abcdef";
pub(crate) const FOLDER: &str = "models--org--bird-clip";

/// Remembers all events.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<Vec<Event>>);

impl ProgressHandler for Recorder {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Recorder {
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    /// For every announcement of a file: the bytes that it began with and those that arrived after it.
    pub(crate) fn transfers(&self, file: &str) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        let mut ours = false;
        for event in self.events() {
            match event {
                Event::DownloadStarted { file: started, resumed, .. } => {
                    ours = started == format!("{REPO}/{file}");
                    found.extend(ours.then_some((resumed, 0)));
                }
                Event::DownloadAdvanced { bytes } if ours => found.last_mut().unwrap().1 += bytes,
                _ => {}
            }
        }
        found
    }

    pub(crate) fn warnings(&self) -> Vec<Warning> {
        self.events()
            .into_iter()
            .filter_map(|event| match event {
                Event::Warning(warning) => Some(warning),
                _ => None,
            })
            .collect()
    }
}

/// A cache of its own, and options that are patient enough for a busy machine but wait little between attempts.
pub(crate) struct Machine {
    pub(crate) cache: TempDir,
    pub(crate) options: HubOptions,
}

impl Machine {
    pub(crate) fn new(server: &Server) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let options = HubOptions::default()
            .cache(cache.path().to_owned())
            .endpoint(server.url())
            .retries(2)
            .retry_wait(Duration::from_millis(1));
        Machine { cache, options }
    }

    pub(crate) fn locate(&self) -> fieldmark::Result<ModelFiles> {
        self.locate_with(&Silent)
    }

    pub(crate) fn locate_with(&self, progress: &dyn ProgressHandler) -> fieldmark::Result<ModelFiles> {
        locate(&ModelSpec::parse(REPO)?, &self.options, progress)
    }

    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.cache.path().join(FOLDER).join(inside)
    }

    /// Where the weights of the usual repository are while they arrive.
    pub(crate) fn partial(&self) -> PathBuf {
        self.path(&format!("blobs/{}.incomplete", etag("model.safetensors", &weights())))
    }

    pub(crate) fn write(&self, inside: &str, body: &[u8]) {
        let path = self.path(inside);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, body).unwrap();
    }

    /// Lays a complete checkpoint out as Python does on a system without symbolic links.
    fn lay_out(&self) {
        self.write("refs/main", COMMIT.as_bytes());
        for name in ["config.json", "tokenizer.json", "preprocessor_config.json", "model.safetensors"] {
            self.write(&format!("snapshots/{COMMIT}/{name}"), b"laid out");
        }
    }
}

pub(crate) fn names(files: &ModelFiles) -> Vec<&str> {
    files.files.iter().map(|file| file.name.as_str()).collect()
}

pub(crate) fn folder(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A handler that answers the first GET of the weights in its own way, and all else as the repository does.
pub(crate) fn first_weights(change: impl Fn(Answer) -> Answer + Send + Sync + 'static) -> Server {
    let seen = AtomicUsize::new(0);
    let repository = Repository::usual();
    Server::start(move |request| {
        let answer = repository.answer(request);
        let first = request.is("GET", "model.safetensors") && seen.fetch_add(1, Ordering::SeqCst) == 0;
        if first { change(answer) } else { answer }
    })
}

/// A handler that changes every answer about the weights.
pub(crate) fn every_weights(change: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static) -> Server {
    let repository = Repository::usual();
    Server::start(move |request| {
        let answer = repository.answer(request);
        if request.path.ends_with("model.safetensors") { change(request, answer) } else { answer }
    })
}

fn model_not_found(result: fieldmark::Result<ModelFiles>) -> String {
    match result {
        Err(Error::ModelNotFound { reason, .. }) => reason,
        other => panic!("expected ModelNotFound, found {other:?}"),
    }
}

pub(crate) fn network_failure(result: fieldmark::Result<ModelFiles>) -> String {
    match result {
        Err(Error::Network { reason, .. }) => reason,
        other => panic!("expected Network, found {other:?}"),
    }
}

#[test]
fn fetches_what_is_needed_and_nothing_else() {
    let server = Repository::usual().serve();
    let machine = Machine::new(&server);
    let recorder = Recorder::default();
    let files = machine.locate_with(&recorder).unwrap();
    let expected = [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "preprocessor_config.json",
        "model.safetensors",
    ];
    assert_eq!(names(&files), expected);
    assert_eq!(server.fetched(), expected);
    assert_eq!(files.commit.as_deref(), Some(COMMIT));
    assert_eq!(files.files[5].size, weights().len() as u64);
    assert_eq!(std::fs::read(files.directory.join("model.safetensors")).unwrap(), weights());
    assert_eq!(recorder.transfers("model.safetensors"), [(0, weights().len() as u64)]);
    let finished = recorder.events().iter().filter(|event| **event == Event::DownloadFinished).count();
    assert_eq!(finished, expected.len());
}

/// A repository as open_clip's users push them, from a fixture and what lies beside it on the Hub.
fn open_clip_repository(fixture: &str) -> Repository {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models").join(fixture);
    let mut repository =
        Repository::new(&[("README.md", b"a model"), ("open_clip_pytorch_model.bin", b"pickled")]);
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        repository.files.insert(name, std::fs::read(entry.path()).unwrap());
    }
    repository
}

#[test]
fn fetches_and_opens_a_repository_of_open_clips_form() {
    let server = open_clip_repository("open-clip-mean").serve();
    let machine = Machine::new(&server);
    let files = machine.locate().unwrap();
    let expected = ["open_clip_config.json", "vocab.json", "merges.txt", "open_clip_model.safetensors"];
    assert_eq!(names(&files), expected);
    assert_eq!(server.fetched(), expected);
    // The files of the snapshot are links to the blobs, which lie outside of it.
    let model = fieldmark::model::Model::open(&files.directory, candle_core::Device::Cpu).unwrap();
    assert_eq!(model.config().embedding, 24);
}

#[test]
fn a_repository_without_tokenizer_is_asked_for_one_once() {
    let mut repository = open_clip_repository("open-clip-mean");
    repository.files.retain(|name, _| name != "vocab.json" && name != "merges.txt");
    let server = repository.serve();
    let machine = Machine::new(&server);
    let files = machine.locate().unwrap();
    assert_eq!(names(&files), ["open_clip_config.json", "open_clip_model.safetensors"]);
    let asked = server.requests().len();
    assert_eq!(machine.locate().unwrap(), files);
    assert_eq!(server.requests().len(), asked, "it is known that there is none");
}

#[test]
fn transformers_form_is_taken_where_a_repository_has_both() {
    let mut repository = Repository::usual();
    repository.files.extend(open_clip_repository("open-clip-mean").files);
    let files = Machine::new(&repository.serve()).locate().unwrap();
    assert!(names(&files).iter().all(|name| !name.starts_with("open_clip")), "{files:?}");
}

#[test]
fn lays_the_cache_out_as_the_python_library_does() {
    let server = Repository::usual().serve();
    let machine = Machine::new(&server);
    machine.locate().unwrap();
    assert_eq!(std::fs::read_to_string(machine.path("refs/main")).unwrap(), COMMIT);
    let hash = etag("model.safetensors", &weights());
    let blobs = folder(&machine.path("blobs"));
    assert_eq!(blobs.len(), 6);
    assert!(blobs.contains(&hash) && !blobs.iter().any(|name| name.ends_with(".incomplete")), "{blobs:?}");
    #[cfg(unix)]
    {
        let link = machine.path(&format!("snapshots/{COMMIT}/model.safetensors"));
        assert_eq!(std::fs::read_link(link).unwrap(), Path::new("../../blobs").join(&hash));
    }
    assert!(machine.cache.path().join(".locks").join(FOLDER).join(format!("{hash}.lock")).is_file());
}

#[test]
fn asks_for_nothing_once_all_is_there() {
    let server = Repository::usual().serve();
    let machine = Machine::new(&server);
    let first = machine.locate().unwrap();
    let asked = server.requests().len();
    let recorder = Recorder::default();
    let second = machine.locate_with(&recorder).unwrap();
    assert_eq!(first.directory, second.directory);
    assert_eq!(server.requests().len(), asked);
    let cached = |event: &Event| matches!(event, Event::DownloadCached { .. });
    assert!(recorder.events().len() == 6 && recorder.events().iter().all(cached));
}

#[test]
fn remembers_which_optional_files_do_not_exist() {
    let server =
        Repository::new(&[("config.json", b"{}"), ("tokenizer.json", b"{ }"), ("model.safetensors", b"w")]);
    let server = server.serve();
    let machine = Machine::new(&server);
    machine.locate().unwrap();
    assert!(machine.path(&format!(".no_exist/{COMMIT}/preprocessor_config.json")).is_file());
    let asked = server.requests().len();
    machine.locate().unwrap();
    assert_eq!(server.requests().len(), asked);
}

#[test]
fn fetches_the_named_revision() {
    let server = Repository::usual().serve();
    let machine = Machine::new(&server);
    let spec = ModelSpec::parse(format!("{REPO}@refs/pr/1")).unwrap();
    locate(&spec, &machine.options, &Silent).unwrap();
    assert!(server.requests()[0].path.ends_with("/revision/refs%2Fpr%2F1"));
    assert_eq!(std::fs::read_to_string(machine.path("refs/refs/pr/1")).unwrap(), COMMIT);
    let asked = server.requests().len();
    let by_commit = ModelSpec::parse(format!("{REPO}@{COMMIT}")).unwrap();
    locate(&by_commit, &machine.options, &Silent).unwrap();
    assert_eq!(server.requests().len(), asked);
}

#[test]
fn a_new_commit_reuses_contents_that_did_not_change() {
    let first = Repository::usual().serve();
    let mut machine = Machine::new(&first);
    machine.locate().unwrap();
    std::fs::remove_file(machine.path("refs/main")).unwrap();
    let mut changed = Repository { commit: LATER, ..Repository::usual() };
    changed.files.insert("config.json".into(), b"changed".to_vec());
    let second = changed.serve();
    machine.options.endpoint = second.url();
    let files = machine.locate().unwrap();
    assert!(files.directory.ends_with(LATER));
    assert_eq!(std::fs::read(files.directory.join("config.json")).unwrap(), b"changed");
    let requests = second.requests();
    let fetched: Vec<_> = requests.iter().filter(|request| request.method == "GET").collect();
    assert_eq!(fetched.len(), 2, "the list and config.json: {fetched:?}");
}

#[test]
fn goes_on_where_the_connection_was_cut() {
    let server = first_weights(|answer| Answer { cut: Some(300_000), ..answer });
    let machine = Machine::new(&server);
    let recorder = Recorder::default();
    let files = machine.locate_with(&recorder).unwrap();
    assert_eq!(std::fs::read(files.directory.join("model.safetensors")).unwrap(), weights());
    let gets: Vec<Option<usize>> = server
        .requests()
        .iter()
        .filter(|request| request.is("GET", ".safetensors"))
        .map(Request::offset)
        .collect();
    assert!(matches!(gets[..], [None, Some(1..=300_000)]), "{gets:?}");
    assert_eq!(recorder.transfers("model.safetensors"), [(0, weights().len() as u64)]);
    assert!(
        matches!(&recorder.warnings()[..], [Warning::Retry { what, .. }] if what == "org/bird-clip/model.safetensors")
    );
}

#[test]
fn goes_on_where_an_earlier_run_ended() {
    let server = first_weights(|answer| Answer { cut: Some(300_000), ..answer });
    let mut machine = Machine::new(&server);
    machine.options.retries = 0;
    network_failure(machine.locate());
    assert!(!machine.path("refs/main").exists());
    let kept = machine.partial().metadata().unwrap().len();
    assert!((1..=300_000).contains(&kept));
    let recorder = Recorder::default();
    let files = machine.locate_with(&recorder).unwrap();
    assert_eq!(recorder.transfers("model.safetensors"), [(kept, weights().len() as u64 - kept)]);
    assert_eq!(std::fs::read(files.directory.join("model.safetensors")).unwrap(), weights());
    assert!(!machine.partial().exists());
}

#[test]
fn takes_a_partial_file_that_was_complete_already() {
    let server = Repository::usual().serve();
    let machine = Machine::new(&server);
    let partial = machine.partial();
    machine.write(&format!("blobs/{}", partial.file_name().unwrap().to_str().unwrap()), &weights());
    machine.locate().unwrap();
    assert!(!server.fetched().contains(&"model.safetensors".to_owned()));
}

#[test]
fn begins_anew_where_the_server_ignores_ranges() {
    let server = every_weights(|request, answer| match request.method.as_str() {
        "GET" => Answer { status: 200, body: weights(), ..Answer::default() },
        _ => answer,
    });
    let machine = Machine::new(&server);
    machine.write(&format!("blobs/{}.incomplete", etag("model.safetensors", &weights())), b"an earlier run");
    let recorder = Recorder::default();
    let files = machine.locate_with(&recorder).unwrap();
    assert_eq!(recorder.transfers("model.safetensors"), [(0, weights().len() as u64)]);
    assert_eq!(std::fs::read(files.directory.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn refuses_contents_with_the_wrong_hash() {
    let server = every_weights(|_, mut answer| {
        answer.body.reverse();
        answer
    });
    let machine = Machine::new(&server);
    let reason = network_failure(machine.locate());
    assert!(reason.contains("sha256") && reason.contains(&etag("model.safetensors", &weights())), "{reason}");
    assert!(!machine.partial().exists());
    assert!(!folder(&machine.path("blobs")).contains(&etag("model.safetensors", &weights())));
}

#[test]
fn refuses_contents_with_the_wrong_size() {
    for change in [0, 5] {
        let server = every_weights(move |request, mut answer| {
            if request.method == "GET" {
                answer.body = vec![0; if change == 0 { 10 } else { weights().len() + change }];
            }
            answer
        });
        let machine = Machine::new(&server);
        let reason = network_failure(machine.locate());
        assert!(reason.contains("expected 700001"), "{reason}");
        assert!(!machine.partial().exists());
    }
}

#[test]
fn does_not_read_a_body_without_end() {
    // The server names no length, so only the size that was promised bounds what is read.
    let server = every_weights(|request, answer| {
        if request.method == "GET" {
            return Answer::ok(chunked(&vec![b'0'; 3 << 20])).with("Transfer-Encoding", "chunked");
        }
        answer
    });
    let machine = Machine::new(&server);
    let reason = network_failure(machine.locate());
    assert!(reason.contains("received 700002 bytes or more, expected 700001"), "{reason}");
    assert!(!machine.partial().exists());
}

pub(crate) fn chunked(body: &[u8]) -> Vec<u8> {
    let mut text = format!("{:x}\r\n", body.len()).into_bytes();
    text.extend_from_slice(body);
    text.extend_from_slice(b"\r\n0\r\n\r\n");
    text
}

#[test]
fn says_which_of_repository_revision_and_file_is_unknown() {
    let cases = [("RepoNotFound", 401, "no such repository"), ("RevisionNotFound", 404, "no revision main")];
    for (code, status, expected) in cases {
        let server = Server::start(move |_| Answer::status(status).with("X-Error-Code", code));
        let reason = model_not_found(Machine::new(&server).locate());
        assert!(reason.contains(expected), "{reason}");
        assert_eq!(server.requests().len(), 1);
    }
    let server = every_weights(|_, _| Answer::status(404).with("X-Error-Code", "EntryNotFound"));
    let reason = model_not_found(Machine::new(&server).locate());
    assert!(reason.contains("model.safetensors does not exist"), "{reason}");
}

#[test]
fn says_whether_a_token_was_sent_to_a_gated_repository() {
    let server = Server::start(|_| Answer::status(403).with("X-Error-Code", "GatedRepo"));
    let mut machine = Machine::new(&server);
    let denied = |result| match result {
        Err(Error::AccessDenied { reason, .. }) => reason,
        other => panic!("expected AccessDenied, found {other:?}"),
    };
    assert_eq!(denied(machine.locate()), "it is gated, and no token was sent");
    machine.options.token = Some("hf_secret".into());
    let reason = denied(machine.locate());
    assert_eq!(reason, "it is gated, and the token that was sent gives no access");
    let sent: Vec<_> =
        server.requests().iter().map(|request| request.headers.get("authorization").cloned()).collect();
    assert_eq!(sent, [None, Some("Bearer hf_secret".to_owned())]);
}

#[test]
fn sends_no_token_to_another_host() {
    let storage = Server::start(|request| file_answer(request, "model.safetensors", &weights()));
    let target = format!("{}/signed?for=a-minute", storage.url());
    let server = every_weights(move |_, mut answer| {
        answer.status = 302;
        answer.body.clear();
        answer.with("Location", &target)
    });
    let mut machine = Machine::new(&server);
    machine.options.token = Some("hf_secret".into());
    let files = machine.locate().unwrap();
    assert_eq!(std::fs::read(files.directory.join("model.safetensors")).unwrap(), weights());
    let stored = storage.requests();
    let contents = stored.iter().filter(|request| request.method == "GET").count();
    assert_eq!(contents, 1, "{stored:?}");
    assert!(stored.iter().all(|request| !request.headers.contains_key("authorization")));
    assert!(server.requests().iter().all(|request| request.headers.contains_key("authorization")));
}

#[test]
fn follows_a_renamed_repository_with_the_token() {
    let repository = Repository::usual();
    let server = Server::start(move |request| {
        if request.path.contains("old/") {
            Answer::status(307).with("Location", request.path.replacen("old/", "org/", 1))
        } else {
            repository.answer(request)
        }
    });
    let mut machine = Machine::new(&server);
    machine.options.token = Some("hf_secret".into());
    locate(&ModelSpec::parse("old/bird-clip").unwrap(), &machine.options, &Silent).unwrap();
    assert!(server.requests().iter().all(|request| request.headers.contains_key("authorization")));
}

#[test]
fn follows_a_mirror_to_the_hub_without_the_token() {
    let server = Repository::usual().serve();
    let hub = server.url();
    let mirror =
        Server::start(move |request| Answer::status(308).with("Location", format!("{hub}{}", request.path)));
    let mut machine = Machine::new(&mirror);
    machine.options.token = Some("hf_secret".into());
    machine.locate().unwrap();
    assert!(server.requests().iter().all(|request| !request.headers.contains_key("authorization")));
}

#[test]
fn does_not_follow_redirects_without_end() {
    let server = Server::start(|request| Answer::status(302).with("Location", &request.path));
    assert_eq!(network_failure(Machine::new(&server).locate()), "redirects too often");
}

#[test]
fn offline_uses_what_is_there_and_names_what_is_not() {
    let server = Repository::usual().serve();
    let mut machine = Machine::new(&server);
    machine.options.offline = true;
    let missing = |result| match result {
        Err(Error::Offline { model, file }) => (model, file),
        other => panic!("expected Offline, found {other:?}"),
    };
    assert_eq!(missing(machine.locate()), (REPO.to_owned(), "config.json".to_owned()));
    machine.lay_out();
    machine.locate().unwrap();
    std::fs::remove_file(machine.path(&format!("snapshots/{COMMIT}/model.safetensors"))).unwrap();
    assert_eq!(missing(machine.locate()).1, "model.safetensors");
    assert!(server.requests().is_empty());
}

#[test]
fn does_without_an_optional_file_only_where_nobody_can_be_asked() {
    let server = Repository::usual().serve();
    let mut machine = Machine::new(&server);
    machine.lay_out();
    std::fs::remove_file(machine.path(&format!("snapshots/{COMMIT}/preprocessor_config.json"))).unwrap();
    machine.options.offline = true;
    let recorder = Recorder::default();
    machine.locate_with(&recorder).unwrap();
    let expected = Warning::CacheIncomplete { model: REPO.into(), file: "preprocessor_config.json".into() };
    assert_eq!(recorder.warnings(), std::slice::from_ref(&expected));

    machine.options.offline = false;
    let endpoint = std::mem::replace(&mut machine.options.endpoint, unused_address());
    let recorder = Recorder::default();
    machine.locate_with(&recorder).unwrap();
    assert_eq!(recorder.warnings().last(), Some(&expected));

    machine.options.endpoint = endpoint;
    assert!(names(&machine.locate().unwrap()).contains(&"preprocessor_config.json"));
    assert_eq!(server.fetched().iter().filter(|name| *name == "preprocessor_config.json").count(), 1);
}

/// An address at which nothing listens.
fn unused_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn no_network_is_one_clear_error() {
    let server = Repository::usual().serve();
    let mut machine = Machine::new(&server);
    machine.options.endpoint = unused_address();
    let recorder = Recorder::default();
    let reason = network_failure(machine.locate_with(&recorder));
    assert!(reason.to_lowercase().contains("refused"), "{reason}");
    assert_eq!(recorder.warnings().len(), 2);
    machine.options.endpoint = "hub.example".into();
    assert!(matches!(machine.locate(), Err(Error::Option { option: "endpoint", .. })));
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let silent = |answer| Answer { cut: Some(1000), stall: true, ..answer };
    let server =
        every_weights(move |request, answer| if request.method == "GET" { silent(answer) } else { answer });
    let mut machine = Machine::new(&server);
    machine.options.read_timeout = Duration::from_secs(1);
    machine.options.retries = 0;
    let reason = network_failure(machine.locate());
    assert_eq!(reason, "no answer in time");
    assert!(machine.partial().metadata().unwrap().len() >= 1000);
}

#[test]
fn tries_again_when_the_server_is_busy() {
    let count = AtomicUsize::new(0);
    let repository = Repository::usual();
    let server = Server::start(move |request| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::status(503),
        1 => Answer::status(429).with("Retry-After", 0),
        _ => repository.answer(request),
    });
    let recorder = Recorder::default();
    Machine::new(&server).locate_with(&recorder).unwrap();
    let reasons: Vec<String> = recorder.warnings().iter().map(ToString::to_string).collect();
    assert!(reasons.len() == 2 && reasons[0].contains("503") && reasons[1].contains("429"), "{reasons:?}");
}

#[test]
fn a_server_that_asks_for_a_long_wait_gets_a_bounded_one() {
    let server = Server::start(|_| Answer::status(429).with("Retry-After", 1_000_000));
    let mut machine = Machine::new(&server);
    machine.options.longest_wait = Duration::from_millis(1);
    assert!(network_failure(machine.locate()).contains("429"));
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn uses_a_cache_that_python_laid_out() {
    let server = Repository::usual().serve();
    let machine = Machine::new(&server);
    machine.lay_out();
    let files = machine.locate().unwrap();
    assert_eq!(
        names(&files),
        ["config.json", "tokenizer.json", "preprocessor_config.json", "model.safetensors"]
    );
    assert!(server.requests().is_empty());
}

#[cfg(unix)]
#[test]
fn fetches_again_what_a_broken_link_stands_for() {
    let server = Repository::usual().serve();
    let machine = Machine::new(&server);
    machine.locate().unwrap();
    std::fs::remove_file(machine.path("blobs").join(etag("model.safetensors", &weights()))).unwrap();
    let files = machine.locate().unwrap();
    assert_eq!(std::fs::read(files.directory.join("model.safetensors")).unwrap(), weights());
}

fn sharded(index: &str) -> Repository {
    Repository::new(&[
        ("config.json", b"{}"),
        ("tokenizer.json", b"{ }"),
        ("preprocessor_config.json", b"{  }"),
        ("model.safetensors.index.json", index.as_bytes()),
        ("model-1.safetensors", b"one"),
        ("model-2.safetensors", b"two"),
        ("model-3.safetensors", b"not named by the index"),
    ])
}

#[test]
fn fetches_the_shards_that_the_index_names() {
    let index = r#"{"weight_map": {"a": "model-2.safetensors", "b": "model-1.safetensors"}}"#;
    let server = sharded(index).serve();
    let machine = Machine::new(&server);
    let files = machine.locate().unwrap();
    let expected = ["model.safetensors.index.json", "model-1.safetensors", "model-2.safetensors"];
    assert_eq!(names(&files)[3..], expected);
    let asked = server.requests().len();
    assert_eq!(names(&machine.locate().unwrap()), names(&files));
    assert_eq!(server.requests().len(), asked);
    std::fs::remove_file(files.directory.join("model-2.safetensors")).unwrap();
    let mut offline = machine.options.clone();
    offline.offline = true;
    let found = locate(&ModelSpec::parse(REPO).unwrap(), &offline, &Silent);
    assert!(matches!(found, Err(Error::Offline { file, .. }) if file == "model-2.safetensors"));
}

#[test]
fn refuses_shards_that_would_leave_the_snapshot() {
    for name in ["../../../escaped.safetensors", "/tmp/escaped.safetensors", "..\\\\escaped.safetensors"] {
        let server = sharded(&format!(r#"{{"weight_map": {{"a": "{name}"}}}}"#)).serve();
        let machine = Machine::new(&server);
        match machine.locate() {
            Err(Error::Weights { path, reason }) => {
                assert!(path.ends_with("model.safetensors.index.json"));
                assert!(reason.contains("inside the repository"), "{reason}");
            }
            other => panic!("expected Weights, found {other:?}"),
        }
        assert!(server.fetched().iter().all(|fetched| !fetched.contains("escaped")));
    }
    let server = sharded(r#"{"weight_map": {"a": "model-9.safetensors"}}"#).serve();
    let reason = model_not_found(Machine::new(&server).locate());
    assert!(reason.contains("has no model-9.safetensors"), "{reason}");
}

#[test]
fn refuses_an_etag_that_would_leave_the_cache() {
    let server = every_weights(|_, mut answer| {
        answer.headers.retain(|(name, _)| name != "X-Linked-Etag");
        answer.with("X-Linked-Etag", "\"../../escaped\"")
    });
    let reason = network_failure(Machine::new(&server).locate());
    assert!(reason.contains("cannot name a file"), "{reason}");
}

#[test]
fn refuses_a_list_that_is_none_or_has_no_end() {
    let server = Server::start(|_| Answer::ok("<html>log in</html>"));
    assert!(network_failure(Machine::new(&server).locate()).contains("no list of files"));
    let server = Server::start(|_| Answer::ok(r#"{"sha": "../..", "siblings": []}"#));
    assert!(network_failure(Machine::new(&server).locate()).contains("no commit"));
    let server = Server::start(|_| Answer::ok(vec![b' '; (32 << 20) + 1]));
    assert!(network_failure(Machine::new(&server).locate()).contains("more than"));
}

#[test]
fn says_that_a_repository_has_no_safetensors() {
    let files: [(&str, &[u8]); 3] =
        [("config.json", b"{}"), ("tokenizer.json", b"{ }"), ("tf_model.h5", b"t")];
    let server = Repository::new(&files).serve();
    let machine = Machine::new(&server);
    assert_eq!(model_not_found(machine.locate()), "has no model.safetensors, only tf_model.h5");
    assert!(server.fetched().is_empty());
}

#[test]
fn two_at_once_fetch_each_file_once() {
    let server = Repository::usual().serve();
    let machine = Machine::new(&server);
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| machine.locate().unwrap())).collect();
        for run in runs {
            let files = run.join().unwrap();
            assert_eq!(std::fs::read(files.directory.join("model.safetensors")).unwrap(), weights());
        }
    });
    assert_eq!(server.fetched().len(), 6);
}

#[test]
fn a_lock_that_nobody_works_under_is_not_waited_for_without_end() {
    let server = Repository::usual().serve();
    let mut machine = Machine::new(&server);
    machine.options.read_timeout = Duration::from_secs(1);
    let locks = machine.cache.path().join(".locks").join(FOLDER);
    std::fs::create_dir_all(&locks).unwrap();
    let path = locks.join(format!("{}.lock", etag("model.safetensors", &weights())));
    let held = std::fs::File::create(&path).unwrap();
    held.lock().unwrap();
    match machine.locate() {
        Err(Error::Write { path: named, .. }) => assert_eq!(named, path),
        other => panic!("expected Write, found {other:?}"),
    }
    held.unlock().unwrap();
    machine.locate().unwrap();
}

#[test]
fn reads_no_more_of_a_reference_than_a_hash() {
    let server = Repository::usual().serve();
    let machine = Machine::new(&server);
    machine.write("refs/main", &[b'a'; 4096]);
    machine.locate().unwrap();
    let mut text = String::new();
    std::fs::File::open(machine.path("refs/main")).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, COMMIT);
}

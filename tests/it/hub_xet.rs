//! Files that Xet's storage keeps in pieces, against a small storage on this machine; where it cannot be used, the plain
//! way is taken.

use std::sync::Arc;
use std::time::Duration;

use fieldmark::model::hub::{ModelSpec, download, locate};
use fieldmark::progress::{Silent, Warning};
use serde_json::json;

use crate::fake_hub::{Answer, COMMIT, REPO, Repository, Request, Server, etag, weights};
use crate::hub::{Machine, Recorder, folder};

const FILE: &str = "b6e273a11f6f470211d67e4b2e5c5b14175aefb5b29e2b50a3b8e55da8d8783e";
const XORB: &str = "27b38a15dd7d2d7f97952a117a3efa8e5519d811c3b3cd5734287f55bbb0671e";
/// Bytes of a file in one piece.
const PIECE: usize = 60_000;

/// Pieces as the storage keeps them: each with a header of eight bytes, here without compression.
fn xorb(body: &[u8]) -> Vec<u8> {
    let mut stored = Vec::new();
    for piece in body.chunks(PIECE) {
        let length = u32::try_from(piece.len()).unwrap().to_le_bytes();
        stored.push(0);
        stored.extend_from_slice(&length[..3]);
        stored.push(0);
        stored.extend_from_slice(&length[..3]);
        stored.extend_from_slice(piece);
    }
    stored
}

/// A storage that holds one file.
fn storage(body: Vec<u8>) -> Server {
    let stored = xorb(&body);
    let pieces = body.chunks(PIECE).count();
    Server::start(move |request| {
        if request.path.starts_with(&format!("/v1/reconstructions/{FILE}")) {
            let url = format!("http://{}/xorb?signed=yes", request.headers["host"]);
            let range = json!({"start": 0, "end": pieces});
            let bytes = json!({"start": 0, "end": stored.len() - 1});
            let answer = json!({
                "offset_into_first_range": 0,
                "terms": [{"hash": XORB, "unpacked_length": body.len(), "range": range}],
                "fetch_info": {XORB: [{"range": range, "url": url, "url_range": bytes}]},
            });
            return Answer::ok(answer.to_string()).with("Content-Type", "application/json");
        }
        if request.path.starts_with("/xorb") {
            let range = format!("bytes 0-{}/{}", stored.len() - 1, stored.len());
            return Answer { body: stored.clone(), ..Answer::status(206) }.with("Content-Range", range);
        }
        Answer::status(404)
    })
}

/// A Hub whose weights are in a storage at this address.
fn hub(storage: Option<String>) -> Server {
    let repository = Arc::new(Repository::usual());
    Server::start(move |request| answer(&repository, storage.as_deref(), request))
}

fn answer(repository: &Repository, storage: Option<&str>, request: &Request) -> Answer {
    if request.path == format!("/api/models/{REPO}/xet-read-token/{COMMIT}") {
        let Some(storage) = storage else { return Answer::status(404) };
        let access = json!({"casUrl": storage, "accessToken": "for-the-storage", "exp": 4_000_000_000_u64});
        return Answer::ok(access.to_string()).with("Content-Type", "application/json");
    }
    let answer = repository.answer(request);
    if request.path.ends_with(".safetensors") { answer.with("X-Xet-Hash", FILE) } else { answer }
}

fn contents(machine: &Machine) -> Vec<u8> {
    std::fs::read(machine.locate().unwrap().directory.join("model.safetensors")).unwrap()
}

#[test]
fn large_files_come_from_the_storage_and_are_kept_for_all_repositories() {
    let storage = storage(weights());
    let server = hub(Some(storage.url()));
    let mut machine = Machine::new(&server);
    machine.options.token = Some("hf_secret".into());
    let recorder = Recorder::default();
    let files = machine.locate_with(&recorder).unwrap();
    assert_eq!(recorder.warnings(), []);
    assert_eq!(std::fs::read(files.directory.join("model.safetensors")).unwrap(), weights());
    assert!(!server.fetched().contains(&"model.safetensors".to_owned()));
    let total = weights().len() as u64;
    assert_eq!(recorder.transfers("model.safetensors"), [(0, total)]);
    let asked = storage.requests();
    for request in &asked {
        let sent = request.headers.get("authorization").map(String::as_str);
        assert!(sent.is_none_or(|sent| sent == "Bearer for-the-storage"), "{request:?}");
    }
    assert!(asked.iter().all(|request| !request.path.contains("telemetry")), "{asked:?}");
    #[cfg(unix)]
    {
        let blob = machine.path("blobs").join(etag("model.safetensors", &weights()));
        let target = std::fs::read_link(blob).unwrap();
        assert_eq!(target, std::path::Path::new("../../blobs/b6").join(FILE));
        assert_eq!(folder(&machine.cache.path().join("blobs")), [".huggingface-shared-blobs", "b6"]);
        let references = machine.cache.path().join(format!("blobs/b6/{FILE}.refs"));
        let line = format!("models--org--bird-clip/blobs/{}\n", etag("model.safetensors", &weights()));
        assert_eq!(std::fs::read_to_string(references).unwrap(), line);
    }
    let asked = server.requests().len();
    assert_eq!(download(&ModelSpec::parse(REPO).unwrap(), &machine.options, &Silent).unwrap(), files);
    assert_eq!(server.requests().len(), asked);
}

#[cfg(unix)]
#[test]
fn what_one_repository_has_fetched_another_does_not_fetch() {
    let storage = storage(weights());
    let server = hub(Some(storage.url()));
    let machine = Machine::new(&server);
    assert_eq!(contents(&machine), weights());
    let asked = storage.requests().len();
    // As if the repository had been deleted: the store keeps its contents for others.
    std::fs::remove_dir_all(machine.path("")).unwrap();
    assert_eq!(contents(&machine), weights());
    assert_eq!(storage.requests().len(), asked);
    // Contents of the right size that are wrong are not taken, but replaced.
    let entry = machine.cache.path().join(format!("blobs/b6/{FILE}"));
    std::fs::remove_dir_all(machine.path("")).unwrap();
    std::fs::remove_file(&entry).unwrap();
    std::fs::write(&entry, vec![0; weights().len()]).unwrap();
    assert_eq!(contents(&machine), weights());
    assert!(storage.requests().len() > asked);
    assert_eq!(std::fs::read(&entry).unwrap(), weights());
}

#[test]
fn the_plain_way_is_taken_where_the_storage_fails() {
    let closed = "http://127.0.0.1:1".to_owned();
    let mut wrong = weights();
    wrong[0] ^= 1;
    let (lying, empty) = (storage(wrong), Server::start(|_| Answer::ok("{}")));
    for (storage, expected) in [
        (None, "does not exist"),
        (Some(closed), ""),
        (Some("ftp://files.example".into()), ""),
        (Some(lying.url()), "sha256"),
        (Some(empty.url()), ""),
    ] {
        let server = hub(storage.clone());
        let mut machine = Machine::new(&server);
        machine.options.longest_wait = Duration::from_millis(100);
        let recorder = Recorder::default();
        let files = machine.locate_with(&recorder).unwrap();
        assert_eq!(std::fs::read(files.directory.join("model.safetensors")).unwrap(), weights());
        let warned = recorder.warnings();
        let is_expected = |warning: &Warning| match warning {
            Warning::Retry { reason, .. } => {
                reason.starts_with("from Xet's storage: ") && reason.contains(expected)
            }
            _ => false,
        };
        assert!(warned.len() == 1 && is_expected(&warned[0]), "{storage:?}: {warned:?}");
        assert!(!machine.cache.path().join("blobs").exists(), "only what the storage sent is shared");
        let blobs = folder(&machine.path("blobs"));
        assert!(blobs.iter().all(|name| !name.ends_with(".incomplete")), "{blobs:?}");
    }
}

#[test]
fn a_storage_that_falls_silent_is_given_up() {
    let storage = Server::start(|_| Answer { cut: Some(0), stall: true, ..Answer::ok("{}") });
    let server = hub(Some(storage.url()));
    let mut machine = Machine::new(&server);
    machine.options.read_timeout = Duration::from_millis(500);
    machine.options.longest_wait = Duration::from_millis(100);
    assert_eq!(contents(&machine), weights());
}

#[test]
fn the_storage_is_left_alone_where_it_cannot_or_shall_not_be_used() {
    let storage = storage(weights());
    let server = hub(Some(storage.url()));
    let mut machine = Machine::new(&server);
    machine.options.xet = false;
    assert_eq!(contents(&machine), weights());
    let mut machine = Machine::new(&server);
    machine.options.proxy = Some(server.url());
    machine.options.no_proxy = "127.0.0.1".into();
    assert_eq!(contents(&machine), weights());
    // What was begun over plain connections is gone on with.
    let machine = Machine::new(&server);
    let name = format!("blobs/{}.incomplete", etag("model.safetensors", &weights()));
    machine.write(&name, &weights()[..300_000]);
    let recorder = Recorder::default();
    locate(&ModelSpec::parse(REPO).unwrap(), &machine.options, &recorder).unwrap();
    assert_eq!(recorder.transfers("model.safetensors"), [(300_000, weights().len() as u64 - 300_000)]);
    assert!(storage.requests().is_empty());
}

#[test]
fn contents_are_not_shared_where_that_is_switched_off() {
    let storage = storage(weights());
    let server = hub(Some(storage.url()));
    let mut machine = Machine::new(&server);
    machine.options.shared_blobs = false;
    assert_eq!(contents(&machine), weights());
    assert!(!machine.cache.path().join("blobs").exists());
    assert!(!storage.requests().is_empty());
}

//! Hubs that misbehave at random: for any answer, a download ends, prints one message, and leaves a cache in which
//! every file is what its name says.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use fieldmark::Error;
use fieldmark::model::hub::{HubOptions, ModelSpec, cached, download, locate};
use fieldmark::progress::Silent;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::fake_hub::{Answer, REPO, Repository, Request, Server, etag};

/// Servers of one run.
const USUAL: usize = 48;
/// No server may hold a download up for longer.
const LONGEST: Duration = Duration::from_secs(20);

/// Changes an answer in one way of many.
fn misbehave(random: &mut ChaCha8Rng, request: &Request, answer: Answer) -> Answer {
    let length = answer.body.len();
    match random.random_range(0..30) {
        0 => Answer::status(
            [400, 401, 403, 404, 408, 410, 416, 429, 500, 503, 599][random.random_range(0..11)],
        ),
        1 => Answer::ok("<html><body>Please log in</body></html>").with("Content-Type", "text/html"),
        2 => Answer { cut: Some(random.random_range(0..=length)), ..answer },
        3 => Answer { cut: Some(random.random_range(0..=length)), stall: true, ..answer },
        4 => answer.with("Content-Encoding", ["gzip", "br", "zstd", "x"][random.random_range(0..4)]),
        5 => Answer { body: answer.body[..random.random_range(0..=length)].to_vec(), ..answer },
        6 => {
            let mut body = answer.body.clone();
            body.extend_from_slice(b"and more");
            Answer { body, ..answer }
        }
        7 => {
            let mut body = answer.body.clone();
            if !body.is_empty() {
                let at = random.random_range(0..body.len());
                body[at] ^= 1 << random.random_range(0..8);
            }
            Answer { body, ..answer }
        }
        8 => Answer::status(302).with("Location", &request.path),
        9 => Answer::status(307)
            .with("Location", ["", "//", "ftp://x/y", "http://[", "\u{1}"][random.random_range(0..5)]),
        10 => Answer { endless: true, body: vec![b'x'; 1 << 16], ..answer },
        11 => Answer { endless: true, body: vec![b'x'; 1 << 16], ..Answer::status(500) },
        12 => Answer { drip: Some(Duration::from_millis(40)), ..answer },
        13 => answer.without("X-Linked-Etag").without("ETag"),
        14 => answer.without("X-Linked-Etag").without("ETag").with("ETag", "\"../../../escaped\""),
        15 => answer.without("X-Linked-Etag").with("X-Linked-Etag", format!("\"{}\"", "0".repeat(64))),
        16 => answer.without("X-Linked-Size").with("X-Linked-Size", u64::MAX),
        17 => answer.without("X-Linked-Size").with("X-Linked-Size", random.random_range(0..2_000_000)),
        18 => answer.with("X-Xet-Hash", "ab".repeat(32)),
        19 => answer.with("X-Xet-Hash", "../../x"),
        20 => answer.without("X-Repo-Commit").with("X-Repo-Commit", "f".repeat(40)),
        21 => answer.with("Content-Length", "-1"),
        22 => answer.with("Transfer-Encoding", "chunked"),
        23 => Answer { status: 206, ..answer }.with("Content-Range", "bytes 7-9/10"),
        24 => Answer::status(429).with("Retry-After", "99999999999999999999"),
        25 => answer.with("X-Big", "y".repeat(1 << 20)),
        26 => Answer { status: 204, body: Vec::new(), ..answer },
        27 => Answer { status: 304, body: Vec::new(), ..answer },
        28 => Answer { status: 101, body: Vec::new(), ..answer },
        _ => Answer::ok(r#"{"sha": "../../..", "siblings": [{"rfilename": "../../../x"}]}"#),
    }
}

/// A Hub that misbehaves in some of its answers, always in the same order for one seed.
fn hub(seed: u64, elsewhere: String) -> Server {
    let repository = Repository::usual();
    let random = Mutex::new(ChaCha8Rng::seed_from_u64(seed));
    Server::start(move |request| {
        let mut random = random.lock().unwrap();
        let answer = repository.answer(request);
        match random.random_range(0..6) {
            0 => misbehave(&mut random, request, answer),
            1 if request.path.contains("/resolve/") && request.method == "GET" => {
                Answer::status(302).with("Location", format!("{elsewhere}{}", request.path))
            }
            _ => answer,
        }
    })
}

#[test]
fn no_hub_gets_its_way() {
    let (mut arrived, mut refused) = (0, 0);
    for seed in (0..).take(super::rounds(USUAL)) {
        let other = Repository::usual().serve();
        let server = hub(seed, other.url());
        let cache = tempfile::tempdir().unwrap();
        let options = HubOptions::default()
            .cache(cache.path().to_owned())
            .endpoint(server.url())
            .token(Some("hf_secret".into()))
            .retries(2)
            .retry_wait(Duration::from_millis(1))
            .longest_wait(Duration::from_millis(5))
            .connect_timeout(Duration::from_secs(2))
            .read_timeout(Duration::from_millis(300));
        let spec = ModelSpec::parse(REPO).unwrap();
        let begun = Instant::now();
        let result = locate(&spec, &options, &Silent);
        assert!(begun.elapsed() < LONGEST, "seed {seed}: took {:?}", begun.elapsed());
        match &result {
            Ok(files) => {
                arrived += 1;
                for (name, body) in Repository::usual().files {
                    let path = files.directory.join(&name);
                    assert!(!path.exists() || std::fs::read(path).unwrap() == body, "seed {seed}: {name}");
                }
                download(&spec, &options.clone().offline(true), &Silent).unwrap();
            }
            Err(
                Error::Network { .. }
                | Error::ModelNotFound { .. }
                | Error::AccessDenied { .. }
                | Error::Write { .. },
            ) => refused += 1,
            Err(other) => panic!("seed {seed}: {other:?}"),
        }
        sound(cache.path(), seed);
        assert_eq!(cached(&options).iter().any(|cached| cached.directory.is_some()), result.is_ok());
        assert!(
            other.requests().iter().all(|request| !request.headers.contains_key("authorization")),
            "seed {seed}: the token went to another host"
        );
    }
    println!("hubs: {arrived} downloads arrived, {refused} were refused");
    assert!(arrived > 0 && refused > 0);
}

/// Every blob is what its name says, and nothing lies outside of the repository's folder.
fn sound(cache: &std::path::Path, seed: u64) {
    for entry in std::fs::read_dir(cache).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(["models--org--bird-clip", ".locks"].contains(&name.as_str()), "seed {seed}: {name}");
    }
    let blobs = std::fs::read_dir(cache.join("models--org--bird-clip/blobs"));
    for entry in blobs.into_iter().flatten() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.ends_with(".incomplete") {
            continue;
        }
        let kind = if name.len() == 64 { "x.safetensors" } else { "x.json" };
        assert_eq!(etag(kind, &std::fs::read(entry.path()).unwrap()), name, "seed {seed}");
    }
}

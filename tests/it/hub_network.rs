//! The way to the Hub: proxies, and servers that misbehave on the way back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fieldmark::progress::{Silent, Warning};

use crate::fake_hub::{Answer, Repository, Server, file_answer, weights};
use crate::hub::{Machine, Recorder, chunked, every_weights, first_weights, network_failure};

#[test]
fn an_endpoint_may_have_a_path() {
    let repository = Repository::usual();
    let server = Server::start(move |request| {
        let mut inner = request.clone();
        match inner.path.strip_prefix("/mirror/hf") {
            Some(path) => inner.path = path.to_owned(),
            None => return Answer::status(404),
        }
        repository.answer(&inner)
    });
    let mut machine = Machine::new(&server);
    machine.options.endpoint = format!("{}/mirror/hf", server.url());
    machine.options.token = Some("hf_secret".into());
    machine.locate().unwrap();
    assert!(server.requests().iter().all(|request| request.headers.contains_key("authorization")));
}

#[test]
fn an_encoding_that_was_not_asked_for_is_refused() {
    let server = every_weights(|_, answer| answer.with("Content-Encoding", "gzip"));
    let reason = network_failure(Machine::new(&server).locate());
    assert!(reason.contains("\"gzip\""), "{reason}");
    assert!(server.requests().iter().all(|request| request.headers["accept-encoding"] == "identity"));
    let listing = Server::start(|_| Answer::ok("{}").with("Content-Encoding", "br"));
    assert!(network_failure(Machine::new(&listing).locate()).contains("\"br\""));
    // Only the contents are encoded: their size and hash show it.
    let server = every_weights(|request, mut answer| {
        if request.method == "GET" {
            answer.body[..2].copy_from_slice(&[0x1f, 0x8b]);
            return answer.with("Content-Encoding", "gzip");
        }
        answer
    });
    let reason = network_failure(Machine::new(&server).locate());
    assert!(reason.ends_with("it begins like gzip"), "{reason}");
}

#[test]
fn a_transfer_that_drips_is_given_up() {
    for listing in [true, false] {
        let repository = Repository::usual();
        let server = Server::start(move |request| {
            let answer = repository.answer(request);
            let drips =
                if listing { request.path.contains("/revision/") } else { request.is("GET", "config.json") };
            if drips { Answer { drip: Some(Duration::from_millis(100)), ..answer } } else { answer }
        });
        let mut machine = Machine::new(&server);
        machine.options.read_timeout = Duration::from_millis(500);
        machine.options.retries = 0;
        let begun = Instant::now();
        let reason = network_failure(machine.locate());
        assert!(reason.starts_with("too slow: "), "{reason}");
        assert!(begun.elapsed() < Duration::from_secs(8));
    }
}

#[test]
fn an_error_page_without_end_is_not_read() {
    let body = vec![b'x'; 1 << 20];
    let server = every_weights(move |request, answer| match request.method.as_str() {
        "GET" => Answer { endless: true, body: body.clone(), ..Answer::status(404) },
        _ => answer,
    });
    let reason = network_failure(Machine::new(&server).locate());
    assert!(reason.contains("without end"), "{reason}");
}

#[test]
fn contents_without_a_size_have_a_limit() {
    let server = every_weights(|request, answer| match request.method.as_str() {
        "GET" => Answer { endless: true, body: vec![b'0'; 1 << 20], ..Answer::status(200) },
        _ => Answer { endless: true, ..answer }.without("X-Linked-Size"),
    });
    let machine = Machine::new(&server);
    let reason = network_failure(machine.locate());
    assert!(reason.contains("size was not given"), "{reason}");
    assert!(!machine.partial().exists());
}

#[test]
fn small_files_are_held_to_their_hash() {
    let repository = Repository::usual();
    let server = Server::start(move |request| {
        let mut answer = repository.answer(request);
        if request.is("GET", "tokenizer.json") {
            answer.body = b"[  ]".to_vec();
        }
        answer
    });
    let reason = network_failure(Machine::new(&server).locate());
    assert!(reason.contains("git hash"), "{reason}");
}

#[test]
fn a_page_in_the_place_of_a_file_is_refused() {
    let server = every_weights(|request, answer| match request.method.as_str() {
        "GET" => Answer::ok("<html>log in</html>").with("Content-Type", "text/html"),
        _ => answer,
    });
    let reason = network_failure(Machine::new(&server).locate());
    assert!(reason.contains("19 bytes, expected 700001"), "{reason}");
}

#[test]
fn a_server_that_has_nothing_more_is_asked_from_the_start() {
    let seen = AtomicUsize::new(0);
    let server = every_weights(move |request, answer| match request.offset() {
        Some(_) => Answer::status(416),
        None if request.method == "GET" && seen.fetch_add(1, Ordering::SeqCst) == 0 => {
            Answer { cut: Some(300_000), ..answer }
        }
        None => answer,
    });
    let machine = Machine::new(&server);
    let recorder = Recorder::default();
    let files = machine.locate_with(&recorder).unwrap();
    assert_eq!(std::fs::read(files.directory.join("model.safetensors")).unwrap(), weights());
    let reasons: Vec<String> = recorder.warnings().iter().map(ToString::to_string).collect();
    assert!(reasons.len() == 2 && reasons[1].contains("nothing from byte"), "{reasons:?}");
}

#[test]
fn another_part_than_was_asked_for_is_noticed() {
    let server = every_weights(|request, answer| match request.offset() {
        Some(start) => {
            let mut shifted = file_answer(request, "model.safetensors", &weights());
            shifted.body = weights()[start + 1..].to_vec();
            shifted.body.push(0);
            shifted
        }
        None => answer,
    });
    let machine = Machine::new(&server);
    let partial = machine.partial();
    let name = format!("blobs/{}", partial.file_name().unwrap().to_str().unwrap());
    machine.write(&name, &weights()[..300_000]);
    let recorder = Recorder::default();
    let files = machine.locate_with(&recorder).unwrap();
    assert_eq!(std::fs::read(files.directory.join("model.safetensors")).unwrap(), weights());
    assert!(
        matches!(&recorder.warnings()[..], [Warning::Retry { reason, .. }] if reason.contains("another part"))
    );
}

#[test]
fn a_body_in_chunks_that_ends_early_is_gone_on_with() {
    let server = first_weights(|answer| {
        let body = chunked(&weights());
        Answer { body, cut: Some(300_000), ..answer }.with("Transfer-Encoding", "chunked")
    });
    let machine = Machine::new(&server);
    let files = machine.locate().unwrap();
    assert_eq!(std::fs::read(files.directory.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn redirects_that_lead_astray_are_refused() {
    for location in ["ftp://files.example/x", "http://[broken", "file:///etc/hostname", "javascript:1"] {
        let server = every_weights(move |_, _| Answer::status(302).with("Location", location));
        network_failure(Machine::new(&server).locate());
        let server = every_weights(move |request, answer| match request.method.as_str() {
            "GET" => Answer::status(302).with("Location", location),
            _ => answer,
        });
        network_failure(Machine::new(&server).locate());
    }
}

/// A proxy that opens a connection to `target` for every host that it is asked for, and remembers what it was asked.
struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(
        target: SocketAddr,
        greet: impl Fn(&mut TcpStream) -> std::io::Result<String> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, greet) = (asked.clone(), Arc::new(greet));
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let (log, greet) = (log.clone(), greet.clone());
                std::thread::spawn(move || -> std::io::Result<()> {
                    let host = greet(&mut client)?;
                    log.lock().unwrap().push(host);
                    let mut server = TcpStream::connect(target)?;
                    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
                    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                    std::io::copy(&mut server, &mut client)?;
                    client.shutdown(std::net::Shutdown::Both)
                });
            }
        });
        Proxy { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn bytes<const N: usize>(stream: &mut TcpStream) -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn until_zero(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut text = String::new();
    loop {
        match bytes::<1>(stream)? {
            [0] => return Ok(text),
            [byte] => text.push(char::from(byte)),
        }
    }
}

/// SOCKS 5 with a password (RFC 1928, 1929).
fn socks5(stream: &mut TcpStream) -> std::io::Result<String> {
    let [_, methods] = bytes::<2>(stream)?;
    let mut offered = vec![0; usize::from(methods)];
    stream.read_exact(&mut offered)?;
    let mut who = String::new();
    if offered.contains(&2) {
        stream.write_all(&[5, 2])?;
        let [_, length] = bytes::<2>(stream)?;
        let mut name = vec![0; usize::from(length)];
        stream.read_exact(&mut name)?;
        let [length] = bytes::<1>(stream)?;
        let mut password = vec![0; usize::from(length)];
        stream.read_exact(&mut password)?;
        stream.write_all(&[1, 0])?;
        who = format!("{}:{}@", String::from_utf8_lossy(&name), String::from_utf8_lossy(&password));
    } else {
        stream.write_all(&[5, 0])?;
    }
    let [_, _, _, kind] = bytes::<4>(stream)?;
    let host = if kind == 3 {
        let [length] = bytes::<1>(stream)?;
        let mut name = vec![0; usize::from(length)];
        stream.read_exact(&mut name)?;
        String::from_utf8_lossy(&name).into_owned()
    } else {
        std::net::Ipv4Addr::from(bytes::<4>(stream)?).to_string()
    };
    bytes::<2>(stream)?;
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    Ok(who + &host)
}

/// SOCKS 4, and 4a where the address is 0.0.0.x.
fn socks4(stream: &mut TcpStream) -> std::io::Result<String> {
    let [_, _, _, _, a, b, c, d] = bytes::<8>(stream)?;
    until_zero(stream)?;
    let host = if (a, b, c) == (0, 0, 0) {
        until_zero(stream)?
    } else {
        std::net::Ipv4Addr::new(a, b, c, d).to_string()
    };
    stream.write_all(&[0, 90, 0, 0, 0, 0, 0, 0])?;
    Ok(host)
}

#[test]
fn every_kind_of_proxy_for_connections_is_gone_through() {
    type Greeting = fn(&mut TcpStream) -> std::io::Result<String>;
    let kinds: [(&str, Greeting, &str, &str); 5] = [
        ("socks5", socks5, "localhost", "127.0.0.1"),
        ("socks5h", socks5, "hub.invalid", "hub.invalid"),
        ("socks5h://u:p%40ss", socks5, "hub.invalid", "u:p@ss@hub.invalid"),
        ("socks4", socks4, "localhost", "127.0.0.1"),
        ("socks4a", socks4, "hub.invalid", "hub.invalid"),
    ];
    for (scheme, greeting, host, expected) in kinds {
        let server = Repository::usual().serve();
        let proxy = Proxy::start(server.address, greeting);
        let mut machine = Machine::new(&server);
        machine.options.endpoint = format!("http://{host}:{}", server.address.port());
        machine.options.proxy = Some(match scheme.split_once("://") {
            Some((scheme, user)) => format!("{scheme}://{user}@{}", proxy.address),
            None => format!("{scheme}://{}", proxy.address),
        });
        machine.locate_with(&Silent).unwrap_or_else(|error| panic!("{scheme}: {error}"));
        let asked = proxy.asked();
        assert!(!asked.is_empty() && asked.iter().all(|asked| asked == expected), "{scheme}: {asked:?}");
    }
}

#[test]
fn an_http_proxy_is_gone_through_unless_the_host_is_excepted() {
    let repository = Repository::usual();
    let proxy = Server::start(move |request| {
        let mut inner = request.clone();
        match inner.path.strip_prefix("http://hub.invalid") {
            Some(path) => inner.path = path.to_owned(),
            None => return Answer::status(400),
        }
        repository.answer(&inner)
    });
    let mut machine = Machine::new(&proxy);
    machine.options.endpoint = "http://hub.invalid".into();
    machine.options.proxy = Some(format!("http://ada:secret@{}", proxy.address));
    machine.options.token = Some("hf_secret".into());
    machine.locate().unwrap();
    let requests = proxy.requests();
    // base64 of ada:secret
    assert!(
        requests.iter().all(|request| request.headers["proxy-authorization"] == "Basic YWRhOnNlY3JldA==")
    );

    let mut machine = Machine::new(&proxy);
    machine.options.proxy = Some("http://127.0.0.1:1".into());
    machine.options.no_proxy = "127.0.0.0/8".into();
    machine.options.retries = 0;
    assert!(network_failure(machine.locate()).contains("400"), "reached without the proxy");
    machine.options.no_proxy = "127.0.0.1:1".into();
    assert!(network_failure(machine.locate()).to_lowercase().contains("refused"));
}

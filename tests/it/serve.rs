//! `fieldmark serve` over HTTP: answers equal the program's, and what is not allowed is refused.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::sandbox::fixture;

/// A running server, which ends with the test.
struct Running {
    process: Child,
    address: SocketAddr,
    token: Option<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<String> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim().to_owned())
    }
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fieldmark"));
        command.args(["serve", "--no-open", "--offline", "--no-text-cache", "--model", "miniature"]);
        command.args(arguments).env_remove("FIELDMARK_TOKEN");
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let rest = line.trim().strip_prefix("http://").unwrap().to_owned();
        let (address, query) = rest.split_once('/').unwrap();
        let token = query.strip_prefix("?token=").map(str::to_owned);
        Self { process, address: address.parse().unwrap(), token }
    }

    /// Sends a request with these header lines.
    fn send(&self, request: &str, headers: &[&str], body: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let mut head =
            format!("{request} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|line| line.starts_with("Host:")) {
            head += &format!("Host: {}\r\n", self.address);
        }
        headers.iter().for_each(|line| head += &format!("{line}\r\n"));
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // A server that refuses a body closes before it has read all of it.
        let _ = stream.write_all(body);
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let end = all.windows(4).position(|part| part == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(all[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut body = all[end + 4..].to_vec();
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            body = unchunked(&body);
        }
        Reply { status, head, body }
    }

    fn get(&self, path: &str) -> Reply {
        self.send(&format!("GET {path}"), &[], b"")
    }

    fn ask(&self, path: &str, question: &Value) -> Reply {
        self.send(
            &format!("POST {path}"),
            &["Content-Type: application/json"],
            question.to_string().as_bytes(),
        )
    }

    fn upload(&self) -> String {
        let bytes = std::fs::read(fixture("photos/shapes-96x64.png")).unwrap();
        let reply = self.send("POST /api/v1/photos?name=wide.png", &[], &bytes);
        assert_eq!(reply.status, 201);
        reply.json()["id"].as_str().unwrap().to_owned()
    }
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|part| part == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        whole.extend(&body[end + 2..end + 2 + length]);
        body = &body[end + 2 + length + 2..];
        if length == 0 {
            break;
        }
    }
    whole
}

fn question() -> Value {
    json!({ "prompt": "red-winged blackbird shoulder", "against": ["rusty blackbird"], "strength": 0.8 })
}

/// What the program prints for the same question; times and the name of the file are not compared.
fn printed() -> Value {
    let photo = fixture("photos/shapes-96x64.png");
    let mut command = Command::new(env!("CARGO_BIN_EXE_fieldmark"));
    command.args(["localize", "red-winged blackbird shoulder"]).arg(photo);
    command.args(["--against", "rusty blackbird", "--strength", "0.8", "--json", "--save", "none"]);
    command.args(["--offline", "--no-text-cache", "--model", "miniature"]);
    serde_json::from_slice(&command.output().unwrap().stdout).unwrap()
}

#[test]
fn an_answer_has_the_numbers_of_the_program() {
    let server = Running::start(&[]);
    let id = server.upload();
    let reply = server.ask(&format!("/api/v1/photos/{id}/localize"), &question());
    assert_eq!(reply.status, 200);
    let (answer, printed) = (reply.json(), printed());
    for (name, value) in printed.as_object().unwrap() {
        if !["image", "seconds"].contains(&name.as_str()) {
            assert_eq!(answer[name], *value, "{name}");
        }
    }
    assert_eq!(answer["image"], "wide.png");
    let [rows, columns] = [0, 1].map(|side| answer["map"]["shape"][side].as_u64().unwrap());
    assert_eq!(answer["map"]["values"].as_array().unwrap().len() as u64, rows * columns);
    let headers = ["Content-Type: application/json", "Accept: application/x-npy"];
    let body = question().to_string();
    let npy = server.send(&format!("POST /api/v1/photos/{id}/localize"), &headers, body.as_bytes());
    assert!(npy.status == 200 && npy.body.starts_with(b"\x93NUMPY"));
    assert_eq!(npy.body.len() as u64 % 64, rows * columns * 4 % 64);
}

#[test]
fn what_is_wrong_is_a_problem_document() {
    let server = Running::start(&[]);
    let id = server.upload();
    let localize = format!("/api/v1/photos/{id}/localize");
    let broken = b"not a photo at all";
    let replies = [
        (server.get("/nothing"), 404),
        (server.get("/api/v1/photos/file-0"), 404),
        (server.get("/api/v1/photos/..%2F..%2Fetc%2Fpasswd"), 404),
        (server.send("DELETE /api/v1/server", &[], b""), 405),
        (server.send("POST /api/v1/photos", &[], broken), 422),
        (server.send(&format!("POST {localize}"), &["Content-Type: text/plain"], b"{}"), 415),
        (server.ask(&localize, &json!({ "prompt": "" })), 422),
        (server.ask(&localize, &json!({ "prompt": "reed", "strenght": 1 })), 422),
        (server.ask(&localize, &json!({ "prompt": "reed", "strength": -1 })), 422),
        (server.ask(&localize, &json!({ "prompt": "reed", "detail": 1e9 })), 422),
        (server.ask(&localize, &json!({ "prompt": "r".repeat(5000) })), 422),
        (server.ask(&localize, &json!({ "prompt": "reed", "against": vec!["x"; 500] })), 422),
        (server.ask(&localize, &json!({ "prompt": "r".repeat(3 << 20) })), 413),
    ];
    for (number, (reply, status)) in replies.iter().enumerate() {
        assert_eq!(reply.status, *status, "reply {number}: {}", String::from_utf8_lossy(&reply.body));
        assert_eq!(
            reply.header("content-type").as_deref(),
            Some("application/problem+json"),
            "reply {number}"
        );
        assert_eq!(reply.json()["status"], *status, "reply {number}");
        assert!(reply.header("x-request-id").is_some(), "reply {number}");
    }
}

#[test]
fn other_sites_are_refused() {
    let server = Running::start(&[]);
    let port = server.address.port();
    let status = |headers: &[&str]| server.send("GET /api/v1/server", headers, b"").status;
    assert_eq!(status(&[]), 200);
    assert_eq!(status(&[&format!("Host: localhost:{port}")]), 200);
    assert_eq!(status(&[&format!("Host: evil.example:{port}")]), 421);
    assert_eq!(status(&["Host: 127.0.0.1:1"]), 421);
    assert_eq!(status(&["Origin: http://evil.example"]), 403);
    assert_eq!(status(&["Origin: null"]), 403);
    assert_eq!(status(&["Sec-Fetch-Site: cross-site"]), 403);
    assert_eq!(status(&[&format!("Origin: http://{}", server.address)]), 200);
    let page = server.get("/");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
}

#[test]
fn another_address_demands_a_token() {
    let server = Running::start(&["--host", "0.0.0.0"]);
    let token = server.token.clone().unwrap();
    let local = SocketAddr::new([127, 0, 0, 1].into(), server.address.port());
    let host = format!("Host: {local}");
    let status = |line: &str| server.send("GET /api/v1/server", &[&host, line], b"").status;
    assert_eq!(status("X-Nothing: 1"), 401);
    assert_eq!(status("Authorization: Bearer wrong"), 401);
    assert_eq!(status(&format!("Authorization: Bearer {token}")), 200);
    assert_eq!(status(&format!("Cookie: a=b; fieldmark-token={token}")), 200);
    let page = server.send(&format!("GET /?token={token}"), &[&host], b"");
    assert_eq!((page.status, page.header("location").as_deref()), (303, Some("/")));
    assert!(page.header("set-cookie").unwrap().contains("HttpOnly; SameSite=Strict"));
    assert_eq!(server.send("GET /?token=wrong", &[&host], b"").status, 401);
}

#[test]
fn photos_that_need_too_much_memory_make_room() {
    let server = Running::start(&["--memory", "16"]);
    let large = |shade: u8| {
        let rgb = image::RgbImage::from_fn(1500, 1200, |_, _| image::Rgb([shade, 90, 40]));
        let mut bytes = std::io::Cursor::new(Vec::new());
        rgb.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        let reply = server.send("POST /api/v1/photos", &[], &bytes.into_inner());
        assert_eq!(reply.status, 201);
        reply.json()["id"].as_str().unwrap().to_owned()
    };
    let ids: Vec<String> = [10, 20, 30, 40].into_iter().map(large).collect();
    let kept: Vec<u16> = ids.iter().map(|id| server.get(&format!("/api/v1/photos/{id}")).status).collect();
    // Each takes 5.4 MB, and 16 MiB are 16.8 MB.
    assert_eq!(kept, [404, 200, 200, 200]);
    let answer = server.ask(&format!("/api/v1/photos/{}/localize", ids[3]), &question());
    assert_eq!(answer.status, 200);
}

#[test]
fn the_description_has_what_the_server_answers() {
    let server = Running::start(&[fixture("photos/shapes-96x64.png").to_str().unwrap()]);
    let described = server.get("/api/v1/openapi.json").json();
    assert_eq!(described["openapi"], "3.1.0");
    for (path, methods) in described["paths"].as_object().unwrap() {
        let asked = path.replace("{id}", "file-0").replace("{list}", "blackbirds");
        for (method, operation) in methods.as_object().unwrap() {
            let reply = if method == "post" && path != "/api/v1/photos" {
                let question =
                    if path.ends_with("compare") { json!({ "prompts": ["reed"] }) } else { question() };
                server.ask(&asked, &question)
            } else {
                server.send(&format!("{} {asked}", method.to_uppercase()), &[], b"")
            };
            let status = reply.status.to_string();
            let responses = operation["responses"].as_object().unwrap();
            let response = responses.get(&status).unwrap_or_else(|| panic!("{method} {path}: {status}"));
            if let Some(kind) = reply.header("content-type") {
                let kind = kind.split(';').next().unwrap();
                assert!(response["content"].get(kind).is_some(), "{method} {path}: {status} {kind}");
            }
        }
    }
}

#[test]
fn a_folder_is_searched_photo_by_photo() {
    let wide = fixture("photos/shapes-96x64.png");
    let tall = fixture("photos/shapes-50x83.png");
    let server = Running::start(&[wide.to_str().unwrap(), tall.to_str().unwrap()]);
    let reply = server.ask("/api/v1/search", &question());
    assert_eq!(reply.header("content-type").as_deref(), Some("text/event-stream"));
    let text = String::from_utf8(reply.body).unwrap();
    let kinds: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(kinds, ["result", "progress", "result", "progress", "done"]);
}

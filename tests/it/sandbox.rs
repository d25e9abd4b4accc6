//! A folder of its own for every test, in which the real program runs with a clean environment.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tempfile::TempDir;

/// What most tests ask for.
pub(crate) const PROMPT: &str = "red-winged blackbird shoulder";

/// A run that takes longer hangs: each of them takes a fraction of a second.
const LONGEST_RUN: Duration = Duration::from_secs(120);

/// A file or folder of tests/fixtures.
pub(crate) fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path)
}

/// Every file in a folder and in those inside it, by its path from there, and what is in it.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(inside) = folders.pop() {
        for entry in std::fs::read_dir(inside).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
            files.insert(name, std::fs::read(&path).unwrap());
        }
    }
    files
}

/// A temporary folder with the checkpoint `model` and the photos `wide.png` (96 x 64) and `tall.png` (50 x 83).
pub(crate) struct Sandbox {
    folder: TempDir,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self::with_model("tiny-quick-gelu")
    }

    /// With another of the checkpoints in tests/fixtures/models.
    pub(crate) fn with_model(name: &str) -> Self {
        let sandbox = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(sandbox.path("model")).unwrap();
        for entry in std::fs::read_dir(fixture("models").join(name)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), sandbox.path("model").join(entry.file_name())).unwrap();
        }
        sandbox.copy_photo("shapes-96x64.png", "wide.png");
        sandbox.copy_photo("shapes-50x83.png", "tall.png");
        sandbox
    }

    pub(crate) fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(inside)
    }

    /// Puts a photo of tests/fixtures at a place in the folder.
    pub(crate) fn copy_photo(&self, photo: &str, to: impl AsRef<Path>) {
        let bytes = std::fs::read(fixture("photos").join(photo)).unwrap();
        self.write(to, bytes);
    }

    pub(crate) fn write(&self, to: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        let path = self.path(to);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// The names in a folder, sorted.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Changes one value of a JSON file of the checkpoint; `at` is a JSON pointer.
    pub(crate) fn change_json(&self, file: &str, at: &str, value: impl Into<Value>) {
        let path = self.path("model").join(file);
        let mut root: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let (parent, key) = at.rsplit_once('/').unwrap();
        root.pointer_mut(parent).unwrap()[key.replace("~1", "/")] = value.into();
        std::fs::write(path, root.to_string()).unwrap();
    }

    /// The program in this folder, with nothing of the environment but a home.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fieldmark"));
        command.env_clear().env("HOME", self.path("home")).current_dir(self.folder.path());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.finish(self.command().args(arguments))
    }

    /// `localize`, with the checkpoint `model`.
    pub(crate) fn localize(&self, prompt: &str, arguments: &[&str]) -> Outcome {
        self.run(&[&["localize", prompt, "--model", "model"], arguments].concat())
    }

    /// `localize --json` of one photo that must succeed.
    pub(crate) fn found(&self, prompt: &str, arguments: &[&str]) -> Value {
        let outcome = self.localize(prompt, &[arguments, &["--json"]].concat());
        outcome.assert_done();
        outcome.json().remove(0)
    }

    /// Runs a command to its end; one that hangs is killed.
    pub(crate) fn finish(&self, command: &mut Command) -> Outcome {
        let log = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(log.path().join(name)).unwrap();
        let child = command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr")).spawn();
        let status = wait(&mut child.unwrap());
        let read = |name: &str| std::fs::read_to_string(log.path().join(name)).unwrap();
        Outcome { status, stdout: read("stdout"), stderr: read("stderr") }
    }
}

/// Waits for the end of a process; the status is none if a signal ended it.
pub(crate) fn wait(child: &mut Child) -> Option<i32> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if start.elapsed() > LONGEST_RUN {
            child.kill().unwrap();
            panic!("the program hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How a run ended, and what it said.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// All done, and nothing to complain about.
    pub(crate) fn assert_done(&self) {
        assert_eq!(self.status, Some(0), "{self:#?}");
        assert!(!self.stderr.contains("error"), "{self:#?}");
    }

    /// Nothing done: no results, and one line that begins with `error:` and holds all of `parts`.
    pub(crate) fn assert_refused(&self, parts: &[&str]) {
        assert_eq!((self.status, self.stdout.as_str()), (Some(2), ""), "{self:#?}");
        let errors = self.errors();
        assert_eq!(errors.len(), 1, "{self:#?}");
        for part in parts {
            assert!(errors[0].contains(part), "{part:?} is missing: {self:#?}");
        }
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
    }

    pub(crate) fn errors(&self) -> Vec<&str> {
        self.stderr.lines().filter(|line| line.starts_with("error: ")).collect()
    }

    /// The advice that follows an error.
    pub(crate) fn hints(&self) -> Vec<&str> {
        self.stderr.lines().filter(|line| line.starts_with("hint: ")).collect()
    }

    pub(crate) fn notes(&self) -> Vec<&str> {
        self.stderr.lines().filter(|line| line.starts_with("note: ")).collect()
    }

    /// Standard output as JSON, an object a line.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A safetensors file, taken apart so that a test can break it.
pub(crate) struct Weights {
    pub(crate) header: Map<String, Value>,
    pub(crate) data: Vec<u8>,
}

impl Weights {
    pub(crate) fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (length, rest) = bytes.split_first_chunk::<8>().unwrap();
        let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
        Self { header: serde_json::from_slice(header).unwrap(), data: data.to_vec() }
    }

    pub(crate) fn write(&self, path: &Path) {
        let header = serde_json::to_vec(&self.header).unwrap();
        let length = (header.len() as u64).to_le_bytes();
        std::fs::write(path, [&length[..], &header, &self.data].concat()).unwrap();
    }

    /// Replaces the first value of a float32 tensor.
    pub(crate) fn set_first(&mut self, tensor: &str, value: f32) {
        self.set(tensor, 0, value);
    }

    /// Replaces one value of a float32 tensor.
    pub(crate) fn set(&mut self, tensor: &str, index: usize, value: f32) {
        let start = self.header[tensor]["data_offsets"][0].as_u64().unwrap() as usize + 4 * index;
        self.data[start..start + 4].copy_from_slice(&value.to_le_bytes());
    }
}

/// A `.npy` file of two dimensions: rows, columns and values.
pub(crate) fn read_npy(path: &Path) -> (usize, usize, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap();
    let (magic, rest) = bytes.split_at(8);
    assert_eq!(magic, b"\x93NUMPY\x01\x00");
    let (length, rest) = rest.split_first_chunk::<2>().unwrap();
    let (header, data) = rest.split_at(usize::from(u16::from_le_bytes(*length)));
    assert_eq!((10 + header.len()) % 64, 0, "the data are not aligned");
    let header = std::str::from_utf8(header).unwrap();
    assert!(header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': ("), "{header}");
    assert!(header.ends_with('\n'), "{header}");
    let (_, shape) = header.split_once("'shape': (").unwrap();
    let (shape, _) = shape.split_once(')').unwrap();
    let sides: Vec<usize> = shape.split(", ").map(|side| side.parse().unwrap()).collect();
    let values: Vec<f32> = data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    assert_eq!(values.len() * 4, data.len());
    assert_eq!(values.len(), sides[0] * sides[1]);
    (sides[0], sides[1], values)
}

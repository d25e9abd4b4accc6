//! The cache that all Hugging Face libraries share: what others laid out is read, what is damaged is fetched again, and
//! links that somebody planted are not written through.

use std::path::{Path, PathBuf};

use fieldmark::Error;
use fieldmark::model::Model;
use fieldmark::model::hub::{HubOptions, ModelSpec, cached, download, locate};
use fieldmark::progress::{Silent, Warning};

use crate::fake_hub::{COMMIT, REPO, Repository, etag, weights};
use crate::hub::{FOLDER, Machine, Recorder, folder};

/// A hash as Xet's storage has them.
const XET: &str = "b6e273a11f6f470211d67e4b2e5c5b14175aefb5b29e2b50a3b8e55da8d8783e";

fn spec() -> ModelSpec {
    ModelSpec::parse(REPO).unwrap()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models").join(name)
}

/// Lays a checkpoint out as huggingface_hub 2.4 does: the weights are in the store of all repositories, and the
/// repository's blob is a link to them.
#[cfg(unix)]
fn lay_out_shared(cache: &Path, model: &Path) {
    use std::os::unix::fs::symlink;
    let (store, repository) = (cache.join("blobs"), cache.join(FOLDER));
    let (blobs, snapshot) = (repository.join("blobs"), repository.join("snapshots").join(COMMIT));
    for folder in [&store.join(&XET[..2]), &blobs, &snapshot, &repository.join("refs")] {
        std::fs::create_dir_all(folder).unwrap();
    }
    std::fs::write(store.join(".huggingface-shared-blobs"), "1\n").unwrap();
    std::fs::write(repository.join("refs/main"), COMMIT).unwrap();
    for entry in std::fs::read_dir(model).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let body = std::fs::read(entry.path()).unwrap();
        let etag = etag(&name, &body);
        if name == "model.safetensors" {
            let target = format!("../../blobs/{}/{XET}", &XET[..2]);
            std::fs::write(blobs.join(&target), body).unwrap();
            symlink(target, blobs.join(&etag)).unwrap();
        } else {
            std::fs::write(blobs.join(&etag), body).unwrap();
        }
        symlink(format!("../../blobs/{etag}"), snapshot.join(name)).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_cache_with_shared_contents_is_ready_for_every_command() {
    let cache = tempfile::tempdir().unwrap();
    let model = fixture("tiny-quick-gelu");
    lay_out_shared(cache.path(), &model);
    let options = HubOptions::default().cache(cache.path().to_owned()).offline(true);
    let files = locate(&spec(), &options, &Silent).unwrap();
    assert_eq!(download(&spec(), &options, &Silent).unwrap(), files);
    Model::open(&files.directory, candle_core::Device::Cpu).unwrap();
    let listed = cached(&options);
    assert_eq!(listed.len(), 1, "the store is no repository: {listed:?}");
    assert_eq!(listed[0].directory.as_ref(), Some(&files.directory));
    assert!(listed[0].bytes > model.join("model.safetensors").metadata().unwrap().len());
}

#[cfg(unix)]
#[test]
fn what_is_damaged_is_fetched_again_by_a_download() {
    let server = Repository::usual().serve();
    let machine = Machine::new(&server);
    let files = machine.locate().unwrap();
    let asked = server.fetched().len();
    download(&spec(), &machine.options, &Silent).unwrap();
    assert_eq!(server.fetched().len(), asked, "all is sound");
    let damages: [(&str, Vec<u8>); 3] = [
        ("config.json", b"{\"model_type\": \"cliq\"}".to_vec()),
        ("model.safetensors", weights()[..1000].to_vec()),
        ("tokenizer.json", Vec::new()),
    ];
    for (name, damage) in damages {
        let path = files.directory.join(name);
        let right = std::fs::read(&path).unwrap();
        std::fs::write(path.canonicalize().unwrap(), &damage).unwrap();
        let recorder = Recorder::default();
        assert_eq!(download(&spec(), &machine.options, &recorder).unwrap(), files, "{name}");
        assert_eq!(std::fs::read(&path).unwrap(), right);
        let expected = format!("{REPO}/{name}");
        let warned = recorder.warnings();
        assert!(
            matches!(&warned[..], [Warning::CacheDamaged { file, .. }] if *file == expected),
            "{name}: {warned:?}"
        );
    }
    assert_eq!(server.fetched().len(), asked + 3);
}

#[cfg(unix)]
#[test]
fn a_damaged_file_stays_where_nothing_can_be_fetched() {
    let server = Repository::usual().serve();
    let mut machine = Machine::new(&server);
    let files = machine.locate().unwrap();
    machine.options.offline = true;
    let path = files.directory.join("config.json");
    std::fs::write(path.canonicalize().unwrap(), "{}").unwrap();
    match download(&spec(), &machine.options, &Silent) {
        Err(Error::Read { path: named, source }) => {
            assert_eq!(named, path);
            assert!(source.to_string().contains("git hash"), "{source}");
        }
        other => panic!("expected Read, found {other:?}"),
    }
    assert_eq!(std::fs::read(&path).unwrap(), b"{}");
}

#[test]
fn an_empty_file_counts_as_missing() {
    let server = Repository::usual().serve();
    let mut machine = Machine::new(&server);
    machine.write("refs/main", COMMIT.as_bytes());
    for name in ["config.json", "tokenizer.json", "preprocessor_config.json", "model.safetensors"] {
        machine.write(&format!("snapshots/{COMMIT}/{name}"), b"");
    }
    assert!(cached(&machine.options)[0].directory.is_none());
    machine.options.offline = true;
    assert!(matches!(machine.locate(), Err(Error::Offline { .. })));
    machine.options.offline = false;
    let files = machine.locate().unwrap();
    assert_eq!(std::fs::read(files.directory.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn a_blob_that_is_not_what_its_name_says_is_not_used() {
    let server = Repository::usual().serve();
    let machine = Machine::new(&server);
    let mut wrong = weights();
    wrong[0] ^= 1;
    machine.write(&format!("blobs/{}", etag("model.safetensors", &weights())), &wrong);
    let recorder = Recorder::default();
    let files = machine.locate_with(&recorder).unwrap();
    assert_eq!(std::fs::read(files.directory.join("model.safetensors")).unwrap(), weights());
    assert!(matches!(&recorder.warnings()[..], [Warning::CacheDamaged { .. }]));
}

#[test]
fn what_an_earlier_run_left_may_be_wrong() {
    let server = Repository::usual().serve();
    let machine = Machine::new(&server);
    let mut wrong = weights();
    wrong[0] ^= 1;
    for length in [300_000, weights().len()] {
        machine
            .write(&format!("blobs/{}.incomplete", etag("model.safetensors", &weights())), &wrong[..length]);
        let files = machine.locate().unwrap();
        let path = files.directory.join("model.safetensors");
        assert_eq!(std::fs::read(&path).unwrap(), weights(), "{length}");
        std::fs::remove_file(path.canonicalize().unwrap()).unwrap();
    }
}

/// A file outside of the cache, which must stay as it is.
#[cfg(unix)]
fn outside(machine: &Machine) -> PathBuf {
    let path = machine.cache.path().join("outside");
    std::fs::write(&path, "kept").unwrap();
    path
}

#[cfg(unix)]
#[test]
fn links_in_the_place_of_files_are_replaced() {
    let server = Repository::usual().serve();
    let machine = Machine::new(&server);
    let outside = outside(&machine);
    std::fs::create_dir_all(machine.path("blobs")).unwrap();
    std::fs::create_dir_all(machine.path("refs")).unwrap();
    std::os::unix::fs::symlink(&outside, machine.partial()).unwrap();
    std::os::unix::fs::symlink(&outside, machine.path("refs/main")).unwrap();
    machine.locate().unwrap();
    assert_eq!(std::fs::read(&outside).unwrap(), b"kept");
    assert!(!machine.path("refs/main").is_symlink());
    assert_eq!(std::fs::read_to_string(machine.path("refs/main")).unwrap(), COMMIT);
    assert_eq!(folder(&machine.path("refs")), ["main"]);
}

#[cfg(unix)]
#[test]
fn a_link_in_the_place_of_a_lock_is_refused() {
    let server = Repository::usual().serve();
    let machine = Machine::new(&server);
    let outside = outside(&machine);
    let locks = machine.cache.path().join(".locks").join(FOLDER);
    std::fs::create_dir_all(&locks).unwrap();
    let lock = locks.join(format!("{}.lock", etag("model.safetensors", &weights())));
    std::os::unix::fs::symlink(&outside, &lock).unwrap();
    match machine.locate() {
        Err(Error::Write { path, source }) => {
            assert_eq!(path, lock);
            assert!(source.to_string().contains("link"), "{source}");
        }
        other => panic!("expected Write, found {other:?}"),
    }
    assert_eq!(std::fs::read(&outside).unwrap(), b"kept");
}

#[cfg(unix)]
#[test]
fn a_mark_of_absence_is_not_written_through_a_link() {
    let server =
        Repository::new(&[("config.json", b"{}"), ("tokenizer.json", b"{ }"), ("model.safetensors", b"w")]);
    let server = server.serve();
    let machine = Machine::new(&server);
    let outside = outside(&machine);
    let mark = machine.path(&format!(".no_exist/{COMMIT}/preprocessor_config.json"));
    std::fs::create_dir_all(mark.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(&outside, &mark).unwrap();
    machine.locate().unwrap();
    assert_eq!(std::fs::read(&outside).unwrap(), b"kept");
}

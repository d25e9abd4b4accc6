//! The run engine as another program uses it: through the library alone.

use std::path::{Path, PathBuf};

use fieldmark::{
    Error, Explainer, Query,
    files::save_png,
    progress::{Event, ProgressHandler},
    run::{Cancel, Content, Journal, Localize, Photos, Reading, RunFolder, Runner, run_name},
};

/// What one call of [`go_on`] did.
#[derive(Debug, PartialEq)]
struct Done {
    answered: usize,
    failed: usize,
    was_cancelled: bool,
}

/// Runs a folder's photos into another folder, or goes on with it; cancels when so many are answered.
fn go_on(explainer: &Explainer, photos: &Path, output: &Path, most: usize) -> Done {
    let query = Query::new("red-winged blackbird shoulder");
    let run = run_name(&format!("{} {query:?}", explainer.name()));
    let folder = RunFolder::claim(output).unwrap();
    let path = folder.path().join("results.jsonl");
    let mut journal = Journal::resume(&path, Reading::of(&run), Content::photo).unwrap();
    assert_eq!(journal.left_out(), [""; 0]);
    let all: Vec<PathBuf> = Photos::of([photos]).files.into_iter().map(Result::unwrap).collect();
    let left = all.iter().filter(|photo| !journal.has(photo)).cloned().map(Ok);
    let left: Vec<_> = left.collect();
    let work = Localize::new(explainer, &query, |photo, found| {
        let name = photo.path().file_stem().unwrap().to_string_lossy().into_owned();
        save_png(&folder.path().join(format!("{name}.overlay.png")), &found.overlay(photo).into())?;
        Ok(found.report)
    });
    let cancel = Cancel::new();
    let runner = Runner::new().together(2).cancelled_by(&cancel);
    let mut done = Done { answered: 0, failed: 0, was_cancelled: false };
    let ended = runner.run(left, &work, |outcome| {
        match outcome.result {
            Ok(mut report) => {
                report.seconds = report.seconds.adding_up_to(outcome.seconds);
                let stages = report.seconds;
                let sum = stages.decode + stages.text + stages.trunk + stages.head + stages.render;
                assert!((sum - outcome.seconds).abs() < 1e-9 && outcome.seconds > 0.0);
                journal.add(outcome.input.unwrap(), &serde_json::to_string(&report).unwrap())?;
                done.answered += 1;
            }
            Err(_) => done.failed += 1,
        }
        if done.answered == most {
            cancel.cancel();
        }
        Ok::<_, Error>(())
    });
    match ended {
        Err(Error::Cancelled) => done.was_cancelled = true,
        ended => {
            ended.unwrap();
            journal.finish(all.iter()).unwrap();
        }
    }
    done
}

/// The lines of a journal, without their times.
fn lines(output: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(output.join("results.jsonl")).unwrap();
    let line = |line: &str| {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        line.as_object_mut().unwrap().remove("seconds");
        line
    };
    text.lines().map(line).collect()
}

#[test]
fn a_run_is_cancelled_and_gone_on_with_through_the_library_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let photos = scratch.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    for number in 0..12 {
        let name = format!("{number:02}.png");
        std::fs::copy("tests/fixtures/photos/shapes-96x64.png", photos.join(name)).unwrap();
    }
    std::fs::write(photos.join("05.png"), "no image").unwrap();
    let explainer = Explainer::load("miniature").unwrap();
    let (once, twice) = (scratch.path().join("once"), scratch.path().join("twice"));
    let whole = go_on(&explainer, &photos, &once, usize::MAX);
    assert_eq!(whole, Done { answered: 11, failed: 1, was_cancelled: false });

    let first = go_on(&explainer, &photos, &twice, 3);
    assert!(first.was_cancelled && (3..=6).contains(&first.answered), "{first:?}");
    let answered = lines(&twice).len();
    assert_eq!(answered, first.answered, "all that was answered is in the journal");
    let second = go_on(&explainer, &photos, &twice, usize::MAX);
    assert_eq!((second.answered, second.was_cancelled), (11 - first.answered, false));
    assert_eq!(lines(&twice), lines(&once));
    assert!(lines(&twice).is_sorted_by_key(|line| line["image"].as_str().unwrap().to_owned()));
    let pictures = std::fs::read_dir(&twice).unwrap().count() - 1;
    assert_eq!(pictures, 11, "the lock is gone");
}

#[test]
fn a_folder_that_another_run_works_in_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let _first = RunFolder::claim(scratch.path()).unwrap();
    let refused = RunFolder::claim(scratch.path()).err().unwrap();
    assert!(matches!(&refused, Error::Run { path, .. } if path == scratch.path()), "{refused}");
}

#[test]
fn progress_is_heard_and_a_missing_photo_is_counted() {
    #[derive(Default)]
    struct Heard(std::sync::Mutex<Vec<Event>>);
    impl ProgressHandler for Heard {
        fn event(&self, event: Event) {
            self.0.lock().unwrap().push(event);
        }
    }
    let explainer = Explainer::load("miniature").unwrap();
    let query = Query::new("red-winged blackbird");
    let photos = Photos::of(["tests/fixtures/photos/shapes-96x64.png", "missing.png"]).files;
    let work = Localize::new(&explainer, &query, |_, _| Ok(()));
    let heard = Heard::default();
    let runner = Runner::new().expecting(photos.len()).with_progress(&heard);
    let mut failed = Vec::new();
    let done = runner.run(photos, &work, |outcome| {
        failed.extend(outcome.result.err().map(|_| outcome.input));
        Ok::<_, Error>(())
    });
    done.unwrap();
    assert_eq!(failed, [Some(PathBuf::from("missing.png"))]);
    let one = Event::PhotosAdvanced { photos: 1 };
    let expected = [Event::PhotosStarted { photos: Some(2) }, one.clone(), one, Event::PhotosFinished];
    assert_eq!(heard.0.into_inner().unwrap(), expected);
}

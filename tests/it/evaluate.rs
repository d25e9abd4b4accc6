//! A small data set, made here, is read, measured and summed up; by the library and by the program.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use fieldmark::{
    Error, Explainer, Photo, Query, Settings,
    dataset::{self, Dataset, Manifest, Truth},
    evaluate::{
        Evaluator, Options, Row, RowsFile, RowsWriter, Summary, pairs,
        run::{Description, Evaluation},
    },
    explain::Layers,
    geometry::{Fit, Size},
    metric::{self, Bootstrap},
    objective::Strength,
    run::{Cancel, RunFolder, Runner},
    verdict::Verdict,
};
use image::{GrayImage, Luma, Rgb, RgbImage};
use tempfile::TempDir;

type TestResult<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/tiny-quick-gelu")
}

fn explainer() -> fieldmark::Result<Explainer> {
    Explainer::load(model())
}

/// A folder with two pictures and a mask of the left third of the first.
fn folder() -> Result<TempDir, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let picture = |width, height, turn: u32| {
        RgbImage::from_fn(width, height, |x, y| {
            let blob = x.abs_diff(20) + y.abs_diff(15) < 12;
            Rgb([(x * 4) as u8, if blob { 230 } else { 40 }, (y * 3 + turn) as u8])
        })
    };
    picture(60, 40, 0).save(folder.path().join("wide.png"))?;
    picture(40, 56, 90).save(folder.path().join("tall.png"))?;
    let mask = GrayImage::from_fn(60, 40, |x, _| Luma([u8::from(x < 20)]));
    mask.save(folder.path().join("wide.mask.png"))?;
    std::fs::write(folder.path().join("broken.png"), "not a picture")?;
    Ok(folder)
}

const SOUND: [&str; 4] = [
    r#"{"image": "wide.png", "prompt": "red wing", "against": ["blue wing", "a tail"], "mask": "wide.mask.png", "part": "wing"}"#,
    r#"{"image": "wide.png", "prompt": "a green car", "present": false, "id": "car"}"#,
    r#"{"image": "tall.png", "prompt": "a beak", "against": ["a crown"], "box": [5, 6.2, 20, 30]}"#,
    r#"{"image": "tall.png", "prompt": "the left eye", "point": [30.5, 12]}"#,
];
const BROKEN: &str = r#"{"image": "broken.png", "prompt": "a beak", "point": [1, 1]}"#;

fn write(folder: &TempDir, lines: &[&str]) -> std::io::Result<PathBuf> {
    let path = folder.path().join("manifest.jsonl");
    std::fs::write(&path, lines.join("\n"))?;
    Ok(path)
}

fn options() -> fieldmark::Result<Options> {
    Ok(Options::default()
        .methods(vec!["grad-cam".into(), "hires-cam".into()])
        .layers(vec![Layers::One(-1), Layers::One(-2)])
        .strengths(vec![Strength::new(0.4)?, Strength::new(1.0)?]))
}

fn rows(manifest: &Manifest, explainer: &Explainer, options: Options) -> fieldmark::Result<Vec<Row>> {
    let evaluator = Evaluator::new(explainer, options)?;
    let settings = evaluator.record().settings;
    let mut rows = Vec::new();
    for picture in manifest.pictures()? {
        let answers = evaluator.measure(&picture?)?.answers;
        rows.extend(answers.iter().flat_map(|answer| answer.rows(&settings, &pairs(&settings))));
    }
    Ok(rows)
}

/// Whether two marks are the same but for what summing in another order does to the last digits.
fn assert_same(found: Option<f64>, expected: Option<f64>, what: &str) {
    let is_same = match (found, expected) {
        (Some(found), Some(expected)) => (found - expected).abs() < 1e-5,
        (found, expected) => found == expected,
    };
    assert!(is_same, "{what}: expected {expected:?}, found {found:?}");
}

/// What one row should say, from a query of its own: pointing game, energy, precision, overlap; and the verdict.
fn expected(
    explainer: &Explainer,
    folder: &Path,
    row: &Row,
    strength: f64,
) -> fieldmark::Result<(Vec<Option<f64>>, Verdict)> {
    let photo = Photo::open(folder.join(&row.case.image))?;
    let Size { width, height } = photo.size();
    let settings = Settings::default()
        .strength(Strength::new(strength)?)
        .method(Some(row.setting.method.clone()))
        .layer(Some(row.setting.layer));
    let query = Query::new(&row.case.prompt).against(row.case.against.iter()).with(settings);
    let found = explainer.localize(&photo, &query)?;
    assert_same(Some(row.case.similarity), Some(found.report.target.similarity), "similarity");
    assert_same(Some(row.case.probability), Some(found.report.target.probability), "probability");
    let values = found.map.at_photo_size();
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let inside = |x: u32, y: u32| match row.case.line {
        1 => x < 20,
        // Pixel centres from 6.2 to 36.2: rows 6 to 35.
        3 => (5..25).contains(&x) && (6..36).contains(&y),
        4 => (x, y) == (30, 12),
        _ => false,
    };
    let mask: Vec<bool> = pixels.map(|(x, y)| inside(x, y)).collect();
    let tolerance = if row.case.line == 4 { 15.0 } else { 0.0 };
    let area = |mark: Option<f64>| mark.filter(|_| row.case.line != 4);
    let marks = vec![
        metric::pointing_game(&values, &mask, width as usize, tolerance),
        area(metric::energy_pointing(&values, &mask)),
        area(metric::average_precision(&values, &mask)),
        area(metric::best_iou(&values, &mask).map(|best| best.iou)),
    ];
    Ok((marks, found.report.evidence.verdict))
}

#[test]
fn rows_say_what_single_queries_say() -> TestResult {
    let (folder, explainer) = (folder()?, explainer()?);
    let manifest = Manifest::open(write(&folder, &SOUND)?)?;
    let rows = rows(&manifest, &explainer, options()?)?;
    // Four lines, two methods, two layers, two strengths.
    assert_eq!(rows.len(), 4 * 8);
    for row in &rows {
        let (plain, plain_verdict) = expected(&explainer, folder.path(), row, 0.0)?;
        let (contrasted, verdict) = expected(&explainer, folder.path(), row, row.setting.strength)?;
        let names = ["pointing_game", "energy_pointing", "average_precision", "best_iou"];
        for (index, name) in names.into_iter().enumerate() {
            let found = row.metrics.get(name);
            let what = format!("{name} of line {}", row.case.line);
            assert_same(found.map(|sides| sides.plain), plain[index], &what);
            assert_same(found.map(|sides| sides.contrasted), contrasted[index], &what);
        }
        assert_eq!((row.verdict.plain, row.verdict.contrasted), (plain_verdict, verdict));
        assert_eq!(row.case.beats_rivals.is_some(), [1, 3].contains(&row.case.line));
    }
    // Only rivals can make the two maps differ.
    let differs = |row: &&Row| row.metrics.values().any(|sides| sides.plain != sides.contrasted);
    let lines: BTreeSet<usize> = rows.iter().filter(differs).map(|row| row.case.line).collect();
    assert_eq!(lines, BTreeSet::from([1, 3]));
    Ok(())
}

#[test]
fn one_look_answers_as_several_do() -> TestResult {
    let (folder, explainer) = (folder()?, explainer()?);
    let photo = Photo::open(folder.path().join("tall.png"))?;
    let mut queries = Vec::new();
    for (layer, method, fit) in
        [(-1, "grad-cam", Fit::Whole), (-2, "hires-cam", Fit::Whole), (-1, "hires-cam", Fit::Crop)]
    {
        for aggregate in ["mean", "weighted"] {
            let settings = Settings::default()
                .layer(Some(layer))
                .fit(fit)
                .method(Some(method.into()))
                .aggregate(aggregate.into());
            queries.push(Query::new("a beak").against(["a crown", "a tail"]).with(settings));
        }
    }
    let together = explainer.localize_all(&photo, &queries)?;
    assert_eq!(together.len(), queries.len());
    for (query, found) in queries.iter().zip(&together) {
        let alone = explainer.localize(&photo, query)?;
        // Layers that share a pass share the picture's embedding, which another way of summing gives.
        let pairs = found.map.values().iter().zip(alone.map.values());
        assert!(pairs.into_iter().all(|(together, alone)| (together - alone).abs() < 1e-5));
        assert!((found.report.objective - alone.report.objective).abs() < 1e-5);
        assert_eq!(found.report.setup, alone.report.setup);
    }
    Ok(())
}

#[test]
fn pictures_that_pass_together_have_the_numbers_that_they_have_alone() -> TestResult {
    let (folder, explainer) = (folder()?, explainer()?);
    let manifest = Manifest::open(write(&folder, &[SOUND[0], BROKEN, SOUND[1], SOUND[2]])?)?;
    let evaluator = Evaluator::new(&explainer, options()?)?;
    assert_eq!(evaluator.pictures_together()?, 4);
    let pictures = manifest.pictures()?.collect::<fieldmark::Result<Vec<_>>>()?;
    let together = evaluator.measure_each(&pictures);
    assert_eq!(together.len(), pictures.len());
    for (picture, together) in pictures.iter().zip(together) {
        match evaluator.measure(picture) {
            Ok(alone) => assert_eq!(together?.answers, alone.answers),
            Err(alone) => assert_eq!(together.expect_err("broken").to_string(), alone.to_string()),
        }
    }
    let rollout = options()?.methods(vec!["grad-cam".into(), "attention-rollout".into()]);
    let rollout = rollout.layers(Vec::new());
    assert_eq!(Evaluator::new(&explainer, rollout)?.pictures_together()?, 1);
    Ok(())
}

#[test]
fn a_summary_is_the_mean_of_its_rows() -> TestResult {
    let (folder, explainer) = (folder()?, explainer()?);
    let manifest = Manifest::open(write(&folder, &SOUND)?)?;
    let options = Options::default().strengths(vec![Strength::new(1.0)?]);
    let rows = rows(&manifest, &explainer, options.clone())?;
    let evaluator = Evaluator::new(&explainer, options)?;
    let record = evaluator.record();
    let path = folder.path().join("rows.parquet");
    let mut writer = RowsWriter::new(std::fs::File::create(&path)?, &record)?;
    for (place, picture) in manifest.pictures()?.enumerate() {
        writer.add(place, &evaluator.measure(&picture?)?.answers)?;
    }
    writer.finish()?;
    let summary =
        Summary::of(&RowsFile::open(&path)?, manifest.path().into(), Vec::new(), &Bootstrap::default())?;
    let energy = &summary.settings[0].metrics["energy_pointing"];
    let of_line =
        |line| rows.iter().find(|row| row.case.line == line).map(|row| row.metrics["energy_pointing"]);
    let (one, three) = (of_line(1).ok_or("line 1")?, of_line(3).ok_or("line 3")?);
    assert_eq!(energy.means.plain.mean, (one.plain + three.plain) / 2.0);
    assert_eq!(energy.means.contrasted.mean, (one.contrasted + three.contrasted) / 2.0);
    let change = [one, three].map(|sides| sides.contrasted - sides.plain);
    // Two pictures: the interval's ends are the pictures themselves.
    assert_eq!(energy.difference.low, change[0].min(change[1]));
    assert_eq!(energy.difference.high, change[0].max(change[1]));
    Ok(())
}

#[test]
fn successive_lines_about_a_picture_are_read_together() -> TestResult {
    let folder = folder()?;
    let lines = [SOUND[0], "", SOUND[1], SOUND[3], "  ", SOUND[0]];
    std::fs::write(folder.path().join("list.jsonl"), format!("\u{feff}{}\r\n", lines.join("\r\n")))?;
    let manifest = Manifest::open(folder.path().join("list.jsonl"))?;
    let pictures: Vec<_> = manifest.pictures()?.collect::<Result<_, _>>()?;
    let lines: Vec<Vec<usize>> = pictures
        .iter()
        .map(|picture| picture.questions.iter().map(|question| question.line).collect())
        .collect();
    assert_eq!(lines, [vec![1, 3], vec![4], vec![6]]);
    assert_eq!(manifest.passes(), 3);
    assert_eq!(pictures[1].questions[0].truth, Truth::Point { x: 30.5, y: 12.0 });
    assert_eq!(pictures[0].path, folder.path().join("wide.png"));
    Ok(())
}

#[test]
fn bad_lines_are_named() -> TestResult {
    let folder = folder()?;
    let reason = |lines: &[&str]| -> Result<String, Box<dyn std::error::Error>> {
        let path = write(&folder, lines)?;
        let error = Manifest::open(folder.path()).err().ok_or("a bad manifest was opened")?;
        assert!(matches!(error, Error::Dataset { .. }), "{error:?}");
        let message = error.to_string();
        Ok(message.strip_prefix(&format!("{}: ", path.display())).ok_or("no path")?.to_owned())
    };
    assert_eq!(reason(&[])?, "expected a JSON object a line, found no line");
    assert_eq!(
        reason(&[SOUND[0], "", r#"{"image": "wide.png", "prompt": " ", "point": [1, 1]}"#])?,
        r#"line 3: "prompt": expected a text, found " ""#
    );
    let long = format!(r#"{{"image": "{}""#, "a".repeat(1 << 20));
    assert_eq!(reason(&[SOUND[1], &long])?, "line 2: expected at most 1048576 bytes, found more");
    assert_eq!(reason(&["\u{1}"])?, "line 1: expected a JSON object, found broken JSON at column 1");
    Ok(())
}

#[test]
fn the_truth_must_fit_the_picture() -> TestResult {
    let (folder, explainer) = (folder()?, explainer()?);
    GrayImage::new(60, 40).save(folder.path().join("empty.png"))?;
    let reason = |line: &str| -> Result<String, Box<dyn std::error::Error>> {
        let manifest = Manifest::open(write(&folder, &[line])?)?;
        Ok(rows(&manifest, &explainer, Options::default()).err().ok_or("it was measured")?.to_string())
    };
    let path = |name: &str| folder.path().join(name).display().to_string();
    assert_eq!(
        reason(r#"{"image": "tall.png", "prompt": "a beak", "mask": "wide.mask.png"}"#)?,
        format!("{}: expected a mask of the photo's 40 x 56 pixels, found 60 x 40", path("wide.mask.png"))
    );
    assert_eq!(
        reason(r#"{"image": "wide.png", "prompt": "a beak", "mask": "empty.png"}"#)?,
        format!("{}: expected a mask with a pixel that is not zero, found none", path("empty.png"))
    );
    assert_eq!(
        reason(r#"{"image": "wide.png", "prompt": "a beak", "mask": "broken.png"}"#)?,
        format!("{}: expected a mask as PNG, found something else", path("broken.png"))
    );
    assert_eq!(
        reason(r#"{"image": "wide.png", "prompt": "a beak", "point": [60, 3]}"#)?,
        format!(
            "{}: expected point [60, 3] in the photo's 60 x 40 pixels, found none of it",
            path("wide.png")
        )
    );
    Ok(())
}

#[test]
fn settings_are_checked_before_any_picture() -> TestResult {
    let explainer = explainer()?;
    let refused = |change: fn(&mut Options)| {
        let mut options = Options::default();
        change(&mut options);
        Evaluator::new(&explainer, options).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(
        refused(|options| options.layers = vec![Layers::One(-1), Layers::One(9)])
            .starts_with("layer: expected")
    );
    assert!(refused(|options| options.methods = vec!["grad".into()]).starts_with("method: expected one of"));
    assert!(refused(|options| options.strengths.clear()).starts_with("strengths: expected at least one"));
    assert!(refused(|options| options.tolerance.area = -1.0).starts_with("tolerance: expected"));
    Ok(())
}

/// Another program's evaluation: it is cancelled, goes on, and gives the files of one that was not.
#[test]
fn the_library_keeps_the_folder_of_an_evaluation() -> TestResult {
    let (folder, explainer) = (folder()?, explainer()?);
    let mut lines: Vec<String> = [SOUND[0], BROKEN].map(str::to_owned).into();
    for number in 0..10 {
        let name = format!("tall-{number}.png");
        std::fs::copy(folder.path().join("tall.png"), folder.path().join(&name))?;
        lines.push(SOUND[2].replace("tall.png", &name));
    }
    let data = write(&folder, &lines.iter().map(String::as_str).collect::<Vec<_>>())?;
    let dataset = Dataset::open(&data, &dataset::Options::default())?;
    let evaluator = Evaluator::new(&explainer, options()?.layers(Vec::new()))?;
    let go_on = |name: &str, most: usize| -> TestResult<(usize, usize)> {
        let description = Description::new(&evaluator, &dataset, dataset.passes())?;
        let mut evaluation = Evaluation::resume(RunFolder::claim(&folder.path().join(name))?, description)?;
        let (cancel, mut heard) = (Cancel::new(), Vec::new());
        let runner = Runner::new().cancelled_by(&cancel);
        let ended = evaluation.measure(&evaluator, &dataset, runner, |picture, measured| {
            heard.push((picture.name.clone(), measured.is_ok()));
            if heard.len() == most {
                cancel.cancel();
            }
        });
        let failed = heard.iter().filter(|(_, is_done)| !is_done).count();
        match ended {
            Err(Error::Cancelled) => return Ok((heard.len(), failed)),
            ended => ended?,
        }
        let mut lines = Vec::new();
        let lost = evaluation.write_rows(&mut lines)?;
        let summary = evaluation.finish(lost, &Bootstrap { rounds: 20, ..Bootstrap::default() })?;
        assert_eq!(summary.failed.len(), 1);
        assert!(summary.failed[0].error.contains("broken.png"), "{:?}", summary.failed);
        let rows = String::from_utf8(lines)?.lines().count();
        assert_eq!(rows, 11 * pairs(&evaluator.record().settings).len());
        Ok((heard.len(), failed))
    };
    assert_eq!(go_on("once", usize::MAX)?, (12, 1));
    let (done, _) = go_on("twice", 1)?;
    assert!((1..12).contains(&done), "{done}");
    go_on("twice", usize::MAX)?;
    let [once, twice] = ["once", "twice"].map(|name| crate::sandbox::files(&folder.path().join(name)));
    assert!(once == twice && once.contains_key("summary.md") && once.contains_key("rows.parquet"));
    Ok(())
}

#[cfg(feature = "cli")]
mod program {
    use std::process::{Command, Output};

    use serde_json::Value;

    use super::*;

    fn run(dataset: &Path, more: &[&str]) -> std::io::Result<Output> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fieldmark"));
        command.arg("evaluate").arg(dataset).arg("--model").arg(model()).args(more).output()
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// The result of `--json`, without what it records of the time.
    fn result(dataset: &Path, more: &[&str]) -> Result<Value, Box<dyn std::error::Error>> {
        let output = run(dataset, &[more, &["--json"]].concat())?;
        assert_eq!(output.status.code(), Some(0), "{more:?}: {}", text(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    #[test]
    fn earlier_spellings_mean_the_same() -> TestResult {
        let folder = folder()?;
        write(&folder, &SOUND)?;
        for (now, before) in [
            (&["--layers", "-1", "--layers", "-2"][..], &["--layer", "-1,-2"][..]),
            (&["--layers", "-2..-1:product"], &["--layers", "-2..-1", "--layers-combine", "product"]),
            (&["--method", "grad-cam,hires-cam"], &["--methods", "grad-cam,hires-cam"]),
            (
                &["--faithfulness", "rise,fill=black,step=0.5,until=0.5"],
                &["--faithfulness", "rise", "--fill", "black", "--step", "0.5", "--until", "0.5"],
            ),
            (
                &["--metrics", "deletion_auc", "--faithfulness", "order=least-first,step=0.5,score=logit"],
                &["--metrics", "deletion_auc", "--faithfulness", "torch-cam", "--order", "least-first"]
                    .into_iter()
                    .chain(["--step", "0.5", "--score", "logit"])
                    .collect::<Vec<_>>(),
            ),
        ] {
            let first = |more: &[&str]| result(folder.path(), &[more, &["--limit", "1"]].concat());
            let now = first(now)?;
            assert_eq!(now, first(before)?, "{before:?}");
            assert!(now["settings"].as_array().is_some_and(|settings| !settings.is_empty()), "{now}");
        }
        Ok(())
    }

    /// Single blocks and combined ones stand beside each other, with the numbers that each has alone.
    #[test]
    fn single_and_combined_layers_are_compared() -> TestResult {
        let folder = folder()?;
        write(&folder, &SOUND)?;
        let settings = |more: &[&str]| -> TestResult<Vec<Value>> {
            let rows = folder.path().join("mixed.jsonl");
            let rows_option = ["--rows", rows.to_str().expect("a path in UTF-8")];
            result(folder.path(), &[more, &rows_option].concat())?;
            let text = std::fs::read_to_string(&rows)?;
            Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
        };
        let (one, mean, product) = (["--layers", "-1"], ["--layers", "-2..-1"], ["--layers", "0,-1:product"]);
        let together = settings(&[&one[..], &mean, &product, &one].concat())?;
        let alone: Vec<Vec<Value>> =
            [one, mean, product].iter().map(|layers| settings(layers)).collect::<TestResult<_>>()?;
        assert_eq!(together.len(), 3 * alone[0].len());
        for (place, row) in together.iter().enumerate() {
            let expected = &alone[place % 3][place / 3];
            for field in ["layer", "layers", "layers_combine", "strength", "prompt"] {
                assert_eq!(row[field], expected[field], "row {place}: {field}");
            }
            for (metric, sides) in row["metrics"].as_object().expect("metrics") {
                for side in ["plain", "contrasted"] {
                    // Layers that share a pass share the photo's embedding, which another way of summing gives.
                    let number = |value: &Value| value[side].as_f64().expect("a number");
                    let difference = number(sides) - number(&expected["metrics"][metric]);
                    assert!(difference.abs() < 1e-4, "row {place}: {metric}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn the_result_and_the_rows_are_json() -> TestResult {
        let folder = folder()?;
        write(&folder, &SOUND)?;
        let rows = folder.path().join("new/rows.jsonl");
        let lists =
            ["--method", "grad-cam,hires-cam", "--layer", "-1,-2", "--strength", "0.3,1", "--json", "--rows"];
        let output = run(folder.path(), &[&lists[..], &[&rows.to_string_lossy()]].concat())?;
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let result: Value = serde_json::from_slice(&output.stdout)?;
        for (field, expected) in
            [("images", 2), ("lines", 4), ("present", 3), ("absent", 1), ("with_rivals", 2)]
        {
            assert_eq!(result[field], expected, "{field}");
        }
        assert_eq!(result["bootstrap"]["rounds"], 2000);
        assert_eq!(result["tolerance"]["point"], 15.0);
        let settings = result["settings"].as_array().ok_or("no settings")?;
        let names: Vec<_> = settings
            .iter()
            .map(|setting| format!("{} {} {}", setting["method"], setting["layer"], setting["strength"]))
            .collect();
        assert_eq!(names.len(), 8);
        assert_eq!(names[..3], ["\"grad-cam\" -1 0.3", "\"grad-cam\" -1 1.0", "\"grad-cam\" -2 0.3"]);
        let pointing = &settings[5]["metrics"]["pointing_game"];
        assert_eq!((&pointing["images"], &pointing["lines"]), (&2.into(), &3.into()));
        for side in ["plain", "contrasted", "difference"] {
            let number = |end: &str| pointing[side][end].as_f64().ok_or(format!("{side}.{end}"));
            assert!(number("low")? <= number("mean")? && number("mean")? <= number("high")?);
        }
        let rows: Vec<Value> =
            std::fs::read_to_string(&rows)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        assert_eq!(rows.len(), 32);
        assert_eq!((&rows[0]["image"], &rows[0]["part"]), (&"wide.png".into(), &"wing".into()));
        let absent = rows.iter().find(|row| row["id"] == "car").ok_or("no row for the absent concept")?;
        assert_eq!((&absent["present"], &absent["beats_rivals"]), (&false.into(), &Value::Null));
        assert_eq!(absent["metrics"], serde_json::json!({}));
        Ok(())
    }

    #[test]
    fn a_picture_that_cannot_be_read_is_listed_and_the_others_are_measured() -> TestResult {
        let folder = folder()?;
        write(&folder, &[SOUND[0], BROKEN, SOUND[3]])?;
        let output = run(folder.path(), &["--json"])?;
        assert_eq!(output.status.code(), Some(1));
        let result: Value = serde_json::from_slice(&output.stdout)?;
        assert_eq!((&result["images"], &result["failed"][0]["lines"]), (&2.into(), &serde_json::json!([2])));
        assert_eq!(result["failed"][0]["image"], "broken.png");
        let failed = result["failed"][0]["error"].as_str().ok_or("no error")?;
        assert!(text(&output.stderr).contains(failed), "{}", text(&output.stderr));
        let people = text(&run(folder.path(), &[])?.stdout);
        assert!(people.contains("1 images with 1 lines could not be measured"), "{people}");
        Ok(())
    }

    #[test]
    fn where_nothing_could_be_measured_the_status_says_so() -> TestResult {
        let folder = folder()?;
        write(&folder, &[BROKEN])?;
        let output = run(folder.path(), &["--json"])?;
        assert_eq!(output.status.code(), Some(2));
        let result: Value = serde_json::from_slice(&output.stdout)?;
        assert_eq!((&result["images"], &result["pair_accuracy"]), (&0.into(), &Value::Null));
        Ok(())
    }

    #[test]
    fn a_bad_manifest_stops_the_run_before_it_begins() -> TestResult {
        let folder = folder()?;
        write(&folder, &[SOUND[0], r#"{"image": "wide.png", "prompt": "a", "box": 3}"#])?;
        let rows = folder.path().join("rows.jsonl");
        let output = run(folder.path(), &["--rows", &rows.to_string_lossy()])?;
        assert_eq!((output.status.code(), output.stdout.len(), rows.exists()), (Some(2), 0, false));
        let message = text(&output.stderr);
        assert!(message.contains("line 2: \"box\": expected [x, y, width, height], found 3"), "{message}");
        Ok(())
    }

    #[test]
    fn tables_show_both_maps_and_the_same_run_gives_the_same_bytes() -> TestResult {
        let folder = folder()?;
        write(&folder, &SOUND)?;
        let one = run(folder.path(), &["--seed", "5"])?;
        assert_eq!(one.stdout, run(folder.path(), &["--seed", "5"])?.stdout);
        let shown = text(&one.stdout);
        for part in [
            "plain",
            "contrasted",
            "difference",
            "pointing game",
            "IoU at best threshold",
            "grad-cam, layer -1",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        let first = text(&run(folder.path(), &["--limit", "1"])?.stdout);
        assert!(first.contains("1 images, 2 lines (1 with the concept, 1 without)"), "{first}");
        Ok(())
    }
}

//! The pictures and tables that were asked for: scales, layers, colour bars and regions as CSV, in every command.

use std::path::Path;

use image::RgbImage;
use serde_json::Value;

use crate::sandbox::{Outcome, Sandbox, files};

const PROMPT: &str = "red square";
const COMMON: [&str; 4] = ["--output", "out", "--json", "--no-text-cache"];

fn localize(sandbox: &Sandbox, arguments: &[&str]) -> Outcome {
    sandbox.localize(PROMPT, &[arguments, &COMMON].concat())
}

fn found(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let outcome = localize(sandbox, arguments);
    outcome.assert_done();
    outcome.json().remove(0)
}

/// A file that a record lists.
fn file(sandbox: &Sandbox, record: &Value, kind: &str) -> std::path::PathBuf {
    let path = record["files"][kind].as_str().unwrap_or_else(|| panic!("no {kind} in {record}"));
    sandbox.path(path)
}

fn picture(path: &Path) -> RgbImage {
    image::open(path).unwrap().into_rgb8()
}

#[test]
fn a_scale_that_was_recorded_draws_the_same_pictures_again() {
    let sandbox = Sandbox::new();
    let own = found(&sandbox, &["wide.png", "--save", "overlay,layer"]);
    let (scale, again) = (&own["scale"], sandbox.path("own.png"));
    assert_eq!(scale["rule"], "own");
    assert!(scale["heatmap"].as_f64() >= scale["overlay"].as_f64(), "{scale}");
    std::fs::copy(file(&sandbox, &own, "overlay"), &again).unwrap();
    let number = scale["overlay"].to_string();
    let fixed = found(&sandbox, &["wide.png", "--save", "overlay", "--scale", &number]);
    assert_eq!(fixed["scale"]["rule"].as_str(), Some(number.as_str()));
    assert_eq!(fixed["scale"]["overlay"], scale["overlay"]);
    assert_eq!(picture(&file(&sandbox, &fixed, "overlay")), picture(&again));
    // So much more evidence than there is gets the last colour that nothing is seen.
    let weak = found(&sandbox, &["wide.png", "--save", "overlay,heatmap", "--scale", "1e9"]);
    assert_eq!(picture(&file(&sandbox, &weak, "overlay")), picture(&sandbox.path("wide.png")));
    let heatmap = picture(&file(&sandbox, &weak, "heatmap"));
    assert!(heatmap.pixels().all(|pixel| pixel == heatmap.get_pixel(0, 0)), "all of it is neutral");
    let none = found(&sandbox, &["wide.png", "--save", "map"]);
    assert!(none.get("scale").is_none(), "no picture, no scale");
}

#[test]
fn refuses_a_scale_that_is_no_amount_of_evidence() {
    let sandbox = Sandbox::new();
    for scale in ["0", "-1", "-0.5", "nan", "inf", "1e60", "", "auto", "1,5"] {
        let outcome = localize(&sandbox, &["wide.png", "--scale", scale]);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (Some(2), ""), "{outcome:#?}");
        assert!(outcome.stderr.contains("--scale"), "{outcome:#?}");
        assert!(outcome.stderr.contains("above 0"), "{outcome:#?}");
        assert!(!sandbox.path("out").exists());
    }
}

#[test]
fn a_layer_has_the_photos_size_and_a_bar_is_below_the_overlay() {
    let sandbox = Sandbox::new();
    let plain = found(&sandbox, &["wide.png", "--save", "overlay,heatmap,layer"]);
    let size = |kind: &str| image::image_dimensions(file(&sandbox, &plain, kind)).unwrap();
    assert_eq!([size("overlay"), size("heatmap"), size("layer")], [(96, 64); 3]);
    assert_eq!(image::open(file(&sandbox, &plain, "layer")).unwrap().color(), image::ColorType::Rgba8);
    let overlay = picture(&file(&sandbox, &plain, "overlay"));
    let with_bar = found(&sandbox, &["wide.png", "--save", "overlay,heatmap,layer", "--bar"]);
    assert_eq!(size("layer"), (96, 64), "a layer lies over the photo alone");
    for kind in ["overlay", "heatmap"] {
        let picture = picture(&file(&sandbox, &with_bar, kind));
        assert!(picture.height() > 64 && picture.width() >= 96, "{kind}");
    }
    let page = picture(&file(&sandbox, &with_bar, "overlay"));
    let left = (page.width() - 96) / 2;
    assert_eq!(image::imageops::crop_imm(&page, left, 0, 96, 64).to_image(), overlay);
}

/// The fields of a table in which nothing is quoted but the last column.
fn rows(table: &str) -> Vec<Vec<String>> {
    let fields = |line: &str| -> Vec<String> {
        let (plain, quoted) = line.split_once(",\"").unwrap_or((line, ""));
        let fields = plain.split(',').map(str::to_owned);
        fields.chain((!quoted.is_empty()).then(|| quoted.trim_end_matches('"').to_owned())).collect()
    };
    table.lines().map(fields).collect()
}

#[test]
fn a_table_has_the_regions_of_the_json() {
    let sandbox = Sandbox::new();
    let record = found(&sandbox, &["wide.png", "--save", "csv", "--threshold", "peak:0.3"]);
    let path = file(&sandbox, &record, "csv");
    assert!(path.ends_with("out/wide.red-square.regions.csv"), "{path:?}");
    let rows = rows(&std::fs::read_to_string(path).unwrap());
    let regions = record["regions"].as_array().unwrap();
    assert_eq!((rows.len(), rows[0].len()), (regions.len() + 1, 14));
    assert!(!regions.is_empty());
    for (row, region) in rows[1..].iter().zip(regions) {
        let of = |name: &str| &row[rows[0].iter().position(|column| column == name).unwrap()];
        assert_eq!((of("image").as_str(), of("prompt").as_str()), ("wide.png", PROMPT));
        for name in ["x", "y", "width", "height", "share", "area"] {
            assert_eq!(of(name).parse::<f64>().unwrap(), region[name].as_f64().unwrap(), "{name}");
        }
        assert_eq!(of("peak_x"), &region["peak"]["x"].to_string());
        let corners = of("polygon").split(' ').count();
        assert_eq!(corners, region["polygon"].as_array().unwrap().len());
    }
    let strongest = record["points"][0]["evidence"].as_f64().unwrap();
    assert!((rows[1][12].parse::<f64>().unwrap() - strongest).abs() < 1e-6);
}

#[test]
fn a_prompt_with_commas_and_quotes_is_one_field() {
    let sandbox = Sandbox::new();
    let prompt = "red square, or \"red\"";
    let arguments = ["wide.png", "--save", "csv", "--output", "out", "--json"];
    let outcome = sandbox.localize(prompt, &arguments);
    outcome.assert_done();
    let record = outcome.json().remove(0);
    let table = std::fs::read_to_string(file(&sandbox, &record, "csv")).unwrap();
    let row = table.lines().nth(1).unwrap();
    assert!(row.starts_with("wide.png,\"red square, or \"\"red\"\"\",0"), "{row}");
}

#[test]
fn a_photo_of_one_pixel_gets_all_of_them() {
    let sandbox = Sandbox::new();
    RgbImage::from_pixel(1, 1, image::Rgb([200, 30, 30])).save(sandbox.path("dot.png")).unwrap();
    for scale in ["own", "run", "3"] {
        let arguments = [
            "dot.png",
            "--save",
            "overlay,layer,heatmap,csv,mask",
            "--bar",
            "--scale",
            scale,
            "--output",
            "out",
        ];
        let outcome = sandbox.localize(PROMPT, &[&arguments[..], &["--json"]].concat());
        outcome.assert_done();
        let record = outcome.json().remove(0);
        assert_eq!(image::image_dimensions(file(&sandbox, &record, "layer")).unwrap(), (1, 1));
        assert!(image::image_dimensions(file(&sandbox, &record, "overlay")).unwrap().1 > 10, "the bar");
    }
}

#[test]
fn every_strength_has_a_layer_and_a_table_of_its_own() {
    let sandbox = Sandbox::new();
    let arguments = ["wide.png", "--against", "blue circle", "--strength", "0,0.6", "--save", "layer,csv"];
    let outcome = localize(&sandbox, &arguments);
    outcome.assert_done();
    let names: Vec<String> = sandbox.names("out");
    let expected = ["0.6.layer.png", "0.6.regions.csv", "0.layer.png", "0.regions.csv"];
    assert_eq!(names, expected.map(|ending| format!("wide.red-square.strength-{ending}")));
    let table = std::fs::read_to_string(sandbox.path("out").join(&names[1])).unwrap();
    assert!(rows(&table)[1..].iter().all(|row| row[2] == "0.6"), "{table}");
}

#[test]
fn compared_prompts_have_layers_and_tables_on_one_scale() {
    let sandbox = Sandbox::new();
    let compare = |more: &[&str]| {
        let arguments = ["compare", "wide.png", PROMPT, "blue circle", "--model", "model", "--json"];
        let save = ["--save", "sheet,overlay,layer,csv", "--output", "out"];
        let outcome = sandbox.run(&[&arguments[..], &save, more].concat());
        outcome.assert_done();
        outcome.json().remove(0)
    };
    let record = compare(&[]);
    let names = sandbox.names("out");
    assert_eq!(names.len(), 7, "{names:?}");
    let shared = record["scale"]["overlay"].as_f64().unwrap();
    let sheet = picture(&file(&sandbox, &record, "sheet"));
    for prompt in record["prompts"].as_array().unwrap() {
        assert!(file(&sandbox, prompt, "layer").is_file() && file(&sandbox, prompt, "csv").is_file());
    }
    let fixed = compare(&["--scale", &format!("{}", shared * 20.0)]);
    assert_ne!(picture(&file(&sandbox, &fixed, "sheet")), sheet, "the sheet has the scale, too");
    assert!(fixed["scale"]["overlay"].as_f64().unwrap() > shared * 19.0);
}

#[test]
fn a_batch_records_its_scale_and_is_made_again_with_it() {
    let sandbox = Sandbox::new();
    sandbox.write("prompts.txt", "red square\nblue circle\n");
    let batch = |folder: &str, more: &[&str]| {
        let arguments = ["batch", "prompts.txt", "wide.png", "tall.png", "--model", "model"];
        sandbox.run(&[&arguments[..], &["--output", folder, "--save", "overlay,layer,csv"], more].concat())
    };
    batch("out", &["--scale", "12.5", "--bar"]).assert_done();
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(sandbox.path("out/run.json")).unwrap()).unwrap();
    assert_eq!((&manifest["recipe"]["scale"], &manifest["recipe"]["bar"]), (&"12.5".into(), &true.into()));
    let line = std::fs::read_to_string(sandbox.path("out/results.jsonl")).unwrap();
    let line: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    assert_eq!(line["result"]["scale"]["overlay"], 12.5);
    batch("out", &["--scale", "12.5", "--bar", "--resume"]).assert_done();
    batch("out", &["--scale", "3", "--bar", "--resume"]).assert_refused(&["scale", "12.5", "3"]);
    batch("out", &["--scale", "12.5", "--resume"]).assert_refused(&["bar", "true", "false"]);
    sandbox.run(&["batch", "--from", "out/run.json", "--output", "again"]).assert_done();
    let (one, other) = (files(&sandbox.path("out")), files(&sandbox.path("again")));
    assert!(one.keys().eq(other.keys()));
    for (name, bytes) in one.iter().filter(|(name, _)| !name.ends_with(".jsonl")) {
        assert!(other[name] == *bytes, "{name} differs");
    }
    let outcome = sandbox.run(&["batch", "--from", "out/run.json", "--output", "again", "--scale", "3"]);
    assert_eq!(outcome.status, Some(2), "{outcome:#?}");
}

/// The strength at which a page opens, and whether it has rivals then.
fn opens_at(path: &Path) -> (f64, bool) {
    let html = std::fs::read_to_string(path).unwrap();
    let (_, rest) = html.split_once(r#"<script type="application/json" id="data">"#).unwrap();
    let data: Value = serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap();
    let first = &data["first"];
    (first["strength"].as_f64().unwrap(), !first["against"].as_array().unwrap().is_empty())
}

#[test]
fn a_report_with_rivals_opens_at_the_usual_strength_unless_one_was_given() {
    let sandbox = Sandbox::new();
    let report = |command: &[&str], more: &[&str]| {
        sandbox.run(&[command, &["--model", "model", "--output", "out"], more].concat()).assert_done();
        opens_at(&sandbox.path("out/wide.report.html"))
    };
    let command = ["report", "wide.png", PROMPT, "blue circle"];
    assert_eq!(report(&command, &[]), (0.6, true));
    assert_eq!(report(&command, &["--strength", "0"]), (0.0, true));
    assert_eq!(report(&command, &["--strength", "0.3"]), (0.3, true));
    assert_eq!(report(&command, &["--aggregate", "weighted"]), (0.6, true));
    assert_eq!(report(&command, &["--aggregate", "logit"]), (0.0, true), "it knows no strength");
    assert_eq!(report(&command, &["--aggregate", "softmax"]), (0.0, true), "only this was computed");
    assert_eq!(report(&command, &["--method", "layer-cam"]), (0.0, true), "only this was computed");
    let compare = ["compare", "wide.png", PROMPT, "blue circle", "--save", "report"];
    assert_eq!(report(&compare, &[]), (0.6, true));
    sandbox.write("one.txt", "red square\n");
    sandbox.write("two.txt", "red square\nblue circle\n");
    assert_eq!(report(&["batch", "one.txt", "wide.png"], &[]), (0.0, false));
    assert_eq!(report(&["batch", "two.txt", "wide.png"], &[]), (0.6, true));
    assert_eq!(report(&["batch", "two.txt", "wide.png", "--strength", "0"], &[]), (0.0, true));
    let page = sandbox.path("page.html");
    let page = page.to_str().unwrap();
    localize(&sandbox, &["wide.png", "--against", "blue circle", "--report", page]).assert_done();
    assert_eq!(opens_at(Path::new(page)), (0.6, true));
}

/// A folder of photos, some of which show more than others.
fn frames(count: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("prompts.txt", "red square\nblue circle\n");
    for number in 0..count {
        let fixture = ["shapes-96x64.png", "shapes-50x83.png"][number % 2];
        let fixture = image::open(crate::sandbox::fixture("photos").join(fixture)).unwrap().into_rgb8();
        let frame = image::imageops::brighten(&fixture, number as i32 * 12 - 30);
        std::fs::create_dir_all(sandbox.path("photos")).unwrap();
        frame.save(sandbox.path(format!("photos/{number:02}.png"))).unwrap();
    }
    sandbox
}

#[test]
fn all_photos_of_a_run_share_the_largest_scale() {
    let sandbox = frames(5);
    let arguments = ["photos", "--save", "overlay,heatmap", "--against", "blue circle"];
    let own = localize(&sandbox, &arguments).json();
    let largest =
        |kind: &str| own.iter().map(|line| line["scale"][kind].as_f64().unwrap()).fold(0.0, f64::max);
    let (overlay, heatmap) = (largest("overlay"), largest("heatmap"));
    let outcome = localize(&sandbox, &[&arguments[..], &["--scale", "run"]].concat());
    outcome.assert_done();
    let lines = outcome.json();
    assert_eq!(lines.len(), 5);
    let mut drawn = Vec::new();
    for line in &lines {
        assert_eq!(line["scale"]["rule"], "run");
        assert_eq!(line["scale"]["overlay"].as_f64(), Some(overlay));
        assert_eq!(line["scale"]["heatmap"].as_f64(), Some(heatmap));
        assert!(file(&sandbox, line, "map").is_file(), "the map is written, too");
        drawn.push(std::fs::read(file(&sandbox, line, "overlay")).unwrap());
    }
    // The same scale as a number gives the same pictures.
    let number = lines[0]["scale"]["overlay"].to_string();
    let fixed = [&arguments[..], &["--scale", &number]].concat();
    let fixed: Vec<_> = localize(&sandbox, &fixed).json();
    for (line, drawn) in fixed.iter().zip(&drawn) {
        assert!(&std::fs::read(file(&sandbox, line, "overlay")).unwrap() == drawn, "{line}");
    }
}

#[test]
fn a_run_with_several_strengths_and_refined_maps_shares_a_scale() {
    let sandbox = frames(3);
    let arguments =
        ["photos", "--save", "overlay,layer,map", "--against", "blue circle", "--strength", "0,0.6"];
    let arguments = [&arguments[..], &["--refine", "guided", "--bar"]].concat();
    let outcome = localize(&sandbox, &[&arguments[..], &["--scale", "run"]].concat());
    outcome.assert_done();
    let lines = outcome.json();
    assert_eq!(lines.len(), 6, "a line each");
    let scale = lines[0]["scale"]["overlay"].to_string();
    assert!(lines.iter().all(|line| line["scale"]["overlay"] == lines[0]["scale"]["overlay"]));
    let of = |lines: &[Value]| -> Vec<_> {
        lines.iter().map(|line| std::fs::read(file(&sandbox, line, "overlay")).unwrap()).collect()
    };
    let drawn = of(&lines);
    let fixed = localize(&sandbox, &[&arguments[..], &["--scale", &scale]].concat()).json();
    assert!(of(&fixed) == drawn, "guided maps are made again from the map and the photo");
}

#[test]
fn a_run_without_evidence_or_with_a_bad_photo_is_drawn() {
    let sandbox = frames(2);
    sandbox.write("photos/01-broken.png", "no picture");
    let outcome = localize(&sandbox, &["photos", "--scale", "run", "--save", "overlay"]);
    assert_eq!(
        (outcome.status, outcome.json().len(), outcome.errors().len()),
        (Some(1), 2, 1),
        "{outcome:#?}"
    );
    let table = sandbox.localize(PROMPT, &["photos", "--scale", "run", "--output", "table"]);
    assert_eq!(table.status, Some(1));
    assert!(table.stdout.contains("00.red-square.overlay.png"), "{table:#?}");
    assert!(sandbox.path("table/01.red-square.overlay.png").is_file());
    let outcome = localize(&sandbox, &["photos/01-broken.png", "--scale", "run"]);
    assert_eq!(outcome.status, Some(2), "{outcome:#?}");
}

fn run_batch(sandbox: &Sandbox, folder: &str, more: &[&str]) -> Outcome {
    let arguments = ["batch", "prompts.txt", "photos", "--model", "model", "--output", folder];
    sandbox.run(&[&arguments[..], &["--scale", "run", "--save", "overlay,heatmap"], more].concat())
}

/// All files of a run but the journal, whose lines have times.
fn but_times(sandbox: &Sandbox, folder: &str) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut files = files(&sandbox.path(folder));
    files.remove("results.jsonl");
    files
}

#[test]
fn a_batch_on_one_scale_goes_on_to_the_same_end_wherever_it_was_killed() {
    let sandbox = frames(12);
    run_batch(&sandbox, "whole", &[]).assert_done();
    let whole = but_times(&sandbox, "whole");
    let manifest: Value = serde_json::from_slice(&whole["run.json"]).unwrap();
    assert!(manifest["scale"]["overlay"].as_f64().unwrap() > 0.0);
    let mut interrupted = 0;
    for pictures in [0, 1, 6] {
        let folder = format!("killed-{pictures}");
        let arguments = ["batch", "prompts.txt", "photos", "--model", "model", "--scale", "run"];
        let mut command = sandbox.command();
        command.args(arguments).args(["--save", "overlay,heatmap", "--output", &folder]);
        let null = std::process::Stdio::null;
        let mut child = command.stdout(null()).stderr(null()).spawn().unwrap();
        let is_far = || {
            let names = std::fs::read_dir(sandbox.path(&folder)).into_iter().flatten().flatten();
            let names: Vec<String> = names.map(|entry| entry.file_name().into_string().unwrap()).collect();
            let count = |ending: &str| names.iter().filter(|name| name.ends_with(ending)).count();
            count(".map.npy") >= 4 && count(".overlay.png") >= pictures
        };
        while !is_far() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        child.kill().unwrap();
        crate::sandbox::wait(&mut child);
        interrupted += usize::from(!sandbox.path(&folder).join("index.html").exists());
        run_batch(&sandbox, &folder, &["--resume"]).assert_done();
        let resumed = but_times(&sandbox, &folder);
        assert!(resumed.keys().eq(whole.keys()), "{:?}", resumed.keys());
        for (name, bytes) in &whole {
            assert!(resumed[name] == *bytes, "{name} differs");
        }
    }
    assert!(interrupted > 0, "every run was faster than the test");
}

#[test]
fn a_batch_that_grew_is_drawn_again_where_its_scale_changed() {
    let sandbox = frames(3);
    let late = std::fs::read(sandbox.path("photos/02.png")).unwrap();
    std::fs::remove_file(sandbox.path("photos/02.png")).unwrap();
    run_batch(&sandbox, "out", &["--json"]).assert_done();
    let time = |name: &str| std::fs::metadata(sandbox.path("out").join(name)).unwrap().modified().unwrap();
    let before = time("00.red-square.overlay.png");
    run_batch(&sandbox, "out", &["--resume"]).assert_done();
    assert_eq!(time("00.red-square.overlay.png"), before, "nothing changed, so nothing is drawn");
    std::fs::remove_file(sandbox.path("out/01.red-square.heatmap.png")).unwrap();
    run_batch(&sandbox, "out", &["--resume"]).assert_done();
    assert!(sandbox.path("out/01.red-square.heatmap.png").is_file(), "what is missing is drawn");
    sandbox.write("photos/02.png", late);
    let outcome = run_batch(&sandbox, "out", &["--resume", "--json"]);
    outcome.assert_done();
    assert_eq!(outcome.json().len(), 1, "only the new photo is asked");
    run_batch(&sandbox, "whole", &[]).assert_done();
    let (grown, whole) = (but_times(&sandbox, "out"), but_times(&sandbox, "whole"));
    assert!(grown.keys().eq(whole.keys()));
    for (name, bytes) in &whole {
        assert!(grown[name] == *bytes, "{name} differs");
    }
    let scale: Value = serde_json::from_slice(&whole["run.json"]).unwrap();
    assert_eq!(outcome.json()[0]["scale"]["overlay"], scale["scale"]["overlay"]);
}

#[test]
fn a_run_refuses_a_photo_that_can_be_read_only_once() {
    let sandbox = Sandbox::new();
    localize(&sandbox, &["wide.png", "-", "--scale", "run"])
        .assert_refused(&["--scale run", "standard input"]);
}

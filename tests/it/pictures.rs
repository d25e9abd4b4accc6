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
    for scale in ["own", "3"] {
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

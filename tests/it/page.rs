//! The report page in a real browser: it draws what the program draws, at every strength, and fetches nothing.

use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use fieldmark::{
    Explainer, Photo, PhotoOptions, Query, Settings,
    attribution::ConceptMap,
    explain::Compare,
    objective::Strength,
    page::{Maps, PageOptions, ReportPage, View, report},
    render::{ColorMap, RenderOptions, Scale, overlay},
};
use image::RgbImage;
use serde_json::Value;

use crate::{
    browser::Browser,
    sandbox::{fixture, read_npy},
};

const PROMPTS: [&str; 4] =
    ["red-winged blackbird shoulder", "yellow-headed blackbird", "brown wing", "orange beak"];

/// The largest difference that a pixel's channel may have in the mean, in levels of 255. Page and program decode the
/// same JPEG with the same arithmetic and draw by the same formulas; only sums are rounded otherwise.
const CLOSE: f64 = 0.02;

/// A page on disk, and what it was made of.
struct Sample {
    folder: tempfile::TempDir,
    html: String,
    explainer: Explainer,
    photo: Photo,
}

impl Sample {
    fn new(photo: &str, settings: &Settings, prompts: &[String]) -> Self {
        let explainer = Explainer::load("miniature").unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(photo);
        let photo = Photo::open(path).unwrap();
        let html =
            compared(&explainer, &photo, settings, prompts).page(&photo, &PageOptions::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("report.html"), &html).unwrap();
        Self { folder, html, explainer, photo }
    }

    fn ordinary() -> Self {
        Self::new("examples/images/red-winged-blackbird.png", &Settings::default(), &prompts())
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("report.html")
    }

    /// The photo in the page, after its JPEG.
    fn shown_photo(&self) -> RgbImage {
        let data = data(&self.html);
        let bytes = STANDARD.decode(data["photo"].as_str().unwrap()).unwrap();
        Photo::from_bytes("page.jpg", &bytes, &PhotoOptions::default()).unwrap().rgb().clone()
    }

    /// What the program computes for a target, its rivals and a strength.
    fn map(&self, against: &[&str], settings: Settings) -> ConceptMap {
        let query = Query::new(PROMPTS[0]).against(against.iter().copied()).with(settings);
        self.explainer.localize(&self.photo, &query).unwrap().map
    }
}

fn prompts() -> Vec<String> {
    PROMPTS.map(str::to_owned).into()
}

fn compared(explainer: &Explainer, photo: &Photo, settings: &Settings, prompts: &[String]) -> Compare {
    explainer.compare(photo, prompts, settings).unwrap()
}

fn strength(value: f64) -> Settings {
    Settings::default().strength(Strength::new(value).unwrap())
}

/// The data that a page's script reads.
fn data(html: &str) -> Value {
    let (_, rest) = html.split_once(r#"<script type="application/json" id="data">"#).unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

/// The picture that the page shows.
fn canvas(browser: &mut Browser) -> RgbImage {
    let url = browser.run("document.getElementById('map').toDataURL('image/png')");
    let bytes = STANDARD.decode(url.as_str().unwrap().split_once(',').unwrap().1).unwrap();
    image::load_from_memory(&bytes).unwrap().into_rgb8()
}

/// The mean difference of two pictures' channels, in levels.
fn difference(one: &RgbImage, other: &RgbImage) -> f64 {
    assert_eq!(one.dimensions(), other.dimensions());
    let sum: u64 = one.iter().zip(other.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / one.len() as f64
}

fn assert_same(browser: &mut Browser, expected: &RgbImage, what: &str) {
    let apart = difference(&canvas(browser), expected);
    println!("page and program, {what}: {apart:.5} levels apart in the mean");
    assert!(apart <= CLOSE, "{what}: {apart} levels");
}

/// Moves a slider as a user does.
fn slide(browser: &mut Browser, slider: &str, value: f64) {
    browser.run(&format!(
        "(() => {{ const slider = document.getElementById('{slider}'); slider.value = {value}; \
         slider.dispatchEvent(new Event('input', {{ bubbles: true }})); }})()"
    ));
    browser.settle();
}

#[test]
fn a_page_opens_at_the_strength_that_is_asked_for() {
    let Some(mut browser) = Browser::start() else { return };
    let sample = Sample::ordinary();
    let plain = compared(&sample.explainer, &sample.photo, &strength(0.0), &prompts());
    let options = PageOptions::default().strength(Some(0.6));
    std::fs::write(sample.path(), plain.page(&sample.photo, &options).unwrap()).unwrap();
    browser.open(&sample.path(), "");
    assert_eq!(browser.run("document.getElementById('strength').value"), "0.6");
    let map = sample.map(&PROMPTS[1..], strength(0.6));
    assert_same(
        &mut browser,
        &overlay(&sample.shown_photo(), &map, &RenderOptions::default()),
        "as it opens",
    );
}

#[test]
fn the_slider_draws_what_the_program_draws_for_that_strength() {
    let Some(mut browser) = Browser::start() else { return };
    let sample = Sample::ordinary();
    let photo = sample.shown_photo();
    browser.open(&sample.path(), "target=0&against=1,2");
    let mut seen: Vec<RgbImage> = Vec::new();
    for value in [0.6, 0.0, 0.25, 1.0] {
        slide(&mut browser, "strength", value);
        let map = sample.map(&PROMPTS[1..3], strength(value));
        assert_same(
            &mut browser,
            &overlay(&photo, &map, &RenderOptions::default()),
            &format!("strength {value}"),
        );
        let picture = canvas(&mut browser);
        assert!(
            seen.iter().all(|other| difference(other, &picture) > 0.1),
            "strength {value} changes the picture"
        );
        seen.push(picture);
    }
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn colours_scale_and_opacity_are_the_programs() {
    let Some(mut browser) = Browser::start() else { return };
    let sample = Sample::ordinary();
    let photo = sample.shown_photo();
    let map = sample.map(&PROMPTS[1..2], strength(0.6));
    let plain = compared(&sample.explainer, &sample.photo, &strength(0.0), &prompts()).maps;
    let shared = Scale::Shared(plain.iter().map(ConceptMap::max_abs).fold(0.0, f32::max));
    for (fragment, options) in [
        ("opacity=0.9", RenderOptions::default().opacity(0.9)),
        ("colors=cividis&contour=0", RenderOptions::default().colors(ColorMap::Cividis).contour(None)),
        ("colors=blue-orange&scale=shared", RenderOptions::signed().scale(shared)),
    ] {
        browser.open(&sample.path(), &format!("target=0&against=1&strength=0.6&{fragment}"));
        assert_same(&mut browser, &overlay(&photo, &map, &options), fragment);
    }
}

#[test]
fn weighted_rivals_and_a_cropped_photo_are_drawn_alike() {
    let Some(mut browser) = Browser::start() else { return };
    let settings = strength(0.8).aggregate("weighted".into()).fit(fieldmark::geometry::Fit::Crop);
    let sample = Sample::new("examples/images/red-winged-blackbird.png", &settings, &prompts());
    browser.open(&sample.path(), "");
    let map = sample.map(&PROMPTS[1..], settings);
    assert_same(
        &mut browser,
        &overlay(&sample.shown_photo(), &map, &RenderOptions::default()),
        "weighted, cropped",
    );
}

#[test]
fn the_logit_alone_is_drawn_whatever_the_rivals_and_has_no_slider() {
    let Some(mut browser) = Browser::start() else { return };
    let settings = strength(0.6).aggregate("logit".into());
    let sample = Sample::new("examples/images/red-winged-blackbird.png", &settings, &prompts());
    browser.open(&sample.path(), "");
    let map = sample.map(&PROMPTS[1..], settings);
    assert_same(&mut browser, &overlay(&sample.shown_photo(), &map, &RenderOptions::default()), "logit");
    assert_eq!(browser.run("document.getElementById('strength').disabled"), true);
    let why = browser.run("document.getElementById('strength-note').textContent");
    assert!(why.as_str().unwrap().contains("explained alone"), "{why}");
}

#[test]
fn where_contrasts_are_no_mixes_only_computed_ones_are_shown() {
    let Some(mut browser) = Browser::start() else { return };
    let sample = Sample::ordinary();
    let contrasted = compared(&sample.explainer, &sample.photo, &strength(0.6), &prompts());
    let view = |target: usize| View {
        target,
        against: (0..PROMPTS.len()).filter(|index| *index != target).collect(),
        strength: 0.6,
    };
    let page = ReportPage {
        photo: sample.photo.rgb(),
        comparison: &contrasted.report,
        maps: Maps::Computed([0, 2].map(|target| (view(target), &contrasted.maps[target])).into()),
        first: view(0),
        options: &PageOptions::default(),
    };
    std::fs::write(sample.path(), report(&page).unwrap()).unwrap();
    browser.open(&sample.path(), "strength=0.1");
    let photo = sample.shown_photo();
    let drawn = |map| overlay(&photo, map, &RenderOptions::default());
    assert_same(&mut browser, &drawn(&contrasted.maps[0]), "the first computed");
    assert_eq!(browser.run("document.getElementById('strength').disabled"), true);
    let why = browser.run("document.getElementById('strength-note').textContent");
    assert!(why.as_str().unwrap().contains("not linear"), "{why}");
    browser.run("document.getElementById('target-2').click()");
    browser.settle();
    assert_same(&mut browser, &drawn(&contrasted.maps[2]), "the second computed");
    assert_eq!(browser.run("document.getElementById('target-1').disabled"), true, "it was not computed");
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn nothing_is_fetched_and_nothing_typed_is_run() {
    let Some(mut browser) = Browser::start() else { return };
    let hostile: Vec<String> = [
        "</script><img src=x onerror=\"document.title='broken'\">",
        "<!--<script>alert(1)</script>",
        "{{script}} \u{2028} \"quoted\" ${1+1} 'x' \\",
        "http://example.invalid/a.png",
    ]
    .map(str::to_owned)
    .into();
    let sample = Sample::new("examples/images/red-winged-blackbird.png", &strength(0.6), &hostile);
    browser.open(&sample.path(), "target=0&against=1");
    slide(&mut browser, "strength", 0.3);
    let names =
        browser.run("[...document.querySelectorAll('#prompts label')].map((label) => label.textContent)");
    // A line separator is spelled out, as in the terminal.
    let shown: Vec<String> = hostile.iter().map(|prompt| prompt.replace('\u{2028}', "\\u{2028}")).collect();
    assert_eq!(names, Value::from(shown), "prompts are shown as they were typed");
    assert_eq!(browser.run("document.querySelectorAll('img').length"), 1, "only the photo");
    assert_ne!(browser.run("document.title"), "broken");
    // The browser itself refuses what the policy does not allow.
    let fetched = browser.run("fetch('https://example.invalid/').then(() => 'fetched', () => 'refused')");
    assert_eq!(fetched, "refused");
    let url = format!("file://{}", sample.path().display());
    let others: Vec<&String> = browser
        .requests
        .iter()
        .filter(|request| {
            !request.starts_with("data:") && !request.starts_with(&url) && *request != "about:blank"
        })
        .collect();
    assert_eq!(others, ["https://example.invalid/"; 0], "what was asked for");
}

#[test]
fn the_keyboard_reads_evidence_and_a_screen_reader_hears_it() {
    let Some(mut browser) = Browser::start() else { return };
    let sample = Sample::ordinary();
    browser.open(&sample.path(), "target=0&against=1&strength=0.6");
    browser.run("document.getElementById('map').focus()");
    browser.press("Home");
    browser.settle();
    let map = sample.map(&PROMPTS[1..2], strength(0.6));
    let peak = fieldmark::regions::peak(&map).unwrap();
    let readout = browser.run("document.getElementById('readout').textContent");
    assert!(
        readout.as_str().unwrap().starts_with(&format!("at {}, {}: +", peak.x, peak.y)),
        "{readout} {peak:?}"
    );
    browser.press("ArrowRight");
    let moved = browser.run("document.getElementById('readout').textContent");
    assert_ne!(moved, readout);
    assert_eq!(browser.run("document.getElementById('summary').textContent"), moved, "it is spoken");
    let label = browser.run("document.getElementById('map').getAttribute('aria-label')");
    assert!(label.as_str().unwrap().contains(PROMPTS[0]), "{label}");
    browser.run("document.getElementById('table').open = true");
    browser.settle();
    let cells = browser.run("document.querySelectorAll('#values td').length");
    assert_eq!(cells, map.values().len(), "the numbers are there as a table");
}

#[test]
fn downloads_are_the_programs_files() {
    let Some(mut browser) = Browser::start() else { return };
    let sample = Sample::ordinary();
    browser.open(&sample.path(), "target=0&against=1&strength=0.6");
    let map = sample.map(&PROMPTS[1..2], strength(0.6));
    let grid = map.grid();
    let bytes =
        browser.run("npy().arrayBuffer().then((file) => btoa(String.fromCharCode(...new Uint8Array(file))))");
    std::fs::write(sample.folder.path().join("page.npy"), STANDARD.decode(bytes.as_str().unwrap()).unwrap())
        .unwrap();
    let (rows, columns, values) = read_npy(&sample.folder.path().join("page.npy"));
    assert_eq!((rows, columns), (grid.rows, grid.columns));
    assert_near(&values, map.values());
    let text = browser.run("csv().text()");
    let lines: Vec<&str> = text.as_str().unwrap().lines().collect();
    let numbers = lines.iter().flat_map(|line| line.split(',')).map(|number| number.parse().unwrap());
    assert_eq!(lines.len(), grid.rows);
    assert_near(&numbers.collect::<Vec<f32>>(), map.values());
}

/// The page mixes the prompts' maps, the program their texts: the sums are rounded otherwise.
fn assert_near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let top = expected.iter().fold(0.0_f32, |top, value| top.max(value.abs()));
    let apart = found.iter().zip(expected).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
    assert!(apart <= 1e-5 * top, "{apart} of {top}");
}

#[test]
fn ten_prompts_on_a_large_photo_stay_under_two_megabytes() {
    let mut state = 1_u32;
    let noise = RgbImage::from_fn(2400, 1800, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        image::Rgb([(state >> 24) as u8, (state >> 16) as u8, (state >> 8) as u8])
    });
    let photo = Photo::from_rgb("noise.png", noise).unwrap();
    let explainer = Explainer::load(fixture("models/tiny-quick-gelu").to_str().unwrap()).unwrap();
    let prompts: Vec<String> = (0..10).map(|number| format!("prompt {number}")).collect();
    let page = compared(&explainer, &photo, &strength(0.6), &prompts);
    let html = page.page(&photo, &PageOptions::default()).unwrap();
    assert!(html.len() < 2_000_000, "{} bytes", html.len());
}

//! Refined maps: affinity against an independent computation, tiles that find what the whole photo hides, and tokens
//! that are not about their place.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use fieldmark::{
    Explainer, Photo, Query, Result, Settings,
    attribution::ConceptMap,
    geometry::{Fit, Grid, Placement, Rect, Size},
    gradient::{Differentiation, LayerTrace},
    model::{Model, network::Recording},
    refine::{Affinity, Artifacts, BLOCKS, Refinement, Tiles},
};
use image::{Rgb, RgbImage, imageops};

use crate::sandbox::{PROMPT, Sandbox, Weights, fixture};

/// The length of a map's difference over the length of the map.
const MAP_TOLERANCE: f32 = 1e-3;

fn tests(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)
}

fn tensors(name: &str) -> HashMap<String, Tensor> {
    let path = tests("golden/parity").join(name).with_extension("safetensors");
    candle_core::safetensors::load(path, &Device::Cpu).expect("the golden file exists")
}

#[test]
fn affinity_is_that_of_clip_es() -> Result<()> {
    // `tests/golden/make_affinity.py` made the expected values.
    for (name, expected) in tensors("affinity") {
        let (checkpoint, case) = name.split_once('/').expect("checkpoint and map");
        let golden = tensors(checkpoint);
        let model = Model::open(&fixture("models").join(checkpoint), Device::Cpu)?;
        let tower = model.vision()?;
        let blocks = tower.layers().saturating_sub(BLOCKS)..tower.layers();
        let recording = Recording { attention: blocks.clone(), ..Recording::default() };
        let pixels = &golden[&format!("pixels.{}", case.split('.').nth(1).expect("the fit"))];
        let last = tower.layers() - 1;
        let trace = LayerTrace::recording(tower, pixels, last, Differentiation::Fastest, &recording)?;
        let attention = trace.patch_attention(blocks)?.flatten_all()?.to_vec1()?;
        let plain = &golden[case];
        let (rows, columns) = plain.dims2()?;
        let refined = Affinity::new(attention, rows * columns)?
            .refine(&map(Grid::new(rows, columns), plain.flatten_all()?.to_vec1()?));
        let found = Tensor::new(refined.values(), &Device::Cpu)?.reshape((rows, columns))?;
        let length =
            |tensor: Tensor| -> Result<f32> { Ok(tensor.sqr()?.sum_all()?.to_scalar::<f32>()?.sqrt()) };
        let off = length((&found - &expected)?)? / length(expected)?;
        assert!(off < MAP_TOLERANCE, "{name}: {off}");
    }
    Ok(())
}

fn map(grid: Grid, values: Vec<f32>) -> ConceptMap {
    let photo = Size::new(grid.columns as u32 * 8, grid.rows as u32 * 8);
    ConceptMap::new(values, Placement { photo, input: photo, grid, covers: Rect::whole(photo) })
}

/// A drawn scene of 128 x 96 pixels on an empty ground of 480 x 384, and where on it the red shoulder is.
fn scene_from_afar() -> (Photo, [std::ops::Range<u32>; 2]) {
    let path = tests("../examples/images/red-winged-blackbird.png");
    let scene = image::open(path).expect("the example exists").into_rgb8();
    let scene = imageops::resize(&scene, 128, 96, imageops::FilterType::CatmullRom);
    let mut ground = RgbImage::from_pixel(480, 384, Rgb([196, 200, 212]));
    imageops::replace(&mut ground, &scene, 300, 40);
    (Photo::from_rgb("afar", ground).expect("it has pixels"), [352..374, 98..116])
}

fn query(settings: Settings) -> Query {
    Query::new(PROMPT).against(["yellow-headed blackbird", "rusty blackbird"]).with(settings)
}

#[test]
fn tiles_find_what_is_too_small_in_the_whole_photo() -> Result<()> {
    let explainer = Explainer::load("miniature")?;
    let (photo, [xs, ys]) = scene_from_afar();
    let is_on_shoulder = |found: &fieldmark::explain::Found| {
        let peak = found.report.place.peak.expect("there is evidence");
        xs.contains(&peak.x) && ys.contains(&peak.y)
    };
    let whole = explainer.localize(&photo, &query(Settings::default()))?;
    assert!(!is_on_shoulder(&whole), "{:?}", whole.report.place.peak);
    assert!(whole.report.setup.tiles.is_none() && whole.report.best_tile.is_none());
    let tiles = Tiles::Along(NonZeroUsize::new(3).expect("not 0"));
    let tiled = explainer.localize(&photo, &query(Settings::default().tiles(tiles)))?;
    assert!(is_on_shoulder(&tiled), "{:?}", tiled.report.place.peak);
    let tiling = tiled.report.setup.tiles.clone().expect("it was tiled");
    assert_eq!((tiling.rows, tiling.columns, tiling.side), (3, 4, 154));
    assert_eq!(tiled.report.setup.grid, [30, 37]);
    assert_eq!(tiled.report.setup.covers, [0.0, 0.0, 480.0, 384.0]);
    // The best tile shows the shoulder and fits better than the photo, whose own score stays.
    let best = tiled.report.best_tile.expect("there are tiles");
    assert!(best.logit > tiled.report.target.logit && tiled.report.target == whole.report.target);
    let has = |start: u32, middle: u32| (start..start + tiling.side).contains(&middle);
    assert!(has(best.x, 363) && has(best.y, 107), "{best:?}");
    Ok(())
}

#[test]
fn tiles_leave_no_seams_on_a_photo_without_anything() -> Result<()> {
    let explainer = Explainer::load(fixture("models/tiny-gelu"))?;
    let photo = Photo::from_rgb("plain", RgbImage::from_pixel(400, 300, Rgb([120, 140, 90])))?;
    let whole = explainer.localize(&photo, &query(Settings::default()))?.map;
    let tiles = Tiles::Along(NonZeroUsize::new(2).expect("not 0"));
    let settings = Settings::default().tiles(tiles);
    let tiled = explainer.localize(&photo, &query(settings.clone()))?.map;
    assert_eq!(tiled, explainer.localize(&photo, &query(settings))?.map, "the same in every run");
    // Position embeddings give even a plain photo a pattern. Blended, no step is larger than within one pass.
    let step = |map: &ConceptMap| {
        let columns = map.grid().columns;
        let rows = map.values().chunks_exact(columns);
        let across = rows.flat_map(|row| row.windows(2).map(|pair| (pair[0] - pair[1]).abs()));
        across.fold(0.0, f32::max)
    };
    let tile = Photo::from_rgb("tile", RgbImage::from_pixel(172, 172, Rgb([120, 140, 90])))?;
    let one = explainer.localize(&tile, &query(Settings::default().fit(Fit::Squash)))?.map;
    assert!(step(&tiled) <= step(&one).max(step(&whole)), "{} and {}", step(&tiled), step(&one));
    Ok(())
}

#[test]
fn refined_maps_stay_in_logits_and_are_marked() -> Result<()> {
    let explainer = Explainer::load("miniature")?;
    let photo = Photo::open(tests("../examples/images/red-winged-blackbird.png"))?;
    let found = |refine: &[Refinement]| {
        explainer.localize(&photo, &query(Settings::default().refine(refine.to_vec())))
    };
    let plain = found(&[])?;
    let both = found(&[Refinement::Guided, Refinement::Affinity, Refinement::Guided])?;
    assert_eq!(both.report.setup.refined, [Refinement::Affinity, Refinement::Guided]);
    let affinity = found(&[Refinement::Affinity])?;
    assert_eq!(affinity.map, both.map, "the pixels' refinement leaves the grid's map alone");
    assert!(affinity.map.max_abs() <= plain.map.max_abs());
    let guided = found(&[Refinement::Guided])?;
    assert_eq!(guided.map, plain.map);
    let pixels = guided.on_pixels(&photo);
    assert_eq!(pixels.grid(), Grid::new(720, 960));
    assert!(pixels.max() <= plain.map.max() && pixels.max_abs() <= plain.map.max_abs());
    // The red shoulder, by its colour.
    let is_red = |x: u32, y: u32| {
        let [red, green, blue] = photo.rgb().get_pixel(x, y).0;
        red > 60 && red / 2 > green.max(blue)
    };
    let hits = |found: &fieldmark::explain::Found| {
        let instance = found.instances(&photo).remove(0);
        let pixels = instance.mask.runs().iter().flat_map(|(y, run)| run.clone().map(|x| (x, *y)));
        let red = pixels.filter(|(x, y)| is_red(*x, *y)).count();
        (red as f64 / instance.region.area as f64, red)
    };
    let ((coarse, few), (fine, many)) = (hits(&plain), hits(&guided));
    assert!(fine > 0.9 && fine >= coarse && many > 2 * few, "{coarse} {few}, {fine} {many}");
    Ok(())
}

/// A checkpoint in which the token of one patch of the trained grid has a norm that stands out.
fn with_an_outlier(sandbox: &Sandbox, cell: usize) {
    let path = sandbox.path("model/model.safetensors");
    let mut weights = Weights::read(&path);
    // The norm before the blocks makes all tokens alike, unless one of its channels is let through: all of this
    // token is there, and little of the others.
    weights.set("vision_model.pre_layrnorm.weight", 0, 30.0);
    weights.set("vision_model.embeddings.position_embedding.weight", (1 + cell) * 48, 100.0);
    weights.write(&path);
}

#[test]
fn tokens_that_stand_out_are_reported_and_can_be_suppressed() -> Result<()> {
    let sandbox = Sandbox::new();
    with_an_outlier(&sandbox, 27);
    let explainer = Explainer::load(sandbox.path("model"))?;
    let photo = Photo::open(fixture("photos/shapes-96x64.png"))?;
    // Before the first block, where nothing has been mixed yet.
    let found = |artifacts| {
        let settings = Settings::default().artifacts(artifacts).fit(Fit::Squash).layer(Some(0));
        explainer.localize(&photo, &query(settings))
    };
    let (kept, suppressed) = (found(Artifacts::Keep)?, found(Artifacts::Suppress)?);
    for (found, handling) in [(&kept, Artifacts::Keep), (&suppressed, Artifacts::Suppress)] {
        let outliers = found.report.setup.artifacts.clone().expect("artefacts are reported");
        assert_eq!((outliers.handling, outliers.count), (handling, 1));
        assert_eq!(outliers.cells, [[3, 3]]);
    }
    let values = kept.map.values();
    let mean = [18, 19, 20, 26, 28, 34, 35, 36].map(|cell| values[cell]).iter().sum::<f32>() / 8.0;
    for (cell, value) in suppressed.map.values().iter().enumerate() {
        let expected = if cell == 27 { mean } else { values[cell] };
        assert!((value - expected).abs() < 1e-6, "cell {cell}: {value} and {expected}");
    }
    assert!((values[27] - mean).abs() > 1e-6, "it had evidence of its own");
    Ok(())
}

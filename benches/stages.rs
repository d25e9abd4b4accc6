//! Where the time of a map goes, stage by stage, with the matrix products alone beside it as the floor:
//! `cargo bench --bench stages`, or `cargo bench --bench stages -- trunk` for one group.
//!
//! The machine is shared and noisy: read figures as ratios within one run. benches/README.md has a table.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]
#![allow(clippy::expect_used, reason = "a benchmark that cannot run has nothing better to do")]

mod support;

use std::{path::Path, process::Command, time::Duration};

use candle_core::{Device, Tensor};
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use fieldmark::{
    Explainer, Photo, Query, Result, Settings,
    attribution::{GradCam, Method, Targets},
    device::Precision,
    geometry::Fit,
    gradient::{Differentiation, LayerTrace},
    model::{Model, preprocess::FitRequest},
    objective::Strength,
    regions::{Place, Threshold},
};
use rayon::prelude::*;
use support::{HEADS, LAYERS, MLP, TOKENS, WIDTH};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

criterion_group!(stages, trunk, head, text, photo, photos, render, places, compare, command);
criterion_main!(stages);

fn group<'c>(criterion: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(15).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(6));
    group
}

fn model() -> Model {
    Model::open(&support::checkpoint(), Device::Cpu).expect("the checkpoint is sound")
}

fn prompts(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("bird number {index}")).collect()
}

fn pixels(model: &Model) -> Tensor {
    let photo = Photo::open(support::photo()).expect("the photo is sound");
    let vision = &model.config().vision;
    let request = FitRequest { fit: Fit::Squash, patch: vision.patch, trained: vision.grid(), detail: 1.0 };
    let input = model.preprocess().prepare(&photo, &request).expect("the photo fits").pixels;
    Tensor::from_vec(input, (3, 224, 224), &Device::Cpu).expect("it has this size")
}

/// As `compare` has them: every prompt alone.
fn settings() -> Settings {
    let strength = Strength::new(0.0).expect("0 is a strength");
    Settings::default().fit(Fit::Squash).strength(strength)
}

/// The products of one block: rows, inner dimension, columns.
const PRODUCTS: [[usize; 3]; 4] =
    [[TOKENS, WIDTH, 3 * WIDTH], [TOKENS, WIDTH, WIDTH], [TOKENS, WIDTH, MLP], [TOKENS, MLP, WIDTH]];

/// The matrix products of a whole tower at their shapes, each with weights of its own, into memory that is there.
struct Floor {
    weights: Vec<[Vec<f32>; 4]>,
    input: Vec<f32>,
    output: Vec<f32>,
}

impl Floor {
    fn new() -> Self {
        let block = |layer: usize| PRODUCTS.map(|[_, inner, to]| vec![0.01 * layer as f32; inner * to]);
        let largest = TOKENS * MLP.max(3 * WIDTH);
        Self {
            weights: (0..LAYERS).map(block).collect(),
            input: vec![0.5; largest],
            output: vec![0.0; largest.max(HEADS * TOKENS * TOKENS)],
        }
    }

    fn run(&mut self) {
        let head = WIDTH / HEADS;
        for layer in 0..LAYERS {
            for (at, [rows, inner, to]) in PRODUCTS.into_iter().enumerate() {
                self.product(Some((layer, at)), [rows, inner, to], (1, inner));
            }
            for _ in 0..HEADS {
                self.product(None, [TOKENS, head, TOKENS], (1, head));
                self.product(None, [TOKENS, TOKENS, head], (head, 1));
            }
        }
        // The patch embedding.
        self.product(Some((0, 1)), [TOKENS - 1, WIDTH, WIDTH], (1, WIDTH));
    }

    fn product(&mut self, weight: Option<(usize, usize)>, shape: [usize; 3], right_steps: (usize, usize)) {
        let [rows, inner, to] = shape;
        let right = weight.map_or(&self.input, |(layer, at)| &self.weights[layer][at]);
        assert!(
            rows * to <= self.output.len() && rows * inner <= self.input.len() && inner * to <= right.len()
        );
        let place = OutputPlace(self.output.as_mut_ptr());
        let threads = rayon::current_num_threads();
        let part = to.div_ceil(threads);
        (0..threads).into_par_iter().for_each(|thread| {
            let first = thread * part;
            let columns = part.min(to - first.min(to));
            // SAFETY: the three matrices lie in their vectors, as just asserted; the output is one of its own, and
            // every thread has columns of its own.
            #[allow(unsafe_code)]
            unsafe {
                gemm::gemm(
                    rows,
                    columns,
                    inner,
                    place.from(first),
                    1,
                    to as isize,
                    false,
                    self.input.as_ptr(),
                    1,
                    inner as isize,
                    right.as_ptr().add(first * right_steps.1),
                    right_steps.1 as isize,
                    right_steps.0 as isize,
                    0.0_f32,
                    1.0,
                    false,
                    false,
                    false,
                    gemm::Parallelism::None,
                );
            }
        });
    }
}

/// Where an output begins, for several threads.
#[derive(Clone, Copy)]
struct OutputPlace(*mut f32);

// SAFETY: every thread writes columns of its own.
#[allow(unsafe_code)]
unsafe impl Send for OutputPlace {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for OutputPlace {}

impl OutputPlace {
    fn from(self, index: usize) -> *mut f32 {
        self.0.wrapping_add(index)
    }
}

/// The bar is 1.25 times the floor for trunk and head together.
fn trunk(criterion: &mut Criterion) {
    let model = model();
    let (tower, pixels) = (model.vision().expect("it exists"), pixels(&model));
    let texts = Tensor::ones((1, 512), candle_core::DType::F32, &Device::Cpu).expect("it is small");
    let weights = Tensor::ones((1, 1), candle_core::DType::F32, &Device::Cpu).expect("it is small");
    let mut group = group(criterion, "trunk");
    let mut floor = Floor::new();
    group.bench_function("products alone", |bencher| bencher.iter(|| floor.run()));
    group.bench_function("trunk", |bencher| {
        let pixels = pixels.unsqueeze(0).expect("it has three dimensions");
        bencher.iter(|| tower.run_until(&pixels, LAYERS - 1));
    });
    group.bench_function("trunk and head", |bencher| {
        bencher.iter(|| {
            let trace = LayerTrace::new(tower, &pixels, LAYERS - 1, Differentiation::Fastest)?;
            let targets = Targets::new(&trace.embedding()?, &texts, &weights, 100.0)?;
            GradCam.maps(&trace, &targets)
        });
    });
    if let Ok(model) = model.with_precision(Precision::Bf16) {
        let tower = model.vision().expect("it exists");
        let pixels = pixels.unsqueeze(0).expect("it has three dimensions");
        group
            .bench_function("trunk in bf16", |bencher| bencher.iter(|| tower.run_until(&pixels, LAYERS - 1)));
    }
    group.finish();
}

fn head(criterion: &mut Criterion) {
    let model = model();
    let (tower, pixels) = (model.vision().expect("it exists"), pixels(&model));
    let trace = LayerTrace::new(tower, &pixels, LAYERS - 1, Differentiation::Fastest).expect("it runs");
    let embedding = trace.embedding().expect("it exists");
    let mut group = group(criterion, "head");
    for count in [1, 10, 200] {
        let texts = Tensor::randn(0.0_f32, 0.04, (count, 512), &Device::Cpu).expect("it is small");
        let weights = Tensor::eye(count, candle_core::DType::F32, &Device::Cpu).expect("it is small");
        group.bench_function(format!("{count} prompts"), |bencher| {
            bencher.iter(|| {
                let targets = Targets::new(&embedding, &texts, &weights, 100.0)?;
                GradCam.maps(&trace, &targets)
            });
        });
    }
    group.finish();
}

fn text(criterion: &mut Criterion) {
    let model = model();
    let mut group = group(criterion, "text");
    for count in [1, 10] {
        let tokens: Vec<_> =
            prompts(count).iter().map(|prompt| model.tokenize(prompt).expect("it is text")).collect();
        model.embed_texts(&tokens).expect("the tower is sound");
        group.bench_function(format!("{count} prompts"), |bencher| {
            bencher.iter(|| model.embed_texts(&tokens));
        });
    }
    group.finish();
}

fn photo(criterion: &mut Criterion) {
    let (model, path) = (model(), support::photo());
    let photo = Photo::open(&path).expect("the photo is sound");
    let vision = &model.config().vision;
    let request = FitRequest { fit: Fit::Whole, patch: vision.patch, trained: vision.grid(), detail: 1.0 };
    let mut group = group(criterion, "photo");
    group.bench_function("decode 1800 x 1200", |bencher| bencher.iter(|| Photo::open(&path)));
    group.bench_function("fit", |bencher| bencher.iter(|| model.preprocess().prepare(&photo, &request)));
    group.finish();
}

/// A map of each of four photos, which are decoded.
fn photos(criterion: &mut Criterion) {
    let explainer = explainer();
    let photo = Photo::open(support::photo()).expect("the photo is sound");
    let photos = vec![photo; 4];
    let (query, mut group) = (Query::new("a bird"), group(criterion, "photos"));
    explainer.check(&query).expect("the query is sound");
    group.bench_function("4, one by one", |bencher| {
        bencher.iter(|| -> Result<Vec<_>> {
            photos.iter().map(|photo| explainer.localize(photo, &query)).collect()
        });
    });
    group.bench_function("4 together", |bencher| {
        bencher.iter(|| -> Result<Vec<_>> {
            let sessions = explainer.sessions(&photos, &query.settings).into_iter();
            sessions.map(|mut session| session.localize(&query)).collect()
        });
    });
    group.finish();
}

fn render(criterion: &mut Criterion) {
    let explainer = explainer();
    let photo = Photo::open(support::photo()).expect("the photo is sound");
    let found = explainer.localize(&photo, &Query::new("a bird")).expect("it is localized");
    let mut group = group(criterion, "render");
    group.bench_function("overlay 1800 x 1200", |bencher| bencher.iter(|| found.overlay(&photo)));
    group.finish();
}

/// Peaks, regions and points of maps that are there.
fn places(criterion: &mut Criterion) {
    let photo = Photo::open(support::photo()).expect("the photo is sound");
    let found = explainer().compare(&photo, &prompts(200), &settings()).expect("it is compared");
    let mut group = group(criterion, "places");
    for count in [1, 200] {
        group.bench_function(format!("{count} maps at 1800 x 1200"), |bencher| {
            bencher.iter(|| Place::of_all(&found.maps[..count], Threshold::default()));
        });
    }
    group.finish();
}

/// The bar is 1.15 times one prompt for two hundred.
fn compare(criterion: &mut Criterion) {
    let explainer = explainer();
    let photo = Photo::open(support::photo()).expect("the photo is sound");
    let mut group = group(criterion, "compare");
    for count in [1, 10, 200] {
        let prompts = prompts(count);
        explainer.compare(&photo, &prompts, &settings()).expect("it is compared");
        group.bench_function(format!("{count} prompts, texts embedded before"), |bencher| {
            bencher.iter(|| explainer.compare(&photo, &prompts, &settings()));
        });
    }
    group.finish();
}

fn explainer() -> Explainer {
    Explainer::load(support::checkpoint().to_str().expect("the path is text")).expect("it loads")
}

/// The whole program, from start to written overlay.
fn command(criterion: &mut Criterion) {
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join("out");
    let (checkpoint, photo) = (support::checkpoint(), support::photo());
    let mut group = group(criterion, "command");
    for (name, model) in [("miniature", Path::new("miniature")), ("ViT-B/16", &checkpoint)] {
        group.bench_function(format!("localize with {name}"), |bencher| {
            bencher.iter(|| {
                let status = Command::new(env!("CARGO_BIN_EXE_fieldmark"))
                    .args(["localize", "a bird", "--quiet", "--against", "a fish", "--model"])
                    .args([model, &photo])
                    .arg("--output")
                    .arg(&output)
                    .output()
                    .expect("the program starts");
                assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
            });
        });
    }
    group.finish();
}

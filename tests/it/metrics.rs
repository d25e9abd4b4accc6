//! Metrics against the packages that people compute them with: `make_metrics.py` says which. They agree to 1e-4.

use std::{collections::HashMap, path::Path};

use candle_core::{Device, Tensor};
use fieldmark::{
    Explainer, Photo, Result, Settings,
    attribution::ConceptMap,
    evaluate::{
        Faithfulness, Metric,
        faithfulness::{Faithful, FaithfulnessTest, Fill},
    },
    geometry::{Fit, Grid, Placement, Rect, Size},
    metric::{self, Confusion, SignFlip, road::impute},
    random::Random,
};
use serde_json::Value;

const TOLERANCE: f64 = 1e-4;
const PROMPTS: [&str; 4] =
    ["red-winged blackbird shoulder", "yellow-headed blackbird", "rusty blackbird", "house sparrow"];

const CURVES_AND_DROPS: [Metric; 4] =
    [Metric::DeletionAuc, Metric::InsertionAuc, Metric::ConfidenceDrop5, Metric::ConfidenceDrop10];

struct Golden {
    tensors: HashMap<String, Tensor>,
    expected: Value,
}

impl Golden {
    fn open() -> Result<Self> {
        let path = parity("metrics.safetensors");
        let tensors = candle_core::safetensors::load(path, &Device::Cpu)?;
        let numbers = std::fs::read(parity("metrics.json")).expect("the golden file exists");
        Ok(Self { tensors, expected: serde_json::from_slice(&numbers).expect("the golden file is JSON") })
    }

    fn values(&self, name: &str) -> Result<Vec<f32>> {
        Ok(self.tensors[name].flatten_all()?.to_dtype(candle_core::DType::F32)?.to_vec1()?)
    }

    fn mask(&self, name: &str) -> Result<Vec<bool>> {
        Ok(self.values(name)?.into_iter().map(|value| value != 0.0).collect())
    }

    fn width(&self, name: &str) -> usize {
        *self.tensors[name].dims().last().expect("a shape")
    }

    fn cases(&self, group: &str) -> impl Iterator<Item = (usize, &Value)> {
        self.expected[group].as_array().expect("a list").iter().enumerate()
    }
}

fn parity(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/parity").join(name)
}

fn assert_close(found: Option<f64>, expected: &Value, what: &str) {
    let (found, expected) = (found.expect(what), expected.as_f64().expect(what));
    assert!((found - expected).abs() < TOLERANCE, "{what}: found {found}, expected {expected}");
}

#[test]
fn places_are_found_as_scikit_learn_and_quantus_say() -> Result<()> {
    let golden = Golden::open()?;
    for (index, case) in golden.cases("localisation") {
        let name = format!("map.{index}");
        let (map, width) = (golden.values(&name)?, golden.width(&name));
        let mask = golden.mask(&format!("mask.{index}"))?;
        let check =
            |found: Option<f64>, name: &str| assert_close(found, &case[name], &format!("{index} {name}"));
        let (half, above) = (metric::half_peak(&map), metric::above_mean(&map));
        let against = |found: &[bool]| Confusion::of(found.iter().copied().zip(mask.iter().copied()));
        // Quantus counts a hit where any of several peaks hits; the share of them is 0 or 1 with it.
        let pointing =
            metric::pointing_game(&map, &mask, width, 0.0).map(|share| f64::from(u8::from(share > 0.0)));
        check(pointing, "pointing_game");
        check(metric::energy_pointing(&map, &mask), "energy_pointing");
        check(metric::average_precision(&map, &mask), "average_precision");
        check(metric::best_iou(&map, &mask).map(|best| best.iou), "best_iou");
        check(against(&half).iou(), "iou_half_peak");
        check(against(&above).iou(), "iou_above_mean");
        check(against(&above).mean_iou(), "mean_iou_above_mean");
        check(against(&above).accuracy(), "pixel_accuracy");
        let sides: Vec<f64> =
            case["box"].as_array().expect("a box").iter().filter_map(Value::as_f64).collect();
        let known = Rect { x0: sides[0], y0: sides[1], x1: sides[2], y1: sides[3] };
        assert_eq!(metric::bounding_box(&mask, width), Some(known));
        check(metric::box_accuracy(&half, width, &[known]), "box_accuracy");
        check(metric::box_accuracy_v2(&half, width, &[known]), "box_accuracy_v2");
    }
    Ok(())
}

#[test]
fn maps_are_as_alike_as_scipy_and_scikit_image_say() -> Result<()> {
    let golden = Golden::open()?;
    for (index, case) in golden.cases("likeness") {
        let (one, other) = (format!("one.{index}"), format!("other.{index}"));
        let (first, second) = (golden.values(&one)?, golden.values(&other)?);
        assert_close(metric::rank_correlation(&first, &second), &case["rank"], &one);
        assert_close(metric::ssim(&first, &second, golden.width(&one)), &case["ssim"], &one);
    }
    Ok(())
}

#[test]
fn differences_are_as_unlikely_as_scipy_says() -> Result<()> {
    let golden = Golden::open()?;
    for (index, case) in golden.cases("paired") {
        let differences: Vec<f64> =
            case["differences"].as_array().expect("a list").iter().filter_map(Value::as_f64).collect();
        assert_close(metric::wilcoxon(&differences), &case["wilcoxon"], &format!("wilcoxon of {index}"));
        if !case["sign_flip"].is_null() {
            let found = SignFlip::default().p_value(&differences);
            assert_close(found, &case["sign_flip"], &format!("signs of {index}"));
        }
    }
    Ok(())
}

#[test]
fn pixels_are_filled_in_as_pytorch_grad_cam_does() -> Result<()> {
    let golden = Golden::open()?;
    let picture = golden.values("impute.picture")?;
    for percent in [10, 50, 90] {
        let name = format!("impute.kept.{percent}");
        let removed: Vec<bool> = golden.mask(&name)?.into_iter().map(|kept| !kept).collect();
        let found = impute(&picture, &removed, golden.width(&name), 0.0, &mut Random::new(1));
        let expected = golden.values(&format!("impute.filled.{percent}"))?;
        let off = found.iter().zip(&expected).map(|(found, expected)| (found - expected).abs());
        let worst = off.fold(0.0, f32::max);
        assert!(f64::from(worst) < TOLERANCE, "{percent} %: {worst}");
    }
    Ok(())
}

/// What is found for the checkpoint's map on the checkpoint's picture, about one of the prompts.
fn measured(golden: &Golden, name: &str, target: usize, options: &Faithfulness) -> Result<Faithful> {
    let explainer = Explainer::load(format!("tests/fixtures/models/{name}"))?;
    let photo = Photo::open(parity(&format!("{name}.metrics.png")))?;
    let settings = Settings::default().fit(Fit::Squash);
    let rivals: Vec<String> =
        PROMPTS.iter().filter(|prompt| **prompt != PROMPTS[target]).map(|prompt| (*prompt).into()).collect();
    let prompts = explainer.prompts(PROMPTS[target], &rivals, &settings.templates)?;
    let Size { width, height } = photo.size();
    let grid = Grid::new(height as usize, width as usize);
    let placement =
        Placement { photo: photo.size(), input: photo.size(), grid, covers: Rect::whole(photo.size()) };
    let map = ConceptMap::new(golden.values(&format!("{name}.map"))?, placement);
    FaithfulnessTest::new(&explainer, &photo, &settings, options)?.measure(&map, &prompts)
}

fn mark(faithful: &Faithful, metric: Metric) -> Option<f64> {
    faithful.marks.iter().find(|(other, _)| *other == metric)?.1
}

#[test]
fn answers_change_as_torchcam_and_pytorch_grad_cam_say() -> Result<()> {
    let golden = Golden::open()?;
    for name in ["tiny-quick-gelu", "tiny-gelu"] {
        let expected = &golden.expected["faithfulness"][name];
        for (fill, label) in [(Fill::Mean, "mean"), (Fill::Black, "black")] {
            // ROAD has no fill.
            let road = if fill == Fill::Mean { Faithfulness::preset("road")?.metrics } else { Vec::new() };
            let metrics = [CURVES_AND_DROPS.to_vec(), road].concat();
            let options =
                Faithfulness::default().metrics(metrics).fill(fill).insertion_fill(fill).road_noise(0.0);
            let target = expected["target"].as_u64().expect("an index") as usize;
            let found = measured(&golden, name, target, &options)?;
            let check = |metric: Metric, expected: &Value| {
                assert_close(mark(&found, metric), expected, &format!("{name}, {label}: {metric}"));
            };
            check(Metric::DeletionAuc, &expected[label]["deletion_auc"]);
            check(Metric::InsertionAuc, &expected[label]["insertion_auc"]);
            check(Metric::ConfidenceDrop5, &expected[label]["confidence_drop_5"]);
            check(Metric::ConfidenceDrop10, &expected[label]["confidence_drop_10"]);
            if fill == Fill::Mean {
                check(Metric::RoadMostFirst, &expected["road"]["road_morf"]);
                check(Metric::RoadLeastFirst, &expected["road"]["road_lerf"]);
                check(Metric::RoadCombined, &expected["road"]["road_combined"]);
            }
        }
        let metrics = vec![Metric::AverageDrop, Metric::AverageIncrease];
        let options = Faithfulness::default().metrics(metrics);
        let (mut rises, scores) = (0.0, &expected["scores"]);
        for (target, expected) in expected["through"].as_array().expect("a list").iter().enumerate() {
            let found = measured(&golden, name, target, &options)?;
            // torchcam adds 1e-7 to the score that it divides by, which shows where a prompt has no chance.
            let before = scores[target].as_f64().expect("a score");
            let drop = mark(&found, Metric::AverageDrop).map(|drop| drop * before / (before + 1e-7));
            assert_close(drop, &expected["avg_drop"], name);
            assert_close(mark(&found, Metric::AverageIncrease), &expected["conf_increase"], name);
            rises += mark(&found, Metric::AverageIncrease).unwrap_or_default();
        }
        assert!((1.0..4.0).contains(&rises), "some rise and some drop");
    }
    Ok(())
}

#[test]
fn what_coincides_is_seen_once_and_what_has_no_meaning_is_none() -> Result<()> {
    use fieldmark::progress::{Event, ProgressHandler};
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    #[derive(Default)]
    struct Passes(AtomicUsize);
    impl ProgressHandler for Passes {
        fn event(&self, event: Event) {
            if let Event::PassesAdvanced { passes } = event {
                self.0.fetch_add(passes, Ordering::Relaxed);
            }
        }
    }

    let passes = Arc::new(Passes::default());
    let explainer = Explainer::load("tests/fixtures/models/tiny-gelu")?.with_progress(passes.clone());
    let photo = Photo::open("tests/fixtures/photos/shapes-96x64.png")?;
    let settings = Settings::default();
    let prompts = |rivals: &[String]| explainer.prompts("house sparrow", rivals, &settings.templates);
    let query = fieldmark::Query::new("house sparrow").against(["rusty blackbird"]);
    let map = explainer.localize(&photo, &query)?.map;
    let metrics = CURVES_AND_DROPS.to_vec();
    let options = Faithfulness::default().metrics(metrics).step(0.1);
    let test = FaithfulnessTest::new(&explainer, &photo, &settings, &options)?;
    let seen = || passes.0.swap(0, Ordering::Relaxed);
    // Nine points a curve between its ends, which both share, and the 5 % that are no point.
    let first = test.measure(&map, &prompts(&["rusty blackbird".into()])?)?;
    assert_eq!(seen(), 2 * 9 + 2 + 1);
    assert_eq!(test.measure(&map, &prompts(&["rusty blackbird".into()])?)?, first);
    assert_eq!(seen(), 2 * 9 + 1);
    assert_eq!((first.deletion.shares.len(), first.deletion.shares.first()), (11, Some(&0.0)));
    assert_eq!(first.deletion.scores.first(), first.insertion.scores.last());
    assert_eq!(first.deletion.scores.last(), first.insertion.scores.first());
    assert!(first.road_most_first.shares.is_empty());
    // Alone, a prompt's probability is always 1.
    let alone = test.measure(&map, &prompts(&[])?)?;
    assert_eq!((seen(), alone.marks.len()), (0, 4));
    assert!(alone.marks.iter().all(|(_, value)| value.is_none()) && alone.deletion.scores.is_empty());
    // A logit says something alone, but nothing drops against a rival.
    let logits = options.score(fieldmark::evaluate::faithfulness::Score::Logit);
    let alone =
        FaithfulnessTest::new(&explainer, &photo, &settings, &logits)?.measure(&map, &prompts(&[])?)?;
    assert!(mark(&alone, Metric::DeletionAuc).is_some() && mark(&alone, Metric::ConfidenceDrop5).is_none());
    Ok(())
}

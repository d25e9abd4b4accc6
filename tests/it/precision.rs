//! bfloat16 in the trunk: nearly the same maps where the processor has instructions for it, a clear word where not.

use std::path::Path;

use fieldmark::{
    Error, Explainer, Photo, Query,
    attribution::ConceptMap,
    device::{DeviceChoice, Precision},
    explain::LoadOptions,
    progress::Silent,
};

fn explainer(precision: Precision) -> fieldmark::Result<Explainer> {
    let options = LoadOptions::default().device(DeviceChoice::Cpu).precision(precision);
    Explainer::load_with("miniature", &options, &Silent)
}

/// |a - b| / |b|.
fn distance(found: &ConceptMap, expected: &ConceptMap) -> f32 {
    let pairs = || found.values().iter().zip(expected.values());
    let length = |sum: f32| sum.sqrt();
    length(pairs().map(|(a, b)| (a - b) * (a - b)).sum()) / length(pairs().map(|(_, b)| b * b).sum())
}

#[test]
fn maps_in_bfloat16_are_near_those_in_float32_or_refused() {
    let exact = explainer(Precision::F32).unwrap();
    let rounded = match explainer(Precision::Bf16) {
        Ok(rounded) => rounded,
        Err(Error::Option { option: "precision", reason }) => {
            assert_eq!(reason, "expected a processor with AMX or AVX-512 BF16 for bf16, found neither");
            return;
        }
        Err(other) => panic!("{other}"),
    };
    let scenes = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/images");
    for scene in ["red-winged-blackbird.png", "two-blackbirds.png"] {
        let photo = Photo::open(scenes.join(scene)).unwrap();
        let query = Query::new("red-winged blackbird shoulder").against(["blue-winged blackbird shoulder"]);
        let (found, expected) =
            (rounded.localize(&photo, &query).unwrap(), exact.localize(&photo, &query).unwrap());
        let distance = distance(&found.map, &expected.map);
        println!("{scene}: {distance:.4} of the map's norm");
        // bfloat16 has 8 binary digits: a rounding is off by up to 0.4 %, and four blocks add theirs.
        assert!(distance > 0.0 && distance < 0.05, "{scene}: {distance}");
        assert_eq!(
            (found.report.setup.precision, expected.report.setup.precision),
            (Precision::Bf16, Precision::F32)
        );
        let logits = found.report.target.logit - expected.report.target.logit;
        assert!(logits.abs() < 0.2, "{scene}: the logit moved by {logits}");
    }
}

#[test]
fn auto_is_float32() {
    assert_eq!(explainer(Precision::Auto).unwrap().model().precision(), Precision::F32);
    assert_eq!("bf16".parse::<Precision>().unwrap(), Precision::Bf16);
    assert!("fp16".parse::<Precision>().is_err());
}

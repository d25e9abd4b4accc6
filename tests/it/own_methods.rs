//! Methods and objectives from outside the library: `Explainer` knows them by their names, and they have what the shipped
//! ones are made of.

use candle_core::{D, Tensor};
use fieldmark::{
    Explainer, Photo, Query, Result, Settings,
    attribution::{ClearClip, Facts, GradCam, Method, Needs, Targets},
    gradient::LayerTrace,
    model::{config::VisionConfig, network::softmax},
    objective::{Mean, Objective, Strength},
};

/// Grad-CAM under another name.
struct Renamed;

impl Method for Renamed {
    fn name(&self) -> &'static str {
        "renamed"
    }

    fn facts(&self) -> Facts {
        GradCam.facts()
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        GradCam.maps(trace, targets)
    }
}

/// ClearCLIP, written with what is public.
struct Clear;

impl Method for Clear {
    fn name(&self) -> &'static str {
        "clear"
    }

    fn facts(&self) -> Facts {
        ClearClip.facts()
    }

    fn needs(&self, vision: &VisionConfig, asked: Option<usize>) -> Result<Needs> {
        Ok(Needs::inside(vision, asked))
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        let record = trace.recorded().inside(trace.layer())?;
        let block = &trace.tower().blocks()[trace.layer()];
        let scale = 1.0 / (record.value.dim(D::Minus1)? as f64).sqrt();
        let scores = (&record.query * scale)?.matmul(&record.query.t()?)?;
        let tokens = block.attention_output(&softmax(&scores)?.matmul(&record.value)?)?;
        let prefix = trace.tower().prefix_tokens();
        let patches = tokens.narrow(0, prefix, tokens.dim(0)? - prefix)?;
        let embeddings = trace.tower().embed_each(&patches)?;
        let lengths = embeddings.sqr()?.sum_keepdim(1)?.sqrt()?;
        let embeddings = embeddings.broadcast_div(&lengths)?;
        let above_mean = embeddings.broadcast_sub(&embeddings.mean_keepdim(0)?)?;
        Ok((targets.mixes().matmul(&above_mean.t()?)? * targets.logit_scale())?)
    }
}

/// The mean of the references, twice as strong.
struct Twice;

impl Objective for Twice {
    fn name(&self) -> &'static str {
        "twice"
    }

    fn summary(&self) -> &'static str {
        "the target minus twice the strength times the references' mean"
    }

    fn value(&self, logits: &[f64], strength: Strength) -> f64 {
        Mean.value(logits, twice(strength))
    }

    fn gradient(&self, logits: &[f64], strength: Strength) -> Vec<f64> {
        Mean.gradient(logits, twice(strength))
    }
}

fn twice(strength: Strength) -> Strength {
    Strength::new(2.0 * strength.get()).expect("twice a strength is one")
}

fn explainer() -> Result<Explainer> {
    Explainer::load("tests/fixtures/models/tiny-gelu")?
        .with_method(Renamed)?
        .with_method(Clear)?
        .with_objective(Twice)
}

fn settings(method: &str, aggregate: &str, strength: f64) -> Result<Settings> {
    Ok(Settings::default()
        .method(Some(method.into()))
        .aggregate(aggregate.into())
        .strength(Strength::new(strength)?))
}

fn values(explainer: &Explainer, settings: Settings) -> Result<Vec<f32>> {
    let photo = Photo::open("tests/fixtures/photos/shapes-96x64.png")?;
    let query = Query::new("red square").against(["blue circle", "green bird"]).with(settings);
    let found = explainer.localize(&photo, &query)?;
    assert!(found.report.place.peak.is_some(), "what follows the map is there as well");
    Ok(found.map.values().to_vec())
}

#[test]
fn a_method_from_outside_is_asked_by_its_name_and_gives_the_same_map() -> Result<()> {
    let explainer = explainer()?;
    for strength in [0.0, 0.6] {
        for (own, shipped) in [("renamed", "grad-cam"), ("clear", "clear-clip")] {
            let found = values(&explainer, settings(own, "mean", strength)?)?;
            let expected = values(&explainer, settings(shipped, "mean", strength)?)?;
            assert!(expected.iter().any(|value| *value != 0.0), "{shipped} has evidence");
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    (found - expected).abs() <= 1e-5 * expected.abs().max(1e-3),
                    "{own}: {found}, {expected}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn results_name_a_method_from_outside() -> Result<()> {
    let explainer = explainer()?;
    let photo = Photo::open("tests/fixtures/photos/shapes-96x64.png")?;
    let query = Query::new("red square").with(settings("renamed", "twice", 0.3)?);
    let setup = explainer.localize(&photo, &query)?.report.setup;
    assert_eq!((setup.method.as_str(), setup.aggregate.as_str()), ("renamed", "twice"));
    Ok(())
}

#[test]
fn an_objective_from_outside_is_asked_by_its_name() -> Result<()> {
    let explainer = explainer()?;
    let found = values(&explainer, settings("grad-cam", "twice", 0.3)?)?;
    assert_eq!(found, values(&explainer, settings("grad-cam", "mean", 0.6)?)?);
    assert_ne!(found, values(&explainer, settings("grad-cam", "mean", 0.3)?)?);
    Ok(())
}

#[test]
fn a_name_stands_for_one_method() -> Result<()> {
    let reason = |refused: Result<Explainer>| refused.err().map(|error| error.to_string());
    assert_eq!(
        reason(explainer()?.with_method(Renamed)).as_deref(),
        Some("method: expected a name that is not taken, found \"renamed\"")
    );
    assert_eq!(
        reason(explainer()?.with_method(GradCam)).as_deref(),
        Some("method: expected a name that is not taken, found \"grad-cam\"")
    );
    assert_eq!(
        reason(explainer()?.with_objective(Mean)).as_deref(),
        Some("aggregate: expected a name that is not taken, found \"mean\"")
    );
    Ok(())
}

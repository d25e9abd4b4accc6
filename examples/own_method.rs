//! A method of one's own, which `Explainer` then knows by its name: `cargo run --example own_method`.

#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use fieldmark::{
    Explainer, Photo, Query, Result,
    attribution::{Facts, Method, Targets, Unit},
    candle_core::Tensor,
    gradient::LayerTrace,
};

/// M_i = ‖G_i‖: how far the score moves where a patch's activations change a little, in any direction.
struct Sensitivity;

impl Method for Sensitivity {
    fn name(&self) -> &'static str {
        "sensitivity"
    }

    fn facts(&self) -> Facts {
        Facts {
            measures: "the length of the gradient at each patch",
            unit: Unit::None,
            signed: false,
            linear: false,
            discriminative: true,
            cost: None,
            paper: "this example",
        }
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        trace.each_gradient(targets.directions(), |gradients| Ok(gradients.sqr()?.sum(1)?.sqrt()?))
    }
}

fn main() -> Result<()> {
    let explainer = Explainer::load("miniature")?.with_method(Sensitivity)?;
    let photo = Photo::open("tests/fixtures/photos/shapes-96x64.png")?;
    let mut query = Query::new("red shoulder").against(["yellow shoulder"]);
    query.settings.method = Some("sensitivity".into());

    let found = explainer.localize(&photo, &query)?;
    let peak = &found.report.place.peak;
    println!("{}: {:?}", found.report.setup.method, peak);
    Ok(())
}

//! A method of one's own, on the stages that `Explainer` is made of: `cargo run --example own_method`.

#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::path::Path;

use candle_core::{Device, Tensor};
use fieldmark::{
    Photo, Result,
    attribution::{ConceptMap, Facts, Method, Targets, Unit},
    geometry::Fit,
    gradient::{Differentiation, LayerTrace},
    model::{Model, preprocess::FitRequest},
    regions,
};

/// M_i = ‖G_i‖: how far the score moves where a patch's activations change a little, whichever way.
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
    let model = Model::open(Path::new("tests/fixtures/models/tiny-quick-gelu"), Device::Cpu)?;
    let photo = Photo::open("tests/fixtures/photos/shapes-96x64.png")?;
    let (vision, tower) = (&model.config().vision, model.vision()?);
    let request = FitRequest { fit: Fit::Whole, patch: vision.patch, trained: vision.grid(), detail: 1.0 };
    let input = model.preprocess().prepare(&photo, &request)?;
    let size = input.placement.input;
    let pixels =
        Tensor::from_vec(input.pixels, (3, size.height as usize, size.width as usize), model.device())?;
    let trace = LayerTrace::new(tower, &pixels, tower.layers() - 1, Differentiation::Fastest)?;

    // Target minus 0.6 times its rival: the gradient is linear in the texts, so their mix is one virtual prompt.
    let texts = model.embed_texts(&[model.tokenize("red square")?, model.tokenize("blue circle")?])?;
    let weights = Tensor::new(&[[1.0_f32, -0.6]], model.device())?;
    let targets = Targets::new(&trace.embedding()?, &texts, &weights, model.logit_scale())?;
    let values = Sensitivity.maps(&trace, &targets)?.get(0)?.to_vec1()?;

    // `regions`, `render` and `files` do not ask where a map came from.
    let map = ConceptMap::new(values, input.placement);
    println!("{}: {:?}, {:?}", Sensitivity.name(), map.grid(), regions::peak(&map));
    Ok(())
}

//! The methods through the library's front door: several layers, passes that are shared, gradients that are zero.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use candle_core::{Device, Tensor};
use fieldmark::{
    Explainer, Photo, Query, Result, Settings,
    attribution::{self, Combination, METHODS, Targets, Unit},
    explain::{CompareQuery, Layers},
    gradient::{Differentiation, LayerTrace},
    model::network::Recording,
    objective,
    progress::{Event, ProgressHandler},
    report::MapUnit,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn explainer() -> Result<Explainer> {
    Explainer::load(fixture("models/tiny-gelu"))
}

fn photo() -> Result<Photo> {
    Photo::open(fixture("photos/shapes-96x64.png"))
}

fn prompts() -> Vec<String> {
    ["red square", "blue circle", "green"].map(str::to_owned).to_vec()
}

fn lineup() -> CompareQuery {
    CompareQuery::default().prompts(prompts())
}

fn settings(method: &str, layers: &[i64], combination: Combination) -> Settings {
    let method = Some(method.to_owned());
    match layers {
        [layer] => Settings::default().method(method).layer(Some(*layer)),
        _ => Settings::default().method(method).layers(Layers::several(layers, combination)),
    }
}

#[test]
fn the_maps_of_several_layers_are_the_mean_or_the_product_of_each() -> Result<()> {
    let (explainer, photo, prompts) = (explainer()?, photo()?, prompts());
    for method in ["grad-cam", "hires-cam", "layer-cam", "eigen-grad-cam", "score-cam"] {
        let maps = |layers: &[i64], combination| -> Result<Vec<Vec<f32>>> {
            let compared = explainer.compare(&photo, &prompts, &settings(method, layers, combination))?;
            Ok(compared.maps.iter().map(|map| map.values().to_vec()).collect())
        };
        let (last, first) = (maps(&[-1], Combination::Mean)?, maps(&[-3], Combination::Mean)?);
        let means = maps(&[-3, 2, -3], Combination::Mean)?;
        let products = maps(&[-1, -3], Combination::Product)?;
        for prompt in 0..prompts.len() {
            let (last, first) = (&last[prompt], &first[prompt]);
            let top = |map: &[f32]| map.iter().copied().fold(0.0, f32::max);
            let share = |map: &[f32], cell: usize| map[cell].max(0.0) / top(map);
            let size = top(last) + top(first);
            for cell in 0..last.len() {
                let mean = (last[cell] + first[cell]) / 2.0;
                assert!((means[prompt][cell] - mean).abs() < 1e-4 * size, "{method}: {mean}");
                let product = share(last, cell) * share(first, cell);
                assert!((products[prompt][cell] - product).abs() < 1e-3, "{method}: {product}");
            }
        }
    }
    Ok(())
}

#[test]
fn results_say_their_layers_and_units() -> Result<()> {
    let (explainer, photo) = (explainer()?, photo()?);
    let setup = |settings: Settings| -> Result<_> {
        let query = Query::new("red square").against(["blue circle"]).with(settings);
        Ok(explainer.localize(&photo, &query)?.report.setup)
    };
    let plain = setup(settings("grad-cam", &[-1], Combination::Mean))?;
    assert_eq!((plain.layer, &plain.layers[..], plain.layers_combine), (-1, &[-1][..], None));
    assert_eq!((plain.unit, plain.linear), (MapUnit::Logits, true));
    let mean = setup(settings("hires-cam", &[0, -1], Combination::Mean))?;
    assert_eq!((mean.layer, &mean.layers[..], mean.linear), (-1, &[0, -1][..], true));
    let product = setup(settings("hires-cam", &[0, -1], Combination::Product))?;
    assert_eq!((product.unit, product.linear), (MapUnit::None, false));
    assert_eq!(setup(settings("eigen-cam", &[-1], Combination::Mean))?.unit, MapUnit::Activations);
    let softmax = settings("grad-cam", &[-1], Combination::Mean).aggregate("softmax".into());
    let softmax = setup(softmax)?;
    assert_eq!((softmax.unit, softmax.objective_unit), (MapUnit::Probability, objective::Unit::Probability));
    assert_eq!(softmax.strength, 1.0, "the references count whole");
    let none = Settings::default().layers(Layers::several([], Combination::Mean));
    assert!(setup(none).is_err(), "no layer at all");
    Ok(())
}

#[test]
fn a_gradient_of_zero_gives_a_map_of_zeros() -> Result<()> {
    let explainer = explainer()?;
    let model = explainer.model();
    let pixels = Tensor::rand(-1.0_f32, 1.0, (3, 84, 84), &Device::Cpu)?;
    let texts = model.embed_texts(&[model.tokenize("red square")?, model.tokenize("blue circle")?])?;
    let nothing = Tensor::zeros((1, 2), candle_core::DType::F32, &Device::Cpu)?;
    for method in METHODS.iter().filter(|method| method.extra_prompts().is_empty()) {
        let needs = method.needs(&model.config().vision, None)?;
        let (tower, fastest) = (model.vision()?, Differentiation::Fastest);
        let trace = LayerTrace::recording(tower, &pixels, needs.layer, fastest, &needs.recording)?;
        let targets = Targets::new(&trace.embedding()?, &texts, &nothing, model.logit_scale())?;
        let values = method.maps(&trace, &targets)?.get(0)?.to_vec1::<f32>()?;
        let name = method.name();
        assert!(values.iter().all(|value| value.is_finite()), "{name}: {values:?}");
        if method.facts().unit == Unit::Objective {
            assert!(values.iter().all(|value| *value == 0.0), "{name}: {values:?}");
        }
    }
    Ok(())
}

#[test]
fn a_map_of_one_row_is_that_row_of_many() -> Result<()> {
    let explainer = explainer()?;
    let model = explainer.model();
    let pixels = Tensor::rand(-1.0_f32, 1.0, (3, 70, 98), &Device::Cpu)?;
    let texts = model.embed_texts(&[model.tokenize("red square")?, model.tokenize("blue circle")?])?;
    let weights = Tensor::new(&[[1.0_f32, 0.0], [1.0, -0.6], [-0.2, 0.3]], &Device::Cpu)?;
    let (tower, fastest) = (model.vision()?, Differentiation::Fastest);
    let traces = LayerTrace::at_layers(tower, &pixels, &[1, 2], fastest, &Recording::default())?;
    for name in ["layer-cam", "grad-cam-plus-plus", "xgrad-cam", "eigen-cam", "eigen-grad-cam", "gscore-cam"]
    {
        let method = attribution::method(name)?;
        for trace in &traces {
            let targets = Targets::new(&trace.embedding()?, &texts, &weights, model.logit_scale())?;
            let all = method.maps(trace, &targets)?;
            assert_eq!(all.dims(), [3, 35], "{name}");
            for row in 0..3 {
                let one = method.maps(trace, &targets.part(row, 1)?)?.get(0)?;
                let off = (&one - all.get(row)?)?.abs()?.max_all()?.to_scalar::<f32>()?;
                let size = one.abs()?.max_all()?.to_scalar::<f32>()?;
                assert!(off <= 1e-4 * size, "{name}: off by {off} of {size}");
            }
        }
    }
    Ok(())
}

/// Adds up the passes that were announced and those that were done.
#[derive(Default)]
struct Passes(Mutex<(usize, usize)>);

impl ProgressHandler for Passes {
    fn event(&self, event: Event) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::PassesStarted { passes } => counts.0 += passes,
            Event::PassesAdvanced { passes } => counts.1 += passes,
            _ => {}
        }
    }
}

#[test]
fn score_cams_tell_their_passes_and_share_them() -> Result<()> {
    let passes = Arc::new(Passes::default());
    let explainer = explainer()?.with_progress(Arc::<Passes>::clone(&passes));
    let all = ["score-cam", "gscore-cam", "grad-cam"].map(|name| settings(name, &[-1], Combination::Mean));
    assert_eq!(explainer.rank_all(&photo()?, &lineup(), &all)?.len(), 3);
    // One pass per channel, shared by all prompts and methods.
    assert_eq!(*passes.0.lock().unwrap_or_else(PoisonError::into_inner), (64, 64));
    Ok(())
}

#[test]
fn several_methods_at_once_are_the_same_as_one_by_one() -> Result<()> {
    let (explainer, photo, prompts) = (explainer()?, photo()?, prompts());
    let all = ["grad-cam", "le-grad", "eigen-cam"].map(|name| Settings::default().method(Some(name.into())));
    let together = explainer.rank_all(&photo, &lineup(), &all)?;
    for (settings, compared) in all.iter().zip(&together) {
        assert_eq!(compared.maps, explainer.compare(&photo, &prompts, settings)?.maps);
    }
    let sheet = fieldmark::explain::methods_sheet(&photo, &together);
    assert!(sheet.width() > 3 * 150 && sheet.height() > 3 * 100, "{:?}", sheet.dimensions());
    Ok(())
}

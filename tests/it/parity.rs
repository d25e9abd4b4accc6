//! Against the Python reference: transformers' embeddings and pytorch-grad-cam's maps, on the same weights and
//! pixels. `tests/golden/MANIFEST.md` says how the expected values were made.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    io::Write,
    path::{Path, PathBuf},
};

use candle_core::{Device, Tensor};
use fieldmark::{
    Result,
    attribution::{self, GScoreCam, Method, Targets},
    embed::Scores,
    gradient::{Differentiation, LayerTrace},
    model::Model,
    objective::{self, Strength},
};
use serde_json::Value;

/// The largest difference of any component of an embedding. The contract is 1e-4; but here SigLIP's tanh in the place
/// of the error function makes 5e-5, and must not go unseen.
pub(crate) const EMBEDDING_TOLERANCE: f32 = 1e-5;
/// The length of a map's difference over the length of the map.
pub(crate) const MAP_TOLERANCE: f32 = 1e-3;

const CHECKPOINTS: [&str; 4] = ["tiny-quick-gelu", "tiny-gelu", "tiny-siglip", "tiny-siglip2"];

pub(crate) struct Golden {
    pub(crate) model: Model,
    pub(crate) tensors: HashMap<String, Tensor>,
    pub(crate) cases: Value,
}

impl Golden {
    pub(crate) fn open(name: &str) -> Result<Self> {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models");
        Self::open_in(&models.join(name), name)
    }

    /// With the checkpoint in another directory than the fixtures'.
    pub(crate) fn open_in(directory: &Path, name: &str) -> Result<Self> {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let parity = |ending: &str| -> PathBuf { tests.join(format!("golden/parity/{name}.{ending}")) };
        let model = Model::open(directory, Device::Cpu)?;
        let tensors = candle_core::safetensors::load(parity("safetensors"), &Device::Cpu)?;
        let cases = std::fs::read(parity("json")).expect("the golden file exists");
        let cases = serde_json::from_slice(&cases).expect("the golden file is JSON");
        Ok(Self { model, tensors, cases })
    }

    /// The same with the expected maps of other methods: what `make_<kind>.py` wrote.
    pub(crate) fn of(name: &str, kind: &str) -> Result<Self> {
        let mut golden = Self::open(name)?;
        let parity = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/parity");
        let tensors = parity.join(format!("{name}.{kind}.safetensors"));
        golden.tensors.extend(candle_core::safetensors::load(tensors, &Device::Cpu)?);
        let cases =
            std::fs::read(parity.join(format!("{name}.{kind}.json"))).expect("the golden file exists");
        let cases: Value = serde_json::from_slice(&cases).expect("the golden file is JSON");
        golden.cases["maps"] = cases["maps"].clone();
        Ok(golden)
    }

    /// The unit embeddings of the prompts that logits and maps are about.
    pub(crate) fn compared(&self) -> Result<Tensor> {
        let prompts = self.cases["compared"].as_array().expect("a list");
        let tokens: Result<Vec<_>> = prompts.iter().map(|prompt| self.model.tokenize(text(prompt))).collect();
        self.model.embed_texts(&tokens?)
    }

    pub(crate) fn trace(
        &self,
        fit: &str,
        layer: i64,
        differentiation: Differentiation,
    ) -> Result<LayerTrace<'_>> {
        let tower = self.model.vision()?;
        let layer = (tower.layers() as i64 + layer) as usize;
        LayerTrace::new(tower, &self.tensors[&format!("pixels.{fit}")], layer, differentiation)
    }

    /// What one case of the JSON asks of a trace, and the objective's value.
    pub(crate) fn asked(&self, case: &Value, texts: &Tensor, trace: &LayerTrace) -> Result<(Targets, f64)> {
        let embedding = trace.embedding()?;
        let scale = self.model.logit_scale();
        let unit = embedding.broadcast_div(&embedding.sqr()?.sum_all()?.sqrt()?)?;
        let logits = Scores::new(&unit, texts, scale)?.with_bias(self.model.logit_bias()).logits;
        let index = |at: &Value| at.as_u64().expect("an index") as usize;
        let mut chosen = vec![index(&case["target"])];
        chosen.extend(case["against"].as_array().expect("a list").iter().map(index));
        let chosen_logits: Vec<f64> = chosen.iter().map(|at| logits[*at]).collect();
        let objective = objective::objective(match text(&case["aggregate"]) {
            "plain" => "mean",
            aggregate => aggregate,
        })?;
        let strength = Strength::new(case["strength"].as_f64().expect("a number"))?;
        let mut weights = vec![0.0_f32; logits.len()];
        for (at, weight) in chosen.iter().zip(objective.gradient(&chosen_logits, strength)) {
            weights[*at] = weight as f32;
        }
        let weights = Tensor::from_vec(weights, (1, logits.len()), &Device::Cpu)?;
        let targets = Targets::new(&embedding, texts, &weights, scale)?;
        Ok((targets, objective.value(&chosen_logits, strength)))
    }

    /// The signed map of one case of the JSON.
    pub(crate) fn map(&self, case: &Value, texts: &Tensor, trace: &LayerTrace) -> Result<Tensor> {
        let (targets, _) = self.asked(case, texts, trace)?;
        let maps = match case["channels"].as_u64() {
            Some(channels) => GScoreCam { channels: channels as usize }.maps(trace, &targets)?,
            None => attribution::method(text(&case["method"]))?.maps(trace, &targets)?,
        };
        Ok(maps.get(0)?)
    }
}

/// The maps, each with what it is a map of.
pub(crate) fn cases(golden: &Golden) -> &[Value] {
    golden.cases["maps"].as_array().expect("a list")
}

pub(crate) fn layer(case: &Value) -> i64 {
    case["layer"].as_i64().expect("a number")
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

pub(crate) fn largest_difference(found: &Tensor, expected: &Tensor) -> Result<f32> {
    Ok((found - expected)?.abs()?.max_all()?.to_scalar::<f32>()?)
}

pub(crate) fn relative_difference(found: &Tensor, expected: &Tensor) -> Result<f32> {
    let length = |tensor: &Tensor| -> Result<f32> { Ok(tensor.sqr()?.sum_all()?.to_scalar::<f32>()?.sqrt()) };
    Ok(length(&(found - expected)?)? / length(expected)?)
}

/// Writes past the test harness, which would keep the table to itself.
pub(crate) fn print(table: &str) {
    std::io::stdout().write_all(table.as_bytes()).expect("standard output is open");
}

#[test]
fn token_ids_are_those_of_transformers() -> Result<()> {
    for name in CHECKPOINTS {
        let golden = Golden::open(name)?;
        for case in golden.cases["tokens"].as_array().expect("a list") {
            let prompt = text(&case["prompt"]);
            let expected: Vec<u32> = case["ids"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|id| id.as_u64().expect("an id") as u32)
                .collect();
            if prompt.is_empty() {
                assert!(golden.model.tokenize(prompt).is_err(), "an empty prompt is refused");
                continue;
            }
            let tokens = golden.model.tokenize(prompt)?;
            assert_eq!(tokens.ids, expected, "{name}: {prompt:?}");
            let whole = case["untruncated_length"].as_u64().expect("a number") as usize;
            assert_eq!(tokens.truncated.is_some(), whole > expected.len(), "{name}: {prompt:?}");
            if let Some(warning) = tokens.truncated {
                assert!(warning.to_string().contains(&format!("has {whole} tokens")), "{warning}");
            }
        }
    }
    Ok(())
}

#[test]
fn embeddings_and_logits_are_those_of_transformers() -> Result<()> {
    let mut table = String::from("\nparity with transformers: largest difference of any component\n");
    for name in CHECKPOINTS {
        let golden = Golden::open(name)?;
        let number = |name: &str| golden.tensors[name].flatten_all()?.get(0)?.to_scalar::<f32>();
        assert!((golden.model.logit_scale() as f32 / number("logit_scale")? - 1.0).abs() < 1e-6);
        let bias = if golden.tensors.contains_key("logit_bias") { number("logit_bias")? } else { 0.0 };
        assert_eq!(golden.model.logit_bias() as f32, bias);
        let mut texts = 0.0_f32;
        for (index, case) in golden.cases["tokens"].as_array().expect("a list").iter().enumerate() {
            let prompt = text(&case["prompt"]);
            if prompt.is_empty() {
                continue;
            }
            let found = golden.model.embed_texts(&[golden.model.tokenize(prompt)?])?.get(0)?;
            texts = texts.max(largest_difference(&found, &golden.tensors["text_embeds"].get(index)?)?);
        }
        let compared = golden.compared()?;
        let mut worst = BTreeMap::from([("texts".to_owned(), texts)]);
        for fit in ["squash", "crop", "wide"] {
            let embedding = golden.trace(fit, -1, Differentiation::Fastest)?.embedding()?;
            let unit = embedding.broadcast_div(&embedding.sqr()?.sum_all()?.sqrt()?)?;
            worst.insert(
                format!("image {fit}"),
                largest_difference(&unit, &golden.tensors[&format!("image_embeds.{fit}")])?,
            );
            let logits: Vec<f32> = Scores::new(&unit, &compared, golden.model.logit_scale())?
                .with_bias(golden.model.logit_bias())
                .logits
                .into_iter()
                .map(|x| x as f32)
                .collect();
            let logits = (Tensor::new(logits, &Device::Cpu)? / golden.model.logit_scale())?;
            let expected = (&golden.tensors[&format!("logits.{fit}")] / golden.model.logit_scale())?;
            worst.insert(format!("similarity {fit}"), largest_difference(&logits, &expected)?);
        }
        for (what, difference) in worst {
            table.push_str(&format!("  {name:16} {what:18} {difference:.1e}\n"));
            assert!(difference < EMBEDDING_TOLERANCE, "{name} {what}: {difference}");
        }
    }
    print(&table);
    Ok(())
}

#[test]
fn maps_are_those_of_pytorch_grad_cam() -> Result<()> {
    let mut table =
        String::from("\nparity with pytorch-grad-cam: largest relative difference of a raw map\n");
    table.push_str("  checkpoint       method               objective layer -1  layer -2  layer -3\n");
    for name in CHECKPOINTS {
        compare_maps(&Golden::open(name)?, name, 2 * 3, &mut table)?;
    }
    for name in ["tiny-quick-gelu", "tiny-gelu"] {
        // Eight methods, plain and by the mean; two by the softmax.
        compare_maps(&Golden::of(name, "methods")?, name, 8 * 2 + 2, &mut table)?;
    }
    print(&table);
    Ok(())
}

/// Compares every map of a golden file, and writes a row for every method and aggregate, of which there are `rows`.
fn compare_maps(golden: &Golden, name: &str, rows: usize, table: &mut String) -> Result<()> {
    let texts = golden.compared()?;
    // For every method and objective the worst at layers -1, -2 and -3; none where there is no such case.
    let mut worst: BTreeMap<String, [Option<f32>; 3]> = BTreeMap::new();
    let mut traces: HashMap<(String, i64, bool), LayerTrace> = HashMap::new();
    for case in cases(golden) {
        let expected = &golden.tensors[text(&case["tensor"])].flatten_all()?;
        for differentiation in [Differentiation::Fastest, Differentiation::Automatic] {
            if differentiation == Differentiation::Automatic && text(&case["method"]).contains("score") {
                // The scores take many passes, and no gradient.
                continue;
            }
            let fit = text(&case["fit"]);
            let trace =
                match traces.entry((fit.into(), layer(case), differentiation == Differentiation::Fastest)) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => new.insert(golden.trace(fit, layer(case), differentiation)?),
                };
            let map = golden.map(case, &texts, trace)?;
            let difference = relative_difference(&map, expected)?;
            assert!(difference < MAP_TOLERANCE, "{} ({differentiation:?}): {difference}", case["tensor"]);
            let row = format!("{:20} {:8}", text(&case["method"]), text(&case["aggregate"]));
            let entry = &mut worst.entry(row).or_default()[(-1 - layer(case)) as usize];
            *entry = Some(entry.unwrap_or(0.0).max(difference));
        }
    }
    assert_eq!(worst.len(), rows, "methods and aggregates");
    for (row, layers) in worst {
        let [last, second, third] = layers.map(|off| off.map_or("-".into(), |off| format!("{off:.1e}")));
        table.push_str(&format!("  {name:16} {row}  {last:8}  {second:8}  {third}\n"));
    }
    Ok(())
}

#[test]
fn objectives_are_those_of_pytorch_grad_cam() -> Result<()> {
    let plain = CHECKPOINTS.map(|name| (Golden::open(name), 144));
    let methods =
        [(Golden::of("tiny-quick-gelu", "methods"), 113), (Golden::of("tiny-gelu", "methods"), 119)];
    for (golden, expected_cases) in plain.into_iter().chain(methods) {
        let golden = golden?;
        let texts = golden.compared()?;
        let mut checked = 0;
        for case in cases(&golden) {
            let prefix = format!("map.{}.{}.", text(&case["fit"]), text(&case["method"]));
            let name =
                text(&case["tensor"]).strip_prefix(&prefix).and_then(|name| name.rsplit_once(".layer"));
            let (objective, _) =
                name.expect("the tensor's name begins with its case and ends with its layer");
            let expected = &golden.tensors[&format!("objective.{}.{objective}", text(&case["fit"]))];
            let expected = f64::from(expected.to_scalar::<f32>()?);
            let trace = golden.trace(text(&case["fit"]), -1, Differentiation::Fastest)?;
            let (_, found) = golden.asked(case, &texts, &trace)?;
            let scale = if case["aggregate"] == "softmax" { 1.0 } else { golden.model.logit_scale() };
            assert!(
                (found - expected).abs() < 1e-4 * scale,
                "{}: {found} against {expected}",
                case["tensor"]
            );
            checked += 1;
        }
        assert_eq!(checked, expected_cases);
    }
    Ok(())
}

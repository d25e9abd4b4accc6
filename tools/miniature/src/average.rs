//! Two checkpoints of one training become one: the weighted mean of their weights (Wortsman et al., Model Soups, ICML
//! 2022). An earlier one draws its maps better, a later one distinguishes colours better; between them lies one that does
//! both.

use crate::train::save_whole;
use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Options {
    /// The checkpoints' directories, as training wrote them
    #[arg(num_args = 2, required = true)]
    checkpoints: Vec<PathBuf>,
    /// The second one's share, from 0 to 1
    #[arg(long)]
    share: f64,
    /// Where the mean goes
    #[arg(long)]
    out: PathBuf,
}

const WEIGHTS: &str = "model.safetensors";
const CONFIG: &str = "config.json";
/// Numbers of the configuration that were trained.
const TRAINED: [&str; 2] = ["logit_bias", "logit_scale_init_value"];

pub fn run(options: &Options) -> Result<()> {
    let [first, second] = [&options.checkpoints[0], &options.checkpoints[1]];
    ensure!((0.0..=1.0).contains(&options.share), "expected a share from 0 to 1, found {}", options.share);
    std::fs::create_dir_all(&options.out).with_context(|| format!("making {}", options.out.display()))?;
    for name in ["tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"] {
        let (from, to) = (second.join(name), options.out.join(name));
        std::fs::copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
    }
    let mean = mean(&weights(first)?, &weights(second)?, options.share)?;
    save_whole(&mean, &options.out.join(WEIGHTS))?;
    let (mut config, other) = (config(second)?, config(first)?);
    for name in TRAINED {
        let number =
            |config: &Value| config[name].as_f64().with_context(|| format!("{name} is not a number"));
        config[name] = json!(between(number(&other)?, number(&config)?, options.share));
    }
    let path = options.out.join(CONFIG);
    let text = serde_json::to_string_pretty(&config)? + "\n";
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}

fn between(first: f64, second: f64, share: f64) -> f64 {
    first + (second - first) * share
}

/// The mean of each tensor, in float16.
fn mean(
    first: &HashMap<String, Tensor>,
    second: &HashMap<String, Tensor>,
    share: f64,
) -> Result<HashMap<String, Tensor>> {
    ensure!(
        first.len() == second.len(),
        "expected the same tensors, found {} and {}",
        first.len(),
        second.len()
    );
    let one = |(name, first): (&String, &Tensor)| {
        let second = second.get(name).with_context(|| format!("{name} is in one checkpoint only"))?;
        let first = first.to_dtype(DType::F32)?;
        let step = ((second.to_dtype(DType::F32)? - &first)? * share)?;
        Ok((name.clone(), (first + step)?.to_dtype(DType::F16)?))
    };
    first.iter().map(one).collect()
}

fn weights(folder: &Path) -> Result<HashMap<String, Tensor>> {
    let path = folder.join(WEIGHTS);
    candle_core::safetensors::load(&path, &Device::Cpu).with_context(|| format!("reading {}", path.display()))
}

fn config(folder: &Path) -> Result<Value> {
    let path = folder.join(CONFIG);
    let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_lies_between_by_its_share() -> Result<()> {
        let set = |value: f32| -> Result<_> {
            let tensor = Tensor::new(&[value, -value], &Device::Cpu)?.to_dtype(DType::F16)?;
            Ok(HashMap::from([("a".to_owned(), tensor)]))
        };
        let found = mean(&set(1.0)?, &set(3.0)?, 0.25)?;
        assert_eq!(found["a"].to_dtype(DType::F32)?.to_vec1::<f32>()?, [1.5, -1.5]);
        assert!(mean(&set(1.0)?, &HashMap::new(), 0.5).is_err());
        Ok(())
    }
}

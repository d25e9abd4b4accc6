//! The training run: shards on threads, AdamW, moving average, held-out figures, checkpoints that can be resumed.

use crate::batch::{Shard, grid_of_step};
use crate::export;
use crate::held_out;
use crate::model::{COLOUR_CLASSES, Model, PART_CLASSES, Seen, Sizes};
use crate::ops::with_floats;
use crate::tokenizer::Bpe;
use crate::world::picture_rng;
use anyhow::{Context, Result, anyhow};
use candle_core::{D, DType, Device, Tensor, Var, backprop::GradStore};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tokenizers::Tokenizer;

/// What a run is asked to do.
#[derive(clap::Args, Clone)]
pub struct Options {
    /// Seed of the world, the first weights and the order of everything
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Steps of the whole run, earlier parts of a resumed one counted in
    #[arg(long, default_value_t = 5000)]
    steps: usize,
    /// Minutes of the whole run, earlier parts counted in; it ends with the steps or with these
    #[arg(long, default_value_t = 1e6)]
    minutes: f64,
    /// Pictures a step and thread
    #[arg(long, default_value_t = 16)]
    shard: usize,
    /// Threads, each with a shard of its own
    #[arg(long, default_value_t = 4)]
    threads: usize,
    /// Highest learning rate
    #[arg(long, default_value_t = 1.5e-3)]
    rate: f64,
    /// Steps over which the learning rate rises
    #[arg(long, default_value_t = 200)]
    warm_up: usize,
    /// Weight of the dense term: part and colour of every patch
    #[arg(long, default_value_t = 0.3)]
    dense: f64,
    /// Weight of the ranking term: a true caption above the same with one colour changed
    #[arg(long, default_value_t = 0.5)]
    ranking: f64,
    /// Weight of the pointing term: the evidence for a caption over its rival lies in the part that differs
    #[arg(long, default_value_t = 0.1)]
    pointing: f64,
    /// Steps between held-out figures and checkpoints
    #[arg(long, default_value_t = 250)]
    every: usize,
    /// Where checkpoints go; a run continues from the one that lies there
    #[arg(long)]
    out: PathBuf,
}

const BETAS: (f32, f32) = (0.9, 0.98);
const WEIGHT_DECAY: f32 = 0.05;
const LARGEST_GRADIENT: f32 = 1.0;

/// The optimiser's memory of one variable.
struct Moments {
    first: Vec<f32>,
    second: Vec<f32>,
    average: Vec<f32>,
}

/// A run in progress.
struct Run {
    options: Options,
    model: Model,
    tokenizer: Tokenizer,
    moments: HashMap<String, Moments>,
    step: usize,
    seconds: f64,
}

/// A shard's losses: of the pairs, the dense term, the ranking and the pointing.
#[derive(Clone, Copy, Default)]
struct Losses([f32; 4]);

/// Trains, or goes on training.
pub fn run(options: Options) -> Result<()> {
    std::fs::create_dir_all(&options.out).with_context(|| format!("making {}", options.out.display()))?;
    let mut run = Run::start_or_resume(options)?;
    let started = Instant::now();
    let before = run.seconds;
    let mut recent = Losses::default();
    let mut since = Instant::now();
    while run.progress() < 1.0 {
        let losses = run.advance()?;
        run.seconds = before + started.elapsed().as_secs_f64();
        let keep = if recent.0[0] == 0.0 { 0.0 } else { 0.95 };
        recent
            .0
            .iter_mut()
            .zip(losses.0)
            .for_each(|(recent, new)| *recent = keep * *recent + (1.0 - keep) * new);
        if run.step.is_multiple_of(20) {
            let a_step = since.elapsed().as_secs_f64() / 20.0;
            since = Instant::now();
            let [pairs, dense, ranking, pointing] = recent.0;
            println!(
                "step {}: pairs {pairs:.4}, dense {dense:.3}, ranking {ranking:.4}, pointing {pointing:.3}, \
                 {a_step:.2} s a step, {:.0} s",
                run.step, run.seconds
            );
        }
        if run.step.is_multiple_of(run.options.every) || run.progress() >= 1.0 {
            run.report_and_save()?;
            since = Instant::now();
        }
    }
    Ok(())
}

impl Run {
    fn start_or_resume(options: Options) -> Result<Self> {
        let bpe = Bpe::of_the_grammar();
        let json = bpe.tokenizer_json().to_string();
        let tokenizer = Tokenizer::from_bytes(json.as_bytes()).map_err(|error| anyhow!(error))?;
        let sizes = Sizes::miniature(bpe.len());
        let model = Model::new(sizes, &mut picture_rng(options.seed, u64::MAX))?;
        let mut moments = HashMap::new();
        for (name, var) in &model.vars {
            let n = var.elem_count();
            let average = values(var)?;
            moments.insert(name.clone(), Moments { first: vec![0.0; n], second: vec![0.0; n], average });
        }
        let mut run = Run { options, model, tokenizer, moments, step: 0, seconds: 0.0 };
        if run.state_path().exists() {
            run.resume()?;
        }
        Ok(run)
    }

    fn state_path(&self) -> PathBuf {
        self.options.out.join("state.safetensors")
    }

    fn resume(&mut self) -> Result<()> {
        let path = self.state_path();
        let state = candle_core::safetensors::load(&path, &Device::Cpu)?;
        let read = |name: String| -> Result<Vec<f32>> {
            let tensor = state.get(&name).with_context(|| format!("{} has no {name}", path.display()))?;
            values(tensor)
        };
        for (name, var) in &self.model.vars {
            var.set(&Tensor::from_vec(read(format!("weight.{name}"))?, var.shape(), &Device::Cpu)?)?;
            let moments = self.moments.get_mut(name).context("every variable has moments")?;
            moments.first = read(format!("first.{name}"))?;
            moments.second = read(format!("second.{name}"))?;
            moments.average = read(format!("average.{name}"))?;
        }
        self.step = read("step".to_string())?.first().map_or(0, |&step| step as usize);
        self.seconds = read("seconds".to_string())?.first().map_or(0.0, |&seconds| f64::from(seconds));
        println!("resumed at step {}", self.step);
        Ok(())
    }

    /// One step of the optimiser.
    fn advance(&mut self) -> Result<Losses> {
        let (threads, size) = (self.options.threads, self.options.shard);
        let grid = grid_of_step(self.options.seed, self.step);
        let this = &*self;
        let shard_results: Vec<Result<(Losses, Vec<Vec<f32>>)>> = std::thread::scope(|scope| {
            let spawn = |thread: usize| {
                let from = ((this.step * threads + thread) * size) as u64;
                scope.spawn(move || {
                    let shard = Shard::sample(this.options.seed, from, size, grid, &this.tokenizer);
                    this.gradients(&shard)
                })
            };
            let handles: Vec<_> = (0..threads).map(spawn).collect();
            handles
                .into_iter()
                .map(|handle| handle.join().unwrap_or_else(|_| Err(anyhow!("a thread broke off"))))
                .collect()
        });
        let mut total = Losses::default();
        let mut sums: Vec<Vec<f32>> = Vec::new();
        for result in shard_results {
            let (losses, gradients) = result?;
            total.0.iter_mut().zip(losses.0).for_each(|(total, loss)| *total += loss / threads as f32);
            if sums.is_empty() {
                sums = gradients;
            } else {
                for (sum, gradient) in sums.iter_mut().zip(&gradients) {
                    sum.iter_mut().zip(gradient).for_each(|(sum, value)| *sum += value);
                }
            }
        }
        self.step += 1;
        self.update(&sums)?;
        Ok(total)
    }

    /// Losses of a shard and its gradients in the order of the model's variables.
    fn gradients(&self, shard: &Shard) -> Result<(Losses, Vec<Vec<f32>>)> {
        let terms = losses(&self.model, shard)?;
        let mut read = Losses::default();
        let weights = [1.0, self.options.dense, self.options.ranking, self.options.pointing];
        let mut total = Tensor::zeros((), DType::F32, &Device::Cpu)?;
        for (position, (term, weight)) in terms.iter().zip(weights).enumerate() {
            read.0[position] = term.to_scalar()?;
            total = (total + (term * weight)?)?;
        }
        let grads: GradStore = total.backward()?;
        let gradient = |var: &Var| match grads.get(var) {
            Some(gradient) => values(gradient),
            None => Ok(vec![0.0; var.elem_count()]),
        };
        let gradients: Result<Vec<Vec<f32>>> = self.model.vars.values().map(gradient).collect();
        Ok((read, gradients?))
    }

    /// How far the run is, 0 to 1, by steps or by time, whichever is further.
    fn progress(&self) -> f64 {
        let by_steps = self.step as f64 / self.options.steps as f64;
        by_steps.max(self.seconds / (60.0 * self.options.minutes))
    }

    /// The learning rate: a straight rise, then half a cosine down to a fiftieth.
    fn rate(&self) -> f32 {
        let warm = (self.step as f64 / self.options.warm_up as f64).min(1.0);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * self.progress().min(1.0)).cos());
        (self.options.rate * warm * (0.02 + 0.98 * cosine)) as f32
    }

    /// AdamW over the clipped mean of the shards' gradients, and the moving average of the weights.
    fn update(&mut self, sums: &[Vec<f32>]) -> Result<()> {
        let threads = self.options.threads as f32;
        let norm =
            sums.iter().flatten().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt() as f32 / threads;
        let shrink = (LARGEST_GRADIENT / norm.max(1e-12)).min(1.0) / threads;
        let (rate, step) = (self.rate(), self.step as i32);
        let unbias = (1.0 - BETAS.0.powi(step), 1.0 - BETAS.1.powi(step));
        let keep = 0.998f32.min(self.step as f32 / (self.step as f32 + 10.0));
        for ((name, var), gradient) in self.model.vars.iter().zip(sums) {
            let decay = if var.rank() >= 2 { WEIGHT_DECAY * rate } else { 0.0 };
            let mut weights = values(var)?;
            let moments = self.moments.get_mut(name).context("every variable has moments")?;
            for (position, weight) in weights.iter_mut().enumerate() {
                let gradient = gradient[position] * shrink;
                let first = &mut moments.first[position];
                *first = BETAS.0 * *first + (1.0 - BETAS.0) * gradient;
                let second = &mut moments.second[position];
                *second = BETAS.1 * *second + (1.0 - BETAS.1) * gradient * gradient;
                let change = (*first / unbias.0) / ((*second / unbias.1).sqrt() + 1e-8);
                *weight -= rate * change + decay * *weight;
                let average = &mut moments.average[position];
                *average = keep * *average + (1.0 - keep) * *weight;
            }
            var.set(&Tensor::from_vec(weights, var.shape(), &Device::Cpu)?)?;
        }
        Ok(())
    }

    /// A model with the moving averages as weights.
    fn averaged(&self) -> Result<Model> {
        let mut vars = std::collections::BTreeMap::new();
        for (name, var) in &self.model.vars {
            let average = &self.moments.get(name).context("every variable has moments")?.average;
            let tensor = Tensor::from_slice(average, var.shape(), &Device::Cpu)?;
            vars.insert(name.clone(), Var::from_tensor(&tensor)?);
        }
        Ok(Model { sizes: self.model.sizes, vars })
    }

    fn report_and_save(&self) -> Result<()> {
        let averaged = self.averaged()?;
        let figures = held_out::measure(&averaged, &self.tokenizer, self.options.seed + 1, 256)?;
        println!("held out at step {}: {figures}", self.step);
        export::write(&averaged, &Bpe::of_the_grammar(), &self.options.out.join("hf"))?;
        self.save()
    }

    fn save(&self) -> Result<()> {
        let mut state = HashMap::new();
        for (name, var) in &self.model.vars {
            let moments = self.moments.get(name).context("every variable has moments")?;
            state.insert(format!("weight.{name}"), var.as_tensor().clone());
            for (kind, values) in
                [("first", &moments.first), ("second", &moments.second), ("average", &moments.average)]
            {
                state
                    .insert(format!("{kind}.{name}"), Tensor::from_slice(values, var.shape(), &Device::Cpu)?);
            }
        }
        state.insert("step".to_string(), Tensor::new(&[self.step as f32], &Device::Cpu)?);
        state.insert("seconds".to_string(), Tensor::new(&[self.seconds as f32], &Device::Cpu)?);
        save_whole(&state, &self.state_path())
    }
}

/// Writes under another name first, so that a broken-off run leaves the earlier state.
pub fn save_whole(tensors: &HashMap<String, Tensor>, path: &Path) -> Result<()> {
    let unfinished = path.with_extension("unfinished");
    candle_core::safetensors::save(tensors, &unfinished)?;
    std::fs::rename(&unfinished, path).with_context(|| format!("writing {}", path.display()))
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(with_floats(tensor, |values| Ok(values.to_vec()))?)
}

/// log(1 + e^x) without overflow.
fn softplus(x: &Tensor) -> candle_core::Result<Tensor> {
    x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?
}

/// The pairwise sigmoid loss of all pictures and captions, the dense term, the ranking and the pointing.
fn losses(model: &Model, shard: &Shard) -> Result<[Tensor; 4]> {
    let n_patches = shard.grid.0 * shard.grid.1;
    let shape = (shard.n_pictures, n_patches, 3 * model.sizes.patch * model.sizes.patch);
    let seen = model.see(&Tensor::from_slice(&shard.patches, shape, &Device::Cpu)?, shard.grid)?;
    let texts = model.read(&shard.ids, &shard.ends)?;
    let shape = (shard.n_pictures, shard.ids.len());
    let signs = Tensor::from_slice(&shard.signs, shape, &Device::Cpu)?;
    let weights = Tensor::from_slice(&shard.weights, shape, &Device::Cpu)?;
    let logits = model.logits(&seen.embeddings, &texts)?;
    let pairs = (softplus(&(&logits * signs)?.neg()?)? * weights)?.sum_all()?;
    let dense = dense_loss(&model.dense(&seen.activations)?, shard)?;
    Ok([pairs, dense, ranking_loss(&logits, shard)?, pointing_loss(model, &seen, &texts, shard)?])
}

fn rows_of(rows: impl Iterator<Item = usize>) -> candle_core::Result<Tensor> {
    let rows: Vec<u32> = rows.map(|row| row as u32).collect();
    let n = rows.len();
    Tensor::from_vec(rows, n, &Device::Cpu)
}

/// The mean of log(1 + e^(rival - caption)) over the shard's rivals.
fn ranking_loss(logits: &Tensor, shard: &Shard) -> Result<Tensor> {
    if shard.rivals.is_empty() {
        return Ok(Tensor::zeros((), DType::F32, &Device::Cpu)?);
    }
    let (n, flat) = (shard.ids.len(), logits.flatten_all()?);
    let captions = rows_of(shard.rivals.iter().map(|rivals| rivals.picture * n + rivals.caption))?;
    let others = rows_of(shard.rivals.iter().map(|rivals| rivals.picture * n + rivals.rival))?;
    let lead = (flat.index_select(&others, 0)? - flat.index_select(&captions, 0)?)?;
    Ok(softplus(&lead)?.mean_all()?)
}

/// How much of the rivals that the pointing term subtracts: between the program's default strength and all.
const STRENGTH: f64 = 0.8;

/// The mean over questions of -log(share of the contrasted map's positive evidence that lies in the part).
fn pointing_loss(model: &Model, seen: &Seen, texts: &Tensor, shard: &Shard) -> Result<Tensor> {
    if shard.asked.is_empty() {
        return Ok(Tensor::zeros((), DType::F32, &Device::Cpu)?);
    }
    let pictures = rows_of(shard.asked.iter().map(|(rivals, _)| rivals.picture))?;
    let captions = rows_of(shard.asked.iter().map(|(rivals, _)| rivals.caption))?;
    let others = rows_of(shard.asked.iter().map(|(rivals, _)| rivals.rival))?;
    let texts = texts.detach();
    let directions = (texts.index_select(&captions, 0)? - (texts.index_select(&others, 0)? * STRENGTH)?)?;
    let class = seen.class.index_select(&pictures, 0)?;
    let map = model.evidence(&class, &seen.activations.index_select(&pictures, 0)?, &directions)?;
    let shares: Vec<f32> = shard.asked.iter().flat_map(|(_, shares)| shares.iter().copied()).collect();
    let shares = Tensor::from_vec(shares, map.shape(), &Device::Cpu)?;
    let positive = map.relu()?;
    let inside = ((&positive * shares)?.sum(1)? + 1e-4)?;
    let all = (positive.sum(1)? + 1e-3)?;
    Ok((all.log()? - inside.log()?)?.mean_all()?)
}

/// Cross entropies of part and colour, each a mean over the patches that it applies to.
fn dense_loss(scores: &Tensor, shard: &Shard) -> Result<Tensor> {
    let n = shard.parts.len();
    let on_bird = shard.parts.iter().filter(|&&part| part > 0).count().max(1) as f32;
    let (mut part_targets, mut colour_targets) = (vec![0.0; n * PART_CLASSES], vec![0.0; n * COLOUR_CLASSES]);
    for patch in 0..n {
        part_targets[patch * PART_CLASSES + shard.parts[patch] as usize] = -1.0 / n as f32;
        if shard.parts[patch] > 0 {
            colour_targets[patch * COLOUR_CLASSES + shard.colours[patch] as usize] = -1.0 / on_bird;
        }
    }
    let entropy = |from: usize, classes: usize, targets: Vec<f32>| -> candle_core::Result<Tensor> {
        let logs = candle_nn::ops::log_softmax(&scores.narrow(1, from, classes)?, D::Minus1)?;
        (logs * Tensor::from_vec(targets, (n, classes), &Device::Cpu)?)?.sum_all()
    };
    let parts = entropy(0, PART_CLASSES, part_targets)?;
    Ok((parts + entropy(PART_CLASSES, COLOUR_CLASSES, colour_targets)?)?)
}

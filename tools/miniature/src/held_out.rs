//! Held-out figures while the training runs: does the true caption win, and do the maps point at the part?
//!
//! The maps here come from autograd through the training's own network and are judged on the patch grid; the
//! program's `evaluate` is the measure that counts.

use crate::batch::{Example, Pointed, encode, patchify_exactly, pointed};
use crate::model::Model;
use crate::world::picture_rng;
use anyhow::Result;
use candle_core::{D, Device, Tensor, Var};
use std::fmt;
use tokenizers::Tokenizer;

/// Share of pictures whose best patch lies in the part, and mean share of positive evidence in it.
#[derive(Clone, Copy, Default)]
struct Pointing {
    hits: f32,
    energy: f32,
}

/// What was measured.
pub struct Figures {
    pictures: usize,
    true_wins: f32,
    present_found: f32,
    absent_found: f32,
    /// Plain, contrasted at strength 0.6, and at 1; first Grad-CAM, then HiResCAM.
    maps: [[Pointing; 3]; 2],
}

const STRENGTHS: [f32; 3] = [0.0, 0.6, 1.0];

/// Measures on pictures of a seed that is not trained on.
pub fn measure(model: &Model, tokenizer: &Tokenizer, seed: u64, n_pictures: usize) -> Result<Figures> {
    let (mut examples, mut questions) = (Vec::new(), Vec::new());
    let mut index = 0;
    while examples.len() < n_pictures {
        let mut rng = picture_rng(seed, index);
        index += 1;
        let example = Example::sample(&mut rng, (12, 12));
        if let Some(question) = pointed(&mut rng, &example) {
            examples.push(example);
            questions.push(question);
        }
    }
    let mut figures = Figures {
        pictures: n_pictures,
        true_wins: 0.0,
        present_found: 0.0,
        absent_found: 0.0,
        maps: Default::default(),
    };
    for (examples, questions) in examples.chunks(32).zip(questions.chunks(32)) {
        figures.add(model, tokenizer, examples, questions)?;
    }
    Ok(figures)
}

impl Figures {
    fn add(
        &mut self,
        model: &Model,
        tokenizer: &Tokenizer,
        examples: &[Example],
        questions: &[Pointed],
    ) -> Result<()> {
        let share = 1.0 / self.pictures as f32;
        let patches: Vec<f32> =
            examples.iter().flat_map(|example| patchify_exactly(&example.picture)).collect();
        let patches = Tensor::from_vec(patches, (examples.len(), 144, 192), &Device::Cpu)?;
        let trunk = model.trunk(&patches, (12, 12))?.detach();
        let class = trunk.narrow(1, 0, 1)?.contiguous()?;
        let activations = Var::from_tensor(&model.activations(&trunk)?.detach())?;
        let pictures = model.head(&class, activations.as_tensor())?;
        let text_of = |rival: bool| -> Result<Tensor> {
            let pick =
                |question: &Pointed| if rival { question.rival.text() } else { question.caption.text() };
            let (ids, ends) = encode(tokenizer, &questions.iter().map(pick).collect::<Vec<_>>());
            Ok(model.read(&ids, &ends)?.detach())
        };
        let mut maps = Vec::new();
        let mut logits = Vec::new();
        for texts in [text_of(false)?, text_of(true)?] {
            let scale = model.get("logit_scale")?.exp()?.detach();
            let z = (&pictures * &texts)?.sum(D::Minus1)?.broadcast_mul(&scale)?;
            let grads = z.sum_all()?.backward()?;
            let gradient =
                grads.get(&activations).ok_or_else(|| anyhow::anyhow!("the head is not connected"))?;
            maps.push(signed_maps(activations.as_tensor(), gradient)?);
            logits.push(z.broadcast_add(model.get("logit_bias")?)?.to_vec1::<f32>()?);
        }
        for number in 0..examples.len() {
            let (truth, rival) = (logits[0][number], logits[1][number]);
            self.true_wins += if truth > rival { share } else { 0.0 };
            self.present_found += if truth > 0.0 { share } else { 0.0 };
            self.absent_found += if rival < 0.0 { share } else { 0.0 };
            for (method, columns) in self.maps.iter_mut().enumerate() {
                let (target, other) = (&maps[0][method][number], &maps[1][method][number]);
                for (column, strength) in columns.iter_mut().zip(STRENGTHS) {
                    let map: Vec<f32> = target.iter().zip(other).map(|(t, o)| t - strength * o).collect();
                    column.add(&map, &examples[number], &questions[number], share);
                }
            }
        }
        Ok(())
    }
}

/// Grad-CAM's and HiResCAM's maps before any rectification, `[method][picture][patch]`.
fn signed_maps(activations: &Tensor, gradient: &Tensor) -> Result<[Vec<Vec<f32>>; 2]> {
    let n_patches = activations.dim(1)? - 1;
    let (a, g) = (activations.detach().narrow(1, 1, n_patches)?, gradient.narrow(1, 1, n_patches)?);
    let grad_cam = a.broadcast_mul(&g.mean_keepdim(1)?)?.sum(D::Minus1)?;
    let hires_cam = (a * g)?.sum(D::Minus1)?;
    Ok([grad_cam.to_vec2()?, hires_cam.to_vec2()?])
}

impl Pointing {
    fn add(&mut self, map: &[f32], example: &Example, question: &Pointed, share: f32) {
        let picture = &example.picture;
        let inside = |y: usize, x: usize| question.labels.contains(&picture.labels[y * picture.width + x]);
        let (mut best, mut in_part, mut total) = (0, 0.0, 0.0);
        for (patch, &value) in map.iter().enumerate() {
            if value > map[best] {
                best = patch;
            }
            let (top, left) = (patch / 12 * 8, patch % 12 * 8);
            let covered = (0..64).filter(|place| inside(top + place / 8, left + place % 8)).count();
            total += value.max(0.0);
            in_part += value.max(0.0) * covered as f32 / 64.0;
        }
        let (top, left) = (best / 12 * 8, best % 12 * 8);
        let hit = inside(top + 3, left + 3) || inside(top + 4, left + 4);
        self.hits += if hit { share } else { 0.0 };
        self.energy += if total > 0.0 { share * in_part / total } else { 0.0 };
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "true caption wins {:.3}, present {:.3}, absent {:.3}",
            self.true_wins, self.present_found, self.absent_found
        )?;
        for (name, maps) in ["grad-cam", "hires-cam"].iter().zip(&self.maps) {
            write!(out, "; {name}")?;
            for (strength, pointing) in STRENGTHS.iter().zip(maps) {
                write!(out, " [{strength}: hit {:.3}, energy {:.3}]", pointing.hits, pointing.energy)?;
            }
        }
        Ok(())
    }
}

//! The trainable CLIP: two small transformers over candle variables, the same mathematics as Hugging Face's CLIP.

use crate::ops::{Attention, layer_norm, linear, quick_gelu};
use candle_core::{D, DType, Device, Result, Tensor, Var};
use rand::Rng;
use rand_distr_normal::normal;
use std::collections::BTreeMap;

/// Sizes of the network.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Pixels a side of the square picture.
    pub image: usize,
    /// Pixels a side of a patch.
    pub patch: usize,
    /// Width of both towers and of the embedding.
    pub width: usize,
    /// Attention heads of both towers.
    pub heads: usize,
    /// Blocks of the picture's tower.
    pub vision_blocks: usize,
    /// Blocks of the text's tower.
    pub text_blocks: usize,
    /// Longest text in tokens.
    pub context: usize,
    /// Number of token ids.
    pub vocabulary: usize,
}

impl Sizes {
    /// The miniature's sizes for a tokenizer of this many ids.
    pub fn miniature(vocabulary: usize) -> Self {
        Sizes {
            image: 96,
            patch: 8,
            width: 128,
            heads: 4,
            vision_blocks: 4,
            text_blocks: 2,
            context: 32,
            vocabulary,
        }
    }

    /// Patches a side of the square picture.
    pub fn grid(&self) -> usize {
        self.image / self.patch
    }
}

/// Classes of the dense term: eight parts and the backdrop, then ten colours.
pub const PART_CLASSES: usize = 9;
/// See [`PART_CLASSES`].
pub const COLOUR_CLASSES: usize = 10;

/// The network's variables by name; names are those of Hugging Face's CLIP, with queries, keys and values stacked.
pub struct Model {
    /// Sizes that the variables have.
    pub sizes: Sizes,
    /// The variables in the alphabet's order, which is also the optimiser's.
    pub vars: BTreeMap<String, Var>,
}

/// A picture seen by the trunk.
pub struct Seen {
    /// Unit vectors, `[batch, width]`.
    pub embeddings: Tensor,
    /// The last block's `layer_norm1` output, `[batch, 1 + patches, width]`.
    pub activations: Tensor,
    /// The class token's stream before the last block, `[batch, 1, width]`.
    pub class: Tensor,
}

mod rand_distr_normal {
    //! A normal variate by Box and Muller's method, for the first values of the weights.
    use rand::Rng;

    /// One value of mean 0 and deviation 1.
    pub fn normal(rng: &mut impl Rng) -> f32 {
        let (a, b): (f32, f32) = (rng.random_range(f32::EPSILON..1.0), rng.random());
        (-2.0 * a.ln()).sqrt() * (std::f32::consts::TAU * b).cos()
    }
}

impl Model {
    /// Draws lots for the first weights, scaled as CLIP's are.
    pub fn new(sizes: Sizes, rng: &mut impl Rng) -> Result<Self> {
        let mut maker = Maker { vars: BTreeMap::new(), rng };
        let (width, tokens) = (sizes.width, 1 + sizes.grid() * sizes.grid());
        let pixels = 3 * sizes.patch * sizes.patch;
        let usual = (width as f32).powf(-0.5);
        maker.normal("vision_model.embeddings.class_embedding", &[width], usual)?;
        maker.normal(
            "vision_model.embeddings.patch_embedding.weight",
            &[width, pixels],
            (pixels as f32).powf(-0.5),
        )?;
        maker.normal("vision_model.embeddings.position_embedding.weight", &[tokens, width], usual)?;
        maker.norm("vision_model.pre_layrnorm", width)?;
        maker.tower("vision_model", sizes.vision_blocks, width)?;
        maker.norm("vision_model.post_layernorm", width)?;
        maker.normal("visual_projection.weight", &[width, width], usual)?;
        maker.normal("text_model.embeddings.token_embedding.weight", &[sizes.vocabulary, width], 0.05)?;
        maker.normal("text_model.embeddings.position_embedding.weight", &[sizes.context, width], 0.02)?;
        maker.tower("text_model", sizes.text_blocks, width)?;
        maker.norm("text_model.final_layer_norm", width)?;
        maker.normal("text_projection.weight", &[width, width], usual)?;
        maker.constant("logit_scale", &[], 10f32.ln())?;
        maker.constant("logit_bias", &[], -3.0)?;
        maker.normal("dense.weight", &[PART_CLASSES + COLOUR_CLASSES, width], 0.02)?;
        maker.constant("dense.bias", &[PART_CLASSES + COLOUR_CLASSES], 0.0)?;
        Ok(Model { sizes, vars: maker.vars })
    }

    /// A variable as a tensor.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        match self.vars.get(name) {
            Some(var) => Ok(var.as_tensor()),
            None => candle_core::bail!("the model has no variable {name}"),
        }
    }

    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        layer_norm(x, self.get(&format!("{name}.weight"))?, self.get(&format!("{name}.bias"))?)
    }

    fn linear(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        linear(x, self.get(&format!("{name}.weight"))?, self.get(&format!("{name}.bias"))?)
    }

    /// The block's second half and the first half's residual, for tokens `x` and what attention gathered for them.
    fn finish_block(&self, x: &Tensor, gathered: &Tensor, name: &str) -> Result<Tensor> {
        let x = (x + self.linear(gathered, &format!("{name}.self_attn.out_proj"))?)?;
        let hidden =
            self.linear(&self.norm(&x, &format!("{name}.layer_norm2"))?, &format!("{name}.mlp.fc1"))?;
        x + self.linear(&quick_gelu(&hidden)?, &format!("{name}.mlp.fc2"))?
    }

    fn block(&self, x: &Tensor, name: &str, attention: Attention) -> Result<Tensor> {
        let normal = self.norm(x, &format!("{name}.layer_norm1"))?;
        let gathered = attention.apply(&self.linear(&normal, &format!("{name}.self_attn.qkv"))?)?;
        self.finish_block(x, &gathered, name)
    }

    /// The token stream before the last block.
    ///
    /// # Shapes
    /// `patches: [batch, rows · columns, 3 · patch²]`, each value 0 to 1 brought to mean 0 by the caller; result
    /// `[batch, 1 + rows · columns, width]`.
    pub fn trunk(&self, patches: &Tensor, (rows, columns): (usize, usize)) -> Result<Tensor> {
        let (batch, n_patches, pixels) = patches.dims3()?;
        let width = self.sizes.width;
        let weight = self.get("vision_model.embeddings.patch_embedding.weight")?;
        let embedded = patches.reshape((batch * n_patches, pixels))?.matmul(&weight.t()?)?;
        let embedded = embedded.reshape((batch, n_patches, width))?;
        let class = self.get("vision_model.embeddings.class_embedding")?.broadcast_as((batch, 1, width))?;
        let x = Tensor::cat(&[&class.contiguous()?, &embedded], 1)?;
        let x = x.broadcast_add(&self.positions(rows, columns)?)?;
        let mut x = self.norm(&x, "vision_model.pre_layrnorm")?;
        let attention = Attention { heads: self.sizes.heads, causal: false, queries: 1 + n_patches };
        for block in 0..self.sizes.vision_blocks - 1 {
            x = self.block(&x, &format!("vision_model.encoder.layers.{block}"), attention)?;
        }
        Ok(x)
    }

    /// The last block's first norm, `[batch, tokens, width]`.
    pub fn activations(&self, x: &Tensor) -> Result<Tensor> {
        self.norm(x, &format!("vision_model.encoder.layers.{}.layer_norm1", self.sizes.vision_blocks - 1))
    }

    /// What follows the last block's first norm, for the class token alone.
    ///
    /// # Shapes
    /// `class: [batch, 1, width]` is the class token's residual stream, `activations: [batch, tokens, width]`;
    /// result `[batch, width]`, unit vectors.
    pub fn head(&self, class: &Tensor, activations: &Tensor) -> Result<Tensor> {
        let name = format!("vision_model.encoder.layers.{}", self.sizes.vision_blocks - 1);
        let attention = Attention { heads: self.sizes.heads, causal: false, queries: 1 };
        let gathered = attention.apply(&self.linear(activations, &format!("{name}.self_attn.qkv"))?)?;
        self.leave(class, &gathered)
    }

    /// From what the last attention gathered for the class token to unit vectors.
    fn leave(&self, class: &Tensor, gathered: &Tensor) -> Result<Tensor> {
        let name = format!("vision_model.encoder.layers.{}", self.sizes.vision_blocks - 1);
        let class = self.finish_block(class, gathered, &name)?.squeeze(1)?;
        let class = self.norm(&class, "vision_model.post_layernorm")?;
        unit(&class.matmul(&self.get("visual_projection.weight")?.t()?)?)
    }

    /// HiResCAM's map of `embedding · directions` for every picture, with a graph to the last block's queries, keys
    /// and values; the gradient that reaches the gathered values counts as constant.
    ///
    /// # Shapes
    /// `class: [batch, 1, width]`, `activations: [batch, 1 + patches, width]`, `directions: [batch, width]`, result
    /// `[batch, patches]`.
    pub fn evidence(&self, class: &Tensor, activations: &Tensor, directions: &Tensor) -> Result<Tensor> {
        let (batch, tokens, width) = activations.dims3()?;
        let (heads, size) = (self.sizes.heads, width / self.sizes.heads);
        let name = format!("vision_model.encoder.layers.{}", self.sizes.vision_blocks - 1);
        let qkv = self.linear(activations, &format!("{name}.self_attn.qkv"))?;
        let bias = self.get(&format!("{name}.self_attn.qkv.bias"))?;
        let by_head = |block: usize, n: usize| -> Result<[Tensor; 2]> {
            let part = qkv.narrow(1, 0, n)?.narrow(2, block * width, width)?;
            let unbiased = part.broadcast_sub(&bias.narrow(0, block * width, width)?)?;
            Ok([part.reshape((batch, n, heads, size))?, unbiased.reshape((batch, n, heads, size))?])
        };
        let ([query, _], [keys, plain_keys], [values, plain_values]) =
            (by_head(0, 1)?, by_head(1, tokens)?, by_head(2, tokens)?);
        let scale = (size as f64).powf(-0.5);
        let along = |rows: &Tensor, direction: &Tensor| rows.broadcast_mul(direction)?.sum(D::Minus1);
        let attention = candle_nn::ops::softmax(&(along(&keys, &query)? * scale)?, 1)?;
        let gathered =
            values.broadcast_mul(&attention.unsqueeze(D::Minus1)?)?.sum(1)?.reshape((batch, 1, width))?;
        let slopes = self.slopes(class, &gathered, directions)?.reshape((batch, 1, heads, size))?;
        let along_values = along(&values, &slopes)?;
        let mean = (&attention * &along_values)?.sum_keepdim(1)?;
        let by_values = (&attention * along(&plain_values, &slopes)?)?;
        let by_keys =
            ((&attention * along_values.broadcast_sub(&mean)?)? * (along(&plain_keys, &query)? * scale)?)?;
        (by_values + by_keys)?.sum(2)?.narrow(1, 1, tokens - 1)
    }

    /// The gradient of `embedding · directions` at what the class token gathered, cut from the graph.
    fn slopes(&self, class: &Tensor, gathered: &Tensor, directions: &Tensor) -> Result<Tensor> {
        let gathered = Var::from_tensor(&gathered.detach())?;
        let embedding = self.leave(&class.detach(), gathered.as_tensor())?;
        let grads = (embedding * directions.detach())?.sum_all()?.backward()?;
        match grads.get(&gathered) {
            Some(slopes) => Ok(slopes.clone()),
            None => candle_core::bail!("the head is not connected to what attention gathered"),
        }
    }

    /// Pictures to unit vectors.
    pub fn see(&self, patches: &Tensor, grid: (usize, usize)) -> Result<Seen> {
        let x = self.trunk(patches, grid)?;
        let activations = self.activations(&x)?;
        let class = x.narrow(1, 0, 1)?.contiguous()?;
        Ok(Seen { embeddings: self.head(&class, &activations)?, activations, class })
    }

    /// Part and colour scores of every patch, `[batch · patches, 9 + 10]`, for the dense term of the training.
    pub fn dense(&self, activations: &Tensor) -> Result<Tensor> {
        let (batch, tokens, width) = activations.dims3()?;
        let patches = activations.narrow(1, 1, tokens - 1)?.contiguous()?;
        self.linear(&patches.reshape((batch * (tokens - 1), width))?, "dense")
    }

    /// Texts to unit vectors, `[texts, width]`. Every row of `ids` is padded to the same length behind its end
    /// token, whose place `ends` gives.
    pub fn read(&self, ids: &[Vec<u32>], ends: &[u32]) -> Result<Tensor> {
        let (texts, tokens, width) = (ids.len(), ids.first().map_or(0, Vec::len), self.sizes.width);
        let flat: Vec<u32> = ids.iter().flatten().copied().collect();
        let flat = Tensor::from_vec(flat, texts * tokens, &Device::Cpu)?;
        let x = self.get("text_model.embeddings.token_embedding.weight")?.index_select(&flat, 0)?;
        let positions = self.get("text_model.embeddings.position_embedding.weight")?.narrow(0, 0, tokens)?;
        let mut x = x.reshape((texts, tokens, width))?.broadcast_add(&positions)?;
        let attention = Attention { heads: self.sizes.heads, causal: true, queries: tokens };
        for block in 0..self.sizes.text_blocks {
            x = self.block(&x, &format!("text_model.encoder.layers.{block}"), attention)?;
        }
        let rows: Vec<u32> = ends.iter().enumerate().map(|(row, end)| (row * tokens) as u32 + end).collect();
        let rows = Tensor::from_vec(rows, texts, &Device::Cpu)?;
        let last = x.reshape((texts * tokens, width))?.index_select(&rows, 0)?;
        let last = self.norm(&last, "text_model.final_layer_norm")?;
        unit(&last.matmul(&self.get("text_projection.weight")?.t()?)?)
    }

    /// `scale · cosine + bias` for every picture and text, `[pictures, texts]`.
    pub fn logits(&self, pictures: &Tensor, texts: &Tensor) -> Result<Tensor> {
        let cosines = pictures.matmul(&texts.t()?)?;
        cosines.broadcast_mul(&self.get("logit_scale")?.exp()?)?.broadcast_add(self.get("logit_bias")?)
    }

    /// Position embeddings for a grid: the trained ones, or interpolated as transformers does it.
    fn positions(&self, rows: usize, columns: usize) -> Result<Tensor> {
        let table = self.get("vision_model.embeddings.position_embedding.weight")?;
        let grid = self.sizes.grid();
        if (rows, columns) == (grid, grid) {
            return Ok(table.clone());
        }
        let mix =
            Tensor::from_vec(bicubic(grid, rows, columns), (rows * columns, grid * grid), &Device::Cpu)?;
        let patches = mix.matmul(&table.narrow(0, 1, grid * grid)?)?;
        Tensor::cat(&[&table.narrow(0, 0, 1)?, &patches], 0)
    }
}

/// Vectors of length 1.
fn unit(x: &Tensor) -> Result<Tensor> {
    x.broadcast_div(&x.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?)
}

/// The matrix `[rows · columns, grid²]` of bicubic resizing (a = -0.75, half-pixel centres, edges repeated).
fn bicubic(grid: usize, rows: usize, columns: usize) -> Vec<f32> {
    let (down, across) = (bicubic_line(grid, rows), bicubic_line(grid, columns));
    let mut mix = Vec::with_capacity(rows * columns * grid * grid);
    for vertical in &down {
        for horizontal in &across {
            mix.extend(vertical.iter().flat_map(|v| horizontal.iter().map(move |h| v * h)));
        }
    }
    mix
}

fn bicubic_line(from: usize, to: usize) -> Vec<Vec<f32>> {
    const A: f32 = -0.75;
    let near = |t: f32| ((A + 2.0) * t - (A + 3.0)) * t * t + 1.0;
    let far = |t: f32| ((A * t - 5.0 * A) * t + 8.0 * A) * t - 4.0 * A;
    let mut lines = vec![vec![0.0; from]; to];
    for (target, line) in lines.iter_mut().enumerate() {
        let source = (target as f32 + 0.5) * from as f32 / to as f32 - 0.5;
        let (base, t) = (source.floor(), source - source.floor());
        for (step, weight) in
            [(-1.0, far(t + 1.0)), (0.0, near(t)), (1.0, near(1.0 - t)), (2.0, far(2.0 - t))]
        {
            let place = (base + step).clamp(0.0, (from - 1) as f32) as usize;
            line[place] += weight;
        }
    }
    lines
}

/// Makes variables under their names.
struct Maker<'a, R: Rng> {
    vars: BTreeMap<String, Var>,
    rng: &'a mut R,
}

impl<R: Rng> Maker<'_, R> {
    fn add(&mut self, name: &str, shape: &[usize], values: Vec<f32>) -> Result<()> {
        let var = Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(DType::F32)?)?;
        self.vars.insert(name.to_string(), var);
        Ok(())
    }

    fn constant(&mut self, name: &str, shape: &[usize], value: f32) -> Result<()> {
        self.add(name, shape, vec![value; shape.iter().product()])
    }

    fn normal(&mut self, name: &str, shape: &[usize], deviation: f32) -> Result<()> {
        let n: usize = shape.iter().product();
        let values = (0..n).map(|_| deviation * normal(self.rng)).collect();
        self.add(name, shape, values)
    }

    fn norm(&mut self, name: &str, width: usize) -> Result<()> {
        self.constant(&format!("{name}.weight"), &[width], 1.0)?;
        self.constant(&format!("{name}.bias"), &[width], 0.0)
    }

    fn linear(&mut self, name: &str, outputs: usize, inputs: usize, deviation: f32) -> Result<()> {
        self.normal(&format!("{name}.weight"), &[outputs, inputs], deviation)?;
        self.constant(&format!("{name}.bias"), &[outputs], 0.0)
    }

    fn tower(&mut self, tower: &str, blocks: usize, width: usize) -> Result<()> {
        let usual = (width as f32).powf(-0.5);
        let into_stream = usual * (2.0 * blocks as f32).powf(-0.5);
        for block in 0..blocks {
            let name = format!("{tower}.encoder.layers.{block}");
            self.norm(&format!("{name}.layer_norm1"), width)?;
            self.norm(&format!("{name}.layer_norm2"), width)?;
            self.linear(&format!("{name}.self_attn.qkv"), 3 * width, width, usual)?;
            self.linear(&format!("{name}.self_attn.out_proj"), width, width, into_stream)?;
            self.linear(&format!("{name}.mlp.fc1"), 4 * width, width, usual * 0.5f32.sqrt())?;
            self.linear(&format!("{name}.mlp.fc2"), width, 4 * width, into_stream)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::picture_rng;

    #[test]
    fn the_pointing_terms_map_is_hires_cam_by_autograd() {
        let sizes = Sizes { context: 8, ..Sizes::miniature(20) };
        let mut rng = picture_rng(1, 0);
        let model = Model::new(sizes, &mut rng).unwrap();
        let random = |shape: (usize, usize, usize), rng: &mut _| {
            let values: Vec<f32> = (0..shape.0 * shape.1 * shape.2).map(|_| normal(rng)).collect();
            Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
        };
        let trunk = model.trunk(&random((2, 144, 192), &mut rng), (12, 12)).unwrap().detach();
        let class = trunk.narrow(1, 0, 1).unwrap().contiguous().unwrap();
        let activations = Var::from_tensor(&model.activations(&trunk).unwrap().detach()).unwrap();
        let directions = random((1, 2, sizes.width), &mut rng).squeeze(0).unwrap();
        let value =
            (model.head(&class, activations.as_tensor()).unwrap() * &directions).unwrap().sum_all().unwrap();
        let grads = value.backward().unwrap();
        let expected = (activations.as_tensor() * grads.get(&activations).unwrap()).unwrap();
        let expected = expected.sum(D::Minus1).unwrap().narrow(1, 1, 144).unwrap();
        let found = model.evidence(&class, activations.as_tensor(), &directions).unwrap();
        let size = expected.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap().sqrt();
        let off =
            (found - expected).unwrap().sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap().sqrt();
        assert!(off < 1e-4 * size, "{off} of {size}");
    }

    #[test]
    fn interpolated_positions_are_weighted_means() {
        for row in bicubic(12, 10, 14).chunks_exact(144) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }
}

//! The training's own differentiable operations, each with a hand-written backward pass.
//!
//! candle's fused layer norm and softmax have no backward pass and its composed ones make many passes over memory.
//! These are fused, work on contiguous float32 on the CPU, and are checked against finite differences below. Every
//! one stays on its calling thread: the training runs one shard of a batch per thread.
#![allow(unsafe_code)]

use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Result, Shape, Storage, Tensor, bail};

/// A read-only matrix inside a slice: `at(row, column)` is `data[row * row_stride + column * column_stride]`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    strides: (usize, usize),
}

impl<'a> Matrix<'a> {
    /// Rows of `columns` values that begin `row_stride` values apart.
    pub fn rows(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        Matrix { data, rows, columns, strides: (row_stride, 1) }
    }

    /// Rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Matrix { rows: self.columns, columns: self.rows, strides: (self.strides.1, self.strides.0), ..self }
    }
}

/// Sets `out` (rows `out_stride` apart) to `keep · out + scale · left · right`.
fn product(out: &mut [f32], out_stride: usize, keep: bool, scale: f32, left: Matrix, right: Matrix) {
    let reach = |rows: usize, columns: usize, strides: (usize, usize)| {
        (rows.saturating_sub(1)) * strides.0 + columns.saturating_sub(1) * strides.1
    };
    assert_eq!(left.columns, right.rows);
    assert!(left.rows > 0 && left.columns > 0 && right.columns > 0 && out_stride >= right.columns);
    assert!(reach(left.rows, left.columns, left.strides) < left.data.len());
    assert!(reach(right.rows, right.columns, right.strides) < right.data.len());
    assert!(reach(left.rows, right.columns, (out_stride, 1)) < out.len());
    // SAFETY: the asserts above keep every index that these sizes and strides reach inside its slice, and `out` is
    // borrowed mutably, so it overlaps neither input.
    unsafe {
        gemm::gemm(
            left.rows,
            right.columns,
            left.columns,
            out.as_mut_ptr(),
            1,
            out_stride as isize,
            keep,
            left.data.as_ptr(),
            left.strides.1 as isize,
            left.strides.0 as isize,
            right.data.as_ptr(),
            right.strides.1 as isize,
            right.strides.0 as isize,
            1.0,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => bail!("the training's operations take contiguous tensors"),
    }
}

/// Runs a function on a tensor's values.
pub fn with_floats<T>(tensor: &Tensor, run: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => run(floats(storage, layout)?),
        _ => bail!("the training runs on the CPU"),
    }
}

/// e to the x within a few units in the last place of float32, in a form that the compiler turns into vectors.
#[inline(always)]
fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let n = (x * std::f32::consts::LOG2_E + 12_582_912.0) - 12_582_912.0;
    let r = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let p = 1.0
        + r * (1.0 + r * (0.5 + r * (0.166_666_57 + r * (0.041_667_9 + r * (8.333_8e-3 + r * 1.391_4e-3)))));
    f32::from_bits(((n as i32 + 127) << 23) as u32) * p
}

/// `x · weightᵀ + bias`.
///
/// # Shapes
/// `x: [.., inputs]`, `weight: [outputs, inputs]`, `bias: [outputs]`, result `[.., outputs]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.apply_op3(weight, bias, Linear)
}

struct Linear;

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "training-linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (outputs, inputs) = weight_layout.shape().dims2()?;
        let (x, weight, bias) =
            (floats(x, x_layout)?, floats(weight, weight_layout)?, floats(bias, bias_layout)?);
        let rows = x.len() / inputs;
        let mut out = Vec::with_capacity(rows * outputs);
        (0..rows).for_each(|_| out.extend_from_slice(bias));
        let (x, weight) =
            (Matrix::rows(x, rows, inputs, inputs), Matrix::rows(weight, outputs, inputs, inputs));
        product(&mut out, outputs, true, 1.0, x, weight.transposed());
        let mut dims = x_layout.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = outputs;
        }
        Ok((CpuStorage::F32(out), Shape::from(dims)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _bias: &Tensor,
        _out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (outputs, inputs) = weight.dims2()?;
        let rows = x.elem_count() / inputs;
        let mut grad_x = vec![0.0; rows * inputs];
        let mut grad_weight = vec![0.0; outputs * inputs];
        let mut grad_bias = vec![0.0; outputs];
        with_floats(grad, |grad| {
            for row in grad.chunks_exact(outputs) {
                grad_bias.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
            let grad = Matrix::rows(grad, rows, outputs, outputs);
            with_floats(weight, |weight| {
                product(&mut grad_x, inputs, false, 1.0, grad, Matrix::rows(weight, outputs, inputs, inputs));
                Ok(())
            })?;
            with_floats(x, |x| {
                let x = Matrix::rows(x, rows, inputs, inputs);
                product(&mut grad_weight, inputs, false, 1.0, grad.transposed(), x);
                Ok(())
            })
        })?;
        let device = x.device();
        Ok((
            Some(Tensor::from_vec(grad_x, x.shape(), device)?),
            Some(Tensor::from_vec(grad_weight, (outputs, inputs), device)?),
            Some(Tensor::from_vec(grad_bias, outputs, device)?),
        ))
    }
}

/// Layer normalisation over the last dimension, epsilon 1e-5.
///
/// # Shapes
/// `x: [.., width]`, `weight`, `bias: [width]`, result as `x`.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.apply_op3(weight, bias, LayerNorm)
}

struct LayerNorm;

const EPSILON: f32 = 1e-5;

fn mean_and_scale(row: &[f32]) -> (f32, f32) {
    let n = row.len() as f32;
    let mean = row.iter().sum::<f32>() / n;
    let variance = row.iter().map(|value| (value - mean) * (value - mean)).sum::<f32>() / n;
    (mean, 1.0 / (variance + EPSILON).sqrt())
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "training-layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight, bias) =
            (floats(x, x_layout)?, floats(weight, weight_layout)?, floats(bias, bias_layout)?);
        let mut out = vec![0.0; x.len()];
        for (row, result) in x.chunks_exact(weight.len()).zip(out.chunks_exact_mut(weight.len())) {
            let (mean, scale) = mean_and_scale(row);
            for (((value, result), weight), bias) in row.iter().zip(result).zip(weight).zip(bias) {
                *result = (value - mean) * scale * weight + bias;
            }
        }
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _bias: &Tensor,
        _out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let width = weight.elem_count();
        let mut grad_x = vec![0.0; x.elem_count()];
        let (mut grad_weight, mut grad_bias) = (vec![0.0; width], vec![0.0; width]);
        with_floats(x, |x| {
            with_floats(weight, |weight| {
                with_floats(grad, |grad| {
                    let rows = x.chunks_exact(width).zip(grad.chunks_exact(width));
                    for ((x, grad), grad_x) in rows.zip(grad_x.chunks_exact_mut(width)) {
                        layer_norm_row(x, weight, grad, (grad_x, &mut grad_weight, &mut grad_bias));
                    }
                    Ok(())
                })
            })
        })?;
        let device = x.device();
        Ok((
            Some(Tensor::from_vec(grad_x, x.shape(), device)?),
            Some(Tensor::from_vec(grad_weight, width, device)?),
            Some(Tensor::from_vec(grad_bias, width, device)?),
        ))
    }
}

/// With n = (x - mean) · scale and g = grad · weight: dx = scale · (g - mean(g) - n · mean(g · n)).
fn layer_norm_row(x: &[f32], weight: &[f32], grad: &[f32], out: (&mut [f32], &mut [f32], &mut [f32])) {
    let (grad_x, grad_weight, grad_bias) = out;
    let (mean, scale) = mean_and_scale(x);
    let (mut sum, mut sum_of_products) = (0.0, 0.0);
    for position in 0..x.len() {
        let normal = (x[position] - mean) * scale;
        let weighted = grad[position] * weight[position];
        grad_weight[position] += grad[position] * normal;
        grad_bias[position] += grad[position];
        sum += weighted;
        sum_of_products += weighted * normal;
    }
    let n = x.len() as f32;
    for position in 0..x.len() {
        let normal = (x[position] - mean) * scale;
        grad_x[position] =
            scale * (grad[position] * weight[position] - sum / n - normal * sum_of_products / n);
    }
}

/// `x · sigmoid(1.702 x)`, CLIP's activation.
pub fn quick_gelu(x: &Tensor) -> Result<Tensor> {
    x.apply_op1(QuickGelu)
}

struct QuickGelu;

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

impl CustomOp1 for QuickGelu {
    fn name(&self) -> &'static str {
        "training-quick-gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let out = floats(x, layout)?.iter().map(|&x| x * sigmoid(1.702 * x)).collect();
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _out: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let slope = |(&x, &grad): (&f32, &f32)| {
            let gate = sigmoid(1.702 * x);
            grad * gate * (1.0 + 1.702 * x * (1.0 - gate))
        };
        let values: Vec<f32> =
            with_floats(x, |x| with_floats(grad, |grad| Ok(x.iter().zip(grad).map(slope).collect())))?;
        Ok(Some(Tensor::from_vec(values, x.shape(), x.device())?))
    }
}

/// Multi-head attention between queries, keys and values that lie side by side.
#[derive(Clone, Copy)]
pub struct Attention {
    /// The number of heads.
    pub heads: usize,
    /// Whether a token sees only itself and what is before it.
    pub causal: bool,
    /// Only the first this many tokens ask; the others' queries are ignored.
    pub queries: usize,
}

impl Attention {
    /// # Shapes
    /// `qkv: [batch, tokens, 3 · width]`, result `[batch, queries, width]`.
    pub fn apply(self, qkv: &Tensor) -> Result<Tensor> {
        qkv.apply_op1(self)
    }

    /// Softmax over the scaled products of queries and keys of one head, into `weights: [queries, tokens]`.
    fn weights(&self, q: Matrix, k: Matrix, weights: &mut [f32]) {
        let tokens = k.rows;
        product(weights, tokens, false, (q.columns as f32).powf(-0.5), q, k.transposed());
        for (query, row) in weights.chunks_exact_mut(tokens).enumerate() {
            let seen = if self.causal { query + 1 } else { tokens };
            row[seen..].fill(0.0);
            let row = &mut row[..seen];
            let largest = row.iter().copied().fold(f32::MIN, f32::max);
            row.iter_mut().for_each(|value| *value = exp(*value - largest));
            let total: f32 = row.iter().sum();
            row.iter_mut().for_each(|value| *value /= total);
        }
    }

    /// Queries, keys and values of one head, as matrices inside the rows of `qkv: [tokens, 3 · width]`.
    fn head<'a>(&self, qkv: &'a [f32], tokens: usize, head: usize) -> [Matrix<'a>; 3] {
        let stride = qkv.len() / tokens;
        let (width, size) = (stride / 3, stride / 3 / self.heads);
        [(0, self.queries), (1, tokens), (2, tokens)]
            .map(|(block, rows)| Matrix::rows(&qkv[block * width + head * size..], rows, size, stride))
    }

    /// The gradient of one picture's or caption's `qkv`.
    fn backward(&self, qkv: &[f32], tokens: usize, grad: &[f32], grad_qkv: &mut [f32]) {
        let stride = qkv.len() / tokens;
        let (width, size) = (stride / 3, stride / 3 / self.heads);
        let mut weights = vec![0.0; self.queries * tokens];
        let mut grad_weights = vec![0.0; self.queries * tokens];
        for head in 0..self.heads {
            let [q, k, v] = self.head(qkv, tokens, head);
            self.weights(q, k, &mut weights);
            let grad = Matrix::rows(&grad[head * size..], self.queries, size, width);
            let at = |block: usize| block * width + head * size;
            let seen = Matrix::rows(&weights, self.queries, tokens, tokens);
            product(&mut grad_qkv[at(2)..], stride, false, 1.0, seen.transposed(), grad);
            product(&mut grad_weights, tokens, false, 1.0, grad, v.transposed());
            for (grad, weight) in grad_weights.chunks_exact_mut(tokens).zip(weights.chunks_exact(tokens)) {
                let mean: f32 = grad.iter().zip(weight).map(|(grad, weight)| grad * weight).sum();
                grad.iter_mut().zip(weight).for_each(|(grad, weight)| *grad = weight * (*grad - mean));
            }
            let scale = (size as f32).powf(-0.5);
            let slopes = Matrix::rows(&grad_weights, self.queries, tokens, tokens);
            product(&mut grad_qkv[at(0)..], stride, false, scale, slopes, k);
            product(&mut grad_qkv[at(1)..], stride, false, scale, slopes.transposed(), q);
        }
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "training-attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, tokens, triple) = layout.shape().dims3()?;
        let (width, qkv) = (triple / 3, floats(qkv, layout)?);
        let size = width / self.heads;
        let mut out = vec![0.0; batch * self.queries * width];
        let mut weights = vec![0.0; self.queries * tokens];
        for (qkv, out) in qkv.chunks_exact(tokens * triple).zip(out.chunks_exact_mut(self.queries * width)) {
            for head in 0..self.heads {
                let [q, k, v] = self.head(qkv, tokens, head);
                self.weights(q, k, &mut weights);
                let seen = Matrix::rows(&weights, self.queries, tokens, tokens);
                product(&mut out[head * size..], width, false, 1.0, seen, v);
            }
        }
        Ok((CpuStorage::F32(out), Shape::from((batch, self.queries, width))))
    }

    fn bwd(&self, qkv: &Tensor, _out: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (_, tokens, triple) = qkv.dims3()?;
        let mut grad_qkv = vec![0.0; qkv.elem_count()];
        with_floats(qkv, |values| {
            with_floats(grad, |grad| {
                let parts =
                    values.chunks_exact(tokens * triple).zip(grad.chunks_exact(self.queries * triple / 3));
                for ((values, grad), grad_qkv) in parts.zip(grad_qkv.chunks_exact_mut(tokens * triple)) {
                    self.backward(values, tokens, grad, grad_qkv);
                }
                Ok(())
            })
        })?;
        Ok(Some(Tensor::from_vec(grad_qkv, qkv.shape(), qkv.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    /// Compares the gradient of `sum(run(inputs) · probe)` with central differences, entry by entry.
    fn check(shapes: &[&[usize]], run: impl Fn(&[Tensor]) -> Result<Tensor>) {
        let wave = |shape: &[usize], phase: f32| {
            let n: usize = shape.iter().product();
            let values: Vec<f32> = (0..n).map(|i| (1.7 * i as f32 + phase).sin()).collect();
            Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
        };
        let vars: Vec<Var> =
            (0..shapes.len()).map(|i| Var::from_tensor(&wave(shapes[i], i as f32)).unwrap()).collect();
        let inputs: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
        let out = run(&inputs).unwrap();
        let probe = wave(out.dims(), 9.0);
        let value = |inputs: &[Tensor]| -> f64 {
            let out = run(inputs).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let probe = probe.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            out.iter().zip(&probe).map(|(out, probe)| f64::from(*out) * f64::from(*probe)).sum()
        };
        let grads = (out * &probe).unwrap().sum_all().unwrap().backward().unwrap();
        for (number, var) in vars.iter().enumerate() {
            let found = grads.get(var).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let start = inputs[number].flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for position in 0..start.len() {
                let nudged = |by: f32| {
                    let mut values = start.clone();
                    values[position] += by;
                    let mut inputs = inputs.clone();
                    inputs[number] = Tensor::from_vec(values, shapes[number], &Device::Cpu).unwrap();
                    value(&inputs)
                };
                let expected = ((nudged(0.01) - nudged(-0.01)) / 0.02) as f32;
                let off = (found[position] - expected).abs();
                assert!(
                    off < 2e-3 * (1.0 + expected.abs()),
                    "input {number}[{position}]: {} {expected}",
                    found[position]
                );
            }
        }
    }

    #[test]
    fn linear_has_the_right_gradient() {
        check(&[&[2, 3, 4], &[5, 4], &[5]], |t| linear(&t[0], &t[1], &t[2]));
    }

    #[test]
    fn layer_norm_has_the_right_gradient() {
        check(&[&[3, 6], &[6], &[6]], |t| layer_norm(&t[0], &t[1], &t[2]));
    }

    #[test]
    fn quick_gelu_has_the_right_gradient() {
        check(&[&[3, 7]], |t| quick_gelu(&t[0]));
    }

    #[test]
    fn attention_has_the_right_gradient() {
        for (causal, queries) in [(false, 5), (true, 5), (false, 1)] {
            check(&[&[2, 5, 12]], |t| Attention { heads: 2, causal, queries }.apply(&t[0]));
        }
    }

    #[test]
    fn exp_is_exp() {
        for step in -800..800 {
            let x = step as f32 / 10.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-6, "{x}");
        }
    }
}

//! A linear layer, x · weightᵀ + bias. Its weights are frozen: gradients pass it, none goes to them.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::{
    Weight, add,
    product::{Kernel, Matrix, Output, Threads, bf16, multiply},
    storage::slice,
};

/// x · weightᵀ + bias.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    pub(super) weight: Weight,
    pub(super) bias: Option<Tensor>,
    pub(super) rounded: Option<Rounded>,
}

/// How a layer is multiplied in bfloat16, where no graph is wanted.
#[derive(Clone, Debug)]
pub(super) struct Rounded {
    pub(super) kernel: Kernel,
    /// Made at the first use, half as large as the layer's own.
    weights: Arc<OnceLock<bf16::Weights>>,
}

impl Linear {
    /// # Shapes
    /// `weight`: [out, in]; `bias`: `[out]`.
    pub(crate) fn new(weight: impl Into<Weight>, bias: Option<Tensor>) -> Self {
        Self { weight: weight.into(), bias, rounded: None }
    }

    /// The same layer; its products without a graph are of numbers rounded to bfloat16.
    pub(crate) fn rounding(self, kernel: Kernel) -> Self {
        Self { rounded: Some(Rounded { kernel, weights: Arc::default() }), ..self }
    }

    /// # Shapes
    /// `input`: [..., in]; returns [..., out].
    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let mut shape = input.dims().to_vec();
        let width = shape.pop().unwrap_or(1);
        shape.push(self.weight.outputs());
        let product = self.product(&input.reshape(((), width))?, Way::Forward)?;
        match &self.bias {
            Some(bias) => add(&product, bias)?.reshape(shape),
            None => product.reshape(shape),
        }
    }

    /// The gradient with respect to the input, from the gradient with respect to the output.
    ///
    /// # Shapes
    /// `gradient`: [rows, out]; returns [rows, in].
    pub(crate) fn backward(&self, gradient: &Tensor) -> Result<Tensor> {
        self.product(gradient, Way::Backward)
    }

    /// The product of rows and the weights, either way.
    fn product(&self, rows: &Tensor, way: Way) -> Result<Tensor> {
        match (&self.weight, way) {
            _ if rows.device().is_cpu() => {
                rows.contiguous()?.apply_op1(Product { weight: self.weight.clone(), way })
            }
            (Weight::Tensor(weight), Way::Forward) => rows.matmul(&weight.t()?),
            (Weight::Tensor(weight), Way::Backward) => rows.matmul(weight),
            (Weight::Numbers(_), _) => bail!("expected weights on {:?}", rows.device()),
        }
    }

    /// output = (output +) input · weightᵀ on plain values, in bfloat16 where the layer is to be multiplied so.
    ///
    /// # Shapes
    /// `input`: [rows, in]; `output`: [rows, out].
    pub(super) fn multiply(&self, input: &[f32], rows: usize, output: &mut [f32], add: bool) -> Result<()> {
        let Some(Rounded { kernel, weights }) = &self.rounded else {
            return forward(&self.weight, input, rows, output, add);
        };
        let weights = match weights.get() {
            Some(weights) => weights,
            None => {
                let made = self.weight.read(bf16::Weights::new)?;
                weights.get_or_init(|| made)
            }
        };
        let output = Output { values: output, row_step: self.weight.outputs(), add };
        bf16::multiply(*kernel, output, input, rows, weights);
        Ok(())
    }

    /// The same layer for a range of its outputs.
    pub(crate) fn outputs(&self, start: usize, length: usize) -> Result<Self> {
        let bias = self.bias.as_ref().map(|bias| bias.narrow(0, start, length)).transpose()?;
        Ok(Self::new(self.weight.rows(start, length)?, bias))
    }

    /// The same layer with its outputs multiplied.
    ///
    /// # Shapes
    /// `scale`: `[out]`.
    pub(crate) fn scaled(&self, scale: &Tensor) -> Result<Self> {
        let bias = self.bias.as_ref().map(|bias| bias.mul(scale)).transpose()?;
        Ok(Self::new(self.weight.tensor()?.broadcast_mul(&scale.unsqueeze(1)?)?, bias))
    }

    pub(crate) fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }
}

/// Through a layer, or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// From inputs to outputs: rows · weightᵀ.
    Forward,
    /// From gradients at the outputs to those at the inputs: rows · weight.
    Backward,
}

/// Rows times frozen weights. candle's own product differs in who shares the work between threads.
struct Product {
    weight: Weight,
    way: Way,
}

impl CustomOp1 for Product {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, input: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        let (from, to, product): (_, _, Multiply) = match self.way {
            Way::Forward => (self.weight.inputs(), self.weight.outputs(), forward),
            Way::Backward => (self.weight.outputs(), self.weight.inputs(), backward),
        };
        if width != from {
            bail!("expected rows of {from} values, found {width}");
        }
        let mut output = vec![0.0; rows * to];
        product(&self.weight, slice(input, layout)?, rows, &mut output, false)?;
        Ok((CpuStorage::F32(output), (rows, to).into()))
    }

    fn bwd(&self, _input: &Tensor, _output: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let way = match self.way {
            Way::Forward => Way::Backward,
            Way::Backward => Way::Forward,
        };
        gradient.contiguous()?.apply_op1(Self { weight: self.weight.clone(), way }).map(Some)
    }
}

/// A product of rows and weights, put into or added to an output.
type Multiply = fn(&Weight, &[f32], usize, &mut [f32], bool) -> Result<()>;

/// output = (output +) input · weightᵀ.
fn forward(weight: &Weight, input: &[f32], rows: usize, output: &mut [f32], add: bool) -> Result<()> {
    let (from, to) = (weight.inputs(), weight.outputs());
    let left = Matrix::new(input, rows, from, from);
    let mut first = 0;
    weight.read(|pieces, _| {
        for piece in pieces {
            let outputs = piece.len() / from;
            let right = Matrix::new(piece, outputs, from, from).transposed();
            let output = Output { values: &mut output[first..], row_step: to, add };
            multiply(output, 1.0, left, right, Threads::All);
            first += outputs;
        }
    })
}

/// output = (output +) input · weight.
fn backward(weight: &Weight, input: &[f32], rows: usize, output: &mut [f32], add: bool) -> Result<()> {
    let (from, to) = (weight.inputs(), weight.outputs());
    let mut first = 0;
    weight.read(|pieces, _| {
        for piece in pieces {
            let outputs = piece.len() / from;
            let left = Matrix::new(&input[first..], rows, outputs, to);
            let output = Output { values: output, row_step: from, add: add || first > 0 };
            multiply(output, 1.0, left, Matrix::new(piece, outputs, from, from), Threads::All);
            first += outputs;
        }
    })
}

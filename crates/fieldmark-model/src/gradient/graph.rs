//! The head by candle's automatic differentiation, for one layer or for several at once.
//!
//! One graph begins at the lowest layer. candle keeps the gradients of variables only, so to the activations of each
//! layer above a variable is added that is zero: its gradient is theirs, and one backward pass gives those of all
//! layers.

use std::sync::{Mutex, PoisonError};

use candle_core::{Tensor, Var};

use crate::{
    error::{Error, Result},
    model::network::{BlockInput, VisionTower},
};

/// The most memory that gradients may take which are kept because the turn of other layers or methods comes later.
const KEPT_BYTES: usize = 256 << 20;

/// So many directions at most are kept where nobody but another method can ask for them again.
const KEPT_OF_ONE_LAYER: usize = 16;

/// How many directions' gradients are kept, of so many layers.
pub(super) fn kept_directions(layers: usize, input: &BlockInput) -> usize {
    let bytes = layers * input.activations.elem_count() * size_of::<f32>();
    let fitting = (KEPT_BYTES / bytes.max(1)).max(1);
    if layers == 1 { fitting.min(KEPT_OF_ONE_LAYER) } else { fitting }
}

/// The head with a graph behind it.
pub(super) struct Graph {
    /// Ascending.
    stops: Vec<Stop>,
    /// `[embedding]`.
    embedding: Tensor,
    /// How many directions' gradients are kept.
    capacity: usize,
    known: Mutex<Vec<Known>>,
}

/// One of the layers that gradients are asked for.
struct Stop {
    layer: usize,
    variable: Var,
}

/// What one backward pass gave.
struct Known {
    direction: Vec<f32>,
    /// A layer each: [1, tokens, width].
    gradients: Vec<Tensor>,
}

impl Graph {
    /// Runs the head from the lowest of `layers`, which are ascending.
    pub(super) fn new(tower: &VisionTower, layers: &[usize], input: &BlockInput) -> Result<Self> {
        let lowest = layers.first().copied().unwrap_or(0);
        let variable = Var::from_tensor(&input.activations)?;
        let start = BlockInput { hidden: input.hidden.clone(), activations: variable.as_tensor().clone() };
        let mut stops = vec![Stop { layer: lowest, variable }];
        let embedding = tower.run_through(lowest, &start, |layer, input| {
            if !layers.contains(&layer) {
                return Ok(input);
            }
            let variable = Var::from_tensor(&input.activations.zeros_like()?)?;
            let activations = (&input.activations + variable.as_tensor())?;
            stops.push(Stop { layer, variable });
            Ok(BlockInput { activations, ..input })
        })?;
        let capacity = kept_directions(layers.len(), input);
        Ok(Self { stops, embedding: embedding.squeeze(0)?, capacity, known: Mutex::default() })
    }

    /// `[embedding]`, without the graph.
    pub(super) fn embedding(&self) -> Tensor {
        self.embedding.detach()
    }

    /// The gradient along a direction of the embedding with respect to a layer's activations.
    ///
    /// # Shapes
    /// `direction`: `[embedding]`; returns [1, tokens, width].
    pub(super) fn gradient(&self, layer: usize, direction: &Tensor) -> Result<Tensor> {
        let at = self.stops.iter().position(|stop| stop.layer == layer).unwrap_or(0);
        let values = direction.to_vec1::<f32>()?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.iter().find(|known| known.direction == values) {
            return Ok(found.gradients[at].clone());
        }
        let gradients = self.backward(direction)?;
        let wanted = gradients[at].clone();
        if known.len() >= self.capacity {
            known.clear();
        }
        known.push(Known { direction: values, gradients });
        Ok(wanted)
    }

    /// One backward pass; the gradients of all layers.
    fn backward(&self, direction: &Tensor) -> Result<Vec<Tensor>> {
        let gradients = (&self.embedding * direction)?.sum_all()?.backward()?;
        let of = |stop: &Stop| {
            gradients.get(&stop.variable).cloned().ok_or_else(|| Error::Numeric {
                what: "gradient",
                reason: "the embedding does not depend on the layer: an operation on the way has no backward"
                    .into(),
            })
        };
        self.stops.iter().map(of).collect()
    }
}

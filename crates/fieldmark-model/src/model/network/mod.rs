//! The network, written once for both towers, open at every layer and differentiable everywhere.
//!
//! candle-nn's fused layer norm and softmax have no backward: a gradient that should pass through them stops
//! there without an error. The operations here have one each, proven against finite differences; on a GPU the
//! slower forms that candle can differentiate are used.

mod activation;
mod attention;
mod block;
mod inference;
mod kernels;
mod layer_norm;
mod linear;
mod pool;
mod positions;
mod product;
mod record;
mod rows;
mod shuffle;
mod softmax;
mod storage;
mod text;
mod trunk;
mod vision;
mod weight;

pub(crate) use attention::{Attention, Mlp, Projected, attention_weights};
pub use block::Block;
pub(crate) use block::Queries;
pub(crate) use layer_norm::LayerNorm;
pub(crate) use linear::Linear;
pub(crate) use pool::{AttentionPool, Pool};
pub(crate) use product::Kernel;
pub use record::merge_heads;
pub(crate) use record::split_heads;
pub use record::{AfterAttention, BlockRecord, Recorded, Recording};
pub(crate) use rows::{add, times_row};
pub use softmax::softmax;
pub(crate) use text::{OwnTextTower, TextTower, reference_is_exact};
pub use trunk::Passed;
pub(crate) use vision::ClassTokenEnd;
pub use vision::{BlockInput, VisionTower};
pub(crate) use weight::{Numbers, Weight};

#[cfg(test)]
pub(crate) mod tests;

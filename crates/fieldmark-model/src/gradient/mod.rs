//! GRADIENTS: how the image's embedding depends on the activations of one layer.
//!
//! The trunk runs once. What is asked of the head afterwards are products of gradients with a few *directions*
//! of the embedding, one a prompt or a mix of prompts: the gradient is linear in them. At the last block of a tower
//! that ends in its class token these products have a closed form that costs next to nothing (`last_block`);
//! elsewhere, and where all tokens are pooled, candle's automatic differentiation gives them. The general way works
//! everywhere and is the check of the closed form.

mod attention_backward;
mod graph;
mod last_block;
mod layer_trace;
mod masked;
mod pooling;
mod readout;

pub use attention_backward::{AttentionGradient, AttentionLayer};
pub use layer_trace::{Differentiation, LayerTrace};
pub use readout::Readout;

//! The model's tensors and what a checkpoint calls them: the one place that knows how formats name and store them.
//!
//! A further format is one variant of [`TensorNames`] and one function that says for every [`TensorId`] where it is
//! [`Stored`]. `build` asks by id only.

/// A family of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TensorNames {
    /// Those of transformers' `CLIPModel`.
    TransformersClip,
    /// Those of transformers' `SiglipModel`.
    TransformersSiglip,
}

/// One of the two towers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Tower {
    Text,
    Vision,
}

/// The two tensors of a linear layer or a norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Weight,
    Bias,
}

/// A layer of a transformer block; the pooling head has the same, but for its first norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum BlockPart {
    /// The norm before attention.
    Norm1,
    /// Queries, keys and values, in this order.
    Projections,
    /// What follows attention.
    Output,
    /// The norm before the MLP.
    Norm2,
    /// The MLP's first layer.
    Expand,
    /// The MLP's second layer.
    Contract,
}

/// What is added to the residual stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Branch {
    Attention,
    Mlp,
}

/// A tensor of the model, whatever a checkpoint calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum TensorId {
    /// The logarithm of what similarities are multiplied with.
    LogitScale,
    /// What is added to logits.
    LogitBias,
    /// The token embedding: [vocabulary, width].
    Tokens,
    /// The position embedding: [tokens, width], the class token's row first.
    Positions(Tower),
    /// `[width]`.
    ClassToken,
    /// The patch embedding; its weight: [width, 3, patch, patch].
    Patches(Kind),
    /// The vision tower's norm before the first block.
    PreNorm(Kind),
    /// A layer of a block.
    Block(Tower, usize, BlockPart, Kind),
    /// What multiplies what a block adds: `[width]`.
    LayerScale(Tower, usize, Branch),
    /// The norm after the last block.
    FinalNorm(Tower, Kind),
    /// To the embedding; its weight: [embedding, width].
    Projection(Tower, Kind),
    /// The pooling head's query before its projection: `[width]`.
    Probe,
    /// A layer of the pooling head.
    Pool(BlockPart, Kind),
}

/// Where a checkpoint has a tensor. Dimensions of length 1 may be stored or not: `[1, 1, width]` is `[width]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// Under this name.
    Whole(String),
    /// A matrix whose rows are the model's columns.
    Transposed(String),
    /// In pieces along the first dimension, each with its number of shares: queries, keys and values apart have one
    /// each.
    Pieces(Vec<(String, usize)>),
}

impl TensorNames {
    /// Where a tensor is; `None` if this format has no such thing.
    pub(super) fn locate(self, id: TensorId) -> Option<Stored> {
        match self {
            Self::TransformersClip | Self::TransformersSiglip => transformers(self, id),
        }
    }
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Bias => "bias",
        }
    }
}

/// transformers' names. Both models share all but their projections and what only one of them has.
fn transformers(names: TensorNames, id: TensorId) -> Option<Stored> {
    let siglip = names == TensorNames::TransformersSiglip;
    let name = match id {
        TensorId::LogitScale => "logit_scale".into(),
        TensorId::LogitBias => "logit_bias".into(),
        TensorId::Tokens => "text_model.embeddings.token_embedding.weight".into(),
        TensorId::Positions(tower) => {
            format!("{}.embeddings.position_embedding.weight", transformers_tower(tower))
        }
        TensorId::ClassToken => "vision_model.embeddings.class_embedding".into(),
        TensorId::Patches(kind) => format!("vision_model.embeddings.patch_embedding.{}", kind.name()),
        // The misspelling is transformers' own.
        TensorId::PreNorm(kind) => format!("vision_model.pre_layrnorm.{}", kind.name()),
        TensorId::Block(tower, layer, part, kind) => {
            let block = format!("{}.encoder.layers.{layer}", transformers_tower(tower));
            return Some(transformers_block(&block, part, kind));
        }
        TensorId::LayerScale(..) => return None,
        TensorId::FinalNorm(Tower::Text, kind) => format!("text_model.final_layer_norm.{}", kind.name()),
        TensorId::FinalNorm(Tower::Vision, kind) => format!("vision_model.post_layernorm.{}", kind.name()),
        TensorId::Projection(Tower::Text, kind) if siglip => format!("text_model.head.{}", kind.name()),
        TensorId::Projection(Tower::Text, kind) => format!("text_projection.{}", kind.name()),
        TensorId::Projection(Tower::Vision, kind) => format!("visual_projection.{}", kind.name()),
        TensorId::Probe => "vision_model.head.probe".into(),
        TensorId::Pool(part, kind) => return transformers_pool(part, kind),
    };
    Some(Stored::Whole(name))
}

fn transformers_tower(tower: Tower) -> &'static str {
    match tower {
        Tower::Text => "text_model",
        Tower::Vision => "vision_model",
    }
}

fn transformers_block(block: &str, part: BlockPart, kind: Kind) -> Stored {
    let kind = kind.name();
    let name = match part {
        BlockPart::Projections => {
            let piece = |name| (format!("{block}.self_attn.{name}.{kind}"), 1);
            return Stored::Pieces(["q_proj", "k_proj", "v_proj"].map(piece).into());
        }
        BlockPart::Norm1 => "layer_norm1",
        BlockPart::Output => "self_attn.out_proj",
        BlockPart::Norm2 => "layer_norm2",
        BlockPart::Expand => "mlp.fc1",
        BlockPart::Contract => "mlp.fc2",
    };
    Stored::Whole(format!("{block}.{name}.{kind}"))
}

fn transformers_pool(part: BlockPart, kind: Kind) -> Option<Stored> {
    let kind = kind.name();
    let name = match part {
        BlockPart::Norm1 => return None,
        BlockPart::Projections => format!("attention.in_proj_{kind}"),
        BlockPart::Output => format!("attention.out_proj.{kind}"),
        BlockPart::Norm2 => format!("layernorm.{kind}"),
        BlockPart::Expand => format!("mlp.fc1.{kind}"),
        BlockPart::Contract => format!("mlp.fc2.{kind}"),
    };
    Some(Stored::Whole(format!("vision_model.head.{name}")))
}

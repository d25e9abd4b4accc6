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
    /// Those of open_clip's `CLIP` and `CustomTextCLIP`, which OpenAI's own checkpoints have too.
    OpenClip(OpenClipNames),
    /// Those of transformers' vision transformers that know photos alone.
    TransformersVit(VitNames),
    /// Those of a vision transformer of timm's by itself.
    Timm(TimmNames),
}

/// What differs between transformers' vision transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VitNames {
    /// Which of them it is.
    pub family: VitFamily,
    /// What all names but the classifier's begin with; empty where the model stands alone.
    pub root: &'static str,
    /// Whether its MLPs are gated.
    pub gated: bool,
}

/// A family of transformers' vision transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VitFamily {
    /// `ViTModel`.
    Vit,
    /// `Dinov2Model`.
    Dinov2,
    /// `Dinov2WithRegistersModel`.
    Dinov2WithRegisters,
}

impl VitFamily {
    /// What the names of the model inside a classifier begin with.
    pub(crate) fn root(self) -> &'static str {
        match self {
            Self::Vit => "vit.",
            Self::Dinov2 => "dinov2.",
            Self::Dinov2WithRegisters => "dinov2_with_registers.",
        }
    }
}

/// What differs between open_clip's checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenClipNames {
    /// Whether all names of the text tower begin with `text.`.
    pub custom_text: bool,
    /// Whether the text's projection is a layer, with a weight and a bias, and not a bare matrix.
    pub text_projection_layer: bool,
    /// The vision tower.
    pub vision: VisionNames,
}

/// Whose vision tower it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VisionNames {
    /// open_clip's own.
    OpenClip,
    /// timm's.
    Timm(TimmNames),
}

/// What differs between timm's vision transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimmNames {
    /// The layer that makes the embedding; empty if there is none.
    pub projection: &'static str,
    /// The norm behind the blocks: `norm`, or `fc_norm` behind a mean.
    pub final_norm: &'static str,
}

/// One of the two towers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Tower {
    Text,
    Vision,
}

/// The two tensors of a linear layer or a norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Weight,
    Bias,
}

/// A layer of a transformer block; the pooling head has the same, but for its first norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum BlockPart {
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
pub(crate) enum Branch {
    Attention,
    Mlp,
}

/// A tensor of the model, independent of its name in a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TensorId {
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
    /// Tokens between the class token and the patches: [registers, width].
    Registers,
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
    /// The layer of a classifier; its weight: [classes, features].
    Classifier(Kind),
}

/// Where a checkpoint has a tensor. Dimensions of length 1 may be stored or not: `[1, 1, width]` is `[width]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// Under this name.
    Whole(String),
    /// A matrix whose rows are the model's columns.
    Transposed(String),
    /// In pieces along the first dimension, each with its number of shares: queries, keys and values apart have one
    /// each.
    Pieces(Vec<(String, usize)>),
}

impl TensorId {
    /// The tower that it is a part of; none for what belongs to both.
    pub(crate) fn tower(self) -> Option<Tower> {
        match self {
            Self::LogitScale | Self::LogitBias => None,
            Self::Tokens => Some(Tower::Text),
            Self::Positions(tower)
            | Self::Block(tower, ..)
            | Self::LayerScale(tower, ..)
            | Self::FinalNorm(tower, _)
            | Self::Projection(tower, _) => Some(tower),
            Self::ClassToken
            | Self::Registers
            | Self::Patches(_)
            | Self::PreNorm(_)
            | Self::Probe
            | Self::Pool(..)
            | Self::Classifier(_) => Some(Tower::Vision),
        }
    }
}

impl TensorNames {
    /// Where a tensor is; `None` if this format has no such thing.
    pub(crate) fn locate(self, id: TensorId) -> Option<Stored> {
        match self {
            Self::TransformersClip | Self::TransformersSiglip => transformers(self, id),
            Self::OpenClip(names) => open_clip(names, id),
            Self::TransformersVit(names) => transformers_vit(names, id),
            Self::Timm(names) => timm("", names, id),
        }
    }
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
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
        TensorId::Classifier(kind) => format!("classifier.{}", kind.name()),
        TensorId::LayerScale(..) | TensorId::Registers => return None,
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

/// The names of ViT and DINOv2, which differ inside their blocks.
fn transformers_vit(names: VitNames, id: TensorId) -> Option<Stored> {
    let root = names.root;
    let name = match id {
        TensorId::ClassToken => format!("{root}embeddings.cls_token"),
        TensorId::Registers => format!("{root}embeddings.register_tokens"),
        TensorId::Positions(Tower::Vision) => format!("{root}embeddings.position_embeddings"),
        TensorId::Patches(kind) => format!("{root}embeddings.patch_embeddings.projection.{}", kind.name()),
        TensorId::FinalNorm(Tower::Vision, kind) => format!("{root}layernorm.{}", kind.name()),
        TensorId::Block(Tower::Vision, layer, part, kind) => {
            return Some(vit_block(names, &format!("{root}encoder.layer.{layer}"), part, kind));
        }
        TensorId::LayerScale(Tower::Vision, layer, branch) => {
            let number = if branch == Branch::Attention { 1 } else { 2 };
            format!("{root}encoder.layer.{layer}.layer_scale{number}.lambda1")
        }
        TensorId::Classifier(kind) => format!("classifier.{}", kind.name()),
        _ => return None,
    };
    Some(Stored::Whole(name))
}

fn vit_block(names: VitNames, block: &str, part: BlockPart, kind: Kind) -> Stored {
    let kind = kind.name();
    let name = match (part, names.family == VitFamily::Vit, names.gated) {
        (BlockPart::Projections, ..) => {
            let piece = |name| (format!("{block}.attention.attention.{name}.{kind}"), 1);
            return Stored::Pieces(["query", "key", "value"].map(piece).into());
        }
        (BlockPart::Output, ..) => "attention.output.dense",
        (BlockPart::Norm1, true, _) => "layernorm_before",
        (BlockPart::Norm2, true, _) => "layernorm_after",
        (BlockPart::Expand, true, _) => "intermediate.dense",
        (BlockPart::Contract, true, _) => "output.dense",
        (BlockPart::Norm1, ..) => "norm1",
        (BlockPart::Norm2, ..) => "norm2",
        (BlockPart::Expand, _, true) => "mlp.weights_in",
        (BlockPart::Contract, _, true) => "mlp.weights_out",
        (BlockPart::Expand, ..) => "mlp.fc1",
        (BlockPart::Contract, ..) => "mlp.fc2",
    };
    Stored::Whole(format!("{block}.{name}.{kind}"))
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

fn open_clip(names: OpenClipNames, id: TensorId) -> Option<Stored> {
    let text = if names.custom_text { "text." } else { "" };
    let name = match id {
        TensorId::LogitScale => "logit_scale".into(),
        TensorId::LogitBias => "logit_bias".into(),
        TensorId::Tokens => format!("{text}token_embedding.weight"),
        TensorId::Positions(Tower::Text) => format!("{text}positional_embedding"),
        TensorId::Block(Tower::Text, layer, part, kind) => {
            return open_clip_block(&format!("{text}transformer"), layer, part, kind);
        }
        TensorId::LayerScale(Tower::Text, layer, branch) => {
            open_clip_layer_scale(&format!("{text}transformer"), layer, branch)
        }
        TensorId::FinalNorm(Tower::Text, kind) => format!("{text}ln_final.{}", kind.name()),
        TensorId::Projection(Tower::Text, kind) if names.text_projection_layer => {
            format!("{text}text_projection.{}", kind.name())
        }
        TensorId::Projection(Tower::Text, _) => {
            return Some(Stored::Transposed(format!("{text}text_projection")));
        }
        _ => {
            return match names.vision {
                VisionNames::OpenClip => open_clip_vision(id),
                VisionNames::Timm(names) => timm("visual.", names, id),
            };
        }
    };
    Some(Stored::Whole(name))
}

fn open_clip_vision(id: TensorId) -> Option<Stored> {
    let name = match id {
        TensorId::Positions(Tower::Vision) => "visual.positional_embedding".into(),
        TensorId::ClassToken => "visual.class_embedding".into(),
        TensorId::Patches(kind) => format!("visual.conv1.{}", kind.name()),
        TensorId::PreNorm(kind) => format!("visual.ln_pre.{}", kind.name()),
        TensorId::Block(Tower::Vision, layer, part, kind) => {
            return open_clip_block("visual.transformer", layer, part, kind);
        }
        TensorId::LayerScale(Tower::Vision, layer, branch) => {
            open_clip_layer_scale("visual.transformer", layer, branch)
        }
        TensorId::FinalNorm(Tower::Vision, kind) => format!("visual.ln_post.{}", kind.name()),
        TensorId::Projection(Tower::Vision, Kind::Weight) => {
            return Some(Stored::Transposed("visual.proj".into()));
        }
        _ => return None,
    };
    Some(Stored::Whole(name))
}

fn open_clip_block(tower: &str, layer: usize, part: BlockPart, kind: Kind) -> Option<Stored> {
    let kind = kind.name();
    let name = match part {
        BlockPart::Norm1 => format!("ln_1.{kind}"),
        BlockPart::Projections => format!("attn.in_proj_{kind}"),
        BlockPart::Output => format!("attn.out_proj.{kind}"),
        BlockPart::Norm2 => format!("ln_2.{kind}"),
        BlockPart::Expand => format!("mlp.c_fc.{kind}"),
        BlockPart::Contract => format!("mlp.c_proj.{kind}"),
    };
    Some(Stored::Whole(format!("{tower}.resblocks.{layer}.{name}")))
}

fn open_clip_layer_scale(tower: &str, layer: usize, branch: Branch) -> String {
    let name = match branch {
        Branch::Attention => "ls_1",
        Branch::Mlp => "ls_2",
    };
    format!("{tower}.resblocks.{layer}.{name}.gamma")
}

/// A vision transformer of timm's. Inside open_clip's model, whose names begin with `visual.`, it is called the trunk.
fn timm(root: &str, names: TimmNames, id: TensorId) -> Option<Stored> {
    let trunk = if root.is_empty() { "" } else { "trunk." };
    let name = match id {
        TensorId::Positions(Tower::Vision) => format!("{trunk}pos_embed"),
        TensorId::ClassToken => format!("{trunk}cls_token"),
        TensorId::Registers => format!("{trunk}reg_token"),
        TensorId::Classifier(kind) if root.is_empty() => format!("head.{}", kind.name()),
        TensorId::Patches(kind) => format!("{trunk}patch_embed.proj.{}", kind.name()),
        TensorId::PreNorm(kind) => format!("{trunk}norm_pre.{}", kind.name()),
        TensorId::Block(Tower::Vision, layer, part, kind) => {
            format!("{trunk}blocks.{layer}.{}.{}", timm_block(part), kind.name())
        }
        TensorId::LayerScale(Tower::Vision, layer, Branch::Attention) => {
            format!("{trunk}blocks.{layer}.ls1.gamma")
        }
        TensorId::LayerScale(Tower::Vision, layer, Branch::Mlp) => format!("{trunk}blocks.{layer}.ls2.gamma"),
        TensorId::FinalNorm(Tower::Vision, kind) => format!("{trunk}{}.{}", names.final_norm, kind.name()),
        TensorId::Projection(Tower::Vision, kind) => format!("{}.{}", names.projection, kind.name()),
        TensorId::Probe => format!("{trunk}attn_pool.latent"),
        TensorId::Pool(part, kind) => return timm_pool(&format!("{root}{trunk}"), part, kind),
        _ => return None,
    };
    Some(Stored::Whole(format!("{root}{name}")))
}

fn timm_block(part: BlockPart) -> &'static str {
    match part {
        BlockPart::Norm1 => "norm1",
        BlockPart::Projections => "attn.qkv",
        BlockPart::Output => "attn.proj",
        BlockPart::Norm2 => "norm2",
        BlockPart::Expand => "mlp.fc1",
        BlockPart::Contract => "mlp.fc2",
    }
}

/// The query has a layer of its own there; keys and values share one.
fn timm_pool(root: &str, part: BlockPart, kind: Kind) -> Option<Stored> {
    let name = |part: &str| format!("{root}attn_pool.{part}.{}", kind.name());
    let part = match part {
        BlockPart::Norm1 => return None,
        BlockPart::Projections => return Some(Stored::Pieces(vec![(name("q"), 1), (name("kv"), 2)])),
        BlockPart::Output => "proj",
        BlockPart::Norm2 => "norm",
        BlockPart::Expand => "mlp.fc1",
        BlockPart::Contract => "mlp.fc2",
    };
    Some(Stored::Whole(name(part)))
}

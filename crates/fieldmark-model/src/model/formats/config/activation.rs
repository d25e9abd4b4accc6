//! The nonlinearities that are supported.

/// The nonlinearity between the two layers of an MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activation {
    /// x · sigmoid(1.702 x), as in OpenAI's own checkpoints.
    QuickGelu,
    /// The exact GELU, with the error function.
    Gelu,
    /// The GELU with a hyperbolic tangent in the place of the error function, as in SigLIP.
    GeluTanh,
    /// x · sigmoid(x), in gated MLPs.
    Silu,
}

impl Activation {
    /// Every activation that is supported.
    pub const ALL: [Self; 4] = [Self::QuickGelu, Self::Gelu, Self::GeluTanh, Self::Silu];

    /// The names in `config.json`, as transformers' table of activations defines them. Several stand for one function:
    /// `gelu_new`, `gelu_accurate`, `gelu_fast` and `gelu_pytorch_tanh` are the same formula, with its constants written
    /// out to different lengths, beyond what float32 distinguishes.
    pub const NAMES: [(&str, Self); 8] = [
        ("quick_gelu", Self::QuickGelu),
        ("gelu", Self::Gelu),
        ("gelu_pytorch_tanh", Self::GeluTanh),
        ("gelu_new", Self::GeluTanh),
        ("gelu_fast", Self::GeluTanh),
        ("gelu_accurate", Self::GeluTanh),
        ("gelu_python", Self::Gelu),
        ("silu", Self::Silu),
    ];

    /// The activation that `config.json` calls so.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, activation)| *activation)
    }

    /// The most usual of its names in `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::QuickGelu => "quick_gelu",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_pytorch_tanh",
            Self::Silu => "silu",
        }
    }
}

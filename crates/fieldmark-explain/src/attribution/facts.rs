//! What a user chooses a method by, and what results depend on: facts, each method's own.

use serde::Serialize;

use fieldmark_model::named;

/// What is known of a method.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Facts {
    /// One line on what a value of the map is, without a full stop.
    pub measures: &'static str,
    /// The unit of the map's values.
    pub unit: Unit,
    /// Whether there are values below 0: evidence against the concept, or the other side of an average.
    pub signed: bool,
    /// Whether the map is linear in the gradient. Then the map of a contrast is the same contrast of plain maps;
    /// else it has to be made from the contrast's own gradient, which is how every map is made here.
    pub linear: bool,
    /// Whether prompts decide what the map shows. Where they do not, they decide its sign at most, and rivals
    /// take nothing out.
    pub discriminative: bool,
    /// The time from decoded photo to map, in multiples of Grad-CAM's: one prompt, the method's own layer, ViT-B/16 at
    /// its trained size, on a processor. `examples/method_costs.rs` measures it. None where nobody has.
    pub cost: Option<f64>,
    /// Who describes it: authors, venue, arXiv number or code.
    pub paper: &'static str,
}

/// What a map's values count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// The objective's unit, which is logits unless the objective is a probability: the map changes in
    /// proportion with the objective.
    Objective,
    /// The unit of the activations, which has no name.
    Activations,
    /// Shares, products or other numbers that only compare within one map.
    None,
}

named!(Unit, "unit", Objective => "objective", Activations => "activations", None => "none");

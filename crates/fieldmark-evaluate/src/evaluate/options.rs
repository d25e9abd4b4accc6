//! What is evaluated, and how.

use fieldmark_explain::{
    explain::{Layers, Rivals, Settings},
    objective::Strength,
};
use fieldmark_model::photo::PhotoOptions;

use super::{Faithfulness, Group, Metric, Sanity, Tolerance};

/// What to evaluate: every method with every layer; of each of them the plain map, and one of every objective with every
/// strength.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// All other settings; its method, layers, strength and objective play no part where they are listed here.
    pub settings: Settings,
    /// The methods' names. Empty: what the checkpoint recommends, else the first.
    pub methods: Vec<String>,
    /// The blocks that are compared, each alone or several combined. Empty: those of the settings.
    pub layers: Vec<Layers>,
    /// The strengths of the contrasted maps. An objective that knows only some takes the nearest that it knows.
    pub strengths: Vec<Strength>,
    /// The objectives' names. Empty: that of the settings.
    pub aggregates: Vec<String>,
    /// How rivals are found, in place of those that the data set names.
    pub rivals: Option<Rivals>,
    /// What is measured; metrics of faithfulness and sanity cost further passes.
    pub metrics: Vec<Metric>,
    /// How faithfulness is measured; its list of metrics does not count.
    pub faithfulness: Faithfulness,
    /// How sanity is checked.
    pub sanity: Sanity,
    /// What else could be asked of the pictures: among these is the other concept of sanity.
    pub concepts: Vec<String>,
    /// How far beside the truth a point may lie.
    pub tolerance: Tolerance,
    /// What photos may be.
    pub photo: PhotoOptions,
}

fieldmark_model::setters!(Options {
    settings: Settings,
    methods: Vec<String>,
    layers: Vec<Layers>,
    strengths: Vec<Strength>,
    aggregates: Vec<String>,
    rivals: Option<Rivals>,
    metrics: Vec<Metric>,
    faithfulness: Faithfulness,
    sanity: Sanity,
    concepts: Vec<String>,
    tolerance: Tolerance,
    photo: PhotoOptions,
});

impl Default for Options {
    fn default() -> Self {
        let settings = Settings::default();
        Self {
            methods: Vec::new(),
            layers: Vec::new(),
            strengths: vec![settings.strength],
            aggregates: Vec::new(),
            rivals: None,
            metrics: Metric::ALL
                .iter()
                .copied()
                .filter(|metric| metric.group() == Group::Localisation)
                .collect(),
            faithfulness: Faithfulness::default(),
            sanity: Sanity::default(),
            concepts: Vec::new(),
            tolerance: Tolerance::default(),
            photo: PhotoOptions::default(),
            settings,
        }
    }
}

impl Options {
    /// How faithfulness is measured, if it is.
    pub(super) fn asked_faithfulness(&self) -> Option<Faithfulness> {
        let metrics = self.metrics_of(Group::Faithfulness);
        (!metrics.is_empty()).then(|| Faithfulness { metrics, ..self.faithfulness.clone() })
    }

    /// How sanity is checked, if it is. Numbers that need the cascade's other stages are left out.
    pub(super) fn asked_sanity(&self) -> Option<Sanity> {
        (!self.metrics_of(Group::Sanity).is_empty()).then(|| self.sanity.clone())
    }

    pub(super) fn metrics_of(&self, group: Group) -> Vec<Metric> {
        self.metrics.iter().copied().filter(|metric| metric.group() == group).collect()
    }
}

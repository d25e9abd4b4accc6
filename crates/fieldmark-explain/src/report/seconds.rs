//! What making a result took, and how its pictures were drawn.

use serde::{Deserialize, Serialize};

use crate::render::ScaleRule;

/// How much evidence got the last colour of pictures, in the map's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Drawn {
    /// Which pictures share a scale.
    pub rule: ScaleRule,
    /// Of the overlay and the layer, which show what speaks for the concept; none if nothing was drawn.
    pub overlay: Option<f32>,
    /// Of the heatmap, for the concept as against it; none if nothing was drawn.
    pub heatmap: Option<f32>,
}

/// Where the time went, in seconds. What was not done took none. Of photos that pass the trunk together each has a share
/// of the trunk's time by its size. Photos of a run that are at work at once share its time, so the stages of all photos
/// add up to the time in which the run worked ([`Outcome::seconds`](crate::run::Outcome::seconds)); what is done once a
/// run, `load` and most of `text`, is the same in all records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Seconds {
    /// Finding and opening the checkpoint, once a run.
    pub load: f64,
    /// Reading, decoding and fitting the photo.
    pub decode: f64,
    /// Embedding the prompts, once a run.
    pub text: f64,
    /// The vision tower up to the layer.
    pub trunk: f64,
    /// From there to the maps.
    pub head: f64,
    /// Drawing and writing files.
    pub render: f64,
}

impl Seconds {
    /// What passes over the photo took.
    pub(crate) fn tower(&self) -> f64 {
        self.decode + self.trunk
    }

    /// With what further passes over the photo took.
    pub(crate) fn and_tower(self, other: &Self) -> Self {
        Self { decode: self.decode + other.decode, trunk: self.trunk + other.trunk, ..self }
    }

    /// The stages that each photo goes through, in the same proportions, so that they add up to its share of a run's time;
    /// what is done once a run stays.
    #[must_use]
    pub fn adding_up_to(self, total: f64) -> Self {
        let sum = self.decode + self.text + self.trunk + self.head + self.render;
        if sum <= 0.0 {
            return Self { head: total, ..self };
        }
        let share = |stage: f64| total * (stage / sum);
        Self {
            load: self.load,
            decode: share(self.decode),
            text: share(self.text),
            trunk: share(self.trunk),
            head: share(self.head),
            render: share(self.render),
        }
    }

    /// With the texts' time, and that of everything after the passes over the photo.
    pub(crate) fn with(self, text: f64, head: f64) -> Self {
        Self { text, head, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_of_a_photo_add_up_to_its_share() {
        let seconds = Seconds { load: 9.0, decode: 1.0, text: 0.5, trunk: 4.0, head: 2.0, render: 0.5 };
        let shared = seconds.adding_up_to(4.0);
        let half = Seconds { load: 9.0, decode: 0.5, text: 0.25, trunk: 2.0, head: 1.0, render: 0.25 };
        assert_eq!(shared, half);
        let unknown = Seconds { load: 9.0, ..Seconds::default() };
        assert_eq!(unknown.adding_up_to(4.0), Seconds { head: 4.0, ..unknown });
    }
}

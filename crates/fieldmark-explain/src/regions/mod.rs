//! A map becomes an answer in whole pixels: its peak, its regions with their outlines, and points for a segmenter.
//!
//! Everything reads the map at the photo's own resolution without ever holding it whole: between four cells the map is
//! smooth, so most pixels need no look (`attribution::runs`). What is asked of one map shares one `Reading`.

mod component;
mod corner;
mod outline;
mod place;
mod points;
mod reading;
mod region;
mod simplified;
mod threshold;

pub use corner::Corner;
pub use outline::{Mask, RunLengths};
pub use place::Place;
pub use points::{Label, MOST_POINTS, Point, points};
pub(crate) use reading::Reading;
pub use reading::{LEAST_SHARE, instances, level, peak, peak_evidence, regions};
pub use region::{Instance, Peak, Region};
pub use threshold::Threshold;

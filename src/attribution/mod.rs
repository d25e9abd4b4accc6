//! MAP: activations and gradients become a signed map of evidence on the grid of patches.
//!
//! A new method is one file here and one line in [`METHODS`].

mod facts;
mod grad_cam;
mod hires_cam;
mod map;
pub(crate) mod resample;
mod targets;

pub use facts::{Facts, Unit};
pub use grad_cam::GradCam;
pub use hires_cam::HiResCam;
pub use map::ConceptMap;
pub use targets::Targets;

use candle_core::Tensor;

use crate::{
    error::{Error, Result},
    gradient::LayerTrace,
};

/// A way to turn activations and gradients into maps.
pub trait Method: Send + Sync {
    /// The name on the command line and in results.
    fn name(&self) -> &'static str;

    /// What users choose it by, and what results depend on.
    fn facts(&self) -> Facts;

    /// The maps, one for every target, before the paper's last ReLU and scaling.
    ///
    /// A gradient that is zero everywhere gives a map that is zero everywhere. A method that runs the model again
    /// tells [`LayerTrace::progress`] how far it is.
    ///
    /// # Shapes
    /// Returns [rows, cells], the rows in the targets' order.
    ///
    /// # Errors
    /// [`Error::Numeric`] if a gradient got lost or is not finite.
    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor>;
}

/// Every method, the default first.
pub static METHODS: &[&dyn Method] = &[&GradCam, &HiResCam];

/// The method of that name.
///
/// # Errors
/// [`Error::Option`] names those that there are.
pub fn method(name: &str) -> Result<&'static dyn Method> {
    let found = METHODS.iter().find(|method| method.name() == name);
    found.copied().ok_or_else(|| {
        let names: Vec<_> = METHODS.iter().map(|method| method.name()).collect();
        let reason = format!("expected one of {}, found {name:?}", names.join(", "));
        Error::Option { option: "method", reason }
    })
}

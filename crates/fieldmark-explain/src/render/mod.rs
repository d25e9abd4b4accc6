//! RENDER: a signed map and its photo become pictures.
//!
//! Everything that the eye may be led by is a named field of [`RenderOptions`]; the map itself is never
//! changed. Nothing here knows where a map comes from, or where a picture goes.

mod bar;
mod canvas;
pub(crate) mod colormap;
mod contour;
mod figure;
mod labels;
mod methods;
mod overlay;
mod pairs;
mod scale;
mod sheet;
mod text;

pub use bar::{heatmap_with_bar, overlay_with_bar};
pub use colormap::{ColorMap, Sign};
pub use figure::LONGEST_PANEL;
pub use labels::{MOST_LABELS, label_colors, labels};
pub use methods::{MethodColumn, MethodRow, methods};
pub use overlay::{heatmap, layer, mask, overlay};
pub use pairs::{PairRow, pairs};
pub use scale::{Scale, ScaleRule};
pub use sheet::{Panel, sheet, strip};
pub use text::FONT_FILE;

/// Every choice of how a map is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct RenderOptions {
    /// The colours, and with them the sign: a sequential colour map shows the evidence for the concept, a
    /// diverging one also the evidence against it.
    pub colors: ColorMap,
    /// The evidence that gets the last colour.
    pub scale: Scale,
    /// How much of the photo the last colour hides in an overlay: 0 nothing, 1 everything.
    pub opacity: f32,
    /// How the colour's opacity grows from no evidence to the last colour: its power of the evidence.
    /// 1 is proportional; less shows weak evidence more, more shows it less. Above 0.
    pub gamma: f32,
    /// The part of the scale (0 to 1) at which a thin line is drawn in an overlay; none for no line. At 0.5
    /// and the map's own scale it is the edge of [`crate::regions::regions`] at the default threshold.
    pub contour: Option<f32>,
    /// How pale the part of the photo that the map does not cover becomes: 0 as it is, 1 white.
    pub paleness_outside: f32,
}

fieldmark_model::setters!(RenderOptions {
    colors: ColorMap,
    scale: Scale,
    opacity: f32,
    gamma: f32,
    contour: Option<f32>,
    paleness_outside: f32,
});

impl Default for RenderOptions {
    /// Evidence for the concept, scaled by the map itself.
    fn default() -> Self {
        Self {
            colors: ColorMap::Plasma,
            scale: Scale::Own,
            opacity: 0.6,
            gamma: 0.8,
            contour: Some(0.5),
            paleness_outside: 0.5,
        }
    }
}

impl RenderOptions {
    /// Evidence for and against the concept, in diverging colours.
    pub fn signed() -> Self {
        Self { colors: ColorMap::BlueOrange, ..Self::default() }
    }
}

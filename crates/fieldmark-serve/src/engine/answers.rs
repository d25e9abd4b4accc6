//! Questions about a photo become the library's records and maps.

use std::sync::Arc;

use fieldmark_explain::{
    Query, Settings,
    explain::{Compare, CompareQuery, Found},
    page,
};
use fieldmark_model::{files::png, photo::Photo};
use image::RgbImage;

use super::{Engine, Entry, Fault, Hidden};

/// The long side of the small pictures of a list.
const THUMBNAIL: u32 = 240;

/// The most pixels of a picture that the page gets without loss.
const LOSSLESS_PIXELS: u64 = 1_500_000;

/// The long side of larger pictures.
const LONGEST_PICTURE: u32 = 2048;

/// An answer, with the photo that it is about.
pub(crate) struct Answer {
    pub(crate) photo: Arc<Photo>,
    pub(crate) found: Found,
}

/// A comparison, with the photo that it is about.
pub(crate) struct Compared {
    pub(crate) photo: Arc<Photo>,
    pub(crate) compare: Compare,
}

impl<'m> Engine<'m> {
    /// One target on a photo, parts of which may be hidden.
    pub(crate) fn localize(&self, id: &str, query: &Query, hidden: &Hidden) -> Result<Answer, Fault> {
        let entry = self.entry(id)?;
        if hidden.0.is_empty() {
            let found = self.with_session(&entry, |session| session.localize(query))?;
            return Ok(Answer { photo: Arc::clone(&entry.photo), found });
        }
        let photo = Arc::new(hidden.apply(&entry.photo)?);
        let found = self.explainer.session(Arc::clone(&photo)).localize(query)?;
        Ok(Answer { photo, found })
    }

    /// Several prompts on a photo, parts of which may be hidden.
    pub(crate) fn compare(
        &self,
        id: &str,
        lineup: &CompareQuery,
        settings: &Settings,
        hidden: &Hidden,
    ) -> Result<Compared, Fault> {
        let entry = self.entry(id)?;
        if hidden.0.is_empty() {
            let compare = self.with_session(&entry, |session| session.rank(lineup, settings))?;
            return Ok(Compared { photo: Arc::clone(&entry.photo), compare });
        }
        let photo = Arc::new(hidden.apply(&entry.photo)?);
        let compare = self.explainer.session(Arc::clone(&photo)).rank(lineup, settings)?;
        Ok(Compared { photo, compare })
    }
}

/// The photo as the page shows it, and its media type: as it is, or a smaller JPEG of a large one.
pub(crate) fn picture(entry: &Entry<'_>) -> Result<(Vec<u8>, &'static str), Fault> {
    let rgb = entry.photo.rgb();
    if u64::from(rgb.width()) * u64::from(rgb.height()) <= LOSSLESS_PIXELS {
        return Ok((lossless(rgb)?, "image/png"));
    }
    Ok((page::picture(rgb, LONGEST_PICTURE)?, "image/jpeg"))
}

/// A small JPEG of the photo.
pub(crate) fn thumbnail(entry: &Entry<'_>) -> Result<Vec<u8>, Fault> {
    Ok(page::picture(entry.photo.rgb(), THUMBNAIL)?)
}

/// A picture as PNG.
pub(crate) fn lossless(rgb: &RgbImage) -> Result<Vec<u8>, Fault> {
    png(&rgb.clone().into()).map_err(|error| Fault::Panic(format!("no PNG of a picture: {error}")))
}

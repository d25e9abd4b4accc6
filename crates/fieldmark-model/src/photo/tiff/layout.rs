//! What a directory says of its picture, checked: sides, samples, colours, and where the strips or tiles lie.

use super::Fault;
use super::colour::{Alpha, Colour};
use super::compression::Compression;
use super::ifd::{Directory, Field, File, Order, tag};
use crate::geometry::Size;

/// Memory for rows beside what the picture's pixels justify.
const ROW_BYTES: u64 = 64 << 20;

/// How a sample is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unsigned,
    Signed,
    Float,
}

/// How a row's samples differ from those stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Predictor {
    None,
    Horizontal,
    Float,
}

/// The samples of one pixel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Samples {
    pub(super) kind: Kind,
    pub(super) bits: u32,
    pub(super) order: Order,
    /// Samples of a pixel, those without a meaning here included.
    pub(super) count: usize,
    /// Each kind of sample has strips or tiles of its own.
    pub(super) separate: bool,
}

impl Samples {
    /// Samples of a pixel that lie side by side.
    pub(super) fn interleaved(&self) -> usize {
        if self.separate { 1 } else { self.count }
    }

    /// Bytes of a row of so many pixels.
    pub(super) fn row_bytes(&self, width: u64) -> u64 {
        width.saturating_mul(self.interleaved() as u64).saturating_mul(u64::from(self.bits)).div_ceil(8)
    }
}

/// Strips or tiles: a picture's parts of one size, those at its right and lower edge cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    pub(super) tiled: bool,
    pub(super) width: u32,
    pub(super) height: u32,
    /// Parts beside each other.
    pub(super) across: u64,
    /// Parts below each other.
    pub(super) down: u64,
    offsets: Field,
    counts: Option<Field>,
}

/// Everything that decoding needs to know.
pub(super) struct Layout<'a> {
    pub(super) size: Size,
    pub(super) samples: Samples,
    pub(super) parts: Parts,
    pub(super) compression: Compression<'a>,
    pub(super) predictor: Predictor,
    /// The first bit of a byte is its lowest.
    pub(super) bits_reversed: bool,
    pub(super) colour: Colour,
    pub(super) alpha: Option<Alpha>,
}

impl<'a> Layout<'a> {
    /// Reads a directory whose sides are known to be within the limits.
    pub(super) fn new(file: &File<'a, [u8]>, directory: &Directory, size: Size) -> Result<Self, Fault> {
        let mut compression = Compression::new(file, directory)?;
        let mut samples = samples(file, directory)?;
        let mut colour = Colour::new(file, directory, &samples, &compression)?;
        compression.settle(&mut samples, &mut colour)?;
        let alpha = alpha(file, directory, samples.count, colour.channels())?;
        let predictor = predictor(file, directory, &samples, &compression)?;
        if predictor == Predictor::Float {
            // It takes floats apart with their highest byte first, in either byte order of the file.
            samples.order = Order::Big;
        }
        if colour.is_subsampled() && predictor != Predictor::None {
            return Err(Fault::unsupported("a predictor with colour at lower resolution"));
        }
        let parts = Parts::new(file, directory, size)?;
        let bits_reversed =
            file.first(directory, tag::FILL_ORDER)? == Some(2) && compression.obeys_fill_order();
        let layout = Self { size, samples, parts, compression, predictor, bits_reversed, colour, alpha };
        layout.check(file)?;
        Ok(layout)
    }

    /// Refuses what wants more memory or time than a picture of its size can.
    fn check(&self, file: &File<'a, [u8]>) -> Result<(), Fault> {
        let pixels = self.size.area();
        let part_pixels = u64::from(self.parts.width) * u64::from(self.parts.height);
        let row = self.samples.row_bytes(self.parts.width.into());
        let budget = pixels.saturating_mul(16).saturating_add(ROW_BYTES);
        if row.saturating_mul(2) > budget || part_pixels.saturating_mul(4) > budget {
            return Err(Fault::broken(format!(
                "parts of {} x {} pixels and {} samples want more memory than a picture of {} x {} needs",
                self.parts.width, self.parts.height, self.samples.count, self.size.width, self.size.height
            )));
        }
        let planes = if self.samples.separate { self.samples.count as u64 } else { 1 };
        let needed = self.parts.across.saturating_mul(self.parts.down).saturating_mul(planes);
        if self.parts.offsets.count < needed {
            let what = if self.parts.tiled { "tiles" } else { "strips" };
            let found = self.parts.offsets.count;
            return Err(Fault::broken(format!("expected {needed} {what}, found {found}")));
        }
        let rows = self.parts.across.saturating_mul(self.size.height.into());
        let total = rows.saturating_mul(row).saturating_mul(self.used_planes() as u64);
        if self.compression.largest_output(file.bytes().len() as u64).is_some_and(|most| total > most) {
            return Err(Fault::Truncated);
        }
        Ok(())
    }

    /// Kinds of samples that lie apart and have a meaning here.
    pub(super) fn used_planes(&self) -> usize {
        if self.samples.separate { self.channels().len() } else { 1 }
    }

    /// The samples that have a meaning: colours, then alpha.
    pub(super) fn channels(&self) -> Vec<usize> {
        (0..self.colour.channels()).chain(self.alpha.map(|alpha| alpha.sample)).collect()
    }

    /// The stored bytes of a part, or none where the file leaves it out as empty.
    pub(super) fn part<'f>(&self, file: &File<'f, [u8]>, index: u64) -> Result<Option<&'f [u8]>, Fault> {
        let offset = file.get(&self.parts.offsets, index)?;
        let counts = self.parts.counts.filter(|counts| index < counts.count);
        let count = counts.map(|counts| file.get(&counts, index)).transpose()?;
        if offset == 0 && count == Some(0) {
            return Ok(None);
        }
        let bytes = file.bytes();
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..));
        let rest = rest.filter(|rest| !rest.is_empty()).ok_or(Fault::Truncated)?;
        // How much lies there is known without the count if nothing is compressed; and some writers leave it out.
        let count = count.filter(|&count| count > 0 && !self.compression.is_none());
        let length =
            count.map_or(rest.len(), |count| rest.len().min(usize::try_from(count).unwrap_or(usize::MAX)));
        Ok(Some(&rest[..length]))
    }
}

impl Parts {
    fn new(file: &File<'_, [u8]>, directory: &Directory, size: Size) -> Result<Self, Fault> {
        let tile_width = file.first(directory, tag::TILE_WIDTH)?;
        let tiled = tile_width.is_some();
        let (part_width, part_height) = if tiled {
            (tile_width.unwrap_or(0), file.first(directory, tag::TILE_LENGTH)?.unwrap_or(0))
        } else {
            let rows = file.first(directory, tag::ROWS_PER_STRIP)?.filter(|&rows| rows > 0);
            (size.width.into(), rows.unwrap_or(u64::MAX).min(size.height.into()))
        };
        let side = |side: u64| u32::try_from(side).ok().filter(|&side| side > 0);
        let (Some(part_width), Some(part_height)) = (side(part_width), side(part_height)) else {
            return Err(Fault::broken(format!("tiles of {part_width} x {part_height} pixels")));
        };
        let (offsets, counts) = places(file, directory, tiled)?;
        Ok(Self {
            tiled,
            width: part_width,
            height: part_height,
            across: u64::from(size.width.div_ceil(part_width)),
            down: u64::from(size.height.div_ceil(part_height)),
            offsets: offsets.ok_or_else(|| Fault::broken("it does not say where its pixels are"))?,
            counts,
        })
    }
}

/// Where the parts lie, and how many bytes each has. Some writers give strips the tags of tiles, or the other way round.
fn places(
    file: &File<'_, [u8]>,
    directory: &Directory,
    tiled: bool,
) -> Result<(Option<Field>, Option<Field>), Fault> {
    let strips = [tag::STRIP_OFFSETS, tag::STRIP_BYTE_COUNTS];
    let tiles = [tag::TILE_OFFSETS, tag::TILE_BYTE_COUNTS];
    let [first, second] = if tiled { [tiles, strips] } else { [strips, tiles] };
    let either = |place: usize| match file.array(directory, first[place])? {
        Some(field) => Ok(Some(field)),
        None => file.array(directory, second[place]),
    };
    Ok((either(0)?, either(1)?))
}

fn samples(file: &File<'_, [u8]>, directory: &Directory) -> Result<Samples, Fault> {
    let bits = file.list(directory, tag::BITS_PER_SAMPLE, 65_536)?;
    let formats = file.list(directory, tag::SAMPLE_FORMAT, 65_536)?;
    let count = file.first(directory, tag::SAMPLES_PER_PIXEL)?.unwrap_or(bits.len().max(1) as u64);
    let count = usize::try_from(count).ok().filter(|count| (1..=65_535).contains(count));
    let count = count.ok_or_else(|| Fault::broken("a number of samples that no pixel can have"))?;
    let alike = |values: &[u64]| values.iter().take(count).all(|value| *value == values[0]);
    if !alike(&bits) || !alike(&formats) {
        return Err(Fault::unsupported("samples of unlike types in one pixel"));
    }
    let bits = bits.first().copied().unwrap_or(1);
    let kind = match formats.first().copied().unwrap_or(1) {
        2 => Kind::Signed,
        3 => Kind::Float,
        5 | 6 => return Err(Fault::unsupported("complex numbers as samples")),
        _ => Kind::Unsigned,
    };
    let known = if kind == Kind::Float { matches!(bits, 16 | 32 | 64) } else { matches!(bits, 1..=32 | 64) };
    if !known {
        let what = if kind == Kind::Float { "floats" } else { "samples" };
        return Err(Fault::unsupported(format!("{what} of {bits} bits")));
    }
    let separate = match file.first(directory, tag::PLANAR_CONFIGURATION)? {
        Some(2) => count > 1,
        _ => false,
    };
    Ok(Samples { kind, bits: bits as u32, order: file.order, count, separate })
}

/// The first extra sample that is an alpha channel.
///
/// One extra sample without a word on its meaning is one as well, as in other readers.
fn alpha(
    file: &File<'_, [u8]>,
    directory: &Directory,
    samples: usize,
    colours: usize,
) -> Result<Option<Alpha>, Fault> {
    if samples < colours {
        return Err(Fault::broken(format!("expected {colours} samples in a pixel, found {samples}")));
    }
    let extras = samples - colours;
    let meanings = file.list(directory, tag::EXTRA_SAMPLES, 65_536)?;
    if meanings.is_empty() {
        return Ok((extras == 1).then_some(Alpha { sample: colours, multiplied: false }));
    }
    let found = meanings.iter().take(extras).position(|&meaning| matches!(meaning, 1 | 2 | 999));
    Ok(found.map(|place| Alpha { sample: colours + place, multiplied: meanings[place] == 1 }))
}

fn predictor(
    file: &File<'_, [u8]>,
    directory: &Directory,
    samples: &Samples,
    compression: &Compression<'_>,
) -> Result<Predictor, Fault> {
    // The other compressions know none, and readers pass over the tag there.
    if !compression.has_predictor() {
        return Ok(Predictor::None);
    }
    let bits = samples.bits;
    match file.first(directory, tag::PREDICTOR)?.unwrap_or(1) {
        0 | 1 => Ok(Predictor::None),
        2 if matches!(bits, 8 | 16 | 32 | 64) => Ok(Predictor::Horizontal),
        2 => Err(Fault::unsupported(format!("a predictor on samples of {bits} bits"))),
        3 if samples.kind == Kind::Float => Ok(Predictor::Float),
        3 => Err(Fault::unsupported("a predictor for floats on whole numbers")),
        other => Err(Fault::unsupported(format!("predictor {other}"))),
    }
}

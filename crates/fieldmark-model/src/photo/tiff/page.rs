//! Which of a file's pictures is the photo, and whether the file is one of a camera's raw formats.

use super::Fault;
use super::ifd::{Bytes, Directory, File, tag};

/// What `NewSubfileType` says of pictures that are not the photo: smaller ones, masks, depth maps.
const NOT_THE_PHOTO: u64 = 1 | 4 | 8;
/// `SubfileType`, its forerunner: a smaller picture.
const REDUCED: u64 = 2;
/// `PhotometricInterpretation` of a mask.
const MASK: u64 = 4;

/// The largest picture that is neither a smaller version nor a mask of another; the first of several, and any picture
/// where all are marked so.
pub(super) fn choose<B: Bytes + ?Sized>(
    file: &File<'_, B>,
    directories: &[Directory],
) -> Result<usize, Fault> {
    let mut best: Option<(bool, u64, usize)> = None;
    for (place, directory) in directories.iter().enumerate() {
        let Some(area) = area(file, directory)? else { continue };
        let whole = is_whole(file, directory)?;
        if best.is_none_or(|(best_whole, best_area, _)| (whole, area) > (best_whole, best_area)) {
            best = Some((whole, area, place));
        }
    }
    best.map(|(_, _, place)| place).ok_or_else(|| Fault::broken("it has no picture"))
}

fn area<B: Bytes + ?Sized>(file: &File<'_, B>, directory: &Directory) -> Result<Option<u64>, Fault> {
    let has_data =
        directory.field(tag::STRIP_OFFSETS).is_some() || directory.field(tag::TILE_OFFSETS).is_some();
    let width = file.first(directory, tag::IMAGE_WIDTH)?;
    let height = file.first(directory, tag::IMAGE_LENGTH)?;
    Ok(match (width, height) {
        (Some(width), Some(height)) if has_data => Some(width.saturating_mul(height)),
        _ => None,
    })
}

fn is_whole<B: Bytes + ?Sized>(file: &File<'_, B>, directory: &Directory) -> Result<bool, Fault> {
    let new = file.first(directory, tag::NEW_SUBFILE_TYPE)?;
    let old = file.first(directory, tag::SUBFILE_TYPE)?;
    let mask = file.first(directory, tag::PHOTOMETRIC)? == Some(MASK);
    Ok(new.unwrap_or(0) & NOT_THE_PHOTO == 0 && old != Some(REDUCED) && !mask)
}

/// How the picture is to be turned: as its own directory says, else the one that it is a part of.
pub(super) fn orientation<B: Bytes + ?Sized>(
    file: &File<'_, B>,
    directories: &[Directory],
    chosen: usize,
) -> Option<u8> {
    let mut place = chosen;
    loop {
        let directory = directories.get(place)?;
        // What cannot be read is no reason to refuse good pixels.
        if let Ok(Some(value)) = file.first(directory, tag::ORIENTATION) {
            return u8::try_from(value).ok();
        }
        place = directory.parent?;
    }
}

/// The name of the raw format, if the file has data of a camera's sensor.
///
/// `Make` alone says nothing: cameras and programs write it into ordinary pictures as well.
pub(super) fn raw_format<B: Bytes + ?Sized>(
    file: &File<'_, B>,
    directories: &[Directory],
) -> Option<&'static str> {
    // Phase One's mark follows the header.
    if matches!(&file.start(12)?[8..], b"IIII" | b"MMMM") {
        return Some("Phase One IIQ");
    }
    if directories.iter().any(|directory| directory.field(tag::DNG_VERSION).is_some()) {
        return Some("DNG");
    }
    if !directories.iter().any(|directory| has_sensor_data(file, directory)) {
        return None;
    }
    Some(directories.iter().find_map(|directory| maker(file, directory)).unwrap_or("a camera's raw format"))
}

fn has_sensor_data<B: Bytes + ?Sized>(file: &File<'_, B>, directory: &Directory) -> bool {
    let value = |tag| file.first(directory, tag).ok().flatten();
    // Colour filter array and linear raw; then the compressions of Nikon, Sony, Pentax, Samsung and Kodak.
    matches!(value(tag::PHOTOMETRIC), Some(32803 | 34892))
        || matches!(
            value(tag::COMPRESSION),
            Some(34713 | 32767 | 65535 | 32769 | 32770 | 32772 | 65000 | 32867)
        )
}

fn maker<B: Bytes + ?Sized>(file: &File<'_, B>, directory: &Directory) -> Option<&'static str> {
    const MAKERS: [(&[u8], &str); 12] = [
        (b"NIKON", "Nikon NEF"),
        (b"SONY", "Sony ARW"),
        (b"PENTAX", "Pentax PEF"),
        (b"RICOH", "Pentax PEF"),
        (b"HASSELBLAD", "Hasselblad 3FR"),
        (b"SAMSUNG", "Samsung SRW"),
        (b"EPSON", "Epson ERF"),
        (b"SEIKO EPSON", "Epson ERF"),
        (b"EASTMAN KODAK", "Kodak DCR"),
        (b"KODAK", "Kodak DCR"),
        (b"MAMIYA", "Mamiya MEF"),
        (b"LEAF", "Leaf MOS"),
    ];
    let name = file.text(directory, tag::MAKE)?.to_ascii_uppercase();
    MAKERS.iter().find(|(maker, _)| name.starts_with(maker)).map(|&(_, format)| format)
}

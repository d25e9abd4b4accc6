//! GIF bytes in, the first frame on its screen out.
//!
//! A frame that is larger than its screen, or whose screen has no pixels, is the picture, as in browsers. A smaller one
//! lies on a transparent screen.

use std::borrow::Cow;
use std::io::{self, BufReader, Cursor, Read, Seek};

use super::decode::{Decoded, pixels};
use super::exif::Exif;
use super::flatten::flatten;
use super::format::Format;
use super::header::{Head, no_size};
use super::pieces::Pieces;
use super::source::Source;
use crate::error::Result;
use crate::geometry::Size;

/// Where the screen's sides are in the file.
const SCREEN: usize = 6;

/// Decodes the first frame.
pub(super) fn decode(source: &Source<'_>) -> Result<Decoded> {
    let layout = GifLayout::read(&mut Head::new(BufReader::new(Cursor::new(source.bytes)))).ok();
    if let Some(layout) = &layout {
        let size = layout.size();
        source.check_size(size.width, size.height)?;
    }
    let pieces = match layout {
        Some(layout) if layout.is_odd() => layout.mended(source.bytes),
        // What has no frame is for the decoder to name.
        _ => vec![Cow::Borrowed(source.bytes)],
    };
    let pixels = pixels(source, Format::Gif, Pieces::new(pieces))?;
    Ok(Decoded { flat: flatten(pixels), exif: Exif::Silent })
}

/// The sizes in a file's headers.
pub(super) struct GifLayout {
    screen: Size,
    frame: Size,
    /// Where the first frame's place and sides are in the file.
    at: usize,
}

impl GifLayout {
    /// Reads as far as the first frame's header.
    pub(super) fn read<R: Read + Seek>(head: &mut Head<R>) -> io::Result<Self> {
        head.skip(SCREEN as u32)?;
        let screen = sides(head.take()?);
        let [flags, _background, _aspect] = head.take()?;
        if flags & 0x80 != 0 {
            head.skip(3 << ((flags & 7) + 1))?;
        }
        loop {
            match head.take()? {
                [b','] => break,
                [b'!'] => skip_extension(head)?,
                [b';'] => return Err(no_size()),
                // Decoders pass over anything else between blocks.
                _ => {}
            }
        }
        let at = usize::try_from(head.position()?).map_err(|_| no_size())?;
        head.skip(4)?;
        Ok(Self { screen, frame: sides(head.take()?), at })
    }

    /// The size of the picture.
    pub(super) fn size(&self) -> Size {
        if self.frame.area() > 0 && self.sticks_out() { self.frame } else { self.screen }
    }

    fn sticks_out(&self) -> bool {
        self.frame.width > self.screen.width || self.frame.height > self.screen.height
    }

    fn is_odd(&self) -> bool {
        self.frame.area() == 0 || self.sticks_out()
    }

    /// The file with screen and frame of the picture's size.
    fn mended<'a>(&self, bytes: &'a [u8]) -> Vec<Cow<'a, [u8]>> {
        let size = self.size();
        // Both come from 16 bits.
        let sides = [size.width as u16, size.height as u16].map(u16::to_le_bytes).concat();
        let place = [&[0; 4][..], &sides].concat();
        vec![
            Cow::Borrowed(bytes.get(..SCREEN).unwrap_or_default()),
            Cow::Owned(sides),
            Cow::Borrowed(bytes.get(SCREEN + 4..self.at).unwrap_or_default()),
            Cow::Owned(place),
            Cow::Borrowed(bytes.get(self.at + 8..).unwrap_or_default()),
        ]
    }
}

fn sides([w0, w1, h0, h1]: [u8; 4]) -> Size {
    Size::new(u16::from_le_bytes([w0, w1]).into(), u16::from_le_bytes([h0, h1]).into())
}

fn skip_extension<R: Read + Seek>(head: &mut Head<R>) -> io::Result<()> {
    let _label: [u8; 1] = head.take()?;
    loop {
        match head.take()? {
            [0] => return Ok(()),
            [length] => head.skip(length.into())?,
        }
    }
}

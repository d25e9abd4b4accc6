//! A file or a byte string in, an upright 8-bit RGB picture out.
//!
//! The format is recognised by the content, never by the name. EXIF orientation is applied, transparency is
//! laid over white, grey and palette pictures become RGB, CMYK is read with Adobe's polarity, and 16 bits
//! become 8 by rounding `v / 257`. (Pillow agrees for colour, but clips 16-bit grey to 255, which turns
//! such pictures nearly white; we do not follow it there.) Of an animation the first frame is taken. ICC
//! profiles are not applied: the libraries that CLIP models were trained with ignore them too.
//!
//! Every file is input from outside: the number of pixels is checked before memory is taken for them, and
//! broken and truncated files are errors that name the file.

mod bmp;
mod decode;
mod exif;
mod file;
mod flatten;
mod format;
mod gif;
mod header;
mod jpeg;
#[allow(clippy::module_inception, reason = "a type lives in the file of its name")]
mod photo;
mod pieces;
mod png;
mod source;
mod tiff;
mod tones;
mod upright;
mod webp;

pub use decode::memory_limit;
pub use file::{read, read_stream};
pub use format::SUPPORTED_FORMATS;
pub use header::{png_size, size_in_bytes, size_in_file};
pub use photo::{Photo, PhotoOptions};
pub use source::LONGEST_SIDE;

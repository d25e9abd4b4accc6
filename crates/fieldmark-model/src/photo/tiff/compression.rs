//! The bytes of a strip or tile, decompressed as they are read, so that none costs more memory than a few rows.

mod fax;
mod jpeg;
mod runs;

use std::borrow::Cow;
use std::io::{BufReader, Cursor, Error, ErrorKind, Read};

use image::{ImageDecoder, ImageFormat};
use weezl::BitOrder;
use weezl::LzwStatus::{NoProgress, Ok as Going};

use self::fax::{Fax, Form};
use self::jpeg::Jpeg;
use self::runs::PackBits;
use super::Fault;
use super::colour::Colour;
use super::ifd::{Directory, File, tag};
use super::layout::{Kind, Samples};

/// How strips and tiles are compressed.
pub(super) enum Compression<'a> {
    None,
    PackBits,
    Lzw,
    Deflate,
    Zstd,
    Fax(Form),
    Jpeg(Jpeg<'a>),
    WebP,
}

/// What is wanted of a strip or tile.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    /// Pixels of a row, those beyond the picture's edge included.
    pub(super) width: u32,
    /// Rows that lie in the picture.
    pub(super) rows: u32,
    /// Rows that a whole part has.
    pub(super) part_rows: u32,
    /// Samples of a pixel.
    pub(super) samples: usize,
    /// All bytes of the rows.
    pub(super) bytes: u64,
}

impl<'a> Compression<'a> {
    pub(super) fn new(file: &File<'a, [u8]>, directory: &Directory) -> Result<Self, Fault> {
        Ok(match file.first(directory, tag::COMPRESSION)?.unwrap_or(1) {
            1 => Self::None,
            2 => Self::Fax(Form::Rows { words: false }),
            32771 => Self::Fax(Form::Rows { words: true }),
            3 => {
                let options = file.first(directory, tag::T4_OPTIONS)?.unwrap_or(0);
                Self::Fax(Form::Group3 { two_dimensional: options & 1 != 0 })
            }
            4 => Self::Fax(Form::Group4),
            5 => Self::Lzw,
            7 => Self::Jpeg(Jpeg::new(file.content(directory, tag::JPEG_TABLES)?)),
            8 | 32946 => Self::Deflate,
            32773 => Self::PackBits,
            50000 | 34926 => Self::Zstd,
            50001 => Self::WebP,
            other => return Err(Fault::unsupported(name(other))),
        })
    }

    /// Checks that such samples can be compressed so, and says what they are once they are decompressed.
    pub(super) fn settle(&mut self, samples: &mut Samples, colour: &mut Colour) -> Result<(), Fault> {
        let bytes = samples.kind == Kind::Unsigned && samples.bits == 8;
        match self {
            Self::Fax(_) if samples.bits != 1 || samples.interleaved() != 1 => {
                Err(Fault::unsupported("fax compression of other than black and white"))
            }
            Self::Jpeg(_) if !bytes => {
                Err(Fault::unsupported(format!("JPEG compression of samples of {} bits", samples.bits)))
            }
            Self::Jpeg(jpeg) => {
                if !matches!(samples.interleaved(), 1 | 3 | 4) {
                    let count = samples.count;
                    return Err(Fault::unsupported(format!(
                        "JPEG compression of {count} samples in a pixel"
                    )));
                }
                if let Colour::YCbCr(_) = colour {
                    if samples.interleaved() == 3 {
                        jpeg.turns_into_rgb();
                        *colour = Colour::Rgb;
                    } else if colour.is_subsampled() {
                        return Err(Fault::unsupported("colour planes at lower resolution"));
                    }
                }
                Ok(())
            }
            Self::WebP if !bytes || samples.separate || !matches!(samples.count, 3 | 4) => {
                Err(Fault::unsupported("WebP compression of other than RGB"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(super) fn is_jpeg(&self) -> bool {
        matches!(self, Self::Jpeg(_))
    }

    pub(super) fn is_fax(&self) -> bool {
        matches!(self, Self::Fax(_))
    }

    pub(super) fn has_predictor(&self) -> bool {
        matches!(self, Self::Lzw | Self::Deflate | Self::Zstd)
    }

    pub(super) fn obeys_fill_order(&self) -> bool {
        !matches!(self, Self::Jpeg(_) | Self::WebP)
    }

    /// The most that a file of so many bytes can hold, where the compression sets a limit.
    ///
    /// A hundred strips may lie in the same place, and some may be left out, hence more than the formats' own ratios.
    pub(super) fn largest_output(&self, file_bytes: u64) -> Option<u64> {
        let ratio = match self {
            Self::None => 1 << 7,
            Self::PackBits => 1 << 13,
            Self::Deflate => 1 << 17,
            Self::Lzw => 1 << 18,
            Self::Zstd => 1 << 20,
            Self::Fax(_) | Self::Jpeg(_) | Self::WebP => return None,
        };
        Some(file_bytes.saturating_mul(ratio))
    }

    /// Opens a strip or tile for reading row after row; one that the file leaves out is zero.
    pub(super) fn open<'d>(
        &self,
        data: Option<&'d [u8]>,
        bits_reversed: bool,
        wanted: Wanted,
    ) -> Result<Box<dyn Read + 'd>, Fault> {
        let Some(data) = data else { return Ok(Box::new(std::io::repeat(0))) };
        let data = if bits_reversed {
            Cow::Owned(data.iter().map(|byte| byte.reverse_bits()).collect())
        } else {
            Cow::Borrowed(data)
        };
        Ok(match self {
            Self::None => Box::new(Cursor::new(data)),
            Self::PackBits => Box::new(BufReader::new(PackBits::new(data))),
            Self::Lzw => Box::new(BufReader::with_capacity(1 << 16, Lzw::new(data, wanted.bytes))),
            Self::Deflate => Box::new(flate2::read::ZlibDecoder::new(Cursor::new(data))),
            Self::Zstd => Box::new(zstd(data)?),
            Self::Fax(form) => Box::new(Fax::new(data, *form, wanted.width)),
            Self::Jpeg(jpeg) => Box::new(Cursor::new(jpeg.decode(&data, wanted)?)),
            Self::WebP => Box::new(Cursor::new(webp(&data, wanted)?)),
        })
    }
}

/// What a compression that is not supported is called.
fn name(compression: u64) -> String {
    let name = match compression {
        6 => "old-style JPEG",
        9 | 10 => "JBIG (T.85, T.43)",
        32766 => "NeXT",
        32809 => "ThunderScan",
        32895..=32898 => "IT8",
        32908 | 32909 => "PixarLog",
        33003..=33005 | 34712 => "JPEG 2000",
        33007 => "JPEG with tables of its own",
        34661 => "JBIG",
        34676 | 34677 => "SGI LogLuv",
        34887 => "LERC",
        34925 => "LZMA",
        34933 => "PNG",
        34934 | 22610 => "JPEG XR",
        50002 | 52546 => "JPEG XL",
        _ => return format!("compression {compression}"),
    };
    format!("{name} compression")
}

fn zstd(data: Cow<'_, [u8]>) -> Result<impl Read + '_, Fault> {
    ruzstd::decoding::StreamingDecoder::new(Cursor::new(data))
        .map_err(|error| Fault::broken(format!("its Zstandard data: {error}")))
}

/// LZW, of today or from before TIFF 6 (its bits in the other order), decoded on demand.
struct Lzw<'a> {
    decoder: weezl::decode::Decoder,
    data: Cow<'a, [u8]>,
    at: usize,
    left: u64,
}

impl<'a> Lzw<'a> {
    fn new(data: Cow<'a, [u8]>, bytes: u64) -> Self {
        // Every strip begins with the code 256, which shows the order of bits.
        let old = matches!(data[..], [0, second, ..] if second & 1 == 1);
        let configuration = if old {
            weezl::decode::Configuration::new(BitOrder::Lsb, 8)
        } else {
            weezl::decode::Configuration::with_tiff_size_switch(BitOrder::Msb, 8)
        };
        let decoder = configuration.with_yield_on_full_buffer(true).build();
        Self { decoder, data, at: 0, left: bytes }
    }
}

impl Read for Lzw<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let most = to.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let mut done = 0;
        while done < most {
            let result = self.decoder.decode_bytes(&self.data[self.at..], &mut to[done..most]);
            self.at += result.consumed_in;
            done += result.consumed_out;
            match result.status {
                Ok(Going) if result.consumed_in + result.consumed_out > 0 => {}
                // What was decoded up to a fault is given first: it may be all that is wanted.
                Ok(_) | Err(_) if done > 0 => break,
                Ok(Going | NoProgress) | Ok(weezl::LzwStatus::Done) => break,
                Err(error) => {
                    return Err(Error::new(ErrorKind::InvalidData, format!("its LZW data: {error}")));
                }
            }
        }
        self.left -= done as u64;
        Ok(done)
    }
}

fn webp(data: &[u8], wanted: Wanted) -> Result<Vec<u8>, Fault> {
    let broken = |error: image::ImageError| Fault::broken(format!("its WebP data: {error}"));
    let mut limits = image::Limits::no_limits();
    limits.max_image_width = Some(wanted.width);
    limits.max_image_height = Some(wanted.part_rows);
    let mut reader = image::ImageReader::with_format(Cursor::new(data), ImageFormat::WebP);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(broken)?;
    if decoder.dimensions().0 != wanted.width || decoder.dimensions().1 < wanted.rows {
        return Err(Fault::broken("a WebP part of another size than the picture's parts"));
    }
    let pixels = image::DynamicImage::from_decoder(decoder).map_err(broken)?;
    Ok(if wanted.samples == 4 { pixels.into_rgba8().into_raw() } else { pixels.into_rgb8().into_raw() })
}

//! The steps that a checkpoint asks for, and a photo on its way through them.
//!
//! `crop` follows the checkpoint's own files: the sizes, their rounding and the resampling are those of the
//! library that the files belong to, since a shift by one pixel changes the result. transformers turns a
//! picture into RGB before it resizes, and so do we; open_clip resizes first, which differs for palette,
//! 1-bit and 16-bit pictures only.

use image::RgbImage;

use super::{
    request::{FitRequest, Prepared, Window},
    resample::{Resample, Span, resize_part},
};
use crate::{
    error::{Error, Result},
    geometry::{Fit, Grid, Placement, Rect, Size},
    photo::Photo,
};

/// The mean of CLIP's training pictures, by channel, for values from 0 to 1.
pub const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
/// The standard deviation of CLIP's training pictures, by channel, for values from 0 to 1.
#[expect(clippy::excessive_precision, reason = "the digits are those of CLIP's code")]
pub const CLIP_STD: [f32; 3] = [0.268_629_54, 0.261_302_58, 0.275_777_11];

/// The mean of ImageNet's pictures, by channel, for values from 0 to 1.
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// The standard deviation of ImageNet's pictures, by channel, for values from 0 to 1.
pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// How a photo is made into a model's input.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocess {
    /// How large the photo is made.
    pub resize: Resize,
    /// What is cut out of its middle.
    pub crop: Option<CenterCrop>,
    /// How pixels are weighed when it is resized.
    pub resample: Resample,
    /// The factor on 8-bit values that comes before mean and standard deviation, usually 1/255.
    pub rescale: f64,
    /// What is subtracted, by channel.
    pub mean: [f32; 3],
    /// What is divided by, by channel.
    pub std: [f32; 3],
}

/// Which of transformers' image processors a checkpoint is for, where its files do not say so themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProcessorKind {
    /// CLIPImageProcessor.
    Clip,
    /// SiglipImageProcessor.
    Siglip,
    /// ViTImageProcessor.
    Vit,
    /// BitImageProcessor, as in DINOv2's checkpoints.
    Dinov2,
}

/// How large a photo is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resize {
    /// As it is.
    Keep,
    /// The shorter side gets this length; the longer one keeps the aspect, rounded down.
    Shortest(u32),
    /// The longer side gets this length; the shorter one keeps the aspect, rounded to the nearest, as open_clip has
    /// it.
    Longest(u32),
    /// Exactly this size, ignoring the aspect ratio.
    Exact(Size),
}

/// What is cut out of a resized photo's middle. Where the photo is smaller, something is added around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CenterCrop {
    /// The size of the cut.
    pub size: Size,
    /// Which pixel it begins at where the middle is between two.
    pub rounding: CropRounding,
    /// The grey that is added, 0 to 255; 0, black, for all but open_clip's `longest`.
    pub fill: u8,
}

/// Where a centred cut begins when the middle is between two pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CropRounding {
    /// At the lower one, as in transformers.
    Floor,
    /// At the even one, as in torchvision and with it open_clip; at the upper one where black is added.
    HalfEven,
}

impl CropRounding {
    /// Where a window of `window` pixels begins on a side of `side` pixels; negative if it is longer.
    fn offset(self, side: u32, window: u32) -> i64 {
        let spare = i64::from(side) - i64::from(window);
        let half = spare.div_euclid(2);
        let between = spare.rem_euclid(2) == 1;
        match self {
            Self::Floor => half,
            Self::HalfEven if spare < 0 => half + i64::from(between),
            Self::HalfEven => half + i64::from(between && half % 2 == 1),
        }
    }
}

impl Preprocess {
    /// What CLIP was trained with, for a model whose input is `image_size` pixels square.
    pub fn clip_default(image_size: u32) -> Self {
        let size = Size::new(image_size, image_size);
        Self {
            resize: Resize::Shortest(image_size),
            crop: Some(CenterCrop { size, rounding: CropRounding::Floor, fill: 0 }),
            resample: Resample::Bicubic,
            rescale: 1.0 / 255.0,
            mean: CLIP_MEAN,
            std: CLIP_STD,
        }
    }

    /// What an image processor of that kind does by itself, for a model whose input is `image_size` pixels square.
    pub fn default_of(kind: ProcessorKind, image_size: u32) -> Self {
        match kind {
            ProcessorKind::Clip => Self::clip_default(image_size),
            ProcessorKind::Siglip => Self::siglip_default(image_size),
            ProcessorKind::Vit => Self::vit_default(image_size),
            ProcessorKind::Dinov2 => Self::dinov2_default(),
        }
    }

    /// What ViT was trained with, for a model whose input is `image_size` pixels square.
    pub fn vit_default(image_size: u32) -> Self {
        Self { resample: Resample::Bilinear, ..Self::siglip_default(image_size) }
    }

    /// What DINOv2's classifiers were trained with: 224 pixels square, whatever its positions are for.
    pub fn dinov2_default() -> Self {
        Self {
            resize: Resize::Shortest(256),
            mean: IMAGENET_MEAN,
            std: IMAGENET_STD,
            ..Self::clip_default(224)
        }
    }

    /// What SigLIP was trained with, for a model whose input is `image_size` pixels square.
    pub fn siglip_default(image_size: u32) -> Self {
        Self {
            resize: Resize::Exact(Size::new(image_size, image_size)),
            crop: None,
            mean: [0.5; 3],
            std: [0.5; 3],
            ..Self::clip_default(image_size)
        }
    }

    /// Makes the model's input from a photo.
    ///
    /// - [`Fit::Whole`]: the photo on [`grid_for`](crate::geometry::grid_for) its shape, with at most `trained.cells() * detail²` cells.
    /// - [`Fit::Squash`]: the photo on the trained grid.
    /// - [`Fit::Crop`]: as in the checkpoint. A remainder at the right and at the bottom that makes no
    ///   whole patch is left out, as the model's first convolution would do.
    ///
    /// # Errors
    /// [`Error::Option`] if the request asks for an input of more than 64 million pixels, or for none.
    pub fn prepare(&self, photo: &Photo, request: &FitRequest) -> Result<Prepared> {
        let (rgb, placement) = self.fit(photo, request)?;
        Ok(Prepared { pixels: self.normalise(&rgb), placement })
    }

    /// The picture that the model gets to see, before its values are normalised.
    ///
    /// `covers` of the placement is exact for the maps between photo and grid: where a crop is larger than
    /// the resized photo, it reaches beyond the photo, over the black that was added.
    ///
    /// # Errors
    /// As [`Preprocess::prepare`].
    pub fn fit(&self, photo: &Photo, request: &FitRequest) -> Result<(RgbImage, Placement)> {
        request.check()?;
        let size = photo.size();
        let window = match request.fit {
            Fit::Whole => Window::whole(request.input_size(request.whole_grid(size))?),
            Fit::Squash => Window::whole(request.input_size(request.trained)?),
            Fit::Crop => request.whole_patches(self.crop_window(size)?)?,
        };
        let placement = place(size, &window, request.patch);
        Ok((self.resize_to(photo, &window), placement))
    }

    /// What the checkpoint cuts out of a photo of this size.
    fn crop_window(&self, photo: Size) -> Result<Window> {
        let scaled = self.resize.apply(photo)?;
        let Some(crop) = self.crop else { return Ok(Window::whole(scaled)) };
        Ok(Window {
            scaled,
            left: crop.rounding.offset(scaled.width, crop.size.width),
            top: crop.rounding.offset(scaled.height, crop.size.height),
            size: crop.size,
        })
    }

    /// The part of the resized photo that a window shows, black or grey around it.
    fn resize_to(&self, photo: &Photo, window: &Window) -> RgbImage {
        let grey = image::Rgb([self.crop.map_or(0, |crop| crop.fill); 3]);
        let source = photo.size();
        let mut out = RgbImage::from_pixel(window.size.width, window.size.height, grey);
        let x = visible(source.width, window.scaled.width, window.left, window.size.width);
        let y = visible(source.height, window.scaled.height, window.top, window.size.height);
        let (Some(x), Some(y)) = (x, y) else { return out };
        let part = resize_part(photo.rgb(), x, y, self.resample);
        if part.dimensions() == out.dimensions() {
            return part;
        }
        image::imageops::replace(&mut out, &part, (-window.left).max(0), (-window.top).max(0));
        out
    }

    /// Scales, subtracts the mean and divides by the standard deviation: `[3, height, width]`.
    fn normalise(&self, rgb: &RgbImage) -> Vec<f32> {
        let pixels = rgb.as_raw().len() / 3;
        let mut out = vec![0.0; 3 * pixels];
        for (channel, plane) in out.chunks_exact_mut(pixels).enumerate() {
            let table: [f32; 256] = std::array::from_fn(|value| {
                let scaled = (value as f64 * self.rescale) as f32;
                (scaled - self.mean[channel]) / self.std[channel]
            });
            for (to, from) in plane.iter_mut().zip(rgb.as_raw().chunks_exact(3)) {
                *to = table[usize::from(from[channel])];
            }
        }
        out
    }
}

impl Resize {
    /// The size that a photo gets.
    fn apply(self, photo: Size) -> Result<Size> {
        let (width, height) = (u64::from(photo.width), u64::from(photo.height));
        let side = |short: u32, long: u64, over: u64| {
            u32::try_from(u64::from(short) * long / over).map_err(|_| Error::Option {
                option: "fit",
                reason: format!("a photo of {width} x {height} pixels is too long to be cropped"),
            })
        };
        Ok(match self {
            Self::Keep => photo,
            Self::Exact(size) => size,
            Self::Shortest(short) if width <= height => Size::new(short, side(short, height, width)?),
            Self::Shortest(short) => Size::new(side(short, width, height)?, short),
            Self::Longest(long) => {
                let ratio = width.max(height) as f64 / f64::from(long);
                let side = |side: u64| ((side as f64 / ratio).round_ties_even() as u32).max(1);
                Size::new(side(width), side(height))
            }
        })
    }
}

/// The stretch of a window that lies on the resized photo, if any does.
fn visible(source: u32, scaled: u32, offset: i64, length: u32) -> Option<Span> {
    let start = offset.max(0);
    let end = (offset + i64::from(length)).min(i64::from(scaled));
    let length = u32::try_from(end - start).ok().filter(|&length| length > 0)?;
    Some(Span { source, scaled, start: u32::try_from(start).ok()?, length })
}

/// Where a window lies on the photo.
fn place(photo: Size, window: &Window, patch: usize) -> Placement {
    let on_photo = |at: i64, source: u32, scaled: u32| at as f64 * f64::from(source) / f64::from(scaled);
    let x = |at| on_photo(at, photo.width, window.scaled.width);
    let y = |at| on_photo(at, photo.height, window.scaled.height);
    let (right, bottom) =
        (window.left + i64::from(window.size.width), window.top + i64::from(window.size.height));
    Placement {
        photo,
        input: window.size,
        grid: Grid::new(window.size.height as usize / patch, window.size.width as usize / patch),
        covers: Rect { x0: x(window.left), y0: y(window.top), x1: x(right), y1: y(bottom) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_round_the_middle_differently() {
        // 335 - 224 = 111 to spare: the middle is between 55 and 56; 337 - 224 = 113: between 56 and 57.
        assert_eq!([335, 336, 337].map(|side| CropRounding::Floor.offset(side, 224)), [55, 56, 56]);
        assert_eq!([335, 336, 337].map(|side| CropRounding::HalfEven.offset(side, 224)), [56, 56, 56]);
        // 7 to spare: 3 or 4; 3 missing: one or two of them before the picture.
        assert_eq!(CropRounding::HalfEven.offset(17, 10), 4);
        assert_eq!((CropRounding::Floor.offset(7, 10), CropRounding::HalfEven.offset(7, 10)), (-2, -1));
    }

    #[test]
    fn open_clip_rounds_the_shorter_side_to_the_nearest_and_to_one_pixel_at_least() {
        let resize = Resize::Longest(224);
        // 100 x 40 pixels to 224 x 89.6; open_clip's ResizeKeepRatio rounds, and a side is at least one pixel.
        assert_eq!(resize.apply(Size::new(100, 40)).unwrap(), Size::new(224, 90));
        assert_eq!(resize.apply(Size::new(1, 900)).unwrap(), Size::new(1, 224));
    }

    #[test]
    fn the_longer_side_is_rounded_down() {
        let resize = Resize::Shortest(224);
        assert_eq!(resize.apply(Size::new(640, 427)).unwrap(), Size::new(335, 224));
        assert_eq!(resize.apply(Size::new(427, 640)).unwrap(), Size::new(224, 335));
        assert!(Resize::Shortest(65_536).apply(Size::new(1, 100_000)).is_err());
    }

    #[test]
    fn values_are_normalised_channel_by_channel() {
        let preprocess =
            Preprocess { mean: [0.0, 0.5, 1.0], std: [1.0, 0.5, 2.0], ..Preprocess::clip_default(2) };
        let rgb = RgbImage::from_raw(2, 1, vec![0, 255, 0, 255, 0, 255]).unwrap();
        assert_eq!(preprocess.normalise(&rgb), [0.0, 1.0, 1.0, -1.0, -0.5, 0.0]);
    }
}

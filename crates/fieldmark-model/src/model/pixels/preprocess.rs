//! A photo in, the numbers that a model expects out, with the place of every patch on the photo.
//!
//! `crop` follows the checkpoint's own files: the sizes, their rounding and the resampling are those of the
//! library that the files belong to, since a shift by one pixel changes the result. transformers turns a
//! picture into RGB before it resizes, and so do we; open_clip resizes first, which differs for palette,
//! 1-bit and 16-bit pictures only.

use std::path::Path;

use image::RgbImage;
use serde_json::{Map, Value};

use super::resample::{Span, resize_part};
use crate::geometry::{Fit, Grid, Placement, Rect, Size, grid_for};
use crate::photo::Photo;
use crate::{error::Error, error::Result, json, model::formats::read_config_file};

pub use super::resample::Resample;

/// The mean of CLIP's training pictures, by channel, for values from 0 to 1.
pub const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
/// The standard deviation of CLIP's training pictures, by channel, for values from 0 to 1.
#[expect(clippy::excessive_precision, reason = "the digits are those of CLIP's code")]
pub const CLIP_STD: [f32; 3] = [0.268_629_54, 0.261_302_58, 0.275_777_11];

/// The largest side, in pixels, that a configuration may ask for.
const SIDE_LIMIT: u64 = 65_536;
/// The largest model input, in pixels.
const INPUT_LIMIT: u64 = 64_000_000;

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
pub enum ProcessorKind {
    /// CLIPImageProcessor.
    Clip,
    /// SiglipImageProcessor.
    Siglip,
}

/// How large a photo is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// As it is.
    Keep,
    /// The shorter side gets this length; the longer one keeps the aspect, rounded down.
    Shortest(u32),
    /// The longer side gets this length; the shorter one keeps the aspect, rounded to the nearest, as open_clip has
    /// it.
    Longest(u32),
    /// Exactly this size, whatever the aspect.
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
pub enum CropRounding {
    /// At the lower one, as transformers has it.
    Floor,
    /// At the even one, as torchvision and with it open_clip have it; at the upper one where black is added.
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

/// What is asked of [`Preprocess::prepare`], beside the photo.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitRequest {
    /// How the photo is fitted to the model.
    pub fit: Fit,
    /// The side of the model's patches, in pixels.
    pub patch: usize,
    /// The grid of patches that the model was trained on.
    pub trained: Grid,
    /// How many times the trained resolution [`Fit::Whole`] may use along each side; 1 otherwise.
    pub detail: f64,
}

/// A model's input.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// Normalised values, `[3, height, width]`: channel by channel, each row by row.
    pub pixels: Vec<f32>,
    /// What of the photo they show. `input` is always whole patches.
    pub placement: Placement,
}

/// A part of the resized photo, in its pixels. It may stick out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    /// The resized photo's size.
    scaled: Size,
    left: i64,
    top: i64,
    size: Size,
}

impl Window {
    fn whole(scaled: Size) -> Self {
        Self { scaled, left: 0, top: 0, size: scaled }
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

    /// Reads a checkpoint directory: the image processor in `processor_config.json` (newer transformers),
    /// else `preprocessor_config.json`, else [`Preprocess::default_of`] `kind` and `image_size`. What files do not
    /// say which processor they are for are read as those of `kind`.
    ///
    /// # Errors
    /// [`Error::Read`] if a file that is there cannot be read, [`Error::Config`] if it is broken or asks
    /// for something that is not supported.
    pub fn from_directory(directory: &Path, kind: ProcessorKind, image_size: u32) -> Result<Self> {
        let nested = directory.join("processor_config.json");
        let config = read_config(&nested)?;
        if let Some(processor) = config.as_ref().and_then(|config| config.get("image_processor"))
            && !processor.is_null()
        {
            return Self::from_transformers(&nested, processor, kind);
        }
        let plain = directory.join("preprocessor_config.json");
        match read_config(&plain)? {
            Some(config) => Self::from_transformers(&plain, &config, kind),
            None => Ok(Self::default_of(kind, image_size)),
        }
    }

    /// From transformers' image processor settings, old or new. What is missing or null has the default of the
    /// processor that the settings name, or of `kind` if they name none.
    ///
    /// # Errors
    /// [`Error::Config`] with `path` if a value is broken or not supported.
    pub fn from_transformers(path: &Path, config: &Value, kind: ProcessorKind) -> Result<Self> {
        let fields = Fields::new(path, config)?;
        let kind = fields.processor()?.unwrap_or(kind);
        let mut out = Self::default_of(kind, 224);
        if let Some(resize) = fields.resize("size")? {
            out.resize = resize;
        }
        if let Some(size) = fields.crop_size("crop_size")? {
            out.crop = Some(CenterCrop { size, rounding: CropRounding::Floor, fill: 0 });
        }
        if !fields.flag("do_resize", true)? {
            out.resize = Resize::Keep;
        }
        if !fields.flag("do_center_crop", kind == ProcessorKind::Clip)? {
            out.crop = None;
        }
        if let Some(resample) = fields.resample("resample")? {
            out.resample = resample;
        }
        if let Some(factor) = fields.number("rescale_factor")? {
            out.rescale = factor;
        }
        out.read_mean_and_std(&fields, ["image_mean", "image_std"])?;
        if !fields.flag("do_rescale", true)? {
            out.rescale = 1.0;
        }
        if !fields.flag("do_normalize", true)? {
            (out.mean, out.std) = ([0.0; 3], [1.0; 3]);
        }
        Ok(out)
    }

    /// From the `preprocess_cfg` of `open_clip_config.json`, for a model whose input is `image_size`; what
    /// is missing or null has open_clip's default.
    ///
    /// # Errors
    /// [`Error::Config`] with `path` if a value is broken or not supported.
    pub fn from_open_clip(path: &Path, config: &Value, image_size: u32) -> Result<Self> {
        let fields = Fields::new(path, config)?;
        let mut out = Self::clip_default(image_size);
        let size = fields.square("size")?.unwrap_or(image_size);
        let square = Size::new(size, size);
        let grey = |value: &Value| value.as_u64().and_then(|grey| u8::try_from(grey).ok());
        let fill = fields.read("fill_color", "an integer from 0 to 255", grey)?.unwrap_or(0);
        let crop = |fill| Some(CenterCrop { size: square, rounding: CropRounding::HalfEven, fill });
        (out.resize, out.crop) = match fields.text("resize_mode")?.unwrap_or("shortest") {
            "shortest" => (Resize::Shortest(size), crop(0)),
            "longest" => (Resize::Longest(size), crop(fill)),
            "squash" => (Resize::Exact(square), None),
            other => {
                let expected = "shortest, longest or squash";
                return Err(fields.error("resize_mode", expected, &format!("{other:?}")));
            }
        };
        out.resample = match fields.text("interpolation")?.unwrap_or("bicubic") {
            // Only training chooses at random.
            "bicubic" | "random" => Resample::Bicubic,
            "bilinear" => Resample::Bilinear,
            other => return Err(fields.error("interpolation", "bicubic or bilinear", &format!("{other:?}"))),
        };
        out.read_mean_and_std(&fields, ["mean", "std"])?;
        Ok(out)
    }

    fn read_mean_and_std(&mut self, fields: &Fields<'_>, names: [&str; 2]) -> Result<()> {
        if let Some(mean) = fields.channels(names[0], "a finite number", f32::is_finite)? {
            self.mean = mean;
        }
        let usable = |value: f32| value.is_normal() && value > 0.0;
        if let Some(std) = fields.channels(names[1], "a finite number above 0", usable)? {
            self.std = std;
        }
        Ok(())
    }

    /// Makes the model's input from a photo.
    ///
    /// - [`Fit::Whole`]: the photo on [`grid_for`] its shape, with at most `trained.cells() * detail²` cells.
    /// - [`Fit::Squash`]: the photo on the trained grid.
    /// - [`Fit::Crop`]: as the checkpoint has it. A remainder at the right and at the bottom that makes no
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

impl FitRequest {
    /// Checks what does not depend on the photo.
    ///
    /// # Errors
    /// [`Error::Option`] if `detail` is not a finite number above 0, or other than 1 where the fit leaves no choice.
    pub fn check(&self) -> Result<()> {
        let refuse = |option, reason| Err(Error::Option { option, reason });
        if !(self.detail.is_finite() && self.detail > 0.0) {
            return refuse("detail", format!("expected a finite number above 0, found {}", self.detail));
        }
        if self.fit != Fit::Whole && self.detail != 1.0 {
            let reason = format!("expected 1, because only fit whole has a choice, found {}", self.detail);
            return refuse("detail", reason);
        }
        if self.patch == 0 || self.trained.cells() == 0 {
            return refuse("fit", "the model has no patches".into());
        }
        Ok(())
    }

    /// The grid for the whole of a photo.
    fn whole_grid(&self, photo: Size) -> Grid {
        let cells = (self.trained.cells() as f64 * self.detail * self.detail).floor();
        // More cells than pixels of the largest input are refused by whoever asks for the input's size.
        grid_for(photo, cells.min(INPUT_LIMIT as f64 * 2.0) as usize)
    }

    /// The model's input for a grid, unless it is absurd.
    fn input_size(&self, grid: Grid) -> Result<Size> {
        let side = |cells: usize| cells.checked_mul(self.patch).and_then(|side| u32::try_from(side).ok());
        match (side(grid.columns), side(grid.rows)) {
            (Some(width), Some(height)) if Size::new(width, height).area() <= INPUT_LIMIT => {
                Ok(Size::new(width, height))
            }
            _ => Err(Error::Option {
                option: if self.fit == Fit::Whole { "detail" } else { "fit" },
                reason: format!(
                    "expected a model input of at most {INPUT_LIMIT} pixels, found {} x {} patches of {}",
                    grid.columns, grid.rows, self.patch
                ),
            }),
        }
    }

    /// Cuts a window down to whole patches.
    fn whole_patches(&self, window: Window) -> Result<Window> {
        let rows = window.size.height as usize / self.patch;
        let columns = window.size.width as usize / self.patch;
        if rows == 0 || columns == 0 {
            let Size { width, height } = window.size;
            let patch = self.patch;
            let reason =
                format!("expected at least one patch of {patch} pixels, found {width} x {height} pixels");
            return Err(Error::Option { option: "fit", reason });
        }
        let size = self.input_size(Grid::new(rows, columns))?;
        Ok(Window { size, ..window })
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

/// Reads a JSON file, if it is there.
fn read_config(path: &Path) -> Result<Option<Value>> {
    if !path.exists() {
        return Ok(None);
    }
    let value = json::parse(&read_config_file(path)?);
    let reason = |error: serde_json::Error| format!("expected JSON, found an error: {error}");
    value.map(Some).map_err(|error| Error::Config { path: path.into(), reason: reason(error) })
}

/// One JSON object of a file, read with errors that name the file, the field, and what was found.
struct Fields<'a> {
    path: &'a Path,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    fn new(path: &'a Path, value: &'a Value) -> Result<Self> {
        match value {
            Value::Object(map) => Ok(Self { path, map }),
            other => Err(Error::Config {
                path: path.to_path_buf(),
                reason: format!("expected a JSON object, found {}", shorten(other)),
            }),
        }
    }

    fn error(&self, name: &str, expected: &str, found: &str) -> Error {
        let reason = format!("{name}: expected {expected}, found {found}");
        Error::Config { path: self.path.to_path_buf(), reason }
    }

    /// A field's value, unless it is missing or null.
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// A field's value through `read`, which gives `None` for what is not `expected`.
    fn read<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.error(name, expected, &shorten(value)))
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool> {
        Ok(self.read(name, "true or false", Value::as_bool)?.unwrap_or(default))
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>> {
        self.read(name, "a text", json::text)
    }

    fn number(&self, name: &str) -> Result<Option<f64>> {
        self.read(name, "a finite number above 0", |value| {
            value.as_f64().filter(|number| number.is_finite() && *number > 0.0)
        })
    }

    fn channels(&self, name: &str, each: &str, usable: impl Fn(f32) -> bool) -> Result<Option<[f32; 3]>> {
        let expected = format!("3 values, each {each}");
        self.read(name, &expected, |value| {
            let one =
                |value: &Value| value.as_f64().map(|number| number as f32).filter(|&number| usable(number));
            match value.as_array().map(Vec::as_slice) {
                Some([red, green, blue]) => Some([one(red)?, one(green)?, one(blue)?]),
                _ => None,
            }
        })
    }

    fn resample(&self, name: &str) -> Result<Option<Resample>> {
        self.read(name, "one of Pillow's filters, 0 to 5", |value| Resample::from_pillow(value.as_u64()?))
    }

    /// An integer or `{"shortest_edge": n}`, or `{"height": h, "width": w}`.
    fn resize(&self, name: &str) -> Result<Option<Resize>> {
        let expected = "an integer, shortest_edge, or height and width, each from 1 to 65536";
        self.read(name, expected, |value| match value {
            Value::Object(map) if map.contains_key("shortest_edge") => {
                let alone = map.iter().all(|(key, value)| key == "shortest_edge" || value.is_null());
                side(map.get("shortest_edge")?).filter(|_| alone).map(Resize::Shortest)
            }
            Value::Object(_) | Value::Array(_) => both_sides(value).map(Resize::Exact),
            other => side(other).map(Resize::Shortest),
        })
    }

    /// An integer for a square, or `{"height": h, "width": w}`.
    fn crop_size(&self, name: &str) -> Result<Option<Size>> {
        let expected = "an integer, or height and width, each from 1 to 65536";
        self.read(name, expected, |value| match value {
            Value::Object(_) | Value::Array(_) => both_sides(value),
            other => side(other).map(|side| Size::new(side, side)),
        })
    }

    /// An integer, or a list of two that are equal.
    fn square(&self, name: &str) -> Result<Option<u32>> {
        self.read(name, "an integer from 1 to 65536, or two that are equal", |value| match value {
            Value::Array(_) => {
                both_sides(value).filter(|size| size.width == size.height).map(|size| size.width)
            }
            other => side(other),
        })
    }

    /// The processor that the settings name.
    fn processor(&self) -> Result<Option<ProcessorKind>> {
        let name = ["image_processor_type", "feature_extractor_type"]
            .into_iter()
            .find(|name| self.get(name).is_some());
        let Some(name) = name else { return Ok(None) };
        let kind = self.text(name)?.unwrap_or_default();
        match kind.trim_end_matches("Fast").trim_end_matches("Pil") {
            "CLIPImageProcessor" | "CLIPFeatureExtractor" | "ChineseCLIPImageProcessor" => {
                Ok(Some(ProcessorKind::Clip))
            }
            "SiglipImageProcessor" => Ok(Some(ProcessorKind::Siglip)),
            _ => Err(self.error(name, "CLIPImageProcessor or SiglipImageProcessor", &format!("{kind:?}"))),
        }
    }
}

/// A length in pixels.
fn side(value: &Value) -> Option<u32> {
    value.as_u64().filter(|side| (1..=SIDE_LIMIT).contains(side)).map(|side| side as u32)
}

/// `{"height": h, "width": w}` or `[h, w]`.
fn both_sides(value: &Value) -> Option<Size> {
    match value {
        Value::Object(map) => Some(Size::new(side(map.get("width")?)?, side(map.get("height")?)?)),
        Value::Array(list) => match list.as_slice() {
            [height, width] => Some(Size::new(side(width)?, side(height)?)),
            _ => None,
        },
        _ => None,
    }
}

/// A value for a message, cut where it gets long.
fn shorten(value: &Value) -> String {
    let text = json::shown(&value.to_string());
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(config: Value) -> Result<Preprocess> {
        Preprocess::from_transformers(Path::new("dir/preprocessor_config.json"), &config, ProcessorKind::Clip)
    }

    fn message(config: Value) -> String {
        parse(config).unwrap_err().to_string()
    }

    #[test]
    fn old_and_new_files_say_the_same() {
        let old = json!({"size": 336, "crop_size": 336, "resample": 3, "do_convert_rgb": null});
        let new = json!({
            "size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336},
            "image_processor_type": "CLIPImageProcessor", "rescale_factor": 0.003_921_568_627_450_98,
        });
        assert_eq!(parse(old).unwrap(), Preprocess::clip_default(336));
        assert_eq!(parse(new).unwrap(), Preprocess::clip_default(336));
        assert_eq!(parse(json!({})).unwrap(), Preprocess::clip_default(224));
    }

    #[test]
    fn siglip_is_not_cropped() {
        let config =
            json!({"image_processor_type": "SiglipImageProcessor", "size": {"height": 256, "width": 256}});
        assert_eq!(parse(config).unwrap(), Preprocess::siglip_default(256));
    }

    #[test]
    fn siglip_2_is_resized_bilinearly() {
        let config = json!({"image_processor_type": "SiglipImageProcessorFast", "do_convert_rgb": null,
            "resample": 2, "size": {"height": 224, "width": 224}});
        let expected = Preprocess { resample: Resample::Bilinear, ..Preprocess::siglip_default(224) };
        assert_eq!(parse(config).unwrap(), expected);
    }

    #[test]
    fn files_without_a_name_are_those_of_the_model() {
        let path = Path::new("preprocessor_config.json");
        let config = json!({"size": {"height": 224, "width": 224}});
        let found = Preprocess::from_transformers(path, &config, ProcessorKind::Siglip).unwrap();
        assert_eq!(found, Preprocess::siglip_default(224));
        let folder = tempfile::tempdir().unwrap();
        let found = Preprocess::from_directory(folder.path(), ProcessorKind::Siglip, 384).unwrap();
        assert_eq!(found, Preprocess::siglip_default(384));
    }

    #[test]
    fn steps_can_be_turned_off() {
        let found = parse(json!({
            "do_resize": false, "do_center_crop": false, "do_rescale": false, "do_normalize": false
        }));
        let found = found.unwrap();
        assert_eq!((found.resize, found.crop, found.rescale), (Resize::Keep, None, 1.0));
        assert_eq!((found.mean, found.std), ([0.0; 3], [1.0; 3]));
    }

    #[test]
    fn broken_values_are_named() {
        let std = message(json!({"image_std": [0.5, 0.0, 0.5]}));
        assert_eq!(
            std,
            "dir/preprocessor_config.json: image_std: expected 3 values, each a finite number above 0, \
             found [0.5,0.0,0.5]"
        );
        for (field, value) in [
            ("size", json!(0)),
            ("size", json!(65_537)),
            ("size", json!({"shortest_edge": 224, "longest_edge": 400})),
            ("size", json!({"height": 224})),
            ("crop_size", json!("224")),
            ("image_mean", json!([0.5, 0.5])),
            ("image_mean", json!([0.5, 0.5, 1e60])),
            ("resample", json!(6)),
            ("resample", json!("bicubic")),
            ("rescale_factor", json!(0)),
            ("do_resize", json!("yes")),
            ("image_processor_type", json!("BlipImageProcessor")),
        ] {
            let message = message(json!({ field: value }));
            assert!(message.contains(&format!("{field}: expected ")), "{message}");
        }
        assert!(message(json!([1, 2])).contains("expected a JSON object"));
    }

    #[test]
    fn a_nested_processor_goes_before_a_plain_one() {
        let open = |folder: &Path| Preprocess::from_directory(folder, ProcessorKind::Clip, 98);
        let folder = tempfile::tempdir().unwrap();
        let default = open(folder.path()).unwrap();
        assert_eq!(default, Preprocess::clip_default(98));
        std::fs::write(folder.path().join("preprocessor_config.json"), r#"{"size": 30, "crop_size": 30}"#)
            .unwrap();
        assert_eq!(open(folder.path()).unwrap(), Preprocess::clip_default(30));
        let nested = folder.path().join("processor_config.json");
        std::fs::write(&nested, r#"{"processor_class": "CLIPProcessor"}"#).unwrap();
        assert_eq!(open(folder.path()).unwrap(), Preprocess::clip_default(30));
        std::fs::write(&nested, r#"{"image_processor": {"size": 40, "crop_size": 40}}"#).unwrap();
        assert_eq!(open(folder.path()).unwrap(), Preprocess::clip_default(40));
        std::fs::write(&nested, "{").unwrap();
        assert!(matches!(open(folder.path()), Err(Error::Config { .. })));
    }

    #[test]
    fn open_clip_has_its_own_words_and_rounding() {
        let parse =
            |config: Value| Preprocess::from_open_clip(Path::new("open_clip_config.json"), &config, 224);
        let half_even = CenterCrop { size: Size::new(224, 224), rounding: CropRounding::HalfEven, fill: 0 };
        assert_eq!(
            parse(json!({})).unwrap(),
            Preprocess { crop: Some(half_even), ..Preprocess::clip_default(224) }
        );
        let siglip = json!({"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "resize_mode": "squash"});
        assert_eq!(parse(siglip).unwrap(), Preprocess::siglip_default(224));
        let longest = parse(json!({"resize_mode": "longest", "fill_color": 9, "size": [224, 224]})).unwrap();
        assert_eq!(longest.resize, Resize::Longest(224));
        assert_eq!(longest.crop, Some(CenterCrop { fill: 9, ..half_even }));
        // 100 x 40 pixels to 224 x 89.6; open_clip's ResizeKeepRatio rounds, and a side is at least one pixel.
        assert_eq!(longest.resize.apply(Size::new(100, 40)).unwrap(), Size::new(224, 90));
        assert_eq!(longest.resize.apply(Size::new(1, 900)).unwrap(), Size::new(1, 224));
        assert_eq!(parse(json!({"interpolation": "random"})).unwrap().resample, Resample::Bicubic);
        for broken in [json!({"resize_mode": "fit"}), json!({"fill_color": 256}), json!({"size": [224, 225]})]
        {
            assert!(parse(broken.clone()).is_err(), "{broken}");
        }
    }

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

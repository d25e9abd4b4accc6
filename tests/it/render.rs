//! Pictures of small maps: golden PNGs per pixel, and what must hold for every picture.
//!
//! After a deliberate change of the drawing run `cargo test --test it render::write_goldens -- --ignored`,
//! look at the pictures in tests/golden/render, and say in the commit why they changed.

use std::path::PathBuf;

use fieldmark::attribution::ConceptMap;
use fieldmark::geometry::{Grid, Placement, Rect, Size, grid_for};
use fieldmark::regions::{Threshold, peak, regions};
use fieldmark::render::{ColorMap, Panel, RenderOptions, Scale, heatmap, layer, mask, overlay, sheet};
use image::{DynamicImage, Rgb, RgbImage, RgbaImage};

/// By how much a channel may differ from a golden (of 255): the last bits of floating point differ between
/// machines, and one step of a colour table is at most this.
const TOLERANCE: u8 = 2;

/// A soft pattern of all brightnesses that is the same everywhere and compresses well.
fn photo(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (x * 255 / width, y * 255 / height);
        Rgb([x as u8, y as u8, if (x / 32 + y / 32) % 2 == 0 { 90 } else { 120 }])
    })
}

fn whole(photo: &RgbImage, grid: Grid) -> Placement {
    let size = Size::new(photo.width(), photo.height());
    Placement { photo: size, input: size, grid, covers: Rect::whole(size) }
}

/// Two hills for the concept and one valley against it, on 4 x 6 cells.
#[rustfmt::skip]
fn hills(photo: &RgbImage) -> ConceptMap {
    let values = vec![
        0.0, 0.4,  0.0,  0.0,  0.0, -0.5,
        0.5, 2.0,  0.6,  0.0, -0.6, -1.6,
        0.0, 0.5,  0.0,  0.2,  0.0, -0.4,
        0.0, 0.0, -0.2,  0.6,  1.3,  0.3,
    ];
    ConceptMap::new(values, whole(photo, Grid::new(4, 6)))
}

fn against(photo: &RgbImage) -> ConceptMap {
    ConceptMap::new((0..24).map(|i| -0.05 * i as f32).collect(), whole(photo, Grid::new(4, 6)))
}

/// A map of the middle square of a landscape photo.
fn cropped(photo: &RgbImage) -> ConceptMap {
    let (width, height) = (f64::from(photo.width()), f64::from(photo.height()));
    let left = (width - height) / 2.0;
    let covers = Rect { x0: left, y0: 0.0, x1: left + height, y1: height };
    let placement = Placement { covers, ..whole(photo, Grid::new(2, 2)) };
    ConceptMap::new(vec![0.1, 1.0, -0.5, 0.0], placement)
}

fn panel<'map>(title: &str, note: &str, map: &'map ConceptMap) -> Panel<'map> {
    Panel { title: title.to_owned(), notes: vec![note.to_owned()], map }
}

fn goldens() -> Vec<(&'static str, DynamicImage)> {
    let photo = photo(144, 96);
    let strip = self::photo(240, 60);
    let (hills, cropped, blank) = (hills(&photo), cropped(&photo), against(&photo));
    let (strip_hills, strip_blank) = (self::hills(&strip), against(&strip));
    let plain = RenderOptions::default();
    let panels = [
        panel("red-winged blackbird", "similarity 0.281 · logit 28.1", &strip_hills),
        panel("a prompt far too long for one line, and for two as well, by a few words", "", &strip_blank),
        panel("чёрная птица, μαύρο πουλί, 鳥", "similarity 0.200", &strip_hills),
    ];
    vec![
        ("overlay", overlay(&photo, &hills, &plain).into()),
        ("overlay-signed", overlay(&photo, &hills, &RenderOptions::signed()).into()),
        ("overlay-cropped", overlay(&photo, &cropped, &plain).into()),
        ("overlay-blank", overlay(&photo, &blank, &plain).into()),
        ("heatmap", heatmap(&hills, Size::new(144, 96), &RenderOptions::signed()).into()),
        ("mask", mask(&hills, Threshold::default()).into()),
        ("sheet", sheet(&strip, &panels, Scale::Own, "logits").into()),
    ]
}

fn golden_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/render").join(format!("{name}.png"))
}

#[test]
fn pictures_are_as_their_goldens() {
    for (name, picture) in goldens() {
        let golden = image::open(golden_path(name)).unwrap();
        assert_eq!((picture.width(), picture.height()), (golden.width(), golden.height()), "{name}");
        let differing = picture
            .as_bytes()
            .iter()
            .zip(golden.as_bytes())
            .filter(|(found, expected)| found.abs_diff(**expected) > TOLERANCE)
            .count();
        assert_eq!(picture.color(), golden.color(), "{name}");
        assert_eq!(differing, 0, "{name}: channels that differ by more than {TOLERANCE}");
    }
}

#[test]
#[ignore = "rewrites the goldens"]
fn write_goldens() {
    for (name, picture) in goldens() {
        std::fs::create_dir_all(golden_path(name).parent().unwrap()).unwrap();
        let file = std::fs::File::create(golden_path(name)).unwrap();
        let (quality, filter) = (image::codecs::png::CompressionType::Best, Default::default());
        let encoder = image::codecs::png::PngEncoder::new_with_quality(file, quality, filter);
        picture.write_with_encoder(encoder).unwrap();
    }
}

#[test]
fn the_photo_is_untouched_where_there_is_no_evidence_for_the_concept() {
    let photo = photo(144, 96);
    let map = hills(&photo);
    let picture = overlay(&photo, &map, &RenderOptions::default());
    let evidence = map.at_photo_size();
    let (mut free, mut changed) = (0, 0);
    for ((before, after), evidence) in photo.pixels().zip(picture.pixels()).zip(&evidence) {
        if *evidence <= 0.0 {
            free += 1;
            assert_eq!(before, after);
        } else if *evidence > 0.5 {
            changed += 1;
            assert_ne!(before, after);
        }
    }
    assert!(free > 1000 && changed > 1000);
}

#[test]
fn a_map_without_evidence_leaves_the_photo_but_for_the_caption() {
    let photo = photo(400, 300);
    let picture = overlay(&photo, &against(&photo), &RenderOptions::default());
    let lowest_untouched = (0..300)
        .rev()
        .find(|y| (0..400).all(|x| picture.get_pixel(x, *y) == photo.get_pixel(x, *y)))
        .unwrap();
    assert!((250..299).contains(&lowest_untouched), "a strip at the bottom says so");
    for y in 0..=lowest_untouched {
        assert!((0..400).all(|x| picture.get_pixel(x, y) == photo.get_pixel(x, y)), "row {y}");
    }
    let white = picture.pixels().filter(|pixel| pixel.0.iter().all(|channel| *channel > 230)).count();
    assert!(white > 50, "letters");
    let full = ConceptMap::new(vec![1.0; 24], whole(&photo, Grid::new(4, 6)));
    assert_ne!(overlay(&photo, &full, &RenderOptions::default()).get_pixel(2, 2), photo.get_pixel(2, 2));
}

#[test]
fn a_shared_scale_gives_equal_evidence_equal_colour() {
    let photo = RgbImage::from_pixel(64, 64, Rgb([128; 3]));
    let flat = |value: f32| ConceptMap::new(vec![value; 4], whole(&photo, Grid::new(2, 2)));
    let options = RenderOptions::default().scale(Scale::Shared(2.0));
    let color = |map: &ConceptMap, options| *overlay(&photo, map, options).get_pixel(20, 20);
    let mixed = ConceptMap::new(vec![0.5, 0.5, 2.0, 2.0], whole(&photo, Grid::new(2, 2)));
    assert_eq!(color(&flat(0.5), &options), *overlay(&photo, &mixed, &options).get_pixel(20, 5));
    assert_ne!(color(&flat(0.5), &options), color(&flat(2.0), &options));
    // On its own scale any flat map has the last colour.
    let own = RenderOptions::default();
    assert_eq!(color(&flat(0.5), &own), color(&flat(2.0), &own));
}

#[test]
fn panels_of_a_sheet_share_one_scale() {
    let photo = RgbImage::from_pixel(300, 300, Rgb([128; 3]));
    let flat = |value: f32| ConceptMap::new(vec![value; 4], whole(&photo, Grid::new(2, 2)));
    let (weak, strong) = (flat(0.5), flat(2.0));
    let page = sheet(
        &photo,
        &[panel("a", "", &weak), panel("b", "", &strong), panel("c", "", &weak)],
        Scale::Own,
        "logits",
    );
    // Two rows of two: the photo and a, then b and c.
    let colors = |x: u32, y: u32| *page.get_pixel(x, y);
    let (left, right) = (page.width() / 4, page.width() * 3 / 4);
    let (top, bottom) = (page.height() / 5, page.height() * 3 / 5);
    assert_eq!(colors(left, top), Rgb([128; 3]), "the photo as it is");
    assert_eq!(colors(right, top), colors(right, bottom), "a and c are alike");
    assert_ne!(colors(right, top), colors(left, bottom), "a and b are not");
}

#[test]
fn what_the_model_did_not_see_is_marked() {
    let photo = RgbImage::from_pixel(300, 100, Rgb([40; 3]));
    let picture = overlay(&photo, &cropped(&photo), &RenderOptions::default());
    let mean = |columns: std::ops::Range<u32>| {
        let values: Vec<f64> = columns
            .flat_map(|x| (0..100).map(move |y| (x, y)))
            .map(|(x, y)| f64::from(picture.get_pixel(x, y).0[1]))
            .collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    assert!(mean(0..100) > 100.0 && mean(200..300) > 100.0, "pale");
    assert!(mean(100..110) < 60.0, "not pale");
    let distinct: std::collections::HashSet<_> = (0..50).map(|x| picture.get_pixel(x, 50)).collect();
    assert!(distinct.len() > 1, "hatched");
}

#[test]
fn a_mask_is_what_regions_are_made_of() {
    let photo = photo(144, 96);
    let map = hills(&photo);
    let picture = mask(&map, Threshold::default());
    let found = regions(&map, Threshold::default());
    assert_eq!(found.len(), 2);
    let top = peak(&map).unwrap();
    assert_eq!(picture.get_pixel(top.x, top.y).0, [255]);
    for (x, y, pixel) in picture.enumerate_pixels() {
        let inside =
            found.iter().any(|r| (r.x..r.x + r.width).contains(&x) && (r.y..r.y + r.height).contains(&y));
        assert!(inside || pixel.0 == [0], "({x}, {y})");
    }
    let evidence = map.at_photo_size();
    let sum = |is_in: &dyn Fn(usize) -> bool| -> f64 {
        let values = evidence.iter().enumerate().filter(|(i, value)| **value > 0.0 && is_in(*i));
        values.map(|(_, value)| f64::from(*value)).sum()
    };
    let expected = sum(&|i| picture.as_raw()[i] == 255) / sum(&|_| true);
    let share: f64 = found.iter().map(|region| region.share).sum();
    assert!((share - expected).abs() < 1e-6, "{share} {expected}");
    assert!(found[0].share > found[1].share);
    assert!(mask(&against(&photo), Threshold::Peak(0.0)).pixels().all(|pixel| pixel.0 == [0]));
}

#[test]
fn extreme_sizes_and_values_are_drawn() {
    for (width, height) in [(1, 1), (3000, 20), (20, 3000), (1, 500)] {
        let photo = photo(width, height);
        let grid = grid_for(Size::new(width, height), 49);
        for top in [f32::MAX, 1.0, f32::MIN_POSITIVE, 0.0, -1.0, f32::NAN] {
            let values = (0..grid.cells()).map(|i| if i % 2 == 0 { top } else { -top }).collect();
            let map = ConceptMap::new(values, whole(&photo, grid));
            let size = Size::new(width, height);
            for options in [RenderOptions::default(), RenderOptions::signed()] {
                assert_eq!(overlay(&photo, &map, &options).dimensions(), (width, height));
                assert_eq!(heatmap(&map, size, &options).dimensions(), (width, height));
            }
            assert_eq!(mask(&map, Threshold::Peak(0.5)).dimensions(), (width, height));
            let page = sheet(&photo, &[panel(&"long ".repeat(500), "note", &map)], Scale::Own, "logits");
            assert!(page.width() < 1400 && page.height() < 1400, "{}x{}", page.width(), page.height());
        }
    }
}

#[test]
fn sheets_of_many_prompts_stay_bounded() {
    let photo = photo(800, 600);
    let map = hills(&photo);
    for count in [0, 1, 2, 7, 20] {
        let panels: Vec<Panel> = (0..count).map(|i| panel(&format!("prompt {i}"), "logit 1", &map)).collect();
        let page = sheet(&photo, &panels, Scale::Own, "logits");
        assert!(page.width() <= 2700 && page.height() <= 2700, "{count}: {:?}", page.dimensions());
    }
}

#[test]
fn every_colour_map_draws() {
    let photo = photo(64, 64);
    let map = hills(&photo);
    let maps = [
        ColorMap::Viridis,
        ColorMap::Inferno,
        ColorMap::Magma,
        ColorMap::Plasma,
        ColorMap::Cividis,
        ColorMap::BlueOrange,
    ];
    let pictures: std::collections::HashSet<Vec<u8>> =
        maps.map(|colors| overlay(&photo, &map, &RenderOptions::default().colors(colors)).into_raw()).into();
    assert_eq!(pictures.len(), maps.len());
}

/// A layer over a photo, as every program that knows transparency joins them.
fn laid_over(photo: &RgbImage, layer: &RgbaImage) -> RgbImage {
    let mut picture = photo.clone();
    for (pixel, over) in picture.pixels_mut().zip(layer.pixels()) {
        let alpha = f64::from(over.0[3]) / 255.0;
        for (channel, color) in pixel.0.iter_mut().zip(over.0) {
            *channel = (f64::from(*channel) * (1.0 - alpha) + f64::from(color) * alpha).round() as u8;
        }
    }
    picture
}

#[test]
fn a_layer_over_the_photo_is_the_overlay() {
    for (width, height) in [(400, 300), (144, 96), (96, 40), (1, 1)] {
        let photo = photo(width, height);
        let size = Size::new(width, height);
        let shared = RenderOptions::default().scale(Scale::Shared(1.0));
        let opaque = RenderOptions::signed().opacity(1.0).gamma(0.5);
        for map in [hills(&photo), against(&photo), cropped(&photo)] {
            for options in [RenderOptions::default(), RenderOptions::signed(), shared, opaque] {
                let layer = layer(&map, size, &options);
                let (joined, expected) = (laid_over(&photo, &layer), overlay(&photo, &map, &options));
                let apart = joined.iter().zip(expected.iter()).map(|(one, other)| one.abs_diff(*other)).max();
                assert!(apart <= Some(2), "{width} x {height}, {options:?}: {apart:?} levels apart");
            }
        }
    }
}

#[test]
fn a_layer_is_transparent_where_the_photo_is_untouched() {
    let photo = photo(144, 96);
    let layer = layer(&hills(&photo), Size::new(144, 96), &RenderOptions::default());
    let evidence = hills(&photo).at_photo_size();
    let free = layer.pixels().zip(&evidence).filter(|(_, evidence)| **evidence <= 0.0);
    assert!(free.clone().count() > 1000 && free.into_iter().all(|(pixel, _)| pixel.0[3] == 0));
    assert!(layer.pixels().any(|pixel| pixel.0[3] > 140), "strong evidence hides more than half");
}

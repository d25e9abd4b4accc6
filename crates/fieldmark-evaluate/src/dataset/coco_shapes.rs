//! An annotation's `segmentation` and `bbox` become shapes and a box.

use serde_json::Value;

use super::{
    Shape,
    json::{Fields, numbers, shown, wrong},
};
use fieldmark_explain::regions::RunLengths;
use fieldmark_model::geometry::{Rect, Size};

/// The most corners of one polygon.
const MOST_CORNERS: usize = 100_000;

/// The place of one thing.
pub(super) struct Instance {
    /// Of the annotation in its list; the first is 1.
    pub(super) number: u32,
    /// Its pixels; empty where only the box is known.
    pub(super) shapes: Vec<Shape>,
    pub(super) area: Rect,
}

impl Instance {
    /// Its shapes, or its box as one.
    pub(super) fn into_shapes(self) -> Vec<Shape> {
        let Rect { x0, y0, x1, y1 } = self.area;
        if self.shapes.is_empty() {
            vec![Shape::Polygon(vec![[x0, y0], [x1, y0], [x1, y1], [x0, y1]])]
        } else {
            self.shapes
        }
    }
}

/// Reads an annotation; an error says what is wrong with which field. Of several polygons those count that enclose
/// something. The box may be wrong where the pixels are known: then it is the one around them.
pub(super) fn instance(fields: &Fields<'_>, number: u32, photo: Option<Size>) -> Result<Instance, String> {
    let shapes = match fields.get("segmentation") {
        None => Vec::new(),
        Some(Value::Array(polygons)) => all_polygons(polygons)?,
        Some(value) => {
            let runs = Fields::of(value).and_then(|fields| runs(&fields, photo));
            vec![Shape::Runs(runs.map_err(segmentation)?)]
        }
    };
    let area = match (fields.get("bbox").map(|_| area(fields)), around(&shapes)) {
        (Some(Ok(area)), _) | (_, Some(area)) => area,
        (Some(Err(reason)), None) => return Err(reason),
        (None, None) => return Err("expected \"segmentation\" or \"bbox\", found no place".into()),
    };
    Ok(Instance { number, shapes, area })
}

/// The polygons that are sound; the reason of the first one that is not, if none is.
fn all_polygons(polygons: &[Value]) -> Result<Vec<Shape>, String> {
    let read: Vec<_> = polygons.iter().map(polygon).collect();
    if read.iter().any(Result::is_ok) {
        return Ok(read.into_iter().flatten().collect());
    }
    read.into_iter().collect()
}

fn segmentation(reason: String) -> String {
    format!("\"segmentation\": {reason}")
}

fn polygon(value: &Value) -> Result<Shape, String> {
    let flat = numbers(value).filter(|flat| flat.len() >= 6 && flat.len().is_multiple_of(2));
    let flat = flat.ok_or_else(|| wrong("segmentation", "polygons [x, y, x, y, x, y, ...]", value))?;
    if flat.len() > 2 * MOST_CORNERS {
        return Err(segmentation(format!(
            "expected at most {MOST_CORNERS} corners, found {}",
            flat.len() / 2
        )));
    }
    let corners: Vec<[f64; 2]> = flat.chunks_exact(2).map(|corner| [corner[0], corner[1]]).collect();
    if is_flat(&corners) {
        return Err(segmentation(format!(
            "expected a polygon that encloses something, found {}",
            shown(value)
        )));
    }
    Ok(Shape::Polygon(corners))
}

/// Whether all corners lie on one line.
fn is_flat(corners: &[[f64; 2]]) -> bool {
    let [x, y] = corners[0];
    let Some([dx, dy]) =
        corners.iter().map(|corner| [corner[0] - x, corner[1] - y]).find(|way| *way != [0.0; 2])
    else {
        return true;
    };
    corners.iter().all(|corner| dx * (corner[1] - y) == dy * (corner[0] - x))
}

fn area(fields: &Fields<'_>) -> Result<Rect, String> {
    let [x, y, width, height] = fields.numbers("bbox", "[x, y, width, height]")?;
    let area = Rect { x0: x, y0: y, x1: x + width, y1: y + height };
    if width > 0.0 && height > 0.0 && area.x1.is_finite() && area.y1.is_finite() {
        return Ok(area);
    }
    Err(format!("\"bbox\": expected a width and a height above 0, found {width} x {height}"))
}

/// The box around shapes; none if there is no shape.
fn around(shapes: &[Shape]) -> Option<Rect> {
    shapes.iter().flat_map(corners).map(|[x, y]| Rect { x0: x, y0: y, x1: x, y1: y }).reduce(|one, other| {
        Rect {
            x0: one.x0.min(other.x0),
            y0: one.y0.min(other.y0),
            x1: one.x1.max(other.x1),
            y1: one.y1.max(other.y1),
        }
    })
}

/// Points that lie on the box around a shape or inside it, and touch each of its sides.
fn corners(shape: &Shape) -> Vec<[f64; 2]> {
    let runs = match shape {
        Shape::Polygon(corners) => return corners.clone(),
        Shape::Runs(runs) => runs,
    };
    let height = u64::from(runs.size[0]).max(1);
    let (mut corners, mut end) = (Vec::new(), 0_u64);
    for (turn, count) in runs.counts.iter().enumerate() {
        let start = end;
        end = end.saturating_add(*count);
        if turn % 2 == 1 && *count > 0 {
            let (first, last) = (start / height, (end - 1) / height);
            // A run that goes on in the next column touches the photo's lower and upper edge.
            let (top, bottom) =
                if first == last { (start % height, (end - 1) % height + 1) } else { (0, height) };
            corners.extend([[first as f64, top as f64], [last as f64 + 1.0, bottom as f64]]);
        }
    }
    corners
}

/// Run lengths, as a list or as COCO's text.
fn runs(fields: &Fields<'_>, photo: Option<Size>) -> Result<RunLengths, String> {
    let value = fields.required("size")?;
    let sides: Option<Vec<u32>> =
        value.as_array().and_then(|sides| sides.iter().map(|side| side.as_u64()?.try_into().ok()).collect());
    let size = sides
        .and_then(|sides| sides.try_into().ok())
        .ok_or_else(|| wrong("size", "[height, width]", value))?;
    let counts = fields.required("counts")?;
    let listed = |list: &Vec<Value>| list.iter().map(Value::as_u64).collect::<Option<Vec<_>>>();
    let counts = match counts {
        Value::Array(list) => {
            listed(list).ok_or_else(|| wrong("counts", "a list of whole numbers", counts))?
        }
        Value::String(text) => decoded(text.as_bytes())
            .ok_or_else(|| wrong("counts", "run lengths in COCO's compressed form", counts))?,
        _ => return Err(format!("\"counts\": expected a list or a text, found {}", shown(counts))),
    };
    let total = counts.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
    let [height, width] = size;
    let pixels = u64::from(width) * u64::from(height);
    if total != Some(pixels) {
        let found = total.map_or("more".to_owned(), |total| total.to_string());
        return Err(format!("\"counts\": expected {pixels} pixels together, found {found}"));
    }
    if photo.is_some_and(|photo| photo != Size::new(width, height)) {
        return Err(format!("\"size\": expected the picture's, found {width} x {height}"));
    }
    if counts.iter().skip(1).step_by(2).all(|count| *count == 0) {
        return Err("\"counts\": expected a pixel inside, found none".into());
    }
    Ok(RunLengths { counts, size })
}

/// Reads COCO's compressed form (`rleFrString` of its `maskApi.c`): numbers in digits of five bits, the lowest first,
/// each in a character from `0` on, with 32 where more digits follow; from the third number on, what is written is the
/// difference to the last but one. `None` if it is not such a text or has a number below 0.
fn decoded(text: &[u8]) -> Option<Vec<u64>> {
    /// A longer number would not fit a picture.
    const MOST_DIGITS: u32 = 8;
    let mut counts: Vec<i64> = Vec::new();
    let mut bytes = text.iter();
    while !bytes.as_slice().is_empty() {
        let (mut number, mut digits) = (0_i64, 0);
        loop {
            let digit = i64::from(bytes.next()?.checked_sub(48).filter(|digit| *digit < 64)?);
            number |= (digit & 31) << (5 * digits);
            digits += 1;
            if digit & 32 == 0 {
                // The highest bit of the last digit is the sign.
                number |= if digit & 16 == 0 { 0 } else { -1 << (5 * digits) };
                break;
            }
            if digits == MOST_DIGITS {
                return None;
            }
        }
        if counts.len() > 2 {
            number += counts[counts.len() - 2];
        }
        counts.push(number);
    }
    counts.into_iter().map(|count| u64::try_from(count).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<(Vec<Shape>, [f64; 4]), String> {
        let instance = instance(&Fields::of(&value)?, 1, None)?;
        let Rect { x0, y0, x1, y1 } = instance.area;
        Ok((instance.shapes, [x0, y0, x1, y1]))
    }

    fn reason(value: Value) -> String {
        read(value).err().unwrap_or_default()
    }

    #[test]
    fn both_forms_of_run_lengths_are_read() {
        // As pycocotools writes [3, 2, 1, 40, 7]: the last two are differences to 2 and 1.
        let listed =
            json!({"segmentation": {"size": [53, 1], "counts": [3, 2, 1, 40, 7]}, "bbox": [0, 0, 1, 1]});
        let text = json!({"segmentation": {"size": [53, 1], "counts": "321V16"}, "bbox": [0, 0, 1, 1]});
        assert_eq!(read(listed).unwrap(), read(text).unwrap());
    }

    #[test]
    fn polygons_have_a_box_around_them() {
        let (shapes, area) = read(json!({"segmentation": [[1, 2, 5, 2, 5, 4.5]]})).unwrap();
        assert_eq!(shapes, [Shape::Polygon(vec![[1.0, 2.0], [5.0, 2.0], [5.0, 4.5]])]);
        assert_eq!(area, [1.0, 2.0, 5.0, 4.5]);
    }

    #[test]
    fn run_lengths_have_a_box_around_them() {
        let area = |counts: Value| {
            read(json!({"segmentation": {"size": [3, 4], "counts": counts}})).map(|read| read.1)
        };
        // The last pixel of the second column; then on into the third.
        assert_eq!(area(json!([5, 1, 6])), Ok([1.0, 2.0, 2.0, 3.0]));
        assert_eq!(area(json!([5, 2, 5])), Ok([1.0, 0.0, 3.0, 3.0]));
        assert!(area(json!([12])).is_err());
    }

    #[test]
    fn what_is_sound_of_a_place_counts() {
        let polygon = || Shape::Polygon(vec![[1.0, 2.0], [5.0, 2.0], [5.0, 4.5]]);
        let odd = json!([[1, 2, 5, 2], [], [0, 0, 1, 1, 2, 2], [1, 2, 5, 2, 5, 4.5]]);
        assert_eq!(read(json!({"segmentation": odd})), Ok((vec![polygon()], [1.0, 2.0, 5.0, 4.5])));
        let box_wrong = json!({"segmentation": [[1, 2, 5, 2, 5, 4.5]], "bbox": [1, 2, -4, null]});
        assert_eq!(read(box_wrong), Ok((vec![polygon()], [1.0, 2.0, 5.0, 4.5])));
        let box_only = json!({"segmentation": [], "bbox": [1, 2, 4, 5]});
        assert_eq!(read(box_only), Ok((vec![], [1.0, 2.0, 5.0, 7.0])));
        for flat in
            [json!([[0, 0, 1, 1, 2, 2]]), json!([[3, 3, 3, 3, 3, 3]]), json!([[1, 0, 2, 0, 3, 0, 9, 0]])]
        {
            assert!(
                reason(json!({"segmentation": flat, "bbox": [0, 0, 1, 1]}))
                    .contains("that encloses something")
            );
        }
        // Not in a list, as some programs write it.
        let bare = json!({"segmentation": [1, 2, 5, 2, 5, 4.5], "bbox": [0, 0, 1, 1]});
        assert!(reason(bare).contains("expected polygons"));
        for counts in [json!([1, 2]), json!([4]), json!([4, 0]), json!([1, u64::MAX, u64::MAX])] {
            let coded = json!({"segmentation": {"size": [2, 2], "counts": counts}, "bbox": [0, 0, 1, 1]});
            assert!(reason(coded).starts_with("\"segmentation\": \"counts\": expected"));
        }
    }

    #[test]
    fn bad_places_are_reported() {
        assert_eq!(reason(json!({})), "expected \"segmentation\" or \"bbox\", found no place");
        assert_eq!(
            reason(json!({"segmentation": [[1, 2, 3]]})),
            "\"segmentation\": expected polygons [x, y, x, y, x, y, ...], found [1,2,3]"
        );
        assert_eq!(reason(json!({"bbox": [1, 2]})), "\"bbox\": expected [x, y, width, height], found [1,2]");
        assert!(reason(json!({"bbox": [0, 0, -1, 2]})).ends_with("above 0, found -1 x 2"));
        let coded = |counts: Value| reason(json!({"segmentation": {"size": [2, 2], "counts": counts}}));
        assert_eq!(
            coded(json!([1, -1])),
            "\"segmentation\": \"counts\": expected a list of whole numbers, found [1,-1]"
        );
        // A sign without a number before it; a digit that never ends; a character that is none.
        for text in ["O", "PPPPPPPPPPPP", "P", " "] {
            assert!(coded(json!(text)).contains("COCO's compressed form"), "{text}");
        }
        assert!(reason(json!({"segmentation": {"counts": []}})).contains("\"size\": expected a value"));
        assert!(reason(json!({"segmentation": {"size": [2], "counts": []}})).contains("[height, width]"));
    }
}

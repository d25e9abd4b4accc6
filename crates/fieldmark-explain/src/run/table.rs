//! Regions become a table for spreadsheets and data frames: RFC 4180, but that lines end as on Unix.

use std::fmt::Write;

use crate::regions::Instance;

/// What the regions of one map are regions of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The photo's file.
    pub(super) image: &'a str,
    pub(super) prompt: &'a str,
    pub(super) strength: f64,
}

const HEADER: &str =
    "image,prompt,strength,region,x,y,width,height,share,area,peak_x,peak_y,evidence,polygon\n";

/// One region a row, in the order of the JSON's `regions`; the header alone where there are none. The first three
/// columns are the same in all rows, so that tables of many photos can be joined.
pub(super) fn regions_table(asked: Asked, found: &[Instance]) -> String {
    let (image, prompt) = (field(asked.image), field(asked.prompt));
    let mut table = String::from(HEADER);
    for (number, Instance { region, evidence, .. }) in (1..).zip(found) {
        let corners: Vec<String> = region.polygon.iter().map(|[x, y]| format!("{x},{y}")).collect();
        let row = [
            image.clone(),
            prompt.clone(),
            asked.strength.to_string(),
            usize::to_string(&number),
            region.x.to_string(),
            region.y.to_string(),
            region.width.to_string(),
            region.height.to_string(),
            region.share.to_string(),
            region.area.to_string(),
            region.peak.x.to_string(),
            region.peak.y.to_string(),
            evidence.to_string(),
            field(&corners.join(" ")),
        ];
        let _ = writeln!(table, "{}", row.join(","));
    }
    table
}

/// A text as a field: in quotes where it holds what would end the field or be taken off by a reader.
fn field(text: &str) -> String {
    let is_special = |c: char| matches!(c, ',' | '"' | '\n' | '\r');
    if text.contains(is_special) || text.trim() != text {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_field_is_quoted() {
        assert_eq!(field("red bird"), "red bird");
        assert_eq!(field("a, \"b\"\nc"), "\"a, \"\"b\"\"\nc\"");
        assert_eq!(field(" padded"), "\" padded\"");
        assert_eq!(field(""), "");
    }

    #[test]
    fn a_map_without_regions_has_a_header_alone() {
        let asked = Asked { image: "a.png", prompt: "b", strength: 0.6 };
        assert_eq!(regions_table(asked, &[]), HEADER);
    }
}

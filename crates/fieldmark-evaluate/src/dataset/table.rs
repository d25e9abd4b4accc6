//! A line of a table with commas becomes its fields.

use super::lines::{Line, cut};
use fieldmark_model::error::Result;

/// Takes lines apart, and keeps the memory that it needs for that.
pub(super) struct Splitter {
    reader: csv_core::Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Splitter {
    pub(super) fn new() -> Self {
        Self { reader: csv_core::Reader::new(), text: Vec::new(), ends: Vec::new() }
    }

    /// The fields of a line, without their quotation marks.
    ///
    /// # Errors
    /// [`Error::Dataset`](fieldmark_model::error::Error::Dataset) if it is not UTF-8, or has a line's end within.
    pub(super) fn fields(&mut self, line: &Line<'_>) -> Result<Vec<&str>> {
        // Fields are no longer than their line, and all but the last take a comma.
        let length = line.bytes.len();
        self.text.resize(self.text.len().max(length), 0);
        self.ends.resize(self.ends.len().max(length + 1), 0);
        self.reader.reset();
        let (_, read, written, count) = self.reader.read_record(line.bytes, &mut self.text, &mut self.ends);
        if read != length {
            let found = String::from_utf8_lossy(line.bytes);
            return Err(line.error(format!("expected one line of a table, found {:?}", cut(&found))));
        }
        // That nothing follows ends the last field.
        let (text, ends) = (&mut self.text[written..], &mut self.ends[count..]);
        let (_, _, more, last) = self.reader.read_record(&[], text, ends);
        let text = std::str::from_utf8(&self.text[..written + more]);
        let text = text.map_err(|_| line.error("expected UTF-8 text, found something else"))?;
        let ends = &self.ends[..count + last];
        let starts = std::iter::once(&0).chain(ends);
        Ok(starts.zip(ends).map(|(start, end)| text.get(*start..*end).unwrap_or_default()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_split_at_commas_outside_quotation_marks() {
        let mut splitter = Splitter::new();
        let mut fields = |text: &str| {
            let fields = splitter.fields(&Line::of(text, 1)).map_err(|error| error.to_string())?;
            Ok::<_, String>(fields.into_iter().map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(fields("a,,\"b, \"\"c\"\"\",d").unwrap(), ["a", "", "b, \"c\"", "d"]);
        assert_eq!(fields("ä").unwrap(), ["ä"]);
        assert_eq!(fields("a,").unwrap(), ["a", ""]);
        assert_eq!(fields("\"a,b").unwrap(), ["a,b"]);
        assert_eq!(fields(",,,").unwrap(), ["", "", "", ""]);
        assert_eq!(
            fields("a,b\rc,d"),
            Err("lines.txt: line 1: expected one line of a table, found \"a,b\\rc,d\"".into())
        );
        assert_eq!(fields("a,b").unwrap(), ["a", "b"]);
    }
}

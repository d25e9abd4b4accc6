//! The rows of an evaluation as a Parquet file: a row for every question and setting, a column for every metric.
//!
//! A picture's questions follow each other, and the settings of each question, in the run's order; so the settings
//! repeat after as many rows as there are of them. The file's metadata has the run's [`Record`] as JSON, under
//! [`METADATA`]. The same rows give the same bytes.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use parquet::{
    basic::Compression,
    column::reader::get_typed_column_reader,
    data_type::DataType,
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::WriterProperties,
        reader::{FileReader, SerializedFileReader},
        writer::SerializedFileWriter,
    },
};

use super::{
    Answer, Record,
    columns::{Column, RowOf, Values, columns, schema},
};
use fieldmark_model::error::{Error, Result};
use fieldmark_model::guard::guarded;

/// The name of the run's record in the file's metadata.
pub const METADATA: &str = "fieldmark";

/// The most rows in a group. They are in memory together while they are written.
const GROUP: usize = 8192;

/// So many values are read at a time.
const BATCH: usize = 4096;

/// Writes rows, group by group.
pub struct RowsWriter<'r, W: Write + Send> {
    record: &'r Record,
    columns: Vec<Column>,
    file: SerializedFileWriter<W>,
    group: Vec<Values>,
    rows: usize,
}

impl<'r, W: Write + Send> RowsWriter<'r, W> {
    /// Begins a file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn new(file: W, record: &'r Record) -> io::Result<Self> {
        let columns = columns(record);
        let metadata = KeyValue::new(METADATA.to_owned(), serde_json::to_string(record)?);
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("fieldmark ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(vec![metadata]));
        let schema = schema(&columns).map_err(io::Error::other)?;
        let file = SerializedFileWriter::new(file, schema, Arc::new(properties.build()));
        let group = columns.iter().map(Values::of).collect();
        Ok(Self { record, columns, file: file.map_err(io::Error::other)?, group, rows: 0 })
    }

    /// Adds what one picture gave; `picture` is its place in the data set, from 0.
    ///
    /// # Errors
    /// If the file cannot be written, or an answer has not one outcome for each of the run's settings.
    pub fn add(&mut self, picture: usize, answers: &[Answer]) -> io::Result<()> {
        let settings = &self.record.settings;
        for answer in answers {
            if answer.outcomes.len() != settings.len() {
                let (expected, found) = (settings.len(), answer.outcomes.len());
                let reason = format!("expected {expected} outcomes for a question, found {found}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
            for (setting, outcome) in settings.iter().zip(&answer.outcomes) {
                let row = RowOf { picture, answer, setting, outcome };
                self.columns
                    .iter()
                    .zip(&mut self.group)
                    .for_each(|(column, values)| values.add(column, &row));
                self.rows += 1;
            }
            if self.rows >= GROUP {
                self.end_group()?;
            }
        }
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        if self.rows > 0 {
            self.end_group()?;
        }
        self.file.close().map(drop).map_err(io::Error::other)
    }

    fn end_group(&mut self) -> io::Result<()> {
        self.write_group().map_err(io::Error::other)?;
        self.group = self.columns.iter().map(Values::of).collect();
        self.rows = 0;
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.file.next_row_group()?;
        for (column, values) in self.columns.iter().zip(&self.group) {
            if let Some(mut writer) = group.next_column()? {
                values.write(column, &mut writer)?;
                writer.close()?;
            }
        }
        group.close().map(drop)
    }
}

/// A file of rows, read column by column.
pub struct RowsFile {
    path: PathBuf,
    reader: SerializedFileReader<File>,
    record: Record,
}

impl RowsFile {
    /// Opens a file that [`RowsWriter`] wrote.
    ///
    /// # Errors
    /// [`Error::Read`] if it cannot be read; [`Error::Dataset`] if it is no such file.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| Error::Read { path: path.into(), source })?;
        let wrong = |reason: String| Error::Dataset { path: path.into(), reason };
        let reader = guarded(|| SerializedFileReader::new(file))
            .map_err(|panicked| wrong(format!("expected Parquet, found broken data: {panicked}")))?
            .map_err(|error| wrong(format!("expected Parquet, found something else: {error}")))?;
        let pairs = reader.metadata().file_metadata().key_value_metadata();
        let text = pairs.into_iter().flatten().find(|pair| pair.key == METADATA);
        let text = text.and_then(|pair| pair.value.as_deref());
        let text = text.ok_or_else(|| wrong(format!("expected metadata {METADATA:?}, found none")))?;
        let record = serde_json::from_str(text).map_err(|error| {
            wrong(format!("metadata {METADATA:?}: expected a run's record, found {error}"))
        })?;
        Ok(Self { path: path.into(), reader, record })
    }

    /// What decided the rows.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Shows every row's values of one column, in order: none, one, or those of a list.
    ///
    /// # Errors
    /// [`Error::Dataset`] if there is no such column of that type, or it is broken.
    pub(super) fn each<D: DataType>(&self, column: &str, visit: impl FnMut(usize, &[D::T])) -> Result<()> {
        guarded(|| self.read_each::<D>(column, visit)).unwrap_or_else(|panicked| {
            let reason = format!("column {column:?}: {panicked}");
            Err(Error::Dataset { path: self.path.clone(), reason })
        })
    }

    fn read_each<D: DataType>(&self, column: &str, mut visit: impl FnMut(usize, &[D::T])) -> Result<()> {
        let wrong = |reason: String| Error::Dataset { path: self.path.clone(), reason };
        let broken = |error: ParquetError| wrong(format!("column {column:?}: {error}"));
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let place = schema.columns().iter().position(|known| {
            known.path().parts().first().is_some_and(|name| name == column)
                && known.physical_type() == D::get_physical_type()
        });
        let place = place.ok_or_else(|| wrong(format!("expected a column {column:?}, found none")))?;
        let full = schema.column(place).max_def_level();
        let mut row = 0;
        for group in 0..self.reader.num_row_groups() {
            let group = self.reader.get_row_group(group).map_err(broken)?;
            let mut reader = get_typed_column_reader::<D>(group.get_column_reader(place).map_err(broken)?);
            loop {
                let mut batch = Batch::<D>::default();
                let Batch { values, definitions, repetitions } = &mut batch;
                let read = reader.read_records(BATCH, Some(definitions), Some(repetitions), values);
                match read.map_err(broken)?.0 {
                    0 => break,
                    records => batch.each(records, full, &mut |values| {
                        visit(row, values);
                        row += 1;
                    }),
                }
            }
        }
        Ok(())
    }
}

/// Some rows of a column as Parquet has them.
struct Batch<D: DataType> {
    values: Vec<D::T>,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
}

impl<D: DataType> Default for Batch<D> {
    fn default() -> Self {
        Self { values: Vec::new(), definitions: Vec::new(), repetitions: Vec::new() }
    }
}

impl<D: DataType> Batch<D> {
    /// `full`: the level of a value that is there.
    fn each(&self, records: usize, full: i16, visit: &mut dyn FnMut(&[D::T])) {
        let (mut level, mut value) = (0, 0);
        for _ in 0..records {
            let first = value;
            loop {
                // Columns without nulls or lists have no levels.
                value += usize::from(self.definitions.get(level).is_none_or(|found| *found == full));
                level += 1;
                if self.repetitions.get(level).is_none_or(|again| *again == 0) {
                    break;
                }
            }
            visit(&self.values[first..value]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{Case, Curve, Metric, Options, Outcome, Plan, Setting};
    use fieldmark_explain::verdict::Verdict;
    use fieldmark_model::device::Precision;
    use parquet::data_type::{BoolType, ByteArrayType, DoubleType, Int64Type};

    fn record(settings: usize) -> Record {
        let setting = |place: usize| Setting {
            method: "grad-cam".into(),
            layer: -1,
            layers: Vec::new(),
            layers_combine: None,
            strength: place as f64 / 2.0,
            aggregate: "mean".into(),
        };
        let metrics = vec![Metric::PointingGame, Metric::EnergyPointing, Metric::DeletionAuc];
        let plan = Plan::new("model", Precision::F32, &Options { metrics, ..Options::default() });
        Record { plan, settings: (0..settings).map(setting).collect() }
    }

    fn answer(line: usize, settings: usize) -> Answer {
        let outcome = |place: usize| Outcome {
            verdict: Verdict::Weak,
            // Of every other row there is no mark.
            metrics: place
                .is_multiple_of(2)
                .then(|| ("pointing_game".to_owned(), (10 * line + place) as f64))
                .into_iter()
                .collect(),
            curves: [("deletion".to_owned(), Curve { at: vec![0.0, 1.0], values: vec![0.5; place] })].into(),
        };
        let case = Case {
            line,
            id: line.is_multiple_of(2).then(|| format!("number {line}")),
            image: format!("{line}.png"),
            prompt: "red wing".into(),
            label: None,
            against: vec!["tail".into(); line % 3],
            part: None,
            present: line % 2 == 1,
            similarity: 0.25,
            probability: 0.5,
            beats_rivals: None,
        };
        Answer { case, outcomes: (0..settings).map(outcome).collect() }
    }

    fn written(path: &Path, record: &Record, lines: usize) -> io::Result<()> {
        let mut writer = RowsWriter::new(File::create(path)?, record)?;
        for line in 0..lines {
            writer.add(line, &[answer(line, record.settings.len())])?;
        }
        writer.finish()
    }

    #[test]
    fn what_is_written_is_read_over_several_groups() -> Result<()> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        let record = record(3);
        let lines = GROUP / 3 * 2;
        written(&path, &record, lines).unwrap();
        let rows = RowsFile::open(&path)?;
        assert_eq!((rows.record(), rows.reader.num_row_groups()), (&record, 2));
        let mut seen = 0;
        rows.each::<Int64Type>("line", |row, line| {
            assert_eq!(line, [(row / 3) as i64]);
            seen += 1;
        })?;
        assert_eq!(seen, 3 * lines);
        rows.each::<BoolType>("present", |row, present| assert_eq!(present, [row / 3 % 2 == 1]))?;
        rows.each::<ByteArrayType>("id", |row, id| {
            let expected = (row / 3 % 2 == 0).then(|| format!("number {}", row / 3));
            assert_eq!(id.first().map(|id| id.as_utf8().unwrap()), expected.as_deref());
        })?;
        rows.each::<ByteArrayType>("against", |row, against| assert_eq!(against.len(), row / 3 % 3))?;
        rows.each::<DoubleType>("pointing_game", |row, mark| {
            let expected = (row % 3 % 2 == 0).then_some((10 * (row / 3) + row % 3) as f64);
            assert_eq!(mark.first().copied(), expected);
        })?;
        rows.each::<DoubleType>("energy_pointing", |_, mark| assert_eq!(mark, [0.0; 0]))?;
        rows.each::<DoubleType>("deletion_at", |_, at| assert_eq!(at, [0.0, 1.0]))?;
        rows.each::<DoubleType>("deletion", |row, values| assert_eq!(values, vec![0.5; row % 3]))?;
        assert!(rows.each::<DoubleType>("best_iou", |_, _| ()).is_err(), "it was not asked for");
        Ok(())
    }

    #[test]
    fn the_same_rows_give_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = |name: &str| {
            let path = folder.path().join(name);
            written(&path, &record(2), 100).unwrap();
            std::fs::read(path).unwrap()
        };
        assert!(bytes("one") == bytes("other"));
    }

    #[test]
    fn what_is_no_such_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        assert!(matches!(RowsFile::open(&path), Err(Error::Read { .. })));
        std::fs::write(&path, "PAR1 but not really PAR1").unwrap();
        assert!(matches!(RowsFile::open(&path), Err(Error::Dataset { .. })));
    }

    #[test]
    fn answers_to_other_settings_are_refused() {
        let record = record(2);
        let mut writer = RowsWriter::new(Vec::new(), &record).unwrap();
        assert!(writer.add(0, &[answer(1, 3)]).unwrap_err().to_string().contains("expected 2 outcomes"));
    }
}

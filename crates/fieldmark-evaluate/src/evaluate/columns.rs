//! The columns of an evaluation's rows: their names and types, and where their values come from.

use std::sync::Arc;

use parquet::{
    data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type},
    errors::Result,
    file::writer::SerializedColumnWriter,
    schema::{parser::parse_message_type, types::TypePtr},
};

use super::{Answer, CurveKind, Outcome, Record, Setting};

/// One question under one setting.
pub(super) struct RowOf<'a> {
    pub(super) picture: usize,
    pub(super) answer: &'a Answer,
    pub(super) setting: &'a Setting,
    pub(super) outcome: &'a Outcome,
}

/// A value of a row.
enum Cell<'a> {
    Text(&'a str),
    Integer(i64),
    Real(f64),
    Flag(bool),
    Texts(&'a [String]),
    Integers(&'a [i64]),
    Reals(&'a [f64]),
    Null,
}

impl<'a> Cell<'a> {
    fn or_null<T>(value: Option<T>, cell: impl Fn(T) -> Cell<'a>) -> Self {
        value.map_or(Self::Null, cell)
    }
}

/// What a column holds.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Integer,
    Real,
    Flag,
    Texts,
    Integers,
    Reals,
}

impl Kind {
    fn is_list(self) -> bool {
        matches!(self, Self::Texts | Self::Integers | Self::Reals)
    }

    /// The type in Parquet's own notation.
    fn declaration(self, name: &str, required: bool) -> String {
        let repetition = if required { "required" } else { "optional" };
        let (physical, logical) = match self {
            Self::Text | Self::Texts => ("binary", " (STRING)"),
            Self::Integer | Self::Integers => ("int64", ""),
            Self::Real | Self::Reals => ("double", ""),
            Self::Flag => ("boolean", ""),
        };
        if self.is_list() {
            format!(
                "{repetition} group {name} (LIST) {{ repeated group list {{ required {physical} element{logical}; }} }}"
            )
        } else {
            format!("{repetition} {physical} {name}{logical};")
        }
    }
}

/// Reads one field of a row.
type Field = for<'r> fn(&RowOf<'r>) -> Cell<'r>;

/// The columns that every run has: name, kind, whether there is always a value, and the value.
const FIXED: [(&str, Kind, bool, Field); 19] = [
    ("picture", Kind::Integer, true, |row| Cell::Integer(row.picture as i64)),
    ("line", Kind::Integer, true, |row| Cell::Integer(row.answer.case.line as i64)),
    ("id", Kind::Text, false, |row| Cell::or_null(row.answer.case.id.as_deref(), Cell::Text)),
    ("image", Kind::Text, true, |row| Cell::Text(&row.answer.case.image)),
    ("prompt", Kind::Text, true, |row| Cell::Text(&row.answer.case.prompt)),
    ("label", Kind::Text, false, |row| Cell::or_null(row.answer.case.label.as_deref(), Cell::Text)),
    ("against", Kind::Texts, false, |row| Cell::Texts(&row.answer.case.against)),
    ("part", Kind::Text, false, |row| Cell::or_null(row.answer.case.part.as_deref(), Cell::Text)),
    ("present", Kind::Flag, true, |row| Cell::Flag(row.answer.case.present)),
    ("method", Kind::Text, true, |row| Cell::Text(&row.setting.method)),
    ("layer", Kind::Integer, true, |row| Cell::Integer(row.setting.layer)),
    ("layers", Kind::Integers, false, |row| match &row.setting.layers[..] {
        [] => Cell::Null,
        layers => Cell::Integers(layers),
    }),
    ("layers_combine", Kind::Text, false, |row| {
        Cell::or_null(row.setting.layers_combine, |combination| Cell::Text(combination.name()))
    }),
    ("strength", Kind::Real, true, |row| Cell::Real(row.setting.strength)),
    // No objective has a part in the plain map.
    ("aggregate", Kind::Text, false, |row| match row.setting.strength {
        0.0 => Cell::Null,
        _ => Cell::Text(&row.setting.aggregate),
    }),
    ("similarity", Kind::Real, true, |row| Cell::Real(row.answer.case.similarity)),
    ("probability", Kind::Real, true, |row| Cell::Real(row.answer.case.probability)),
    ("beats_rivals", Kind::Flag, false, |row| Cell::or_null(row.answer.case.beats_rivals, Cell::Flag)),
    ("verdict", Kind::Text, true, |row| Cell::Text(row.outcome.verdict.name())),
];

/// Where a column's values come from.
enum Source {
    Field(Field),
    Metric(String),
    CurveAt(&'static str),
    Curve(&'static str),
}

/// One column.
pub(super) struct Column {
    name: String,
    kind: Kind,
    required: bool,
    source: Source,
}

/// What is added to a curve's name where its values are found.
pub(super) const AT: &str = "_at";

/// The columns of a run, in their order.
pub(super) fn columns(record: &Record) -> Vec<Column> {
    let fixed = FIXED.map(|(name, kind, required, field)| Column {
        name: name.into(),
        kind,
        required,
        source: Source::Field(field),
    });
    let optional = |name: String, kind, source| Column { name, kind, required: false, source };
    let metrics = record.plan.metrics.iter().map(|metric| metric.name().to_owned());
    let metrics = metrics.map(|name| optional(name.clone(), Kind::Real, Source::Metric(name)));
    let curves = record.plan.curves().flat_map(|CurveKind { name, .. }| {
        let at = optional(format!("{name}{AT}"), Kind::Reals, Source::CurveAt(name));
        [at, optional((*name).into(), Kind::Reals, Source::Curve(name))]
    });
    fixed.into_iter().chain(metrics).chain(curves).collect()
}

/// The columns in Parquet's own terms.
pub(super) fn schema(columns: &[Column]) -> Result<TypePtr> {
    let fields: Vec<String> =
        columns.iter().map(|column| column.kind.declaration(&column.name, column.required)).collect();
    Ok(Arc::new(parse_message_type(&format!("message row {{ {} }}", fields.join(" ")))?))
}

impl Column {
    fn cell<'r>(&self, row: &RowOf<'r>) -> Cell<'r> {
        let curve = |name: &str| row.outcome.curves.get(name);
        match &self.source {
            Source::Field(field) => field(row),
            Source::Metric(name) => Cell::or_null(row.outcome.metrics.get(name).copied(), Cell::Real),
            Source::CurveAt(name) => Cell::or_null(curve(name), |curve| Cell::Reals(&curve.at)),
            Source::Curve(name) => Cell::or_null(curve(name), |curve| Cell::Reals(&curve.values)),
        }
    }
}

/// A column's values in one group of rows.
pub(super) enum Values {
    Texts(Levels<ByteArray>),
    Integers(Levels<i64>),
    Reals(Levels<f64>),
    Flags(Levels<bool>),
}

/// Values without nulls; and Parquet's levels, which say where nulls are and where lists begin.
pub(super) struct Levels<T> {
    values: Vec<T>,
    /// 0: null. Of single values 1: there is one. Of lists 1: empty, 2: an element.
    definitions: Vec<i16>,
    /// Of lists. 0: a new one, 1: the same.
    repetitions: Vec<i16>,
}

impl<T> Default for Levels<T> {
    fn default() -> Self {
        Self { values: Vec::new(), definitions: Vec::new(), repetitions: Vec::new() }
    }
}

impl<T> Levels<T> {
    fn add(&mut self, value: T) {
        self.values.push(value);
        self.definitions.push(1);
    }

    fn add_null(&mut self) {
        self.definitions.push(0);
        self.repetitions.push(0);
    }

    fn add_list(&mut self, values: impl IntoIterator<Item = T>) {
        let before = self.values.len();
        self.values.extend(values);
        let added = self.values.len() - before;
        self.definitions.extend(std::iter::repeat_n(2, added));
        self.repetitions.extend((0..added).map(|place| i16::from(place > 0)));
        if added == 0 {
            self.definitions.push(1);
            self.repetitions.push(0);
        }
    }
}

impl<T> Levels<T> {
    fn write<D: DataType<T = T>>(
        &self,
        column: &Column,
        writer: &mut SerializedColumnWriter<'_>,
    ) -> Result<()> {
        let definitions = (!column.required).then_some(&self.definitions[..]);
        let repetitions = column.kind.is_list().then_some(&self.repetitions[..]);
        writer.typed::<D>().write_batch(&self.values, definitions, repetitions).map(drop)
    }
}

impl Values {
    /// None yet.
    pub(super) fn of(column: &Column) -> Self {
        match column.kind {
            Kind::Text | Kind::Texts => Self::Texts(Levels::default()),
            Kind::Integer | Kind::Integers => Self::Integers(Levels::default()),
            Kind::Real | Kind::Reals => Self::Reals(Levels::default()),
            Kind::Flag => Self::Flags(Levels::default()),
        }
    }

    /// Adds a row's value.
    pub(super) fn add(&mut self, column: &Column, row: &RowOf<'_>) {
        match (self, column.cell(row)) {
            (Self::Texts(levels), Cell::Text(text)) => levels.add(text.into()),
            (Self::Texts(levels), Cell::Texts(texts)) => {
                levels.add_list(texts.iter().map(|text| text.as_str().into()));
            }
            (Self::Integers(levels), Cell::Integer(number)) => levels.add(number),
            (Self::Integers(levels), Cell::Integers(numbers)) => levels.add_list(numbers.iter().copied()),
            (Self::Reals(levels), Cell::Real(number)) => levels.add(number),
            (Self::Reals(levels), Cell::Reals(numbers)) => levels.add_list(numbers.iter().copied()),
            (Self::Flags(levels), Cell::Flag(flag)) => levels.add(flag),
            (Self::Texts(levels), _) => levels.add_null(),
            (Self::Integers(levels), _) => levels.add_null(),
            (Self::Reals(levels), _) => levels.add_null(),
            (Self::Flags(levels), _) => levels.add_null(),
        }
    }

    /// Writes the values as a part of their column.
    pub(super) fn write(&self, column: &Column, writer: &mut SerializedColumnWriter<'_>) -> Result<()> {
        match self {
            Self::Texts(levels) => levels.write::<ByteArrayType>(column, writer),
            Self::Integers(levels) => levels.write::<Int64Type>(column, writer),
            Self::Reals(levels) => levels.write::<DoubleType>(column, writer),
            Self::Flags(levels) => levels.write::<BoolType>(column, writer),
        }
    }
}

//! What a result came from: the program and the checkpoint, so that it can be made again.

use serde::{Deserialize, Serialize};

use fieldmark_model::model::Model;

/// The version of the records' form. It is counted up when a field changes its meaning, which no release has done;
/// fields that are added leave it as it is.
pub const SCHEMA: u32 = 1;

/// What a result came from.
///
/// Of a record that is older than these fields, the schema is 0 and the rest is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Origin {
    /// The version of the records' form: see [`SCHEMA`].
    pub schema: u32,
    /// The program's version.
    pub version: String,
    /// The commit of the checkpoint's repository in the Hub; none of any other checkpoint.
    pub model_revision: Option<String>,
    /// The SHA-256 of the checkpoint's files: see [`Model::content_hash`]. None of the checkpoint that ships, which is a
    /// part of the program, and where it is not known: see [`Model::known_hash`].
    pub model_sha256: Option<String>,
}

impl Origin {
    /// The origin of what this program makes with a checkpoint.
    pub fn new(model: &Model, model_sha256: Option<String>) -> Self {
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").into(),
            model_revision: model.revision().map(str::to_owned),
            model_sha256,
        }
    }

    /// The origin of a run, as in its description; the commit is not known.
    pub fn of_run(version: String, model_sha256: Option<String>) -> Self {
        Self { schema: SCHEMA, version, model_revision: None, model_sha256 }
    }
}

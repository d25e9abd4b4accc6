//! Files in JSON: a name for people and, where it is not UTF-8, its escaped form beside it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use fieldmark_model::files::{escaped, unescaped};

/// A photo's file in JSON: `image`, where what is not UTF-8 is U+FFFD, and the escaped form of such a name,
/// `image_bytes` ([`escaped`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Image {
    image: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image_bytes: Option<String>,
}

impl Image {
    /// The file.
    pub fn path(&self) -> PathBuf {
        self.image_bytes.as_ref().map_or_else(|| PathBuf::from(&self.image), |bytes| unescaped(bytes))
    }

    /// The name for people.
    pub fn shown(&self) -> &str {
        &self.image
    }
}

impl From<PathBuf> for Image {
    fn from(path: PathBuf) -> Self {
        Self { image_bytes: escaped(&path), image: path.to_string_lossy().into_owned() }
    }
}

/// A path as the fields of an [`Image`].
pub(super) mod image {
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Image;

    pub(in crate::report) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        Image::from(path.to_owned()).serialize(serializer)
    }

    pub(in crate::report) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<PathBuf, D::Error> {
        Ok(Image::deserialize(deserializer)?.path())
    }
}

/// Files by kind as `files`, and the escaped forms of those that are not UTF-8 as `files_bytes`.
pub(super) mod files {
    use std::{collections::BTreeMap, path::PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{escaped, unescaped};

    #[derive(Serialize, Deserialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    pub(in crate::report) struct Fields {
        #[serde(default)]
        files: BTreeMap<String, String>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        files_bytes: BTreeMap<String, String>,
    }

    pub(in crate::report) fn serialize<S: Serializer>(
        files: &BTreeMap<String, PathBuf>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let readable = files.iter().map(|(kind, path)| (kind.clone(), path.to_string_lossy().into_owned()));
        let bytes = files.iter().filter_map(|(kind, path)| Some((kind.clone(), escaped(path)?)));
        Fields { files: readable.collect(), files_bytes: bytes.collect() }.serialize(serializer)
    }

    pub(in crate::report) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, PathBuf>, D::Error> {
        let Fields { files, mut files_bytes } = Fields::deserialize(deserializer)?;
        let path = |(kind, file): (String, String)| {
            let path = files_bytes.remove(&kind).map_or_else(|| file.into(), |bytes| unescaped(&bytes));
            (kind, path)
        };
        Ok(files.into_iter().map(path).collect())
    }
}

//! The checkpoints that are known to work, and which of them the cache has.
//!
//! `catalogue.json` has the facts, family by family: parameters are counted from the configurations, licences are those
//! that the repositories' pages or the authors' code state, and null where neither was found. It says nothing that
//! loading a checkpoint relies on; that is in the checkpoint's own files.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    build,
    config::{ClipConfig, OpenClipConfig},
    hub::{self, Cached, HubOptions, Layout},
};
use crate::error::{Error, Result};

const FACTS: &str = include_str!("catalogue.json");

/// Checkpoints of one origin.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Family {
    /// What people call it.
    pub name: String,
    /// The form of the repositories: `transformers` or `open_clip`. A repository may have both.
    pub format: String,
    /// What to use it for.
    pub purpose: String,
    /// Its checkpoints, sorted by their ids.
    pub checkpoints: Vec<Checkpoint>,
}

/// One checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[non_exhaustive]
pub struct Checkpoint {
    /// The id of its repository on the Hub, or `miniature`.
    pub id: String,
    /// Numbers in both towers.
    pub parameters: u64,
    /// The side of the square that it was trained on, in pixels.
    pub image_size: usize,
    /// The side of a patch, in pixels.
    pub patch: usize,
    /// As its page or its authors' code states it; none where that is not known here.
    pub licence: Option<String>,
}

/// A checkpoint and what the cache has of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Listed {
    /// What is known of it.
    #[serde(flatten)]
    pub checkpoint: Checkpoint,
    /// The patches along a side of its grid.
    pub grid: usize,
    /// The name of its family; null for what is in the cache and not in the catalogue.
    pub family: Option<String>,
    /// The form of its repository: `transformers` or `open_clip`.
    pub format: String,
    /// What to use it for; empty for what is not in the catalogue.
    pub purpose: String,
    /// Bytes that the cache has of it; 0 where it has nothing.
    pub cached_bytes: u64,
    /// Whether it can be used without a network.
    pub ready: bool,
}

impl Checkpoint {
    /// The patches along a side of its grid.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch.max(1)
    }
}

/// The families of the catalogue.
///
/// # Errors
/// [`Error::Config`] if the catalogue is broken, which a test rules out.
pub fn families() -> Result<Vec<Family>> {
    serde_json::from_str(FACTS)
        .map_err(|error| Error::Config { path: "catalogue.json".into(), reason: error.to_string() })
}

/// Everything that the catalogue or the cache has, in this order. The network is not touched.
///
/// # Errors
/// As [`families`].
pub fn list(hub: &HubOptions) -> Result<Vec<Listed>> {
    let mut cached = hub::cached(hub);
    let mut listed = Vec::new();
    for family in families()? {
        for checkpoint in family.checkpoints {
            let place = cached.iter().position(|cached| cached.repo == checkpoint.id);
            let found = place.map(|place| cached.remove(place));
            listed.push(Listed {
                grid: checkpoint.grid(),
                family: Some(family.name.clone()),
                format: family.format.clone(),
                purpose: family.purpose.clone(),
                cached_bytes: found.as_ref().map_or(0, |found| found.bytes),
                ready: checkpoint.id == hub::BUILTIN || found.is_some_and(|found| found.directory.is_some()),
                checkpoint,
            });
        }
    }
    listed.extend(cached.into_iter().filter_map(uncatalogued));
    Ok(listed)
}

/// A repository in the cache that is not in the catalogue; none if it is not a model of this kind.
fn uncatalogued(cached: Cached) -> Option<Listed> {
    let directory = cached.directory?;
    let (config, format) = match hub::layout(&hub::listing(&directory).ok()?)? {
        Layout::Transformers => (ClipConfig::read(&directory.join(hub::CONFIG)).ok()?, "transformers"),
        Layout::OpenClip => (open_clip_config(&directory)?, "open_clip"),
    };
    let checkpoint = Checkpoint {
        id: cached.repo,
        parameters: build::all_parameters(&config),
        image_size: config.vision.image_size,
        patch: config.vision.patch,
        licence: None,
    };
    Some(Listed {
        grid: checkpoint.grid(),
        checkpoint,
        family: None,
        format: format.into(),
        purpose: String::new(),
        cached_bytes: cached.bytes,
        ready: true,
    })
}

fn open_clip_config(directory: &Path) -> Option<ClipConfig> {
    let files = hub::OPEN_CLIP_CONFIGS.map(|name| directory.join(name));
    let file = files.iter().find(|file| file.exists())?;
    Some(OpenClipConfig::read(file).ok()?.model)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::model::{hub::ModelSpec, miniature};

    #[test]
    fn the_catalogue_is_sound() -> Result<()> {
        let families = families()?;
        let all: Vec<&Checkpoint> = families.iter().flat_map(|family| &family.checkpoints).collect();
        let ids: HashSet<&str> = all.iter().map(|checkpoint| checkpoint.id.as_str()).collect();
        assert_eq!(ids.len(), all.len(), "ids are unique");
        for family in &families {
            assert!(!family.purpose.is_empty() && !family.checkpoints.is_empty(), "{}", family.name);
            assert!(["transformers", "open_clip"].contains(&family.format.as_str()), "{}", family.name);
            assert!(family.checkpoints.is_sorted_by_key(|checkpoint| &checkpoint.id), "{}", family.name);
        }
        for checkpoint in all {
            let id = &checkpoint.id;
            assert!(!matches!(ModelSpec::parse(id)?, ModelSpec::Directory(_)), "{id}");
            assert!((4..=40).contains(&checkpoint.grid()), "{id}");
            assert!((1_000_000..5_000_000_000).contains(&checkpoint.parameters), "{id}");
        }
        Ok(())
    }

    #[test]
    fn what_it_says_of_the_miniature_is_so() -> Result<()> {
        let (config, ..) = miniature::parts()?;
        let families = families()?;
        let all = families.iter().flat_map(|family| &family.checkpoints);
        let ours: Vec<_> = all.filter(|checkpoint| checkpoint.id == hub::BUILTIN).collect();
        assert_eq!(ours.len(), 1);
        assert_eq!(ours[0].parameters, build::all_parameters(&config));
        assert_eq!((ours[0].image_size, ours[0].patch), (config.vision.image_size, config.vision.patch));
        Ok(())
    }

    #[test]
    fn the_original_has_as_many_parameters_as_its_configuration_asks_for() -> Result<()> {
        let text = br#"{"model_type": "clip", "text_config": {}, "vision_config": {"patch_size": 16}}"#;
        let config = ClipConfig::parse(text, Path::new("config.json"))?;
        assert_eq!(build::all_parameters(&config), 149_620_737);
        Ok(())
    }
}

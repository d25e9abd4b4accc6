//! Turns the file list of a repository into the few files that a checkpoint needs. Names in, names out: no
//! disk and no network.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::json;

/// Whose files a checkpoint is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// transformers': `config.json` with `model.safetensors`, whole or in shards, or `pytorch_model.bin`.
    Transformers,
    /// open_clip's: `open_clip_config.json` with weights of its own.
    OpenClip,
}

/// The files of a repository that a checkpoint needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Selection {
    /// Whose files they are.
    pub layout: Layout,
    /// The files, configuration first, weights last. The shards of an index are not among them: only the
    /// index's text names them ([`shards`]).
    pub files: Vec<String>,
    /// The index whose shards are needed too; it is also among `files`.
    pub index: Option<String>,
    /// Files that were not in the list but would have been selected. Where the list is all that there is, they
    /// do not exist; where it is what a cache holds, they may only be missing.
    pub unsettled: Vec<String>,
}

/// Why a list of files holds no usable checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lack {
    /// The file that is missing first.
    pub file: String,
    /// What is missing, and what is there instead.
    pub reason: String,
}

pub(in crate::model) const CONFIG: &str = "config.json";
/// open_clip's configuration; the second name is that of repositories which hold the model's part of it alone.
pub(in crate::model) const OPEN_CLIP_CONFIGS: [&str; 2] =
    ["open_clip_config.json", "open_clip_model_config.json"];
/// In order of preference: pickles come last.
pub(in crate::model) const OPEN_CLIP_WEIGHTS: [&str; 4] = [
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pt",
];
/// In order of preference: whole before shards, and PyTorch's pickled weights last; they are read without running any
/// code. open_clip's form takes them where it has none of its own.
pub(in crate::model) const WEIGHTS: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];
/// What open_clip's training leaves: a file for each epoch it was to save, `epoch_7.pt`, and the last one again.
const LAST_EPOCH: &str = "epoch_latest.pt";
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_PARTS: [&str; 2] = ["vocab.json", "merges.txt"];
const TOKENIZER_EXTRAS: [&str; 2] = ["tokenizer_config.json", "special_tokens_map.json"];
const PROCESSORS: [&str; 2] = ["preprocessor_config.json", "processor_config.json"];
const WEIGHT_ENDINGS: [&str; 8] =
    [".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx"];
/// What of these may be weights that can be read.
const READABLE_ENDINGS: [&str; 6] = [".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".index.json"];
/// The configuration of an adapter of PEFT's, which is no model by itself.
const ADAPTER: &str = "adapter_config.json";
/// No published checkpoint comes near this many shards.
const MAX_SHARDS: usize = 1024;

/// Every name that [`needed`] looks for, but those of epochs.
pub(super) const KNOWN: [&str; 19] = [
    CONFIG,
    OPEN_CLIP_CONFIGS[0],
    OPEN_CLIP_CONFIGS[1],
    TOKENIZER,
    TOKENIZER_PARTS[0],
    TOKENIZER_PARTS[1],
    TOKENIZER_EXTRAS[0],
    TOKENIZER_EXTRAS[1],
    PROCESSORS[0],
    PROCESSORS[1],
    WEIGHTS[0],
    WEIGHTS[1],
    WEIGHTS[2],
    WEIGHTS[3],
    OPEN_CLIP_WEIGHTS[0],
    OPEN_CLIP_WEIGHTS[1],
    OPEN_CLIP_WEIGHTS[2],
    OPEN_CLIP_WEIGHTS[3],
    LAST_EPOCH,
];

/// Whether [`needed`] looks for this name, so that a cache can be asked what it holds.
pub(super) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name) || epoch(name).is_some()
}

/// Whether a file may be weights that can be read, or an index of their shards, by its name.
pub(super) fn may_be_weights(name: &str) -> bool {
    READABLE_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Whether a name says something of a checkpoint, if only that it cannot be read.
pub(super) fn is_of_interest(name: &str) -> bool {
    is_known(name) || is_weights(name) || name == ADAPTER
}

/// The number of an epoch whose weights a file holds.
fn epoch(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("epoch_")?.strip_suffix(".pt")?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Whose checkpoints may lie among these files, by the configurations.
pub(in crate::model) fn layouts(listing: &[String]) -> Vec<Layout> {
    let has = |name: &str| listing.iter().any(|listed| listed == name);
    let transformers = has(CONFIG).then_some(Layout::Transformers);
    let open_clip = OPEN_CLIP_CONFIGS.iter().any(|name| has(name)).then_some(Layout::OpenClip);
    transformers.into_iter().chain(open_clip).collect()
}

/// Whose checkpoint lies among these files; `None` if there is no configuration.
///
/// transformers' form is taken where its weights are there; without any weights, it is whose configuration is there.
pub(in crate::model) fn layout(listing: &[String]) -> Option<Layout> {
    let has = |name: &&str| listing.iter().any(|listed| listed == name);
    match layouts(listing).as_slice() {
        [] => None,
        [only] => Some(*only),
        _ if WEIGHTS.iter().any(has) || !OPEN_CLIP_WEIGHTS.iter().any(has) => Some(Layout::Transformers),
        _ => Some(Layout::OpenClip),
    }
}

/// The file of weights that counts for a form, or the index of its shards.
///
/// open_clip's own names come first in its form; of what its training left, the highest epoch counts.
pub(in crate::model) fn weights(layout: Layout, listing: &[String]) -> Option<&str> {
    let find = |name: &&str| listing.iter().map(String::as_str).find(|listed| listed == name);
    match layout {
        Layout::Transformers => WEIGHTS.iter().find_map(find),
        Layout::OpenClip => {
            let named = OPEN_CLIP_WEIGHTS.iter().chain(&WEIGHTS).find_map(find);
            let epochs = listing.iter().filter_map(|name| Some((epoch(name)?, name.as_str())));
            named.or_else(|| epochs.max().map(|(_, name)| name)).or_else(|| find(&LAST_EPOCH))
        }
    }
}

/// Leaves out the configuration of transformers' form where it is for other code than transformers' own, or cannot be
/// read, and open_clip's is there as well. `is_foreign` is only asked where there are both.
///
/// # Errors
/// Those of `is_foreign`.
pub(super) fn without_foreign<E>(
    mut listing: Vec<String>,
    is_foreign: impl FnOnce() -> Result<bool, E>,
) -> Result<Vec<String>, E> {
    if layouts(&listing).len() > 1 && weights(Layout::OpenClip, &listing).is_some() && is_foreign()? {
        listing.retain(|name| name != CONFIG);
    }
    Ok(listing)
}

/// Chooses the files that a checkpoint needs from the names in a repository.
///
/// transformers' form is preferred over open_clip's where a repository has both (`without_foreign` leaves out the one that
/// cannot be read); whole safetensors over shards, and both over pickled weights; TensorFlow's, Flax's and ONNX's are
/// never chosen.
///
/// # Errors
///
/// A [`Lack`] when the names hold no configuration, no weights that can be read, or no tokenizer (which open_clip's
/// form can do without).
pub fn needed(listing: &[String]) -> Result<Selection, Lack> {
    let has = &|name: &str| listing.iter().any(|listed| listed == name);
    match layout(listing) {
        Some(Layout::Transformers) => transformers(listing, has),
        Some(Layout::OpenClip) => open_clip(listing, has),
        None => {
            let reason = format!("has neither {CONFIG} nor {}", OPEN_CLIP_CONFIGS[0]);
            Err(Lack { file: CONFIG.into(), reason })
        }
    }
}

fn transformers(listing: &[String], has: &dyn Fn(&str) -> bool) -> Result<Selection, Lack> {
    let weights = weights(Layout::Transformers, listing);
    let weights = weights.ok_or_else(|| no_weights(Layout::Transformers, listing))?;
    // Vision transformers have none. Where a part of one is there, the rest is missing; where nothing is, opening a model
    // with a text tower finds it.
    let tokenizer = tokenizer(has);
    let is_cut_short = TOKENIZER_PARTS.iter().chain(&TOKENIZER_EXTRAS).any(|name| has(name));
    if tokenizer.is_none() && is_cut_short {
        let [vocabulary, merges] = TOKENIZER_PARTS;
        let reason = format!("has neither {TOKENIZER} nor {vocabulary} and {merges}");
        return Err(Lack { file: TOKENIZER.into(), reason });
    }
    let is_settled = tokenizer.is_some();
    let mut files = vec![CONFIG.to_owned()];
    files.extend(tokenizer.unwrap_or_default());
    files.extend(present(has, &TOKENIZER_EXTRAS));
    let processors = present(has, &PROCESSORS);
    let mut unsettled = if processors.is_empty() { owned(&PROCESSORS) } else { Vec::new() };
    if !is_settled {
        unsettled.push(TOKENIZER.to_owned());
    }
    files.extend(processors);
    files.push(weights.to_owned());
    Ok(Selection { layout: Layout::Transformers, files, index: index(weights), unsettled })
}

fn open_clip(listing: &[String], has: &dyn Fn(&str) -> bool) -> Result<Selection, Lack> {
    let weights = weights(Layout::OpenClip, listing).ok_or_else(|| no_weights(Layout::OpenClip, listing))?;
    let mut files = present(has, &OPEN_CLIP_CONFIGS);
    files.truncate(1);
    let tokenizer = tokenizer(has);
    let unsettled = if tokenizer.is_none() { vec![TOKENIZER.to_owned()] } else { Vec::new() };
    files.extend(tokenizer.unwrap_or_default());
    files.extend(present(has, &TOKENIZER_EXTRAS));
    files.push(weights.to_owned());
    Ok(Selection { layout: Layout::OpenClip, files, index: index(weights), unsettled })
}

/// The file of weights, if it is an index of shards.
fn index(weights: &str) -> Option<String> {
    weights.ends_with(".index.json").then(|| weights.to_owned())
}

fn tokenizer(has: &dyn Fn(&str) -> bool) -> Option<Vec<String>> {
    if has(TOKENIZER) {
        return Some(vec![TOKENIZER.to_owned()]);
    }
    let parts = present(has, &TOKENIZER_PARTS);
    (parts.len() == TOKENIZER_PARTS.len()).then_some(parts)
}

fn present(has: &dyn Fn(&str) -> bool, names: &[&str]) -> Vec<String> {
    names.iter().filter(|name| has(name)).map(|name| (*name).to_owned()).collect()
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn no_weights(layout: Layout, listing: &[String]) -> Lack {
    let file = match layout {
        Layout::Transformers => WEIGHTS[0],
        Layout::OpenClip => OPEN_CLIP_WEIGHTS[0],
    };
    Lack { file: file.into(), reason: format!("has no {file}, {}", other_weights(listing)) }
}

/// Which weights a listing has, none of which can be read.
pub(in crate::model) fn other_weights(listing: &[String]) -> String {
    let mut others: Vec<&str> = listing.iter().map(String::as_str).filter(|name| is_weights(name)).collect();
    others.truncate(5);
    match others.as_slice() {
        [] => "no weights".to_owned(),
        others if listing.iter().any(|name| name == ADAPTER) => {
            format!("only an adapter that is not merged into a model ({})", others.join(", "))
        }
        others => format!("only {}", others.join(", ")),
    }
}

fn is_weights(name: &str) -> bool {
    WEIGHT_ENDINGS.iter().any(|ending| name.ends_with(ending)) && !name.contains(char::is_control)
}

/// The shards that the text of a `model.safetensors.index.json` or `pytorch_model.bin.index.json` names, each once, in
/// order.
///
/// # Errors
///
/// What is wrong with the text: not such an index, no shards or too many, or a shard whose name is not that of a file of
/// weights inside the repository.
pub fn shards(index: &[u8]) -> Result<Vec<String>, String> {
    let index = json::parse(index).map_err(|error| format!("not valid JSON: {error}"))?;
    let map = index.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or("weight_map: expected an object with the file of every tensor")?;
    let mut names = BTreeSet::new();
    for (tensor, name) in map {
        let name = name
            .as_str()
            .ok_or_else(|| format!("weight_map.{tensor}: expected a file name, found {name}"))?;
        names.insert(name.to_owned());
    }
    if names.is_empty() || names.len() > MAX_SHARDS {
        return Err(format!("weight_map names {} shards, expected 1 to {MAX_SHARDS}", names.len()));
    }
    let is_shard = |name: &str| is_inside(name) && (name.ends_with(".safetensors") || name.ends_with(".bin"));
    match names.iter().find(|name| !is_shard(name)) {
        Some(name) => {
            Err(format!("weight_map names {name:?}, which is not a file of weights inside the repository"))
        }
        None => Ok(names.into_iter().collect()),
    }
}

/// Whether a name from outside can be joined to a directory without leaving it, on any system.
pub(super) fn is_inside(name: &str) -> bool {
    let forbidden = |c: char| c.is_control() || matches!(c, '\\' | ':');
    name.len() <= 255
        && !name.contains(forbidden)
        && name.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        owned(list)
    }

    #[test]
    fn takes_safetensors_and_leaves_every_other_format() {
        let listing = names(&[
            ".gitattributes",
            "README.md",
            "config.json",
            "flax_model.msgpack",
            "merges.txt",
            "model.safetensors",
            "onnx/model.onnx",
            "preprocessor_config.json",
            "pytorch_model.bin",
            "special_tokens_map.json",
            "tf_model.h5",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.json",
        ]);
        let selection = needed(&listing).unwrap();
        assert_eq!(
            selection.files,
            [
                "config.json",
                "tokenizer.json",
                "tokenizer_config.json",
                "special_tokens_map.json",
                "preprocessor_config.json",
                "model.safetensors"
            ]
        );
        assert_eq!((selection.index, selection.unsettled.len()), (None, 0));
    }

    #[test]
    fn takes_vocabulary_and_merges_where_there_is_no_tokenizer_json() {
        let selection =
            needed(&names(&["config.json", "model.safetensors", "vocab.json", "merges.txt"])).unwrap();
        assert_eq!(selection.files, ["config.json", "vocab.json", "merges.txt", "model.safetensors"]);
        assert_eq!(selection.unsettled, ["preprocessor_config.json", "processor_config.json"]);
    }

    #[test]
    fn takes_the_index_only_without_whole_weights() {
        let mut listing = names(&["config.json", "tokenizer.json", "model.safetensors.index.json"]);
        let selection = needed(&listing).unwrap();
        assert_eq!(selection.index.as_deref(), Some("model.safetensors.index.json"));
        listing.push("model.safetensors".into());
        assert_eq!(needed(&listing).unwrap().index, None);
    }

    #[test]
    fn names_the_weights_that_cannot_be_read() {
        let lack = needed(&names(&["config.json", "tokenizer.json", "tf_model.h5"])).unwrap_err();
        assert_eq!(lack.file, "model.safetensors");
        assert_eq!(lack.reason, "has no model.safetensors, only tf_model.h5");
        let lack = needed(&names(&["config.json", "tokenizer.json"])).unwrap_err();
        assert_eq!(lack.reason, "has no model.safetensors, no weights");
    }

    #[test]
    fn names_the_tokenizer_that_is_missing() {
        let lack = needed(&names(&["config.json", "model.safetensors", "vocab.json"])).unwrap_err();
        assert_eq!(lack.reason, "has neither tokenizer.json nor vocab.json and merges.txt");
    }

    #[test]
    fn takes_pickled_weights_only_without_safetensors() {
        let mut listing = names(&["config.json", "tokenizer.json", "pytorch_model.bin"]);
        assert_eq!(needed(&listing).unwrap().files.last().unwrap(), "pytorch_model.bin");
        listing.push("model.safetensors".into());
        assert_eq!(needed(&listing).unwrap().files.last().unwrap(), "model.safetensors");
    }

    #[test]
    fn takes_open_clips_files_where_transformers_weights_are_not_there() {
        let mut listing = names(&[
            "README.md",
            "open_clip_config.json",
            "open_clip_pytorch_model.bin",
            "open_clip_model.safetensors",
            "tokenizer.json",
        ]);
        let selection = needed(&listing).unwrap();
        assert_eq!(selection.layout, Layout::OpenClip);
        assert_eq!(
            selection.files,
            ["open_clip_config.json", "tokenizer.json", "open_clip_model.safetensors"]
        );
        listing.push("config.json".into());
        assert_eq!(needed(&listing).unwrap().layout, Layout::OpenClip, "it has no weights");
        listing.push("pytorch_model.bin".into());
        assert_eq!(needed(&listing).unwrap().files, ["config.json", "tokenizer.json", "pytorch_model.bin"]);
    }

    #[test]
    fn open_clip_can_do_without_a_tokenizer_but_not_without_weights() {
        let selection =
            needed(&names(&["open_clip_model_config.json", "open_clip_pytorch_model.bin"])).unwrap();
        assert_eq!(selection.files, ["open_clip_model_config.json", "open_clip_pytorch_model.bin"]);
        assert_eq!(selection.unsettled, ["tokenizer.json"]);
        let lack = needed(&names(&["open_clip_config.json", "weights.ckpt"])).unwrap_err();
        assert_eq!(lack.reason, "has no open_clip_model.safetensors, only weights.ckpt");
        let lack = needed(&names(&["README.md"])).unwrap_err();
        assert_eq!(lack.reason, "has neither config.json nor open_clip_config.json");
    }

    #[test]
    fn every_name_that_can_be_selected_is_known() {
        let all = owned(&KNOWN);
        for left_out in KNOWN {
            let listing: Vec<String> = all.iter().filter(|name| *name != left_out).cloned().collect();
            let selection = needed(&listing).unwrap();
            assert!(
                selection.files.iter().chain(&selection.unsettled).all(|name| KNOWN.contains(&name.as_str()))
            );
        }
    }

    #[test]
    fn takes_the_index_of_pickled_shards_after_all_others() {
        let mut listing = names(&["config.json", "tokenizer.json", "pytorch_model.bin.index.json"]);
        let selection = needed(&listing).unwrap();
        assert_eq!(selection.index.as_deref(), Some("pytorch_model.bin.index.json"));
        assert_eq!(
            shards(br#"{"weight_map": {"a": "pytorch_model-00001-of-00002.bin"}, "metadata": {"total_size": NaN}}"#),
            Ok(names(&["pytorch_model-00001-of-00002.bin"]))
        );
        listing.push("pytorch_model.bin".into());
        assert_eq!(needed(&listing).unwrap().index, None);
    }

    #[test]
    fn open_clips_folders_have_weights_of_many_names() {
        let chosen = |weights: &[&str]| {
            let mut listing = names(&["open_clip_config.json"]);
            listing.extend(names(weights));
            needed(&listing).map(|selection| selection.files.last().cloned().unwrap())
        };
        assert_eq!(chosen(&["epoch_9.pt", "epoch_10.pt", "epoch_latest.pt"]).unwrap(), "epoch_10.pt");
        assert_eq!(chosen(&["epoch_latest.pt"]).unwrap(), "epoch_latest.pt");
        assert_eq!(chosen(&["pytorch_model.bin", "epoch_10.pt"]).unwrap(), "pytorch_model.bin");
        assert_eq!(chosen(&["pytorch_model.bin", "model.safetensors"]).unwrap(), "model.safetensors");
        assert_eq!(
            chosen(&["open_clip_pytorch_model.bin", "model.safetensors"]).unwrap(),
            "open_clip_pytorch_model.bin"
        );
        assert!(chosen(&["epoch_.pt", "epoch_x.pt", "epoch_-1.pt", "epoch_+1.pt"]).is_err());
        assert!(is_known("epoch_10.pt") && !is_known("epoch_10.pth"));
    }

    #[test]
    fn a_foreign_configuration_gives_way_to_open_clips() {
        let both = names(&["config.json", "open_clip_config.json", "model.safetensors", "tokenizer.json"]);
        let kept = |listing: &[String], foreign| {
            let listing = without_foreign(listing.to_vec(), || Ok::<_, ()>(foreign)).unwrap();
            needed(&listing).unwrap().files[0].clone()
        };
        assert_eq!(kept(&both, true), "open_clip_config.json");
        assert_eq!(kept(&both, false), "config.json");
        let alone = names(&["config.json", "model.safetensors", "tokenizer.json"]);
        assert_eq!(without_foreign(alone.clone(), || Err(())), Ok(alone), "it is not asked");
    }

    #[test]
    fn an_adapter_alone_is_called_that() {
        let lack =
            needed(&names(&["config.json", "adapter_config.json", "adapter_model.safetensors"])).unwrap_err();
        assert!(
            lack.reason
                .ends_with("only an adapter that is not merged into a model (adapter_model.safetensors)")
        );
    }

    #[test]
    fn lists_each_shard_once() {
        let index = br#"{"metadata": {}, "weight_map": {"b": "m-2.safetensors", "a": "m-1.safetensors", "c": "m-2.safetensors"}}"#;
        assert_eq!(shards(index).unwrap(), ["m-1.safetensors", "m-2.safetensors"]);
    }

    #[test]
    fn refuses_shards_outside_the_repository() {
        for name in [
            "../a.safetensors",
            "/a.safetensors",
            "a/../../b.safetensors",
            "a\\\\b.safetensors",
            "c:a.safetensors",
            "model.exe",
        ] {
            let index = format!(r#"{{"weight_map": {{"w": "{name}"}}}}"#);
            assert!(shards(index.as_bytes()).unwrap_err().contains("not a file of weights inside"), "{name}");
        }
        assert!(shards(br#"{"weight_map": {}}"#).unwrap_err().contains("0 shards"));
        assert!(shards(b"[]").is_err());
        assert!(
            shards(br#"{"weight_map": {"w": 3}}"#)
                .unwrap_err()
                .contains("weight_map.w: expected a file name, found 3")
        );
    }
}

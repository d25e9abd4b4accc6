//! The tensors of a file are held against those that a configuration asks for.

use std::collections::{BTreeMap, BTreeSet};

/// A tensor that a configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expected {
    /// Its name in the file.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// Where the tensors of a checkpoint are not those that its configuration asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Differences {
    /// What is not there.
    pub missing: Vec<Expected>,
    /// What is there in another shape, and which.
    pub misshapen: Vec<(Expected, Vec<usize>)>,
    /// The names of tensors inside the model's own modules that a model of this configuration does not have: it would
    /// compute something else without them.
    pub unused: Vec<String>,
    /// The names of tensors beside the model, a classifier for instance, which it does not need.
    pub extra: Vec<String>,
    /// The names of what is no part of the model either, but known to be left behind by older libraries.
    pub ignored: Vec<String>,
    /// What the names of all tensors in the file have in common, or else how they begin; only where some are missing.
    pub hint: Option<String>,
}

impl Differences {
    /// Holds tensors, by name with their shapes, against those that are expected. Dimensions of length 1 do not count: a
    /// scale may be stored as `[]` or `[1]`.
    pub(crate) fn between(mut found: BTreeMap<String, Vec<usize>>, expected: &[Expected]) -> Self {
        let mut differences = Self::default();
        let modules: BTreeSet<&str> = expected.iter().map(|expected| module(&expected.name)).collect();
        for expected in expected {
            match found.remove(&expected.name) {
                None => differences.missing.push(expected.clone()),
                Some(found) if !same_shape(&found, &expected.shape) => {
                    differences.misshapen.push((expected.clone(), found));
                }
                Some(_) => {}
            }
        }
        for name in found.into_keys() {
            match (is_leftover(&name), modules.contains(module(&name))) {
                (true, _) => differences.ignored.push(name),
                (false, true) => differences.unused.push(name),
                (false, false) => differences.extra.push(name),
            }
        }
        differences
    }

    /// What is wrong, a sentence for each tensor; nothing where there are only tensors beside the model.
    pub fn reasons(&self) -> Vec<String> {
        let hint = self.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        let missing = self.missing.iter().map(|Expected { name, shape }| {
            format!("tensor {name} is missing, expected shape {shape:?}{hint}")
        });
        let misshapen = self.misshapen.iter().map(|(Expected { name, shape }, found)| {
            format!("tensor {name}: the configuration asks for shape {shape:?}, found {found:?}")
        });
        let unused = self
            .unused
            .iter()
            .map(|name| format!("tensor {name} is not part of a model of this configuration"));
        missing.chain(misshapen).chain(unused).collect()
    }
}

/// The outermost module of a tensor.
fn module(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// Whether two shapes differ at most in dimensions of length 1.
fn same_shape(one: &[usize], other: &[usize]) -> bool {
    let sides =
        |shape: &'_ [usize]| -> Vec<usize> { shape.iter().copied().filter(|side| *side != 1).collect() };
    sides(one) == sides(other)
}

/// What lies beside the last dot of tensors that are saved although they are no weights: positions in order and
/// masks (older transformers and open_clip), what OpenAI's own files say about the model, and a bias that open_clip
/// saves even where the model was trained without.
const LEFTOVERS: [&str; 7] = [
    "position_ids",
    "attn_mask",
    "input_resolution",
    "context_length",
    "vocab_size",
    "logit_bias",
    // What DINOv2's training put in the place of patches.
    "mask_token",
];

/// Another layer of `ViTModel`, which no classifier uses.
const UNUSED_POOLER: [&str; 2] = ["vit.pooler.dense.weight", "vit.pooler.dense.bias"];

pub(crate) fn is_leftover(name: &str) -> bool {
    UNUSED_POOLER.contains(&name) || LEFTOVERS.contains(&name.rsplit('.').next().unwrap_or(name))
}

/// How many beginnings of names are listed.
const MOST_BEGINNINGS: usize = 6;

/// What these names have in common: `all 12 names begin with "encoder.model."`, or else how they begin.
pub(crate) fn in_common<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    let count = names.clone().count();
    let mut modules = names.clone().map(modules);
    let first = modules.next()?;
    let shared = modules.fold(first, |shared, other| {
        let same = shared
            .split_inclusive('.')
            .zip(other.split_inclusive('.'))
            .take_while(|(one, other)| one == other);
        &shared[..same.map(|(part, _)| part.len()).sum()]
    });
    if !shared.is_empty() {
        return Some(format!("all {count} names begin with {shared:?}"));
    }
    let beginnings: BTreeSet<&str> = names.map(module).collect();
    let more = if beginnings.len() > MOST_BEGINNINGS { ", ..." } else { "" };
    let listed: Vec<String> =
        beginnings.iter().take(MOST_BEGINNINGS).map(|name| format!("{name:?}")).collect();
    Some(format!("the {count} names begin with {}{more}", listed.join(", ")))
}

/// The modules that a tensor lies in, the last dot included.
fn modules(name: &str) -> &str {
    name.rfind('.').map_or("", |dot| &name[..=dot])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_modules_in_common() {
        let common = |names: &[&str]| in_common(names.iter().copied());
        assert_eq!(common(&["a.b.c", "a.b.d.e"]).as_deref(), Some("all 2 names begin with \"a.b.\""));
        assert_eq!(common(&["a.b", "ab.b"]).as_deref(), Some("the 2 names begin with \"a\", \"ab\""));
        assert_eq!(common(&["a.b", "a.b"]).as_deref(), Some("all 2 names begin with \"a.\""));
        assert_eq!(common(&["a", "a.b"]).as_deref(), Some("the 2 names begin with \"a\""));
        assert_eq!(common(&[]), None);
    }

    #[test]
    fn what_is_too_much_counts_by_where_it_lies() {
        let expected = [
            Expected { name: "visual.a".into(), shape: vec![2] },
            Expected { name: "s".into(), shape: vec![] },
        ];
        let names = ["visual.a", "s", "visual.b", "head.weight", "x.position_ids", "logit_bias"];
        let found =
            names.map(|name| (name.to_owned(), if name == "visual.a" { vec![2, 1] } else { vec![1] }));
        let differences = Differences::between(found.into(), &expected);
        assert_eq!((&differences.missing, &differences.misshapen), (&Vec::new(), &Vec::new()));
        assert_eq!(
            (&*differences.unused, &*differences.extra),
            (&["visual.b".to_owned()][..], &["head.weight".to_owned()][..])
        );
        assert_eq!(differences.ignored, ["logit_bias", "x.position_ids"]);
        assert_eq!(differences.reasons(), ["tensor visual.b is not part of a model of this configuration"]);
    }
}

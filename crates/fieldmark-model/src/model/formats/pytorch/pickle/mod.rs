//! Python's unpickler, reduced to what builds a dictionary of tensors.
//!
//! A pickle is a program for a machine with a stack. The real machine may call any function of any module, which is
//! why pickles are not to be trusted. This one calls nothing: a handful of names describe tensors and dictionaries
//! (`calls`), every other name only labels an opaque object, which can be passed around and is never looked into.
//! Training checkpoints are full of those (settings, callbacks, optimizers) beside the weights. A program that names
//! what runs commands or code (`os.system`, `eval`) ends there.
//!
//! Values lie in one list and refer to each other by position, so neither depth nor sharing costs more than the
//! program's own length.

mod calls;
mod machine;

use std::{
    collections::{BTreeMap, HashSet},
    rc::Rc,
};

use super::{StoredTensor, dtypes::Numbers};
use calls::Callable;
pub(super) use calls::not_needed;
use machine::Machine;

/// A value's position in the machine's list.
type Id = usize;

#[derive(Clone, Debug)]
enum Value {
    /// None, a float, bytes: what carries no meaning here.
    Plain,
    Flag(bool),
    Integer(i64),
    Text(String),
    Sequence(Vec<Id>),
    Dictionary(Vec<(Id, Id)>),
    Callable(Callable),
    /// An object of a class that is not known, or the class itself; with its name.
    Opaque(Rc<str>),
    Storage(Storage),
    Tensor(Box<StoredTensor>),
}

/// A storage as a program describes it.
#[derive(Clone, Debug)]
struct Storage {
    numbers: &'static Numbers,
    key: String,
    /// Where the tensors' own positions begin; 0 but for views of other storages in files of before PyTorch 0.4.
    offset: usize,
}

/// What an entry of the state dictionary is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// A tensor.
    Tensor(StoredTensor),
    /// An object with this class or function; whether it holds numbers cannot be said.
    Opaque(String),
}

/// What a program made.
pub(super) struct Made {
    values: Vec<Value>,
    root: Id,
    /// By key: the numbers' type and how many there are.
    pub(super) storages: BTreeMap<String, (&'static Numbers, u64)>,
}

/// Under which names training code keeps the state dictionary, the surest first: PyTorch's own tutorials and Lightning,
/// variants of it, and DeepSpeed's `module`.
const NESTED: [&str; 4] = ["state_dict", "model_state_dict", "model", "module"];
/// How deep such dictionaries may lie in each other.
const DEEPEST: usize = 4;

/// Follows the program at the start of these bytes to its end. Returns what it made, and the bytes behind it.
///
/// # Errors
/// What is wrong with it: it ends early, takes what is not there, or names what it must not.
pub(super) fn run(program: &[u8]) -> Result<(Made, &[u8]), String> {
    let mut machine = Machine::new(program);
    while machine.step()? {}
    machine.finish()
}

impl Made {
    /// The entries of the state dictionary: the innermost dictionary under one of the names for it that holds tensors,
    /// else the outermost one.
    ///
    /// # Errors
    /// If there is no dictionary with texts as its keys.
    pub(super) fn state(&self) -> Result<BTreeMap<String, Item>, String> {
        match &self.values[self.root] {
            Value::Dictionary(_) => {}
            Value::Opaque(name) => return Err(calls::not_needed(name)),
            _ => return Err("expected a dictionary of tensors, found another value".into()),
        }
        let mut seen = HashSet::new();
        let state = self.innermost(self.root, DEEPEST, &mut seen).unwrap_or(self.root);
        let item = |(key, value): (&str, Id)| {
            let item = match &self.values[value] {
                Value::Tensor(tensor) => Item::Tensor((**tensor).clone()),
                Value::Opaque(name) => Item::Opaque(name.to_string()),
                _ => return None,
            };
            Some((key.to_owned(), item))
        };
        Ok(self.entries(state).filter_map(item).collect())
    }

    /// The dictionary with tensors that lies deepest under the names for state dictionaries.
    fn innermost(&self, dictionary: Id, depth: usize, seen: &mut HashSet<Id>) -> Option<Id> {
        if !seen.insert(dictionary) {
            return None;
        }
        for name in NESTED.iter().filter(|_| depth > 0) {
            let found = self.entry(dictionary, name).and_then(|inner| self.innermost(inner, depth - 1, seen));
            if found.is_some() {
                return found;
            }
        }
        let mut entries = self.entries(dictionary);
        entries.any(|(_, value)| matches!(self.values[value], Value::Tensor(_))).then_some(dictionary)
    }

    /// The entries with texts as their keys; of a key that comes twice, the last one counts.
    fn entries(&self, dictionary: Id) -> impl Iterator<Item = (&str, Id)> {
        let pairs = match &self.values[dictionary] {
            Value::Dictionary(pairs) => pairs.as_slice(),
            _ => &[],
        };
        pairs.iter().filter_map(|(key, value)| match &self.values[*key] {
            Value::Text(text) => Some((text.as_str(), *value)),
            _ => None,
        })
    }

    fn entry(&self, dictionary: Id, key: &str) -> Option<Id> {
        self.entries(dictionary).filter(|(found, _)| *found == key).last().map(|(_, value)| value)
    }

    /// A whole number, if that is what was made.
    pub(super) fn integer(&self) -> Option<i64> {
        match self.values[self.root] {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }

    /// The texts of a list, if that is what was made.
    pub(super) fn texts(&self) -> Option<Vec<&str>> {
        let Value::Sequence(items) = &self.values[self.root] else { return None };
        let text = |id: &Id| match &self.values[*id] {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        };
        items.iter().map(text).collect()
    }

    /// An entry of a dictionary that is true or false.
    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        match self.values[self.entry(self.root, key)?] {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(program: &[u8]) -> String {
        run(program).and_then(|(made, _)| made.state()).expect_err("is refused")
    }

    fn state(program: &[u8]) -> BTreeMap<String, Item> {
        run(program).and_then(|(made, _)| made.state()).expect("is valid")
    }

    /// `torch.zeros(1)` of a storage with this key.
    fn tensor(key: &str) -> Vec<u8> {
        let mut program =
            b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nU".to_vec();
        program.push(key.len() as u8);
        program.extend(key.bytes());
        program.extend(b"U\x03cpuK\x01tQK\x00K\x01\x85K\x01\x85\x89NtR");
        program
    }

    fn text(text: &str) -> Vec<u8> {
        [&b"U"[..], &[text.len() as u8], text.as_bytes()].concat()
    }

    fn dictionary(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let pairs = pairs.iter().flat_map(|(key, value)| [text(key), value.clone()]).flatten();
        b"}(".iter().copied().chain(pairs).chain(*b"u").collect()
    }

    fn whole(value: &[u8]) -> Vec<u8> {
        [b"\x80\x02", value, b"."].concat()
    }

    #[test]
    fn what_runs_commands_is_refused_by_name() {
        let program = b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00echo\x85R.";
        assert_eq!(refused(program), "asks for os.system, which no state dictionary needs");
        let program = b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.";
        assert_eq!(refused(program), "asks for builtins.eval, which no state dictionary needs");
        assert_eq!(refused(b"ctorch\nFloatStorage\n)R."), "calls torch.FloatStorage");
        // Beside the tensors, where an object of another class is passed over.
        let beside = [("a", tensor("0")), ("b", b"csubprocess\nPopen\n)R".to_vec())];
        assert!(refused(&whole(&dictionary(&beside))).starts_with("asks for subprocess.Popen"));
        assert!(refused(b"\x80\x02(iposix\nsystem\n.").starts_with("asks for posix.system"));
    }

    #[test]
    fn objects_of_other_classes_are_passed_over() {
        let objects: [&[u8]; 9] = [
            b"cargparse\nNamespace\n)\x81}(U\x02lrK\x01ub",
            b"(iargparse\nNamespace\n",
            b"(cargparse\nNamespace\nK\x01o",
            b"cpathlib\nPosixPath\n(U\x01aU\x01btR",
            b"cmy.module\nConfig\n)}\x92",
            b"cmy.module\nList\n)R(K\x01K\x02e",
            b"cmy.module\nDict\n)RK\x01K\x02s",
            b"\x8f(K\x01K\x02\x90",
            b"(K\x01K\x02\x91",
        ];
        for object in objects {
            let outer =
                [("hyper_parameters", object.to_vec()), ("state_dict", dictionary(&[("a", tensor("0"))]))];
            let found = state(&whole(&dictionary(&outer)));
            assert!(matches!(found["a"], Item::Tensor(_)), "{object:?}");
        }
        assert_eq!(
            refused(b"cmy.module\nModel\n)\x81."),
            "asks for my.module.Model, which no state dictionary needs"
        );
    }

    #[test]
    fn the_state_dictionary_may_lie_in_others() {
        let inner = dictionary(&[("a", tensor("0"))]);
        for name in NESTED {
            let outer =
                dictionary(&[("epoch", b"K\x03".to_vec()), (name, inner.clone()), ("b", tensor("1"))]);
            assert_eq!(state(&whole(&outer)).into_keys().collect::<Vec<_>>(), ["a"], "{name}");
        }
        let deep = dictionary(&[("model", dictionary(&[("module", inner.clone())]))]);
        assert_eq!(state(&whole(&deep)).into_keys().collect::<Vec<_>>(), ["a"]);
        // A dictionary of that name without tensors is another thing.
        let other = dictionary(&[("model", dictionary(&[("name", text("vit"))])), ("a", tensor("0"))]);
        assert_eq!(state(&whole(&other)).into_keys().collect::<Vec<_>>(), ["a"]);
        // One that holds itself.
        let endless = b"}q\x00U\x05modelh\x00sU\x06moduleh\x00s.";
        assert!(state(endless).is_empty());
    }

    #[test]
    fn values_that_are_no_tensors_are_left_out() {
        let pairs = [
            ("epoch", b"K\x03".to_vec()),
            ("pair", [tensor("0"), b"K\x01\x86".to_vec()].concat()),
            ("list", [b"]".to_vec(), tensor("0"), b"a".to_vec()].concat()),
            ("a", tensor("0")),
        ];
        assert_eq!(state(&whole(&dictionary(&pairs))).into_keys().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn dictionaries_of_every_kind_are_followed() {
        let ordered = |arguments: &[u8]| {
            let mut program = b"ccollections\nOrderedDict\n".to_vec();
            program.extend(arguments);
            program
        };
        let pair = [&text("a")[..], &tensor("0")].concat();
        let programs = [
            [ordered(b")R"), pair.clone(), b"s".to_vec()].concat(),
            [ordered(b")\x81"), pair.clone(), b"s".to_vec()].concat(),
        ];
        for program in &programs {
            assert!(matches!(state(&whole(program))["a"], Item::Tensor(_)), "{program:?}");
        }
        // OrderedDict([["a", tensor]]), as Python 2 wrote it; and dict from a mark.
        let listed = [&ordered(b"(]](")[..], &pair, b"eatR"].concat();
        assert!(matches!(state(&whole(&listed))["a"], Item::Tensor(_)));
        let marked = [b"(", &pair[..], b"d"].concat();
        assert!(matches!(state(&whole(&marked))["a"], Item::Tensor(_)));
    }

    #[test]
    fn malformed_programs_are_refused() {
        let cases: [&[u8]; 18] = [
            b"",
            b".",
            b"}",
            b"N.",
            b"R.",
            b"t.",
            b"(}s.",
            b"}(Nu.",
            b"h\x00.",
            b"X\xff\xff\xff\xffa.",
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa.",
            b"c_rebuild",
            b"]q\x00h\x00b.",
            b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
            b"\x80\x02)\x81.",
            b"\x82\x01.",
            b"I12a\n.",
            b"\x8b\xff\xff\xff\xff.",
        ];
        for program in cases {
            assert!(run(program).and_then(|(made, _)| made.state()).is_err(), "{program:?}");
        }
    }

    #[test]
    fn depth_costs_no_more_than_the_program() {
        let mut deep = b"}X\x01\x00\x00\x00aN".to_vec();
        deep.extend(std::iter::repeat_n(0x85, 500_000));
        deep.extend(b"s.");
        assert!(state(&deep).is_empty());
        for item in [b'N', b'(', b'2'] {
            let mut many = b"N(".to_vec();
            many.extend(std::iter::repeat_n(item, machine::MOST_VALUES + 1));
            assert!(refused(&many).contains("more than"), "{item}");
        }
    }
}

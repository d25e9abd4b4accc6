//! What a name in a pickle stands for, and what calling it describes. Nothing is called.

use std::rc::Rc;

use super::{
    super::StoredTensor,
    Id, Storage, Value,
    machine::{MOST_VALUES, Machine},
};
use crate::model::formats::pytorch::dtypes::{self, Numbers};

/// What calls describe something that is understood.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Callable {
    /// `OrderedDict`, `defaultdict` and `dict`.
    Dictionary,
    /// A tensor of a storage.
    RebuildTensor,
    /// A tensor that is learned.
    RebuildParameter,
    /// A tensor of a class of its own: by another of these, which comes first.
    RebuildFromType,
    /// A storage's type; it is named, never called.
    Storage(&'static Numbers),
}

/// The most axes of a tensor: weights of images and texts have at most four.
const MOST_AXES: usize = 8;
/// The longest name of a storage; PyTorch numbers them, or takes their address.
const LONGEST_KEY: usize = 64;
/// The longest name of a module or a class that is kept.
const LONGEST_NAME: usize = 255;

/// Modules whose functions run commands, load code or reach into the system: no checkpoint needs them, and one that
/// names them means harm.
const HARMFUL_MODULES: [&str; 20] = [
    "os",
    "posix",
    "nt",
    "subprocess",
    "sys",
    "pty",
    "runpy",
    "importlib",
    "ctypes",
    "socket",
    "shutil",
    "code",
    "commands",
    "webbrowser",
    "multiprocessing",
    "asyncio",
    "pdb",
    "timeit",
    "pip",
    "ssl",
];
/// The same among Python's own functions.
const HARMFUL_BUILTINS: [&str; 8] =
    ["eval", "exec", "execfile", "compile", "open", "__import__", "globals", "breakpoint"];

/// What a name stands for.
///
/// # Errors
/// If it is one that runs commands or code, or absurdly long.
pub(super) fn named(module: &str, name: &str) -> Result<Value, String> {
    if module.len() > LONGEST_NAME || name.len() > LONGEST_NAME {
        return Err(format!("has a name of more than {LONGEST_NAME} bytes"));
    }
    let callable = match (module, name) {
        ("collections", "OrderedDict" | "defaultdict") => Some(Callable::Dictionary),
        ("builtins" | "__builtin__", "dict") => Some(Callable::Dictionary),
        ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Some(Callable::RebuildTensor),
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
            Some(Callable::RebuildParameter)
        }
        ("torch._tensor", "_rebuild_from_type_v2" | "_rebuild_from_type") => Some(Callable::RebuildFromType),
        ("torch" | "torch.cuda", _) => {
            name.strip_suffix("Storage").and_then(dtypes::numbers).map(Callable::Storage)
        }
        _ => None,
    };
    if let Some(callable) = callable {
        return Ok(Value::Callable(callable));
    }
    let whole = format!("{module}.{name}");
    let top = module.split('.').next().unwrap_or_default();
    let is_builtin = matches!(module, "builtins" | "__builtin__");
    if HARMFUL_MODULES.contains(&top) || is_builtin && HARMFUL_BUILTINS.contains(&name) {
        return Err(not_needed(&whole));
    }
    Ok(Value::Opaque(whole.into()))
}

/// That a program asks for something of this name.
pub(in crate::model::formats::pytorch) fn not_needed(name: &str) -> String {
    let clean: String = name.chars().filter(|c| !c.is_control()).take(160).collect();
    format!("asks for {clean}, which no state dictionary needs")
}

impl Machine<'_> {
    /// What a call makes.
    pub(super) fn called(&self, function: Id, arguments: Id) -> Result<Value, String> {
        let callable = match &self.values[function] {
            Value::Callable(callable) => *callable,
            Value::Opaque(name) => return Ok(Value::Opaque(Rc::clone(name))),
            _ => return Err("calls what is no function".into()),
        };
        self.described(callable, self.items(arguments)?)
    }

    fn described(&self, callable: Callable, arguments: &[Id]) -> Result<Value, String> {
        match callable {
            Callable::Dictionary => self.dictionary_of(arguments),
            Callable::RebuildTensor => self.tensor(arguments),
            Callable::RebuildParameter => match arguments.first().map(|id| &self.values[*id]) {
                Some(tensor @ (Value::Tensor(_) | Value::Opaque(_))) => Ok(tensor.clone()),
                _ => Err("makes a parameter of what is no tensor".into()),
            },
            Callable::RebuildFromType => self.of_a_class(arguments),
            Callable::Storage(numbers) => Err(format!("calls torch.{}Storage", numbers.name)),
        }
    }

    /// A dictionary, of nothing or of a list of pairs; of a `defaultdict`, what makes its values comes first.
    fn dictionary_of(&self, arguments: &[Id]) -> Result<Value, String> {
        let mut pairs = Vec::new();
        for list in arguments {
            let Value::Sequence(items) = &self.values[*list] else { continue };
            for item in items {
                let [key, value] = *self.items(*item)? else {
                    return Err("makes a dictionary of what are no pairs".into());
                };
                pairs.push((key, value));
            }
            if pairs.len() > MOST_VALUES {
                return Err(format!("makes a dictionary of more than {MOST_VALUES} pairs"));
            }
        }
        Ok(Value::Dictionary(pairs))
    }

    /// `(function, class, arguments, state)`.
    fn of_a_class(&self, arguments: &[Id]) -> Result<Value, String> {
        let [function, _, arguments, ..] = *arguments else {
            return Err("describes a tensor by too little".into());
        };
        match &self.values[function] {
            Value::Callable(callable @ (Callable::RebuildTensor | Callable::RebuildParameter)) => {
                self.described(*callable, self.items(arguments)?)
            }
            Value::Opaque(name) => Ok(Value::Opaque(Rc::clone(name))),
            _ => Err("makes a tensor in a way that PyTorch does not".into()),
        }
    }

    /// `(storage, offset, shape, strides, ...)`.
    fn tensor(&self, arguments: &[Id]) -> Result<Value, String> {
        let [storage, offset, shape, strides, ..] = *arguments else {
            return Err("describes a tensor by too little".into());
        };
        let storage = match &self.values[storage] {
            Value::Storage(storage) => storage,
            Value::Opaque(name) => return Ok(Value::Opaque(Rc::clone(name))),
            _ => return Err("describes a tensor without its storage".into()),
        };
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        if shape.len() != strides.len() {
            return Err("describes a tensor with strides for other axes".into());
        }
        let offset = self.size(offset)?.checked_add(storage.offset).ok_or("has an offset beyond any file")?;
        let (numbers, storage) = (storage.numbers, storage.key.clone());
        Ok(Value::Tensor(Box::new(StoredTensor { storage, numbers, offset, shape, strides })))
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>, String> {
        let sizes = self.items(id)?;
        if sizes.len() > MOST_AXES {
            return Err(format!("describes a tensor with {} axes", sizes.len()));
        }
        sizes.iter().map(|size| self.size(*size)).collect()
    }

    fn size(&self, id: Id) -> Result<usize, String> {
        match &self.values[id] {
            Value::Integer(size) => usize::try_from(*size).map_err(|_| format!("has the size {size}")),
            _ => Err("has another value where a size belongs".into()),
        }
    }

    /// `("storage", type, key, place, count)` describes a storage; what came before PyTorch 1.6 has a view of it
    /// behind, `(key, offset, count)` or nothing, and may be `("module", class, ...)`, which is the class.
    pub(super) fn persistent(&mut self) -> Result<(), String> {
        let id = self.pop()?;
        let items = self.items(id)?;
        if let [kind, class, ..] = *items
            && matches!(&self.values[kind], Value::Text(kind) if kind == "module")
        {
            let Value::Opaque(name) = &self.values[class] else {
                return Err("describes a module without its class".into());
            };
            let class = Value::Opaque(Rc::clone(name));
            return self.push(class);
        }
        let [_, kind, key, _, count, ref view @ ..] = *items else {
            return Err("describes a storage by too little".into());
        };
        let numbers = match &self.values[kind] {
            Value::Callable(Callable::Storage(numbers)) => *numbers,
            Value::Opaque(name) => {
                let opaque = Value::Opaque(Rc::clone(name));
                return self.push(opaque);
            }
            _ => return Err("describes a storage without its type".into()),
        };
        let key = self.as_text(key)?.to_owned();
        if key.len() > LONGEST_KEY {
            return Err(format!("describes a storage with a name of {} bytes", key.len()));
        }
        let count = self.size(count)?;
        let offset = match view.first().map(|view| &self.values[*view]) {
            Some(Value::Sequence(view)) if view.len() == 3 => self.size(view[1])?,
            _ => 0,
        };
        let known = self.storages.entry(key.clone()).or_insert((numbers, count as u64));
        if *known != (numbers, count as u64) {
            return Err(format!("describes storage {key} in two ways"));
        }
        self.push(Value::Storage(Storage { numbers, key, offset }))
    }
}

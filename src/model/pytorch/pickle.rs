//! Python's unpickler, reduced to what builds a dictionary of tensors.
//!
//! A pickle is a program for a machine with a stack. The real machine may call any function of any module, which is
//! why pickles are not to be trusted. This one knows five callables, all of which only describe data; a program that
//! names another ends there. Values lie in one list and refer to each other by position, so neither depth nor
//! sharing costs more than the program's own length.

use std::collections::{BTreeMap, HashMap};

use candle_core::DType;

use super::StoredTensor;

/// A dictionary with texts as its keys.
pub(super) type State = BTreeMap<String, Item>;

/// What is of interest in a state dictionary.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// A tensor.
    Tensor(StoredTensor),
    /// Another dictionary, of which only the tensors are kept.
    Dictionary(State),
    /// A number, a text, a list: no weights.
    Other,
}

/// The most values that a program may make. Checkpoints with an optimizer's state make some tens of thousands.
const MOST_VALUES: usize = 1 << 20;

/// The most axes of a tensor: weights of images and texts have at most four.
const MOST_AXES: usize = 8;
/// The longest name of a storage; PyTorch numbers them.
const LONGEST_KEY: usize = 64;

/// A value's position in the machine's list.
type Id = usize;

#[derive(Clone, Debug)]
enum Value {
    /// None, a float, or what carries no meaning here.
    Plain,
    Integer(i64),
    Text(String),
    Sequence(Vec<Id>),
    Dictionary(Vec<(Id, Id)>),
    Callable(Callable),
    Storage {
        kind: &'static str,
        key: String,
    },
    Tensor(StoredTensor),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Callable {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    /// A storage's type; it is named, never called.
    Storage(&'static str),
}

/// The storages' names in Python, and the type of their numbers where they may be weights.
const STORAGES: [(&str, Option<DType>); 10] = [
    ("Float", Some(DType::F32)),
    ("Half", Some(DType::F16)),
    ("BFloat16", Some(DType::BF16)),
    ("Double", Some(DType::F64)),
    ("Long", Some(DType::I64)),
    ("Int", Some(DType::I32)),
    ("Short", Some(DType::I16)),
    ("Byte", Some(DType::U8)),
    ("Char", None),
    ("Bool", None),
];

fn callable(module: &str, name: &str) -> Result<Callable, String> {
    let storage = || {
        let kind = name.strip_suffix("Storage").filter(|_| module == "torch")?;
        STORAGES.iter().find(|(known, _)| *known == kind).map(|(known, _)| Callable::Storage(known))
    };
    match (module, name) {
        ("collections", "OrderedDict") => Ok(Callable::OrderedDict),
        ("torch._utils", "_rebuild_tensor_v2") => Ok(Callable::RebuildTensor),
        ("torch._utils", "_rebuild_parameter") => Ok(Callable::RebuildParameter),
        _ => storage().ok_or_else(|| {
            let clean = |text: &str| text.chars().filter(|c| !c.is_control()).take(80).collect::<String>();
            format!("asks for {}.{}, which no state dictionary needs", clean(module), clean(name))
        }),
    }
}

/// Follows the program to its end and returns the dictionary that it built.
///
/// # Errors
/// What is wrong with it: it ends early, takes what is not there, or asks for more than a dictionary of tensors.
pub(super) fn run(program: &[u8]) -> Result<State, String> {
    let mut machine = Machine { program, ..Machine::default() };
    while machine.step()? {}
    let root = machine.pop()?;
    match &machine.values[root] {
        Value::Dictionary(pairs) => Ok(machine.state(pairs, Depth::Outer)),
        _ => Err("expected a dictionary of tensors, found another value".into()),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Depth {
    Outer,
    Inner,
}

#[derive(Default)]
struct Machine<'a> {
    program: &'a [u8],
    values: Vec<Value>,
    stack: Vec<Id>,
    /// The stack's height at each mark.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

impl Machine<'_> {
    /// Obeys one instruction; false at the last one.
    fn step(&mut self) -> Result<bool, String> {
        match self.byte()? {
            b'.' => return Ok(false),
            0x80 => drop(self.take(1)?),                    // PROTO
            0x95 => drop(self.take(8)?),                    // FRAME
            b'(' => self.marks.push(self.stack.len()),      // MARK
            b'N' | 0x88 | 0x89 => self.push(Value::Plain)?, // NONE, NEWTRUE, NEWFALSE
            b'G' => {
                self.take(8)?; // BINFLOAT
                self.push(Value::Plain)?;
            }
            code @ (b'K' | b'M' | b'J' | 0x8a) => self.integer(code)?,
            code @ (b'X' | b'U' | b'T' | 0x8c | 0x8d) => self.text(code)?,
            code @ (b'q' | b'r' | 0x94) => self.remember(code)?,
            code @ (b'h' | b'j') => self.recall(code)?,
            code @ (b')' | b't' | 0x85..=0x87 | b']') => self.sequence(code)?,
            code @ (b'a' | b'e') => self.append(code)?,
            b'}' => self.push(Value::Dictionary(Vec::new()))?,
            code @ (b's' | b'u') => self.insert(code)?,
            code @ (b'c' | 0x93) => self.name(code)?,
            b'Q' => self.persistent()?,
            b'R' => self.call()?,
            b'b' => self.build()?,
            code => return Err(format!("instruction {code:#04x} is none that a state dictionary needs")),
        }
        Ok(true)
    }

    fn take(&mut self, count: usize) -> Result<&[u8], String> {
        if count > self.program.len() {
            return Err("ends in the middle of an instruction".into());
        }
        let (taken, rest) = self.program.split_at(count);
        self.program = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.take(1)?.first().copied().ok_or_else(|| "ends early".into())
    }

    /// A whole number of up to eight bytes, the lowest first.
    fn number(&mut self, bytes: usize) -> Result<u64, String> {
        let digits = self.take(bytes)?;
        Ok(digits.iter().rev().fold(0, |sum, digit| sum << 8 | u64::from(*digit)))
    }

    fn push(&mut self, value: Value) -> Result<(), String> {
        if self.values.len() == MOST_VALUES {
            return Err(format!("makes more than {MOST_VALUES} values"));
        }
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    /// The topmost value, which must not lie below the last mark.
    fn pop(&mut self) -> Result<Id, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let missing = || "takes a value that is not there".to_owned();
        if self.stack.len() <= floor {
            return Err(missing());
        }
        self.stack.pop().ok_or_else(missing)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("takes values up to a mark that is not there")?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&self) -> Result<Id, String> {
        self.stack.last().copied().ok_or_else(|| "takes a value that is not there".into())
    }

    fn integer(&mut self, code: u8) -> Result<(), String> {
        let value = match code {
            b'K' => self.number(1)? as i64,
            b'M' => self.number(2)? as i64,
            b'J' => i64::from(self.number(4)? as u32 as i32),
            _ => match self.byte()? {
                0 => 0,
                bytes @ 1..=8 => {
                    let shift = 64 - 8 * u32::from(bytes);
                    (self.number(bytes.into())? << shift) as i64 >> shift
                }
                bytes => return Err(format!("has a number of {bytes} bytes")),
            },
        };
        self.push(Value::Integer(value))
    }

    fn text(&mut self, code: u8) -> Result<(), String> {
        let length = match code {
            b'U' | 0x8c => self.number(1)?,
            b'X' | b'T' => self.number(4)?,
            _ => self.number(8)?,
        };
        let length = usize::try_from(length).map_err(|_| "has a text beyond its end")?;
        let text =
            String::from_utf8(self.take(length)?.to_vec()).map_err(|_| "has a text that is not UTF-8")?;
        self.push(Value::Text(text))
    }

    fn remember(&mut self, code: u8) -> Result<(), String> {
        let key = match code {
            b'q' => self.number(1)?,
            b'r' => self.number(4)?,
            _ => self.memo.len() as u64,
        };
        let id = self.top()?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn recall(&mut self, code: u8) -> Result<(), String> {
        let key = self.number(if code == b'h' { 1 } else { 4 })?;
        let id = self.memo.get(&key).copied().ok_or("recalls a value that it did not remember")?;
        self.stack.push(id);
        Ok(())
    }

    fn sequence(&mut self, code: u8) -> Result<(), String> {
        let items = match code {
            b')' | b']' => Vec::new(),
            b't' => self.pop_to_mark()?,
            _ => {
                let mut items = Vec::new();
                for _ in 0..code - 0x84 {
                    items.push(self.pop()?);
                }
                items.reverse();
                items
            }
        };
        self.push(Value::Sequence(items))
    }

    fn append(&mut self, code: u8) -> Result<(), String> {
        let items = if code == b'a' { vec![self.pop()?] } else { self.pop_to_mark()? };
        let list = self.top()?;
        match &mut self.values[list] {
            Value::Sequence(all) => all.extend(items),
            _ => return Err("appends to what is no list".into()),
        }
        Ok(())
    }

    fn insert(&mut self, code: u8) -> Result<(), String> {
        let items = match code {
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_to_mark()?,
        };
        if items.len() % 2 == 1 {
            return Err("has a key without a value".into());
        }
        let dictionary = self.top()?;
        match &mut self.values[dictionary] {
            Value::Dictionary(all) => all.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            _ => return Err("inserts into what is no dictionary".into()),
        }
        Ok(())
    }

    fn name(&mut self, code: u8) -> Result<(), String> {
        let named = if code == b'c' {
            callable(&self.line()?, &self.line()?)?
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            callable(self.as_text(module)?, self.as_text(name)?)?
        };
        self.push(Value::Callable(named))
    }

    fn line(&mut self) -> Result<String, String> {
        let end =
            self.program.iter().position(|byte| *byte == b'\n').ok_or("ends in the middle of a name")?;
        let line = String::from_utf8_lossy(&self.program[..end]).into_owned();
        self.program = &self.program[end + 1..];
        Ok(line)
    }

    fn as_text(&self, id: Id) -> Result<&str, String> {
        match &self.values[id] {
            Value::Text(text) => Ok(text),
            _ => Err("has another value where a text belongs".into()),
        }
    }

    fn items(&self, id: Id) -> Result<&[Id], String> {
        match &self.values[id] {
            Value::Sequence(items) => Ok(items),
            _ => Err("has another value where arguments belong".into()),
        }
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

    /// `("storage", type, key, place, count)` becomes a storage.
    fn persistent(&mut self) -> Result<(), String> {
        let id = self.pop()?;
        let items = self.items(id)?;
        let [_, kind, key, ..] = *items else { return Err("describes a storage by too little".into()) };
        let Value::Callable(Callable::Storage(kind)) = self.values[kind] else {
            return Err("describes a storage without its type".into());
        };
        let key = self.as_text(key)?.to_owned();
        if key.len() > LONGEST_KEY {
            return Err(format!("describes a storage with a name of {} bytes", key.len()));
        }
        self.push(Value::Storage { kind, key })
    }

    fn call(&mut self) -> Result<(), String> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let arguments = self.items(arguments)?;
        let Value::Callable(function) = self.values[function] else {
            return Err("calls what is no function".into());
        };
        let made = match function {
            Callable::OrderedDict if arguments.is_empty() => Value::Dictionary(Vec::new()),
            Callable::OrderedDict => return Err("makes a dictionary in a way that PyTorch does not".into()),
            Callable::RebuildTensor => Value::Tensor(self.tensor(arguments)?),
            Callable::RebuildParameter => match arguments.first().map(|id| &self.values[*id]) {
                Some(Value::Tensor(tensor)) => Value::Tensor(tensor.clone()),
                _ => return Err("makes a parameter of what is no tensor".into()),
            },
            Callable::Storage(kind) => return Err(format!("calls torch.{kind}Storage")),
        };
        self.push(made)
    }

    /// `(storage, offset, shape, strides, ...)`.
    fn tensor(&self, arguments: &[Id]) -> Result<StoredTensor, String> {
        let [storage, offset, shape, strides, ..] = *arguments else {
            return Err("describes a tensor by too little".into());
        };
        let Value::Storage { kind, key } = &self.values[storage] else {
            return Err("describes a tensor without its storage".into());
        };
        let dtype = STORAGES.iter().find(|(known, _)| known == kind).and_then(|(_, dtype)| *dtype);
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        if shape.len() != strides.len() {
            return Err("describes a tensor with strides for other axes".into());
        }
        let offset = self.size(offset)?;
        Ok(StoredTensor { storage: key.clone(), kind, dtype, offset, shape, strides })
    }

    /// Attributes of a dictionary, such as the versions of modules that PyTorch notes: dropped.
    fn build(&mut self) -> Result<(), String> {
        self.pop()?;
        let target = self.top()?;
        match &self.values[target] {
            Value::Dictionary(_) => Ok(()),
            _ => Err("sets attributes of what is no dictionary".into()),
        }
    }

    fn state(&self, pairs: &[(Id, Id)], depth: Depth) -> State {
        let mut state = State::new();
        for (key, value) in pairs {
            let Value::Text(name) = &self.values[*key] else { continue };
            let item = match &self.values[*value] {
                Value::Tensor(tensor) => Item::Tensor(tensor.clone()),
                Value::Dictionary(inner) if depth == Depth::Outer && name == super::NESTED => {
                    Item::Dictionary(self.state(inner, Depth::Inner))
                }
                _ => Item::Other,
            };
            state.insert(name.clone(), item);
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(program: &[u8]) -> String {
        run(program).expect_err("is refused")
    }

    #[test]
    fn a_call_of_anything_else_is_refused_by_name() {
        let program = b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00echo\x85R.";
        assert_eq!(refused(program), "asks for os.system, which no state dictionary needs");
        let program = b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.";
        assert_eq!(refused(program), "asks for builtins.eval, which no state dictionary needs");
        assert!(refused(b"\x80\x02)\x81.").starts_with("instruction 0x81 is none"));
        assert_eq!(refused(b"ctorch\nFloatStorage\n)R."), "calls torch.FloatStorage");
    }

    #[test]
    fn malformed_programs_are_refused() {
        let cases: [&[u8]; 14] = [
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
        ];
        for program in cases {
            assert!(run(program).is_err(), "{program:?}");
        }
    }

    #[test]
    fn depth_costs_no_more_than_the_program() {
        let mut deep = b"}X\x01\x00\x00\x00aN".to_vec();
        deep.extend(std::iter::repeat_n(0x85, 500_000));
        deep.extend(b"s.");
        assert_eq!(run(&deep).expect("is valid")["a"], Item::Other);
        let mut many = b"(".to_vec();
        many.extend(std::iter::repeat_n(b'N', MOST_VALUES + 1));
        assert!(refused(&many).contains("more than"));
    }

    #[test]
    fn numbers_have_their_sign() {
        let integer = |program: &[u8]| {
            let mut machine = Machine { program, ..Machine::default() };
            machine.step().expect("is valid");
            match machine.values.last() {
                Some(Value::Integer(value)) => *value,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(integer(b"J\xff\xff\xff\xff"), -1);
        assert_eq!(integer(b"M\x00\x01"), 256);
        assert_eq!(integer(b"\x8a\x02\x00\xff"), -256);
        assert_eq!(integer(b"\x8a\x00"), 0);
        assert_eq!(integer(b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80"), i64::MIN);
    }
}

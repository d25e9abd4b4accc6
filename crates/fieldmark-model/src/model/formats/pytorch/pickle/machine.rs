//! The machine with a stack that a pickle is a program for: all instructions up to protocol 5, but those that reach
//! outside the file.

use std::collections::{BTreeMap, HashMap};

use super::{Id, Made, Value, calls};
use crate::model::formats::pytorch::dtypes::Numbers;

/// The most values that a program may make, and have on its stack. Checkpoints with an optimizer's state make some tens
/// of thousands.
pub(super) const MOST_VALUES: usize = 1 << 20;
/// The most tensors that a program may make: some tens of thousands with an optimizer's state.
const MOST_TENSORS: usize = 1 << 16;

/// The machine, between two instructions.
pub(in crate::model::formats::pytorch) struct Machine<'a> {
    program: &'a [u8],
    pub(super) values: Vec<Value>,
    tensors: usize,
    /// The pairs of dictionaries that were made of lists.
    copied: usize,
    stack: Vec<Id>,
    /// The stack's height at each mark.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    pub(super) storages: BTreeMap<String, (&'static Numbers, u64)>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(program: &'a [u8]) -> Self {
        Self {
            program,
            values: Vec::new(),
            tensors: 0,
            copied: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            storages: BTreeMap::new(),
        }
    }

    /// What is on top of the stack is what the program made.
    pub(super) fn finish(mut self) -> Result<(Made, &'a [u8]), String> {
        let root = self.pop()?;
        Ok((Made { values: self.values, root, storages: self.storages }, self.program))
    }

    /// Obeys one instruction; false at the last one.
    pub(super) fn step(&mut self) -> Result<bool, String> {
        match self.byte()? {
            b'.' => return Ok(false),
            0x80 => drop(self.take(1)?),            // PROTO
            0x95 => drop(self.take(8)?),            // FRAME
            b'(' => self.mark()?,                   // MARK
            b'0' => self.discard()?,                // POP
            b'1' => drop(self.pop_to_mark()?),      // POP_MARK
            b'2' => self.lift(self.top()?)?,        // DUP
            b'N' => self.push(Value::Plain)?,       // NONE
            0x88 => self.push(Value::Flag(true))?,  // NEWTRUE
            0x89 => self.push(Value::Flag(false))?, // NEWFALSE
            code @ (b'G' | b'F') => self.float(code)?,
            code @ (b'K' | b'M' | b'J' | 0x8a | 0x8b | b'I' | b'L') => self.integer(code)?,
            code @ (b'X' | b'U' | b'T' | 0x8c | 0x8d | b'V' | b'S') => self.text(code)?,
            code @ (b'B' | b'C' | 0x8e | 0x96) => self.bytes(code)?,
            code @ (b'q' | b'r' | 0x94 | b'p') => self.remember(code)?,
            code @ (b'h' | b'j' | b'g') => self.recall(code)?,
            code @ (b')' | b't' | 0x85..=0x87 | b']' | b'l') => self.sequence(code)?,
            code @ (b'a' | b'e' | 0x90) => self.append(code)?,
            0x8f => self.push(Value::Opaque("set".into()))?, // EMPTY_SET
            0x91 => self.frozen_set()?,
            code @ (b'}' | b'd') => self.dictionary(code)?,
            code @ (b's' | b'u') => self.insert(code)?,
            code @ (b'c' | 0x93) => self.name(code)?,
            b'Q' => self.persistent()?,
            code @ (b'R' | 0x81 | 0x92) => self.call(code)?,
            code @ (b'i' | b'o') => self.instance(code)?,
            b'b' => self.build()?,
            code => return Err(format!("instruction {code:#04x} is none that a state dictionary needs")),
        }
        Ok(true)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        if count > self.program.len() {
            return Err("ends in the middle of an instruction".into());
        }
        let (taken, rest) = self.program.split_at(count);
        self.program = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        let (first, rest) = self.program.split_first().ok_or("ends early")?;
        self.program = rest;
        Ok(*first)
    }

    /// A whole number of up to eight bytes, the lowest first.
    fn number(&mut self, bytes: usize) -> Result<u64, String> {
        let digits = self.take(bytes)?;
        Ok(digits.iter().rev().fold(0, |sum, digit| sum << 8 | u64::from(*digit)))
    }

    fn line(&mut self) -> Result<String, String> {
        let end =
            self.program.iter().position(|byte| *byte == b'\n').ok_or("ends in the middle of a name")?;
        let line = String::from_utf8_lossy(&self.program[..end]).into_owned();
        self.program = &self.program[end + 1..];
        Ok(line)
    }

    pub(super) fn push(&mut self, value: Value) -> Result<(), String> {
        if self.values.len() == MOST_VALUES {
            return Err(format!("makes more than {MOST_VALUES} values"));
        }
        if matches!(value, Value::Tensor(_)) {
            self.tensors += 1;
            if self.tensors > MOST_TENSORS {
                return Err(format!("makes more than {MOST_TENSORS} tensors"));
            }
        }
        self.lift(self.values.len())?;
        self.values.push(value);
        Ok(())
    }

    /// Puts a value that there is already on the stack.
    fn lift(&mut self, id: Id) -> Result<(), String> {
        if self.stack.len() == MOST_VALUES {
            return Err(format!("stacks more than {MOST_VALUES} values"));
        }
        self.stack.push(id);
        Ok(())
    }

    fn mark(&mut self) -> Result<(), String> {
        if self.marks.len() == MOST_VALUES {
            return Err(format!("sets more than {MOST_VALUES} marks"));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    /// The topmost value, which must not lie below the last mark.
    pub(super) fn pop(&mut self) -> Result<Id, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let missing = || "takes a value that is not there".to_owned();
        if self.stack.len() <= floor {
            return Err(missing());
        }
        self.stack.pop().ok_or_else(missing)
    }

    /// Drops the topmost value, or the mark where that is on top.
    fn discard(&mut self) -> Result<(), String> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("takes values up to a mark that is not there")?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&self) -> Result<Id, String> {
        self.stack.last().copied().ok_or_else(|| "takes a value that is not there".into())
    }

    fn float(&mut self, code: u8) -> Result<(), String> {
        if code == b'G' {
            self.take(8)?;
        } else {
            self.line()?;
        }
        self.push(Value::Plain)
    }

    fn integer(&mut self, code: u8) -> Result<(), String> {
        let value = match code {
            b'K' => Value::Integer(self.number(1)? as i64),
            b'M' => Value::Integer(self.number(2)? as i64),
            b'J' => Value::Integer(i64::from(self.number(4)? as u32 as i32)),
            b'I' | b'L' => decimal(self.line()?.trim())?,
            0x8a => self.long(1)?,
            _ => self.long(4)?,
        };
        self.push(value)
    }

    /// A number of any length; those of more than eight bytes carry no meaning here.
    fn long(&mut self, bytes: usize) -> Result<Value, String> {
        let length = self.number(bytes)? as usize;
        if length > 8 {
            self.take(length)?;
            return Ok(Value::Plain);
        }
        let shift = 64 - 8 * length as u32;
        let digits = self.number(length)?;
        Ok(Value::Integer((digits.checked_shl(shift).unwrap_or(0) as i64).checked_shr(shift).unwrap_or(0)))
    }

    fn text(&mut self, code: u8) -> Result<(), String> {
        if matches!(code, b'V' | b'S') {
            let line = self.line()?;
            let is_quote = |c: char| code == b'S' && matches!(c, '\'' | '"');
            return self.push(Value::Text(line.trim_matches(is_quote).to_owned()));
        }
        let bytes = self.counted(code)?;
        // Python 2 wrote bytes of any kind as its texts; what is no text then carries no meaning here.
        match (std::str::from_utf8(bytes), code) {
            (Ok(text), _) => self.push(Value::Text(text.to_owned())),
            (Err(_), b'U' | b'T') => self.push(Value::Plain),
            (Err(_), _) => Err("has a text that is not UTF-8".into()),
        }
    }

    fn bytes(&mut self, code: u8) -> Result<(), String> {
        self.counted(code)?;
        self.push(Value::Plain)
    }

    /// Bytes behind their number.
    fn counted(&mut self, code: u8) -> Result<&'a [u8], String> {
        let length = match code {
            b'U' | 0x8c | b'C' => self.number(1)?,
            b'X' | b'T' | b'B' => self.number(4)?,
            _ => self.number(8)?,
        };
        self.take(usize::try_from(length).map_err(|_| "has a text beyond its end")?)
    }

    fn remember(&mut self, code: u8) -> Result<(), String> {
        let key = match code {
            b'q' => self.number(1)?,
            b'r' => self.number(4)?,
            b'p' => self.line()?.trim().parse().map_err(|_| "remembers a value under no number")?,
            _ => self.memo.len() as u64,
        };
        let id = self.top()?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn recall(&mut self, code: u8) -> Result<(), String> {
        let key = match code {
            b'h' => self.number(1)?,
            b'j' => self.number(4)?,
            _ => self.line()?.trim().parse().map_err(|_| "recalls a value under no number")?,
        };
        let id = self.memo.get(&key).copied().ok_or("recalls a value that it did not remember")?;
        self.lift(id)
    }

    fn sequence(&mut self, code: u8) -> Result<(), String> {
        let items = match code {
            b')' | b']' => Vec::new(),
            b't' | b'l' => self.pop_to_mark()?,
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

    fn frozen_set(&mut self) -> Result<(), String> {
        self.pop_to_mark()?;
        self.push(Value::Opaque("frozenset".into()))
    }

    fn append(&mut self, code: u8) -> Result<(), String> {
        let items = if code == b'a' { vec![self.pop()?] } else { self.pop_to_mark()? };
        let list = self.top()?;
        match &mut self.values[list] {
            Value::Sequence(all) => all.extend(items),
            Value::Opaque(_) => {}
            _ => return Err("appends to what is no list".into()),
        }
        Ok(())
    }

    fn dictionary(&mut self, code: u8) -> Result<(), String> {
        let items = if code == b'}' { Vec::new() } else { self.pop_to_mark()? };
        let pairs = pairs(&items)?;
        self.push(Value::Dictionary(pairs))
    }

    fn insert(&mut self, code: u8) -> Result<(), String> {
        let items = match code {
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_to_mark()?,
        };
        let pairs = pairs(&items)?;
        let dictionary = self.top()?;
        match &mut self.values[dictionary] {
            Value::Dictionary(all) => all.extend(pairs),
            Value::Opaque(_) => {}
            _ => return Err("inserts into what is no dictionary".into()),
        }
        Ok(())
    }

    fn name(&mut self, code: u8) -> Result<(), String> {
        let named = if code == b'c' {
            calls::named(&self.line()?, &self.line()?)?
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            calls::named(self.as_text(module)?, self.as_text(name)?)?
        };
        self.push(named)
    }

    pub(super) fn as_text(&self, id: Id) -> Result<&str, String> {
        match &self.values[id] {
            Value::Text(text) => Ok(text),
            _ => Err("has another value where a text belongs".into()),
        }
    }

    pub(super) fn items(&self, id: Id) -> Result<&[Id], String> {
        match &self.values[id] {
            Value::Sequence(items) => Ok(items),
            _ => Err("has another value where arguments belong".into()),
        }
    }

    /// REDUCE, NEWOBJ or NEWOBJ_EX.
    fn call(&mut self, code: u8) -> Result<(), String> {
        if code == 0x92 {
            self.pop()?;
        }
        let (arguments, function) = (self.pop()?, self.pop()?);
        self.push_called(function, arguments)
    }

    fn push_called(&mut self, function: Id, arguments: Id) -> Result<(), String> {
        let made = self.called(function, arguments)?;
        if let Value::Dictionary(pairs) = &made {
            self.copied += pairs.len();
            if self.copied > MOST_VALUES {
                return Err(format!("makes dictionaries of more than {MOST_VALUES} pairs"));
            }
        }
        self.push(made)
    }

    /// INST or OBJ: a class and its arguments, up to a mark.
    fn instance(&mut self, code: u8) -> Result<(), String> {
        let class = if code == b'i' { Some(calls::named(&self.line()?, &self.line()?)?) } else { None };
        let mut items = self.pop_to_mark()?;
        let class = match class {
            Some(class) => {
                self.push(class)?;
                self.pop()?
            }
            None if items.is_empty() => return Err("makes an object of no class".into()),
            None => items.remove(0),
        };
        self.push(Value::Sequence(items))?;
        let arguments = self.pop()?;
        self.push_called(class, arguments)
    }

    /// Attributes of an object, such as the versions of modules that PyTorch notes beside a dictionary: dropped.
    fn build(&mut self) -> Result<(), String> {
        self.pop()?;
        let target = self.top()?;
        match &self.values[target] {
            Value::Dictionary(_) | Value::Opaque(_) | Value::Tensor(_) => Ok(()),
            _ => Err("sets attributes of what has none".into()),
        }
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, String> {
    if items.len() % 2 == 1 {
        return Err("has a key without a value".into());
    }
    Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

/// A number of protocol 0, which writes true and false as `01` and `00`.
fn decimal(digits: &str) -> Result<Value, String> {
    match digits {
        "01" => return Ok(Value::Flag(true)),
        "00" => return Ok(Value::Flag(false)),
        _ => {}
    }
    let digits = digits.strip_suffix('L').unwrap_or(digits);
    let is_number = digits.strip_prefix('-').unwrap_or(digits).bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse() {
        Ok(number) => Ok(Value::Integer(number)),
        Err(_) if is_number && !digits.is_empty() => Ok(Value::Plain),
        Err(_) => Err("has a number of other signs than digits".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(program: &[u8]) -> Value {
        let mut machine = Machine::new(program);
        machine.step().expect("is valid");
        machine.values.pop().expect("a value")
    }

    #[test]
    fn numbers_have_their_sign() {
        let integer = |program: &[u8]| match value(program) {
            Value::Integer(value) => value,
            other => panic!("{other:?}"),
        };
        assert_eq!(integer(b"J\xff\xff\xff\xff"), -1);
        assert_eq!(integer(b"M\x00\x01"), 256);
        assert_eq!(integer(b"\x8a\x02\x00\xff"), -256);
        assert_eq!(integer(b"\x8a\x00"), 0);
        assert_eq!(integer(b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80"), i64::MIN);
        assert_eq!(integer(b"\x8b\x02\x00\x00\x00\x00\xff"), -256);
        assert_eq!((integer(b"I-12\n"), integer(b"L34L\n")), (-12, 34));
        assert!(matches!(value(b"I01\n"), Value::Flag(true)));
        assert!(matches!(value(b"\x8a\x0a1234567890"), Value::Plain));
    }

    #[test]
    fn a_mark_and_a_value_can_be_dropped() {
        let mut machine = Machine::new(b"N(0N0N");
        while !machine.program.is_empty() {
            machine.step().expect("is valid");
        }
        assert_eq!((machine.stack.len(), machine.marks.len()), (2, 0));
    }

    #[test]
    fn texts_of_python_2_may_be_any_bytes() {
        assert!(matches!(value(b"U\x01\xff"), Value::Plain));
        assert!(matches!(value(b"S'ab'\n"), Value::Text(text) if text == "ab"));
        assert!(matches!(value(b"Vab\n"), Value::Text(text) if text == "ab"));
        assert!(Machine::new(b"X\x01\x00\x00\x00\xff").step().is_err());
    }
}

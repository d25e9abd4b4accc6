//! Sound programs of pickle, made by the format's rules (Python's `pickletools`) in many spellings: each must be read as
//! the tensors that it was made of.

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use candle_core::{DType, Device};
use fieldmark_model::model::weights::Weights;

use crate::{checkpoint::archive, scratch};

/// The types of the storages, by their keys; each holds `COUNT` numbers that every one of these types has.
const KINDS: [(&str, &str, usize); 6] = [
    ("Float", "F32", 4),
    ("Half", "F16", 2),
    ("BFloat16", "BF16", 2),
    ("Double", "F64", 8),
    ("Long", "I64", 8),
    ("Byte", "U8", 1),
];
const COUNT: usize = 64;

/// A dictionary of tensors, and how it is written.
#[derive(Debug, Arbitrary)]
pub struct Program {
    tensors: Vec<Described>,
    nested: Option<Nested>,
    ordered: bool,
    /// Which of several ways to write a thing is taken, one after the other.
    ways: Vec<u8>,
}

#[derive(Debug, Arbitrary)]
struct Described {
    name: u8,
    storage: u8,
    offset: u8,
    sides: [u8; 3],
    axes: u8,
    order: Order,
    parameter: bool,
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum Order {
    RowsFirst,
    ColumnsFirst,
    /// Every number is the same one.
    Repeated,
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum Nested {
    StateDict,
    ModelStateDict,
    Model,
    Module,
}

/// What a tensor must be read as.
type Expected = (String, Vec<usize>, Vec<f64>);

impl Described {
    fn name(&self) -> String {
        format!("layer.{}.weight", self.name % 8)
    }

    fn kind(&self) -> usize {
        usize::from(self.storage) % KINDS.len()
    }

    fn shape(&self) -> Vec<usize> {
        self.sides.iter().take(usize::from(self.axes % 4)).map(|side| usize::from(side % 3) + 1).collect()
    }

    fn strides(&self) -> Vec<usize> {
        let shape = self.shape();
        let after = |axis: usize| shape[axis + 1..].iter().product();
        let before = |axis: usize| shape[..axis].iter().product();
        let stride = |axis: usize| match self.order {
            Order::RowsFirst => after(axis),
            Order::ColumnsFirst => before(axis),
            Order::Repeated => 0,
        };
        (0..shape.len()).map(stride).collect()
    }

    fn offset(&self) -> usize {
        usize::from(self.offset % 32)
    }

    /// The numbers by a plain walk over the axes.
    fn expected(&self) -> Expected {
        let (shape, strides) = (self.shape(), self.strides());
        let count: usize = shape.iter().product();
        let number = |mut index: usize| {
            let mut at = self.offset();
            for (side, stride) in shape.iter().zip(&strides).rev() {
                at += index % side * stride;
                index /= side;
            }
            number(self.kind(), at)
        };
        let values = (0..count).map(number).collect();
        (KINDS[self.kind()].1.into(), shape, values)
    }
}

/// A whole number that all of the types have.
fn number(kind: usize, at: usize) -> f64 {
    ((at * 37 + kind * 11) % 200) as f64
}

fn storage(kind: usize) -> Vec<u8> {
    let bytes = |value: f64| match KINDS[kind].1 {
        "F32" => (value as f32).to_le_bytes().to_vec(),
        // Both halves by their definition, for whole numbers below 2048 and 256.
        "F16" => half(value, 15, 10).to_le_bytes().to_vec(),
        "BF16" => half(value, 127, 7).to_le_bytes().to_vec(),
        "F64" => value.to_le_bytes().to_vec(),
        "I64" => (value as i64).to_le_bytes().to_vec(),
        _ => vec![value as u8],
    };
    (0..COUNT).flat_map(|at| bytes(number(kind, at))).collect()
}

fn half(value: f64, bias: i32, bits: u32) -> u16 {
    if value == 0.0 {
        return 0;
    }
    let exponent = value.log2().floor() as i32;
    let fraction = value / 2_f64.powi(exponent) - 1.0;
    ((exponent + bias) as u16) << bits | (fraction * f64::from(1 << bits)) as u16
}

impl Program {
    /// Writes the program, reads it, and compares.
    ///
    /// # Panics
    /// If the program is refused, or read as other tensors.
    pub fn check(&self) {
        let expected: BTreeMap<String, Expected> =
            self.tensors.iter().map(|tensor| (tensor.name(), tensor.expected())).collect();
        let program = Writer::new(&self.ways).whole(self);
        let storages: Vec<_> = (0..KINDS.len()).map(|kind| (kind.to_string(), storage(kind))).collect();
        scratch::with(|scratch| {
            let path = scratch.write("pytorch_model.bin", archive(&program, &storages));
            let weights = match Weights::open_file(&path) {
                Ok(weights) => weights,
                Err(error) => {
                    assert!(expected.is_empty(), "a sound program was refused: {error}: {program:?}");
                    return;
                }
            };
            let found = weights.contents();
            assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
            for (name, (kind, shape, values)) in &expected {
                assert_eq!((&found[name].0, &found[name].1), (kind, shape), "{name}");
                let tensor = weights.tensor(name, &Device::Cpu).expect("its numbers are there");
                let numbers =
                    tensor.to_dtype(DType::F64).and_then(|tensor| tensor.flatten_all()?.to_vec1::<f64>());
                assert_eq!(&numbers.expect("are numbers"), values, "{name}");
            }
        });
    }
}

/// Writes values, each in one of the ways that pickle has for it.
struct Writer<'a> {
    out: Vec<u8>,
    ways: std::slice::Iter<'a, u8>,
    /// The entries of the memo; each has a number of its own.
    memo: u32,
}

impl<'a> Writer<'a> {
    fn new(ways: &'a [u8]) -> Self {
        Self { out: Vec::new(), ways: ways.iter(), memo: 0 }
    }

    /// Which of `count` ways to take; the first one where the input has no more to say.
    fn way(&mut self, count: u8) -> u8 {
        self.ways.next().map_or(0, |way| way % count)
    }

    fn whole(mut self, program: &Program) -> Vec<u8> {
        let protocol = 2 + self.way(4);
        self.out.extend([0x80, protocol]);
        match program.nested {
            None => self.state(program),
            Some(nested) => {
                let name = match nested {
                    Nested::StateDict => "state_dict",
                    Nested::ModelStateDict => "model_state_dict",
                    Nested::Model => "model",
                    Nested::Module => "module",
                };
                // {"epoch": 300, name: state}
                self.out.extend(b"}(");
                self.text("epoch");
                self.integer(300);
                self.text(name);
                self.state(program);
                self.out.push(b'u');
            }
        }
        self.out.push(b'.');
        self.out
    }

    fn state(&mut self, program: &Program) {
        let pairs = |writer: &mut Self, each: bool| {
            for tensor in &program.tensors {
                writer.text(&tensor.name());
                writer.tensor(tensor);
                if each {
                    writer.out.push(b's');
                }
            }
        };
        let marked = self.way(3);
        if program.ordered {
            self.global("collections", "OrderedDict");
            self.tuple(Vec::new());
            self.out.push(if marked == 1 { 0x81 } else { b'R' });
        } else if marked == 2 {
            self.out.push(b'(');
            pairs(self, false);
            return self.out.push(b'd');
        } else {
            self.out.push(b'}');
        }
        self.remember();
        if marked == 1 {
            pairs(self, true);
        } else {
            self.out.push(b'(');
            pairs(self, false);
            self.out.push(b'u');
        }
    }

    fn tensor(&mut self, tensor: &Described) {
        if tensor.parameter {
            self.global("torch._utils", "_rebuild_parameter");
            let way = self.way(2);
            let inner = |writer: &mut Self| writer.plain_tensor(tensor);
            self.tuple_by(way, 3, |writer, item| match item {
                0 => inner(writer),
                1 => writer.out.push(0x88),
                _ => writer.empty_dictionary(),
            });
            self.out.push(b'R');
        } else {
            self.plain_tensor(tensor);
        }
        self.remember();
    }

    fn plain_tensor(&mut self, tensor: &Described) {
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.tuple_by(0, 6, |writer, item| match item {
            0 => writer.storage(tensor.kind()),
            1 => writer.integer(tensor.offset() as i64),
            2 => writer.tuple(tensor.shape()),
            3 => writer.tuple(tensor.strides()),
            4 => writer.out.push(0x89),
            _ => writer.empty_dictionary(),
        });
        self.out.push(b'R');
    }

    fn storage(&mut self, kind: usize) {
        self.tuple_by(0, 5, |writer, item| match item {
            0 => writer.text("storage"),
            1 => writer.global("torch", &format!("{}Storage", KINDS[kind].0)),
            2 => writer.text(&kind.to_string()),
            3 => writer.text("cpu"),
            _ => writer.integer(COUNT as i64),
        });
        self.out.push(b'Q');
    }

    fn empty_dictionary(&mut self) {
        match self.way(2) {
            0 => self.out.push(b'}'),
            _ => self.out.extend(b"(d"),
        }
    }

    fn tuple(&mut self, items: Vec<usize>) {
        let way = self.way(2);
        self.tuple_by(way, items.len(), |writer, item| writer.integer(items[item] as i64));
    }

    /// A tuple of `count` items; `way` 1 writes short ones without a mark.
    fn tuple_by(&mut self, way: u8, count: usize, mut item: impl FnMut(&mut Self, usize)) {
        if count == 0 && way == 1 {
            return self.out.push(b')');
        }
        let is_short = way == 1 && count <= 3;
        if !is_short {
            self.out.push(b'(');
        }
        (0..count).for_each(|at| item(self, at));
        self.out.push(if is_short { 0x84 + count as u8 } else { b't' });
        self.remember();
    }

    fn integer(&mut self, value: i64) {
        match self.way(6) {
            0 if value < 256 => self.out.extend([b'K', value as u8]),
            1 if value < 65_536 => {
                self.out.push(b'M');
                self.out.extend((value as u16).to_le_bytes());
            }
            2 => self.out.extend(format!("I{value}\n").bytes()),
            3 => self.out.extend(format!("L{value}L\n").bytes()),
            4 => {
                // Two's complement with a byte to spare for the sign.
                self.out.extend([0x8a, 3]);
                self.out.extend(&value.to_le_bytes()[..3]);
            }
            _ => {
                self.out.push(b'J');
                self.out.extend((value as i32).to_le_bytes());
            }
        }
    }

    fn text(&mut self, text: &str) {
        let length = text.len();
        match self.way(6) {
            0 => {
                self.out.push(b'X');
                self.out.extend((length as u32).to_le_bytes());
            }
            1 => self.out.extend([0x8c, length as u8]),
            2 => {
                self.out.push(0x8d);
                self.out.extend((length as u64).to_le_bytes());
            }
            3 => self.out.extend([b'U', length as u8]),
            4 => {
                self.out.push(b'T');
                self.out.extend((length as u32).to_le_bytes());
            }
            _ => {
                self.out.extend(format!("V{text}\n").bytes());
                return self.remember();
            }
        }
        self.out.extend(text.bytes());
        self.remember();
    }

    fn global(&mut self, module: &str, name: &str) {
        if self.way(2) == 0 {
            self.out.extend(format!("c{module}\n{name}\n").bytes());
        } else {
            self.text(module);
            self.text(name);
            self.out.push(0x93);
        }
        self.remember();
    }

    /// Stores what is on top in the memo, takes it from there again, or does what has no effect.
    fn remember(&mut self) {
        let index = self.memo;
        let fits = u8::try_from(index);
        match (self.way(8), fits) {
            (1, Ok(index)) => self.out.extend([b'q', index]),
            (2, _) => {
                self.out.push(b'r');
                self.out.extend(index.to_le_bytes());
            }
            (3, _) => self.out.extend(format!("p{index}\n").bytes()),
            (4, Ok(index)) => self.out.extend([b'q', index, b'0', b'h', index]),
            (5, _) => {
                self.out.extend(format!("p{index}\n0j").bytes());
                self.out.extend(index.to_le_bytes());
            }
            (6, _) => self.out.extend(b"20(NN1N0"),
            _ => return,
        }
        self.memo += 1;
    }
}

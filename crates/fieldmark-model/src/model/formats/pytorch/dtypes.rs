//! The types of numbers that PyTorch stores, by the names of its storages.

use candle_core::DType;

/// A type of numbers.
#[derive(Debug, PartialEq)]
pub(super) struct Numbers {
    /// Its name in Python, such as `Float` of `FloatStorage`.
    pub(super) name: &'static str,
    /// Bytes in a number.
    pub(super) size: usize,
    /// None for types that hold no weights.
    pub(super) dtype: Option<DType>,
}

const fn weights(name: &'static str, size: usize, dtype: DType) -> Numbers {
    Numbers { name, size, dtype: Some(dtype) }
}

const fn others(name: &'static str, size: usize) -> Numbers {
    Numbers { name, size, dtype: None }
}

static ALL: [Numbers; 17] = [
    weights("Float", 4, DType::F32),
    weights("Half", 2, DType::F16),
    weights("BFloat16", 2, DType::BF16),
    weights("Double", 8, DType::F64),
    weights("Long", 8, DType::I64),
    weights("Int", 4, DType::I32),
    weights("Short", 2, DType::I16),
    weights("Byte", 1, DType::U8),
    others("Char", 1),
    others("Bool", 1),
    others("ComplexFloat", 8),
    others("ComplexDouble", 16),
    others("QInt8", 1),
    others("QUInt8", 1),
    others("QInt32", 4),
    others("QUInt4x2", 1),
    others("QUInt2x4", 1),
];

/// The type of a storage's numbers.
pub(super) fn numbers(name: &str) -> Option<&'static Numbers> {
    ALL.iter().find(|numbers| numbers.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_candle() {
        for Numbers { name, size, dtype } in &ALL {
            assert!(dtype.is_none_or(|dtype| dtype.size_in_bytes() == *size), "{name}");
        }
        assert_eq!(numbers("Untyped"), None);
    }
}

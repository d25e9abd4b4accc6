//! Where the weights of a linear layer lie: in a tensor, or in the checkpoint's file as it is mapped into memory.

use std::{fmt, ops::Range, sync::Arc};

use candle_core::{Device, Result, Tensor, bail};

use super::storage::read;

/// Frozen weights: [out, in].
#[derive(Clone, Debug)]
pub(crate) enum Weight {
    /// On any device.
    Tensor(Tensor),
    /// On a CPU, where somebody else holds them.
    Numbers(Pieces),
}

/// Numbers that are held elsewhere, such as in a mapped file.
#[derive(Clone)]
pub(crate) struct Numbers {
    held: Arc<dyn AsRef<[f32]> + Send + Sync>,
    range: Range<usize>,
}

/// Rows of `inputs` values, some in each piece.
#[derive(Clone, Debug)]
pub(crate) struct Pieces {
    pieces: Vec<Numbers>,
    inputs: usize,
}

impl Numbers {
    /// All numbers of a holder.
    pub(crate) fn all(held: Arc<dyn AsRef<[f32]> + Send + Sync>) -> Self {
        let range = 0..held.as_ref().as_ref().len();
        Self { held, range }
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        &(*self.held).as_ref()[self.range.clone()]
    }

    /// Some of them.
    fn part(&self, range: Range<usize>) -> Self {
        let start = self.range.start;
        Self { held: Arc::clone(&self.held), range: start + range.start..start + range.end }
    }
}

impl fmt::Debug for Numbers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Numbers({})", self.range.len())
    }
}

impl From<Tensor> for Weight {
    fn from(tensor: Tensor) -> Self {
        Self::Tensor(tensor)
    }
}

impl Weight {
    /// Rows of `inputs` values, those of the first piece first.
    ///
    /// # Errors
    /// If a piece does not consist of whole rows.
    pub(crate) fn of_numbers(pieces: Vec<Numbers>, inputs: usize) -> Result<Self> {
        match pieces.iter().find(|piece| inputs == 0 || !piece.range.len().is_multiple_of(inputs)) {
            Some(piece) => bail!("expected rows of {inputs} values, found {} values", piece.range.len()),
            None => Ok(Self::Numbers(Pieces { pieces, inputs })),
        }
    }

    pub(super) fn inputs(&self) -> usize {
        match self {
            Self::Tensor(tensor) => tensor.dims().get(1).copied().unwrap_or(0),
            Self::Numbers(pieces) => pieces.inputs,
        }
    }

    pub(super) fn outputs(&self) -> usize {
        match self {
            Self::Tensor(tensor) => tensor.dims().first().copied().unwrap_or(0),
            Self::Numbers(Pieces { pieces, inputs }) => {
                pieces.iter().map(|piece| piece.range.len()).sum::<usize>() / inputs
            }
        }
    }

    /// Some of the rows.
    pub(super) fn rows(&self, start: usize, length: usize) -> Result<Self> {
        let Pieces { pieces, inputs } = match self {
            Self::Tensor(tensor) => return Ok(Self::Tensor(tensor.narrow(0, start, length)?)),
            Self::Numbers(pieces) => pieces,
        };
        if start + length > self.outputs() {
            bail!("expected rows below {}, found {}", self.outputs(), start + length);
        }
        let (mut before, mut kept) = (0, Vec::new());
        for piece in pieces {
            let here = before..before + piece.range.len();
            let from = (start * inputs).clamp(here.start, here.end) - before;
            let to = ((start + length) * inputs).clamp(here.start, here.end) - before;
            if from < to {
                kept.push(piece.part(from..to));
            }
            before = here.end;
        }
        Ok(Self::Numbers(Pieces { pieces: kept, inputs: *inputs }))
    }

    /// Hands out the pieces of rows, and how long a row is. Nothing is copied.
    pub(super) fn read<T>(&self, with: impl FnOnce(&[&[f32]], usize) -> T) -> Result<T> {
        match self {
            Self::Tensor(tensor) => read(tensor, |values| with(&[values], self.inputs())),
            Self::Numbers(Pieces { pieces, inputs }) => {
                let pieces: Vec<&[f32]> = pieces.iter().map(Numbers::as_slice).collect();
                Ok(with(&pieces, *inputs))
            }
        }
    }

    /// The weights as a tensor: [out, in].
    pub(super) fn tensor(&self) -> Result<Tensor> {
        match self {
            Self::Tensor(tensor) => Ok(tensor.clone()),
            Self::Numbers(_) => {
                let values = self.read(|pieces, _| pieces.concat())?;
                Tensor::from_vec(values, (self.outputs(), self.inputs()), &Device::Cpu)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::network::{Linear, tests::Source};

    fn values(tensor: &Tensor) -> Result<Vec<f32>> {
        tensor.flatten_all()?.to_vec1()
    }

    /// The rows of a tensor in pieces, each of so many rows.
    fn in_pieces(tensor: &Tensor, rows: &[usize]) -> Result<Weight> {
        let (all, inputs) = (values(tensor)?, tensor.dim(1)?);
        let mut rest = all.as_slice();
        let pieces = rows.iter().map(|rows| {
            let (piece, others) = rest.split_at(rows * inputs);
            rest = others;
            Numbers::all(Arc::new(piece.to_vec()))
        });
        Weight::of_numbers(pieces.collect(), inputs)
    }

    #[test]
    fn weights_in_pieces_are_those_of_one_tensor() -> Result<()> {
        let mut source = Source::new(41);
        let (tensor, bias) = (source.tensor(&[9, 5]), source.tensor(&[9]));
        let (inputs, gradients) = (source.tensor(&[4, 5]), source.tensor(&[4, 9]));
        let whole = Linear::new(tensor.clone(), Some(bias.clone()));
        let pieces = Linear::new(in_pieces(&tensor, &[2, 3, 4])?, Some(bias));
        let close = |one: Tensor, other: Tensor| -> Result<bool> {
            Ok(one.dims() == other.dims() && (one - other)?.abs()?.max_all()?.to_scalar::<f32>()? < 1e-6)
        };
        assert!(close(pieces.forward(&inputs)?, whole.forward(&inputs)?)?);
        assert!(close(pieces.backward(&gradients)?, whole.backward(&gradients)?)?);
        assert_eq!(values(&pieces.weight.tensor()?)?, values(&tensor)?);
        // Rows of two pieces, and of all three.
        for (start, length) in [(1, 3), (0, 9), (5, 4), (1, 7)] {
            let (part, expected) = (pieces.outputs(start, length)?, whole.outputs(start, length)?);
            assert!(close(part.forward(&inputs)?, expected.forward(&inputs)?)?, "{start} and {length}");
        }
        assert!(pieces.outputs(5, 5).is_err());
        Ok(())
    }

    #[test]
    fn pieces_that_end_within_a_row_are_refused() {
        let piece = || Numbers::all(Arc::new(vec![0.0; 7]));
        assert!(Weight::of_numbers(vec![piece()], 7).is_ok());
        assert!(Weight::of_numbers(vec![piece()], 3).is_err());
        assert!(Weight::of_numbers(vec![piece()], 0).is_err());
    }
}

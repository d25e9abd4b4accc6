//! Sums and products of every row with one.

use candle_core::{DType, Result, Tensor};

use super::{kernels, storage::read};

/// Every row times one.
///
/// # Shapes
/// `rows`: [rows, width]; `row`: [1, width], or as `rows`; returns [rows, width].
pub(crate) fn times_row(rows: &Tensor, row: &Tensor) -> Result<Tensor> {
    if !rows.device().is_cpu() || row.dim(0)? != 1 {
        return rows.broadcast_mul(row);
    }
    let mut output = vec![0.0; rows.elem_count()];
    read(rows, |rows| read(row, |row| kernels::times_row(rows, row, &mut output)))??;
    Tensor::from_vec(output, rows.shape(), rows.device())
}

/// rows + row, where `row` has the last dimensions of `rows` and is repeated over the others.
///
/// candle's own operations on more than 65,536 numbers wake threads of its own, and these wait for more by spinning, for a
/// millisecond, on cores that the next product wants. So on a CPU, and without a graph, large sums are ours.
pub(crate) fn add(rows: &Tensor, row: &Tensor) -> Result<Tensor> {
    let is_plain =
        |tensor: &Tensor| tensor.device().is_cpu() && !tensor.track_op() && tensor.dtype() == DType::F32;
    let ones = row.dims().iter().take_while(|length| **length == 1).count();
    let is_repeated = rows.dims().ends_with(&row.dims()[ones..]) && row.elem_count() > 0;
    if !is_plain(rows) || !is_plain(row) || !is_repeated {
        return rows.broadcast_add(row);
    }
    let (rows, row) = (rows.contiguous()?, row.contiguous()?);
    let mut output = vec![0.0; rows.elem_count()];
    read(&rows, |rows| read(&row, |row| kernels::plus_row(rows, row, &mut output)))??;
    Tensor::from_vec(output, rows.shape(), rows.device())
}

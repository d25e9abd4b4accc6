//! The numbers behind tensors, where they lie.

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, bail};

/// Hands out the values behind a tensor, which are not copied.
pub(super) fn read<T>(tensor: &Tensor, with: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage @ CpuStorage::F32(_)) => Ok(with(slice(storage, layout)?)),
        _ => bail!("expected float32 on a CPU, found {:?} on {:?}", tensor.dtype(), tensor.device()),
    }
}

/// The values behind a contiguous float32 tensor.
pub(super) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("expected a contiguous tensor, found strides {:?}", layout.stride()),
    }
}

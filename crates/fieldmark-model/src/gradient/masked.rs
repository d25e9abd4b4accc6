//! What the model makes of copies of the photo that are each seen through one channel of the activations.
//!
//! A channel is resampled to the photo's size (bilinear, its corners on the corners, as in pytorch-grad-cam),
//! scaled to 0 to 1, and multiplied with the normalised pixels: where the channel is low the copy is of the mean
//! colour. No prompt takes part, so that an image's copies are embedded once for all prompts.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use candle_core::{Device, Tensor};

use super::LayerTrace;
use crate::{error::Result, progress::Event};

/// What the reference adds to a channel's range before it divides by it.
const FLOOR: f64 = 1e-8;

/// The embeddings of the copies that were made so far, by channel: `[embedding]` each.
pub(super) type Known = Mutex<BTreeMap<usize, Tensor>>;

impl LayerTrace<'_> {
    /// The embeddings of copies of the photo, each seen through one channel of the patches' activations, before they
    /// are made unit vectors. Each is computed once; [`progress`](Self::progress) hears of it.
    ///
    /// # Shapes
    /// `channels`, below the width and at least one; returns [channels, embedding].
    ///
    /// # Errors
    /// If there is no channel, or none of that number.
    pub fn masked_embeddings(&self, channels: &[usize]) -> Result<Tensor> {
        let mut known = self.masked.lock().unwrap_or_else(PoisonError::into_inner);
        let missing: Vec<usize> =
            channels.iter().copied().filter(|channel| !known.contains_key(channel)).collect();
        if !missing.is_empty() {
            self.progress().event(Event::PassesStarted { passes: missing.len() });
            let done = self.embed_copies(&missing, &mut known);
            self.progress().event(Event::PassesFinished);
            done?;
        }
        let rows: Vec<&Tensor> = channels.iter().filter_map(|channel| known.get(channel)).collect();
        Ok(Tensor::stack(&rows, 0)?)
    }

    fn embed_copies(&self, channels: &[usize], known: &mut BTreeMap<usize, Tensor>) -> Result<()> {
        let activations = self.patch_activations()?.t()?.contiguous()?;
        let pixels = self.pixels().unsqueeze(0)?;
        for chunk in channels.chunks(self.tower().images_at_once(self.grid()?)) {
            let indices = Tensor::from_iter(chunk.iter().map(|channel| *channel as u32), pixels.device())?;
            let masks = self.masks(&activations.index_select(&indices, 0)?)?;
            let embeddings = self.embeddings_of(&pixels.broadcast_mul(&masks.unsqueeze(1)?)?)?;
            for (row, channel) in chunk.iter().enumerate() {
                known.insert(*channel, embeddings.get(row)?);
            }
            self.progress().event(Event::PassesAdvanced { passes: chunk.len() });
        }
        Ok(())
    }

    /// Channels at the photo's size, from 0 to 1.
    ///
    /// # Shapes
    /// `channels`: [channels, cells]; returns [channels, height, width].
    fn masks(&self, channels: &Tensor) -> Result<Tensor> {
        let (count, (_, height, width)) = (channels.dim(0)?, self.pixels().dims3()?);
        let grid = self.grid()?;
        let across = interpolation(grid.columns, width, channels.device())?.t()?;
        let down = interpolation(grid.rows, height, channels.device())?;
        let lines = channels.reshape((count * grid.rows, grid.columns))?.matmul(&across)?;
        let lines = lines.reshape((count, grid.rows, width))?;
        let down = down.unsqueeze(0)?.broadcast_as((count, height, grid.rows))?.contiguous()?;
        let masks = down.matmul(&lines)?.flatten_from(1)?;
        let low = masks.min_keepdim(1)?;
        let range = (masks.max_keepdim(1)? - &low)?;
        let masks = masks.broadcast_sub(&low)?.broadcast_div(&(range + FLOOR)?)?;
        Ok(masks.reshape((count, height, width))?)
    }
}

/// The weights that resample a line of `from` values to `to` bilinearly, the outermost values at the ends
/// (`align_corners = true`): [to, from].
fn interpolation(from: usize, to: usize, device: &Device) -> Result<Tensor> {
    let mut weights = vec![0.0_f32; to * from];
    let last = from.saturating_sub(1);
    for (index, row) in weights.chunks_exact_mut(from.max(1)).enumerate() {
        let position = index as f64 * last as f64 / to.saturating_sub(1).max(1) as f64;
        let first = (position as usize).min(last);
        let share = (position - first as f64) as f32;
        row[first] += 1.0 - share;
        row[(first + 1).min(last)] += share;
    }
    Ok(Tensor::from_vec(weights, (to, from), device)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_interpolated_between_its_ends() -> Result<()> {
        let weights = interpolation(2, 5, &Device::Cpu)?;
        let line = Tensor::new(&[[0.0_f32], [4.0]], &Device::Cpu)?;
        assert_eq!(weights.matmul(&line)?.flatten_all()?.to_vec1::<f32>()?, [0.0, 1.0, 2.0, 3.0, 4.0]);
        let one = interpolation(1, 3, &Device::Cpu)?;
        assert_eq!(one.flatten_all()?.to_vec1::<f32>()?, [1.0; 3]);
        Ok(())
    }
}

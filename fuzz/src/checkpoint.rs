//! Files of weights: safetensors, archives of PyTorch, programs of pickle, NumPy's arrays.

use std::path::Path;

use candle_core::Device;
use fieldmark_model::{files::read_npy, model::weights::Weights};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::{check_error, scratch};

/// The most numbers that a tensor may have to be read here.
const MOST_NUMBERS: usize = 1 << 20;

/// Reads all that can be read of a file.
pub(crate) fn read_weights(path: &Path) {
    let weights = match Weights::open_file(path) {
        Ok(weights) => weights,
        Err(error) => return check_error(&error),
    };
    for (name, (_, shape)) in weights.contents() {
        let count = shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
        if count.is_some_and(|count| count <= MOST_NUMBERS)
            && let Err(error) = weights.tensor(&name, &Device::Cpu)
        {
            check_error(&error);
        }
    }
    if let Err(error) = weights.not_finite() {
        check_error(&error);
    }
}

/// A file of safetensors. Where the first byte is odd the rest is the header's text, whose length and numbers are
/// added; else it is the whole file.
pub fn safetensors(bytes: &[u8]) {
    let Some((form, rest)) = bytes.split_first() else { return };
    scratch::with(|scratch| {
        let file = if form & 1 == 1 {
            let length = (rest.len() as u64).to_le_bytes();
            [&length[..], rest, &[0x3f; 256]].concat()
        } else {
            rest.to_vec()
        };
        read_weights(&scratch.write("model.safetensors", file));
    });
}

/// A file that `torch.save` may have written, whole: an archive, or the older form.
pub fn pytorch(bytes: &[u8]) {
    scratch::with(|scratch| read_weights(&scratch.write("pytorch_model.bin", bytes)));
}

/// A program of pickle in a sound archive with a few storages.
pub fn pickle(program: &[u8]) {
    scratch::with(|scratch| read_weights(&scratch.write("pytorch_model.bin", archive(program, &storages()))));
}

/// Storages of 64 bytes under the names that PyTorch gives.
fn storages() -> Vec<(String, Vec<u8>)> {
    (0..4).map(|key: u8| (key.to_string(), vec![key; 64])).collect()
}

/// The archive that `torch.save` makes of a program and storages.
pub(crate) fn archive(program: &[u8], storages: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut add = |name: &str, bytes: &[u8]| {
        writer.start_file(name, options).expect("an archive in memory can be written");
        std::io::Write::write_all(&mut writer, bytes).expect("an archive in memory can be written");
    };
    add("archive/data.pkl", program);
    add("archive/byteorder", b"little");
    for (key, bytes) in storages {
        add(&format!("archive/data/{key}"), bytes);
    }
    writer.finish().expect("an archive in memory can be written").into_inner()
}

/// An array of NumPy's. Where the first byte is odd the rest is its data behind a sound header.
///
/// # Panics
/// If an array has other values than its shape says.
pub fn npy(bytes: &[u8]) {
    let Some((form, rest)) = bytes.split_first() else { return };
    scratch::with(|scratch| {
        let path = scratch.path().join("map.npy");
        if form & 1 == 1 && !rest.is_empty() {
            let values: Vec<f32> = rest.iter().map(|byte| f32::from(*byte)).collect();
            let columns = usize::from(form >> 1).clamp(1, values.len());
            let shape = [values.len() / columns, columns];
            let values = &values[..shape[0] * shape[1]];
            fieldmark_model::files::save_npy(&path, values, shape).expect("can be written");
            assert_eq!(
                read_npy(&path, 1 << 20).expect("is read as it was written"),
                (values.to_vec(), shape)
            );
            return;
        }
        scratch.write("map.npy", rest);
        match read_npy(&path, 1 << 20) {
            Ok((values, [rows, columns])) => assert_eq!(values.len(), rows * columns),
            Err(error) => check_error(&error),
        }
    });
}

//! Where tensors live, and with how many digits. The only place that knows which backends were compiled in.

use candle_core::Device;

use crate::error::{Error, Result, first_line};
use crate::named;

/// The device to compute on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceChoice {
    /// CUDA or Metal where that was compiled in, else the CPU.
    #[default]
    Best,
    /// The CPU.
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
    /// Apple's GPU.
    Metal,
}

named!(DeviceChoice, "device", Best => "best", Cpu => "cpu", Cuda => "cuda", Metal => "metal");

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::DeviceNotCompiledIn`], or [`Error::Device`] if it is not there: nothing else is taken in its place, nor
    /// in the place of what [`Best`](Self::Best) stands for in this build.
    pub fn open(self) -> Result<Device> {
        let opened = |device: &'static str, result: candle_core::Result<Device>| {
            result.map_err(|error| Error::Device { device, reason: first_line(&error) })
        };
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Best | Self::Cuda if cfg!(feature = "cuda") => opened("cuda", Device::new_cuda(0)),
            Self::Best | Self::Metal if cfg!(feature = "metal") => opened("metal", Device::new_metal(0)),
            Self::Best => Ok(Device::Cpu),
            Self::Cuda => Err(Error::DeviceNotCompiledIn { device: "cuda" }),
            Self::Metal => Err(Error::DeviceNotCompiledIn { device: "metal" }),
        }
    }
}

/// With how many digits the blocks of the vision tower multiply that pass without a graph. What is differentiated,
/// attention, sums, the text tower and maps are always in float32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// [`F32`](Self::F32), until bfloat16 is shown to leave maps as they are.
    #[default]
    Auto,
    /// Float32: 24 binary digits.
    F32,
    /// bfloat16, 8 binary digits, summed in float32: several times faster on processors that have instructions for it
    /// (AMX, AVX-512 BF16).
    Bf16,
}

named!(Precision, "precision", Auto => "auto", F32 => "f32", Bf16 => "bf16");

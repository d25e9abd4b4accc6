//! Where tensors live. The only place that knows which backends were compiled in.

use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The device to compute on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::Device`] if it was not compiled in or is not there; nothing else is taken in its place.
    pub fn open(self) -> Result<Device> {
        let opened = |device: &'static str, result: candle_core::Result<Device>| {
            result.map_err(|error| Error::Device { device, reason: error.to_string() })
        };
        let missing = |device: &'static str| {
            Err(Error::Device { device, reason: "this build has no support for it".into() })
        };
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Best | Self::Cuda if cfg!(feature = "cuda") => opened("cuda", Device::new_cuda(0)),
            Self::Best | Self::Metal if cfg!(feature = "metal") => opened("metal", Device::new_metal(0)),
            Self::Best => Ok(Device::Cpu),
            Self::Cuda => missing("cuda"),
            Self::Metal => missing("metal"),
        }
    }
}

//! The device that a model is computed on, found at run time.
//!
//! One binary may have both: CUDA is in it where it was built with a feature for it, and is used
//! where the machine has it. A device is only ever named after it was listed: naming one that is
//! not there panics on threads of the backend's own.

use burn::tensor::Device;

use super::{ModelError, Precision};
use crate::config::{DeviceChoice, DtypeChoice};

/// A device, and the precision to compute in.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The device.
    pub device: Device,
    /// Its name: `cpu` or `cuda:N`.
    pub name: String,
    /// What inference computes in.
    pub precision: Precision,
    /// Why it is this device, where that is worth a word.
    pub reason: Option<&'static str>,
}

impl Placement {
    /// Finds the device that was chosen.
    ///
    /// # Errors
    /// [`ModelError::NoDevice`] if a CUDA device was asked for that is not there.
    pub fn find(device: DeviceChoice, dtype: DtypeChoice) -> Result<Self, ModelError> {
        let precision = |auto| match dtype {
            DtypeChoice::Auto => auto,
            DtypeChoice::F32 => Precision::F32,
            DtypeChoice::Bf16 => Precision::Bf16,
        };
        let cpu = |reason| Self {
            device: Device::flex(),
            name: DeviceChoice::Cpu.to_string(),
            precision: precision(Precision::F32),
            reason,
        };
        let index = match device {
            DeviceChoice::Cpu => return Ok(cpu(None)),
            DeviceChoice::Auto => 0,
            DeviceChoice::Cuda(index) => index,
        };
        match (cuda(index), device) {
            (Ok(device), _) => Ok(Self {
                device,
                name: DeviceChoice::Cuda(index).to_string(),
                precision: precision(Precision::Bf16),
                reason: None,
            }),
            (Err(reason), DeviceChoice::Auto) => Ok(cpu(Some(reason))),
            (Err(reason), _) => Err(ModelError::NoDevice { wanted: device.to_string(), reason }),
        }
    }
}

/// The CUDA device of this index, or why there is none.
#[cfg(feature = "cuda-unfused")]
fn cuda(index: usize) -> Result<Device, &'static str> {
    let devices = Device::enumerate(burn::tensor::DeviceType::Cuda);
    let reason = match devices.is_empty() {
        true => "this machine has no CUDA device",
        false => "there are fewer CUDA devices",
    };
    devices.into_iter().nth(index).ok_or(reason)
}

#[cfg(not(feature = "cuda-unfused"))]
fn cuda(_: usize) -> Result<Device, &'static str> {
    Err("this binary was built without the feature `cuda`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there_and_computes_in_f32_unless_told() {
        let placement = Placement::find(DeviceChoice::Cpu, DtypeChoice::Auto).unwrap();
        assert_eq!((placement.name.as_str(), placement.precision), ("cpu", Precision::F32));
        assert_eq!(placement.reason, None, "it was asked for");
        let rounded = Placement::find(DeviceChoice::Cpu, DtypeChoice::Bf16).unwrap();
        assert_eq!(rounded.precision, Precision::Bf16);
    }

    #[test]
    fn without_cuda_auto_says_why_and_cuda_is_refused() {
        let Err(reason) = cuda(0) else { return };
        let placement = Placement::find(DeviceChoice::Auto, DtypeChoice::Auto).unwrap();
        assert_eq!((placement.name.as_str(), placement.reason), ("cpu", Some(reason)));
        let error = Placement::find(DeviceChoice::Cuda(3), DtypeChoice::Auto).unwrap_err();
        assert!(error.to_string().contains("cuda:3"), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

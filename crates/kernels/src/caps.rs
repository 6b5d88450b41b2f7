//! What a device can do, as far as selection asks.

use crate::KernelSpec;
use alloc::string::String;

/// What a device can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caps {
    /// The host's processor.
    Cpu,
    /// An adapter behind wgpu.
    Wgpu(WgpuCaps),
    /// An NVIDIA GPU behind the CUDA driver.
    Cuda(CudaCaps),
}

impl Caps {
    /// The device's name, where it is known; the host goes by none.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Cpu => None,
            Self::Wgpu(WgpuCaps { name, .. }) | Self::Cuda(CudaCaps { name, .. }) => {
                name.as_deref()
            }
        }
    }
}

/// Limits and features of a wgpu device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WgpuCaps {
    /// The adapter's name, as wgpu tells it, to look up what was measured on it; `None`: nothing is known of it.
    pub name: Option<String>,
    /// `SHADER_F16` is enabled.
    pub f16: bool,
    /// Lanes of the smallest subgroup; 0 if `SUBGROUP` is not enabled.
    pub subgroup: u32,
    /// Rows and columns of the cooperative matrices of f16 with sums in f32, 8 or 16, where that experimental
    /// feature is enabled and all subgroups have 32 lanes.
    pub cooperative: Option<u32>,
    /// Runs on the host's processor.
    pub software: bool,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Invocations of a workgroup.
    pub invocations: u32,
    /// Workgroups along one dimension of a dispatch.
    pub workgroups: u32,
    /// Bytes of one storage binding.
    pub binding_bytes: u64,
    /// Storage buffers of one stage.
    pub storage_buffers: u32,
}

/// Limits of a CUDA device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CudaCaps {
    /// The GPU's name, as the driver tells it, to look up what was measured on it; `None`: nothing is known of it.
    pub name: Option<String>,
    /// Compute capability, major × 10 + minor.
    pub sm: u32,
    /// Bytes of shared memory that one block may ask for.
    pub shared_bytes: u32,
    /// Streaming multiprocessors.
    pub sms: u32,
}

impl WgpuCaps {
    /// What every WebGPU device has: the default limits (WebGPU, "Limits"), and no optional feature.
    pub const fn webgpu() -> Self {
        Self {
            name: None,
            f16: false,
            subgroup: 0,
            cooperative: None,
            software: false,
            workgroup_bytes: 16 << 10,
            invocations: 256,
            workgroups: 65535,
            binding_bytes: 128 << 20,
            storage_buffers: 8,
        }
    }
}

impl CudaCaps {
    /// The least device that runs a kernel's PTX, with so many multiprocessors: with the limits of an A100, of
    /// an RTX 4090 where 8-bit floats are multiplied, or of an H100.
    pub const fn least(spec: &KernelSpec, sms: u32) -> Self {
        let sm = spec.least_sm();
        let shared_bytes = match sm {
            90 => 227 << 10,
            89 => 99 << 10,
            _ => 163 << 10,
        };
        Self { name: None, sm, shared_bytes, sms }
    }
}

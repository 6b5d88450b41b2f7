//! Adapters: finding, describing, choosing and opening them.

use super::Wgpu;
use crate::error::{Error, Result};
use quickpick_kernels::WgpuCaps;
use std::fmt;
use wgpu::{
    Backends, CooperativeMatrixProperties, CooperativeScalarType, DeviceType, ExperimentalFeatures,
    Features, Instance, InstanceDescriptor,
};

/// The environment variable that chooses an adapter: its number in [`adapters`], or a part of its
/// name in any case.
pub const ADAPTER_VARIABLE: &str = "QUICKPICK_ADAPTER";

/// An adapter of this machine.
#[derive(Clone, Debug)]
pub struct Adapter {
    raw: wgpu::Adapter,
    /// Model, driver and API, in words.
    pub description: String,
    /// Runs on the host's processor: Mesa's lavapipe, SwiftShader, WARP.
    pub software: bool,
    /// What a device opened on it can do.
    pub caps: WgpuCaps,
}

impl Adapter {
    fn new(raw: wgpu::Adapter) -> Self {
        let info = raw.get_info();
        Self {
            description: describe(&info),
            software: info.device_type == DeviceType::Cpu,
            caps: caps(&info, &raw.limits(), raw.features(), None),
            raw,
        }
    }

    /// All that a device of it can be opened with.
    pub fn limits(&self) -> wgpu::Limits {
        self.raw.limits()
    }

    /// Opens a device with all of the adapter's limits and, where it has them, f16 arithmetic, subgroups,
    /// immediates, timestamps and pipelines that can be kept.
    pub fn open(&self) -> Result<Wgpu> {
        self.open_with(self.limits(), ExperimentalFeatures::disabled())
    }

    /// The same with these limits, none of them above the adapter's.
    pub fn open_within(&self, limits: wgpu::Limits) -> Result<Wgpu> {
        self.open_with(limits, ExperimentalFeatures::disabled())
    }

    /// The same, and if wgpu's token allows experiments, with cooperative matrices where the adapter has them. No
    /// kernel that multiplies them has met a device yet.
    pub fn open_with(
        &self,
        required_limits: wgpu::Limits,
        experiments: ExperimentalFeatures,
    ) -> Result<Wgpu> {
        let mut wanted = Features::SHADER_F16
            | Features::SUBGROUP
            | Features::IMMEDIATES
            | Features::TIMESTAMP_QUERY
            | Features::PIPELINE_CACHE;
        if experiments.is_enabled() {
            wanted |= Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("quickpick"),
            required_features: self.raw.features() & wanted,
            // wgpu's defaults would be 128 MiB bindings and 16 KiB of workgroup memory
            required_limits,
            experimental_features: experiments,
            ..Default::default()
        };
        match pollster::block_on(self.raw.request_device(&descriptor)) {
            Ok((device, queue)) => {
                let info = self.raw.get_info();
                let lanes = (info.subgroup_min_size, info.subgroup_max_size);
                let matrices = cooperative(lanes, &self.raw.cooperative_matrix_properties());
                Wgpu::watched(device, queue, matrices)
            }
            Err(why) => Err(unavailable(format!("{self} refuses a device: {why}"))),
        }
    }
}

#[cfg(test)]
impl Adapter {
    /// A device without any optional feature.
    pub(super) fn bare(&self) -> (wgpu::Device, wgpu::Queue) {
        pollster::block_on(self.raw.request_device(&Default::default())).unwrap()
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description)?;
        f.write_str(if self.software { " (software)" } else { "" })
    }
}

/// All adapters of this machine, the likely fastest first, software ones last. Empty without a
/// Vulkan, Metal or DX12 driver.
pub fn adapters() -> Vec<Adapter> {
    let descriptor = InstanceDescriptor {
        backends: Backends::VULKAN | Backends::METAL | Backends::DX12,
        ..InstanceDescriptor::new_without_display_handle()
    };
    let found = pollster::block_on(Instance::new(descriptor).enumerate_adapters(Backends::all()));
    let mut list = Vec::from_iter(found.into_iter().map(Adapter::new));
    list.sort_by_key(|a| rank(a.raw.get_info().device_type));
    list
}

/// Chooses an adapter. `wanted` is a number in [`adapters`] or a part of a name, in any case;
/// `None` takes the first that is not a software adapter, or, if `software` allows it, any.
pub fn choose(wanted: Option<&str>, software: bool) -> Result<Adapter> {
    pick(adapters(), wanted, software)
}

fn pick(list: Vec<Adapter>, wanted: Option<&str>, software: bool) -> Result<Adapter> {
    if list.is_empty() {
        let why = "no adapter: no Vulkan, Metal or DX12 driver answers on this machine";
        return Err(unavailable(why.into()));
    }
    let names = Vec::from_iter(list.iter().enumerate().map(|(i, a)| format!("\n  {i}: {a}")));
    let (chosen, rule) = match wanted {
        Some(text) => {
            let number = text.parse::<usize>().ok();
            let name = text.to_lowercase();
            let fits = |(i, a): &(usize, Adapter)| {
                number.map_or_else(|| a.description.to_lowercase().contains(&name), |n| n == *i)
            };
            (list.into_iter().enumerate().find(fits), format!("no adapter fits {text:?}"))
        }
        None => {
            let chosen = list.into_iter().enumerate().find(|(_, a)| software || !a.software);
            (chosen, "only software adapters".into())
        }
    };
    let why = || unavailable(format!("{rule}; there are:{}", names.concat()));
    chosen.map(|(_, adapter)| adapter).ok_or_else(why)
}

fn rank(kind: DeviceType) -> u32 {
    match kind {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    }
}

/// The side of the largest square matrices of f16 with sums in f32, if all subgroups have the 32 lanes that our
/// kernels count on; wgpu cannot ask for a size.
fn cooperative(lanes: (u32, u32), all: &[CooperativeMatrixProperties]) -> Option<u32> {
    let fits = |p: &CooperativeMatrixProperties| {
        let square = p.m_size == p.n_size && p.n_size == p.k_size;
        let types = (p.ab_type, p.cr_type);
        square && types == (CooperativeScalarType::F16, CooperativeScalarType::F32)
    };
    all.iter().filter(|p| lanes == (32, 32) && fits(p)).map(|p| p.m_size).max()
}

pub(super) fn caps(
    info: &wgpu::AdapterInfo,
    limits: &wgpu::Limits,
    features: Features,
    cooperative: Option<u32>,
) -> WgpuCaps {
    WgpuCaps {
        // WebGPU's adapters may keep it to themselves
        name: Some(info.name.clone()).filter(|name| !name.is_empty()),
        f16: features.contains(Features::SHADER_F16),
        subgroup: if features.contains(Features::SUBGROUP) { info.subgroup_min_size } else { 0 },
        cooperative: cooperative
            .filter(|_| features.contains(Features::EXPERIMENTAL_COOPERATIVE_MATRIX)),
        software: info.device_type == DeviceType::Cpu,
        workgroup_bytes: limits.max_compute_workgroup_storage_size,
        invocations: limits
            .max_compute_invocations_per_workgroup
            .min(limits.max_compute_workgroup_size_x),
        workgroups: limits.max_compute_workgroups_per_dimension,
        // whole vectors: bindings are padded to them
        binding_bytes: limits.max_storage_buffer_binding_size.min(limits.max_buffer_size) / 16 * 16,
        storage_buffers: limits.max_storage_buffers_per_shader_stage,
    }
}

pub(super) fn describe(info: &wgpu::AdapterInfo) -> String {
    let driver = [&info.driver, &info.driver_info];
    let words = Vec::from_iter(driver.into_iter().filter(|s| !s.is_empty()).map(String::as_str));
    let driver = if words.is_empty() { String::new() } else { format!(", {}", words.join(" ")) };
    format!("{} ({:?}{driver})", info.name, info.backend)
}

pub(super) fn unavailable(why: String) -> Error {
    Error::Unavailable { backend: "wgpu", why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cooperative_matrices_are_of_f16_with_sums_in_f32_in_subgroups_of_32() {
        use CooperativeScalarType::{F16, F32};
        let of = |[m_size, n_size, k_size]: [u32; 3], ab_type, cr_type| {
            let saturating_accumulation = false;
            CooperativeMatrixProperties {
                m_size,
                n_size,
                k_size,
                ab_type,
                cr_type,
                saturating_accumulation,
            }
        };
        let (eight, sixteen) = (of([8; 3], F16, F32), of([16; 3], F16, F32));
        let others = [of([8; 3], F32, F32), of([16; 3], F16, F16), of([16, 8, 16], F16, F32)];
        assert_eq!(cooperative((32, 32), &[eight, others[0]]), Some(8));
        assert_eq!(cooperative((32, 32), &[eight, sixteen]), Some(16));
        assert_eq!(cooperative((32, 32), &others), None);
        assert_eq!(cooperative((32, 64), &[eight, sixteen]), None, "lanes vary");
    }

    #[test]
    fn no_adapter_and_no_fit_are_told_apart() {
        let why = pick(Vec::new(), None, true).unwrap_err().to_string();
        assert!(why.contains("no Vulkan, Metal or DX12 driver"), "{why}");
        let all = adapters();
        if all.is_empty() {
            return; // tests/wgpu.rs says that, loudly
        }
        let why = pick(all.clone(), Some("no such thing"), true).unwrap_err().to_string();
        assert!(why.contains("no adapter fits \"no such thing\""), "{why}");
        assert!(why.contains(&all[0].description), "{why}");
        let only_software = Vec::from_iter(all.iter().filter(|a| a.software).cloned());
        if !only_software.is_empty() {
            let why = pick(only_software.clone(), None, false).unwrap_err().to_string();
            assert!(why.contains("only software adapters"), "{why}");
            assert!(pick(only_software, Some("0"), false).is_ok(), "asked for by number");
        }
    }
}

//! Compiled kernels and the steps made from them.

use super::{Wgpu, WgpuBuffer};
use crate::backend::Slice;
use crate::error::Result;
use quickpick_kernels::{Access, Plan};
use std::borrow::Cow;
use wgpu::{BindGroupLayoutEntry, BindingType, BufferBindingType, BufferUsages, ShaderStages};

/// A compute pipeline and the layout of its one bind group.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

/// A plan bound to buffers, for [`Backend::run`](crate::Backend::run) or for a pass of the caller's
/// own.
#[derive(Clone, Debug)]
pub struct WgpuStep {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    grid: [u32; 3],
}

impl WgpuStep {
    /// Encodes the step into the caller's pass; wgpu orders it after what it depends on. Sets the
    /// pipeline and bind group 0.
    pub fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        let [x, y, z] = self.grid;
        pass.dispatch_workgroups(x, y, z);
    }
}

impl Kernel {
    /// Compiles a kernel. The bind group follows the plan: one storage buffer per binding, then the
    /// parameters as a uniform.
    pub(super) fn compile(backend: &Wgpu, plan: &Plan, text: &str) -> Result<Self> {
        let name = plan.spec.to_string();
        let device = &backend.device;
        backend.guarded(&format!("compiling {name}"), || {
            let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(&name),
                source: wgpu::ShaderSource::Wgsl(Cow::Borrowed(text)),
            });
            let storage = plan
                .bindings
                .iter()
                .map(|b| BufferBindingType::Storage { read_only: b.access == Access::Read });
            let entries = Vec::from_iter(storage.chain([BufferBindingType::Uniform]).zip(0..).map(
                |(ty, binding)| BindGroupLayoutEntry {
                    binding,
                    visibility: ShaderStages::COMPUTE,
                    ty: BindingType::Buffer {
                        ty,
                        has_dynamic_offset: false,
                        min_binding_size: None,
                    },
                    count: None,
                },
            ));
            let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some(&name),
                entries: &entries,
            });
            let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(&name),
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            });
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(&name),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some(&name),
                compilation_options: wgpu::PipelineCompilationOptions {
                    // every kernel of ours writes its workgroup memory before it reads it
                    zero_initialize_workgroup_memory: false,
                    ..Default::default()
                },
                cache: None,
            });
            Self { pipeline, layout }
        })
    }

    /// Binds operands that `check_operands` has passed.
    pub(super) fn bind(
        &self,
        backend: &Wgpu,
        plan: &Plan,
        operands: &[Option<Slice<WgpuBuffer>>],
    ) -> Result<WgpuStep> {
        let name = plan.spec.to_string();
        backend.guarded(&format!("binding {name}"), || {
            let params = uniform(&backend.device, &name, &plan.params);
            let bound =
                plan.bindings.iter().zip(operands).map(|(binding, operand)| match operand {
                    Some(slice) if binding.is_present() => {
                        slice.buffer.part(slice.offset, binding.bytes)
                    }
                    _ if binding.access == Access::Read => backend.absent_read.whole(),
                    _ => backend.absent_written.whole(),
                });
            let entries = Vec::from_iter(
                bound
                    .chain([wgpu::BindingResource::Buffer(params.as_entire_buffer_binding())])
                    .zip(0..)
                    .map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource }),
            );
            let group = backend.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(&name),
                layout: &self.layout,
                entries: &entries,
            });
            WgpuStep { pipeline: self.pipeline.clone(), group, grid: plan.grid }
        })
    }
}

/// A uniform buffer of the parameters, padded to 16 bytes.
fn uniform(device: &wgpu::Device, label: &str, params: &[u32]) -> wgpu::Buffer {
    let mut words = params.to_vec();
    words.resize(params.len().next_multiple_of(4).max(4), 0);
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size: 4 * words.len() as u64,
        usage: BufferUsages::UNIFORM,
        mapped_at_creation: true,
    });
    // on a lost device there is no range, and the error scope has the reason
    if let Ok(mut range) = buffer.get_mapped_range_mut(..) {
        range.copy_from_slice(bytemuck::cast_slice(&words));
    }
    buffer.unmap();
    buffer
}

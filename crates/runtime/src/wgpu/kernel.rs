//! Compiled kernels and the steps made from them.

use super::pipelines::Pipelines;
use super::{Owner, Wgpu, WgpuBuffer};
use crate::backend::Slice;
use crate::error::{Error, Result};
use quickpick_kernels::plan::Part;
use quickpick_kernels::{Access, Plan, Unsupported};
use std::borrow::Cow;
use wgpu::{
    BindGroupLayoutEntry, BindingType, BufferBindingType, BufferUsages, Features, ShaderStages,
};

/// A compute pipeline and the layout of its one bind group.
///
/// The text declares its parameters as a uniform, the last binding. Where the device has immediates (push
/// constants) they become that: a step then needs no buffer of its own.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
    immediates: bool,
}

/// A plan bound to buffers, for [`Backend::run`](crate::Backend::run) or for a pass of the caller's
/// own.
#[derive(Clone, Debug)]
pub struct WgpuStep {
    owner: Owner,
    pipeline: wgpu::ComputePipeline,
    /// One, or the plan's parts.
    dispatches: Vec<Dispatch>,
}

/// A launch of the plan.
#[derive(Clone, Debug)]
struct Dispatch {
    group: wgpu::BindGroup,
    grid: [u32; 3],
    /// The parameters, where they are immediates; else the group binds them.
    immediates: Option<Vec<u32>>,
}

impl WgpuStep {
    /// The backend that bound it.
    pub(super) fn owner(&self) -> Owner {
        self.owner
    }

    /// Encodes the step into the caller's pass; wgpu orders it after what it depends on. Sets the
    /// pipeline, bind group 0 and, if the device has them, immediates.
    pub fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        for Dispatch { group, grid: [x, y, z], immediates } in &self.dispatches {
            pass.set_bind_group(0, group, &[]);
            if let Some(params) = immediates {
                pass.set_immediates(0, bytemuck::cast_slice(params));
            }
            pass.dispatch_workgroups(*x, *y, *z);
        }
    }
}

impl Kernel {
    /// Compiles a kernel. The bind group follows the plan: one storage buffer per binding, then the
    /// parameters as a uniform unless they are immediates.
    pub(super) fn compile(backend: &Wgpu, plan: &Plan, text: &str) -> Result<Self> {
        let name = plan.spec.to_string();
        let device = &backend.device;
        let bytes = 4 * plan.params.len() as u32;
        let immediate = device.features().contains(Features::IMMEDIATES)
            && bytes <= device.limits().max_immediate_size;
        let replaced = immediate.then(|| with_immediates(text, plan.bindings.len())).flatten();
        let immediates = replaced.is_some();
        check_bindings(&device.limits(), plan, immediates)?;
        let text = replaced.map_or(Cow::Borrowed(text), Cow::Owned);
        backend.guarded(&format!("compiling {name}"), || {
            let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(&name),
                source: wgpu::ShaderSource::Wgsl(text),
            });
            let storage = plan
                .bindings
                .iter()
                .map(|b| BufferBindingType::Storage { read_only: b.access == Access::Read });
            let uniform = (!immediates).then_some(BufferBindingType::Uniform);
            let entries = Vec::from_iter(storage.chain(uniform).zip(0..).map(|(ty, binding)| {
                BindGroupLayoutEntry {
                    binding,
                    visibility: ShaderStages::COMPUTE,
                    ty: BindingType::Buffer {
                        ty,
                        has_dynamic_offset: false,
                        min_binding_size: None,
                    },
                    count: None,
                }
            }));
            let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some(&name),
                entries: &entries,
            });
            let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(&name),
                bind_group_layouts: &[Some(&layout)],
                immediate_size: if immediates { bytes } else { 0 },
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
                cache: backend.pipelines.get().map(Pipelines::compiling),
            });
            Self { pipeline, layout, immediates }
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
        for (binding, operand) in plan.bindings.iter().zip(operands) {
            let owner = operand.as_ref().and_then(|slice| slice.buffer.owner);
            backend.owner.check(owner, || format!("{name}'s {}", binding.name))?;
        }
        backend.guarded(&format!("binding {name}"), || {
            let launches = plan.launches().into_iter();
            let dispatches =
                launches.map(|part| self.dispatch(backend, &name, plan, part, operands)).collect();
            WgpuStep { owner: backend.owner, pipeline: self.pipeline.clone(), dispatches }
        })
    }

    fn dispatch(
        &self,
        backend: &Wgpu,
        name: &str,
        plan: &Plan,
        part: Part,
        operands: &[Option<Slice<WgpuBuffer>>],
    ) -> Dispatch {
        let Part { grid, ranges, params } = part;
        let uniform = (!self.immediates).then(|| uniform(&backend.device, name, &params));
        let bound =
            plan.bindings.iter().zip(&ranges).zip(operands).map(|((binding, range), operand)| {
                match operand {
                    Some(slice) if !range.is_empty() => {
                        slice.buffer.part(slice.offset + range.start, range.end - range.start)
                    }
                    _ if binding.access == Access::Read => backend.absent_read.whole(),
                    _ => backend.absent_written.whole(),
                }
            });
        let words = uniform.iter().map(|buffer| buffer.as_entire_binding());
        let entries = Vec::from_iter(
            bound
                .chain(words)
                .zip(0..)
                .map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource }),
        );
        let group = backend.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(name),
            layout: &self.layout,
            entries: &entries,
        });
        Dispatch { group, grid, immediates: self.immediates.then_some(params) }
    }
}

/// What a bind group needs of the device besides the rules of plans, which wgpu would put in words of its own.
fn check_bindings(limits: &wgpu::Limits, plan: &Plan, immediates: bool) -> Result<()> {
    let uniforms = u64::from(!immediates);
    let bytes = uniforms * uniform_words(&plan.params) as u64 * 4;
    let bindings = plan.bindings.len() as u64 + uniforms;
    for (what, needs, has) in [
        ("bind groups", 1, limits.max_bind_groups.into()),
        ("bindings of a group", bindings, limits.max_bindings_per_bind_group.into()),
        ("uniform buffers", uniforms, limits.max_uniform_buffers_per_shader_stage.into()),
        ("bytes in a uniform binding", bytes, limits.max_uniform_buffer_binding_size),
    ] {
        if needs > has {
            let why = Unsupported::Limit { what, needs, has };
            return Err(Error::Unsupported { kernel: plan.spec.to_string(), why });
        }
    }
    Ok(())
}

/// The text with its parameters, binding number `binding`, as immediates; `None` if it declares none such.
fn with_immediates(text: &str, binding: usize) -> Option<String> {
    let uniform = format!("@group(0) @binding({binding}) var<uniform> params: Params;");
    let (before, after) = text.split_once(&uniform)?;
    Some(format!("{before}var<immediate> params: Params;{after}"))
}

/// Words of the uniform buffer: the parameters, padded to 16 bytes.
fn uniform_words(params: &[u32]) -> usize {
    params.len().next_multiple_of(4).max(4)
}

/// A uniform buffer of the parameters.
fn uniform(device: &wgpu::Device, label: &str, params: &[u32]) -> wgpu::Buffer {
    let mut words = params.to_vec();
    words.resize(uniform_words(params), 0);
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

//! Launches written down, for whoever has a WebGPU device and no Rust: a browser.
//!
//! [`Script`] is a backend that runs nothing: it keeps what would have been uploaded and launched on a device
//! of given abilities. [`Script::finish`] gives that as JSON and bytes, which `web/launch.js` replays; so the
//! browser computes no geometry. What changes between two replays lies in buffers that are given a name
//! ([`Script::name`]): written before, read after.
//!
//! ```
//! use quickpick::kernels::{DType, Problem, SwiGlu, WgpuCaps, select};
//! use quickpick::{Backend, Script};
//!
//! # fn main() -> quickpick::Result<()> {
//! let script = Script::new(WgpuCaps::webgpu());
//! let problem = Problem::SwiGlu(SwiGlu { n: 1, d: 64, out: DType::F16 });
//! let plan = select(&problem, script.caps())?.plan;
//! let (gate, up, y) = (script.buffer(256)?, script.buffer(256)?, script.buffer(128)?);
//! for (name, buffer) in [("gate", &gate), ("up", &up), ("y", &y)] {
//!     script.name(name, buffer)?;
//! }
//! let step = script.step(&plan, &[gate, up, y].map(|b| Some(b.into())))?;
//! script.run(&[step])?;
//! let written = script.finish();
//! assert_eq!(written.form.launches.len(), 1);
//! assert_eq!(written.form.shaders[0].name, "swiglu_f16_wgsl");
//! # Ok(())
//! # }
//! ```

mod form;
#[cfg(test)]
mod tests;

pub use form::{Form, Launch, Memory, Named, Needs, Shader, VERSION};

use crate::backend::{Backend, Slice};
use crate::check::{check_operands, check_plan, check_range};
use crate::error::{Error, Result};
use quickpick_kernels::{Access, Caps, KernelSpec, OCTET, Plan, Target, WgpuCaps};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A backend that writes launches down.
#[derive(Debug)]
pub struct Script {
    caps: Caps,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    buffers: Vec<Recorded>,
    steps: Vec<ScriptStep>,
    named: BTreeMap<String, ScriptBuffer>,
}

#[derive(Debug)]
struct Recorded {
    bytes: u64,
    /// What was written, in order: from where on, and the bytes.
    writes: Vec<(u64, Vec<u8>)>,
    /// A launch that is written down binds it.
    used: bool,
}

/// Memory of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptBuffer {
    number: usize,
    bytes: u64,
}

/// A plan bound to a script's buffers.
#[derive(Clone, Debug)]
pub struct ScriptStep {
    plan: Plan,
    operands: Vec<Option<Slice<ScriptBuffer>>>,
}

/// A finished script.
#[derive(Clone, Debug)]
pub struct Written {
    /// What is done.
    pub form: Form,
    /// The bytes that are written to buffers first.
    pub data: Vec<u8>,
    /// Text of each shader, in the order of the form's.
    pub texts: Vec<&'static str>,
}

impl Script {
    /// An empty script for a device of these abilities: [`WgpuCaps::webgpu`], say.
    pub fn new(caps: WgpuCaps) -> Self {
        Self { caps: Caps::Wgpu(caps), state: Mutex::default() }
    }

    /// Gives a buffer a name, by which it is written before a replay and read after.
    ///
    /// Errors: another buffer has the name.
    pub fn name(&self, name: &str, buffer: &ScriptBuffer) -> Result<()> {
        match self.state().named.insert(name.into(), buffer.clone()) {
            Some(other) if other != *buffer => {
                let what = format!("script: buffers of the name {name:?}");
                Err(Error::Argument { what, got: 2, expected: 1 })
            }
            _ => Ok(()),
        }
    }

    /// What was run so far, with the buffers that it or a name needs.
    pub fn finish(&self) -> Written {
        self.state().finish()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Script {
    type Buffer = ScriptBuffer;
    type Step = ScriptStep;

    fn name(&self) -> &'static str {
        "script"
    }

    fn describe(&self) -> String {
        "launches written down for WebGPU".into()
    }

    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn buffer(&self, bytes: u64) -> Result<ScriptBuffer> {
        let buffers = &mut self.state().buffers;
        buffers.push(Recorded { bytes: padded(bytes), writes: Vec::new(), used: false });
        Ok(ScriptBuffer { number: buffers.len() - 1, bytes })
    }

    fn len(&self, buffer: &ScriptBuffer) -> u64 {
        buffer.bytes
    }

    /// Errors also where a launch that was run binds the buffer: a script's writes all come first.
    fn write(&self, buffer: &ScriptBuffer, offset: u64, bytes: &[u8]) -> Result<()> {
        check_range("write", buffer.bytes, offset, bytes.len() as u64)?;
        let recorded = &mut self.state().buffers[buffer.number];
        if recorded.used {
            let what = "script: launches before a write to what they bind".into();
            return Err(Error::Argument { what, got: 1, expected: 0 });
        }
        recorded.writes.push((offset, bytes.to_vec()));
        Ok(())
    }

    /// There is nothing to read: always [`Error::Unavailable`].
    fn read(&self, _: &ScriptBuffer, _: u64, _: u64) -> Result<Vec<u8>> {
        let why = "launches are written down here, and run elsewhere; read there".into();
        Err(Error::Unavailable { backend: "script", why })
    }

    fn step(&self, plan: &Plan, operands: &[Option<Slice<ScriptBuffer>>]) -> Result<ScriptStep> {
        check_plan(plan, &self.caps)?;
        check_operands(plan, operands, |b| b.bytes, |b| b.number)?;
        text(plan.spec)?;
        Ok(ScriptStep { plan: plan.clone(), operands: operands.to_vec() })
    }

    fn run(&self, steps: &[ScriptStep]) -> Result<()> {
        let mut state = self.state();
        for step in steps {
            for slice in step.operands.iter().flatten() {
                state.buffers[slice.buffer.number].used = true;
            }
            state.steps.push(step.clone());
        }
        Ok(())
    }
}

impl State {
    fn finish(&self) -> Written {
        let mut written = Written {
            form: Form {
                version: VERSION,
                data: 0,
                needs: Needs::default(),
                shaders: Vec::new(),
                buffers: Vec::new(),
                launches: Vec::new(),
                named: BTreeMap::new(),
            },
            data: Vec::new(),
            texts: Vec::new(),
        };
        // the place of each buffer that is needed, by its number here
        let mut places = BTreeMap::new();
        for (name, buffer) in &self.named {
            let place = written.place(self, &mut places, buffer.number);
            let bytes = buffer.bytes.next_multiple_of(4);
            written.form.named.insert(name.clone(), Named { buffer: place, bytes });
        }
        for step in &self.steps {
            written.step(self, &mut places, step);
        }
        written.form.data = written.data.len() as u64;
        written
    }
}

impl Written {
    /// Writes `NAME.json` and `NAME.bin`, and the shaders' texts to `shaders/`, all below the folder.
    ///
    /// Errors: the system's.
    pub fn save(&self, folder: &Path, name: &str) -> Result<()> {
        let shaders = folder.join("shaders");
        std::fs::create_dir_all(&shaders).map_err(file(&shaders))?;
        let write = |path: &Path, bytes: &[u8]| std::fs::write(path, bytes).map_err(file(path));
        for (shader, text) in self.form.shaders.iter().zip(&self.texts) {
            write(&shaders.join(format!("{}.wgsl", shader.name)), text.as_bytes())?;
        }
        write(&folder.join(format!("{name}.bin")), &self.data)?;
        write(&folder.join(format!("{name}.json")), self.json()?.as_bytes())
    }

    /// The form as JSON.
    ///
    /// Errors: a bug of ours, for all that it holds JSON can say.
    pub fn json(&self) -> Result<String> {
        serde_json::to_string(&self.form).map_err(|why| Error::Bug(format!("a script: {why}")))
    }

    fn place(
        &mut self,
        state: &State,
        places: &mut BTreeMap<usize, usize>,
        number: usize,
    ) -> usize {
        *places.entry(number).or_insert_with(|| {
            let Recorded { bytes, writes, .. } = &state.buffers[number];
            let writes = writes.iter().map(|(to, bytes)| {
                let from = self.data.len() as u64;
                self.data.extend(bytes);
                [*to, from, bytes.len() as u64]
            });
            let writes = Vec::from_iter(writes);
            self.form.buffers.push(Memory { bytes: *bytes, writes });
            self.form.needs.limit("maxBufferSize", *bytes);
            self.form.buffers.len() - 1
        })
    }

    fn step(&mut self, state: &State, places: &mut BTreeMap<usize, usize>, step: &ScriptStep) {
        let ScriptStep { plan, operands } = step;
        let shader = self.shader(plan);
        for part in plan.launches() {
            let bindings = operands.iter().zip(&part.ranges).map(|(operand, range)| {
                let slice = operand.as_ref().filter(|_| !range.is_empty())?;
                let Slice { buffer, offset } = slice;
                let place = self.place(state, places, buffer.number);
                // whole vectors, as far as the buffer goes: a shader may declare `array<vec4<u32>>`
                let offset = offset + range.start;
                let size = padded(range.end - range.start)
                    .min(self.form.buffers[place].bytes.saturating_sub(offset));
                Some([place as u64, offset, size])
            });
            let bindings = Vec::from_iter(bindings);
            let mut params = part.params;
            params.resize(params.len().next_multiple_of(4).max(4), 0);
            let grid = part.grid;
            let sizes = bindings.iter().flatten().map(|[.., size]| *size);
            let needs = &mut self.form.needs;
            needs.limit("maxStorageBufferBindingSize", sizes.max().unwrap_or(0));
            let most = grid.into_iter().max().unwrap_or(0);
            needs.limit("maxComputeWorkgroupsPerDimension", most.into());
            needs.limit("maxUniformBufferBindingSize", 4 * params.len() as u64);
            self.form.launches.push(Launch { shader, bindings, params, grid });
        }
    }

    fn shader(&mut self, plan: &Plan) -> usize {
        let name = plan.spec.to_string();
        if let Some(known) = self.form.shaders.iter().position(|shader| shader.name == name) {
            return known;
        }
        let access = |access| match access {
            Access::Read => "read",
            Access::Write | Access::ReadWrite => "read_write",
        };
        let access = Vec::from_iter(plan.bindings.iter().map(|b| access(b.access)));
        let subgroups = plan.spec.target == Target::WgslSubgroups;
        let needs = &mut self.form.needs;
        needs.limit("maxComputeWorkgroupStorageSize", plan.shared_bytes.into());
        needs.limit("maxComputeInvocationsPerWorkgroup", plan.block.into());
        needs.limit("maxComputeWorkgroupSizeX", plan.block.into());
        needs.limit("maxStorageBuffersPerShaderStage", access.len() as u64);
        if subgroups {
            needs.feature("subgroups");
            needs.subgroup = OCTET;
        }
        if plan.spec.target == Target::WgslF16 {
            needs.feature("shader-f16");
        }
        self.form.shaders.push(Shader { name, subgroups, access });
        self.texts.push(text(plan.spec).unwrap_or_default()); // its step has asked
        self.form.shaders.len() - 1
    }
}

impl Needs {
    fn limit(&mut self, name: &'static str, least: u64) {
        let has = self.limits.entry(name).or_default();
        *has = least.max(*has);
    }

    fn feature(&mut self, name: &'static str) {
        if !self.features.contains(&name) {
            self.features.push(name);
        }
    }
}

/// The committed text. WebGPU has no cooperative matrices, nor would a browser's compiler know wgpu's.
fn text(spec: &KernelSpec) -> Result<&'static str> {
    match spec.text() {
        Some(text) if spec.target.cooperative().is_none() => Ok(text),
        _ => Err(Error::Bug(format!("{spec} has no text that a browser compiles"))),
    }
}

/// Whole vectors of 16 bytes, at least one.
fn padded(bytes: u64) -> u64 {
    bytes.max(1).next_multiple_of(16)
}

fn file(path: &Path) -> impl Fn(std::io::Error) -> Error {
    let path = path.to_path_buf();
    move |why| Error::File { path: path.clone(), why }
}

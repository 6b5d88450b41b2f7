//! A kernel's cases written down for a browser, which asks its device and judges the answers as [`check`] does:
//! `web/parity.js`. Its account of the form is the comment there.
//!
//! [`check`]: crate::check()

use crate::case::{Case, Expected};
use crate::check::{MARGIN, bind};
use crate::digest::Digest;
use crate::report::{Kind, Report};
use crate::scope::{Depth, Scope};
use quickpick::script::{Form, Written};
use quickpick::{Backend, Script};
use quickpick_kernels::{Caps, DType, KernelSpec, WgpuCaps};
use serde::Serialize;
use std::path::Path;

/// What `web/parity.js` reads first.
#[derive(Serialize)]
struct Index {
    version: String,
    kernels: Digest,
    depth: Depth,
    only: String,
    list: Vec<String>,
}

/// The cases of a kernel, and the bytes that they name.
#[derive(Clone, Debug, Serialize)]
pub struct Questions {
    kernel: String,
    margin: usize,
    cases: Vec<Asked>,
    /// A file beside: operands and what must come out.
    #[serde(skip)]
    pub data: Vec<u8>,
}

#[derive(Clone, Debug, Serialize)]
struct Asked {
    case: String,
    /// Why it cannot be asked; empty if it can.
    skipped: String,
    inputs: Vec<Input>,
}

#[derive(Clone, Debug, Serialize)]
struct Input {
    problem: String,
    script: Form,
    /// Where the script's bytes lie.
    data: [usize; 2],
    outputs: Vec<Output>,
}

#[derive(Clone, Debug, Serialize)]
struct Output {
    name: &'static str,
    dtype: String,
    /// Where, for each element, value and bound lie as f64: a bound of NaN for any NaN, of −1 for what nobody
    /// may touch. Or, where nothing but certain bytes will do, these.
    expected: [usize; 2],
    bytes: bool,
}

impl Questions {
    /// Writes a scope's questions for a browser to `FOLDER/parity`, and the shaders to `FOLDER/shaders`. `seen` is
    /// told each kernel.
    ///
    /// Errors: the system's, with the path.
    pub fn save(
        scope: &Scope,
        executor: &str,
        folder: &Path,
        seen: &mut dyn FnMut(&KernelSpec),
    ) -> Result<(), String> {
        let (parity, shaders) = (folder.join("parity"), folder.join("shaders"));
        let named = |path: &Path, why: std::io::Error| format!("{}: {why}", path.display());
        let write =
            |path: &Path, bytes: &[u8]| std::fs::write(path, bytes).map_err(|why| named(path, why));
        for made in [&parity, &shaders] {
            std::fs::create_dir_all(made).map_err(|why| named(made, why))?;
        }
        let mut list = Vec::new();
        for spec in Scope::kernels(Kind::Browser) {
            seen(spec);
            let questions = Self::of(scope, executor, spec)?;
            if questions.cases.is_empty() {
                continue;
            }
            let text = spec.text().unwrap_or_default();
            write(&shaders.join(format!("{spec}.wgsl")), text.as_bytes())?;
            write(&parity.join(format!("{spec}.json")), questions.to_json().as_bytes())?;
            write(&parity.join(format!("{spec}.bin")), &questions.data)?;
            list.push(questions.kernel);
        }
        let Report { version, kernels, depth, only, .. } = Report::of(scope, []);
        let index = Index { version, kernels, depth, only, list };
        let index = serde_json::to_string(&index).expect("an index is plain data");
        write(&parity.join("index.json"), index.as_bytes())
    }

    /// The cases of a shader in a scope, for any device of WebGPU: what it lacks, the browser finds.
    ///
    /// Errors: operands that do not fit their plan, a bug of ours.
    pub fn of(scope: &Scope, executor: &str, spec: &'static KernelSpec) -> Result<Self, String> {
        // every feature, so that the browser says which it lacks; limits are those of all devices
        let caps = WgpuCaps { f16: true, subgroup: 8, ..WgpuCaps::webgpu() };
        let mut questions =
            Self { kernel: spec.to_string(), margin: MARGIN, cases: Vec::new(), data: Vec::new() };
        for (case, makes) in scope.cases(executor, spec) {
            let mut asked = Asked { case, skipped: String::new(), inputs: Vec::new() };
            for make in makes {
                let case = make();
                match spec.plan(&case.problem, &Caps::Wgpu(caps.clone())) {
                    Ok(_) => asked.inputs.push(questions.input(&caps, spec, &case)?),
                    Err(why) => asked.skipped = why.to_string(),
                }
            }
            questions.cases.push(asked);
        }
        Ok(questions)
    }

    fn input(
        &mut self,
        caps: &WgpuCaps,
        spec: &'static KernelSpec,
        case: &Case,
    ) -> Result<Input, String> {
        let script = Script::new(caps.clone());
        let bound = bind(&script, spec, case)?;
        let outputs = bound.outputs.iter().map(|output| {
            script.name(output.name, &output.buffer).map_err(|e| e.to_string())?;
            let dtype = match output.dtype {
                DType::F16 => "f16",
                DType::BF16 => "bf16",
                DType::F32 => "f32",
                DType::I8 => "i8",
                other => return Err(format!("{}: outputs of {other:?}", case.problem)),
            };
            let bytes = output.dtype == DType::I8 && output.expected.iter().all(Expected::is_exact);
            let written = if bytes { as_bytes(output.expected) } else { as_pairs(output.expected) };
            let expected = self.put(&written);
            Ok(Output { name: output.name, dtype: dtype.into(), expected, bytes })
        });
        let outputs = outputs.collect::<Result<_, String>>()?;
        script.run(&[bound.step]).map_err(|e| e.to_string())?;
        let Written { form, data, .. } = script.finish();
        Ok(Input {
            problem: case.problem.to_string(),
            script: form,
            data: self.put(&data),
            outputs,
        })
    }

    /// Where these bytes lie, from a multiple of 8 on, as views of f64 must.
    fn put(&mut self, bytes: &[u8]) -> [usize; 2] {
        let at = self.data.len().next_multiple_of(8);
        self.data.resize(at, 0);
        self.data.extend(bytes);
        [at, bytes.len()]
    }

    /// The cases as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("questions are plain data")
    }
}

/// Values of I8; 16 times smaller than pairs.
fn as_bytes(expected: &[Expected]) -> Vec<u8> {
    let value = |e: &Expected| if let Expected::Near(value, _) = e { *value } else { 0.0 };
    expected.iter().map(|e| value(e) as i8 as u8).collect()
}

fn as_pairs(expected: &[Expected]) -> Vec<u8> {
    let pair = |e: &Expected| match e {
        Expected::Near(value, bound) => [*value, *bound],
        Expected::Nan => [0.0, f64::NAN],
        Expected::Untouched => [0.0, -1.0],
    };
    expected.iter().flat_map(pair).flat_map(f64::to_le_bytes).collect()
}

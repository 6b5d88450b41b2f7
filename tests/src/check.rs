//! The one check that judges every backend.

use crate::case::{Case, Expected, Operand, pack};
use crate::data::decode;
use quickpick::kernels::{DType, KernelSpec, Plan, bound::holds};
use quickpick::{Backend, Slice};

/// Poison before and after each operand, bytes. What surrounds is 0xFF: NaN in every float type.
const MARGIN: usize = 256;

/// A case bound to a backend's memory.
///
/// Operands lie inside larger buffers of poison, so that a read outside of them shows as NaN and a
/// write as a changed byte; outputs are poison before.
struct Bound<'c, B: Backend> {
    plan: Plan,
    step: B::Step,
    outputs: Vec<Output<'c, B>>,
}

struct Output<'c, B: Backend> {
    name: &'static str,
    dtype: DType,
    expected: &'c [Expected],
    buffer: B::Buffer,
    bytes: usize,
}

impl<B: Backend> Output<'_, B> {
    /// What the buffer holds, margins included.
    fn read(&self, backend: &B) -> Result<Vec<u8>, String> {
        let len = MARGIN + self.bytes.next_multiple_of(4) + MARGIN;
        backend.read(&self.buffer, 0, len as u64).map_err(|e| e.to_string())
    }
}

/// Runs a case with one kernel and compares every element with the oracle, within its bound.
///
/// The step runs twice: what it leaves behind (a workspace, say) must not matter. Returns the largest error as a
/// share of its bound.
pub fn check<B: Backend>(
    backend: &B,
    spec: &'static KernelSpec,
    case: &Case,
) -> Result<f64, String> {
    let Bound { plan, step, outputs } = bind(backend, spec, case)?;
    let mut largest = 0f64;
    for round in ["first", "second"] {
        backend.run(std::slice::from_ref(&step)).map_err(|e| e.to_string())?;
        for output in &outputs {
            let all = output.read(backend)?;
            let share = compare(&all[MARGIN..][..output.bytes], output.dtype, output.expected)
                .and_then(|share| untouched(&all, output.bytes).map(|()| share))
                .map_err(|e| format!("{plan}, {round} run, {}: {e}", output.name))?;
            largest = largest.max(share);
        }
    }
    Ok(largest)
}

/// The bytes of each output after one run, and of the poison around.
pub fn outputs<B: Backend>(
    backend: &B,
    spec: &'static KernelSpec,
    case: &Case,
) -> Result<Vec<Vec<u8>>, String> {
    let Bound { step, outputs, .. } = bind(backend, spec, case)?;
    backend.run(&[step]).map_err(|e| e.to_string())?;
    outputs.iter().map(|output| output.read(backend)).collect()
}

fn bind<'c, B: Backend>(
    backend: &B,
    spec: &'static KernelSpec,
    case: &'c Case,
) -> Result<Bound<'c, B>, String> {
    let plan = spec.plan(&case.problem, backend.caps()).map_err(|why| why.to_string())?;
    let upload = |bytes: &[u8]| -> Result<Slice<B::Buffer>, String> {
        let mut all = vec![0xFF; MARGIN + bytes.len().next_multiple_of(4) + MARGIN];
        all[MARGIN..][..bytes.len()].copy_from_slice(bytes);
        let buffer = backend.upload(&all).map_err(|e| e.to_string())?;
        Ok(Slice { buffer, offset: MARGIN as u64 })
    };
    let mut operands = Vec::new();
    let mut outputs = Vec::new();
    for binding in &plan.bindings {
        let named = |wanted: &str| case.operands.iter().find(|(name, _)| *name == wanted);
        let operand = named(binding.name).or_else(|| match binding.name {
            // a part of the 2:4 weight
            "metadata" => named("values"),
            _ => None,
        });
        operands.push(match operand {
            None if binding.name == "workspace" && binding.is_present() => {
                // zeroed once, as its contract says
                let buffer = backend.buffer(binding.bytes).map_err(|e| e.to_string())?;
                Some(Slice::from(buffer))
            }
            None => None,
            Some((_, Operand::Input(bytes))) => Some(upload(bytes)?),
            Some((_, Operand::Sparse(w, rows, cols))) => {
                let order = spec.order().ok_or("no order")?;
                let (values, metadata) = pack(w, *rows, *cols, order);
                Some(upload(if binding.name == "values" { &values } else { &metadata })?)
            }
            Some((_, Operand::Output(dtype, expected))) => {
                let bytes = expected.len() * dtype.bytes();
                let slice = upload(&vec![0xFF; bytes])?;
                let (name, buffer) = (binding.name, slice.buffer.clone());
                outputs.push(Output { name, dtype: *dtype, expected, buffer, bytes });
                Some(slice)
            }
        });
    }
    let step = backend.step(&plan, &operands).map_err(|e| e.to_string())?;
    Ok(Bound { plan, step, outputs })
}

/// Compares the elements of an output with what must be in them; the largest error as a share of its
/// bound.
pub fn compare(cells: &[u8], dtype: DType, expected: &[Expected]) -> Result<f64, String> {
    let mut wrong = Vec::new();
    let mut largest = 0f64;
    for (i, (cell, expected)) in cells.chunks(dtype.bytes()).zip(expected).enumerate() {
        let got = decode(dtype, cell);
        let good = match expected {
            Expected::Near(want, bound) => holds(dtype, got, *want, *bound),
            Expected::Nan => got.is_nan(),
            Expected::Untouched => cell.iter().all(|b| *b == 0xFF),
        };
        if !good {
            wrong.push((i, got, expected));
        }
        if let Expected::Near(want, bound) = expected
            && *bound > 0.0
            && got.is_finite()
        {
            largest = largest.max((got - want).abs() / bound);
        }
    }
    if let Some((i, got, expected)) = wrong.first() {
        let (count, all) = (wrong.len(), cells.len() / dtype.bytes());
        let last = wrong.last().map_or(0, |w| w.0);
        return Err(format!(
            "element {i} is {got}, not {expected:?}; {count} of {all} are wrong, the last is {last}",
        ));
    }
    Ok(largest)
}

/// What lies around an operand's `bytes` is still poison.
fn untouched(all: &[u8], bytes: usize) -> Result<(), String> {
    let outside = (0..MARGIN).chain(MARGIN + bytes..all.len()).find(|&i| all[i] != 0xFF);
    match outside {
        Some(i) => Err(format!("wrote at byte {} of {bytes}", i as i64 - MARGIN as i64)),
        None => Ok(()),
    }
}

//! The one check that judges every backend.

use crate::case::{Case, Expected, Operand, pack};
use crate::data::decode;
use crate::digest::Digest;
use quickpick::kernels::{DType, KernelSpec, Plan, bound::holds};
use quickpick::{Backend, Slice};

/// Poison before and after each operand, bytes. What surrounds is 0xFF: NaN in every float type.
pub(crate) const MARGIN: usize = 256;

/// A case bound to a backend's memory.
///
/// Operands lie inside larger buffers of poison, so that a read outside of them shows as NaN and a
/// write as a changed byte; outputs are poison before.
pub(crate) struct Bound<'c, B: Backend> {
    plan: Plan,
    pub(crate) step: B::Step,
    pub(crate) outputs: Vec<Output<'c, B>>,
}

pub(crate) struct Output<'c, B: Backend> {
    pub(crate) name: &'static str,
    pub(crate) dtype: DType,
    pub(crate) expected: &'c [Expected],
    pub(crate) buffer: B::Buffer,
    bytes: usize,
}

impl<B: Backend> Output<'_, B> {
    /// What the buffer holds, margins included.
    fn read(&self, backend: &B) -> Result<Vec<u8>, String> {
        let len = MARGIN + self.bytes.next_multiple_of(4) + MARGIN;
        backend.read(&self.buffer, 0, len as u64).map_err(|e| e.to_string())
    }
}

/// How a kernel agrees with the oracle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// The largest error as a share of its bound, 0 to 1.
    pub largest: f64,
    /// No element has a bound other than 0: whatever passes has these bits.
    pub exact: bool,
    /// A digest of the outputs' bits.
    pub bits: Digest,
}

impl Agreement {
    /// Before anything was compared.
    pub const NOTHING: Self = Self { largest: 0.0, exact: true, bits: Digest::NOTHING };

    /// This and what was found after it.
    pub fn and(self, next: Self) -> Self {
        Self {
            largest: self.largest.max(next.largest),
            exact: self.exact && next.exact,
            bits: self.bits.and(&next.bits.0.to_le_bytes()),
        }
    }
}

/// Runs a case with one kernel and compares every element with the oracle, within its bound.
///
/// The step runs twice: what it leaves behind (a workspace, say) must not matter, and both runs must give the
/// same bits.
pub fn check<B: Backend>(
    backend: &B,
    spec: &'static KernelSpec,
    case: &Case,
) -> Result<Agreement, String> {
    let Bound { plan, step, outputs } = bind(backend, spec, case)?;
    let run = |round| {
        backend.run(std::slice::from_ref(&step)).map_err(|e| e.to_string())?;
        outputs.iter().try_fold(Agreement::NOTHING, |before, output| {
            let all = output.read(backend)?;
            compare(&all[MARGIN..][..output.bytes], output.dtype, output.expected)
                .and_then(|found| untouched(&all, output.bytes).map(|()| before.and(found)))
                .map_err(|e| format!("{plan}, {round} run, {}: {e}", output.name))
        })
    };
    let (first, second) = (run("first")?, run("second")?);
    match first.bits == second.bits {
        true => Ok(first),
        false => Err(format!("{plan}: a second run gives other bits")),
    }
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

pub(crate) fn bind<'c, B: Backend>(
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

/// Compares the elements of an output with what must be in them.
pub fn compare(cells: &[u8], dtype: DType, expected: &[Expected]) -> Result<Agreement, String> {
    let mut wrong = Vec::new();
    let (mut largest, mut exact) = (0f64, true);
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
        match expected {
            Expected::Near(want, bound) if *bound > 0.0 => {
                exact = false;
                // an infinity that `holds` has passed is no number to measure
                if got.is_finite() {
                    largest = largest.max((got - want).abs() / bound);
                }
            }
            // any NaN will do
            Expected::Nan => exact = false,
            Expected::Near(..) | Expected::Untouched => {}
        }
    }
    if let Some((i, got, expected)) = wrong.first() {
        let (count, all) = (wrong.len(), cells.len() / dtype.bytes());
        let last = wrong.last().map_or(0, |w| w.0);
        return Err(format!(
            "element {i} is {got}, not {expected:?}; {count} of {all} are wrong, the last is {last}",
        ));
    }
    Ok(Agreement { largest, exact, bits: Digest::NOTHING.and(cells) })
}

/// What lies around an operand's `bytes` is still poison.
fn untouched(all: &[u8], bytes: usize) -> Result<(), String> {
    let outside = (0..MARGIN).chain(MARGIN + bytes..all.len()).find(|&i| all[i] != 0xFF);
    match outside {
        Some(i) => Err(format!("wrote at byte {} of {bytes}", i as i64 - MARGIN as i64)),
        None => Ok(()),
    }
}

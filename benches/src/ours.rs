//! Our own kernels as contenders: uploaded once per layer, checked against the f64 oracle, timed.

use crate::clock::Timed;
use crate::contender::{About, Contender, Method};
use crate::error::{Error, Result};
use crate::oracle::Oracle;
use crate::weights::{Weight, activations};
use quickpick::Slice;
use quickpick::format::Order;
use quickpick::kernels::{DType, Linear, Plan, Problem, Weights};
use quickpick_tests::data::decode;

/// An output up to this size is poisoned before, and read back whole.
const WHOLE: u64 = 64 << 20;

/// A layer's operands on a device, shared by all its contenders: the weight in each order that was asked
/// for, copied until a rotation outgrows caches; the activations of the last number of tokens.
pub struct Uploaded<'a, B: Timed> {
    backend: &'a B,
    weight: &'a dyn Weight,
    method: Method,
    orders: Vec<(Option<Order>, Vec<Copy<B>>)>,
    inputs: Option<Inputs<B>>,
}

/// X, as often as a rotation wants it, and what must come out.
struct Inputs<B: Timed> {
    n: u32,
    bytes: Vec<u8>,
    copies: Vec<B::Buffer>,
    oracle: Oracle,
}

/// Values, and metadata unless dense.
type Copy<B> = (<B as quickpick::Backend>::Buffer, Option<<B as quickpick::Backend>::Buffer>);

impl<'a, B: Timed> Uploaded<'a, B> {
    /// Nothing is uploaded before it is needed.
    pub fn new(backend: &'a B, weight: &'a dyn Weight, method: Method) -> Self {
        Self { backend, weight, method, orders: vec![], inputs: None }
    }

    /// The weight's copies in an order; clones share memory.
    fn weights(&mut self, order: Option<Order>) -> Result<Vec<Copy<B>>> {
        if let Some((_, copies)) = self.orders.iter().find(|(have, _)| *have == order) {
            return Ok(copies.clone());
        }
        let (values, metadata) = match order {
            None => (self.weight.dense(), None),
            Some(order) => {
                let [values, metadata] = self.weight.packed(order)?;
                (values, Some(metadata))
            }
        };
        let bytes = values.len() + metadata.as_ref().map_or(0, Vec::len);
        let mut copies = Vec::new();
        for _ in 0..self.method.copies(bytes as u64) {
            let metadata = metadata.as_ref().map(|bytes| self.backend.upload(bytes));
            copies.push((self.backend.upload(&values)?, metadata.transpose()?));
        }
        self.orders.push((order, copies.clone()));
        Ok(copies)
    }

    /// X at least `count` times.
    fn inputs(&mut self, p: &Linear, count: usize) -> Result<&Inputs<B>> {
        let (backend, weight) = (self.backend, self.weight);
        let kept = self.inputs.take().filter(|inputs| inputs.n == p.n);
        let mut inputs = kept.unwrap_or_else(|| {
            let bytes = activations(p.dtype, p.n, p.k, 2);
            let oracle = Oracle::new(p, weight, &bytes);
            Inputs { n: p.n, bytes, copies: vec![], oracle }
        });
        while inputs.copies.len() < count {
            inputs.copies.push(backend.upload(&inputs.bytes)?);
        }
        Ok(self.inputs.insert(inputs))
    }
}

/// A plan, bound to its operands and checked.
pub struct Ours<'a, B: Timed> {
    backend: &'a B,
    clock: B::Clock,
    about: About,
}

impl<'a, B: Timed> Ours<'a, B> {
    /// Binds a plan of a linear layer without epilogue, compares a sample of its answer with the
    /// oracle, and warms it up.
    ///
    /// Errors: [`Error::Wrong`] where an element is outside its derived bound, or was not written.
    pub fn new(uploaded: &mut Uploaded<'a, B>, plan: &Plan) -> Result<Self> {
        let (backend, method) = (uploaded.backend, uploaded.method);
        let Problem::Linear(p) = plan.problem else {
            return Err(Error::Wrong(format!("{plan} is no linear layer")));
        };
        let weights = uploaded.weights(plan.spec.order())?;
        let bytes = |name: &str| -> u64 {
            plan.bindings.iter().filter(|b| b.name == name).map(|b| b.bytes).sum()
        };
        let read = bytes("values") + bytes("metadata") + bytes("x");
        let count = method.copies(read).min(weights.len());
        let inputs = uploaded.inputs(&p, count)?;
        let y_bytes = bytes("y");
        let y = match y_bytes <= WHOLE {
            true => backend.upload(&vec![0xFF; y_bytes as usize])?,
            false => backend.buffer(y_bytes)?,
        };
        let workspace = match plan.workspace_bytes() {
            0 => None,
            bytes => Some(backend.buffer(bytes)?),
        };
        let mut steps = Vec::new();
        for ((values, metadata), x) in weights.iter().zip(&inputs.copies).take(count) {
            let operands = plan.bindings.iter().map(|binding| match binding.name {
                "values" => Some(Slice::from(values.clone())),
                "metadata" => metadata.clone().map(Slice::from),
                "x" => Some(x.clone().into()),
                "y" => Some(y.clone().into()),
                "workspace" => workspace.clone().map(Slice::from),
                _ => None,
            });
            steps.push(backend.step(plan, &Vec::from_iter(operands))?);
        }
        let mut error = 0f64;
        for i in [0, count - 1] {
            backend.run(&steps[i..=i])?;
            error = error.max(check(backend, &p, &inputs.oracle, &y, y_bytes)?);
        }
        let clock = backend.clock(steps, &y, method.sample)?;
        let about = About {
            rival: match p.weights {
                Weights::Sparse24 => "2:4".into(),
                Weights::Dense => "dense".into(),
            },
            kernel: plan.spec.to_string(),
            copies: count as u32,
            launches: B::launches(&clock),
            error,
            note: String::new(),
        };
        Ok(Self { backend, clock, about })
    }

    /// As another rival.
    pub fn named(mut self, rival: &str) -> Self {
        self.about.rival = rival.into();
        self
    }
}

impl<B: Timed> Contender for Ours<'_, B> {
    fn about(&self) -> &About {
        &self.about
    }

    fn sample(&mut self) -> Result<f64> {
        self.backend.sample(&self.clock)
    }
}

/// Compares a sample of Y with the oracle, and a whole Y that is not too large with poison. Returns
/// the largest share of the bound.
fn check<B: Timed>(
    backend: &B,
    p: &Linear,
    oracle: &Oracle,
    y: &B::Buffer,
    y_bytes: u64,
) -> Result<f64> {
    let out = p.out.bytes();
    let row_bytes = u64::from(p.m) * out as u64;
    let share = oracle.share(|token| {
        // reads are of whole words
        let from = u64::from(token) * row_bytes;
        let start = from / 4 * 4;
        let bytes = backend.read(y, start, (from + row_bytes).next_multiple_of(4) - start)?;
        let cells = bytes[(from - start) as usize..].chunks_exact(out).take(p.m as usize);
        Ok(cells.map(|cell| decode(p.out, cell)).collect())
    })?;
    if !share.is_right(p.out) {
        return Err(Error::Wrong(share.to_string()));
    }
    if y_bytes <= WHOLE {
        let all = backend.read(y, 0, y_bytes.next_multiple_of(4))?;
        let mut cells = all[..y_bytes as usize].chunks_exact(out).map(|cell| decode(p.out, cell));
        if let Some(i) = cells.position(|got| !got.is_finite()) {
            let of = y_bytes / out as u64;
            return Err(Error::Wrong(format!("element {i} of {of} is not finite: never written?")));
        }
    }
    Ok(share.largest)
}

/// Y of the narrower type that it may have, so that what is written is what an engine would read.
pub fn problem(weights: Weights, dtype: DType, m: u32, n: u32, k: u32) -> Problem {
    let (out, epilogue) = (Linear::narrow_out(dtype), quickpick::kernels::Epilogue::NONE);
    Problem::Linear(Linear { m, n, k, weights, dtype, out, epilogue })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::random;
    use quickpick::kernels::select;
    use quickpick::{Backend, Cpu};
    use std::time::Duration;

    const METHOD: Method =
        Method { rounds: 1, sample: Duration::from_micros(50), rotate_bytes: 100_000 };

    fn plan(cpu: &Cpu, weights: Weights) -> Plan {
        select(&problem(weights, DType::F16, 129, 19, 160), cpu.caps()).unwrap().plan
    }

    #[test]
    fn both_twins_are_checked_and_timed() {
        let cpu = Cpu::new();
        let weight = random(DType::F16, 129, 160, 1).unwrap();
        let mut uploaded = Uploaded::new(&cpu, &*weight, METHOD);
        for (weights, rival) in [(Weights::Sparse24, "2:4"), (Weights::Dense, "dense")] {
            let mut ours = Ours::new(&mut uploaded, &plan(&cpu, weights)).unwrap();
            let about = ours.about();
            assert_eq!(about.rival, rival);
            assert!(about.copies > 1 && about.launches > 0, "{about:?}");
            assert!(about.error > 0.0 && about.error <= 1.0, "{about:?}");
            assert!(ours.sample().unwrap() > 0.0);
        }
    }

    #[test]
    fn poison_and_another_weights_answer_are_wrong() {
        let cpu = Cpu::new();
        let plan = plan(&cpu, Weights::Sparse24);
        let p = linear(&plan);
        let [mine, other] = [1, 9].map(|seed| random(DType::F16, 129, 160, seed).unwrap());
        let x = activations(DType::F16, 19, 160, 2);
        let [mine_oracle, other_oracle] = [&mine, &other].map(|w| Oracle::new(&p, &**w, &x));
        let bytes = 129 * 19 * 2;
        let y = cpu.upload(&vec![0xFF; bytes as usize]).unwrap();
        let poison = check(&cpu, &p, &mine_oracle, &y, bytes).unwrap_err();
        assert!(poison.to_string().contains("NaN"), "{poison}");
        let mut uploaded = Uploaded::new(&cpu, &*other, METHOD);
        let (values, metadata) = uploaded.weights(plan.spec.order()).unwrap().remove(0);
        let operands = plan.bindings.iter().map(|binding| match binding.name {
            "values" => Some(values.clone().into()),
            "metadata" => metadata.clone().map(Slice::from),
            "x" => Some(cpu.upload(&x).unwrap().into()),
            "y" => Some(y.clone().into()),
            _ => None,
        });
        let step = cpu.step(&plan, &Vec::from_iter(operands)).unwrap();
        cpu.run(&[step]).unwrap();
        assert!(check(&cpu, &p, &other_oracle, &y, bytes).is_ok());
        assert!(check(&cpu, &p, &mine_oracle, &y, bytes).is_err());
    }

    fn linear(plan: &Plan) -> Linear {
        let Problem::Linear(p) = plan.problem else { panic!("{plan}") };
        p
    }
}

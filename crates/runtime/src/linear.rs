//! Linear layers: a weight, its copies on a device, and the steps that use it.

use crate::backend::{Backend, Slice};
use crate::error::{Error, Result};
use crate::weight::Weight;
use quickpick_format::{Csr, DType, Element, GATE_ROWS, Matrix24, Order};
use quickpick_kernels::{
    Activation, Epilogue, Linear, Packing, Plan, Problem, Quantize, Selection, SpmmCsr, Weights,
    select,
};

/// A sparse residual in device memory, as kernels read it.
struct Residual<B: Backend> {
    rows: B::Buffer,
    entries: B::Buffer,
    nnz: u32,
}

impl<B: Backend> Residual<B> {
    fn upload<T: Element>(backend: &B, residual: &Csr<T>) -> Result<Self> {
        let entries = residual.pack()?;
        Ok(Self {
            rows: backend.upload(bytemuck::cast_slice(residual.pointers()))?,
            entries: backend.upload(bytemuck::cast_slice(&entries))?,
            nnz: dimension("entries", entries.len())?,
        })
    }
}

/// A linear layer `Y = act(scale·(X·Wᵀ) + bias) + residual` on a device, for any number of tokens.
/// scale is 1, or w_scale of the feature × x_scale of the token ([`with_scales`](Self::with_scales)).
///
/// [`select`](Self::select) chooses a kernel for a number of tokens and says why;
/// [`step`](Self::step) binds it. Kernels differ in the order in which they read a 2:4 weight: on
/// CUDA, the one for few tokens and those for many do. The layer uploads a copy for each order, when
/// that is first bound, from the matrix that it keeps on the host for that;
/// [`release_host`](Self::release_host) drops the matrix once every step is made. So memory is the
/// packed weight once per order in use (wgpu and CPU: one; CUDA: up to two), and once on the host
/// until released. A dense weight is uploaded once, and not kept.
///
/// A [`recovered`](Self::recovered) layer takes two launches, which [`launches`](Self::launches) selects.
pub struct LinearLayer<B: Backend> {
    m: u32,
    k: u32,
    dtype: DType,
    weights: Weights,
    copies: Vec<(Option<Order>, Weight<B>)>,
    /// Makes another copy; owns the matrix.
    pack: Option<Box<dyn Fn(&B, Order) -> Result<Weight<B>> + Send + Sync>>,
    recovered: Option<Residual<B>>,
    bias: Option<B::Buffer>,
    w_scale: Option<B::Buffer>,
    transposed: bool,
    gated: bool,
}

/// What the steps of a linear layer read and write, besides weight, its scales and bias.
#[derive(Clone, Debug)]
pub struct Operands<T> {
    /// `n × k` of the weight's type, k padded to 32 ([`pad_columns`]).
    pub x: Slice<T>,
    /// n numbers, f32, where the layer scales ([`LinearLayer::with_scales`]).
    pub x_scale: Option<Slice<T>>,
    /// As y, of Y's type, where the epilogue adds it.
    pub residual: Option<Slice<T>>,
    /// `n × m` (transposed: `m × n`), of a gated layer `n × m/2` (`m/2 × n`).
    pub y: Slice<T>,
    /// [`Plan::workspace_bytes`], zeroed once; `None` if that is 0.
    pub workspace: Option<Slice<T>>,
    /// What the first step of a recovered layer writes and its second adds,
    /// [`LinearLayer::sum_bytes`]; `None` if that is 0. Layers whose steps run in turn may share it.
    pub sum: Option<Slice<T>>,
}

impl<B: Backend> LinearLayer<B> {
    /// A layer with a 2:4 weight, and a bias of m numbers if it has one. Uploads the bias; the
    /// weight goes up with the first step.
    ///
    /// Errors: [`Error::Argument`] for a bias of another length, or a shape past 32 bits.
    pub fn sparse<T: Element>(
        backend: &B,
        weight: Matrix24<T>,
        bias: Option<&[f32]>,
    ) -> Result<Self> {
        let (m, k) = (dimension("m", weight.rows())?, dimension("k", weight.k())?);
        let pack = move |backend: &B, order| Weight::sparse(backend, &weight, order);
        Self::packing(backend, (m, k, T::DTYPE), bias, pack)
    }

    /// A layer with a 2:4 weight that is pruned and packed on the device, in each order when a step first
    /// reads it, from a dense one that lies there: `m × cols` row-major of f16 or bf16, cols a multiple
    /// of 4 ([`Weight::packed`]). The layer keeps a clone of that buffer until
    /// [`release_host`](Self::release_host).
    ///
    /// Errors: [`Error::Argument`] for a bias of another length. What is wrong with the weight, the
    /// first [`step`](Self::step) says.
    pub fn packed(
        backend: &B,
        dense: impl Into<Slice<B::Buffer>>,
        [m, cols]: [u32; 2],
        dtype: DType,
        bias: Option<&[f32]>,
    ) -> Result<Self>
    where
        B::Buffer: Send + Sync + 'static,
    {
        let dense = dense.into();
        let k = dimension("k", (cols as usize).next_multiple_of(32))?;
        let pack = move |backend: &B, order| {
            Weight::packed(backend, dense.clone(), Packing { m, k: cols, dtype, order })
        };
        Self::packing(backend, (m, k, dtype), bias, pack)
    }

    /// A layer with a 2:4 weight that `pack` brings to the device.
    fn packing(
        backend: &B,
        (m, k, dtype): (u32, u32, DType),
        bias: Option<&[f32]>,
        pack: impl Fn(&B, Order) -> Result<Weight<B>> + Send + Sync + 'static,
    ) -> Result<Self> {
        Ok(Self {
            m,
            k,
            dtype,
            weights: Weights::Sparse24,
            copies: vec![],
            pack: Some(Box::new(pack)),
            recovered: None,
            bias: bias.map(|bias| upload(backend, "the bias", m, bias)).transpose()?,
            w_scale: None,
            transposed: false,
            gated: false,
        })
    }

    /// A layer with a 2:4 weight and what was recovered of the weights that 2:4 drops (Weight-Recover-
    /// Prune, ACL 2024, long.347): `Y = X·(W + R)ᵀ + bias + residual`, of two launches. Uploads R, once,
    /// and the bias; the weight goes up with its step.
    ///
    /// R is multiplied first, and the 2:4 launch adds the result as its residual: after the activation,
    /// and in Y's type. So [`launches`](Self::launches) refuses an activation, and a Y that is not f32;
    /// nor can such a layer scale or be transposed. CUDA has no kernel for R yet.
    ///
    /// Errors: [`Error::Argument`] for a residual of another shape, or as [`sparse`](Self::sparse);
    /// [`Error::Format`] for a type that is not of 16 bits, or more than 65536 columns; the device's.
    pub fn recovered<T: Element>(
        backend: &B,
        weight: Matrix24<T>,
        residual: &Csr<T>,
        bias: Option<&[f32]>,
    ) -> Result<Self> {
        for (dim, got, expected) in
            [("rows", residual.rows(), weight.rows()), ("columns", residual.cols(), weight.cols())]
        {
            if got != expected {
                let what = format!("{dim} of a residual for this weight");
                return Err(Error::Argument { what, got: got as u64, expected: expected as u64 });
            }
        }
        let recovered = Some(Residual::upload(backend, residual)?);
        Ok(Self { recovered, ..Self::sparse(backend, weight, bias)? })
    }

    /// A layer with a dense weight, `m × cols` row-major, and a bias of m numbers if it has one.
    /// Uploads both.
    ///
    /// Errors: [`Error::Argument`] for rows that are not whole, a bias of another length, or a shape
    /// past 32 bits.
    pub fn dense<T: Element>(
        backend: &B,
        weight: &[T],
        cols: usize,
        bias: Option<&[f32]>,
    ) -> Result<Self> {
        let copy = Weight::dense(backend, weight, cols)?;
        let m = dimension("m", weight.len().checked_div(cols).unwrap_or(0))?;
        let k = dimension("k", cols.next_multiple_of(32))?;
        let bias = bias.map(|bias| upload(backend, "the bias", m, bias)).transpose()?;
        let (dtype, weights, copies) = (T::DTYPE, Weights::Dense, vec![(None, copy)]);
        Ok(Self {
            m,
            k,
            dtype,
            weights,
            copies,
            pack: None,
            recovered: None,
            bias,
            w_scale: None,
            transposed: false,
            gated: false,
        })
    }

    /// The layer with scales, as a quantised weight has them: its product is multiplied by
    /// `w_scale[m]·x_scale[n]` before the bias. `w_scale` are m numbers, and go up here; those of X
    /// come with each step ([`Operands::x_scale`]). Not every kernel scales: see what
    /// [`select`](Self::select) says.
    ///
    /// Errors: [`Error::Argument`] for scales of another number, or for a recovered layer; the device's.
    pub fn with_scales(self, backend: &B, w_scale: &[f32]) -> Result<Self> {
        if self.recovered.is_some() {
            let (what, got) = ("scales of a recovered layer".into(), w_scale.len() as u64);
            return Err(Error::Argument { what, got, expected: 0 });
        }
        let w_scale = Some(upload(backend, "w_scale", self.m, w_scale)?);
        Ok(Self { w_scale, ..self })
    }

    /// The layer with Y and residual as features × tokens, `m × n` row-major. Not every kernel can.
    pub fn transposed(self) -> Self {
        Self { transposed: true, ..self }
    }

    /// The layer as gate and up of a feed-forward in one launch: `Y = act(gate)·up + residual`, of m/2 features, with
    /// SiLU SwiGLU. The weight's rows are those of both by turns of eight, of 2:4 as
    /// [`Matrix24::gate_up`] has them, else as [`interleave_gate_up`](quickpick_format::interleave_gate_up) does; so are
    /// bias and scales. Not every kernel can: wgmma's and WGSL's cannot.
    ///
    /// Errors: [`Error::Argument`] for rows that are no multiple of 16, or a recovered layer.
    pub fn gated(self) -> Result<Self> {
        let rest = u64::from(self.m) % (2 * GATE_ROWS as u64);
        let rules = [
            ("rows of a gated weight past the last multiple of 16", rest),
            ("residual matrices of a gated layer", self.recovered.is_some().into()),
        ];
        for (rule, got) in rules {
            if got != 0 {
                return Err(Error::Argument { what: rule.into(), got, expected: 0 });
            }
        }
        Ok(Self { gated: true, ..self })
    }

    /// Rows of the weight: output features, or twice as many of a [`gated`](Self::gated) layer.
    pub fn m(&self) -> u32 {
        self.m
    }

    /// Input features, padded to a multiple of 32: the columns of X.
    pub fn k(&self) -> u32 {
        self.k
    }

    /// What is asked for `n` tokens, with Y of type `out`. Scales and bias are in it, if the layer has
    /// them. Of a recovered layer it is what the second launch is asked, which has a residual always.
    pub fn problem(&self, n: u32, out: DType, activation: Activation, residual: bool) -> Problem {
        let Self { m, k, dtype, weights, .. } = *self;
        let (scales, bias) = (self.w_scale.is_some(), self.bias.is_some());
        let residual = residual || self.recovered.is_some();
        let (transposed, gated) = (self.transposed, self.gated);
        let epilogue = Epilogue { scales, bias, activation, residual, transposed, gated };
        Problem::Linear(Linear { m, n, k, weights, dtype, out, epilogue })
    }

    /// What makes the X of `n` tokens and its scales from activations of type `from`, for a layer of an 8-bit
    /// weight that scales ([`with_scales`](Self::with_scales)): its q and scale are
    /// [`Operands::x`] and [`Operands::x_scale`].
    ///
    /// ```
    /// use quickpick::kernels::{Activation, DType, select};
    /// use quickpick::{Backend, Cpu, LinearLayer, Operands};
    ///
    /// # fn main() -> quickpick::Result<()> {
    /// let cpu = Cpu::new();
    /// let (n, m, k) = (2, 8, 32);
    /// let weight = vec![2i8; m * k];
    /// let layer = LinearLayer::dense(&cpu, &weight, k, None)?;
    /// let mut layer = layer.with_scales(&cpu, &vec![0.5; m])?;
    ///
    /// // one row of ones and one of threes
    /// let x = cpu.upload(bytemuck::cast_slice(&[[1f32; 32], [3f32; 32]]))?;
    /// let (q, scale) = (cpu.buffer((n * k) as u64)?, cpu.buffer(4 * n as u64)?);
    /// let quantize = select(&layer.quantize(n as u32, DType::F32), cpu.caps())?.plan;
    /// let operands = [Some(x.into()), Some(q.clone().into()), Some(scale.clone().into())];
    /// let first = cpu.step(&quantize, &operands)?;
    ///
    /// let y = cpu.buffer((4 * n * m) as u64)?;
    /// let plan = layer.select(&cpu, n as u32, DType::F32, Activation::None, false)?.plan;
    /// let (x, x_scale, y_slice) = (q.into(), Some(scale.into()), y.clone().into());
    /// let (residual, workspace, sum) = (None, None, None);
    /// let operands = Operands { x, x_scale, residual, y: y_slice, workspace, sum };
    /// let second = layer.step(&cpu, &plan, &operands)?;
    ///
    /// cpu.run(&[first, second])?;
    /// let y: Vec<f32> = bytemuck::pod_collect_to_vec(&cpu.read(&y, 0, (4 * n * m) as u64)?);
    /// assert!((y[0] - 32.0).abs() < 1e-4 && (y[m] - 96.0).abs() < 1e-4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn quantize(&self, n: u32, from: DType) -> Problem {
        Problem::Quantize(Quantize { n, d: self.k, dtype: from, out: self.dtype })
    }

    /// Chooses the kernel for `n` tokens; the selection prints its reasons, and its plan says how
    /// much workspace [`step`](Self::step) wants.
    ///
    /// Errors: [`Error::NoKernel`], with each kernel's reason; [`Error::Argument`] for a recovered layer,
    /// which takes more than one launch.
    pub fn select(
        &self,
        backend: &B,
        n: u32,
        out: DType,
        activation: Activation,
        residual: bool,
    ) -> Result<Selection> {
        if self.recovered.is_some() {
            let what = "launches selected for a recovered layer".into();
            return Err(Error::Argument { what, got: 1, expected: 2 });
        }
        let problem = self.problem(n, out, activation, residual);
        Ok(select(&problem, backend.caps())?)
    }

    /// Chooses the kernels of every launch for `n` tokens, in the order in which they run: one, or two
    /// of a recovered layer. [`step`](Self::step) binds each of their plans, all to the same operands.
    ///
    /// Errors: [`Error::NoKernel`], with each kernel's reason; [`Error::Argument`] for what a recovered
    /// layer cannot do.
    pub fn launches(
        &self,
        backend: &B,
        n: u32,
        out: DType,
        activation: Activation,
        residual: bool,
    ) -> Result<Vec<Selection>> {
        let Some(recovered) = &self.recovered else {
            return Ok(vec![self.select(backend, n, out, activation, residual)?]);
        };
        let Self { m, k, dtype, .. } = *self;
        let first = SpmmCsr { m, n, k, nnz: recovered.nnz, dtype, residual };
        let second = self.problem(n, out, activation, true);
        self.check(&second, "launches")?;
        let problems = [Problem::SpmmCsr(first), second];
        problems.iter().map(|problem| Ok(select(problem, backend.caps())?)).collect()
    }

    /// Bytes of [`Operands::sum`] for `n` tokens: those of `n × m` f32 for a recovered layer, else 0.
    pub fn sum_bytes(&self, n: u32) -> u64 {
        if self.recovered.is_some() { 4 * u64::from(n) * u64::from(self.m) } else { 0 }
    }

    /// Binds a plan of [`select`](Self::select) or [`launches`](Self::launches), or another of this
    /// layer's problem. Packs and uploads the weight if this is the first plan that reads it in its order.
    ///
    /// Errors: [`Error::Argument`] if the plan is for another layer or an operand does not fit it;
    /// the device's.
    pub fn step(
        &mut self,
        backend: &B,
        plan: &Plan,
        operands: &Operands<B::Buffer>,
    ) -> Result<B::Step> {
        let n = self.check(&plan.problem, &plan.spec.to_string())?;
        if self.recovered.is_some() && operands.sum.is_none() {
            let expected = self.sum_bytes(n);
            let what = format!("{}: bytes of sum, an operand of a recovered layer", plan.spec);
            return Err(Error::Argument { what, got: 0, expected });
        }
        if let (Problem::SpmmCsr(_), Some(r)) = (plan.problem, &self.recovered) {
            let bound = plan.bindings.iter().map(|binding| match binding.name {
                "rows" => Some(r.rows.clone().into()),
                "entries" => Some(r.entries.clone().into()),
                "x" => Some(operands.x.clone()),
                "residual" => operands.residual.clone(),
                "y" => operands.sum.clone(),
                _ => None,
            });
            return backend.step(plan, &Vec::from_iter(bound));
        }
        let added = if self.recovered.is_some() { &operands.sum } else { &operands.residual };
        let weight = self.copy(backend, plan)?;
        let bound = plan.bindings.iter().map(|binding| match binding.name {
            "values" => Some(weight.values.clone().into()),
            "metadata" => weight.metadata.clone().map(Slice::from),
            "x" => Some(operands.x.clone()),
            "w_scale" => self.w_scale.clone().map(Slice::from),
            "x_scale" => operands.x_scale.clone(),
            "bias" => self.bias.clone().map(Slice::from),
            "residual" => added.clone(),
            "y" => Some(operands.y.clone()),
            "workspace" => operands.workspace.clone(),
            _ => None,
        });
        backend.step(plan, &Vec::from_iter(bound))
    }

    /// Drops the weight on the host, or the dense one on the device. A later step whose kernel reads an order that no step has read
    /// is then an error.
    pub fn release_host(&mut self) {
        self.pack = None;
    }

    /// The copy in the plan's order.
    fn copy(&mut self, backend: &B, plan: &Plan) -> Result<Weight<B>> {
        let order = plan.spec.order();
        if let Some((_, copy)) = self.copies.iter().find(|(have, _)| *have == order) {
            return Ok(copy.clone());
        }
        let (Some(order), Some(pack)) = (order, &self.pack) else {
            let what = format!("{}: its weight on the host (it was released)", plan.spec);
            return Err(Error::Argument { what, got: 0, expected: 1 });
        };
        let copy = pack(backend, order)?;
        self.copies.push((Some(order), copy.clone()));
        Ok(copy)
    }

    /// The tokens of a problem, which must be one of this layer's. `asker` begins the error.
    fn check(&self, problem: &Problem, asker: &str) -> Result<u32> {
        let argument = |what: String, got, expected| Err(Error::Argument { what, got, expected });
        let (n, dtype, sizes) = match (problem, &self.recovered) {
            (Problem::Linear(p), recovered) => {
                if recovered.is_some() {
                    check_adds_last(p, asker)?;
                }
                let kept = ("kept of four", kept(p.weights), kept(self.weights));
                (p.n, p.dtype, [("m", p.m, self.m), ("k", p.k, self.k), kept])
            }
            (Problem::SpmmCsr(p), Some(r)) => {
                (p.n, p.dtype, [("m", p.m, self.m), ("k", p.k, self.k), ("nnz", p.nnz, r.nnz)])
            }
            _ => return argument(format!("{asker}: linear layers in the plan"), 0, 1),
        };
        if dtype != self.dtype {
            return argument(format!("{asker}: plans for weights of {}", self.dtype), 0, 1);
        }
        for (dim, got, expected) in sizes {
            if got != expected {
                let what = format!("{asker}: {dim} of a plan for this layer");
                return argument(what, got.into(), expected.into());
            }
        }
        Ok(n)
    }
}

/// Whether a layer's residual can be a part of its product: it is of Y's type, lies as Y does, and is
/// added after scales and activation.
fn check_adds_last(p: &Linear, asker: &str) -> Result<()> {
    let Epilogue { scales, bias: _, activation, residual, transposed, gated } = p.epilogue;
    let rules = [
        ("bytes of an element of Y, f32", p.out.bytes() as u64, 4),
        ("the activation's number", activation as u64, 0),
        ("scales", scales.into(), 0),
        ("transposed", transposed.into(), 0),
        ("gated", gated.into(), 0),
        ("residuals", residual.into(), 1),
    ];
    for (rule, got, expected) in rules {
        if got != expected {
            let what = format!("{asker}: {rule}, of a recovered layer's second launch");
            return Err(Error::Argument { what, got, expected });
        }
    }
    Ok(())
}

fn kept(weights: Weights) -> u32 {
    match weights {
        Weights::Sparse24 => 2,
        Weights::Dense => 4,
    }
}

fn dimension(name: &str, size: usize) -> Result<u32> {
    u32::try_from(size).map_err(|_| Error::Argument {
        what: format!("{name} of a linear layer (the most)"),
        got: size as u64,
        expected: u64::from(u32::MAX),
    })
}

/// Uploads one number for each output feature.
fn upload<B: Backend>(backend: &B, name: &str, m: u32, numbers: &[f32]) -> Result<B::Buffer> {
    if numbers.len() != m as usize {
        let (got, expected) = (numbers.len() as u64, u64::from(m));
        return Err(Error::Argument { what: format!("elements of {name}"), got, expected });
    }
    backend.upload(bytemuck::cast_slice(numbers))
}

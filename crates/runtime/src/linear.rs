//! Linear layers: a weight, its copies on a device, and the steps that use it.

use crate::backend::{Backend, Slice};
use crate::error::{Error, Result};
use quickpick_format::{DType, Element, Matrix24, Order};
use quickpick_kernels::{Activation, Epilogue, Linear, Plan, Problem, Selection, Weights, select};

/// A weight in device memory, in one order.
#[derive(Debug)]
pub struct Weight<B: Backend> {
    /// Kept values (2:4), or every element.
    pub values: B::Buffer,
    /// Metadata words; `None` when dense.
    pub metadata: Option<B::Buffer>,
}

impl<B: Backend> Clone for Weight<B> {
    fn clone(&self) -> Self {
        Self { values: self.values.clone(), metadata: self.metadata.clone() }
    }
}

impl<B: Backend> Weight<B> {
    /// Packs and uploads a 2:4 weight in the order of a kernel
    /// ([`KernelSpec::order`](crate::kernels::KernelSpec::order)).
    ///
    /// Errors: [`Error::Format`] if the order does not serve the type; the device's.
    pub fn sparse<T: Element>(backend: &B, weight: &Matrix24<T>, order: Order) -> Result<Self> {
        let packed = weight.pack(order)?;
        let values = backend.upload(packed.value_bytes())?;
        Ok(Self { values, metadata: Some(backend.upload(packed.metadata_bytes())?) })
    }

    /// Uploads a dense weight, `m × cols` row-major, with its columns padded to 32.
    ///
    /// Errors: [`Error::Argument`] if the rows are not whole; the device's.
    pub fn dense<T: Element>(backend: &B, weight: &[T], cols: usize) -> Result<Self> {
        let padded = pad_columns(weight, cols)?;
        Ok(Self { values: backend.upload(bytemuck::cast_slice(&padded))?, metadata: None })
    }
}

/// Pads each row of a row-major matrix with zeros to a multiple of 32 columns: what a weight's
/// packing does to W, and the caller to X where `cols` is no such multiple.
///
/// Errors: [`Error::Argument`] if the length is no multiple of `cols`.
pub fn pad_columns<T: Element>(matrix: &[T], cols: usize) -> Result<Vec<T>> {
    let rest = matrix.len().checked_rem(cols).unwrap_or(matrix.len().max(1));
    if rest != 0 {
        let what = format!("elements past the last whole row of {cols} columns");
        return Err(Error::Argument { what, got: rest as u64, expected: 0 });
    }
    let k = cols.next_multiple_of(32);
    let mut padded = vec![T::zeroed(); matrix.len() / cols * k];
    for (to, from) in padded.chunks_exact_mut(k).zip(matrix.chunks_exact(cols)) {
        to[..cols].copy_from_slice(from);
    }
    Ok(padded)
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
pub struct LinearLayer<B: Backend> {
    m: u32,
    k: u32,
    dtype: DType,
    weights: Weights,
    copies: Vec<(Option<Order>, Weight<B>)>,
    /// Makes another copy; owns the matrix.
    pack: Option<Box<dyn Fn(&B, Order) -> Result<Weight<B>> + Send + Sync>>,
    bias: Option<B::Buffer>,
    w_scale: Option<B::Buffer>,
    transposed: bool,
}

/// What a step of a linear layer reads and writes, besides weight, its scales and bias.
#[derive(Clone, Debug)]
pub struct Operands<T> {
    /// `n × k` of the weight's type, k padded to 32 ([`pad_columns`]).
    pub x: Slice<T>,
    /// n numbers, f32, where the layer scales ([`LinearLayer::with_scales`]).
    pub x_scale: Option<Slice<T>>,
    /// `n × m` (transposed: `m × n`) of Y's type, where the epilogue adds it.
    pub residual: Option<Slice<T>>,
    /// `n × m` (transposed: `m × n`).
    pub y: Slice<T>,
    /// [`Plan::workspace_bytes`], zeroed once; `None` if that is 0.
    pub workspace: Option<Slice<T>>,
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
        let bias = bias.map(|bias| upload(backend, "the bias", m, bias)).transpose()?;
        let pack = move |backend: &B, order| Weight::sparse(backend, &weight, order);
        let (dtype, weights) = (T::DTYPE, Weights::Sparse24);
        let (copies, pack) = (vec![], Some(Box::new(pack) as Box<_>));
        Ok(Self { m, k, dtype, weights, copies, pack, bias, w_scale: None, transposed: false })
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
            bias,
            w_scale: None,
            transposed: false,
        })
    }

    /// The layer with scales, as a quantised weight has them: its product is multiplied by
    /// `w_scale[m]·x_scale[n]` before the bias. `w_scale` are m numbers, and go up here; those of X
    /// come with each step ([`Operands::x_scale`]). Not every kernel scales: see what
    /// [`select`](Self::select) says.
    ///
    /// Errors: [`Error::Argument`] for scales of another number; the device's.
    pub fn with_scales(self, backend: &B, w_scale: &[f32]) -> Result<Self> {
        let w_scale = Some(upload(backend, "w_scale", self.m, w_scale)?);
        Ok(Self { w_scale, ..self })
    }

    /// The layer with Y and residual as features × tokens, `m × n` row-major. Not every kernel can.
    pub fn transposed(self) -> Self {
        Self { transposed: true, ..self }
    }

    /// Output features.
    pub fn m(&self) -> u32 {
        self.m
    }

    /// Input features, padded to a multiple of 32: the columns of X.
    pub fn k(&self) -> u32 {
        self.k
    }

    /// What is asked for `n` tokens, with Y of type `out`. Scales and bias are in it, if the layer has
    /// them.
    pub fn problem(&self, n: u32, out: DType, activation: Activation, residual: bool) -> Problem {
        let Self { m, k, dtype, weights, .. } = *self;
        let (scales, bias) = (self.w_scale.is_some(), self.bias.is_some());
        let epilogue = Epilogue { scales, bias, activation, residual, transposed: self.transposed };
        Problem::Linear(Linear { m, n, k, weights, dtype, out, epilogue })
    }

    /// Chooses the kernel for `n` tokens; the selection prints its reasons, and its plan says how
    /// much workspace [`step`](Self::step) wants.
    ///
    /// Errors: [`Error::NoKernel`], with each kernel's reason.
    pub fn select(
        &self,
        backend: &B,
        n: u32,
        out: DType,
        activation: Activation,
        residual: bool,
    ) -> Result<Selection> {
        let problem = self.problem(n, out, activation, residual);
        Ok(select(&problem, backend.caps())?)
    }

    /// Binds a plan of [`select`](Self::select), or another of this layer's problem. Packs and
    /// uploads the weight if this is the first plan that reads it in its order.
    ///
    /// Errors: [`Error::Argument`] if the plan is for another layer or an operand does not fit it;
    /// the device's.
    pub fn step(
        &mut self,
        backend: &B,
        plan: &Plan,
        operands: &Operands<B::Buffer>,
    ) -> Result<B::Step> {
        self.check(plan)?;
        let weight = self.copy(backend, plan)?;
        let bound = plan.bindings.iter().map(|binding| match binding.name {
            "values" => Some(weight.values.clone().into()),
            "metadata" => weight.metadata.clone().map(Slice::from),
            "x" => Some(operands.x.clone()),
            "w_scale" => self.w_scale.clone().map(Slice::from),
            "x_scale" => operands.x_scale.clone(),
            "bias" => self.bias.clone().map(Slice::from),
            "residual" => operands.residual.clone(),
            "y" => Some(operands.y.clone()),
            "workspace" => operands.workspace.clone(),
            _ => None,
        });
        backend.step(plan, &Vec::from_iter(bound))
    }

    /// Drops the weight on the host. A later step whose kernel reads an order that no step has read
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

    fn check(&self, plan: &Plan) -> Result<()> {
        let Problem::Linear(p) = plan.problem else {
            let what = format!("{}: linear layers in the plan", plan.spec);
            return Err(Error::Argument { what, got: 0, expected: 1 });
        };
        if p.dtype != self.dtype {
            let what = format!("{}: plans for weights of {}", plan.spec, self.dtype);
            return Err(Error::Argument { what, got: 0, expected: 1 });
        }
        let sizes = [
            ("m", p.m, self.m),
            ("k", p.k, self.k),
            ("kept of four", kept(p.weights), kept(self.weights)),
        ];
        for (dim, got, expected) in sizes {
            if got != expected {
                let what = format!("{}: {dim} of a plan for this layer", plan.spec);
                let (got, expected) = (u64::from(got), u64::from(expected));
                return Err(Error::Argument { what, got, expected });
            }
        }
        Ok(())
    }
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

//! What is asked: an operation with its shape and types, before any kernel is chosen.

use crate::{Packing, Quantize};
use core::fmt;
use quickpick_format::DType;

/// One operation, as a caller asks for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Problem {
    /// A linear layer.
    Linear(Linear),
    /// Root-mean-square normalisation.
    RmsNorm(RmsNorm),
    /// Rotary embedding of q and k; k and v go to their caches.
    Rotary(Rotary),
    /// Causal attention over the caches.
    Attention(Attention),
    /// `silu(gate) · up`.
    SwiGlu(SwiGlu),
    /// Rows of an embedding table.
    Gather(Gather),
    /// The product with a sparse residual.
    SpmmCsr(SpmmCsr),
    /// The place of each row's largest element.
    ArgMax(ArgMax),
    /// Activations to 8 bits.
    Quantize(Quantize),
    /// A dense matrix to a 2:4 one.
    Pack24(Packing),
    /// A 2:4 matrix to a dense one.
    Unpack24(Packing),
}

/// How W of a linear layer is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Weights {
    /// 2:4: two kept values and two 2-bit positions for each four columns.
    Sparse24,
    /// Every element, `m × k` row-major.
    Dense,
}

/// The function applied after the bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Activation {
    /// Identity.
    None = 0,
    /// max(0, x).
    Relu = 1,
    /// x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³))), the tanh form (arXiv 1606.08415 §2).
    Gelu = 2,
    /// x / (1 + e⁻ˣ).
    Silu = 3,
}

/// What happens to the accumulator on its way to memory; all of it in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epilogue {
    /// Multiply the product by `w_scale[m]·x_scale[n]`, f32 both, before the bias.
    pub scales: bool,
    /// Add `bias[m]`, f32, before the activation.
    pub bias: bool,
    /// The activation.
    pub activation: Activation,
    /// Add `residual[n×m]`, of the output's type, after the activation.
    pub residual: bool,
    /// Y and residual are `m×n`, features × tokens, row-major.
    pub transposed: bool,
    /// W's rows are those of a gate and an up by turns of eight ([`quickpick_format::interleave_gate_up`]), bias and
    /// w_scale as they: `Y = act(gate)·up + residual`, of m/2 features. With SiLU it is SwiGLU.
    pub gated: bool,
}

impl Epilogue {
    /// Store the product as it is.
    pub const NONE: Self = Self {
        scales: false,
        bias: false,
        activation: Activation::None,
        residual: false,
        transposed: false,
        gated: false,
    };

    /// The word that kernels branch on (uniformly, once per tile):
    /// bits 1:0 activation, bit 2 bias, bit 3 residual, bit 4 the output is f32, bit 5 scales,
    /// bit 6 transposed, bit 7 the output is f16 (only kernels of 8-bit X look at it: Y of 16 bits is
    /// of X's type, else), bit 8 gated.
    pub const fn flags(self, out: DType) -> u32 {
        self.activation as u32
            | (self.bias as u32) << 2
            | (self.residual as u32) << 3
            | (matches!(out, DType::F32) as u32) << 4
            | (self.scales as u32) << 5
            | (self.transposed as u32) << 6
            | (matches!(out, DType::F16) as u32) << 7
            | (self.gated as u32) << 8
    }

    /// Where the element of a token and a feature lies in Y and residual, of n tokens, m features
    /// ([`Linear::features`]).
    pub const fn index(self, token: usize, feature: usize, n: usize, m: usize) -> usize {
        if self.transposed { feature * n + token } else { token * m + feature }
    }
}

/// `Y[n×m] = act(scale·(X[n×k]·Wᵀ) + bias) + residual`, X, Y and residual row-major without gaps;
/// scale is 1, or `w_scale[m]·x_scale[n]`. The product is accumulated in f32, of I8 in i32, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Linear {
    /// Rows of W: output features, or twice as many of a gated layer, a multiple of 16.
    pub m: u32,
    /// Tokens: rows of X.
    pub n: u32,
    /// Input features, a multiple of 32 (packing pads W; X carries the same k).
    pub k: u32,
    /// How W is stored.
    pub weights: Weights,
    /// The type of W and of X.
    pub dtype: DType,
    /// The type of Y and of the residual, one of [`outs`](Self::outs). F16 past its largest, 65504, is infinity:
    /// a value that rounds to 2¹⁶ or more, of either sign, on every backend.
    pub out: DType,
    /// What follows the product.
    pub epilogue: Epilogue,
}

impl Linear {
    /// Features of Y and of the residual: m, or m/2 of a gated layer.
    pub const fn features(&self) -> u32 {
        if self.epilogue.gated { self.m / 2 } else { self.m }
    }

    /// The types that Y may have, F32 last: that of X, or BF16 and F16 where X is of 8 bits.
    pub const fn outs(dtype: DType) -> &'static [DType] {
        match dtype {
            DType::I8 | DType::E4M3 | DType::E5M2 => &[DType::BF16, DType::F16, DType::F32],
            DType::F16 => &[DType::F16, DType::F32],
            DType::BF16 => &[DType::BF16, DType::F32],
            DType::F32 => &[DType::F32],
        }
    }

    /// The first of [`outs`](Self::outs): the narrow one that overflows least.
    pub const fn narrow_out(dtype: DType) -> DType {
        Self::outs(dtype)[0]
    }
}

/// `y[i] = x[i] · gain / √(mean(x[i]²) + eps)` for each of n rows; x, gain f32; y `out`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsNorm {
    /// Rows.
    pub n: u32,
    /// Columns, a multiple of 32.
    pub d: u32,
    /// Added to the mean square.
    pub eps: f32,
    /// The type of y.
    pub out: DType,
}

/// Rotates each head's halves of q and k by the token's position (`rotate_half`, the order of
/// Hugging Face safetensors) and appends k and v to their caches:
/// for i < head_dim/2: `(a, b) = (x[i], x[i + head_dim/2])` → `(a·cos − b·sin, b·cos + a·sin)`.
///
/// q `n×heads×head_dim`, k and v `n×kv_heads×head_dim`, all f32; position of row i is `pos[0] + i`;
/// table f32 `max_seq×head_dim`: a position's head_dim/2 cosines, then its head_dim/2 sines;
/// q_out f32 like q; caches `max_seq×kv_heads×head_dim` of `cache` type, rows `pos[0]..pos[0]+n` written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rotary {
    /// New tokens.
    pub n: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads; divides `heads`.
    pub kv_heads: u32,
    /// Elements of a head, a multiple of 8, at most 128.
    pub head_dim: u32,
    /// Rows of the caches.
    pub max_seq: u32,
    /// The type of the caches.
    pub cache: DType,
}

/// `y[i,h] = softmax(q[i,h]·Kᵀ / √head_dim) · V` over cache rows `0..=pos[0]+i`, head h reading
/// key-value head `h / (heads/kv_heads)`; q f32 `n×heads×head_dim`; caches as in [`Rotary`];
/// y of `out` type, `n × heads·head_dim`. Softmax and sums in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attention {
    /// New tokens.
    pub n: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads; divides `heads`.
    pub kv_heads: u32,
    /// Elements of a head, a multiple of 8, at most 128.
    pub head_dim: u32,
    /// Rows of the caches.
    pub max_seq: u32,
    /// The type of the caches.
    pub cache: DType,
    /// The type of y.
    pub out: DType,
}

/// `y = silu(gate) · up`, gate and up f32 `n×d`, y of `out` type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SwiGlu {
    /// Rows.
    pub n: u32,
    /// Columns, a multiple of 32.
    pub d: u32,
    /// The type of y.
    pub out: DType,
}

/// `y[i] = table[ids[i]]`: table `vocab×d` of `dtype`, ids u32, y f32. An id ≥ vocab gives NaN, so
/// that a bad token cannot pass for a good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gather {
    /// Rows of y.
    pub n: u32,
    /// Columns, a multiple of 32.
    pub d: u32,
    /// Rows of the table.
    pub vocab: u32,
    /// The table's type.
    pub dtype: DType,
}

/// `y[n×m] = residual[n×m] + X[n×k]·Rᵀ`, R sparse: what a recovered layer adds to its 2:4 product
/// (Weight-Recover-Prune, ACL 2024, long.347, §3). y and residual are f32, row-major without gaps, and
/// sums are in f32; without a residual it is 0.
///
/// It runs before the 2:4 layer, whose residual y is: that one is added after the activation, so the
/// layer must have none, and f32 for its Y. There is no kernel in PTX yet.
///
/// R lies in compressed sparse rows, as `quickpick_format::Csr` packs them: `rows`, m + 1 row pointers
/// u32, and `entries`, nnz words u32, a column in the low half, a value of `dtype` in the high half. Of
/// rows and entries that are no such matrix y is unspecified, but nothing outside of the operands is
/// touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpmmCsr {
    /// Output features: rows of R.
    pub m: u32,
    /// Tokens: rows of X.
    pub n: u32,
    /// Input features, a multiple of 32, at most 65536: columns of X. R may have fewer.
    pub k: u32,
    /// Entries of R; there may be none.
    pub nnz: u32,
    /// The type of R's values and of X: F16 or BF16.
    pub dtype: DType,
    /// Whether there is a residual.
    pub residual: bool,
}

/// `y[i]` = the column of the largest of `x[i]`, x f32 `n×d`, y u32 `n`; of equals the lowest, −0 and 0
/// being equal. A row that holds a NaN gives d, which is no column, so that a failed model's token cannot
/// pass for a good one. So a decoder's next token is found where its logits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArgMax {
    /// Rows.
    pub n: u32,
    /// Columns, at least 1.
    pub d: u32,
}

/// `2:4` or `dense`.
impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sparse24 => "2:4",
            Self::Dense => "dense",
        })
    }
}

impl fmt::Display for Linear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { m, n, k, weights, dtype, out, epilogue: e } = self;
        write!(f, "Y[{n}×{m}] = X[{n}×{k}]·Wᵀ, W {weights} {dtype}, Y {out}")?;
        if e.gated {
            write!(f, ", gated to {} features", self.features())?;
        }
        if e.scales {
            f.write_str(", scales")?;
        }
        if e.bias {
            f.write_str(", bias")?;
        }
        if e.activation != Activation::None {
            write!(f, ", {:?}", e.activation)?;
        }
        if e.residual {
            f.write_str(", residual")?;
        }
        if e.transposed {
            f.write_str(", transposed")?;
        }
        Ok(())
    }
}

impl fmt::Display for SpmmCsr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { m, n, k, nnz, dtype, residual } = self;
        write!(f, "Y[{n}×{m}] = X[{n}×{k}]·Rᵀ, R CSR {dtype} of {nnz} entries, Y f32")?;
        f.write_str(if *residual { ", residual" } else { "" })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linear(p) => p.fmt(f),
            Self::SpmmCsr(p) => p.fmt(f),
            Self::Pack24(p) => write!(f, "packing {p}"),
            Self::Unpack24(p) => write!(f, "unpacking {p}"),
            other => write!(f, "{other:?}"),
        }
    }
}

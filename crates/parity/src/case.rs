//! A problem with its operands and what must come out.

use crate::data::{self, Fill, Source, Values, round};
use half::{bf16, f16};
use quickpick_format::{E4m3, E5m2, Element, Matrix24, Order};
use quickpick_kernels::reference::{LinearInputs, SpmmCsrInputs};
use quickpick_kernels::{
    ArgMax, Attention, DType, Gather, Linear, Problem, RmsNorm, Rotary, SpmmCsr, SwiGlu, Weights,
    bound, reference,
};

/// One operand of a kernel, by the name of its binding.
pub enum Operand {
    /// Read: these bytes.
    Input(Vec<u8>),
    /// Read: a 2:4 weight, dense `rows × cols`, to be packed in the kernel's order.
    Sparse(Values, u32, u32),
    /// Written.
    Output(DType, Vec<Expected>),
}

/// What must be in one element of an output.
#[derive(Clone, Copy, Debug)]
pub enum Expected {
    /// This value ± this bound.
    Near(f64, f64),
    /// NaN.
    Nan,
    /// The poison that was there before.
    Untouched,
}

impl Expected {
    /// Whether nothing but one value will do.
    pub fn is_exact(&self) -> bool {
        matches!(self, Self::Near(_, bound) if *bound == 0.0)
    }
}

/// How the entries of a sparse residual are spread over its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// As evenly as their number allows.
    Even,
    /// On every third row, as evenly; the others are empty.
    Third,
    /// On one row, the last but one if there are several.
    One,
}

/// A problem with its operands.
pub struct Case {
    /// The problem.
    pub problem: Problem,
    /// The operands by name; those that are missing are absent.
    pub operands: Vec<(&'static str, Operand)>,
}

fn near(values: Vec<f64>, bounds: Vec<f64>) -> Vec<Expected> {
    assert_eq!(values.len(), bounds.len());
    values.into_iter().zip(bounds).map(|(v, b)| Expected::Near(v, b)).collect()
}

impl Case {
    /// A linear layer.
    pub fn linear(p: Linear, fill: Fill, seed: u64) -> Self {
        let mut source = Source::new(fill, seed);
        let x = source.activations(p.dtype, p.n, p.k);
        let (w, sparse) = match p.weights {
            Weights::Sparse24 => (source.sparse(p.dtype, p.m, p.k), true),
            Weights::Dense => (source.matrix(p.dtype, p.m, p.k), false),
        };
        // what is added is about as large as products are, and what I8 is scaled to about as large as
        // the others' are: what is lost must show
        let (unit, scale) = match (p.dtype, p.epilogue.scales) {
            (DType::I8, false) => (f64::from(1 << 14), 1.0),
            (DType::I8, true) => (1.0, 1.0 / 128.0),
            _ => (1.0, 1.0),
        };
        let mut other = |dtype, present, [rows, cols]: [u32; 2], unit: f64| -> Values {
            let mut other = source.matrix(dtype, if present { rows } else { 0 }, cols);
            other.values.iter_mut().for_each(|v| *v *= unit);
            other
        };
        let e = p.epilogue;
        let bias = other(DType::F32, e.bias, [1, p.m], unit);
        let features = p.features();
        let y_shape = if e.transposed { [features, p.n] } else { [p.n, features] };
        let residual = other(p.out, e.residual, y_shape, unit);
        let w_scale = other(DType::F32, e.scales, [1, p.m], scale);
        let x_scale = other(DType::F32, e.scales, [1, p.n], scale);
        let inputs = LinearInputs {
            w: &w.values,
            x: &x.values,
            w_scale: &w_scale.values,
            x_scale: &x_scale.values,
            bias: &bias.values,
            residual: &residual.values,
        };
        let y = near(reference::linear(&p, &inputs), bound::linear(&p, &inputs));
        let mut operands = vec![("x", Operand::Input(x.bytes())), ("y", Operand::Output(p.out, y))];
        operands.push(match sparse {
            true => ("values", Operand::Sparse(w, p.m, p.k)),
            false => ("values", Operand::Input(w.bytes())),
        });
        if p.epilogue.scales {
            operands.push(("w_scale", Operand::Input(w_scale.bytes())));
            operands.push(("x_scale", Operand::Input(x_scale.bytes())));
        }
        if p.epilogue.bias {
            operands.push(("bias", Operand::Input(bias.bytes())));
        }
        if p.epilogue.residual {
            operands.push(("residual", Operand::Input(residual.bytes())));
        }
        Self { problem: Problem::Linear(p), operands }
    }

    /// A normalisation.
    pub fn rmsnorm(p: RmsNorm, fill: Fill, seed: u64) -> Self {
        let mut source = Source::new(fill, seed);
        let x = source.matrix(DType::F32, p.n, p.d);
        let gain = source.matrix(DType::F32, 1, p.d);
        let y = reference::rmsnorm(&p, &x.values, &gain.values);
        let bounds = bound::rmsnorm(&p, &y);
        let operands = vec![
            ("x", Operand::Input(x.bytes())),
            ("gain", Operand::Input(gain.bytes())),
            ("y", Operand::Output(p.out, near(y, bounds))),
        ];
        Self { problem: Problem::RmsNorm(p), operands }
    }

    /// A rotary embedding from position `pos` on.
    pub fn rotary(p: Rotary, pos: u32, fill: Fill, seed: u64) -> Self {
        let mut source = Source::new(fill, seed);
        let q = source.matrix(DType::F32, p.n, p.heads * p.head_dim);
        let k = source.matrix(DType::F32, p.n, p.kv_heads * p.head_dim);
        let v = source.matrix(DType::F32, p.n, p.kv_heads * p.head_dim);
        // a table need not hold cosines; random ones tell every element from every other
        let table = source.matrix(DType::F32, p.max_seq, p.head_dim);
        let value = reference::rotary(&p, &q.values, &k.values, &v.values, pos, &table.values);
        let bound = bound::rotary(&p, &q.values, &k.values, &v.values, pos, &table.values);
        let row = (p.kv_heads * p.head_dim) as usize;
        let cache = |new: Vec<Expected>| {
            let mut all = vec![Expected::Untouched; p.max_seq as usize * row];
            all[pos as usize * row..][..new.len()].copy_from_slice(&new);
            Operand::Output(p.cache, all)
        };
        let operands = vec![
            ("q", Operand::Input(q.bytes())),
            ("k", Operand::Input(k.bytes())),
            ("v", Operand::Input(v.bytes())),
            ("pos", Operand::Input(pos.to_le_bytes().to_vec())),
            ("table", Operand::Input(table.bytes())),
            ("q_out", Operand::Output(DType::F32, near(value.q, bound.q))),
            ("k_cache", cache(near(value.k, bound.k))),
            ("v_cache", cache(near(value.v, bound.v))),
        ];
        Self { problem: Problem::Rotary(p), operands }
    }

    /// Attention of tokens from position `pos` on. Cache rows that no token may see are NaN.
    pub fn attention(p: Attention, pos: u32, fill: Fill, seed: u64) -> Self {
        let mut source = Source::new(fill, seed);
        let row = p.kv_heads * p.head_dim;
        let seen = pos + p.n;
        let q = source.matrix(DType::F32, p.n, p.heads * p.head_dim);
        let k = source.matrix(p.cache, seen, row);
        let v = source.matrix(p.cache, seen, row);
        let y = near(
            reference::attention(&p, &q.values, &k.values, &v.values, pos),
            bound::attention(&p, &q.values, &k.values, &v.values, pos),
        );
        let hidden = vec![f64::NAN; ((p.max_seq - seen) * row) as usize];
        let cache = |seen: Values| {
            let mut bytes = seen.bytes();
            bytes.extend(data::bytes(p.cache, &hidden));
            Operand::Input(bytes)
        };
        let operands = vec![
            ("q", Operand::Input(q.bytes())),
            ("k_cache", cache(k)),
            ("v_cache", cache(v)),
            ("pos", Operand::Input(pos.to_le_bytes().to_vec())),
            ("y", Operand::Output(p.out, y)),
        ];
        Self { problem: Problem::Attention(p), operands }
    }

    /// A gated product. Gates span ±`scale`.
    pub fn swiglu(p: SwiGlu, scale: f64, fill: Fill, seed: u64) -> Self {
        let mut source = Source::new(fill, seed);
        let mut gate = source.matrix(DType::F32, p.n, p.d);
        gate.values.iter_mut().for_each(|g| *g = round(DType::F32, *g * scale));
        let up = source.matrix(DType::F32, p.n, p.d);
        let y = near(
            reference::swiglu(&p, &gate.values, &up.values),
            bound::swiglu(&p, &gate.values, &up.values),
        );
        let operands = vec![
            ("gate", Operand::Input(gate.bytes())),
            ("up", Operand::Input(up.bytes())),
            ("y", Operand::Output(p.out, y)),
        ];
        Self { problem: Problem::SwiGlu(p), operands }
    }

    /// Rows of a table, one id beyond its end.
    pub fn gather(p: Gather, fill: Fill, seed: u64) -> Self {
        let mut source = Source::new(fill, seed);
        let table = source.matrix(p.dtype, p.vocab, p.d);
        let ids: Vec<u32> = (0..p.n).map(|i| (i * 7 + 3) % (p.vocab + 1)).collect();
        let y = reference::gather(&p, &table.values, &ids).into_iter().map(|v| match v.is_nan() {
            true => Expected::Nan,
            false => Expected::Near(v, 0.0),
        });
        let operands = vec![
            ("table", Operand::Input(table.bytes())),
            ("ids", Operand::Input(ids.iter().flat_map(|id| id.to_le_bytes()).collect())),
            ("y", Operand::Output(DType::F32, y.collect())),
        ];
        Self { problem: Problem::Gather(p), operands }
    }

    /// The places of rows' largest elements. Rows are of seven kinds in turn: as filled; with a NaN of
    /// either sign; of zeros of both signs, −0 first; with infinities; of negative numbers; and with the
    /// largest, twice, at the end.
    pub fn argmax(p: ArgMax, fill: Fill, seed: u64) -> Self {
        let mut source = Source::new(fill, seed);
        let mut x = source.matrix(DType::F32, p.n, p.d);
        for (i, row) in x.values.chunks_exact_mut(p.d as usize).enumerate() {
            let last = row.len() - 1;
            match i % 7 {
                1 => row[last] = -f64::NAN,
                2 => row[last / 2] = f64::NAN,
                3 => (0..=last).for_each(|j| row[j] = if j % 2 == 0 { -0.0 } else { 0.0 }),
                4 => (row[0], row[last / 2], row[last]) = (f64::NEG_INFINITY, f64::INFINITY, 0.5),
                5 => row.iter_mut().for_each(|v| *v = -v.abs()),
                6 => (row[last.saturating_sub(1)], row[last]) = (2.0, 2.0),
                _ => {}
            }
        }
        // y holds places: an f32 of the same bits is another for each
        let places = reference::argmax(&p, &x.values).into_iter();
        let y = places.map(|place| Expected::Near(f32::from_bits(place).into(), 0.0));
        let operands =
            vec![("x", Operand::Input(x.bytes())), ("y", Operand::Output(DType::F32, y.collect()))];
        Self { problem: Problem::ArgMax(p), operands }
    }

    /// A product with a sparse residual, whose rows have room for its entries.
    pub fn spmm_csr(p: SpmmCsr, spread: Rows, fill: Fill, seed: u64) -> Self {
        let mut source = Source::new(fill, seed);
        let (m, k) = (p.m as usize, p.k as usize);
        let x = source.activations(p.dtype, p.n, p.k);
        let takes = |row: usize| match spread {
            Rows::Even => true,
            Rows::Third => row % 3 == 1 || m == 1,
            Rows::One => row == m.saturating_sub(2),
        };
        let taking = Vec::from_iter((0..m).filter(|&row| takes(row)));
        let (mut rows, mut columns) = (vec![0u32; m + 1], Vec::new());
        for (i, &row) in taking.iter().enumerate() {
            let before = |i: usize| p.nnz as usize * i / taking.len();
            let count = before(i + 1) - before(i);
            assert!(count <= k, "{count} entries in a row of {k} columns");
            // rising from a column that differs from row to row to the last one
            let first = if count == 0 { 0 } else { row * 7 % (k - count + 1) };
            columns.extend((0..count).map(|j| (first + j * (k - first) / count) as u32));
            rows[row + 1] = count as u32;
        }
        (0..m).for_each(|row| rows[row + 1] += rows[row]);
        let values = source.matrix(p.dtype, 1, p.nnz);
        let residual = source.matrix(DType::F32, if p.residual { p.n } else { 0 }, p.m);
        let inputs = SpmmCsrInputs {
            rows: &rows,
            columns: &columns,
            values: &values.values,
            x: &x.values,
            residual: &residual.values,
        };
        let y = near(reference::spmm_csr(&p, &inputs), bound::spmm_csr(&p, &inputs));
        let bits = values.bytes();
        let bits = bits.chunks_exact(2).map(|b| u32::from(u16::from_le_bytes([b[0], b[1]])));
        let entries = columns.iter().zip(bits).map(|(col, bits)| col | bits << 16);
        let words = |words: &mut dyn Iterator<Item = u32>| {
            Operand::Input(words.flat_map(u32::to_le_bytes).collect())
        };
        let mut operands = vec![
            ("rows", words(&mut rows.iter().copied())),
            ("x", Operand::Input(x.bytes())),
            ("y", Operand::Output(DType::F32, y)),
        ];
        if p.nnz > 0 {
            operands.push(("entries", words(&mut entries.into_iter())));
        }
        if p.residual {
            operands.push(("residual", Operand::Input(residual.bytes())));
        }
        Self { problem: Problem::SpmmCsr(p), operands }
    }
}

/// Packs a 2:4 weight: the bytes of its values and of its metadata.
pub fn pack(w: &Values, rows: u32, cols: u32, order: Order) -> (Vec<u8>, Vec<u8>) {
    fn typed<T: Element>(w: &Values, rows: u32, cols: u32, order: Order) -> (Vec<u8>, Vec<u8>) {
        let dense: Vec<T> = w.values.iter().map(|v| T::from_f32(*v as f32)).collect();
        let matrix = Matrix24::compress(&dense, rows as usize, cols as usize).expect("2:4 data");
        let packed = matrix.pack(order).expect("an order for the type");
        (packed.value_bytes().to_vec(), packed.metadata_bytes().to_vec())
    }
    match w.dtype {
        DType::F16 => typed::<f16>(w, rows, cols, order),
        DType::BF16 => typed::<bf16>(w, rows, cols, order),
        DType::F32 => typed::<f32>(w, rows, cols, order),
        DType::I8 => typed::<i8>(w, rows, cols, order),
        DType::E4M3 => typed::<E4m3>(w, rows, cols, order),
        DType::E5M2 => typed::<E5m2>(w, rows, cols, order),
    }
}

//! Packing on the device: a dense weight that lies there becomes the operands of a 2:4 kernel, and back.

use crate::backend::{Backend, Slice};
use crate::error::{Error, Result};
use crate::weight::Weight;
use half::{bf16, f16};
use quickpick_format::{self as format, DType, IllegalCode, Places};
use quickpick_kernels::{NO_GROUP, Packing, Plan, Problem, select};

impl<B: Backend> Weight<B> {
    /// Prunes and packs a dense weight that lies on the device, in one pass: of each four columns the two of the
    /// largest magnitude stay. Gives what `Matrix24::magnitude(dense).pack(order)` does, byte for byte. `dense` is
    /// `m × k` row-major of f16 or bf16, k a multiple of 4. Allocates, runs, and waits.
    ///
    /// ```
    /// use quickpick::format::{Matrix24, Order};
    /// use quickpick::kernels::{DType, Packing};
    /// use quickpick::{Backend, Cpu, Weight, f16};
    ///
    /// # fn main() -> quickpick::Result<()> {
    /// let (backend, m, k) = (Cpu::new(), 32, 64);
    /// let dense = Vec::from_iter((0..m * k).map(|i| f16::from_f32((i * 37 % 101) as f32 - 50.0)));
    /// let on_device = backend.upload(bytemuck::cast_slice(&dense))?;
    /// let (order, dtype) = (Order::MmaSpSm80, DType::F16);
    /// let p = Packing { m: m as u32, k: k as u32, dtype, order };
    /// let weight = Weight::packed(&backend, on_device, p)?;
    /// let by_host = Matrix24::magnitude(&dense, m, k)?.pack(order)?;
    /// let bytes = by_host.value_bytes();
    /// assert_eq!(backend.read(&weight.values, 0, bytes.len() as u64)?, bytes);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Errors: [`Error::Format`] for a NaN or an infinity, with its place; [`Error::NoKernel`] for a shape or type that
    /// no kernel packs; [`Error::Argument`] for a buffer that is too small; the device's.
    pub fn packed(backend: &B, dense: impl Into<Slice<B::Buffer>>, p: Packing) -> Result<Self> {
        let dense = dense.into();
        let plan = select(&Problem::Pack24(p), backend.caps())?.plan;
        let values = backend.buffer(bytes(&plan, "values"))?;
        let metadata = backend.buffer(bytes(&plan, "metadata"))?;
        let operands = [dense.clone(), values.clone().into(), metadata.clone().into()];
        match bad_group(backend, &plan, operands)? {
            None => Ok(Self { values, metadata: Some(metadata) }),
            Some(number) => Err(not_finite(backend, &dense, &p, number)),
        }
    }

    /// The dense weight of a 2:4 one, on the device: `m × k` row-major. Padding is not looked at. Allocates, runs, and
    /// waits.
    ///
    /// Errors: [`Error::Format`] for a code that names no pair, with its place; [`Error::Argument`] for a weight without
    /// metadata or a buffer that is too small; [`Error::NoKernel`] for a shape or type that no kernel unpacks; the
    /// device's.
    pub fn unpacked(&self, backend: &B, p: Packing) -> Result<B::Buffer> {
        let plan = select(&Problem::Unpack24(p), backend.caps())?.plan;
        let metadata = self.metadata.clone().ok_or_else(|| Error::Argument {
            what: format!("{}: bytes of metadata", plan.spec),
            got: 0,
            expected: bytes(&plan, "metadata"),
        })?;
        let dense = backend.buffer(bytes(&plan, "dense"))?;
        let operands = [self.values.clone().into(), metadata.clone().into(), dense.clone().into()];
        match bad_group(backend, &plan, operands)? {
            None => Ok(dense),
            Some(number) => Err(illegal_code(backend, &metadata, &p, number)),
        }
    }
}

/// Bytes of an operand.
fn bytes(plan: &Plan, name: &str) -> u64 {
    plan.bindings.iter().find(|b| b.name == name).map_or(0, |b| b.bytes)
}

/// Runs a plan on its operands and a status; the number of the first bad group.
fn bad_group<B: Backend>(
    backend: &B,
    plan: &Plan,
    [a, b, c]: [Slice<B::Buffer>; 3],
) -> Result<Option<usize>> {
    let status = backend.upload(&NO_GROUP.to_le_bytes())?;
    let step = backend.step(plan, &[Some(a), Some(b), Some(c), Some(status.clone().into())])?;
    match word(&backend.run_then_read(&[step], &status, 0, 4)?) {
        Some(NO_GROUP) => Ok(None),
        Some(number) => Ok(Some(number as usize)),
        None => Err(Error::Bug(format!("{}: 4 bytes were read short", plan.spec))),
    }
}

fn word(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// Row and first column of a group.
fn place(p: &Packing, number: usize) -> (usize, usize) {
    let groups = p.k as usize / 4;
    (number / groups, number % groups * 4)
}

/// The error for a group of a dense weight that was reported.
fn not_finite<B: Backend>(
    backend: &B,
    dense: &Slice<B::Buffer>,
    p: &Packing,
    number: usize,
) -> Error {
    let (row, first) = place(p, number);
    let bytes = match backend.read(&dense.buffer, dense.offset + 8 * number as u64, 8) {
        Ok(bytes) => bytes,
        Err(why) => return why,
    };
    let value = |bytes: &[u8]| {
        let bits = bytes.iter().rev().fold(0, |bits, byte| bits << 8 | u16::from(*byte));
        match p.dtype {
            DType::BF16 => bf16::from_bits(bits).to_f32(),
            _ => f16::from_bits(bits).to_f32(),
        }
    };
    let values = bytes.chunks_exact(2).map(value).enumerate();
    match values.into_iter().find(|(_, value)| !value.is_finite()) {
        Some((i, value)) => format::Error::NotFinite { row, col: first + i, value }.into(),
        None => Error::Bug(format!("group {number} was reported, and is finite")),
    }
}

/// The error for a group of a 2:4 weight that was reported.
fn illegal_code<B: Backend>(
    backend: &B,
    metadata: &B::Buffer,
    p: &Packing,
    number: usize,
) -> Error {
    let (row, col) = place(p, number);
    let position = |places: &Places, j| -> Result<u8> {
        let (at, shift) = places.code(row, j);
        let bytes = backend.read(metadata, 4 * at as u64, 4)?;
        Ok(word(&bytes).map_or(0, |word| (word >> shift & 3) as u8))
    };
    let code = Places::new(p.order, p.dtype, p.m as usize, p.k as usize)
        .map_err(Error::from)
        .and_then(|places| Ok(position(&places, col / 2)? | position(&places, col / 2 + 1)? << 2));
    match code {
        Ok(code) => format::Error::Code { row, col, source: IllegalCode(code) }.into(),
        Err(why) => why,
    }
}

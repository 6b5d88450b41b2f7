//! Weights in device memory.

use crate::backend::Backend;
use crate::error::{Error, Result};
use quickpick_format::{Element, Matrix24, Order};

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

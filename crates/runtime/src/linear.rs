//! A weight on a device, in the order that its kernel reads.

use crate::backend::Backend;

/// A linear layer's weight in device memory.
pub struct Weight<B: Backend> {
    /// Kept values (2:4), or every element.
    pub values: B::Buffer,
    /// Metadata words; `None` when dense.
    pub metadata: Option<B::Buffer>,
}

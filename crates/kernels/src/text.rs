//! The committed text of the kernels.

use crate::KernelSpec;
use alloc::string::ToString;

#[path = "generated/index.rs"]
mod index;

impl KernelSpec {
    /// The PTX or WGSL text of this kernel, as committed; `None` for the host's rows. Its entry
    /// point is the kernel's name.
    pub fn text(&self) -> Option<&'static str> {
        let name = self.to_string();
        index::TEXTS.iter().find(|(key, _)| *key == name).map(|(_, text)| *text)
    }
}

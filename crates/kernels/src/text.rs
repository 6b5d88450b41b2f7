//! The committed text of the kernels.

use crate::{KERNELS, KernelSpec};
use alloc::string::ToString;

#[path = "generated/index.rs"]
mod index;

impl KernelSpec {
    /// The PTX or WGSL text of this kernel, as committed; `None` for the host's rows, and for a spec
    /// that is no row of [`KERNELS`]. Its entry point is the kernel's name.
    pub fn text(&self) -> Option<&'static str> {
        // names leave out the warps: another spec may go by a row's name
        if !KERNELS.contains(self) {
            return None;
        }
        let name = self.to_string();
        index::TEXTS.iter().find(|(key, _)| *key == name).map(|(_, text)| *text)
    }
}

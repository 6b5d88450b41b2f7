//! Generator: kernel spec to PTX and WGSL

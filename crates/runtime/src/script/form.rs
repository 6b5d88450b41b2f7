//! The form of a script: what `web/launch.js` reads. Its account of the form is the comment there.

use serde::Serialize;
use std::collections::BTreeMap;

/// The version of the form; `web/launch.js` refuses another.
pub const VERSION: u32 = 1;

/// A script as JSON has it. Initial bytes lie in a file beside.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Form {
    /// [`VERSION`].
    pub version: u32,
    /// Bytes of the file beside.
    pub data: u64,
    /// What the device must have.
    pub needs: Needs,
    /// The kernels, each once.
    pub shaders: Vec<Shader>,
    /// The memory.
    pub buffers: Vec<Memory>,
    /// What runs, in order.
    pub launches: Vec<Launch>,
    /// Buffers that the replaying side writes or reads.
    pub named: BTreeMap<String, Named>,
}

/// What the device must have for all launches.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Needs {
    /// WebGPU's names of features.
    pub features: Vec<&'static str>,
    /// Lanes of the smallest subgroup; 0: no kernel uses subgroups.
    pub subgroup: u32,
    /// WebGPU's names of limits, and the least that serves.
    pub limits: BTreeMap<&'static str, u64>,
}

/// A kernel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shader {
    /// Its name: `NAME.wgsl` is the text, `NAME` the entry point.
    pub name: String,
    /// Whether the text uses subgroups, which Dawn wants enabled and naga 30 does not know how to enable.
    pub subgroups: bool,
    /// How each storage buffer is bound, `read` or `read_write`, in order; the uniform parameters follow.
    pub access: Vec<&'static str>,
}

/// A buffer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Memory {
    /// Its size, whole vectors of 16 bytes.
    pub bytes: u64,
    /// What is written to it first, in order: from where in the buffer on, where in the file beside the bytes
    /// lie, and how many, multiples of 4. The rest is zero.
    pub writes: Vec<[u64; 3]>,
}

/// A dispatch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Launch {
    /// Which of the shaders.
    pub shader: usize,
    /// Of each storage binding: buffer, offset and size in bytes; `None` of an absent operand.
    pub bindings: Vec<Option<[u64; 3]>>,
    /// The parameters, padded to 16 bytes with zeros.
    pub params: Vec<u32>,
    /// Workgroups (x, y, z).
    pub grid: [u32; 3],
}

/// A buffer's place and its bytes as they were asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Named {
    /// Which of the buffers.
    pub buffer: usize,
    /// Bytes, a multiple of 4, of which all may be read and written.
    pub bytes: u64,
}

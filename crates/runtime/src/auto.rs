//! A backend chosen at run time, with the reasons.

use crate::backend::Backend;
use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// A backend, as a user names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// CUDA, else a wgpu adapter that is not a software one, else the CPU.
    #[default]
    Auto,
    /// SIMD on the host.
    Cpu,
    /// Vulkan, Metal or DX12; a software adapter if there is no other.
    Wgpu,
    /// NVIDIA, through its driver.
    Cuda,
}

impl Kind {
    /// All, in the order in which a help text lists them.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Cpu, Self::Wgpu, Self::Cuda];

    /// `auto`, `cpu`, `wgpu` or `cuda`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no backend; auto, cpu, wgpu and cuda are")]
pub struct UnknownKind(pub String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> std::result::Result<Self, UnknownKind> {
        let kind = Self::ALL.into_iter().find(|kind| kind.name() == text);
        kind.ok_or_else(|| UnknownKind(text.into()))
    }
}

/// An open backend, of a kind known at run time only.
#[derive(Debug)]
#[non_exhaustive]
pub enum Device {
    /// The host.
    #[cfg(feature = "cpu")]
    Cpu(Box<crate::Cpu>),
    /// Vulkan, Metal or DX12.
    #[cfg(feature = "wgpu")]
    Wgpu(Box<crate::Wgpu>),
    /// NVIDIA.
    #[cfg(feature = "cuda")]
    Cuda(Box<crate::Cuda>),
}

/// Work that is the same on every backend: a closure with a type parameter.
pub trait Visitor {
    /// What it makes.
    type Output;
    /// Does it.
    fn visit<B: Backend>(self, backend: &B) -> Self::Output;
}

/// A device, and why it was taken.
#[derive(Debug)]
pub struct Opened {
    /// The device.
    pub device: Device,
    /// Whether it was asked for by name.
    pub by_name: bool,
    /// What `auto` would have preferred, and why it could not be had.
    pub passed_over: Vec<Error>,
}

/// `cpu: AMD EPYC …, avx512`, then a line for each backend that was passed over.
impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.device.name(), self.device.describe())?;
        f.write_str(if self.by_name { " (asked for)" } else { " (chosen by auto)" })?;
        self.passed_over.iter().try_for_each(|why| write!(f, "\n  passed over: {why}"))
    }
}

/// Opens a backend. `auto` never fails where the feature `cpu` is enabled; the others fail with
/// [`Error::Unavailable`] where the machine or this build lacks them.
pub fn open(kind: Kind) -> Result<Opened> {
    let asked = |device| Opened { device, by_name: true, passed_over: vec![] };
    match kind {
        Kind::Cpu => cpu().map(asked),
        Kind::Wgpu => wgpu(true).map(asked),
        Kind::Cuda => cuda().map(asked),
        Kind::Auto => {
            let mut passed_over = Vec::new();
            for open in [cuda, || wgpu(false)] {
                match open() {
                    Ok(device) => return Ok(Opened { device, by_name: false, passed_over }),
                    Err(why) => passed_over.push(why),
                }
            }
            cpu().map(|device| Opened { device, by_name: false, passed_over })
        }
    }
}

impl Device {
    /// Does a visitor's work on this backend.
    pub fn visit<V: Visitor>(&self, visitor: V) -> V::Output {
        match self {
            #[cfg(feature = "cpu")]
            Self::Cpu(backend) => visitor.visit(backend.as_ref()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu(backend) => visitor.visit(backend.as_ref()),
            #[cfg(feature = "cuda")]
            Self::Cuda(backend) => visitor.visit(backend.as_ref()),
        }
    }

    /// `cpu`, `wgpu` or `cuda`.
    pub fn name(&self) -> &'static str {
        struct Name;
        impl Visitor for Name {
            type Output = &'static str;
            fn visit<B: Backend>(self, backend: &B) -> &'static str {
                backend.name()
            }
        }
        self.visit(Name)
    }

    /// The device in words.
    pub fn describe(&self) -> String {
        struct Describe;
        impl Visitor for Describe {
            type Output = String;
            fn visit<B: Backend>(self, backend: &B) -> String {
                backend.describe()
            }
        }
        self.visit(Describe)
    }
}

#[cfg(feature = "cpu")]
fn cpu() -> Result<Device> {
    Ok(Device::Cpu(Box::default()))
}

#[cfg(feature = "wgpu")]
fn wgpu(software: bool) -> Result<Device> {
    let wanted = std::env::var(crate::wgpu::ADAPTER_VARIABLE).ok();
    // an adapter that the user names is taken, software or not
    let adapter = crate::wgpu::choose(wanted.as_deref(), software)?;
    Ok(Device::Wgpu(Box::new(adapter.open()?)))
}

#[cfg(feature = "cuda")]
fn cuda() -> Result<Device> {
    Ok(Device::Cuda(Box::new(crate::Cuda::open()?)))
}

#[cfg(not(feature = "cpu"))]
fn cpu() -> Result<Device> {
    Err(not_built("cpu"))
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(_software: bool) -> Result<Device> {
    Err(not_built("wgpu"))
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Result<Device> {
    Err(not_built("cuda"))
}

#[cfg(not(all(feature = "cpu", feature = "wgpu", feature = "cuda")))]
fn not_built(backend: &'static str) -> Error {
    let why = format!("this program was built without quickpick's feature \"{backend}\"");
    Error::Unavailable { backend, why }
}

//! Facts about matrix multiplies, recorded on hardware: which lane holds which element, which lane's
//! metadata acts on which row.
//!
//! A GPU is at hand rarely, so what it says is kept: [`record`] asks a [`Device`] about every form of
//! [`FORMS`] and writes one text file per form; [`replay`] holds a file against another device, such
//! as the emulator. The questions are [`sweep`]s of inputs that follow from formulas; the instrument
//! is a [`Probe`], a kernel that executes one multiply per block.

pub mod cuda;
mod device;
mod element;
mod emulated;
pub mod file;
mod forms;
mod probe;
mod record;
mod replay;
mod runs;
pub mod sweep;

pub use cuda::CudaDevice;
pub use device::{Device, Failure};
pub use element::Element;
pub use emulated::Emulated;
pub use file::{File, Header, Recorded};
pub use forms::{Engine, FORMS, Form, Image, Place, Swizzle, Target, form, forms};
pub use probe::{ENTRY, Probe};
pub use record::{End, Outcome, record, record_form};
pub use replay::{Difference, codes, replay};
pub use sweep::{Inputs, Kind, Sweep, all_codes, sweeps};

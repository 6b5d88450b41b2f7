//! Functions that the backend does not reach: an embedder captures by them.

use crate::{answer, work};
use std::ffi::{c_uint, c_void};
use std::sync::atomic::AtomicU32;

driver! {
    fn cuStreamBeginCapture_v2(stream: *mut c_void, mode: c_uint) { return work::begin(stream, mode) }
    fn cuStreamEndCapture(stream: *mut c_void, graph: *mut *mut c_void) {
        match work::end(stream) {
            Ok(made) => *graph = made,
            Err(code) => return code,
        }
    }
}

//! CUDA C++ to PTX, by NVIDIA's compiler, which `cargo xtask test` fetches and names.

use std::env::var_os;
use std::path::Path;
use std::process::Command;

/// Why there is no PTX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPtx {
    /// There is no compiler here: whoever needs it skips.
    Absent(String),
    /// The compiler took offence: a fault.
    Refused(String),
}

/// The PTX of a source, for a virtual architecture such as `compute_80`, at nvcc's `-O3`.
pub fn compile(source: &Path, arch: &str) -> Result<String, NoPtx> {
    let Some(nvcc) = var_os("QUICKPICK_NVCC") else {
        let why = var_os("QUICKPICK_NO_NVCC").map(|why| why.to_string_lossy().into_owned());
        let why = why.unwrap_or("QUICKPICK_NVCC names no nvcc; `cargo xtask test` does".into());
        return Err(NoPtx::Absent(why));
    };
    let output = Command::new(&nvcc)
        .args(["-ptx", "-O3", "-arch", arch, "-o", "-"])
        .arg(source)
        .output()
        .map_err(|error| NoPtx::Refused(format!("{} does not start: {error}", nvcc.display())))?;
    let said = String::from_utf8_lossy(&output.stderr);
    // a warning is a fault too: the sources are ours
    if !output.status.success() || said.contains("warning") {
        return Err(NoPtx::Refused(format!("{}: {}\n{said}", source.display(), output.status)));
    }
    String::from_utf8(output.stdout)
        .map_err(|error| NoPtx::Refused(format!("{}: {error}", source.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foreign;

    /// Every source compiles to one kernel of its name, without calls and without local memory.
    #[test]
    fn every_source_compiles() {
        for f in foreign::launches() {
            let ptx = match compile(&f.source(), f.arch) {
                Ok(ptx) => ptx,
                Err(NoPtx::Absent(why)) => return crate::skip("emulator", why),
                Err(NoPtx::Refused(why)) => panic!("{why}"),
            };
            assert!(ptx.contains(&format!(".visible .entry {}(", f.name)), "{}:\n{ptx}", f.name);
            assert_eq!(ptx.matches(".param .").count(), f.args.len(), "{}:\n{ptx}", f.name);
            for word in [".local", "call", ".func"] {
                assert!(!ptx.contains(word), "{}: {word}\n{ptx}", f.name);
            }
        }
    }
}

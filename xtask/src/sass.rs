//! `cargo xtask sass`: assembles every PTX kernel (rung 4).

use crate::error::{Result, failed};
use quickpick_kernels::KERNELS;
use std::path::Path;
use std::process::Command;

/// Assembles the kernels whose name contains `only` for every target; returns how many.
pub fn run(root: &Path, new: &Path, old: &Path, _nvdisasm: &Path, only: Option<&str>) -> Result<usize> {
    let mut kernels = 0;
    for spec in KERNELS {
        let (name, Some(("ptx", _))) = (spec.to_string(), spec.folder()) else { continue };
        if !only.is_none_or(|pattern| name.contains(pattern)) {
            continue;
        }
        let file = root.join("ptx").join(format!("{name}.ptx"));
        for (ptxas, targets) in [(new, &["sm_80", "sm_90a", "sm_120a"][..]), (old, &["sm_80", "sm_90a"])] {
            for target in targets {
                let done = Command::new(ptxas).args(["-v", "-arch", target, "-o", "/dev/null"]).arg(&file).output();
                match done {
                    Ok(done) if done.status.success() => {}
                    Ok(done) => return failed(format!("{name} {target}: {}", String::from_utf8_lossy(&done.stderr))),
                    Err(error) => return failed(format!("{}: {error}", ptxas.display())),
                }
            }
        }
        kernels += 1;
    }
    Ok(kernels)
}

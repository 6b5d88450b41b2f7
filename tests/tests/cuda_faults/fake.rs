//! The fake driver, compiled, and this program run with it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names what the child does.
pub const SCENARIO: &str = "QUICKPICK_FAULTS_SCENARIO";
/// The folder that holds the only driver the child may load.
pub const FOLDER: &str = "QUICKPICK_FAULTS_FOLDER";
/// The exit status of a child that met errors.
pub const ERRORS: u8 = 3;

const SOURCE: &str = include_str!("../../cuda/fake/libcuda.rs");

/// Names by which a driver is loaded.
const NAMES: [&str; 2] = ["libcuda.so", "libcuda.so.1"];

/// Why there is no fake driver.
pub enum NoFake {
    /// It cannot be had here: whoever needs it skips.
    Absent(String),
    /// The compiler took offence: a fault.
    Refused(String),
}

/// A folder with a fake driver.
pub struct Fake {
    folder: PathBuf,
    library: Vec<u8>,
}

impl Fake {
    /// Compiles it.
    pub fn build() -> Result<Self, NoFake> {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return Err(NoFake::Absent("the fake driver is a library of x86-64 Linux".into()));
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("cuda-faults-{}", std::process::id()));
        let file = folder.join("whole").join(NAMES[0]);
        let failed = |why: std::io::Error| NoFake::Refused(format!("{}: {why}", file.display()));
        std::fs::create_dir_all(folder.join("whole")).map_err(failed)?;
        // the compiler lies beside cargo, unless somebody says otherwise
        let beside = Path::new(env!("CARGO")).with_file_name("rustc");
        let rustc = std::env::var_os("RUSTC").map_or(beside, PathBuf::from);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda/fake/libcuda.rs");
        let output = Command::new(&rustc)
            .args(["--edition", "2024", "--crate-type", "cdylib", "--crate-name", "cuda"])
            .args(["-C", "panic=abort", "-D", "warnings", "-o"])
            .args([&file, &source])
            .output();
        let output = output.map_err(|why| {
            NoFake::Absent(format!("{}, which compiles the fake driver: {why}", rustc.display()))
        })?;
        if !output.status.success() {
            return Err(NoFake::Refused(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        let library = std::fs::read(&file).map_err(failed)?;
        std::os::unix::fs::symlink(NAMES[0], file.with_file_name(NAMES[1])).map_err(failed)?;
        Ok(Self { folder: folder.join("whole"), library })
    }

    /// The functions that it exports, by its source.
    pub fn exports(&self) -> BTreeSet<String> {
        let names = SOURCE.split("fn cu").skip(1).filter_map(|rest| rest.split_once('('));
        names.map(|(name, _)| format!("cu{name}")).collect()
    }

    /// Another folder, with these libraries by the names of a driver.
    fn sibling(&self, name: &str, libraries: [&[u8]; 2]) -> Result<Self, String> {
        let folder = self.folder.with_file_name(name);
        std::fs::create_dir_all(&folder).map_err(|why| why.to_string())?;
        for (name, bytes) in NAMES.iter().zip(libraries) {
            std::fs::write(folder.join(name), bytes).map_err(|why| why.to_string())?;
        }
        Ok(Self { folder, library: libraries[0].to_vec() })
    }

    /// What is there is no library; it hides a driver that this machine may have.
    pub fn without_library(&self) -> Result<Self, String> {
        self.sibling("none", [b"no library"; 2])
    }

    /// The same without a symbol: its name in the string tables is another.
    fn bytes_lacking(&self, symbol: &str) -> Result<Vec<u8>, String> {
        let name = [b"\0", symbol.as_bytes(), b"\0"].concat();
        let mut bytes = self.library.clone();
        let places = 0..bytes.len() - name.len();
        let found: Vec<_> = places.filter(|&at| bytes[at..].starts_with(&name)).collect();
        if found.is_empty() {
            return Err(format!("the fake driver exports no {symbol}"));
        }
        found.into_iter().for_each(|at| bytes[at + 1] = b'x');
        Ok(bytes)
    }

    /// A driver without a symbol.
    pub fn lacking(&self, symbol: &str) -> Result<Self, String> {
        let bytes = self.bytes_lacking(symbol)?;
        self.sibling(&format!("no-{symbol}"), [&bytes; 2])
    }

    /// A whole libcuda.so.1 beside a libcuda.so that lacks a symbol.
    pub fn with_stub(&self, symbol: &str) -> Result<Self, String> {
        self.sibling("stub", [&self.bytes_lacking(symbol)?, &self.library])
    }

    /// Runs the child. An error unless it ended as children do: neither by a signal nor by a panic.
    pub fn run(&self, scenario: &str, plan: &str) -> Result<Run, String> {
        let program = std::env::current_exe().map_err(|why| why.to_string())?;
        let output = Command::new(program)
            .env("LD_LIBRARY_PATH", &self.folder)
            .env(FOLDER, &self.folder)
            .env(SCENARIO, scenario)
            .env("QUICKPICK_FAKE_CUDA", plan)
            .env_remove("QUICKPICK_CUDA_DEVICE")
            .env_remove("LD_PRELOAD")
            .output()
            .map_err(|why| why.to_string())?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let errors = text.split("error<").skip(1);
        let errors = errors.filter_map(|rest| Some(rest.split_once(">error")?.0.to_string()));
        let errors = errors.collect();
        let run = Run { plan: format!("{scenario} with {plan:?}"), text, errors };
        let status = if run.errors.is_empty() { 0 } else { i32::from(ERRORS) };
        if output.status.code() != Some(status) || run.text.contains("panicked") {
            return Err(format!("it ended with {}\n{run}", output.status));
        }
        Ok(run)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        // a folder of its own, below cargo's for temporary files
        let _ = std::fs::remove_dir_all(&self.folder);
        let _ = self.folder.parent().map(std::fs::remove_dir);
    }
}

/// One call that reached the fake driver.
pub struct Call<'a> {
    pub stage: &'a str,
    pub function: &'a str,
    /// The `CUresult`.
    pub answer: u32,
}

/// What a child did.
pub struct Run {
    plan: String,
    text: String,
    errors: Vec<String>,
}

impl Run {
    /// The errors that it met, in order.
    pub fn errors(&self) -> &[String] {
        &self.errors
    }

    /// What a line that begins with a word goes on with, and its stage.
    fn told<'a>(&'a self, word: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut stage = "";
        self.text.lines().filter_map(move |line| {
            let (first, rest) = line.split_once(' ')?;
            if first == "stage" {
                stage = rest;
            }
            (first == word).then_some((stage, rest))
        })
    }

    /// Every call of the driver, in order.
    pub fn calls(&self) -> impl Iterator<Item = Call<'_>> {
        self.told("fake").filter_map(|(stage, rest)| {
            let (function, answer) = rest.split_once(' ')?;
            Some(Call { stage, function, answer: answer.parse().ok()? })
        })
    }

    /// What would have run in a stage, in order: the stream, and the launch with all its parameters.
    pub fn launches<'a>(&'a self, stage: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let launches = self.told("launch").filter(move |(at, _)| *at == stage);
        launches.filter_map(|(_, launch)| launch.split_once(' '))
    }

    /// The copies of a stage, such as `up 4 down 8 `.
    pub fn copies(&self, stage: &str) -> String {
        let copies = self.told("copy").filter(|(at, _)| *at == stage);
        copies.map(|(_, copy)| format!("{copy} ")).collect()
    }

    /// Whether the driver was called as nobody may.
    pub fn misused(&self) -> bool {
        self.told("misuse").count() > 0
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:\n{}", self.plan, self.text)
    }
}

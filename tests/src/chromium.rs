//! Headless Chromium, driven by the programs in `tests/chromium`: scripts are replayed there on WebGPU, and the
//! page is looked at.

use quickpick::script::Written;
use serde_json::Value;
use std::collections::BTreeMap;
use std::env::var_os;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What drives a browser here.
#[derive(Clone, Debug)]
pub struct Chromium {
    /// The browser's program.
    program: PathBuf,
    /// playwright-core's folder.
    playwright: OsString,
}

/// What a replayed script left: its named buffers, or the kind of its error and the words.
pub type Replayed = Result<BTreeMap<String, Vec<u8>>, (String, String)>;

impl Chromium {
    /// The browser that `QUICKPICK_CHROMIUM` names, else one on the path, node on the path, and the
    /// playwright-core that `cargo xtask test` fetches and names; or what is missing.
    pub fn find() -> Result<Self, String> {
        let named = var_os("QUICKPICK_CHROMIUM").map(PathBuf::from);
        let Some(program) = named.or_else(|| on_path("chromium")) else {
            return Err(
                "there is no chromium on the path, and QUICKPICK_CHROMIUM names none".into()
            );
        };
        if on_path("node").is_none() {
            return Err("there is no node on the path".into());
        }
        let Some(playwright) = var_os("QUICKPICK_PLAYWRIGHT") else {
            let why =
                var_os("QUICKPICK_NO_PLAYWRIGHT").map(|why| why.to_string_lossy().into_owned());
            let hint =
                "QUICKPICK_PLAYWRIGHT names no playwright-core; `cargo xtask test` and `parity` do";
            return Err(why.unwrap_or_else(|| hint.into()));
        };
        Ok(Self { program, playwright })
    }

    /// Replays scripts in one page, in a folder, which is made. Returns the browser and device in words, and
    /// what became of each script.
    ///
    /// Errors: the driver's last words.
    pub fn replay(
        &self,
        folder: &Path,
        scripts: &[(String, Written)],
    ) -> Result<(String, Vec<Replayed>), String> {
        let io = |why: std::io::Error| format!("{}: {why}", folder.display());
        fs::create_dir_all(folder).map_err(io)?;
        fs::copy(web().join("launch.js"), folder.join("launch.js")).map_err(io)?;
        for (name, script) in scripts {
            script.save(folder, name).map_err(|why| why.to_string())?;
        }
        let mut args = vec![folder.as_os_str().to_owned()];
        args.extend(scripts.iter().map(|(name, _)| name.into()));
        let lines = self.drive("replay.mjs", &args)?;
        let Some((first, lines)) = lines.split_first().filter(|(_, l)| l.len() == scripts.len())
        else {
            return Err(format!("{} lines for {} scripts", lines.len(), scripts.len()));
        };
        let device = format!("Chromium {}, {}", word(first, "browser"), word(first, "device"));
        let read = |line: &Value, (name, script): &(String, Written)| {
            if !line["error"].is_null() {
                return Ok(Err((word(line, "kind"), word(line, "error"))));
            }
            let buffers = script.form.named.keys().map(|buffer| {
                let bytes = fs::read(folder.join("out").join(format!("{name}.{buffer}")));
                Ok((buffer.clone(), bytes.map_err(io)?))
            });
            Ok(Ok(buffers.collect::<Result<_, String>>()?))
        };
        let replayed = lines.iter().zip(scripts).map(|(line, script)| read(line, script));
        Ok((device, replayed.collect::<Result<_, String>>()?))
    }

    /// The browser and its device in words; the folder is for files on the way.
    ///
    /// Errors: the driver's last words.
    pub fn device(&self, folder: &Path) -> Result<String, String> {
        copy_modules(folder)?;
        let lines = self.drive("parity.mjs", &[folder.into()])?;
        Ok(lines.first().map(|line| word(line, "device")).unwrap_or_default())
    }

    /// Asks the questions in `FOLDER/parity`; a report's file.
    ///
    /// Errors: the driver's last words.
    pub fn ask(&self, folder: &Path, executor: &str) -> Result<String, String> {
        copy_modules(folder)?;
        self.output("parity.mjs", &[folder.into(), executor.into()])
    }

    /// Runs a program of `tests/chromium`; its lines of JSON.
    ///
    /// Errors: it fails, with its words.
    pub fn drive(&self, program: &str, args: &[OsString]) -> Result<Vec<Value>, String> {
        lines(program, &self.output(program, args)?)
    }

    fn output(&self, program: &str, args: &[OsString]) -> Result<String, String> {
        let browser = [
            ("QUICKPICK_CHROMIUM", self.program.as_os_str()),
            ("QUICKPICK_PLAYWRIGHT", &self.playwright),
        ];
        run(program, args, &browser)
    }
}

/// What a program of `tests/chromium` prints.
fn run(program: &str, args: &[OsString], env: &[(&str, &OsStr)]) -> Result<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("chromium").join(program);
    let output = Command::new("node")
        .arg(path)
        .args(args)
        .envs(env.iter().copied())
        .output()
        .map_err(|why| format!("node does not start: {why}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(format!("{program}: {said}{}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(said)
}

fn lines(program: &str, text: &str) -> Result<Vec<Value>, String> {
    let line = |line| serde_json::from_str(line).map_err(|why| format!("{program}: {line}: {why}"));
    text.lines().map(line).collect()
}

/// Runs a program of `tests/chromium` on Dawn for node, which `cargo xtask test` fetches and names; its lines of
/// JSON, or what is missing.
///
/// Errors: it fails, with its words.
pub fn dawn(program: &str, args: &[OsString]) -> Result<Result<Vec<Value>, String>, String> {
    if on_path("node").is_none() {
        return Ok(Err("there is no node on the path".into()));
    }
    if var_os("QUICKPICK_DAWN").is_none() {
        let hint = "QUICKPICK_DAWN names no Dawn for node; `cargo xtask test` does";
        let why = var_os("QUICKPICK_NO_DAWN").map(|why| why.to_string_lossy().into_owned());
        return Ok(Err(why.unwrap_or_else(|| hint.into())));
    }
    // Dawn says there, too, what it thinks of a shader
    let said = run(program, args, &[])?;
    let ours = Vec::from_iter(said.lines().filter(|line| line.starts_with('{'))).join("\n");
    lines(program, &ours).map(Ok)
}

/// The page's modules that ask and judge.
fn copy_modules(folder: &Path) -> Result<(), String> {
    for module in ["launch.js", "parity.js"] {
        let (from, to) = (web().join(module), folder.join(module));
        fs::copy(&from, &to).map_err(|why| format!("{}: {why}", from.display()))?;
    }
    Ok(())
}

/// The page's files.
pub fn web() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../web")
}

fn word(line: &Value, key: &str) -> String {
    line[key].as_str().unwrap_or("unknown").into()
}

fn on_path(program: &str) -> Option<PathBuf> {
    let paths = var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join(program)).find(|file| file.is_file())
}

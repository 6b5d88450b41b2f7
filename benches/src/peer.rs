//! Rivals in other processes: `peers.py` runs PyTorch's cuBLAS and cuSPARSELt (on a CPU: oneDNN) and
//! answers JSON, a line each way. Rounds alternate with ours; between them the peers' processes wait.
//!
//! Each library has a process of its own, for an error on a GPU costs a process its context, and with it
//! whatever else runs there.

use crate::contender::{About, Contender, Method};
use crate::error::{Error, Result};
use crate::shapes::Shape;
use quickpick::kernels::DType;
use serde::Deserialize;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;

/// The script, carried in the program, so that a kit needs no path.
const SCRIPT: &str = include_str!("../kit/peers.py");

/// The script's peers, by the device that they run on; the first one of each also measures its ceilings.
const LIBRARIES: [(&str, &[&str]); 2] = [("cuda", &["cublas", "cusparselt"]), ("cpu", &["onednn"])];

/// A library that has cost so many processes their lives is not tried again: a start takes seconds.
const MOST_DEATHS: u32 = 4;

/// A library that multiplies matrices.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Peer {
    /// `cublas`, `cusparselt`, `onednn`.
    pub name: String,
    /// `dense` or `2:4`.
    pub weights: String,
    /// Element types, by name.
    pub dtypes: Vec<String>,
}

/// The running `peers.py` of a device, shared by their contenders.
#[derive(Clone)]
pub struct Shared(Vec<Rc<RefCell<Process>>>);

/// A running `peers.py` for one library.
struct Process {
    start: Start,
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// The last job's.
    id: u64,
    /// Versions, by name.
    hello: BTreeMap<String, Value>,
    /// The library; its types are those that it served when it started.
    peer: Peer,
    /// It has ended, or is of no more use.
    lost: bool,
    deaths: u32,
}

/// How a process is started.
#[derive(Clone, Copy)]
struct Start {
    script: &'static str,
    device: &'static str,
    library: &'static str,
}

/// A child that has not said hello yet.
type Started = (Child, ChildStdin, BufReader<ChildStdout>);

impl Shared {
    /// Starts the script for `cuda` or `cpu`, with as many threads as we use; a library that the machine
    /// lacks is told of and left out. [`Error::Absent`] where it has none of them, for want of Python,
    /// PyTorch or such a device: in the script's words.
    pub fn start(device: &'static str) -> Result<Self> {
        let of_device = LIBRARIES.iter().filter(|(of, _)| *of == device);
        let libraries = of_device.flat_map(|(_, libraries)| *libraries);
        let starts = libraries.map(|&library| Start { script: SCRIPT, device, library });
        Self::from_starts(starts)
    }

    fn from_starts(starts: impl Iterator<Item = Start>) -> Result<Self> {
        // all at once: each imports PyTorch
        let started: Vec<_> = starts.map(|start| (start, start.spawn())).collect();
        let (mut running, mut missing) = (vec![], vec![]);
        for (start, started) in started {
            match started.and_then(|started| Process::greet(start, started)) {
                Ok(process) => running.push(Rc::new(RefCell::new(process))),
                Err(why) => missing.push(format!("no {}: {}", start.library, why.cell())),
            }
        }
        if running.is_empty() {
            return Err(Error::Absent(format!("no peers: {}", missing.join("; "))));
        }
        missing.iter().for_each(|why| println!("{why}"));
        Ok(Self(running))
    }
}

impl Start {
    fn spawn(&self) -> Result<Started> {
        let threads = rayon::current_num_threads().to_string();
        let mut child = Command::new("python3")
            .args(["-u", "-c", self.script, "--device", self.device, "--threads", &threads])
            .args(["--peers", self.library])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|why| Error::Absent(format!("python3 does not start: {why}")))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(stdin), Some(stdout)) => Ok((child, stdin, BufReader::new(stdout))),
            _ => Err(Error::Absent("python3 has no pipes".into())),
        }
    }
}

impl Process {
    fn greet(start: Start, (child, stdin, stdout): Started) -> Result<Self> {
        let (hello, peer) = (BTreeMap::new(), Peer::none());
        let mut this =
            Self { start, child, stdin, stdout, id: 0, hello, peer, lost: false, deaths: 0 };
        let first = this.line()?;
        if let Some(why) = first["unavailable"].as_str() {
            return Err(Error::Absent(why.into()));
        }
        let hello = serde_json::from_value(first["hello"].clone()).ok();
        let peers: Option<Vec<Peer>> = serde_json::from_value(first["peers"].clone()).ok();
        match (hello, peers.as_deref()) {
            (Some(hello), Some([peer])) => {
                (this.hello, this.peer) = (hello, peer.clone());
                Ok(this)
            }
            // it serves no type, and says why
            (Some(_), Some([])) => Err(Error::Absent(first["absent"].to_string())),
            _ => Err(Error::Absent(format!("its first line is {first}"))),
        }
    }

    /// Has a new process take over from one that is lost. What the old one had prepared is gone.
    fn revive(&mut self) -> Result<()> {
        if !self.lost {
            return Ok(());
        }
        let (name, deaths) = (self.start.library, self.deaths);
        if deaths >= MOST_DEATHS {
            return Err(failed(name, format!("its process died {deaths} times, and is left so")));
        }
        // it may still be at ending itself
        let _ = self.child.kill();
        self.deaths += 1;
        let mut new = Self::greet(self.start, self.start.spawn()?)?;
        (new.id, new.deaths) = (self.id, deaths);
        *self = new;
        Ok(())
    }

    fn line(&mut self) -> Result<Value> {
        let name = self.start.library;
        let mut line = String::new();
        match self.stdout.read_line(&mut line) {
            Err(why) => Err(failed(name, why)),
            Ok(0) => Err(failed(name, "its process ended")),
            Ok(_) => {
                serde_json::from_str(&line).map_err(|why| failed(name, format!("{why}: {line}")))
            }
        }
    }

    fn ask(&mut self, question: &Value) -> Result<Value> {
        let name = self.start.library;
        if self.lost {
            return Err(failed(name, "its process was lost"));
        }
        let sent = writeln!(self.stdin, "{question}").and_then(|()| self.stdin.flush());
        let answer = sent.map_err(|why| failed(name, why)).and_then(|()| self.line());
        let answer = match answer {
            Ok(answer) if answer["lost"] != Value::Bool(true) => answer,
            other => {
                self.lost = true;
                self.deaths += 1;
                other?
            }
        };
        let keys = ["error", "wrong", "unsupported"];
        match keys.iter().find_map(|key| Some((*key, answer[*key].as_str()?))) {
            Some(("wrong", why)) => Err(Error::Wrong(why.into())),
            Some(("unsupported", why)) => Err(Error::Absent(why.into())),
            Some((_, why)) => Err(failed(name, why)),
            None => Ok(answer),
        }
    }

    /// A job on a shape: prepared, its algorithm searched for, checked, warm. The answers to both requests.
    fn prepare(
        &mut self,
        dtype: &str,
        shape: Shape,
        method: Method,
        search: bool,
    ) -> Result<(Value, Value)> {
        self.revive()?;
        self.id += 1;
        let ready = self.ask(&json!({
            "op": "prepare", "id": self.id, "peer": self.start.library, "dtype": dtype,
            "m": shape.layer.m, "n": shape.n, "k": shape.layer.k,
            "rotate_bytes": method.rotate_bytes, "search": search, "seed": 1,
        }))?;
        let milliseconds = method.sample.as_secs_f64() * 1e3;
        let calibrated =
            self.ask(&json!({ "op": "calibrate", "id": self.id, "ms": milliseconds }))?;
        Ok((ready, calibrated))
    }
}

impl Peer {
    fn none() -> Self {
        Self { name: String::new(), weights: String::new(), dtypes: vec![] }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // it ends by itself when its input does; a hung one is killed. There is nobody to tell
        let _ = writeln!(self.stdin, "{}", json!({ "op": "quit" }));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The ceilings of a machine.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct Ceilings {
    /// Bytes read plus bytes written by a large copy, 10⁹ per second.
    pub copy_gbps: f64,
    /// Dense matrix products, 10¹² operations per second, by element type.
    pub matmul: BTreeMap<String, f64>,
}

impl Shared {
    /// The libraries that run.
    pub fn list(&self) -> Vec<Peer> {
        self.0.iter().map(|process| process.borrow().peer.clone()).collect()
    }

    /// Versions and device, for a record.
    pub fn hello(&self) -> BTreeMap<String, String> {
        let text = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
        let all = self.0.iter().flat_map(|process| process.borrow().hello.clone());
        all.map(|(name, value)| (name, text(&value))).collect()
    }

    /// Copy bandwidth and dense matrix rate, measured by the device's first library.
    pub fn ceilings(&self) -> Result<Ceilings> {
        let mut first = self.0[0].borrow_mut();
        first.revive()?;
        let answer = first.ask(&json!({ "op": "ceilings" }))?;
        serde_json::from_value(answer).map_err(|why| failed("its ceilings", why))
    }

    /// A peer on a shape, its algorithm searched for, checked and warm. [`Error::Absent`] where the
    /// library does not serve it. A library whose search has cost it a process is taken as it comes.
    pub fn contender(
        &self,
        peer: &Peer,
        dtype: &str,
        shape: Shape,
        method: Method,
    ) -> Result<PeerContender> {
        let process = self.0.iter().find(|process| process.borrow().peer.name == peer.name);
        let process = process.ok_or_else(|| Error::Absent(format!("no {}", peer.name)))?;
        let mut running = process.borrow_mut();
        let search = running.deaths == 0;
        let ready = match running.prepare(dtype, shape, method, search) {
            Err(_) if search && running.lost => running.prepare(dtype, shape, method, false),
            other => other,
        };
        let (id, searched) = (running.id, running.deaths == 0);
        drop(running);
        // whatever fails from here on, its drop releases what the script holds
        let about = About { rival: peer.name.clone(), ..About::default() };
        let mut contender = PeerContender { process: process.clone(), id, about };
        let (ready, calibrated) = ready?;
        let ok = &ready["ok"];
        let about = &mut contender.about;
        about.kernel = ok["kernel"].as_str().unwrap_or_default().into();
        about.copies = ok["copies"].as_u64().unwrap_or(0) as u32;
        about.error = ok["error"].as_f64().unwrap_or(f64::NAN);
        about.launches = calibrated["launches"].as_u64().unwrap_or(0) as u32;
        let mut notes = vec![format!("Y {}", ok["out"].as_str().unwrap_or("?"))];
        if let Some(padded) = ok["n_padded"].as_u64().filter(|n| *n != u64::from(shape.n)) {
            notes.push(format!("padded to {padded} tokens"));
        }
        if calibrated["graph"] == Value::Bool(false) {
            notes.push("launched without a graph".into());
        }
        if !searched {
            notes.push("its own choice: a process was lost before, so nothing is searched".into());
        }
        about.note = notes.join("; ");
        Ok(contender)
    }
}

/// A peer on a shape.
pub struct PeerContender {
    process: Rc<RefCell<Process>>,
    id: u64,
    about: About,
}

impl Contender for PeerContender {
    fn about(&self) -> &About {
        &self.about
    }

    fn sample(&mut self) -> Result<f64> {
        let answer = self.process.borrow_mut().ask(&json!({ "op": "round", "id": self.id }))?;
        answer["us"].as_f64().ok_or_else(|| failed("its round", answer))
    }
}

impl Drop for PeerContender {
    fn drop(&mut self) {
        // an id that was never prepared is no error of ours
        let _ = self.process.borrow_mut().ask(&json!({ "op": "release", "id": self.id }));
    }
}

/// The type of our kernels that a peer's name means; `None` for e4m3, of which only peers are timed.
pub fn ours(name: &str) -> Option<DType> {
    match name {
        "f16" => Some(DType::F16),
        "bf16" => Some(DType::BF16),
        "f32" => Some(DType::F32),
        "s8" => Some(DType::I8),
        _ => None,
    }
}

fn failed(peer: &str, why: impl ToString) -> Error {
    Error::Peer { peer: peer.into(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::LAYERS;
    use std::collections::BTreeSet;
    use std::time::Duration;

    /// Every peer of the script has a process here.
    #[test]
    fn the_libraries_are_the_scripts() {
        let names =
            SCRIPT.lines().filter_map(|l| l.strip_prefix("    name = \"")?.strip_suffix('"'));
        // its devices have names, too
        let here = LIBRARIES
            .iter()
            .flat_map(|(device, libraries)| [*device].into_iter().chain(libraries.iter().copied()));
        assert_eq!(BTreeSet::from_iter(names), BTreeSet::from_iter(here));
    }

    /// Speaks as `peers.py` does. One library loses its device on 64 tokens, and in each search; the other
    /// never.
    const STUB: &str = r#"
import json, sys
name = sys.argv[sys.argv.index("--peers") + 1]
def say(**answer): print(json.dumps(answer), flush=True)
say(hello={"torch": "none", name: "1"}, peers=[{"name": name, "weights": "dense", "dtypes": ["f16"]}], absent=[])
for line in sys.stdin:
    asked = json.loads(line)
    if asked["op"] == "prepare":
        if name == "cusparselt" and (asked["n"] == 64 or asked["search"]):
            say(error="the CUDA context is lost", lost=True)
            sys.exit(4)
        say(ok={"kernel": "searched" if asked["search"] else "own", "copies": 1, "error": 0.5, "out": "f16"})
    elif asked["op"] == "calibrate":
        say(launches=7, graph=True)
    else:
        say(us=1.0)
"#;

    #[test]
    fn a_dead_library_fails_only_its_own_rows_and_is_started_again() {
        let start = |library| Start { script: STUB, device: "cuda", library };
        let peers = match Shared::from_starts(["cublas", "cusparselt"].map(start).into_iter()) {
            Err(Error::Absent(why)) if why.contains("python3 does not start") => {
                return eprintln!("skipped: {why}");
            }
            other => other.unwrap(),
        };
        assert_eq!(peers.hello().keys().collect::<Vec<_>>(), ["cublas", "cusparselt", "torch"]);
        let method = Method { rounds: 1, sample: Duration::from_micros(50), rotate_bytes: 0 };
        let layer = LAYERS[0];
        let [mut dense, mut sparse] = [vec![], vec![]];
        for n in [1, 64, 16, 64, 64, 16] {
            for (peer, told) in peers.list().iter().zip([&mut dense, &mut sparse]) {
                let made = peers.contender(peer, "f16", Shape { layer, n }, method);
                told.push(match made {
                    Ok(mut made) => {
                        assert_eq!(made.sample().unwrap() * 7.0, 1.0 * 7.0);
                        made.about().kernel.clone()
                    }
                    Err(why) => why.cell(),
                });
            }
        }
        assert_eq!(dense, ["searched"; 6]);
        let lost = "peer cusparselt: the CUDA context is lost";
        let left = "peer cusparselt: its process died 4 times, and is left so";
        // the search dies, and then what 64 tokens are; the fourth death is the last
        assert_eq!(sparse, ["own", lost, "own", lost, lost, left]);
    }

    /// Where PyTorch is not installed, the script says so; where it is, it multiplies.
    #[test]
    fn the_script_multiplies_or_says_what_it_lacks() {
        let peers = match Shared::start("cpu") {
            Ok(peers) => peers,
            Err(Error::Absent(why)) => {
                assert!(why.contains("PyTorch") || why.contains("python3"), "{why}");
                return eprintln!("skipped: {why}");
            }
            Err(why) => panic!("{why}"),
        };
        let list = peers.list();
        let method = Method { rounds: 1, sample: Duration::from_micros(50), rotate_bytes: 0 };
        let shape = LAYERS.iter().find(|l| l.m == 512).unwrap().shapes().next().unwrap();
        let mut peer = peers.contender(&list[0], "f32", shape, method).unwrap();
        assert!(peer.sample().unwrap() > 0.0 && peer.about().error <= 1.0, "{:?}", peer.about());
        let why = peers.contender(&list[0], "f7", shape, method).err().unwrap();
        assert!(matches!(&why, Error::Absent(text) if text.contains("f7")), "{why}");
    }
}

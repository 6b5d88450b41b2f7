//! Rivals in another process: `peers.py` runs PyTorch's cuBLAS and cuSPARSELt (on a CPU: oneDNN) and
//! answers JSON, a line each way. Rounds alternate with ours; between them the peer's process waits.

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

/// A running `peers.py`.
struct Peers {
    device: &'static str,
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    next: u64,
    /// Versions, by name.
    hello: BTreeMap<String, Value>,
    /// What it can run.
    list: Vec<Peer>,
}

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

/// A running `peers.py`, shared by its contenders.
#[derive(Clone)]
pub struct Shared(Rc<RefCell<Peers>>);

impl Shared {
    /// Starts the script for `cuda` or `cpu`, with as many threads as we use. [`Error::Absent`] where
    /// the machine has no Python, no PyTorch, or no such device: in the script's words.
    pub fn start(device: &'static str) -> Result<Self> {
        Ok(Self(Rc::new(RefCell::new(Peers::start(device)?))))
    }
}

impl Peers {
    fn start(device: &'static str) -> Result<Self> {
        let threads = rayon::current_num_threads().to_string();
        let absent = |why: String| Error::Absent(format!("no peers: {why}"));
        let mut child = Command::new("python3")
            .args(["-u", "-c", SCRIPT, "--device", device, "--threads", &threads])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|why| absent(format!("python3 does not start: {why}")))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(absent("python3 has no pipes".into()));
        };
        let stdout = BufReader::new(stdout);
        let (hello, list) = (BTreeMap::new(), vec![]);
        let mut peers = Self { device, child, stdin, stdout, next: 0, hello, list };
        let first = peers.line().map_err(|why| absent(why.cell()))?;
        if let Some(why) = first["unavailable"].as_str() {
            return Err(absent(why.into()));
        }
        let parse = |value: &Value| serde_json::from_value(value.clone()).ok();
        match (parse(&first["hello"]), serde_json::from_value(first["peers"].clone())) {
            (Some(hello), Ok(list)) => {
                peers.hello = hello;
                peers.list = list;
                Ok(peers)
            }
            _ => Err(absent(format!("its first line is {first}"))),
        }
    }

    /// A library may have cost the script its CUDA context, upon which it ends: then a new one takes
    /// over. What the old one had prepared is gone.
    fn revive(&mut self) -> Result<()> {
        let ended = self.child.try_wait().map_err(|why| failed("its process", why))?;
        if ended.is_some() {
            let next = self.next;
            *self = Self::start(self.device)?;
            self.next = next;
        }
        Ok(())
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line).map_err(|why| failed("its output", why))?;
        if read == 0 {
            return Err(failed("its process", "it ended"));
        }
        serde_json::from_str(&line).map_err(|why| failed("its answer", format!("{why}: {line}")))
    }

    fn ask(&mut self, question: &Value) -> Result<Value> {
        writeln!(self.stdin, "{question}").map_err(|why| failed("its input", why))?;
        self.stdin.flush().map_err(|why| failed("its input", why))?;
        let answer = self.line()?;
        match ["error", "wrong", "unsupported"]
            .iter()
            .find_map(|key| Some((key, answer[*key].as_str()?)))
        {
            Some((&"wrong", why)) => Err(Error::Wrong(why.into())),
            Some((&"unsupported", why)) => Err(Error::Absent(why.into())),
            Some((_, why)) => Err(failed("peers.py", why)),
            None => Ok(answer),
        }
    }
}

impl Drop for Peers {
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
    /// What it can run.
    pub fn list(&self) -> Vec<Peer> {
        self.0.borrow().list.clone()
    }

    /// Versions and device, for a record.
    pub fn hello(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
        self.0.borrow().hello.iter().map(|(k, v)| (k.clone(), text(v))).collect()
    }

    /// Copy bandwidth and dense matrix rate, measured.
    pub fn ceilings(&self) -> Result<Ceilings> {
        let answer = self.0.borrow_mut().ask(&json!({ "op": "ceilings" }))?;
        serde_json::from_value(answer).map_err(|why| failed("its ceilings", why))
    }

    /// A peer on a shape, its algorithm searched for, checked and warm. [`Error::Absent`] where the
    /// library does not serve it.
    pub fn contender(
        &self,
        peer: &Peer,
        dtype: &str,
        shape: Shape,
        method: Method,
    ) -> Result<PeerContender> {
        let mut peers = self.0.borrow_mut();
        peers.revive()?;
        peers.next += 1;
        let id = peers.next;
        // made first: whatever fails from here on, its drop releases what the script holds
        let rival = peer.name.clone();
        let about = About { rival, ..About::default() };
        let mut contender = PeerContender { peers: self.clone(), id, about };
        let ready = peers.ask(&json!({
            "op": "prepare", "id": id, "peer": peer.name, "dtype": dtype,
            "m": shape.layer.m, "n": shape.n, "k": shape.layer.k,
            "rotate_bytes": method.rotate_bytes, "search": true, "seed": 1,
        }));
        let milliseconds = method.sample.as_secs_f64() * 1e3;
        let ready = ready.and_then(|ready| {
            let launches =
                peers.ask(&json!({ "op": "calibrate", "id": id, "ms": milliseconds }))?;
            Ok((ready, launches))
        });
        drop(peers); // a failed contender's drop asks, too
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
        about.note = notes.join("; ");
        Ok(contender)
    }
}

/// A peer on a shape.
pub struct PeerContender {
    peers: Shared,
    id: u64,
    about: About,
}

impl Contender for PeerContender {
    fn about(&self) -> &About {
        &self.about
    }

    fn sample(&mut self) -> Result<f64> {
        let answer = self.peers.0.borrow_mut().ask(&json!({ "op": "round", "id": self.id }))?;
        answer["us"].as_f64().ok_or_else(|| failed("its round", answer))
    }
}

impl Drop for PeerContender {
    fn drop(&mut self) {
        // an id that was never prepared is no error of ours
        let _ = self.peers.0.borrow_mut().ask(&json!({ "op": "release", "id": self.id }));
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
    use std::time::Duration;

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

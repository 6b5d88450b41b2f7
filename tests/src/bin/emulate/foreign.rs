//! Any PTX file, with a grid and arguments by hand.

use crate::Failure;
use crate::args::Args;
use crate::run;
use crate::value::{Type, row, short};
use quickpick_emulator::{Arg, Global, Launch, Program};
use quickpick_tests::data::{Fill, Source};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Bytes of one buffer; more would take the emulator hours.
const MOST: usize = 1 << 30;
/// Values that are shown of a buffer.
const SHOWN: usize = 8;

/// What one word of `--args` gives.
#[derive(Clone, Debug, PartialEq)]
enum Given {
    /// A scalar's bytes.
    Scalar(Vec<u8>),
    /// A parameter's bytes, from a file.
    Bytes(PathBuf),
    /// A buffer with a file's bytes.
    In(PathBuf),
    /// A buffer of zeros.
    Zeros(usize),
    /// A buffer that nothing wrote, and what it will hold.
    Out(usize, Type),
    /// A buffer of so many values: floats in ±1, integers of any bits.
    Random(Type, usize, u64),
    /// A buffer of 0, 1, 2 and so on.
    Ramp(Type, usize),
}

/// A buffer that is shown after the run.
struct Shown {
    name: String,
    at: u64,
    ty: Type,
}

/// Runs a file's kernel, and shows what it left in its buffers.
pub fn run(args: &Args, path: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let call = &args.call;
    let told = |why: &dyn ToString| format!("{}: {}", path.display(), why.to_string());
    let text = fs::read_to_string(path).map_err(|e| told(&e))?;
    let program = Program::parse_entry(&text, call.entry.as_deref()).map_err(|e| told(&e))?;
    let grid = call
        .grid
        .ok_or_else(|| told(&"a file needs --grid (or, if it is a kernel of ours, --shape)"))?;
    let block = call.block.map(|block| block.0).or(program.threads());
    let block = block.ok_or_else(|| told(&"the kernel demands no block: --block is needed"))?;
    let cluster = call.cluster.map_or([1; 3], |cluster| cluster.0);

    let mut memory = Global::default();
    let (list, results) = bind(&program, &call.args, &mut memory)?;
    let launch = Launch { grid: grid.0, block, cluster, shared_bytes: call.shared, args: list };
    let [x, y, z] = grid.0;
    let threads: u64 = block.iter().map(|t| u64::from(*t)).product();
    let name = program.name();
    writeln!(out, "kernel    {name}: grid {x}×{y}×{z}, block {threads}, shared {} B", call.shared)?;
    let report = run::run(&program, &text, (&launch, &mut memory), &args.run, out)?;
    for result in &results {
        show(result, &memory, call.dump.as_deref(), out)?;
    }
    crate::report::write(&report, args.run.lines, out)?;
    Ok(())
}

/// An argument for each parameter, and the buffers to show.
fn bind(
    program: &Program,
    given: &[String],
    memory: &mut Global,
) -> Result<(Vec<Arg>, Vec<Shown>), String> {
    let params: Vec<_> = program.params().collect();
    if params.len() != given.len() {
        let list: Vec<_> = params.iter().map(|(name, b)| format!("{name} ({b} bytes)")).collect();
        let (got, want) = (given.len(), params.len());
        return Err(format!("--args has {got} for {want} parameters: {}", list.join(", ")));
    }
    let (mut args, mut results) = (Vec::new(), Vec::new());
    for ((name, bytes), text) in params.into_iter().zip(given) {
        let wrong = |why: String| format!("parameter `{name}`, `{text}`: {why}");
        let given = parse(text).map_err(wrong)?;
        let arg = argument(name, &given, memory).map_err(wrong)?;
        if arg.len() != bytes {
            return Err(wrong(format!("it has {bytes} bytes, this has {}", arg.len())));
        }
        let ty = match given {
            Given::Out(_, ty) => Some(ty),
            Given::Zeros(_) => Some(Type::F32),
            _ => None,
        };
        if let (Some(ty), Ok(at)) = (ty, arg.as_slice().try_into()) {
            results.push(Shown { name: name.into(), at: u64::from_le_bytes(at), ty });
        }
        args.push(Arg::Bytes(arg));
    }
    Ok((args, results))
}

/// A word of `--args`.
fn parse(text: &str) -> Result<Given, String> {
    const KINDS: &str = "TYPE:VALUE, in:FILE, bytes:FILE, zeros:BYTES, out:BYTES[:TYPE], \
                         random:TYPE:COUNT[:SEED] or ramp:TYPE:COUNT";
    let (kind, rest) = text.split_once(':').ok_or(format!("none of {KINDS}"))?;
    let words: Vec<_> = rest.split(':').collect();
    let ty = |name: &str| Type::named(name).ok_or(format!("`{name}` is no type: u32, f16, …"));
    let number = |text: &str| -> Result<u64, String> {
        text.parse().map_err(|_| format!("`{text}` is no number"))
    };
    let size = |text: &str, each: usize| -> Result<usize, String> {
        let count = number(text)?;
        match count.checked_mul(each as u64) {
            Some(bytes) if bytes <= MOST as u64 => Ok(count as usize),
            _ => Err(format!("{count} of {each} bytes: {MOST} are possible")),
        }
    };
    Ok(match (kind, &words[..]) {
        ("in", _) => Given::In(rest.into()),
        ("bytes", _) => Given::Bytes(rest.into()),
        ("zeros", [bytes]) => Given::Zeros(size(bytes, 1)?),
        ("out", [bytes]) => Given::Out(size(bytes, 1)?, Type::F32),
        ("out", [bytes, name]) => Given::Out(size(bytes, 1)?, ty(name)?),
        ("random", [name, count]) => Given::Random(ty(name)?, size(count, ty(name)?.bytes())?, 1),
        ("random", [name, count, seed]) => {
            Given::Random(ty(name)?, size(count, ty(name)?.bytes())?, number(seed)?)
        }
        ("ramp", [name, count]) => Given::Ramp(ty(name)?, size(count, ty(name)?.bytes())?),
        (name, [value]) if Type::named(name).is_some() => Given::Scalar(ty(name)?.parse(value)?),
        _ => return Err(format!("none of {KINDS}")),
    })
}

/// The bytes of the parameter; a buffer is put into memory, and they are its address.
fn argument(name: &str, given: &Given, memory: &mut Global) -> Result<Vec<u8>, String> {
    let read = |path: &Path| fs::read(path).map_err(|e| e.to_string());
    let mut put = |bytes: &[u8]| memory.put(name, bytes, false).to_le_bytes().to_vec();
    Ok(match given {
        Given::Scalar(bytes) => bytes.clone(),
        Given::Bytes(path) => read(path)?,
        Given::In(path) => put(&read(path)?),
        Given::Zeros(bytes) => put(&vec![0; *bytes]),
        Given::Out(bytes, _) => memory.poisoned(name, *bytes).to_le_bytes().to_vec(),
        Given::Random(ty, count, seed) => put(&random(*ty, *count, *seed)),
        Given::Ramp(ty, count) => {
            put(&(0..*count).flat_map(|i| ty.encode(i as f64)).collect::<Vec<_>>())
        }
    })
}

fn random(ty: Type, count: usize, seed: u64) -> Vec<u8> {
    if ty.is_float() {
        let mut source = Source::new(Fill::Random, seed);
        return (0..count).flat_map(|_| ty.encode(source.uniform(1.0))).collect();
    }
    let mut bytes = vec![0; count * ty.bytes()];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// The first values of a buffer, and all of it into a file if asked.
fn show(
    Shown { name, at, ty }: &Shown,
    memory: &Global,
    dump: Option<&Path>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let Some((bytes, written)) = memory.get(*at) else { return Ok(()) };
    let cells = bytes.chunks_exact(ty.bytes()).zip(written.chunks_exact(ty.bytes()));
    let values = cells.take(SHOWN).map(|(cell, written)| match written.iter().all(|w| *w) {
        true if ty.is_float() => short(ty.decode(cell)),
        true => ty.decode(cell).to_string(),
        false => "unwritten".into(),
    });
    writeln!(out, "{name:<9} {}", row("[0..]".into(), values))?;
    let missing = written.iter().filter(|w| !**w).count();
    if missing > 0 {
        writeln!(out, "          nothing wrote {missing} of {} bytes", bytes.len())?;
    }
    if let Some(folder) = dump {
        let path = folder.join(format!("{name}.bin"));
        let done = fs::create_dir_all(folder).and_then(|()| fs::write(&path, bytes));
        done.map_err(|e| format!("--dump {}: {e}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_what_they_say() {
        for (text, given) in [
            ("u32:7", Given::Scalar(vec![7, 0, 0, 0])),
            ("f32:1.5", Given::Scalar(1.5f32.to_le_bytes().to_vec())),
            ("in:a/b:c.bin", Given::In("a/b:c.bin".into())),
            ("bytes:map.bin", Given::Bytes("map.bin".into())),
            ("zeros:64", Given::Zeros(64)),
            ("out:64", Given::Out(64, Type::F32)),
            ("out:64:bf16", Given::Out(64, Type::BF16)),
            ("random:f16:32", Given::Random(Type::F16, 32, 1)),
            ("random:s8:32:9", Given::Random(Type::Signed(1), 32, 9)),
            ("ramp:f32:10", Given::Ramp(Type::F32, 10)),
        ] {
            assert_eq!(parse(text), Ok(given), "{text}");
        }
        for (text, said) in [
            ("7", "none of"),
            ("ramp:f32", "none of"),
            ("int:7", "none of"),
            ("u32:x", "`x`"),
            ("out:many", "`many`"),
            ("ramp:f8:3", "`f8` is no type"),
            ("random:f64:999999999999", "1073741824 are possible"),
        ] {
            assert!(parse(text).unwrap_err().contains(said), "{text}");
        }
    }

    const COPY: &str = "\
.version 7.0
.target sm_80
.address_size 64

.visible .entry copy(
    .param .u64 from,
    .param .u64 to,
    .param .u32 more
)
{
    .reg .b32 %thread, %more, %x;
    .reg .b64 %from, %to;
    ld.param.u64 %from, [from];
    ld.param.u64 %to, [to];
    ld.param.u32 %more, [more];
    mov.u32 %thread, %tid.x;
    mad.wide.u32 %from, %thread, 4, %from;
    mad.wide.u32 %to, %thread, 4, %to;
    ld.global.b32 %x, [%from];
    add.u32 %x, %x, %more;
    st.global.b32 [%to], %x;
    ret;
}
";

    fn args(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| text.to_string()).collect()
    }

    #[test]
    fn buffers_go_in_and_come_out() {
        let program = Program::parse(COPY).unwrap();
        let mut memory = Global::default();
        let list = args(&["ramp:u32:32", "out:132:u32", "u32:5"]);
        let (list, results) = bind(&program, &list, &mut memory).unwrap();
        program.run(&Launch::new([1; 3], 32, list), &mut memory).unwrap();
        let mut out = Vec::new();
        show(&results[0], &memory, None, &mut out).ok().unwrap();
        let told = String::from_utf8(out).unwrap();
        let values: Vec<_> = told.split_whitespace().take(4).collect();
        assert_eq!(values, ["to", "[0..]", "5", "6"], "{told}");
        assert!(told.contains("nothing wrote 4 of 132 bytes"), "{told}");
    }

    #[test]
    fn what_does_not_fit_names_the_parameter() {
        let program = Program::parse(COPY).unwrap();
        for (list, said) in [
            (&["u64:0"][..], "1 for 3 parameters: from (8 bytes), to (8 bytes), more (4 bytes)"),
            (&["u64:0", "u32:1", "u32:5"], "parameter `to`, `u32:1`: it has 8 bytes, this has 4"),
            (&["u64:0", "out:64", "f32:x"], "parameter `more`, `f32:x`"),
            (&["in:/no/such/file", "out:64", "u32:5"], "parameter `from`"),
        ] {
            let error = bind(&program, &args(list), &mut Global::default()).err().unwrap();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn random_integers_use_all_bits() {
        let bytes = random(Type::Unsigned(4), 256, 1);
        assert_eq!(bytes.len(), 1024);
        assert!(bytes.iter().any(|b| *b > 0xF0) && bytes.iter().any(|b| *b < 0x10));
        assert_ne!(bytes, random(Type::Unsigned(4), 256, 2));
    }
}

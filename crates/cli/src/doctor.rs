//! `quickpick doctor`: what this machine has, and which kernel would be chosen for a shape and why.

use miette::{Result, miette};
use quickpick::kernels::{
    Caps, Considered, CudaCaps, DType, Epilogue, Linear, Problem, Selection, Weights, select,
};
use quickpick::{Backend, Cpu, Kind};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What to look at.
#[derive(clap::Args)]
pub struct Args {
    /// Show which kernels serve Y[n×m] = X[n×k]·Wᵀ: m output features, n tokens, k input features.
    #[arg(long, value_name = "M,N,K")]
    shape: Option<Shape>,
    /// The type of W and X for --shape: f16, bf16, f32, i8, e4m3 or e5m2; Y is of the same, of 8-bit ones bf16.
    #[arg(long, value_name = "TYPE", default_value = "f16", value_parser = dtype)]
    dtype: DType,
}

/// `m,n,k`
#[derive(Clone, Copy, Debug)]
struct Shape {
    m: u32,
    n: u32,
    k: u32,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let numbers = text.split([',', 'x', '×']).map(|part| part.trim().parse::<u32>());
        match numbers.collect::<std::result::Result<Vec<_>, _>>().as_deref() {
            Ok(&[m, n, k]) => Ok(Self { m, n, k }),
            _ => Err("three whole numbers are wanted, as in 4096,16,4096".into()),
        }
    }
}

fn dtype(text: &str) -> std::result::Result<DType, String> {
    let found = DType::ALL.into_iter().find(|dtype| dtype.to_string() == text);
    found.ok_or_else(|| format!("the types are {}", DType::ALL.map(|d| d.to_string()).join(", ")))
}

/// Prints it.
pub fn run(args: &Args) -> Result<()> {
    println!("quickpick {}", env!("CARGO_PKG_VERSION"));
    println!("\nbackends");
    let mut devices = vec![(format!("cpu: {}", Cpu::new().describe()), Caps::Cpu)];
    println!("  {}", devices[0].0);
    wgpu(&mut devices);
    cuda(&mut devices);
    match quickpick::open(Kind::Auto) {
        Ok(opened) => println!("\nauto takes\n  {}", opened.to_string().replace('\n', "\n  ")),
        Err(why) => println!("\nauto takes nothing: {why}"),
    }
    println!("\ntools");
    tools();
    match args.shape {
        Some(shape) => kernels(shape, args.dtype, &devices),
        None => {
            println!("\nTo see which kernel would run a layer, and why: --shape M,N,K");
            Ok(())
        }
    }
}

/// Names and abilities, to plan for.
type Devices = Vec<(String, Caps)>;

#[cfg(feature = "wgpu")]
fn wgpu(devices: &mut Devices) {
    let adapters = quickpick::wgpu::adapters();
    if adapters.is_empty() {
        println!("  wgpu: no adapter; no Vulkan, Metal or DX12 driver answers");
    }
    for (i, adapter) in adapters.iter().enumerate() {
        println!("  wgpu {i}: {adapter}");
        let c = &adapter.caps;
        println!(
            "    {}, workgroups of {} with {} KiB, {} along a dimension, {} storage buffers of {} MiB",
            if c.f16 { "f16" } else { "no f16" },
            c.invocations,
            c.workgroup_bytes >> 10,
            c.workgroups,
            c.storage_buffers,
            c.binding_bytes >> 20,
        );
        devices.push((format!("wgpu {i}: {adapter}"), Caps::Wgpu(c.clone())));
    }
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(_: &mut Devices) {
    println!("  wgpu: not in this build (feature \"wgpu\")");
}

#[cfg(feature = "cuda")]
fn cuda(devices: &mut Devices) {
    match quickpick::cuda::devices() {
        Ok(found) if found.is_empty() => {
            println!("  cuda: the NVIDIA driver finds no device");
            devices.extend(absent());
        }
        Ok(found) => {
            for (i, (name, c)) in found.into_iter().enumerate() {
                println!("  cuda {i}: {name}");
                println!(
                    "    compute capability {}.{}, {} multiprocessors, {} KiB of shared memory a block",
                    c.sm / 10,
                    c.sm % 10,
                    c.sms,
                    c.shared_bytes >> 10,
                );
                devices.push((format!("cuda {i}: {name}"), Caps::Cuda(c)));
            }
        }
        Err(why) => {
            println!("  {why}");
            devices.extend(absent());
        }
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda(devices: &mut Devices) {
    println!("  cuda: not in this build (feature \"cuda\")");
    devices.extend(absent());
}

/// Where there is no NVIDIA GPU, the plans for two that are common (CUDA programming guide, "Compute
/// Capabilities"; vendor's data sheets).
fn absent() -> Devices {
    let a100 = CudaCaps { name: None, sm: 80, shared_bytes: 163 << 10, sms: 108 };
    let h100 = CudaCaps { name: None, sm: 90, shared_bytes: 227 << 10, sms: 132 };
    [("A100", a100), ("H100", h100)]
        .map(|(name, caps)| (format!("cuda, as it would be on an {name}"), Caps::Cuda(caps)))
        .into()
}

/// Programs that the project's tests use, where they are found.
fn tools() {
    let purposes = [
        ("ptxas", "assembles ptx/"),
        ("nvdisasm", "shows the machine code"),
        ("python3", "fetches ptxas and nvdisasm into target/tools, where they are missing"),
        ("nvidia-smi", "NVIDIA's driver"),
        ("vulkaninfo", "Vulkan's drivers"),
        ("spirv-val", "judges naga's SPIR-V"),
        ("chromium", "runs the shaders in WebGPU"),
    ];
    for (name, purpose) in purposes {
        match find(name) {
            Some(path) => println!("  {name:<11} {}", path.display()),
            None => println!("  {name:<11} absent ({purpose})"),
        }
    }
}

/// In `PATH`, or below target/tools, where xtask puts what it fetches.
fn find(name: &str) -> Option<PathBuf> {
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join(&file));
    on_path
        .into_iter()
        .find(|path| path.is_file())
        .or_else(|| below("target/tools".as_ref(), &file, 5))
}

fn below(folder: &Path, file: &str, depth: u32) -> Option<PathBuf> {
    let entries =
        Vec::from_iter(std::fs::read_dir(folder).ok()?.filter_map(|e| Some(e.ok()?.path())));
    let here = entries.iter().find(|path| path.is_file() && path.ends_with(file)).cloned();
    let folders = entries.iter().filter(|path| depth > 0 && path.is_dir());
    here.or_else(|| folders.into_iter().find_map(|folder| below(folder, file, depth - 1)))
}

fn kernels(Shape { m, n, k: columns }: Shape, dtype: DType, devices: &Devices) -> Result<()> {
    let mut served = false;
    let k = columns.checked_next_multiple_of(32).unwrap_or(columns);
    if k != columns {
        println!("\nk = {columns} is padded to {k} when W is packed; X carries {k} columns");
    }
    for (name, caps) in devices {
        println!("\n{name}");
        for weights in [Weights::Sparse24, Weights::Dense] {
            let epilogue = Epilogue::NONE;
            let problem = Problem::Linear(Linear {
                m,
                n,
                k,
                weights,
                dtype,
                out: Linear::narrow_out(dtype),
                epilogue,
            });
            match select(&problem, caps) {
                Ok(Selection { plan, basis, considered }) => {
                    served = true;
                    println!("  {plan}\n    for {problem}: {basis}");
                    reasons(&considered);
                }
                Err(none) => {
                    println!("  no kernel for {problem}");
                    reasons(&none.considered);
                }
            }
        }
    }
    if served { Ok(()) } else { Err(miette!("no kernel serves {m},{n},{columns} on any device")) }
}

/// Costs, and why others cannot serve.
fn reasons(considered: &[Considered]) {
    for Considered { spec, outcome } in considered {
        match outcome {
            Ok(cost) => println!("      {spec}: cost {cost:.3e}"),
            Err(why) => println!("      {spec}: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_read_and_nonsense_refused() {
        let Shape { m, n, k } = "4096, 16,11008".parse().unwrap();
        assert_eq!((m, n, k), (4096, 16, 11008));
        for text in ["", "1,2", "1,2,3,4", "1,-2,3", "a,b,c"] {
            assert!(text.parse::<Shape>().is_err(), "{text}");
        }
        for known in DType::ALL {
            assert_eq!(dtype(&known.to_string()), Ok(known));
        }
        assert_eq!(dtype("f64"), Err("the types are f16, bf16, f32, i8, e4m3, e5m2".into()));
    }

    #[test]
    fn every_device_gets_an_answer() {
        let mut devices = vec![("cpu".to_owned(), Caps::Cpu)];
        devices.extend(absent());
        assert!(kernels(Shape { m: 64, n: 1, k: 63 }, DType::F16, &devices).is_ok());
        assert!(kernels(Shape { m: 64, n: 0, k: 64 }, DType::F16, &devices).is_err());
    }
}

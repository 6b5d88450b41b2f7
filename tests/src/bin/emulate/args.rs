//! The command line.

use quickpick_emulator::{Options, Schedule};
use quickpick_kernels::{Activation, DType, Epilogue};
use std::path::{Path, PathBuf};

/// Runs a PTX kernel in the emulator: a committed one on random 2:4 data against the f64 oracle, or
/// any file on arguments of one's own. With `--mutants` instead: weakens every kernel, one place at a
/// time, and demands that the emulator objects.
#[derive(clap::Parser, Debug)]
#[command(name = "emulate", bin_name = "cargo xtask emulate", disable_version_flag = true)]
pub struct Args {
    /// A committed kernel, by a part of its name that no other has, or a file. A file that is named as
    /// a kernel of ours may be given a --shape instead of --grid and --args
    #[arg(value_name = "KERNEL|FILE.ptx")]
    pub what: String,
    #[command(flatten)]
    pub problem: ProblemArgs,
    #[command(flatten)]
    pub call: CallArgs,
    #[command(flatten)]
    pub run: RunArgs,
}

#[derive(clap::Args, Debug, Default)]
#[command(next_help_heading = "The problem of a committed kernel")]
pub struct ProblemArgs {
    /// m,n,k of a linear layer; n,d of rmsnorm and swiglu; n,d,vocab of gather;
    /// m,k,order of packing (0 row-major, 1 mma.sp, 2 fragment, 3 wgmma, 4 strips);
    /// n,heads,kv_heads,head_dim,max_seq,pos of rotary and attention
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    pub shape: Option<Vec<u32>>,
    /// What follows a linear layer's product: bias, relu, gelu or silu, residual
    #[arg(long, value_name = "LIST", value_parser = epilogue)]
    pub epilogue: Option<Epilogue>,
    /// The type of the result: the kernel's own, unless it is to be f32
    #[arg(long, value_name = "TYPE", value_parser = dtype)]
    pub out: Option<DType>,
    /// Chooses the data
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

#[derive(clap::Args, Debug, Default)]
#[command(next_help_heading = "The call of a file")]
pub struct CallArgs {
    /// The entry point, if the file has several
    #[arg(long)]
    pub entry: Option<String>,
    /// Blocks
    #[arg(long, value_name = "X[,Y[,Z]]", value_parser = extent)]
    pub grid: Option<Extent>,
    /// Threads of a block; what the kernel demands, if it does
    #[arg(long, value_name = "X[,Y[,Z]]", value_parser = extent)]
    pub block: Option<Extent>,
    /// Blocks of a cluster
    #[arg(long, value_name = "X[,Y[,Z]]", value_parser = extent)]
    pub cluster: Option<Extent>,
    /// Bytes of dynamic shared memory
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub shared: u32,
    /// One for each parameter: u32:7, f32:1.5, u64:0x10 (any scalar type); pointers to in:FILE,
    /// zeros:BYTES, out:BYTES[:TYPE] (nothing wrote it yet), random:TYPE:COUNT[:SEED], ramp:TYPE:COUNT;
    /// bytes:FILE for a parameter that is a structure
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub args: Vec<String>,
    /// Writes each `out` and `zeros` buffer to a file named after its parameter
    #[arg(long, value_name = "FOLDER")]
    pub dump: Option<PathBuf>,
}

#[derive(clap::Args, Debug, Default)]
#[command(next_help_heading = "The run")]
pub struct RunArgs {
    /// When what may happen at any time happens: early, late or random:SEED
    #[arg(long, default_value = "early", value_parser = schedule)]
    pub schedule: Schedule,
    /// Let metadata through that the manual does not allow
    #[arg(long)]
    pub tolerate_metadata: bool,
    /// The counts of every line that ran
    #[arg(long)]
    pub lines: bool,
    /// Show each instruction of a warp, with the registers that it wrote
    #[arg(long, value_name = "BLOCK.WARP", num_args = 0..=1, default_missing_value = "0.0", value_parser = warp)]
    pub trace: Option<WarpAt>,
}

impl Args {
    /// The file, if it is one that is meant.
    pub fn file(&self) -> Option<&Path> {
        let path = Path::new(&self.what);
        path.extension().is_some_and(|ending| ending == "ptx").then_some(path)
    }
}

impl RunArgs {
    /// As the emulator takes it.
    pub fn options(&self) -> Options {
        let (schedule, tolerate_metadata) = (self.schedule, self.tolerate_metadata);
        Options { schedule, tolerate_metadata, ..Options::default() }
    }
}

/// Numbers along x, y and z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent(pub [u32; 3]);

/// A warp of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarpAt {
    pub block: [u32; 3],
    pub warp: u32,
}

/// One to three numbers; what is not said is `rest`.
fn axes(text: &str, rest: u32) -> Result<[u32; 3], String> {
    let mut axes = [rest; 3];
    let parts: Vec<_> = text.split(',').collect();
    if parts.len() > 3 {
        return Err(format!("{} numbers; x, y and z are three", parts.len()));
    }
    for (axis, part) in axes.iter_mut().zip(parts) {
        *axis = part.parse().map_err(|_| format!("`{part}` is no number"))?;
    }
    Ok(axes)
}

fn extent(text: &str) -> Result<Extent, String> {
    let axes = axes(text, 1)?;
    if axes.contains(&0) { Err("none along an axis".into()) } else { Ok(Extent(axes)) }
}

fn warp(text: &str) -> Result<WarpAt, String> {
    let (block, warp) =
        text.split_once('.').ok_or("a block, a dot and a warp: 0.0, or 1,2.3 with x and y")?;
    let warp = warp.parse().map_err(|_| format!("`{warp}` is no number of a warp"))?;
    Ok(WarpAt { block: axes(block, 0)?, warp })
}

fn schedule(text: &str) -> Result<Schedule, String> {
    match (text, text.strip_prefix("random:").map(str::parse)) {
        ("early", _) => Ok(Schedule::Early),
        ("late", _) => Ok(Schedule::Late),
        (_, Some(Ok(seed))) => Ok(Schedule::Random(seed)),
        _ => Err("early, late or random:SEED".into()),
    }
}

fn dtype(text: &str) -> Result<DType, String> {
    [DType::F16, DType::BF16, DType::F32]
        .into_iter()
        .find(|dtype| dtype.to_string() == text)
        .ok_or("f16, bf16 or f32".into())
}

fn epilogue(text: &str) -> Result<Epilogue, String> {
    let mut epilogue = Epilogue::NONE;
    for part in text.split(',') {
        let activation = match part {
            "none" => continue,
            "bias" => {
                epilogue.bias = true;
                continue;
            }
            "residual" => {
                epilogue.residual = true;
                continue;
            }
            "scales" => {
                epilogue.scales = true;
                continue;
            }
            "transposed" => {
                epilogue.transposed = true;
                continue;
            }
            "relu" => Activation::Relu,
            "gelu" => Activation::Gelu,
            "silu" => Activation::Silu,
            _ => {
                return Err(format!(
                    "`{part}`: scales, bias, relu, gelu, silu, residual, transposed or none"
                ));
            }
        };
        if epilogue.activation != Activation::None {
            return Err(format!("two activations, {:?} and {activation:?}", epilogue.activation));
        }
        epilogue.activation = activation;
    }
    Ok(epilogue)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn parse(line: &str) -> Result<Args, String> {
        Args::try_parse_from(std::iter::once("emulate").chain(line.split(' ')))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_kernel_with_its_problem() {
        let line = "skinny --shape 16,4,128 --epilogue bias,silu,residual --out f32 --seed 3 \
                    --schedule random:7 --trace --lines --tolerate-metadata";
        let args = parse(line).unwrap();
        assert_eq!((args.what.as_str(), args.file()), ("skinny", None));
        assert_eq!(args.problem.shape, Some(vec![16, 4, 128]));
        let all =
            Epilogue { bias: true, activation: Activation::Silu, residual: true, ..Epilogue::NONE };
        assert_eq!(args.problem.epilogue, Some(all));
        assert_eq!((args.problem.out, args.problem.seed), (Some(DType::F32), 3));
        let run = args.run;
        assert_eq!(run.trace, Some(WarpAt { block: [0; 3], warp: 0 }));
        assert!(run.lines && run.options().tolerate_metadata);
        assert_eq!(run.options().schedule, Schedule::Random(7));
    }

    #[test]
    fn a_file_with_its_call() {
        let line = "some/where.ptx --entry f --grid 2,3 --block 64 --cluster 2 --shared 1024 \
                    --args u32:7,out:64 --args in:a.bin --trace 1,2.3";
        let args = parse(line).unwrap();
        assert_eq!(args.file(), Some(Path::new("some/where.ptx")));
        let call = args.call;
        assert_eq!((call.grid, call.block), (Some(Extent([2, 3, 1])), Some(Extent([64, 1, 1]))));
        assert_eq!((call.cluster, call.shared), (Some(Extent([2, 1, 1])), 1024));
        assert_eq!(call.args, ["u32:7", "out:64", "in:a.bin"]);
        assert_eq!(args.run.trace, Some(WarpAt { block: [1, 2, 0], warp: 3 }));
        assert_eq!(args.run.schedule, Schedule::Early);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, said) in [
            ("k --schedule soon", "early, late or random:SEED"),
            ("k --schedule random:x", "early, late or random:SEED"),
            ("k --epilogue relu,silu", "two activations, Relu and Silu"),
            ("k --epilogue tanh", "`tanh`"),
            ("k --out i8", "f16, bf16 or f32"),
            ("k --grid 1,2,3,4", "4 numbers"),
            ("k --block 0", "none along an axis"),
            ("k --trace 3", "a block, a dot and a warp"),
            ("k --shape 1,x", "invalid digit"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}

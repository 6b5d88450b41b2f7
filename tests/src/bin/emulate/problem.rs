//! From `--shape` and what goes with it to a problem with data.

use crate::args::ProblemArgs;
use quickpick_kernels::{
    ArgMax, Attention, DType, Epilogue, Gather, KERNELS, KernelSpec, Linear, OpKind, Order,
    Packing, Problem, Quantize, RmsNorm, Rotary, SpmmCsr, SwiGlu,
};
use quickpick_tests::{Case, Fill, case::Rows, packing::Bits};
use std::path::Path;

/// A problem, and the position of its first new token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asked {
    pub problem: Problem,
    pos: u32,
}

/// The one PTX kernel that goes by the name, or whose name alone contains it.
pub fn kernel(name: &str) -> Result<&'static KernelSpec, String> {
    let ptx = || KERNELS.iter().filter(|spec| spec.target.is_ptx());
    let list =
        |specs: &[&KernelSpec]| specs.iter().map(|spec| format!("\n  {spec}")).collect::<String>();
    if let Some(spec) = ptx().find(|spec| spec.to_string() == name) {
        return Ok(spec);
    }
    let found: Vec<_> = ptx().filter(|spec| spec.to_string().contains(name)).collect();
    match found[..] {
        [spec] => Ok(spec),
        [] => Err(format!(
            "no kernel's name contains `{name}`; there are:{}",
            list(&ptx().collect::<Vec<_>>())
        )),
        _ => Err(format!("`{name}` may be any of:{}", list(&found))),
    }
}

/// The kernel that a file is named after.
pub fn kernel_of(file: &Path) -> Result<&'static KernelSpec, String> {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let mut ptx = KERNELS.iter().filter(|spec| spec.target.is_ptx());
    ptx.find(|spec| spec.to_string() == stem).ok_or(format!(
        "{stem} is no kernel of ours, so --shape says nothing; call it by --grid and --args"
    ))
}

/// The numbers of a kernel's shape, by name.
pub fn numbers(spec: &KernelSpec) -> &'static str {
    match spec.op {
        OpKind::Linear(_) => "m,n,k",
        OpKind::RmsNorm | OpKind::SwiGlu | OpKind::ArgMax | OpKind::Quantize => "n,d",
        OpKind::Rotary | OpKind::Attention => "n,heads,kv_heads,head_dim,max_seq,pos",
        OpKind::Gather => "n,d,vocab",
        OpKind::SpmmCsr => "m,n,k",
        OpKind::Pack24 | OpKind::Unpack24 => "m,k,order",
    }
}

/// The problem that is asked of a kernel. Whether it serves it, its plan says.
pub fn asked(spec: &KernelSpec, shape: &[u32], args: &ProblemArgs) -> Result<Asked, String> {
    let dtype = spec.dtype;
    let out = args.out.unwrap_or(Linear::narrow_out(dtype));
    let only = |option: &str| format!("{option} is nothing that {spec} knows");
    if args.epilogue.is_some() && !matches!(spec.op, OpKind::Linear(_)) {
        return Err(only("--epilogue"));
    }
    let one_out = [
        OpKind::Rotary,
        OpKind::Gather,
        OpKind::SpmmCsr,
        OpKind::ArgMax,
        OpKind::Quantize,
        OpKind::Pack24,
        OpKind::Unpack24,
    ];
    if args.out.is_some() && one_out.contains(&spec.op) {
        return Err(only("--out"));
    }
    let mut pos = 0;
    let problem = match (spec.op, shape) {
        (OpKind::Linear(weights), &[m, n, k]) => {
            let epilogue = args.epilogue.unwrap_or(Epilogue::NONE);
            Problem::Linear(Linear { m, n, k, weights, dtype, out, epilogue })
        }
        (OpKind::RmsNorm, &[n, d]) => Problem::RmsNorm(RmsNorm { n, d, eps: 1e-5, out }),
        (OpKind::SwiGlu, &[n, d]) => Problem::SwiGlu(SwiGlu { n, d, out }),
        (OpKind::Gather, &[n, d, vocab]) => Problem::Gather(Gather { n, d, vocab, dtype }),
        (OpKind::ArgMax, &[n, d]) => Problem::ArgMax(ArgMax { n, d }),
        (OpKind::Quantize, &[n, d]) => {
            Problem::Quantize(Quantize { n, d, dtype: DType::BF16, out: dtype })
        }
        (op @ (OpKind::Pack24 | OpKind::Unpack24), &[m, k, order]) => {
            let named = Order::ALL.get(order as usize);
            let order = *named.ok_or_else(|| format!("there are {} orders", Order::ALL.len()))?;
            let p = Packing { m, k, dtype, order };
            if op == OpKind::Pack24 { Problem::Pack24(p) } else { Problem::Unpack24(p) }
        }
        (OpKind::SpmmCsr, &[m, n, k]) => {
            // an entry of fifty, as recovered layers have
            let nnz = (u64::from(m) * u64::from(k) / 50).min(u64::from(u32::MAX)) as u32;
            Problem::SpmmCsr(SpmmCsr { m, n, k, nnz, dtype, residual: false })
        }
        (OpKind::Rotary, &[n, heads, kv_heads, head_dim, max_seq, from]) => {
            pos = from;
            Problem::Rotary(Rotary { n, heads, kv_heads, head_dim, max_seq, cache: dtype })
        }
        (OpKind::Attention, &[n, heads, kv_heads, head_dim, max_seq, from]) => {
            pos = from;
            let cache = dtype;
            Problem::Attention(Attention { n, heads, kv_heads, head_dim, max_seq, cache, out })
        }
        _ => {
            let (has, needs) = (shape.len(), numbers(spec));
            return Err(format!("{spec} needs --shape {needs}; this has {has} numbers"));
        }
    };
    if let Problem::Rotary(Rotary { n, max_seq, .. })
    | Problem::Attention(Attention { n, max_seq, .. }) = problem
        && pos.checked_add(n).is_none_or(|end| end > max_seq)
    {
        return Err(format!("pos = {pos} and n = {n} go past max_seq = {max_seq}"));
    }
    Ok(Asked { problem, pos })
}

impl Asked {
    /// Random data, and what must come out. The problem must be one that has a plan.
    pub fn case(&self, seed: u64) -> Case {
        let fill = Fill::Random;
        match self.problem {
            Problem::Linear(p) => Case::linear(p, fill, seed),
            Problem::RmsNorm(p) => Case::rmsnorm(p, fill, seed),
            Problem::Rotary(p) => Case::rotary(p, self.pos, fill, seed),
            Problem::Attention(p) => Case::attention(p, self.pos, fill, seed),
            Problem::SwiGlu(p) => Case::swiglu(p, 4.0, fill, seed),
            Problem::Gather(p) => Case::gather(p, fill, seed),
            Problem::SpmmCsr(p) => Case::spmm_csr(p, Rows::Even, fill, seed),
            Problem::ArgMax(p) => Case::argmax(p, fill, seed),
            Problem::Quantize(p) => Case::quantize(p, seed),
            Problem::Pack24(p) => Case::pack24(p, Bits::Even, seed),
            Problem::Unpack24(p) => Case::unpack24(p, Bits::Even, seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickpick_kernels::DType;

    #[test]
    fn a_name_is_whole_or_a_part_that_no_other_has() {
        let spec = kernel("spmm24_f16_mma_sp_sm80_skinny_16").unwrap();
        assert_eq!(kernel(&spec.to_string()).unwrap(), spec);
        let several = kernel("rmsnorm").unwrap_err();
        assert!(several.contains("rmsnorm_f16_sm80") && several.contains("rmsnorm_bf16_sm80"));
        assert!(!several.contains("wgsl"), "only PTX can be emulated: {several}");
        let none = kernel("convolution").unwrap_err();
        let file = |name: &str| kernel_of(Path::new(name));
        assert_eq!(file("a/gather_f16_sm80.ptx"), kernel("gather_f16_sm80"));
        assert!(file("gather.ptx").unwrap_err().contains("--grid"), "a file needs the whole name");
        assert!(none.contains("no kernel") && none.contains("gather_f16_sm80"), "{none}");
    }

    #[test]
    fn every_kernel_says_which_numbers_it_needs() {
        for spec in KERNELS.iter().filter(|spec| spec.target.is_ptx()) {
            let needed = numbers(spec).split(',').count();
            // a shape of as many numbers, with room for the tokens behind the position
            let shape: Vec<_> = match spec.op {
                OpKind::Pack24 | OpKind::Unpack24 => vec![1, 64, 4],
                _ => [1, 64, 32, 8, 16, 0].into_iter().take(needed).collect(),
            };
            let args = ProblemArgs::default();
            assert!(asked(spec, &shape, &args).is_ok(), "{spec} {shape:?}");
            let error = asked(spec, &[1, 1, 1, 1], &args).unwrap_err();
            assert!(error.contains(numbers(spec)) && error.contains("4 numbers"), "{error}");
        }
    }

    #[test]
    fn what_an_operation_does_not_have_is_refused() {
        let gather = kernel("gather_f16_sm80").unwrap();
        let out = ProblemArgs { out: Some(DType::F32), ..Default::default() };
        assert!(asked(gather, &[1, 32, 1], &out).unwrap_err().contains("--out"));
        let epilogue = ProblemArgs { epilogue: Some(Epilogue::NONE), ..Default::default() };
        assert!(asked(gather, &[1, 32, 1], &epilogue).unwrap_err().contains("--epilogue"));
        let attention = kernel("attention_f16_sm80").unwrap();
        let past = asked(attention, &[2, 1, 1, 8, 16, 15], &ProblemArgs::default());
        assert!(past.unwrap_err().contains("max_seq = 16"));
    }
}

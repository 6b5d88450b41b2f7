//! Products with a sparse residual as they are described: bindings, refusals, and the oracle on numbers
//! that a reader can check.

use quickpick_kernels::reference::SpmmCsrInputs;
use quickpick_kernels::{
    Caps, CudaCaps, DType, Problem, SpmmCsr, Unsupported, bound, reference, select,
};

const P: SpmmCsr = SpmmCsr { m: 3, n: 2, k: 32, nnz: 4, dtype: DType::F16, residual: true };

fn unsupported(p: SpmmCsr) -> Vec<Unsupported> {
    let none = select(&Problem::SpmmCsr(p), &Caps::Cpu).unwrap_err();
    none.considered.into_iter().filter_map(|c| c.outcome.err()).collect()
}

#[test]
fn what_is_absent_has_no_bytes() {
    let bytes = |p: SpmmCsr| {
        let plan = select(&Problem::SpmmCsr(p), &Caps::Cpu).unwrap().plan;
        Vec::from_iter(plan.bindings.iter().map(|b| (b.name, b.bytes)))
    };
    let want = [("rows", 16), ("entries", 16), ("x", 128), ("residual", 24), ("y", 24)];
    assert_eq!(bytes(P), want);
    let want = [("rows", 16), ("entries", 0), ("x", 128), ("residual", 0), ("y", 24)];
    assert_eq!(bytes(SpmmCsr { nnz: 0, residual: false, ..P }), want);
}

#[test]
fn what_does_not_fit_is_refused_by_its_numbers() {
    let all = |p, why| assert!(unsupported(p).contains(&why), "{:?}", unsupported(p));
    let (min, max) = (32, 1 << 16);
    let size = max + 32;
    all(SpmmCsr { k: size, ..P }, Unsupported::Range { dim: "k", size, min, max });
    all(SpmmCsr { k: 40, ..P }, Unsupported::Multiple { dim: "k", size: 40, of: 32 });
    let (min, max) = (0, 96);
    all(SpmmCsr { nnz: 97, ..P }, Unsupported::Range { dim: "nnz", size: 97, min, max });
    let (what, kernel, asked) = ("R and X", DType::BF16, DType::F32);
    all(SpmmCsr { dtype: asked, ..P }, Unsupported::Type { what, kernel, asked });
}

#[test]
fn cuda_has_none_yet_and_says_so() {
    for sm in [80, 90, 100] {
        let caps = Caps::Cuda(CudaCaps { name: None, sm, shared_bytes: 227 << 10, sms: 132 });
        let none = select(&Problem::SpmmCsr(P), &caps).unwrap_err();
        assert!(none.considered.is_empty(), "no row of another operation speaks of the device");
        let said = "no kernel serves Y[2×3] = X[2×32]·Rᵀ, R CSR f16 of 4 entries, Y f32, residual: \
                    none is written for this kind of device yet";
        assert_eq!(none.to_string(), said);
    }
}

/// R: 2 in column 0 and 3 in column 31; nothing; −1 in column 1 and ½ in column 2.
#[test]
fn the_oracle_adds_row_by_row() {
    let mut x = vec![0.0; 64];
    (x[0], x[1], x[2], x[31]) = (1.0, 10.0, 100.0, 1000.0);
    (x[32], x[33], x[34], x[63]) = (4.0, 3.0, 2.0, 1.0);
    let inputs = SpmmCsrInputs {
        rows: &[0, 2, 2, 4],
        columns: &[0, 31, 1, 2],
        values: &[2.0, 3.0, -1.0, 0.5],
        x: &x,
        residual: &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    };
    let y = reference::spmm_csr(&P, &inputs);
    assert_eq!(y, [3003.0, 2.0, 43.0, 15.0, 5.0, 4.0]);
    let y = reference::spmm_csr(&SpmmCsr { residual: false, ..P }, &inputs);
    assert_eq!(y, [3002.0, 0.0, 40.0, 11.0, 0.0, -2.0]);

    // an empty row copies the residual, or 0, exactly but for the sum's own rounding
    let bounds = bound::spmm_csr(&P, &inputs);
    assert!(bounds[1] <= 2.0f64.powi(-23) && bounds.iter().all(|b| *b > 0.0), "{bounds:?}");
    let bounds = bound::spmm_csr(&SpmmCsr { residual: false, ..P }, &inputs);
    assert_eq!((bounds[1], bounds[4]), (0.0, 0.0));

    // the least of the products, lost, is outside of the bound
    let values = [0.0, 3.0, -1.0, 0.5];
    let lost = reference::spmm_csr(&P, &SpmmCsrInputs { values: &values, ..inputs });
    assert!((lost[0] - 3003.0).abs() > 100.0 * bound::spmm_csr(&P, &inputs)[0]);
}

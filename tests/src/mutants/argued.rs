//! Mutants that the emulator may let pass, each with the reason.

use super::generate::Kind::{self, *};
use super::judge::{Judged, Verdict};
use quickpick::kernels::KernelSpec;

/// A survivor that is no gap: it does what the kernel does.
pub struct Argued {
    /// What the kernel's name contains, all of it.
    pub kernel: &'static str,
    /// What the label or heading above contains.
    pub context: &'static str,
    /// What the line contains.
    pub text: &'static str,
    /// What was done to it.
    pub kind: Kind,
    /// How many mutants of each such kernel, exactly.
    pub each: usize,
    /// Why nobody can object.
    pub why: &'static str,
}

const fn argued(
    kernel: &'static str,
    context: &'static str,
    text: &'static str,
    kind: Kind,
    each: usize,
    why: &'static str,
) -> Argued {
    Argued { kernel, context, text, kind, each, why }
}

const NARROW: &str =
    "rows that could be stored in whole vectors go element by element, to the same result";
const EIGHT_BYTES: &str = "\
    rows of whole 16 bytes are rows of whole 8, which are right for all, in twice as many requests";
const OVERWRITTEN: &str = "\
    zeros where a token exists are written by the lane that copies the token there, before it begins \
    the copy";
const UNREAD: &str = "\
    the first eight tokens of two tiles exist, so the guard says only whether the k-block is this warp's: \
    the copy reads nothing outside of X, for past k its size is 0, and nobody reads where it goes";
const ROW_BEHIND: &str = "\
    more than eight tokens, so behind each of the first eight rows of X lies another, and within that \
    ends what is fetched by a warp that has come so far; nobody uses it";

const NOTHING_TO_RELEASE: &str = "\
    the producer's thread writes nothing that a consumer reads: the bytes come by the copies, and the \
    mbarrier's phase orders those";

const NOTHING_READ: &str = "\
    the part's residual is not read: another part of the tile goes on to Y";
const ONLY_TIME: &str = "\
    the turn says only when: what a stage holds is ordered by its own mbarriers";

/// All of them. An entry that its kernels' survivors do not need is an error of the test.
#[rustfmt::skip] // an argument, a line
pub const ARGUED: &[Argued] = &[
    argued("sm80 x64_s", "", "@!%wide_rows bra.uni", Unguarded, 4, NARROW),
    argued("sm80 x128_s", "", "@!%wide_rows bra.uni", Unguarded, 4, NARROW),
    argued("sm89 x128_s", "", "@!%wide_rows bra.uni", Unguarded, 4, NARROW),
    argued("pack24", "16 columns twice", "@!%wide bra", Unguarded, 1, EIGHT_BYTES),
    // of stages of k, and of the residual of 16 bits and of f32
    argued("wgmma x128x64_s4", "copy_", "mbarrier.arrive.expect_tx", Relaxed, 7, NOTHING_TO_RELEASE),
    argued("wgmma x64x128_s2", "copy_", "mbarrier.arrive.expect_tx", Relaxed, 3, NOTHING_TO_RELEASE),
    argued("wgmma x64x128_s2", "copy_", "mbarrier.arrive.shared::cluster", Relaxed, 3, NOTHING_TO_RELEASE),
    argued("wgmma x64x64_s3", "copy_", "mbarrier.arrive.shared::cluster", Relaxed, 4, NOTHING_TO_RELEASE),
    argued("wgmma x64x64_s6_rs", "copy_", "mbarrier.arrive.expect_tx", Relaxed, 7, NOTHING_TO_RELEASE),
    argued("wgmma x64x64_s3", "copy_", "mbarrier.arrive.expect_tx", Relaxed, 4, NOTHING_TO_RELEASE),
    argued("wgmma x64x256_s", "copy_", "mbarrier.arrive.expect_tx", Relaxed, 3, NOTHING_TO_RELEASE),
    argued("wgmma x128x64_s4", "parts", "@%more_residual mbarrier.arrive", Relaxed, 3, NOTHING_READ),
    argued("wgmma x64x64_s6_rs", "parts", "@%more_residual mbarrier.arrive", Relaxed, 3, NOTHING_READ),
    argued("wgmma x64x64_s3", "parts", "@%more_residual mbarrier.arrive", Relaxed, 2, NOTHING_READ),
    argued("wgmma x64x256_s", "parts", "@%more_residual mbarrier.arrive", Relaxed, 1, NOTHING_READ),
    argued("wgmma _pp", "turn_wait", "mbarrier.try_wait", Relaxed, 1, ONLY_TIME),
    argued("wgmma _pp", "residual_came", "@%warp_leader mbarrier.arrive", Relaxed, 1, ONLY_TIME),
    argued("attention", "the warps, through", "@%first_team st.shared.v4.f32", Negated, 2,
        "after the exchange between the teams both hold the same sums, bit for bit"),
    argued("gemm_ skinny", "half_2_2", "[%x_at0+4", Unguarded, 2, ROW_BEHIND),
    argued("gemm_ skinny", "half_2_3", "[%x_at0+5", Unguarded, 2, ROW_BEHIND),
    argued("gemm_ skinny", "half_2_4", "[%x_at0+6", Unguarded, 2, ROW_BEHIND),
    argued("gemm_ skinny", "half_2_5", "[%x_at0+7", Unguarded, 2, ROW_BEHIND),
    argued("spmm24_ skinny_16x", "_tile", "st.shared.v4.b32", Unguarded, 16, OVERWRITTEN),
    argued("spmm24_ skinny_32x", "_tile", "st.shared.v4.b32", Unguarded, 8, OVERWRITTEN),
    argued("spmm24_ skinny_16x", "two_tiles", "@%load_x cp.async", Unguarded, 2, UNREAD),
    argued("spmm24_ skinny_32x", "two_tiles", "@%load_x cp.async", Unguarded, 1, UNREAD),
];

impl Argued {
    /// Whether this argument is about mutants of that kernel.
    pub fn is_about(&self, spec: &KernelSpec) -> bool {
        let name = spec.to_string();
        self.kernel.split(' ').all(|part| name.contains(part))
    }

    /// Whether this argument is about that survivor.
    pub fn fits(&self, mutant: &Judged) -> bool {
        matches!(mutant.verdict, Verdict::Survived(_))
            && self.kind == mutant.kind
            && self.is_about(mutant.spec)
            && mutant.context.contains(self.context)
            && mutant.text.contains(self.text)
    }

    /// The argument for a survivor, if there is one.
    pub fn of(mutant: &Judged) -> Option<&'static Self> {
        ARGUED.iter().find(|a| a.fits(mutant))
    }
}

//! RMSNorm, rotary embedding, SwiGLU, gather, argmax: loops over rows that compilers vectorise.

use super::math::silu;
use super::memory::Views;
use super::simd::{Element, Isa, Kernel, Simd, SimdExt, Widen};
use quickpick_kernels::Problem;
use quickpick_kernels::plan::MAX_HEAD_DIM;
use rayon::prelude::*;

/// Elements of a task: less is not worth another thread.
pub(super) const TASK: usize = 1 << 14;

/// `y = x · gain / √(mean(x²) + eps)`.
pub(super) fn rmsnorm<O: Element>(isa: Isa, problem: &Problem, v: &mut Views<'_>, _: &mut [f32]) {
    let Problem::RmsNorm(p) = problem else { return };
    let d = p.d as usize;
    let (x, gain, y) = (v.input::<f32>(0), v.input::<f32>(1), v.output::<O>(2));
    let part = d * (TASK / d).max(1);
    y.par_chunks_mut(part).zip(x.par_chunks(part)).for_each(|(y, x)| {
        isa.run(Norm { x, gain, eps: p.eps, y });
    });
}

struct Norm<'a, O> {
    x: &'a [f32],
    gain: &'a [f32],
    eps: f32,
    y: &'a mut [O],
}

impl<O: Element> Kernel for Norm<'_, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let d = self.gain.len();
        for (y, x) in self.y.chunks_exact_mut(d).zip(self.x.chunks_exact(d)) {
            let scale = 1.0 / (s.dot(x, x) / d as f32 + self.eps).sqrt();
            let gained = x.chunks_exact(LINE).zip(self.gain.chunks_exact(LINE));
            for (y, (x, gain)) in y.chunks_exact_mut(LINE).zip(gained) {
                let mut z = [0.0; LINE];
                for ((z, x), gain) in z.iter_mut().zip(x).zip(gain) {
                    *z = x * scale * gain;
                }
                s.narrow(&z, y);
            }
        }
    }
}

/// Elements at a time: rows are multiples of 32.
pub(super) const LINE: usize = 32;

/// `y = silu(gate) · up`.
pub(super) fn swiglu<O: Element>(isa: Isa, problem: &Problem, v: &mut Views<'_>, _: &mut [f32]) {
    let Problem::SwiGlu(_) = problem else { return };
    let (gate, up, y) = (v.input::<f32>(0), v.input::<f32>(1), v.output::<O>(2));
    let inputs = gate.par_chunks(TASK).zip(up.par_chunks(TASK));
    y.par_chunks_mut(TASK).zip(inputs).for_each(|(y, (gate, up))| {
        isa.run(Gated { gate, up, y });
    });
}

struct Gated<'a, O> {
    gate: &'a [f32],
    up: &'a [f32],
    y: &'a mut [O],
}

impl<O: Element> Kernel for Gated<'_, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let inputs = self.gate.chunks_exact(LINE).zip(self.up.chunks_exact(LINE));
        for (y, (gate, up)) in self.y.chunks_exact_mut(LINE).zip(inputs) {
            let mut z = [0.0; LINE];
            for ((z, gate), up) in z.iter_mut().zip(gate).zip(up) {
                *z = silu(*gate) * up;
            }
            s.narrow(&z, y);
        }
    }
}

/// Rotates q and k; appends k and v to their caches.
pub(super) fn rotary<T: Element>(isa: Isa, problem: &Problem, v: &mut Views<'_>, _: &mut [f32]) {
    let Problem::Rotary(p) = problem else { return };
    let (hd, max_seq) = (p.head_dim as usize, p.max_seq as usize);
    let (q, k, values) = (v.input::<f32>(0), v.input::<f32>(1), v.input::<f32>(2));
    let (pos, table) = (v.input::<u32>(3), v.input::<f32>(4));
    let (q_out, k_cache, v_cache) = (v.output::<f32>(5), v.output::<T>(6), v.output::<T>(7));

    let (q_row, kv_row) = (p.heads as usize * hd, p.kv_heads as usize * hd);
    for token in 0..p.n as usize {
        let at = pos[0] as usize + token;
        if at >= max_seq {
            return;
        }
        let angles = &table[at * hd..][..hd];
        let (from, to) = (token * q_row..(token + 1) * q_row, at * kv_row..(at + 1) * kv_row);
        let tokens = token * kv_row..(token + 1) * kv_row;
        isa.run(Turn { x: &q[from.clone()], angles, y: &mut q_out[from] });
        isa.run(Turn { x: &k[tokens.clone()], angles, y: &mut k_cache[to.clone()] });
        isa.run(Narrow { from: &values[tokens], to: &mut v_cache[to] });
    }
}

/// Rotates each head of one token; `angles` are head_dim/2 cosines, then as many sines.
struct Turn<'a, T> {
    x: &'a [f32],
    angles: &'a [f32],
    y: &'a mut [T],
}

impl<T: Element> Kernel for Turn<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (cos, sin) = self.angles.split_at(self.angles.len() / 2);
        let half = cos.len();
        let mut turned = [0.0; MAX_HEAD_DIM as usize];
        let heads = self.x.chunks_exact(2 * half).zip(self.y.chunks_exact_mut(2 * half));
        for (x, y) in heads {
            let (a, b) = x.split_at(half);
            let (ya, yb) = turned[..2 * half].split_at_mut(half);
            for i in 0..half {
                ya[i] = a[i] * cos[i] - b[i] * sin[i];
                yb[i] = b[i] * cos[i] + a[i] * sin[i];
            }
            s.narrow(&turned[..2 * half], y);
        }
    }
}

/// Rounds a slice.
struct Narrow<'a, T> {
    from: &'a [f32],
    to: &'a mut [T],
}

impl<T: Element> Kernel for Narrow<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        s.narrow(self.from, self.to);
    }
}

/// Rows of a table; NaN for ids outside it.
pub(super) fn gather<T: Element>(isa: Isa, problem: &Problem, v: &mut Views<'_>, _: &mut [f32]) {
    let Problem::Gather(p) = problem else { return };
    let d = p.d as usize;
    let (table, ids, y) = (v.input::<T>(0), v.input::<u32>(1), v.output::<f32>(2));
    let part = (TASK / d).max(1);
    y.par_chunks_mut(part * d).zip(ids.par_chunks(part)).for_each(|(y, ids)| {
        for (y, &id) in y.chunks_exact_mut(d).zip(ids) {
            if id < p.vocab {
                isa.run(Widen { from: &table[id as usize * d..][..d], to: y });
            } else {
                y.fill(f32::NAN);
            }
        }
    });
}

/// The column of each row's largest element, of equals the lowest; the number of columns where a row
/// holds a NaN.
pub(super) fn argmax(isa: Isa, problem: &Problem, v: &mut Views<'_>, _: &mut [f32]) {
    let Problem::ArgMax(p) = problem else { return };
    let d = p.d as usize;
    let (x, y) = (v.input::<u32>(0), v.output::<u32>(1));
    for (y, row) in y.iter_mut().zip(x.chunks_exact(d)) {
        let parts = row.par_chunks(TASK).enumerate();
        let best = parts.map(|(i, part)| (i, isa.run(Largest(part)))).reduce(
            || (0, (0, 0)),
            |a, b| if b.1.0 > a.1.0 || (b.1.0 == a.1.0 && b.0 < a.0) { b } else { a },
        );
        let (part, (rank, place)) = best;
        *y = if rank > INFINITY { p.d } else { (part * TASK + place) as u32 };
    }
}

/// What [`rank`] makes of infinity: only a NaN is above.
const INFINITY: u32 = rank(f32::INFINITY.to_bits());

/// The bits of an f32 as an integer that is ordered as the numbers are: those of a negative one are turned
/// over, the others come behind. −0 is 0, and a NaN is above all; nothing is as low as 0.
#[inline(always)]
const fn rank(bits: u32) -> u32 {
    let magnitude = bits & 0x7fff_ffff;
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 0x8000_0000 };
    let number = if magnitude == 0 { 0x8000_0000 } else { ordered };
    if magnitude > f32::INFINITY.to_bits() { u32::MAX } else { number }
}

/// The highest rank among these bits, and where it is first.
struct Largest<'a>(&'a [u32]);

impl Kernel for Largest<'_> {
    type Output = (u32, usize);

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> (u32, usize) {
        let largest = self.0.iter().fold(0, |largest, bits| largest.max(rank(*bits)));
        (largest, self.0.iter().position(|bits| rank(*bits) == largest).unwrap_or(0))
    }
}

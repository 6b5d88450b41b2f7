//! The loss of a student that hears a teacher (Hinton, Vinyals & Dean 2015): with z the student's logits,
//! t the teacher's, `q = softmax(z/T)` and `p = softmax(t/T)`,
//!
//! ```text
//! loss = (1−a)·(−ln softmax(z)[target]) + a·T²·Σ p·ln(p/q)
//! ```
//!
//! T² keeps the second part's gradient as large as the first's, whatever T.

use crate::ops::{elements, like, to_vec};
use crate::slices::{exp, fold, max, sum_of_pairs};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

/// Applied to the student's logits `n × vocab`; the result is the loss of each row in nats.
pub struct Distillation {
    /// Token ids, `n`.
    pub targets: Vec<u32>,
    /// The teacher's logits, `n × vocab`.
    pub teacher: Vec<f32>,
    /// a: the teacher's share of the loss, 0 to 1.
    pub share: f32,
    /// T, above 0.
    pub temperature: f32,
}

/// A row's `ln Σ e^(x/T)`, and `1/T`.
struct Softmax {
    log_sum: f32,
    inverse: f32,
}

impl Softmax {
    fn new(row: &[f32], temperature: f32) -> Self {
        let (inverse, shift) = (1.0 / temperature, max(row));
        let sum = fold(row, 0.0, |a, x| a + exp((x - shift) * inverse), |a, b| a + b);
        Self { log_sum: sum.ln() + shift * inverse, inverse }
    }

    fn log(&self, x: f32) -> f32 {
        x * self.inverse - self.log_sum
    }
}

impl Distillation {
    fn rows<'a>(&'a self, logits: &'a [f32], vocab: usize) -> impl Iterator<Item = Row<'a>> {
        let pairs = logits.chunks_exact(vocab).zip(self.teacher.chunks_exact(vocab));
        pairs.zip(&self.targets).map(|((student, teacher), &target)| Row {
            student,
            teacher,
            target: target as usize,
            hard: Softmax::new(student, 1.0),
            soft: Softmax::new(student, self.temperature),
            heard: Softmax::new(teacher, self.temperature),
        })
    }
}

struct Row<'a> {
    student: &'a [f32],
    teacher: &'a [f32],
    target: usize,
    hard: Softmax,
    soft: Softmax,
    heard: Softmax,
}

impl CustomOp1 for Distillation {
    fn name(&self) -> &'static str {
        "distillation"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, vocab) = layout.shape().dims2()?;
        let logits = elements(logits, layout)?;
        let (targets, teacher) = (self.targets.len(), self.teacher.len());
        if targets != n || teacher != n * vocab || self.targets.iter().any(|t| *t as usize >= vocab)
        {
            bail!("{n}×{vocab} logits, {teacher} of the teacher, {targets} targets");
        }
        let loss = self.rows(logits, vocab).map(|row| {
            let divergence = sum_of_pairs(row.student, row.teacher, |z, t| {
                let p = row.heard.log(t);
                exp(p) * (p - row.soft.log(z))
            });
            let missed = -row.hard.log(row.student[row.target]);
            (1.0 - self.share) * missed + self.share * self.temperature.powi(2) * divergence
        });
        Ok((CpuStorage::F32(loss.collect()), n.into()))
    }

    /// `dz = g·((1−a)·(softmax(z) − onehot(target)) + a·T·(q − p))`.
    fn bwd(&self, logits_in: &Tensor, _: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let (logits, g) = (to_vec(logits_in)?, to_vec(g)?);
        let mut back = Vec::with_capacity(logits.len());
        for (row, g) in self.rows(&logits, logits_in.dim(1)?).zip(g) {
            let (hard, soft) = (g * (1.0 - self.share), g * self.share * self.temperature);
            let target = back.len() + row.target;
            back.extend(row.student.iter().zip(row.teacher).map(|(z, t)| {
                hard * exp(row.hard.log(*z))
                    + soft * (exp(row.soft.log(*z)) - exp(row.heard.log(*t)))
            }));
            back[target] -= hard;
        }
        Ok(Some(like(back, logits_in)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    const VOCAB: usize = 5;
    const STUDENT: [f32; 10] = [0.3, -1.2, 2.0, 0.7, 0.1, -0.4, 0.9, 1.1, -2.0, 0.5];
    const TEACHER: [f32; 10] = [1.3, 0.2, 1.0, -0.7, 0.4, 0.4, -0.9, 2.1, 0.0, -0.5];

    fn op(share: f32, temperature: f32) -> Distillation {
        Distillation { targets: vec![2, 0], teacher: TEACHER.to_vec(), share, temperature }
    }

    /// The formula of the module's head, as it is written, in f64.
    fn by_hand(z: &[f64], t: &[f64], target: usize, a: f64, temperature: f64) -> f64 {
        let softmax = |x: &[f64], temperature: f64| -> Vec<f64> {
            let e: Vec<f64> = x.iter().map(|x| (x / temperature).exp()).collect();
            e.iter().map(|x| x / e.iter().sum::<f64>()).collect()
        };
        let (p, q) = (softmax(t, temperature), softmax(z, temperature));
        let divergence: f64 = p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum();
        -(1.0 - a) * softmax(z, 1.0)[target].ln() + a * temperature.powi(2) * divergence
    }

    /// Loss by the formula, gradient by its difference quotients.
    #[test]
    fn loss_and_gradient_are_the_formulas() {
        let wide = |x: &[f32]| x.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
        let (student, teacher) = (wide(&STUDENT), wide(&TEACHER));
        for (share, temperature) in [(0.0, 1.0), (1.0, 1.0), (0.5, 1.0), (0.7, 2.5)] {
            let z = Var::from_slice(&STUDENT, (2, VOCAB), &Device::Cpu).unwrap();
            let loss = z.apply_op1(op(share, temperature)).unwrap();
            let gradient = loss.sum_all().unwrap().backward().unwrap();
            let gradient: Vec<f32> = to_vec(gradient.get(&z).unwrap()).unwrap();
            let hand = |z: &[f64], row: usize| {
                let t = &teacher[row * VOCAB..][..VOCAB];
                by_hand(z, t, [2, 0][row], share.into(), temperature.into())
            };
            for (row, have) in to_vec(&loss).unwrap().into_iter().enumerate() {
                let z = &student[row * VOCAB..][..VOCAB];
                let want = hand(z, row);
                assert!((f64::from(have) - want).abs() < 1e-5, "{have} {want}");
                for i in 0..VOCAB {
                    let moved = |by: f64| {
                        let mut z = z.to_vec();
                        z[i] += by;
                        hand(&z, row)
                    };
                    let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                    let have = f64::from(gradient[row * VOCAB + i]);
                    assert!((have - slope).abs() < 1e-5, "{row} {i}: {have} {slope}");
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let z = Tensor::from_slice(&STUDENT, (2, VOCAB), &Device::Cpu).unwrap();
        assert!(z.apply_op1(op(0.5, 1.0)).is_ok());
        assert!(z.apply_op1(Distillation { targets: vec![2, 5], ..op(0.5, 1.0) }).is_err());
        assert!(z.apply_op1(Distillation { targets: vec![2], ..op(0.5, 1.0) }).is_err());
        let teacher = TEACHER[..5].to_vec();
        assert!(z.apply_op1(Distillation { teacher, ..op(0.5, 1.0) }).is_err());
    }
}

//! A training step's shards on threads: each runs on one thread, from end to end.

use crate::Error;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// One pool of one thread each.
pub struct Threads(Vec<ThreadPool>);

impl Threads {
    /// A thread for each core, at most `most`. Errors: the system has no thread left.
    pub fn new(most: usize) -> Result<Self, Error> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = |_| {
            let pool = ThreadPoolBuilder::new().num_threads(1).build();
            pool.map_err(|e| Error::Training(format!("no thread: {e}")))
        };
        Ok(Self((0..cores.min(most)).map(pool).collect::<Result<_, _>>()?))
    }

    /// `work` on every part, the parts dealt out to the threads in turn; results in the parts' order.
    pub fn each<P: Sync, R: Send>(
        &self,
        parts: &[P],
        work: impl Fn(&P) -> Result<R, Error> + Sync,
    ) -> Result<Vec<R>, Error> {
        let (threads, work) = (self.0.len(), &work);
        let mut done: Vec<Vec<Result<R, Error>>> = std::thread::scope(|scope| {
            let turn = |(first, pool): (usize, &ThreadPool)| {
                let mine = parts.iter().skip(first).step_by(threads);
                pool.install(|| mine.map(work).collect())
            };
            let handles: Vec<_> =
                self.0.iter().enumerate().map(|p| scope.spawn(move || turn(p))).collect();
            let panicked = |_| vec![Err(Error::Training("a training thread panicked".into()))];
            handles.into_iter().map(|h| h.join().unwrap_or_else(panicked)).collect()
        });
        let mut turns: Vec<_> = done.iter_mut().map(|d| d.drain(..)).collect();
        let missing = || Err(Error::Training("a training thread did not finish".into()));
        (0..parts.len()).map(|i| turns[i % threads].next().unwrap_or_else(missing)).collect()
    }

    /// The mean loss and gradients of parts of equal size. Gradients are added in the parts' order, so
    /// that the number of threads changes no bit, and no more of them are in memory than threads.
    pub fn mean<P: Sync>(
        &self,
        parts: &[P],
        gradients: impl Fn(&P) -> Result<(f32, Vec<Vec<f32>>), Error> + Sync,
    ) -> Result<(f64, Vec<Vec<f32>>), Error> {
        let mut total: Option<(f32, Vec<Vec<f32>>)> = None;
        for wave in parts.chunks(self.0.len()) {
            for (loss, gradients) in self.each(wave, &gradients)? {
                let Some((sum, sums)) = &mut total else {
                    total = Some((loss, gradients));
                    continue;
                };
                *sum += loss;
                sums.par_iter_mut().zip(&gradients).for_each(|(sum, gradient)| {
                    sum.iter_mut().zip(gradient).for_each(|(a, b)| *a += b);
                });
            }
        }
        let none = || Error::Training("a batch without shards".into());
        let (loss, mut mean) = total.ok_or_else(none)?;
        let shards = parts.len() as f32;
        mean.par_iter_mut().for_each(|g| g.iter_mut().for_each(|g| *g /= shards));
        Ok((f64::from(loss) / f64::from(shards), mean))
    }
}

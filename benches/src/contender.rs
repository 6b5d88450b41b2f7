//! What is timed: ours and its rivals behind one trait, sampled in turn.

use crate::error::Result;
use crate::sampler::{Sampler, Sensors};
use std::time::{Duration, Instant};

/// How a figure is taken.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// Samples of each contender.
    pub rounds: u32,
    /// A sample lasts about this long.
    pub sample: Duration,
    /// Inputs are copied until they hold this many bytes, and run in turn, so that no cache holds
    /// the next ones.
    pub rotate_bytes: u64,
}

/// Once a shape's samples have taken this long, [`LEAST_ROUNDS`] will do.
const LONG: Duration = Duration::from_secs(5);
/// A median needs them.
const LEAST_ROUNDS: usize = 3;

/// What runs before each sample and is not counted: the threads of the rival before spin on for a while
/// (libgomp's were seen to slow whoever came next by two thirds), while ours have gone to sleep.
const SETTLE: Duration = Duration::from_millis(8);

/// Most copies of one input.
pub const MOST_COPIES: u64 = 64;

impl Method {
    /// Copies of inputs that hold `bytes` together.
    pub fn copies(&self, bytes: u64) -> usize {
        self.rotate_bytes.div_ceil(bytes.max(1)).clamp(1, MOST_COPIES) as usize
    }
}

/// What is said of a contender beside its times.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// `2:4`, `dense`, or a peer's name.
    pub rival: String,
    /// The kernel or algorithm.
    pub kernel: String,
    /// Copies of the inputs.
    pub copies: u32,
    /// Launches of a sample.
    pub launches: u32,
    /// The largest error of the answer, as a share of its derived bound.
    pub error: f64,
    /// What else a reader must know.
    pub note: String,
}

/// Something that computes one shape, checked and warm.
pub trait Contender {
    /// What it is.
    fn about(&self) -> &About;
    /// One sample: microseconds of one launch.
    fn sample(&mut self) -> Result<f64>;
}

/// The figures of one contender.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// Microseconds of one launch: the lower quartile, the median, the upper quartile.
    pub us: [f64; 3],
    /// Samples.
    pub rounds: u32,
    /// Means while it ran, where a sensor tells.
    pub sensors: Option<Sensors>,
}

/// Samples all contenders in turn, another one first each round, so that clocks and temperature are
/// the same for all. A contender that fails drops out with its error; the others go on.
pub fn in_turn(
    contenders: &mut [Box<dyn Contender + '_>],
    rounds: u32,
    sampler: Option<&Sampler>,
) -> Vec<Result<Figures>> {
    struct Track {
        us: Vec<f64>,
        spans: Vec<(Instant, Instant)>,
        failed: Option<crate::Error>,
    }
    let track = || Track { us: vec![], spans: vec![], failed: None };
    let mut tracks: Vec<Track> = contenders.iter().map(|_| track()).collect();
    let count = contenders.len();
    let begin = Instant::now();
    for round in 0..rounds as usize {
        if round >= LEAST_ROUNDS && begin.elapsed() > LONG {
            break;
        }
        for turn in 0..count {
            let i = (round + turn) % count;
            let track = &mut tracks[i];
            if track.failed.is_some() {
                continue;
            }
            let settled = settle(&mut *contenders[i]);
            let start = Instant::now();
            match settled.and_then(|()| contenders[i].sample()) {
                Ok(us) => {
                    track.us.push(us);
                    track.spans.push((start, Instant::now()));
                }
                Err(why) => track.failed = Some(why),
            }
        }
    }
    let figures = tracks.into_iter().map(|track| match track.failed {
        Some(why) => Err(why),
        None => {
            let sensors = sampler.and_then(|s| s.mean(&track.spans));
            let rounds = track.us.len() as u32;
            Ok(Figures { us: quartiles(track.us), rounds, sensors })
        }
    });
    figures.collect()
}

fn settle(contender: &mut dyn Contender) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < SETTLE {
        contender.sample()?;
    }
    Ok(())
}

/// Lower quartile, median, upper quartile, by the nearest rank.
pub fn quartiles(mut samples: Vec<f64>) -> [f64; 3] {
    samples.sort_by(f64::total_cmp);
    let last = samples.len().saturating_sub(1);
    [0.25, 0.5, 0.75]
        .map(|q| samples.get((q * last as f64).round() as usize).copied().unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts down, slowly enough to be settled after one sample.
    struct Counter(About, Vec<f64>);

    impl Contender for Counter {
        fn about(&self) -> &About {
            &self.0
        }
        fn sample(&mut self) -> Result<f64> {
            std::thread::sleep(SETTLE);
            self.1.pop().ok_or_else(|| crate::Error::Wrong("no more".into()))
        }
    }

    #[test]
    fn one_that_fails_stops_no_other() {
        let counter = |samples: &[f64]| -> Box<dyn Contender> {
            Box::new(Counter(About::default(), samples.to_vec()))
        };
        let mut all = [counter(&[5.0, 0.0, 1.0, 0.0, 3.0, 0.0]), counter(&[1.0, 0.0])];
        let figures = in_turn(&mut all, 3, None);
        assert_eq!(figures[0].as_ref().unwrap().us, [3.0, 3.0, 5.0]);
        assert!(figures[1].is_err());
    }

    #[test]
    fn quartiles_are_samples() {
        assert_eq!(quartiles((1..=9).map(f64::from).collect()), [3.0, 5.0, 7.0]);
        assert_eq!(quartiles(vec![2.0]), [2.0; 3]);
        assert_eq!(quartiles(vec![]), [0.0; 3]);
    }

    #[test]
    fn copies_hold_the_bytes() {
        let sample = Duration::ZERO;
        let method = Method { rounds: 1, sample, rotate_bytes: 100 };
        assert_eq!([1, 30, 100, 101].map(|bytes| method.copies(bytes)), [64, 4, 1, 1]);
    }
}

//! What no layer can beat whose weights come from memory: reading as many bytes, by all threads, and nothing else.

use crate::clock::MOST_LAUNCHES;
use crate::contender::{About, Contender, Method};
use crate::error::{Error, Result};
use memmap2::MmapMut;
use rayon::prelude::*;
use std::time::Instant;

/// Reads of the host's memory, each of bytes that no cache holds.
pub struct Floor {
    memory: MmapMut,
    bytes: usize,
    next: usize,
    about: About,
}

/// Its name among rivals.
pub const NAME: &str = "reading W";

/// Bytes that a thread takes at a time.
const PART: usize = 256 << 10;

impl Floor {
    /// Of `bytes` at a time, in huge pages where the system gives such, as weights lie.
    pub fn new(bytes: u64, method: Method) -> Result<Self> {
        let bytes = bytes as usize;
        let copies = method.copies(bytes as u64).max(2);
        let failed = |why| Error::Failed(format!("{copies} × {bytes} bytes to read: {why}"));
        let mut memory = MmapMut::map_anon(copies * bytes.next_multiple_of(64)).map_err(failed)?;
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        memory.par_chunks_mut(PART).for_each(|part| part.fill(1));
        let kernel = "sum of 64-bit words".into();
        let about = About {
            rival: NAME.into(),
            kernel,
            copies: copies as u32,
            launches: 1,
            ..About::default()
        };
        let mut this = Self { memory, bytes: bytes.next_multiple_of(64), next: 0, about };
        this.sample()?; // warm
        let one = this.sample()? / 1e6;
        this.about.launches =
            ((method.sample.as_secs_f64() / one).ceil() as u32).clamp(1, MOST_LAUNCHES);
        Ok(this)
    }
}

impl Contender for Floor {
    fn about(&self) -> &About {
        &self.about
    }

    fn sample(&mut self) -> Result<f64> {
        let start = Instant::now();
        for _ in 0..self.about.launches {
            let part = &self.memory[self.next * self.bytes..][..self.bytes];
            let sum: u64 = part.par_chunks(PART).map(sum).reduce(|| 0, u64::wrapping_add);
            std::hint::black_box(sum);
            self.next = (self.next + 1) % self.about.copies as usize;
        }
        Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(self.about.launches))
    }
}

fn sum(part: &[u8]) -> u64 {
    let words: &[u64] = bytemuck::cast_slice(part);
    words.iter().fold(0, |sum, word| sum.wrapping_add(*word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_byte_is_read_in_turn() {
        let method = Method { rounds: 1, sample: Duration::from_micros(50), rotate_bytes: 1 << 20 };
        let mut floor = Floor::new(100_001, method).unwrap();
        assert_eq!((floor.bytes, floor.about.copies), (100_032, 11));
        assert!(floor.sample().unwrap() > 0.0);
        assert_eq!(
            sum(&floor.memory[..floor.bytes]),
            0x0101_0101_0101_0101u64.wrapping_mul(100_032 / 8)
        );
    }
}

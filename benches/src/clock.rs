//! How each backend is timed: CUDA by events around the replay of a graph, the others by the host's
//! clock around enough runs that its resolution and the wait at the end do not count.

use crate::contender::quartiles;
use crate::error::{Error, Result};
use quickpick::cuda::api::driver::{CudaEvent, DriverError, sys};
use quickpick::cuda::{CudaBuffer, CudaStep};
use quickpick::{Backend, Cpu, Cuda, Wgpu};
use rayon::prelude::*;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Most launches of one sample: enough to fill it, few enough that a graph of them stays small.
pub const MOST_LAUNCHES: u32 = 2000;

/// The driver, as CUDA's major × 1000 + minor × 10, from which on events tell their times through the
/// symbol that cudarc's bindings of CUDA 13 name.
const LEAST_DRIVER: u32 = 12_080;

/// A backend that can be timed.
pub trait Timed: Backend {
    /// A rotation of steps, gone on with until a sample is long enough.
    type Clock;

    /// A clock whose samples last about `least`, from a rotation of `steps`, each of which writes `y`.
    fn clock(
        &self,
        steps: Vec<Self::Step>,
        y: &Self::Buffer,
        least: Duration,
    ) -> Result<Self::Clock>;

    /// Launches of a sample.
    fn launches(clock: &Self::Clock) -> u32;

    /// One sample, microseconds per launch.
    fn sample(&self, clock: &Self::Clock) -> Result<f64>;

    /// Whether the device still answers. A fault of one kernel may have cost it to the whole process.
    fn alive(&self) -> bool {
        self.upload(&[1; 16]).and_then(|buffer| self.read(&buffer, 0, 16)).is_ok()
    }

    /// Where `nvidia-smi` finds the device, if it does.
    fn sensor(&self) -> Option<String> {
        None
    }

    /// The bandwidth of a large copy within the device, 10⁹ bytes per second, read plus written.
    fn copy_gbps(&self) -> Result<f64>;

    /// The same device restricted to less than it can, by what it is then called.
    fn restricted(&self) -> Vec<(String, Self)>
    where
        Self: Sized,
    {
        vec![]
    }
}

/// The median rate of copies of `bytes`, each of which is read and written.
fn rate(bytes: usize, mut copy: impl FnMut() -> Result<Duration>) -> Result<f64> {
    copy()?; // warm: pages are touched, caches hold the other end
    let seconds: Result<Vec<f64>> = (0..9).map(|_| Ok(copy()?.as_secs_f64())).collect();
    Ok(2.0 * bytes as f64 / quartiles(seconds?)[1] / 1e9)
}

/// Around a thing that waits for its own end.
fn elapsed(run: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed())
}

/// All threads copy together.
fn copy_on_the_host(_: &Cpu) -> Result<f64> {
    const BYTES: usize = 256 << 20;
    let (from, mut to) = (vec![1u8; BYTES], vec![0u8; BYTES]);
    rate(BYTES, || {
        elapsed(|| {
            let parts = to.par_chunks_mut(1 << 20).zip(from.par_chunks(1 << 20));
            parts.for_each(|(to, from)| to.copy_from_slice(from));
            Ok(())
        })
    })
}

/// With narrower instruction sets.
fn narrower(cpu: &Cpu) -> Vec<(String, Cpu)> {
    let narrower = quickpick::cpu::Path::available().skip_while(|path| *path != cpu.path()).skip(1);
    narrower.filter_map(|path| Some((path.to_string(), Cpu::with_path(path).ok()?))).collect()
}

fn copy_by_wgpu(device: &Wgpu) -> Result<f64> {
    use quickpick::wgpu::api::{CommandEncoderDescriptor, PollType};
    const BYTES: usize = 128 << 20;
    let (from, to) = (device.buffer(BYTES as u64)?, device.buffer(BYTES as u64)?);
    rate(BYTES, || {
        elapsed(|| {
            let mut encoder =
                device.device().create_command_encoder(&CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(from.raw(), 0, to.raw(), 0, BYTES as u64);
            device.queue().submit([encoder.finish()]);
            let waited = device.device().poll(PollType::wait_indefinitely());
            waited.map(drop).map_err(|why| Error::Failed(format!("waiting for a copy: {why}")))
        })
    })
}

/// Rotations that fill `least`, when one takes `one`.
fn rotations(steps: usize, one: Duration, least: Duration) -> u32 {
    let wanted = (least.as_secs_f64() / one.as_secs_f64().max(1e-9)).ceil();
    (wanted as u32).clamp(1, (MOST_LAUNCHES / steps.max(1) as u32).max(1))
}

/// The host's clock around runs. A sample begins where the last one ended, so that it need not be a whole
/// rotation.
pub struct Wall<B: Backend> {
    steps: Vec<B::Step>,
    y: B::Buffer,
    launches: usize,
    next: Cell<usize>,
}

impl<B: Backend> Wall<B> {
    fn new(backend: &B, steps: Vec<B::Step>, y: &B::Buffer, least: Duration) -> Result<Self> {
        let launches = steps.len();
        let mut clock = Self { steps, y: y.clone(), launches, next: Cell::new(0) };
        clock.sample(backend)?; // warm
        let one = Duration::from_secs_f64(clock.sample(backend)? / 1e6);
        clock.launches = rotations(1, one, least) as usize;
        Ok(clock)
    }

    fn sample(&self, backend: &B) -> Result<f64> {
        let start = Instant::now();
        let mut left = self.launches;
        while left > 0 {
            let from = self.next.get();
            let to = self.steps.len().min(from + left);
            backend.run(&self.steps[from..to])?;
            self.next.set(to % self.steps.len());
            left -= to - from;
        }
        backend.read(&self.y, 0, 4)?; // waits
        Ok(start.elapsed().as_secs_f64() * 1e6 / self.launches as f64)
    }
}

macro_rules! by_wall {
    ($($Backend:ty, $copy:expr, $restricted:expr;)*) => { $(
        impl Timed for $Backend {
            type Clock = Wall<Self>;

            fn clock(
                &self,
                steps: Vec<Self::Step>,
                y: &Self::Buffer,
                least: Duration,
            ) -> Result<Wall<Self>> {
                Wall::new(self, steps, y, least)
            }

            fn launches(clock: &Wall<Self>) -> u32 {
                clock.launches as u32
            }

            fn sample(&self, clock: &Wall<Self>) -> Result<f64> {
                clock.sample(self)
            }

            fn copy_gbps(&self) -> Result<f64> {
                $copy(self)
            }

            fn restricted(&self) -> Vec<(String, Self)> {
                $restricted(self)
            }
        }
    )* };
}

by_wall! {
    Cpu, copy_on_the_host, narrower;
    Wgpu, copy_by_wgpu, |_: &_| vec![];
}

/// A graph of launches between two events.
pub struct Replay {
    graph: CudaStep,
    begin: CudaEvent,
    end: CudaEvent,
    launches: u32,
}

impl Timed for Cuda {
    type Clock = Replay;

    fn clock(&self, steps: Vec<CudaStep>, _: &CudaBuffer, least: Duration) -> Result<Replay> {
        let driver = quickpick::cuda::probe()?;
        if driver < LEAST_DRIVER {
            return Err(Error::Absent(format!(
                "the driver serves CUDA {}.{}, and timing needs 12.8 (cuEventElapsedTime_v2)",
                driver / 1000,
                driver % 1000 / 10
            )));
        }
        let launches = steps.len() as u32;
        let once = Replay::of(self, &steps, 1)?;
        self.sample(&once)?; // warm
        let one = Duration::from_secs_f64(self.sample(&once)? * f64::from(launches) / 1e6);
        let clock = Replay::of(self, &steps, rotations(steps.len(), one, least))?;
        self.sample(&clock)?;
        Ok(clock)
    }

    fn launches(clock: &Replay) -> u32 {
        clock.launches
    }

    fn sample(&self, clock: &Replay) -> Result<f64> {
        let timed = |why| failed("timing a graph", why);
        let graph = std::slice::from_ref(&clock.graph);
        // keeps the device busy until the rest is queued, so that no latency of a launch counts
        self.run(graph)?;
        clock.begin.record(self.stream()).map_err(timed)?;
        self.run(graph)?;
        clock.end.record(self.stream()).map_err(timed)?;
        let milliseconds = clock.begin.elapsed_ms(&clock.end).map_err(timed)?; // waits for both
        Ok(f64::from(milliseconds) * 1e3 / f64::from(clock.launches))
    }

    fn sensor(&self) -> Option<String> {
        use sys::CUdevice_attribute as Attribute;
        let get = |which| self.stream().context().attribute(which).ok();
        let domain = get(Attribute::CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID)?;
        let bus = get(Attribute::CU_DEVICE_ATTRIBUTE_PCI_BUS_ID)?;
        let device = get(Attribute::CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID)?;
        Some(format!("{domain:08X}:{bus:02X}:{device:02X}.0"))
    }

    fn copy_gbps(&self) -> Result<f64> {
        let stream = self.stream();
        let copied = |why| failed("copying within the device", why);
        // others may hold some of the memory
        let (free, _) = stream.context().mem_get_info().map_err(copied)?;
        let bytes = (2usize << 30).min(free / 4);
        let from = stream.alloc_zeros::<u8>(bytes).map_err(copied)?;
        let mut to = stream.alloc_zeros::<u8>(bytes).map_err(copied)?;
        let (begin, end) = (event(self)?, event(self)?);
        let mut copy = || -> std::result::Result<f32, DriverError> {
            begin.record(stream)?;
            stream.memcpy_dtod(&from, &mut to)?;
            end.record(stream)?;
            begin.elapsed_ms(&end)
        };
        let mut once = || -> Result<Duration> {
            Ok(Duration::from_secs_f64(f64::from(copy().map_err(copied)?) / 1e3))
        };
        rate(bytes, &mut once)
    }
}

impl Replay {
    fn of(cuda: &Cuda, steps: &[CudaStep], rotations: u32) -> Result<Self> {
        let launches = rotations * steps.len() as u32;
        let all: Vec<_> = steps.iter().cycle().take(launches as usize).cloned().collect();
        let graph = cuda.record(&all)?;
        let graph = graph.ok_or_else(|| quickpick::Error::Bug("CUDA records no graph".into()))?;
        Ok(Self { graph, begin: event(cuda)?, end: event(cuda)?, launches })
    }
}

/// With times.
fn event(cuda: &Cuda) -> Result<CudaEvent> {
    let event = cuda.stream().context().new_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT));
    event.map_err(|why| failed("making an event", why))
}

fn failed(what: &str, why: DriverError) -> Error {
    let (what, why) = (what.into(), why.to_string());
    Error::Backend(quickpick::Error::Device { backend: "cuda", what, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotations_fill_a_sample() {
        let ms = Duration::from_millis;
        assert_eq!(rotations(3, ms(1), ms(4)), 4);
        assert_eq!(rotations(3, ms(9), ms(4)), 1);
        assert_eq!(rotations(64, Duration::from_nanos(1), ms(4)), MOST_LAUNCHES / 64);
        assert_eq!(rotations(9999, ms(1), ms(4)), 1);
    }
}

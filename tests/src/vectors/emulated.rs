//! The emulator as a device.

use super::device::{Device, Failure, buffers, split};
use super::probe::Probe;
use super::sweep::Inputs;
use quickpick_emulator::{Arg, Global, Launch, Program};

/// Our emulator of PTX. A probe outside of its language is unsupported.
#[derive(Clone, Copy, Debug, Default)]
pub struct Emulated;

impl Device for Emulated {
    fn name(&self) -> String {
        "Quickpick's emulator".into()
    }

    fn run(&self, probe: &Probe, trials: &[Inputs]) -> Result<Vec<Vec<u32>>, Failure> {
        let form = probe.form;
        let program = Program::parse(&probe.text).map_err(|why| {
            Failure::Unsupported(format!("{} is not in the emulator's language: {why}", form.name))
        })?;
        let mut memory = Global::default();
        let mut args: Vec<Arg> = buffers(form, trials)
            .iter()
            .map(|(name, words)| {
                let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
                Arg::U64(memory.put(name, &bytes, true))
            })
            .collect();
        let d = memory.poisoned("d", 4 * form.d_words() * trials.len());
        args.push(Arg::U64(d));
        let grid = [trials.len() as u32, 1, 1];
        let launch = Launch::new(grid, form.lanes() as u32, args);
        program.run(&launch, &mut memory).map_err(|trap| Failure::Failed(trap.to_string()))?;
        let written = memory.get(d).filter(|(_, written)| written.iter().all(|w| *w));
        let (bytes, _) = written
            .ok_or_else(|| Failure::Failed("the probe left a part of D unwritten".into()))?;
        Ok(split(form, bytes))
    }
}

//! What each step does. The arithmetic is in `lower`, which gave each step its function.

use crate::block::Place;
use crate::code::{Mbar, Op, Src};
use crate::machine::{Cluster, Machine};
use crate::mma;
use crate::order::lanes_of;
use crate::shadow::Clash;
use crate::trap::Fault;
use crate::warp::{ALL, Row, Warp};
use quickpick_ptx::{Shuffle, VoteMode};

pub(crate) type Done = Result<(), Clash>;

/// The instruction being executed: of which block of the cluster, and by which lanes.
pub(crate) struct Now<'m, 'a> {
    pub m: &'m mut Machine<'a>,
    pub rank: usize,
    pub pc: usize,
    pub mask: u32,
}

impl Now<'_, '_> {
    /// What it has counted so far.
    pub fn count(&mut self) -> &mut crate::counts::Count {
        &mut self.m.counts[self.pc]
    }

    /// Counts a request to global memory: `bytes` at each of the addresses.
    pub fn requests(&mut self, addresses: &[u64], bytes: usize, write: bool) {
        self.count().global(addresses, bytes, write);
        let mut rest = addresses.to_vec();
        // an address that no buffer has traps when it is used
        while let Some((buffer, range)) = rest.first().and_then(|at| self.m.memory.holder(*at)) {
            let (here, others): (Vec<u64>, _) = rest.iter().partition(|at| range.contains(at));
            self.of_buffer(buffer).global(&here, bytes, write);
            rest = others;
        }
    }

    /// What this instruction has asked of a buffer so far.
    pub fn of_buffer(&mut self, buffer: usize) -> &mut crate::counts::Count {
        self.m.buffers.entry((self.pc, buffer)).or_default()
    }
}

/// Whole-warp instructions ask for every lane.
pub(crate) fn together(here: u32, guarded: u32) -> Result<(), Fault> {
    if here == ALL && guarded == ALL {
        Ok(())
    } else {
        Err(Fault::Divergent { mask: guarded & here })
    }
}

impl<'a> Cluster<'a> {
    /// Executes the step at `pc` for the lanes `here` whose guard holds, and moves them on; returns
    /// those lanes.
    pub fn execute(
        &mut self,
        m: &mut Machine<'a>,
        rank: usize,
        w: &mut Warp<'a>,
        pc: usize,
        here: u32,
    ) -> Result<u32, Clash> {
        let Some(step) = w.program.code.get(pc) else {
            return Err(Fault::Launch("a lane ran past the last instruction".into()).into());
        };
        let mut mask = here;
        if let Some(guard) = step.guard {
            let row = w.row(Src::Slot(guard.slot), here)?;
            for lane in lanes_of(here).filter(|lane| row[*lane] != guard.wanted) {
                mask &= !(1 << lane);
            }
        }
        for lane in lanes_of(here) {
            w.pcs[lane] = Some(pc + 1);
        }
        if mask == 0 {
            return Ok(0); // no lane's guard holds: nothing happens
        }
        let now = &mut Now { m, rank, pc, mask };
        match &step.op {
            Op::Unary { f, d, a } => {
                let a = w.row(*a, mask)?;
                w.set_row(*d, &a.map(&**f), mask)?;
            }
            Op::Binary { f, d, a, b } => {
                let (a, b) = (w.row(*a, mask)?, w.row(*b, mask)?);
                w.set_row(*d, &std::array::from_fn(|l| f(a[l], b[l])), mask)?;
            }
            Op::Ternary { f, d, a: [a, b, c] } => {
                let (a, b, c) = (w.row(*a, mask)?, w.row(*b, mask)?, w.row(*c, mask)?);
                w.set_row(*d, &std::array::from_fn(|l| f(a[l], b[l], c[l])), mask)?;
            }
            Op::Quaternary { f, d, a: [a, b, c, e] } => {
                let (a, b) = (w.row(*a, mask)?, w.row(*b, mask)?);
                let (c, e) = (w.row(*c, mask)?, w.row(*e, mask)?);
                w.set_row(*d, &std::array::from_fn(|l| f(a[l], b[l], c[l], e[l])), mask)?;
            }
            Op::Special { d, which } => {
                let row = std::array::from_fn(|l| self.special(now.m, rank, w, *which, l));
                w.set_row(*d, &row, mask)?;
            }
            Op::Pack { d, a, bits } => {
                let mut row: Row = [0; 32];
                for (i, part) in a.iter().enumerate() {
                    let part = w.row(*part, mask)?;
                    row.iter_mut().zip(part).for_each(|(r, p)| *r |= p << (i as u32 * bits));
                }
                w.set_row(*d, &row, mask)?;
            }
            Op::Unpack { d, a, bits } => {
                let row = w.row(*a, mask)?;
                for (i, slot) in d.iter().enumerate() {
                    if let Some(slot) = slot {
                        w.set_row(*slot, &row.map(|v| v >> (i as u32 * bits)), mask)?;
                    }
                }
            }
            Op::Shuffle { mode, d, p, a, b, c, members } => {
                meet(w, *members, mask)?;
                let (a, b, c) = (w.row(*a, mask)?, w.row(*b, mask)?, w.row(*c, mask)?);
                let (row, within) = shuffle(*mode, &a, &b, &c, mask)?;
                if let Some(d) = d {
                    w.set_row(*d, &row, mask)?;
                }
                if let Some(p) = p {
                    w.set_row(*p, &within, mask)?;
                }
            }
            Op::Vote { mode, d, a, negated, members } => {
                meet(w, *members, mask)?;
                let row = w.row(*a, mask)?;
                let votes = lanes_of(mask).filter(|l| (row[*l] == 1) != *negated);
                let ballot = votes.fold(0u32, |all, lane| all | 1 << lane);
                let value = match mode {
                    VoteMode::All => (ballot == mask) as u32,
                    VoteMode::Any => (ballot != 0) as u32,
                    VoteMode::Uni => (ballot == mask || ballot == 0) as u32,
                    VoteMode::Ballot => ballot,
                };
                w.set_row(*d, &[u64::from(value); 32], mask)?;
            }
            Op::ActiveMask { d } => w.set_row(*d, &[u64::from(mask); 32], mask)?,
            Op::Elect { d, p, members } => {
                meet(w, *members, mask)?;
                let leader = mask.trailing_zeros();
                if let Some(d) = d {
                    w.set_row(*d, &[u64::from(leader); 32], mask)?;
                }
                w.set_row(*p, &std::array::from_fn(|l| (l as u32 == leader) as u64), mask)?;
            }
            Op::Reduce { f, d, a, members } => {
                meet(w, *members, mask)?;
                let row = w.row(*a, mask)?;
                let all = lanes_of(mask).map(|l| row[l]).reduce(f).unwrap_or(0);
                w.set_row(*d, &[all; 32], mask)?;
            }

            Op::Load { space, order, d, size, signed, a } => {
                let all = self.load(now, w, (*space, *order), *a, *size, d.len())?;
                let sign = 64 - 8 * *size as u32;
                for (slot, row) in d.iter().zip(&all) {
                    let Some(slot) = slot else { continue };
                    let row = if *signed {
                        row.map(|v| ((v << sign) as i64 >> sign) as u64)
                    } else {
                        *row
                    };
                    w.set_row(*slot, &row, mask)?;
                }
            }
            Op::Store { space, order, b, size, a } => {
                self.store(now, w, (*space, *order), *a, *size, b)?;
            }
            Op::Atomic { space, order, f, size, d, a, b, c } => {
                let old = self.atomic(now, w, (*space, *order), (f, *size), (*a, *b, *c))?;
                if let Some(d) = d {
                    w.set_row(*d, &old, mask)?;
                }
            }
            Op::Ldmatrix { trans, d, a } => {
                together(here, mask)?;
                self.ldmatrix(now, w, *trans, d, *a)?;
            }
            Op::Stmatrix { trans, b, a } => {
                together(here, mask)?;
                self.stmatrix(now, w, *trans, b, *a)?;
            }
            Op::Movmatrix { d, a } => {
                together(here, mask)?;
                let rows = w.words(*a)?;
                let half = |i: usize| rows[i / 2] >> (16 * (i % 2)) & 0xFFFF;
                let turned = std::array::from_fn(|lane: usize| {
                    let (row, col) = (lane / 4, 2 * (lane % 4));
                    half(8 * col + row) | half(8 * (col + 1) + row) << 16
                });
                w.set_words(*d, &turned)?;
            }
            Op::Mapa { d, a, rank: to } => {
                let (a, to) = (w.row(*a, mask)?, w.row(*to, mask)?);
                for lane in lanes_of(mask) {
                    w.set(*d, lane, self.mapa(a[lane], to[lane])?)?;
                }
            }
            Op::ToGeneric { space, d, a } => {
                let row = w.row(*a, mask)?.map(|a| Self::to_generic(*space, a));
                w.set_row(*d, &row, mask)?;
            }
            Op::FromGeneric { space, d, a } => {
                let row = w.row(*a, mask)?;
                for lane in lanes_of(mask) {
                    w.set(*d, lane, Self::from_generic(*space, row[lane])?)?;
                }
            }

            Op::Copy { to, from, size, take } => {
                self.copy(now, w, (*to, *from), *size, *take)?;
            }
            Op::CopyCommit => {
                for lane in lanes_of(mask) {
                    let group = std::mem::take(&mut w.open[lane]);
                    w.groups[lane].push_back(group);
                }
            }
            Op::CopyWait(pending) => self.copy_wait(now, w, *pending)?,
            Op::CopyArrive { a, noinc } => {
                self.copy_arrive(now, w, *a, *noinc)?;
            }
            Op::BulkLoad { space, to, from, bar, mask: blocks } => {
                self.bulk_load(now, w, *space, (*to, *bar), from, *blocks)?;
            }
            Op::BulkStore { to, from } => self.bulk_store(now, w, to, *from)?,
            Op::BulkShared { to, from, size, bar } => {
                self.bulk_shared(now, w, (*to, *from, *bar), *size)?;
            }
            Op::BulkCommit => {
                for lane in lanes_of(mask) {
                    let group = std::mem::take(&mut w.bulk_open[lane]);
                    w.bulk_groups[lane].push_back(group);
                }
            }
            Op::BulkWait { pending, read } => self.bulk_wait(now, w, *pending, *read)?,

            Op::Mbarrier { space, a, d, op } => {
                if let Mbar::Test { .. } = op {
                    self.mbarrier_test(now, w, *space, (*a, *op), *d)?;
                } else {
                    self.mbarrier(now, w, *space, (*a, *op), *d)?;
                }
            }
            Op::Barrier { id, count, aligned, arrive } => {
                if *aligned && mask != w.live() | mask {
                    return Err(Fault::Divergent { mask }.into());
                }
                self.barrier(now, w, (*id, *count), *arrive)?;
            }
            Op::WarpSync { members } => {
                meet(w, *members, mask)?;
                let party = w.party(mask);
                w.timeline.meet(party);
            }
            Op::ClusterArrive { relaxed } => {
                together(here, mask)?;
                self.cluster_arrive(w, *relaxed)?;
            }
            Op::ClusterWait => {
                together(here, mask)?;
                self.cluster_wait(w)?;
            }
            Op::Fence { block_only } => {
                let party = w.party(mask);
                w.timeline.fence(party, *block_only);
            }
            Op::FenceInit => self.fence_init(now, w),
            Op::FenceProxy(memories) => {
                let party = w.party(mask);
                w.timeline.fence_proxy(party, memories);
            }

            Op::Multiply(x) => {
                together(here, mask)?;
                let a = words(w, &x.a)?;
                let b = words(w, &x.b)?;
                let c = words(w, &x.c)?;
                let word = match x.metadata {
                    Some((src, _)) => Some(w.words(src)?),
                    None => None,
                };
                let tolerant = now.m.options.tolerate_metadata;
                let metadata = word
                    .as_ref()
                    .zip(x.metadata)
                    .map(|(word, (_, selector))| mma::Metadata { word, selector, tolerant });
                let mut out = vec![[0; 32]; x.d.len()];
                mma::warp(&x.form, &a, &b, &c, metadata, &mut out)?;
                for (slot, row) in x.d.iter().zip(&out) {
                    w.set_words(*slot, row)?;
                }
            }
            Op::Group(x) => {
                together(here, mask)?;
                self.group_multiply(now, w, x)?;
            }
            Op::GroupFence => {
                together(here, mask)?;
                w.group.fenced = true;
                w.owned.iter_mut().for_each(|owned| owned.touched = false);
            }
            Op::GroupCommit => {
                together(here, mask)?;
                w.group.commit();
            }
            Op::GroupWait(pending) => {
                together(here, mask)?;
                self.group_wait(now, w, *pending)?;
            }
            Op::SetMaxRegisters { count } => {
                together(here, mask)?;
                self.set_max_registers(*count)?;
            }

            Op::Branch { uniform, target } => {
                if *uniform && mask != here {
                    return Err(Fault::Divergent { mask }.into());
                }
                for lane in lanes_of(mask) {
                    w.pcs[lane] = Some(*target);
                }
            }
            Op::Exit => {
                for lane in lanes_of(mask) {
                    w.pcs[lane] = None;
                }
            }
            Op::Trap => return Err(Fault::Trap.into()),
            Op::Nop => {}
        }
        Ok(mask)
    }

    /// The block, and the byte, of an address that must be in shared memory.
    pub fn shared_at(
        &self,
        space: crate::code::Space,
        rank: usize,
        address: u64,
    ) -> Result<(usize, u64), Fault> {
        match self.place(space, rank, address)? {
            Place::Shared { rank, offset } => Ok((rank, offset)),
            _ => Err(Fault::Rule(format!("{address:#x} is no address of shared memory"))),
        }
    }
}

fn words(w: &mut Warp<'_>, sources: &[Src]) -> Result<Vec<mma::Lanes>, Fault> {
    sources.iter().map(|src| w.words(*src)).collect()
}

/// All lanes that the mask names must be here, and the mask must name all that are.
fn meet(w: &mut Warp<'_>, members: Src, mask: u32) -> Result<(), Fault> {
    let row = w.row(members, mask)?;
    match lanes_of(mask).find(|lane| row[*lane] as u32 != mask) {
        Some(_) => Err(Fault::Divergent { mask }),
        None => Ok(()),
    }
}

/// ISA 9.7.9.6, its pseudocode: the values, and whether each came from within the segment.
fn shuffle(mode: Shuffle, a: &Row, b: &Row, c: &Row, mask: u32) -> Result<(Row, Row), Fault> {
    let (mut out, mut inside) = ([0; 32], [0; 32]);
    for lane in lanes_of(mask) {
        let b = b[lane] as u32 & 31;
        let (clamp, segment) = (c[lane] as u32 & 31, c[lane] as u32 >> 8 & 31);
        let me = lane as u32;
        let most = (me & segment) | (clamp & !segment);
        let least = me & segment;
        let (from, within) = match mode {
            Shuffle::Up => (me.wrapping_sub(b), me as i32 - b as i32 >= most as i32),
            Shuffle::Down => (me + b, me + b <= most),
            Shuffle::Bfly => (me ^ b, me ^ b <= most),
            Shuffle::Idx => (least | (b & !segment), least | (b & !segment) <= most),
        };
        let from = if within { from } else { me };
        if mask >> from & 1 == 0 {
            return Err(Fault::Rule(format!("lane {me} reads lane {from}, which takes no part")));
        }
        out[lane] = a[from as usize];
        inside[lane] = within as u64;
    }
    Ok((out, inside))
}

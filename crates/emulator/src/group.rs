//! `wgmma`: asynchronous multiplies of a warpgroup (ISA 9.7.15). Four warps issue each one; it owns
//! its registers, and reads shared memory by the async proxy, until each has waited for its group.

use crate::code::{Multiply, Slot, Src};
use crate::execute::{Done, Now};
use crate::machine::Cluster;
use crate::mma::{self, Descriptor, GroupA, Lanes};
use crate::order::{ALL_LANES, TOGETHER};
use crate::shadow::{By, Clash};
use crate::sync::rule;
use crate::trap::Fault;
use crate::warp::{ALL, State, Warp};
use std::collections::VecDeque;
use std::ops::Range;

/// A warp's side: what it has issued, committed and not yet waited for.
#[derive(Default)]
pub(crate) struct GroupQueue {
    /// Whether it has executed `wgmma.fence` at all.
    pub fenced: bool,
    /// Multiplies issued so far; the next one's ordinal.
    issued: u64,
    /// For each group committed and not waited for: the ordinal after its last.
    groups: VecDeque<u64>,
    /// Multiplies up to here are waited for.
    retired: u64,
    /// The ordinal before which all must be done for it to go on.
    pub awaited: Option<u64>,
    /// Of each multiply under way: its site, and the shared memory that it reads for this warp.
    under_way: VecDeque<(usize, Vec<(u64, usize)>)>,
}

impl GroupQueue {
    pub fn commit(&mut self) {
        self.groups.push_back(self.issued);
    }

    /// The site of a multiply that nobody waited for.
    pub fn unfinished(&self) -> Option<usize> {
        self.under_way.front().map(|(site, _)| *site)
    }
}

/// A warpgroup's multiplies under way, in order.
#[derive(Default)]
pub(crate) struct Group<'p> {
    /// The first one's ordinal.
    first: u64,
    queue: VecDeque<Issue<'p>>,
}

/// A multiply that some of the four warps have issued.
struct Issue<'p> {
    what: &'p Multiply,
    /// What each warp brings.
    parts: [Option<Part>; 4],
    /// Each warp's D, once all four have come.
    result: Option<[Vec<Lanes>; 4]>,
    /// Warps that have waited for it.
    retired: u32,
}

struct Part {
    /// Registers of A, if it comes from there.
    a: Vec<Lanes>,
    /// What it read of the matrices in shared memory, zero elsewhere; A may be in registers.
    matrix_a: Vec<u32>,
    matrix_b: Vec<u32>,
    descriptor_b: u64,
    metadata: Option<Lanes>,
    /// D before; none: it continues the multiply before it in the same registers.
    d: Option<Vec<Lanes>>,
    scale_d: bool,
}

impl Group<'_> {
    /// Whether all multiplies before this ordinal are done.
    pub fn is_done(&self, ordinal: u64) -> bool {
        let count = ordinal.saturating_sub(self.first) as usize;
        self.queue.iter().take(count).all(|issue| issue.result.is_some())
            && count <= self.queue.len()
    }
}

impl<'a> Cluster<'a> {
    pub fn group_multiply(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        x: &'a Multiply,
    ) -> Done {
        if !w.group.fenced {
            return Err(Fault::NoWgmmaFence { register: "its registers".into() }.into());
        }
        let scale_d = match x.scale_d {
            Some(src) => w.uniform(src, ALL, "scale-d")? == 1,
            None => true,
        };
        let mut sources: Vec<Slot> = Vec::new();
        let registers = x.a.len() > 1;
        if registers {
            sources.extend(x.a.iter().filter_map(slot));
        }
        sources.extend(x.metadata.iter().filter_map(|(src, _)| slot(src)));
        let chained = self.claim(w, x, &sources)?;
        let a = if registers { take(w, &x.a)? } else { Vec::new() };
        let metadata = match &x.metadata {
            Some((src, _)) => take(w, std::slice::from_ref(src))?.first().copied(),
            None => None,
        };
        let d = match (scale_d, chained) {
            (true, false) => {
                Some(x.d.iter().map(|slot| w.take_words(*slot)).collect::<Result<_, _>>()?)
            }
            (false, _) => Some(vec![[0; 32]; x.d.len()]),
            (true, true) => None,
        };
        // each warp reads its own rows of A, and for all four a quarter of B
        let quarter = w.number % 4;
        let form = &x.form;
        let mut reads = Vec::new();
        let share = |extent: u32| quarter * extent / 4..(quarter + 1) * extent / 4;
        let matrix_a = if registers {
            Vec::new()
        } else {
            let all = (64, form.stored_columns() as u32);
            let part = (share(64), 0..all.1);
            self.matrix(now, w, (x.a[0], x.transposed[0]), all, part, form.a, &mut reads)?
        };
        let all = (form.n, form.k);
        let part =
            if x.transposed[1] { (0..form.n, share(form.k)) } else { (share(form.n), 0..form.k) };
        let matrix_b =
            self.matrix(now, w, (x.b[0], x.transposed[1]), all, part, form.b, &mut reads)?;
        let descriptor_b = w.uniform(x.b[0], ALL, "descriptor")?;

        let ordinal = w.group.issued;
        for slot in x.d.iter().chain(&sources) {
            let owned = &mut w.owned[*slot];
            (owned.by, owned.site) = (ordinal + 1, now.pc);
        }
        w.group.issued += 1;
        w.group.under_way.push_back((now.pc, reads));
        let part = Part { a, matrix_a, matrix_b, descriptor_b, metadata, d, scale_d };
        self.post(now, w, x, ordinal, part)
    }

    /// Checks the registers: not touched since the last fence; those of D may be under way only if
    /// they continue the same shape. Returns whether they do.
    fn claim(&self, w: &Warp<'a>, x: &Multiply, sources: &[Slot]) -> Result<bool, Fault> {
        let mut chained = 0;
        for slot in x.d.iter().chain(sources) {
            let owned = &w.owned[*slot];
            let register = || w.program.slots[*slot].name.clone();
            if owned.touched {
                return Err(Fault::NoWgmmaFence { register: register() });
            }
            let is_d = x.d.contains(slot);
            if owned.by == 0 {
                continue;
            }
            let other = match &w.program.code[owned.site].op {
                crate::code::Op::Group(other) => other,
                _ => continue,
            };
            let same = other.d == x.d && other.form.n == x.form.n && other.form.acc == x.form.acc;
            if is_d && !same || !is_d && other.d.contains(slot) {
                let operation = w.program.site(owned.site);
                return Err(Fault::Owned { register: register(), operation });
            }
            chained += usize::from(is_d);
        }
        Ok(chained > 0)
    }

    /// An operand of so many rows and columns, row-major, of which a part is read and the rest is zero;
    /// what the part occupies is being read until the warp has waited.
    fn matrix(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        (descriptor, transposed): (Src, bool),
        (rows, columns): (u32, u32),
        (of_rows, of_columns): (Range<u32>, Range<u32>),
        element: mma::Element,
        reads: &mut Vec<(u64, usize)>,
    ) -> Result<Vec<u32>, Clash> {
        let bits = w.uniform(descriptor, ALL, "descriptor")?;
        let descriptor = Descriptor::decode(bits).map_err(rule)?;
        let size = element.bits() / 8;
        descriptor.check(rows, columns, size, transposed).map_err(rule)?;
        let stamp = w.timeline.stamp(ALL_LANES, now.pc);
        let mut out = vec![0; (rows * columns) as usize];
        // sixteen bytes lie together along the major dimension
        let run = 16 / size;
        let (step_row, step_column) = if transposed { (run, 1) } else { (1, run) };
        now.count().shared[0] += (of_rows.len() * of_columns.len()) as u64 * u64::from(size);
        for row in of_rows.step_by(step_row as usize) {
            for column in of_columns.clone().step_by(step_column as usize) {
                let address = u64::from(descriptor.address(row, column, size, transposed));
                let mut data = [0; 16];
                let by = By { stamp, timeline: &w.timeline, is_async: true };
                self.blocks[now.rank].shared.begin_read(address, &mut data, by)?;
                reads.push((address, 16));
                for (i, bytes) in data.chunks(size as usize).enumerate() {
                    let (r, c) = if transposed {
                        (row + i as u32, column)
                    } else {
                        (row, column + i as u32)
                    };
                    let at = (r * columns + c) as usize;
                    out[at] = crate::access::word(bytes) as u32;
                }
            }
        }
        Ok(out)
    }

    /// A warp's part; the fourth one multiplies.
    fn post(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        x: &'a Multiply,
        ordinal: u64,
        part: Part,
    ) -> Done {
        let number = w.number as usize;
        let tolerant = now.m.options.tolerate_metadata;
        let Some(group) = self.blocks[now.rank].groups.get_mut(number / 4) else {
            return Err(rule("wgmma needs a warpgroup of four warps").into());
        };
        let at = (ordinal - group.first) as usize;
        if at == group.queue.len() {
            group.queue.push_back(Issue {
                what: x,
                parts: Default::default(),
                result: None,
                retired: 0,
            });
        }
        let issue = &mut group.queue[at];
        if !std::ptr::eq(issue.what, x) {
            return Err(rule("the warps of a warpgroup issue different multiplies").into());
        }
        issue.parts[number % 4] = Some(part);
        if issue.parts.iter().any(Option::is_none) {
            return Ok(());
        }
        let parts: Vec<Part> = std::mem::take(&mut issue.parts).into_iter().flatten().collect();
        let before = group.queue.iter().take(at).rev().find(|other| other.what.d == x.d);
        let chained = before.and_then(|issue| issue.result.clone());
        let issue = &mut group.queue[at];
        issue.result = Some(multiply(x, &parts, chained, tolerant)?);
        Ok(())
    }

    /// `wgmma.wait_group`: all but the youngest groups of the warp are done, and their registers its
    /// own again.
    pub fn group_wait(&mut self, now: &mut Now<'_, 'a>, w: &mut Warp<'a>, pending: usize) -> Done {
        let older = w.group.groups.len().saturating_sub(pending);
        let Some(ordinal) = older.checked_sub(1).map(|i| w.group.groups[i]) else { return Ok(()) };
        let number = w.number as usize;
        let block = &mut self.blocks[now.rank];
        let Some(group) = block.groups.get_mut(number / 4) else { return Ok(()) };
        if !group.is_done(ordinal) {
            w.state = State::Group;
            w.group.awaited = Some(ordinal);
            w.pcs.iter_mut().flatten().for_each(|pc| *pc = now.pc);
            return Ok(());
        }
        w.group.awaited = None;
        w.group.groups.drain(..older);
        let stamp = w.timeline.stamp(TOGETHER, now.pc);
        for done in w.group.retired..ordinal {
            let Some(issue) = group.queue.get_mut((done - group.first) as usize) else { continue };
            issue.retired += 1;
            if let Some(result) = &issue.result {
                for (slot, words) in issue.what.d.iter().zip(&result[number % 4]) {
                    w.put_words(*slot, words);
                }
            }
            let (_, reads) = w.group.under_way.pop_front().unwrap_or_default();
            for (address, bytes) in reads {
                block.shared.end_read(address, bytes, stamp);
            }
        }
        w.group.retired = w.group.retired.max(ordinal);
        w.owned.iter_mut().filter(|o| o.by <= ordinal).for_each(|o| o.by = 0);
        while group.queue.front().is_some_and(|issue| issue.retired == 4) {
            group.queue.pop_front();
            group.first += 1;
        }
        Ok(())
    }
}

fn slot(src: &Src) -> Option<Slot> {
    match src {
        Src::Slot(slot) => Some(*slot),
        Src::Const(_) => None,
    }
}

fn take(w: &Warp<'_>, sources: &[Src]) -> Result<Vec<Lanes>, Fault> {
    let words = |src: &Src| match src {
        Src::Slot(slot) => w.take_words(*slot),
        Src::Const(value) => Ok([*value as u32; 32]),
    };
    sources.iter().map(words).collect()
}

/// What four warps read, each a part.
fn together(parts: [&[u32]; 4]) -> Vec<u32> {
    let [first, others @ ..] = parts;
    let mut all = first.to_vec();
    for part in others {
        all.iter_mut().zip(part).for_each(|(all, part)| *all |= part);
    }
    all
}

/// Four warps' parts together.
fn multiply(
    x: &Multiply,
    parts: &[Part],
    chained: Option<[Vec<Lanes>; 4]>,
    tolerant: bool,
) -> Result<[Vec<Lanes>; 4], Fault> {
    let [p0, p1, p2, p3] = parts else { return Err(rule("a warpgroup has four warps")) };
    let all = [p0, p1, p2, p3];
    if all.iter().any(|p| p.scale_d != p0.scale_d || p.descriptor_b != p0.descriptor_b) {
        return Err(rule("the warps of a warpgroup pass different descriptors of B, or scale-d"));
    }
    let a = if p0.a.is_empty() {
        GroupA::Matrix(together(all.map(|p| &p.matrix_a[..])))
    } else {
        GroupA::Registers(all.map(|p| &p.a[..]))
    };
    let empty = Vec::new();
    let d: [&[Lanes]; 4] = std::array::from_fn(|w| match (&all[w].d, &chained) {
        (Some(d), _) => &d[..],
        (None, Some(before)) => &before[w][..],
        (None, None) => &empty[..],
    });
    let selector = x.metadata.map_or(0, |(_, selector)| selector);
    let word = |p: &'_ Part| p.metadata.unwrap_or([0; 32]);
    let words = all.map(word);
    let metadata = x.metadata.map(|_| {
        let [a, b, c, d] = &words;
        [a, b, c, d].map(|word| mma::Metadata { word, selector, tolerant })
    });
    let [negate_a, negate_b] = x.negate;
    let b = together(all.map(|p| &p.matrix_b[..]));
    // B is read by its columns
    let (n, k) = (x.form.n as usize, x.form.k as usize);
    let b: Vec<u32> = (0..k * n).map(|i| b[i % n * k + i / n]).collect();
    mma::group(&x.form, a, &b, d, p0.scale_d, negate_a, negate_b, metadata)
}

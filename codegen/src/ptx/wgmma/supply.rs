//! What comes to a consumer's registers ahead of the multiplies: metadata, and W's values if they are
//! multiplied from there. A *set* of registers serves one tile of k. Sets are filled by turns: while a
//! tile is multiplied, the set of the one before it is free, and the others are on their way.

use super::Block;
use super::consumer::{letter, of_slice};
use super::geometry::Geometry;
use quickpick_kernels::{Order, Values};
use quickpick_ptx::{B32, B64, Cache, Cmp, Int, Kernel, ParamName, Pred, Reg, Vector};

/// The registers of one tile of k, slice by slice.
struct Set {
    /// Four for each multiply.
    values: Vec<Vec<Vector<B32, 4>>>,
    meta: Vec<Vec<Reg<B32>>>,
}

pub(super) struct Supply<'a> {
    g: &'a Geometry,
    sets: Vec<Set>,
    /// Each slice's next block.
    at: Vec<Reg<B32>>,
    /// Rows of W are taken in blocks of 16: the last of them, and blocks along k.
    last: Reg<B32>,
    blocks: Reg<B32>,
    /// Where the lane's part of block 0 lies.
    values: Reg<B64>,
    metadata: Reg<B64>,
}

impl<'a> Supply<'a> {
    /// Declares the registers, and reads what no item changes.
    pub fn new(k: &mut Kernel, block: &'a Block) -> Self {
        let g = &block.g;
        let slices = g.slices() as usize;
        let in_registers = g.in_registers();
        let s = Self {
            g,
            sets: (0..Self::count(g)).map(|set| Set::new(k, g, letter(set))).collect(),
            at: if g.sparse { k.reg_list("block_at", slices) } else { vec![] },
            last: k.reg("last_row_block"),
            blocks: k.reg("k_blocks"),
            values: k.reg("values_base"),
            metadata: k.reg("meta_base"),
        };
        if let Some(metadata) = block.params.metadata {
            let lane = k.scratch("supply_lane");
            k.and_b32(lane, block.thread, 31);
            let base = |k: &mut Kernel, d: Reg<B64>, from: ParamName, bytes: u32| {
                k.ld_param_u64(d, from).cvta_to_global(d, d);
                k.mad_wide(Int::U32, d, lane, bytes, d);
            };
            k.note("blocks of 16 rows of W, and of columns; rows beyond repeat the last block");
            base(k, s.metadata, metadata, s.meta_bytes());
            if in_registers {
                base(k, s.values, block.params.values, 16);
            }
            let (rows, columns) = s.padding();
            k.ld_param_u32(s.last, block.params.m).add_u32(s.last, s.last, rows - 1);
            k.shr(Int::U32, s.last, s.last, rows.ilog2());
            k.shl_b32(s.last, s.last, (rows / 16).ilog2()).sub_u32(s.last, s.last, 1);
            k.ld_param_u32(s.blocks, block.params.k).add_u32(s.blocks, s.blocks, columns - 1);
            k.shr(Int::U32, s.blocks, s.blocks, columns.ilog2());
        }
        s
    }

    /// Sets: two for metadata alone, three where the values' way from memory is to be hidden too.
    pub fn count(g: &Geometry) -> u32 {
        match (g.sparse, g.form.values) {
            (false, _) => 1,
            (true, Values::Shared) => 2,
            (true, Values::Registers) => 3,
        }
    }

    /// Rows and columns to which the order pads.
    fn padding(&self) -> (u32, u32) {
        let padded = |order: Order| order.padded(self.g.dtype, 1, 1);
        let (rows, columns) = self.g.order.map_or((1, 1), padded);
        (rows as u32, columns as u32)
    }

    /// Bytes of a block's metadata for a lane.
    fn meta_bytes(&self) -> u32 {
        4 * self.g.meta_words() * self.g.whole_blocks
    }

    /// Goes to where the item begins, at this stage of the ring, and fills all sets but one.
    pub fn begin(&self, k: &mut Kernel, block: &Block, warp: Reg<B32>, stage: Reg<B32>) {
        if !self.g.sparse {
            return;
        }
        let (first, row) = (k.reg("first_block"), k.reg("row_block"));
        k.note("the warp's 16 rows of each slice");
        k.shr(Int::U32, first, block.items.first, self.g.whole_blocks.ilog2());
        for (slice, &at) in (0..).zip(&self.at) {
            k.shr(Int::U32, row, block.items.place.m, 4).add_u32(row, row, warp);
            if slice > 0 {
                k.add_u32(row, row, 4 * slice);
            }
            k.min(Int::U32, row, row, self.last).mad_lo_u32(at, row, self.blocks, first);
        }
        let (sets, left) = (Self::count(self.g), block.items.count);
        let (set, other) = (k.reg("first_set"), k.reg::<Pred>("other_set"));
        // where items begin between two blocks, they do at an even stage
        let firsts = if self.g.whole_blocks > 1 { 1 } else { sets };
        if firsts > 1 {
            k.rem_u32(set, stage, sets);
        }
        for first in 0..firsts {
            let next = format!("first_not_{}", letter(first));
            if first + 1 < firsts {
                k.setp(Cmp::Ne, Int::U32, other, set, first).when(other).bra_uni(next.as_str());
            }
            for ahead in 0..sets - 1 {
                self.fill(k, (first + ahead) % sets, left, ahead);
            }
            if first + 1 < firsts {
                k.bra_uni("sets_filled").place(next.as_str());
            }
        }
        if firsts > 1 {
            k.place("sets_filled");
        }
    }

    /// While a stage's tile of k is multiplied: fills the set of the one before; `left` counts from the
    /// ring's first stage.
    pub fn fill_ahead(&self, k: &mut Kernel, stage: u32, left: Reg<B32>) {
        let ahead = Self::count(self.g) - 1;
        if self.g.sparse {
            self.fill(k, (stage + ahead) % (ahead + 1), left, stage + ahead);
        }
    }

    /// Fills a set with the next tile of k; then goes on, if more than `beyond` and one tiles are left: who
    /// fills sets beyond the end reads the last tile again.
    fn fill(&self, k: &mut Kernel, set: u32, left: Reg<B32>, beyond: u32) {
        let (more, words) = (k.scratch::<Pred>("more_of_k"), self.g.meta_words());
        let odd = set % self.g.whole_blocks;
        // with two sets none is filled that is not used
        let beyond_the_end = Self::count(self.g) > 2;
        if beyond_the_end {
            k.setp(Cmp::Gt, Int::U32, more, left, beyond + 1);
        }
        for (slice, &block) in self.at.iter().enumerate() {
            let (set, from) = (&self.sets[set as usize], k.scratch::<B64>("meta_at"));
            k.mad_wide(Int::U32, from, block, 32 * self.meta_bytes(), self.metadata);
            let from = from.at((4 * words * odd) as i32);
            match set.meta[slice][..] {
                [a] => k.ld_global_b32(Cache::Nc, a, from),
                [a, b] => k.ld_global_v2_b32(Cache::NcOnce, Vector([a, b]), from),
                [a, b, c, d] => k.ld_global_v4_b32(Cache::NcOnce, Vector([a, b, c, d]), from),
                _ => k,
            };
            if let Some(values) = set.values.get(slice) {
                // 32 lanes · 16 bytes for each multiply
                let from = k.scratch::<B64>("values_at");
                k.mad_wide(Int::U32, from, block, 512 * self.g.steps(), self.values);
                for (step, &to) in values.iter().enumerate() {
                    k.ld_global_v4_b32(Cache::NcOnce, to, from.at(512 * step as i32));
                }
            }
            if odd + 1 == self.g.whole_blocks {
                if beyond_the_end {
                    k.when(more);
                }
                k.add_u32(block, block, 1);
            }
        }
    }

    /// The set of a stage: sets divide the ring.
    fn set(&self, stage: u32) -> &Set {
        &self.sets[(stage % Self::count(self.g)) as usize]
    }

    /// The values of a multiply, if they are in registers.
    pub fn values(&self, stage: u32, slice: u32, step: u32) -> Option<Vector<B32, 4>> {
        self.set(stage).values.get(slice as usize).map(|v| v[step as usize])
    }

    /// The metadata of a multiply, and their selector.
    pub fn metadata(&self, stage: u32, slice: u32, step: u32) -> Option<(Reg<B32>, u32)> {
        let words = self.set(stage).meta.get(slice as usize)?;
        match self.g.bytes() {
            1 => Some((words[step as usize], 0)),
            _ => Some((words[step as usize / 2], step % 2)),
        }
    }
}

impl Set {
    fn new(k: &mut Kernel, g: &Geometry, name: char) -> Self {
        let slice = |i: u32| of_slice(&name.to_string(), g.slices(), i);
        let slices = 0..g.slices();
        let values = |k: &mut Kernel, i: u32| {
            (0..g.steps()).map(|step| k.regs(&format!("a_{}_{}", slice(i), letter(step)))).collect()
        };
        let (values, meta) = (
            if g.in_registers() { slices.clone().map(|i| values(k, i)).collect() } else { vec![] },
            match g.sparse {
                true => slices
                    .map(|i| k.reg_list(&format!("meta_{}", slice(i)), g.meta_words() as usize))
                    .collect(),
                false => vec![],
            },
        );
        Self { values, meta }
    }
}

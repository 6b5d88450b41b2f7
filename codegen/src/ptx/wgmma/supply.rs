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
    /// Where each slice's next ones lie.
    values_at: Vec<Reg<B64>>,
    meta_at: Vec<Reg<B64>>,
    /// Rows of W are taken in blocks of 16: the last of them, and blocks along k.
    last: Reg<B32>,
    blocks: Reg<B32>,
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
            values_at: if in_registers { k.reg_list("values_at", slices) } else { vec![] },
            meta_at: if g.sparse { k.reg_list("meta_at", slices) } else { vec![] },
            last: k.reg("last_row_block"),
            blocks: k.reg("k_blocks"),
            values: k.reg("values_base"),
            metadata: k.reg("meta_base"),
        };
        if let Some(metadata) = block.params.metadata {
            let base = |k: &mut Kernel, d: Reg<B64>, from: ParamName| {
                k.ld_param_u64(d, from).cvta_to_global(d, d);
            };
            k.note("blocks of 16 rows of W, and of columns; rows beyond repeat the last block");
            base(k, s.metadata, metadata);
            if in_registers {
                base(k, s.values, block.params.values);
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
        let order = if self.g.in_registers() { Order::FragmentSm80 } else { Order::WgmmaSm90 };
        let (rows, columns) = order.padded(self.g.dtype, 1, 1);
        (rows as u32, columns as u32)
    }

    /// Bytes of a block's metadata for a lane.
    fn meta_bytes(&self) -> u32 {
        4 * self.g.meta_words() * self.g.whole_blocks
    }

    /// Goes to where the item begins, and fills all sets but one.
    pub fn begin(&self, k: &mut Kernel, block: &Block, warp: Reg<B32>, lane: Reg<B32>, left: Reg<B32>) {
        if !self.g.sparse {
            return;
        }
        let (first, row) = (k.reg("first_block"), k.reg("row_block"));
        k.note("the warp's 16 rows of each slice");
        k.shr(Int::U32, first, block.items.first, self.g.whole_blocks.ilog2());
        for slice in 0..self.g.slices() {
            let i = slice as usize;
            k.shr(Int::U32, row, block.items.place.m, 4).add_u32(row, row, warp);
            if slice > 0 {
                k.add_u32(row, row, 4 * slice);
            }
            k.min(Int::U32, row, row, self.last).mad_lo_u32(row, row, self.blocks, first);
            k.mad_lo_u32(row, row, 32, lane);
            k.mad_wide(Int::U32, self.meta_at[i], row, self.meta_bytes(), self.metadata);
            if let Some(&at) = self.values_at.get(i) {
                // a block's two multiplies: 32 lanes · 16 bytes each
                let in_block = k.scratch("value_row");
                k.sub_u32(in_block, row, lane).shl_b32(in_block, in_block, 1);
                k.add_u32(in_block, in_block, lane);
                k.mad_wide(Int::U32, at, in_block, 16, self.values);
            }
        }
        for set in 0..Self::count(self.g) - 1 {
            self.fill_if(k, set, left, set);
        }
    }

    /// Fills a set if more than `beyond` tiles of k are left.
    pub fn fill_if(&self, k: &mut Kernel, set: u32, left: Reg<B32>, beyond: u32) {
        if !self.g.sparse {
            return;
        }
        let more = k.scratch::<Pred>("more_of_k");
        if beyond > 0 {
            k.setp(Cmp::Gt, Int::U32, more, left, beyond);
        }
        let when = |k: &mut Kernel| {
            if beyond > 0 {
                k.when(more);
            }
        };
        let words = self.g.meta_words();
        let odd = set % self.g.whole_blocks;
        for (slice, &at) in self.meta_at.iter().enumerate() {
            let meta = &self.sets[set as usize].meta[slice];
            let from = at.at((4 * words * odd) as i32);
            when(k);
            match meta[..] {
                [a] => k.ld_global_b32(Cache::Nc, a, from),
                [a, b] => k.ld_global_v2_b32(Cache::NcOnce, Vector([a, b]), from),
                [a, b, c, d] => k.ld_global_v4_b32(Cache::NcOnce, Vector([a, b, c, d]), from),
                _ => k,
            };
            if odd + 1 == self.g.whole_blocks {
                k.add_u64(at, at, 32 * i64::from(self.meta_bytes()));
            }
        }
        for (slice, &at) in self.values_at.iter().enumerate() {
            for (step, &to) in self.sets[set as usize].values[slice].iter().enumerate() {
                when(k);
                k.ld_global_v4_b32(Cache::NcOnce, to, at.at(512 * step as i32));
            }
            k.add_u64(at, at, 512 * i64::from(self.g.steps()));
        }
    }

    /// The values of a multiply, if they are in registers.
    pub fn values(&self, set: u32, slice: u32, step: u32) -> Option<Vector<B32, 4>> {
        self.sets[set as usize].values.get(slice as usize).map(|v| v[step as usize])
    }

    /// The metadata of a multiply, and their selector.
    pub fn metadata(&self, set: u32, slice: u32, step: u32) -> Option<(Reg<B32>, u32)> {
        let words = self.sets[set as usize].meta.get(slice as usize)?;
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

//! The orders in which a packed matrix lies in memory.

use core::fmt;

/// Where each kept value and each metadata word of a packed matrix lies.
///
/// A kernel names the order that it reads; packing makes it. Rows are output features (m), columns
/// are input features (k); both are padded as the order demands, with zero values and code `0x4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Values `m × k/2` row-major. Metadata `m × k/32` words, row-major; bits `4g..4g+4` of a word
    /// are the code of its g-th group of four columns. k padded to 32. Read by WGSL.
    RowMajor,
    /// Values `m × k/2` row-major; metadata words where `mma.sp` m16n8k32 wants them (the order of
    /// CUTLASS 2.x and PyTorch-CUTLASS): m padded to 32, k to 32; word
    /// `(c·m + 32·(r/32)) + 4·(r%8) + 2·((r/16)%2) + u`, whose low half is row r (r%16 < 8) and
    /// high half row r+8, columns `32c + 16u ..+16`. One word feeds two MMAs, by the selector.
    ///
    /// 8-bit types, m16n8k64: k padded to 64; word `2·(c/2)·m + 32·(r/16) + 4·(r%8) + 2·(c%2) + (r/8)%2` is that
    /// of row r, columns `32c ..+32`: within 16 rows × 64 columns, the lane's number.
    MmaSpSm80,
    /// Values and metadata in register order, for kernels that load straight to registers.
    /// m padded to 16, k to 64. Block (16 rows × 64 columns), row-blocks outermost, then k-blocks:
    /// values: 2 k-steps × 32 lanes × 16 bytes (the four `.b32` A registers of m16n8k32);
    /// metadata: 32 words, word of lane `4g + 2s + u` = rows g (low half) and g+8 (high half),
    /// columns `32s + 16u ..+16` of the block: selector s serves k-step s.
    ///
    /// 8-bit types: k padded to 128. Block (16 rows × 128 columns): values as above, of m16n8k64;
    /// metadata: 64 words, word `2·lane + s` of lane `4g + 2v + u` = row g + 8u, columns
    /// `64s + 32v ..+32` of the block: k-step s, selector 0.
    FragmentSm80,
    /// Values `m × k/2` row-major, k padded to 32: a tensor copy brings them to shared memory.
    /// Metadata in register order for `wgmma.mma_async.sp`, m padded to 64, in blocks of 16 rows,
    /// row-blocks outermost, then k-blocks; one load per thread feeds four k-steps.
    ///
    /// 16-bit types, m64nNk32: k padded to 128. Block of 128 columns: 64 words, word `2·lane + j` of
    /// lane `4g + 2s + u` = rows g (low half) and g+8 (high half), columns `64j + 32s + 16u ..+16` of
    /// the block: selector s serves k-step 2j + s.
    ///
    /// 8-bit types, m64nNk64: k padded to 256. Block of 256 columns: 128 words, word `4·lane + j` of
    /// lane `4g + 2s + u` = row g + 8u, columns `64j + 32s ..+32` of the block: k-step j, selector 0.
    WgmmaSm90,
    /// Strips of 16 rows, outermost, then groups of four columns: 32 values, 2 words. m padded to 16, k to
    /// 32. What a vector multiplies at once lies side by side, a strip is two streams without gaps, and a
    /// code is a shift away from the lane that wants it. Read by the CPU.
    ///
    /// Values: the first kept of each row, then the second; of bf16 each row's two together, of I8, in
    /// double groups of eight columns, each row's four: what instructions that add pairs and fours take.
    ///
    /// Words: the even rows', the odd rows'. Bits `2i..2i+2` of a word's low half are the place of the first
    /// kept value of the i-th of its eight rows, of the high half that of the second.
    Strips,
}

impl Order {
    /// Every order.
    pub const ALL: [Self; 5] =
        [Self::RowMajor, Self::MmaSpSm80, Self::FragmentSm80, Self::WgmmaSm90, Self::Strips];

    /// Counts the changes of an order's definition. A file states it; a reader refuses others.
    pub const fn version(self) -> u32 {
        match self {
            Self::RowMajor
            | Self::MmaSpSm80
            | Self::FragmentSm80
            | Self::WgmmaSm90
            | Self::Strips => 1,
        }
    }

    /// The order's name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RowMajor => "row-major",
            Self::MmaSpSm80 => "mma-sp-sm80",
            Self::FragmentSm80 => "fragment-sm80",
            Self::WgmmaSm90 => "wgmma-sm90",
            Self::Strips => "strips",
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

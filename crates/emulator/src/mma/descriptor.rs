//! Where the elements of a warpgroup's operand are in shared memory.

/// How 16-byte chunks are permuted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Swizzle {
    None,
    /// Of rows of so many bytes: 32, 64 or 128.
    Bytes(u32),
}

/// A matrix descriptor (PTX ISA 9.7.15.5.1.2.2), decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    /// The matrix's first byte, in the shared window.
    start: u32,
    /// Leading dimension byte offset.
    leading: u32,
    /// Stride dimension byte offset.
    stride: u32,
    /// Where the swizzle's pattern starts, in 128-byte lines mod 8.
    base: u32,
    swizzle: Swizzle,
}

/// Bits that no field has: 14–15, 30–31, 46–48, 52–61.
const RESERVED: u64 = 0x3FF1_C000_C000_C000;

impl Descriptor {
    /// Reads the fields; the error says which the manual does not allow.
    ///
    /// | bits | field |
    /// |---|---|
    /// | 13–0 | start address / 16 |
    /// | 29–16 | leading dimension byte offset / 16 |
    /// | 45–32 | stride dimension byte offset / 16 |
    /// | 51–49 | base offset |
    /// | 63–62 | swizzle: 0 none, 1 of 128 bytes, 2 of 64, 3 of 32 |
    ///
    /// A swizzled pattern is eight rows. It starts at a multiple of its size, 1024, 512 or 256 bytes,
    /// or at another multiple of 128, where the base offset is its line mod 8. The matrix starts in the
    /// pattern's first row.
    pub fn decode(bits: u64) -> Result<Self, String> {
        if bits & RESERVED != 0 {
            let reserved = bits & RESERVED;
            return Err(format!("descriptor {bits:#018x} has the reserved bits {reserved:#x}"));
        }
        let field = |shift: u32| ((bits >> shift & 0x3FFF) << 4) as u32;
        let (start, base) = (field(0), (bits >> 49 & 7) as u32);
        let swizzle = match bits >> 62 {
            0 => Swizzle::None,
            1 => Swizzle::Bytes(128),
            2 => Swizzle::Bytes(64),
            _ => Swizzle::Bytes(32),
        };
        match swizzle {
            Swizzle::None if base != 0 => {
                return Err(format!("base offset {base} without a swizzle"));
            }
            Swizzle::None => {}
            Swizzle::Bytes(width) => {
                let (line, pattern) = (start >> 7 & 7, 8 * width);
                // with base offset 0 the line counts from the pattern's boundary
                let line = if base == 0 { line % (pattern / 128) } else { line };
                if line != base || start % 128 >= width {
                    return Err(format!(
                        "start {start:#x} is not in the first {width} bytes of a swizzle pattern of \
                         {pattern} bytes with base offset {base}"
                    ));
                }
            }
        }
        Ok(Self { start, leading: field(16), stride: field(32), base, swizzle })
    }

    /// Whether an operand with `rows` rows (of M or N) and `columns` stored columns of K can be read
    /// as it says: otherwise what is wrong.
    ///
    /// Only 16-bit types are read MN-major (9.7.15.5.2). A swizzled row holds all of K that the
    /// operand has, or M or N up to the row's width: past it the manual's layouts (9.7.15.5.1.2.1.3)
    /// would lay one element on another.
    pub fn check(
        &self,
        rows: u32,
        columns: u32,
        element_bytes: u32,
        mn_major: bool,
    ) -> Result<(), String> {
        if mn_major && element_bytes != 2 {
            return Err(format!("elements of {element_bytes} bytes cannot be MN-major"));
        }
        let Swizzle::Bytes(width) = self.swizzle else { return Ok(()) };
        let bytes = if mn_major { (rows * 2).min(width) } else { columns * element_bytes };
        let from = self.start % width;
        if from + bytes > width {
            return Err(format!(
                "{bytes} bytes from byte {from} on do not fit a swizzled row of {width} bytes"
            ));
        }
        Ok(())
    }

    /// The first byte of an element: `row` counts M or N, `column` the stored K.
    ///
    /// The canonical layouts (9.7.15.5.1.2.1.3) in bytes; W is the swizzle's width, x the offset along
    /// the major dimension and y the other index:
    ///
    /// | major | swizzle | offset |
    /// |---|---|---|
    /// | K | none | 16·(y mod 8) + stride·⌊y/8⌋ + x mod 16 + leading·⌊x/16⌋ |
    /// | K | W | W·(y mod 8) + stride·⌊y/8⌋ + x |
    /// | MN | none | 16·(y mod 8) + leading·⌊y/8⌋ + x mod 16 + stride·⌊x/16⌋ |
    /// | MN | W | W·(y mod 8) + stride·⌊y/8⌋ + x mod W + leading·⌊x/W⌋ |
    ///
    /// Swizzled, bits 6:4 of the address (of 64 bytes 5:4, of 32 bit 4) are xored with the low bits of
    /// its 128-byte line. The base offset, which no program that we read sets, is taken from the line:
    /// **unverified**.
    pub fn address(&self, row: u32, column: u32, element_bytes: u32, mn_major: bool) -> u32 {
        let (x, y) =
            if mn_major { (row * element_bytes, column) } else { (column * element_bytes, row) };
        let (leading, stride) = (self.leading, self.stride);
        let offset = match (self.swizzle, mn_major) {
            (Swizzle::None, false) => 16 * (y % 8) + stride * (y / 8) + x % 16 + leading * (x / 16),
            (Swizzle::None, true) => 16 * (y % 8) + leading * (y / 8) + x % 16 + stride * (x / 16),
            (Swizzle::Bytes(width), false) => width * (y % 8) + stride * (y / 8) + x,
            (Swizzle::Bytes(width), true) => {
                width * (y % 8) + stride * (y / 8) + x % width + leading * (x / width)
            }
        };
        let linear = self.start + offset;
        match self.swizzle {
            Swizzle::None => linear,
            Swizzle::Bytes(width) => {
                let line = (linear >> 7).wrapping_sub(self.base);
                linear ^ (line & (width / 16 - 1)) << 4
            }
        }
    }
}

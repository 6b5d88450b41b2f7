//! Addresses of every element, and whole multiplies out of shared memory.

use super::reference::{Case, encode};
use super::*;

/// A descriptor's fields.
#[derive(Clone, Copy, Debug)]
struct Fields {
    start: u32,
    leading: u32,
    stride: u32,
    base: u64,
    /// 0, 128, 64 or 32 bytes.
    width: u32,
}

impl Fields {
    fn bits(&self) -> u64 {
        let mode = match self.width {
            0 => 0,
            128 => 1,
            64 => 2,
            _ => 3u64,
        };
        let field = |bytes: u32| (bytes >> 4) as u64;
        field(self.start)
            | field(self.leading) << 16
            | field(self.stride) << 32
            | self.base << 49
            | mode << 62
    }

    /// Where an element is, by rows of the pattern: `row` and `chunk` count from the pattern's start,
    /// in rows of `width` bytes and chunks of 16. In a 128-byte line are 128 / width rows, and the
    /// line's number is xored into the chunk.
    fn swizzled(&self, row: u32, chunk: u32) -> u32 {
        let per_line = 128 / self.width;
        let line = row % 8 / per_line;
        row % 8 * self.width + (chunk ^ line) * 16
    }

    /// The address of an element; `start` may be some chunks into the pattern's first row.
    fn address(&self, row: u32, column: u32, bytes: u32, mn_major: bool) -> u32 {
        let (major, minor) = if mn_major { (row, column) } else { (column, row) };
        let (chunk, rest) = (major * bytes / 16, major * bytes % 16);
        let outer = minor / 8;
        if self.width == 0 {
            let (by_chunk, by_outer) =
                if mn_major { (self.stride, self.leading) } else { (self.leading, self.stride) };
            return self.start + chunk * by_chunk + outer * by_outer + minor % 8 * 16 + rest;
        }
        let first = self.start % self.width / 16;
        let pattern = self.start - first * 16 + outer * self.stride;
        let chunks = self.width / 16;
        let (chunk, next) = if mn_major { (chunk % chunks, chunk / chunks) } else { (chunk, 0) };
        pattern + next * self.leading + self.swizzled(minor, first + chunk) + rest
    }
}

/// Descriptors of a matrix of so many rows and bytes of K, with gaps between their parts.
fn layouts(rows: u32, columns: u32, bytes: u32, mn_major: bool) -> Vec<Fields> {
    let mut list = Vec::new();
    for width in [0, 32, 64, 128] {
        let (leading, stride) = match (width, mn_major) {
            (0, false) => (rows / 8 * 144 + 48, 144),
            (0, true) => (128 * (rows / 8) + 16, 128),
            (_, false) => (16, 8 * width + 1024),
            (_, true) => (8 * width * columns.div_ceil(8) + 2048, 8 * width),
        };
        let span = if mn_major { (rows * 2).min(width) } else { columns * bytes };
        let starts = if width == 0 { vec![0x420] } else { (0..width).step_by(16).collect() };
        for from in starts {
            let start = if width == 0 { from } else { 0x1000 + from };
            if width == 0 || from + span <= width {
                list.push(Fields { start, leading, stride, base: 0, width });
            }
        }
    }
    list
}

#[test]
fn every_element_of_every_layout() {
    let mut seen = 0;
    for (bytes, mn_major) in [(4, false), (2, false), (1, false), (2, true)] {
        for row_bytes in [32, 64] {
            let columns = row_bytes / bytes;
            for rows in [8, 64, 256] {
                for fields in layouts(rows, columns, bytes, mn_major) {
                    let descriptor = Descriptor::decode(fields.bits()).unwrap();
                    descriptor.check(rows, columns, bytes, mn_major).unwrap();
                    let mut used = vec![false; 1 << 19];
                    for row in 0..rows {
                        for column in 0..columns {
                            let at = descriptor.address(row, column, bytes, mn_major);
                            let want = fields.address(row, column, bytes, mn_major);
                            assert_eq!(
                                at, want,
                                "{fields:x?} {bytes} {mn_major} [{row}, {column}]"
                            );
                            assert!(
                                !std::mem::replace(&mut used[at as usize], true),
                                "{fields:x?}"
                            );
                            seen += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(seen > 100_000, "{seen}");
}

/// The examples of 9.7.15.5.1.2.1.3, as offsets in elements.
#[test]
fn the_manuals_examples() {
    let offset = |leading: u32, stride: u32, width, bytes: u32, mn_major, at: [u32; 2]| {
        let (leading, stride) = (leading * bytes, stride * bytes);
        let fields = Fields { start: 0, leading, stride, base: 0, width };
        let descriptor = Descriptor::decode(fields.bits()).unwrap();
        descriptor.address(at[0], at[1], bytes, mn_major) / bytes
    };
    // K-major tf32, not swizzled: ((8,2),(4,4)):((4,32),(1,64))
    assert_eq!(offset(64, 32, 0, 4, false, [3, 1]), 3 * 4 + 1);
    assert_eq!(offset(64, 32, 0, 4, false, [8 + 1, 2 * 4]), 32 + 4 + 2 * 64);
    // K-major tf32, 32 bytes: ((8,2),(4,4)):((8,64),(1,4)), chunks swapped from row 4 on
    assert_eq!(offset(0, 64, 32, 4, false, [8 + 1, 4 + 2]), 64 + 8 + 4 + 2);
    assert_eq!(offset(0, 64, 32, 4, false, [4, 2]), 4 * 8 + 4 + 2);
    // MN-major bf16, not swizzled: ((8,1,2),(8,2)):((1,8,64),(8,128))
    assert_eq!(offset(128, 64, 0, 2, true, [8 + 5, 8 + 3]), 64 + 5 + 128 + 3 * 8);
    // MN-major bf16, 32 bytes: ((8,2,2),(8,2)):((1,8,128),(16,256))
    assert_eq!(offset(128, 256, 32, 2, true, [16 + 8 + 1, 8 + 2]), 128 + 8 + 1 + 256 + 2 * 16);
    // MN-major bf16, 64 bytes: ((8,4,2),(8,2)):((1,8,256),(32,512)), row 2 in line 1
    assert_eq!(offset(256, 512, 64, 2, true, [32 + 8 + 1, 8 + 2]), 256 + 1 + 512 + 2 * 32);
}

/// A base offset names the line where the pattern starts; the chunks are as if it started at 0.
#[test]
fn base_offsets_move_the_pattern() {
    for base in 1..8 {
        let at = |start, base| {
            let fields = Fields { start, leading: 16, stride: 1024, base, width: 128 };
            let descriptor = Descriptor::decode(fields.bits()).unwrap();
            (0..8).map(|row| descriptor.address(row, 20, 2, false) - start).collect::<Vec<u32>>()
        };
        assert_eq!(at(0x2000 + 128 * base as u32, base), at(0x2000, 0));
    }
}

#[test]
fn what_the_manual_forbids_is_refused() {
    let good = Fields { start: 0x1000, leading: 16, stride: 1024, base: 0, width: 128 };
    for bit in [14, 15, 30, 31, 46, 47, 48, 52, 57, 61] {
        let error = Descriptor::decode(good.bits() | 1 << bit).unwrap_err();
        assert!(error.contains(&format!("reserved bits {:#x}", 1u64 << bit)), "{error}");
    }
    for fields in [
        Fields { width: 0, base: 1, ..good },
        // second row of a pattern
        Fields { start: 0x1080, ..good },
        Fields { start: 0x1040, width: 64, ..good },
        Fields { start: 0x1020, width: 32, ..good },
        Fields { start: 0x1100, width: 64, ..good },
        // another line than the base offset
        Fields { start: 0x1080, base: 2, ..good },
        Fields { base: 1, ..good },
    ] {
        assert!(Descriptor::decode(fields.bits()).is_err(), "{fields:x?}");
    }
    for fields in
        [Fields { start: 0x1200, width: 64, ..good }, Fields { start: 0x1110, width: 32, ..good }]
    {
        assert!(Descriptor::decode(fields.bits()).is_ok(), "{fields:x?}");
    }
    let check = |fields: Fields, rows, columns, bytes, mn_major| {
        Descriptor::decode(fields.bits()).unwrap().check(rows, columns, bytes, mn_major)
    };
    assert!(check(good, 8, 32, 1, true).unwrap_err().contains("MN-major"));
    assert!(check(good, 8, 64, 2, false).is_ok());
    assert!(check(Fields { start: 0x1020, ..good }, 8, 64, 2, false).is_err());
    // a sparse form's B has 64 bytes of K
    assert!(check(Fields { width: 32, ..good }, 8, 32, 2, false).is_err());
    assert!(check(Fields { start: 0x1020, ..good }, 64, 16, 2, true).is_err());
}

/// Both operands through descriptors, in every swizzle and direction that the form can have.
#[test]
fn multiplies_out_of_shared_memory() {
    let mut runs = 0;
    for form in group_forms(24) {
        let bytes = form.a.bits() / 8;
        let directions: &[bool] = if bytes == 2 { &[false, true] } else { &[false] };
        for mn_major in directions {
            let stored = form.stored_columns() as u32;
            let of_a = layouts(64, stored, bytes, *mn_major);
            let of_b = layouts(24, form.k, bytes, *mn_major);
            for (i, b) in of_b.iter().enumerate() {
                let a = &of_a[i * 7 % of_a.len()];
                let case = Case::random(form, i as u32);
                let columns: Vec<Vec<i32>> =
                    (0..24).map(|n| case.b.iter().map(|row| row[n]).collect()).collect();
                let a = through(a, form.a, &case.a, *mn_major);
                let gathered = through(b, form.b, &columns, *mn_major);
                let k_rows = 0..form.k as usize;
                let b_rows: Vec<u32> =
                    k_rows.flat_map(|k| columns_of(&gathered, form.k as usize, k)).collect();
                let metadata = case.metadata();
                let meta = [0, 1, 2, 3].map(|w| Metadata {
                    word: &metadata[w],
                    selector: case.selector,
                    tolerant: false,
                });
                let meta = form.is_sparse().then_some(meta);
                let c = case.accumulators(&case.c);
                let d = [0, 1, 2, 3].map(|w| &c[w][..]);
                let got = group(&form, GroupA::Matrix(a), &b_rows, d, true, false, false, meta);
                let want = case.accumulators(&case.product());
                assert!(got.map(Vec::from) == Ok(want), "{form} {mn_major} {b:x?}");
                runs += 1;
            }
        }
    }
    assert!(runs > 200, "{runs}");
}

/// Column k of a row-major matrix.
fn columns_of(matrix: &[u32], columns: usize, k: usize) -> impl Iterator<Item = u32> {
    matrix.iter().skip(k).step_by(columns).copied()
}

/// Writes a matrix, row = M or N and column = K, where the second derivation has it, and reads it where
/// the descriptor says; row-major.
fn through(fields: &Fields, element: Element, matrix: &[Vec<i32>], mn_major: bool) -> Vec<u32> {
    let bytes = element.bits() / 8;
    let mut memory = vec![0u8; 1 << 18];
    let at = |row: usize, column: usize| (row as u32, column as u32, bytes, mn_major);
    for (row, values) in matrix.iter().enumerate() {
        for (column, value) in values.iter().enumerate() {
            let (row, column, bytes, mn_major) = at(row, column);
            let first = fields.address(row, column, bytes, mn_major) as usize;
            let raw = encode(element, *value).to_le_bytes();
            memory[first..][..bytes as usize].copy_from_slice(&raw[..bytes as usize]);
        }
    }
    let descriptor = Descriptor::decode(fields.bits()).unwrap();
    let mut out = Vec::new();
    for (row, values) in matrix.iter().enumerate() {
        for column in 0..values.len() {
            let (row, column, bytes, mn_major) = at(row, column);
            let first = descriptor.address(row, column, bytes, mn_major) as usize;
            let mut raw = [0; 4];
            raw[..bytes as usize].copy_from_slice(&memory[first..][..bytes as usize]);
            out.push(u32::from_le_bytes(raw));
        }
    }
    out
}

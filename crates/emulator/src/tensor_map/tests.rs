//! The rules one by one, and copies against a second derivation: byte by byte from coordinates, with
//! the manual's swizzle tables as printed.

use super::tile::{Tile, TileError};
use super::{Interleave, OobFill, Swizzle, TensorMap, TensorMapError, TensorType, TiledMap};
use std::collections::HashMap;

const GOOD: TiledMap<'_> = TiledMap {
    element: TensorType::F16,
    address: 0x1_0000,
    dims: &[100, 30, 7],
    strides: &[256, 8192],
    box_dims: &[32, 5, 3],
    element_strides: &[1, 1, 1],
    interleave: Interleave::None,
    swizzle: Swizzle::B64,
    oob: OobFill::Zero,
};

fn refused(map: TiledMap<'_>) -> TensorMapError {
    TensorMap::tiled(map).unwrap_err()
}

#[test]
fn every_rule_has_its_error() {
    use TensorMapError as E;
    assert!(TensorMap::tiled(GOOD).is_ok());
    assert_eq!(refused(TiledMap { dims: &[], ..GOOD }), E::Rank(0));
    assert_eq!(refused(TiledMap { dims: &[1; 6], ..GOOD }), E::Rank(6));
    let length = |what, need, len| E::Length { what, rank: 3, need, len };
    assert_eq!(refused(TiledMap { strides: &[16], ..GOOD }), length("strides", 2, 1));
    let short = TiledMap { box_dims: &[32, 1], ..GOOD };
    assert_eq!(refused(short), length("box dimensions", 3, 2));
    let long = TiledMap { element_strides: &[1; 4], ..GOOD };
    assert_eq!(refused(long), length("element strides", 3, 4));
    for interleave in [Interleave::B16, Interleave::B32] {
        assert_eq!(refused(TiledMap { interleave, ..GOOD }), E::Interleave(interleave));
    }
    assert_eq!(refused(TiledMap { address: 0x1_0008, ..GOOD }), E::Address(0x1_0008));
    let dims = |dims| TiledMap { dims, ..GOOD };
    assert_eq!(refused(dims(&[100, 0, 7])), E::Dim { dim: 1, size: 0 });
    let size = (1 << 32) + 1;
    assert_eq!(refused(dims(&[100, 30, (1 << 32) + 1])), E::Dim { dim: 2, size });
    assert!(TensorMap::tiled(dims(&[100, 30, 1 << 32])).is_ok());
    let strides = |strides| TiledMap { strides, ..GOOD };
    assert_eq!(refused(strides(&[256, 8200])), E::StrideAlign { dim: 2, stride: 8200 });
    let stride = 1 << 40;
    assert_eq!(refused(strides(&[256, 1 << 40])), E::StrideRange { dim: 2, stride });
    assert!(TensorMap::tiled(strides(&[256, (1 << 40) - 16])).is_ok());
    let overlap = E::StrideOverlap { dim: 1, stride: 192, row: 200 };
    assert_eq!(refused(strides(&[192, 8192])), overlap);
    assert!(TensorMap::tiled(TiledMap { dims: &[100, 30, 1], ..strides(&[256, 0]) }).is_ok());
    let high = TiledMap { address: !0 << 12, ..GOOD };
    let bytes = 29 * 256 + 6 * 8192 + 200;
    assert_eq!(refused(high), E::End { address: !0 << 12, bytes });
    let boxed = |box_dims| TiledMap { box_dims, ..GOOD };
    assert_eq!(refused(boxed(&[32, 0, 3])), E::Box { dim: 1, size: 0 });
    assert_eq!(refused(boxed(&[32, 5, 257])), E::Box { dim: 2, size: 257 });
    assert_eq!(refused(boxed(&[12, 5, 3])), E::BoxBytes { bytes: 24 });
    assert_eq!(refused(boxed(&[40, 5, 3])), E::BoxSpan { bytes: 80, span: 64 });
    assert!(TensorMap::tiled(TiledMap { swizzle: Swizzle::None, ..boxed(&[40, 5, 3]) }).is_ok());
    let stepped = |element_strides| TiledMap { element_strides, ..GOOD };
    assert_eq!(refused(stepped(&[1, 9, 1])), E::ElementStride { dim: 1, stride: 9 });
    assert_eq!(refused(stepped(&[0, 1, 1])), E::ElementStride { dim: 0, stride: 0 });
    assert_eq!(refused(stepped(&[2, 1, 1])), E::InnerElementStride(2));
    let whole = TiledMap { element: TensorType::U16, oob: OobFill::Nan, ..GOOD };
    assert_eq!(refused(whole), E::Fill(TensorType::U16));
}

#[test]
fn errors_carry_their_numbers() {
    let text = refused(TiledMap { strides: &[192, 8192], ..GOOD }).to_string();
    assert_eq!(text, "the stride of dimension 1, 192 bytes, is less than a row's 200 bytes");
    let text = TileError::Bytes { bytes: 1 << 20 }.to_string();
    assert_eq!(text, "the box has 1048576 bytes, more than a tx-count's 1048575");
}

#[test]
fn an_image_is_read_back_and_a_changed_one_is_refused() {
    let wide = TiledMap {
        element: TensorType::F64,
        address: !0 << 50,
        dims: &[1 << 32, 3, 4, 5, 1],
        strides: &[1 << 36, 1 << 38, (1 << 40) - 16, 0],
        box_dims: &[2, 256, 1, 256, 1],
        element_strides: &[1, 8, 1, 2, 3],
        swizzle: Swizzle::None,
        oob: OobFill::Nan,
        ..GOOD
    };
    let flat = TiledMap {
        dims: &[5],
        strides: &[],
        box_dims: &[8],
        element_strides: &[1],
        swizzle: Swizzle::B128,
        ..GOOD
    };
    for map in [GOOD, wide, flat].map(|map| TensorMap::tiled(map).unwrap()) {
        let image = map.encode();
        assert_eq!(TensorMap::decode(&image), Ok(map));
        for bit in 0..8 * image.len() {
            let mut changed = image;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(TensorMap::decode(&changed).is_err(), "bit {bit}");
        }
    }
    assert!(TensorMap::decode(&[0; 128]).is_err());
    assert!(TensorMap::decode(&[0xCD; 128]).is_err());
}

#[test]
fn an_image_with_a_right_checksum_still_keeps_the_rules() {
    let reseal = |at: usize, byte: u8| {
        let mut image = TensorMap::tiled(GOOD).unwrap().encode();
        image[at] = byte;
        let sum = image[..120].iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ *byte as u64).wrapping_mul(0x100_0000_01b3)
        });
        image[120..].copy_from_slice(&sum.to_le_bytes());
        TensorMap::decode(&image).unwrap_err()
    };
    assert_eq!(reseal(8, 0), TensorMapError::Rank(0));
    assert_eq!(reseal(8, 6), TensorMapError::Rank(6));
    assert_eq!(reseal(16, 1), TensorMapError::Address(0x1_0001));
    assert_eq!(reseal(44, 255), TensorMapError::BoxSpan { bytes: 512, span: 64 });
    for (at, byte) in [(9, 10), (10, 4), (11, 2), (12, 1), (100, 1), (36, 1)] {
        assert!(matches!(reseal(at, byte), TensorMapError::Image(_)), "byte {at}");
    }
}

/// PTX manual 5.5.7: the 16-byte chunk that lies in each place of each 128-byte line, from a line
/// where the pattern begins.
fn table(swizzle: Swizzle) -> &'static [[u32; 8]] {
    const NONE: [[u32; 8]; 1] = [[0, 1, 2, 3, 4, 5, 6, 7]];
    const B32: [[u32; 8]; 2] = [[0, 1, 2, 3, 4, 5, 6, 7], [1, 0, 3, 2, 5, 4, 7, 6]];
    const B64: [[u32; 8]; 4] = [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [1, 0, 3, 2, 5, 4, 7, 6],
        [2, 3, 0, 1, 6, 7, 4, 5],
        [3, 2, 1, 0, 7, 6, 5, 4],
    ];
    const B128: [[u32; 8]; 8] = [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [1, 0, 3, 2, 5, 4, 7, 6],
        [2, 3, 0, 1, 6, 7, 4, 5],
        [3, 2, 1, 0, 7, 6, 5, 4],
        [4, 5, 6, 7, 0, 1, 2, 3],
        [5, 4, 7, 6, 1, 0, 3, 2],
        [6, 7, 4, 5, 2, 3, 0, 1],
        [7, 6, 5, 4, 3, 2, 1, 0],
    ];
    match swizzle {
        Swizzle::None => &NONE,
        Swizzle::B32 => &B32,
        Swizzle::B64 => &B64,
        Swizzle::B128 => &B128,
    }
}

/// Where byte `offset` of the box lies: the manual's base offset is (address ÷ 128) mod the
/// pattern's lines, and counts lines already gone.
fn placed(swizzle: Swizzle, shared: u32, offset: u32) -> u32 {
    let table = table(swizzle);
    let base_offset = shared / 128 % table.len() as u32;
    let line = &table[((base_offset + offset / 128) % table.len() as u32) as usize];
    let place = line.iter().position(|chunk| *chunk == offset / 16 % 8).unwrap();
    shared + offset / 128 * 128 + 16 * place as u32 + offset % 16
}

/// Shared byte to global byte, or `None` where filled.
type Bytes = HashMap<u32, Option<u64>>;

fn flat(tile: &Tile) -> Bytes {
    let mut bytes = Bytes::new();
    for piece in &tile.pieces {
        assert!((1..=16).contains(&piece.bytes) && piece.bytes % tile.element == 0);
        assert_eq!(piece.shared / 16, (piece.shared + piece.bytes - 1) / 16, "{piece:?}");
        for k in 0..piece.bytes {
            let from = piece.global.map(|at| at + k as u64);
            assert_eq!(bytes.insert(piece.shared + k, from), None, "{piece:?} twice");
        }
    }
    bytes
}

/// Walks the box like an odometer.
fn brute(map: TiledMap<'_>, coords: &[i32], shared: u32) -> Bytes {
    let size = map.element.bytes();
    let mut bytes = Bytes::new();
    let mut at: Vec<u32> = vec![0; map.dims.len()];
    let mut offset = 0;
    loop {
        let index: Vec<i128> =
            coords.iter().zip(&at).map(|(c, k)| *c as i128 + *k as i128).collect();
        let inside = index.iter().zip(map.dims).all(|(i, dim)| *i >= 0 && *i < *dim as i128);
        let steps = index[1..].iter().zip(map.strides).map(|(i, s)| i * *s as i128);
        let global = map.address as i128 + index[0] * size as i128 + steps.sum::<i128>();
        for k in 0..size {
            let from = inside.then(|| global as u64 + k as u64);
            bytes.insert(placed(map.swizzle, shared, offset), from);
            offset += 1;
        }
        let mut dim = 0;
        loop {
            at[dim] += map.element_strides[dim];
            if at[dim] < map.box_dims[dim] {
                break;
            }
            at[dim] = 0;
            dim += 1;
            if dim == at.len() {
                return bytes;
            }
        }
    }
}

const SWIZZLES: [Swizzle; 4] = [Swizzle::None, Swizzle::B32, Swizzle::B64, Swizzle::B128];
const ELEMENTS: [TensorType; 4] =
    [TensorType::U8, TensorType::Bf16, TensorType::F32, TensorType::F64];

/// A box's row of exactly the span, so that rows are packed.
fn row(swizzle: Swizzle, element: TensorType) -> u32 {
    swizzle.span().unwrap_or(48) / element.bytes()
}

#[test]
fn two_dimensional_tiles_match_the_second_derivation() {
    for (swizzle, element) in SWIZZLES.iter().flat_map(|s| ELEMENTS.map(|e| (*s, e))) {
        // 296 bytes of a row are no multiple of 16, so that bounds cut chunks.
        let dims = [296 / element.bytes() as u64, 21];
        let box_dims = [row(swizzle, element), 9];
        let map = TiledMap {
            element,
            dims: &dims,
            strides: &[304],
            box_dims: &box_dims,
            element_strides: &[1, 1],
            swizzle,
            ..GOOD
        };
        let tensor = TensorMap::tiled(map).unwrap();
        let wide = dims[0] as i32;
        for x in [0, 16, 1, -1, -3, 3 - row(swizzle, element) as i32, wide - 3, wide, i32::MIN] {
            for y in [0, 5, -4, -9, 15, 21, i32::MAX] {
                for shared in [0, 128, 640, 1024, 3 * 4096 + 896] {
                    let tile = tensor.load(&[x, y], shared).unwrap();
                    let want = brute(map, &[x, y], shared);
                    assert_eq!(flat(&tile), want, "{swizzle:?} {element:?} ({x}, {y}) {shared}");
                    assert_eq!(tile.bytes as usize, want.len());
                    assert_eq!(tensor.store(&[x, y], shared).unwrap(), tile);
                }
            }
        }
    }
}

#[test]
fn three_dimensional_tiles_match_the_second_derivation() {
    for (swizzle, element) in SWIZZLES.iter().flat_map(|s| ELEMENTS.map(|e| (*s, e))) {
        let dims = [168 / element.bytes() as u64, 6, 5];
        let box_dims = [row(swizzle, element), 4, 3];
        // The two outer dimensions stand against the order of their strides.
        let permuted = TiledMap {
            element,
            dims: &dims,
            strides: &[1024, 176],
            box_dims: &box_dims,
            element_strides: &[1, 1, 1],
            swizzle,
            ..GOOD
        };
        let stepped = TiledMap { element_strides: &[1, 3, 2], ..permuted };
        for map in [permuted, stepped] {
            let tensor = TensorMap::tiled(map).unwrap();
            for x in [0, -5, dims[0] as i32 - 1] {
                for (y, z) in [(0, 0), (-2, 3), (4, -1), (3, -3), (-5, 1), (2, 2)] {
                    let tile = tensor.load(&[x, y, z], 1152).unwrap();
                    let want = brute(map, &[x, y, z], 1152);
                    assert_eq!(flat(&tile), want, "{swizzle:?} {element:?} ({x}, {y}, {z})");
                    assert_eq!(tensor.box_bytes() as usize, want.len());
                }
            }
        }
    }
}

#[test]
fn swizzles_match_the_tables_at_every_address() {
    for swizzle in SWIZZLES {
        for shared in (0..2048).step_by(128) {
            for offset in 0..2048 {
                let want = placed(swizzle, shared, offset);
                assert_eq!(swizzle.apply(shared + offset), want, "{swizzle:?} {shared} {offset}");
            }
        }
    }
}

#[test]
fn one_dimension_and_the_last_address_work() {
    let map = TiledMap {
        element: TensorType::U64,
        address: 0u64.wrapping_sub(64),
        dims: &[8],
        strides: &[],
        box_dims: &[4],
        element_strides: &[1],
        swizzle: Swizzle::None,
        ..GOOD
    };
    let tensor = TensorMap::tiled(map).unwrap();
    let tile = tensor.load(&[5], 1 << 20).unwrap();
    assert_eq!(flat(&tile), brute(map, &[5], 1 << 20));
    assert_eq!(tile.pieces.iter().map(|p| p.bytes).collect::<Vec<_>>(), [16, 8, 8]);
}

#[test]
fn undefined_copies_are_refused() {
    let tensor = TensorMap::tiled(GOOD).unwrap();
    assert_eq!(tensor.load(&[0, 0], 0), Err(TileError::Rank { coords: 2, rank: 3 }));
    assert_eq!(tensor.load(&[0; 3], 64), Err(TileError::Align(64)));
    let shared = !0 << 9;
    assert_eq!(tensor.load(&[0; 3], shared), Err(TileError::End { shared, bytes: 960 }));
    let line = TensorMap::tiled(TiledMap { box_dims: &[32, 2, 1], ..GOOD }).unwrap();
    assert!(line.load(&[0; 3], !127).is_ok(), "the last 128 bytes that there are");
    let big = TiledMap { box_dims: &[32, 256, 64], ..GOOD };
    let bytes = 1 << 20;
    assert_eq!(TensorMap::tiled(big).unwrap().load(&[0; 3], 0), Err(TileError::Bytes { bytes }));
    let narrow = TensorMap::tiled(TiledMap { swizzle: Swizzle::B128, ..GOOD }).unwrap();
    assert_eq!(narrow.load(&[0; 3], 0), Err(TileError::Narrow { row: 64, span: 128 }));
    let one_row = TiledMap { swizzle: Swizzle::B128, box_dims: &[32, 1, 1], ..GOOD };
    assert!(TensorMap::tiled(one_row).unwrap().load(&[0; 3], 128).is_ok());
    let stepped = TensorMap::tiled(TiledMap { element_strides: &[1, 2, 1], ..GOOD }).unwrap();
    assert_eq!(stepped.store(&[0; 3], 0), Err(TileError::StoreStrides(vec![1, 2, 1])));
}

#[test]
fn the_filling_is_zero_or_a_nan_of_every_width() {
    assert_eq!(OobFill::Zero.fill(5), [0; 5]);
    let nan = OobFill::Nan.fill(8);
    let half = u16::from_le_bytes([nan[0], nan[1]]);
    assert!(half::f16::from_bits(half).is_nan() && half::bf16::from_bits(half).is_nan());
    assert!(f32::from_le_bytes(nan[..4].try_into().unwrap()).is_nan());
    assert!(f64::from_le_bytes(nan.try_into().unwrap()).is_nan());
    let map = TensorMap::tiled(TiledMap { oob: OobFill::Nan, ..GOOD }).unwrap();
    assert_eq!(map.load(&[0; 3], 0).unwrap().fill, OobFill::Nan);
}

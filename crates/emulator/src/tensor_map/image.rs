//! The 128 bytes in which a map is passed to a kernel: a stable form of this emulator's own.
//!
//! | bytes   | field                                                        |
//! |---------|--------------------------------------------------------------|
//! | 0..8    | magic, with the version of this form                         |
//! | 8..12   | rank, element type, swizzle, fill                            |
//! | 16..24  | address                                                      |
//! | 24..44  | dimensions − 1, five of 32 bits                              |
//! | 44..49  | box − 1, five of 8 bits                                      |
//! | 49..54  | element strides − 1, five of 8 bits                          |
//! | 56..88  | strides, four of 64 bits                                     |
//! | 120..128| FNV-1a of the bytes before                                   |
//!
//! All little-endian; everything else, and every field past the rank, is zero.

use super::{Interleave, OobFill, Swizzle, TensorMap, TensorMapError, TensorType, TiledMap};

const MAGIC: &[u8; 8] = b"QPtmap 1";
const CHECKSUM_AT: usize = 120;

/// Their places are their codes.
const ELEMENTS: [TensorType; 10] = [
    TensorType::U8,
    TensorType::U16,
    TensorType::U32,
    TensorType::S32,
    TensorType::U64,
    TensorType::S64,
    TensorType::F16,
    TensorType::F32,
    TensorType::F64,
    TensorType::Bf16,
];
const SWIZZLES: [Swizzle; 4] = [Swizzle::None, Swizzle::B32, Swizzle::B64, Swizzle::B128];
const FILLS: [OobFill; 2] = [OobFill::Zero, OobFill::Nan];

impl TensorMap {
    /// The 128 bytes to pass as a kernel's `.param .align 64 .b8 map[128]`.
    ///
    /// Not those of a real `CUtensorMap`, whose layout is undocumented.
    pub fn encode(&self) -> [u8; 128] {
        let mut image = [0; 128];
        let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, MAGIC);
        let element = code(&ELEMENTS, self.element);
        put(8, &[self.dims.len() as u8, element, code(&SWIZZLES, self.swizzle)]);
        put(11, &[code(&FILLS, self.oob)]);
        put(16, &self.address.to_le_bytes());
        for (i, size) in self.dims.iter().enumerate() {
            put(24 + 4 * i, &((size - 1) as u32).to_le_bytes());
        }
        for (i, size) in self.box_dims.iter().enumerate() {
            put(44 + i, &[(size - 1) as u8]);
        }
        for (i, stride) in self.element_strides.iter().enumerate() {
            put(49 + i, &[(stride - 1) as u8]);
        }
        for (i, stride) in self.strides.iter().enumerate() {
            put(56 + 8 * i, &stride.to_le_bytes());
        }
        let sum = checksum(&image);
        image[CHECKSUM_AT..].copy_from_slice(&sum.to_le_bytes());
        image
    }

    /// The map whose [`TensorMap::encode`] these bytes are; anything else is refused.
    pub fn decode(image: &[u8; 128]) -> Result<Self, TensorMapError> {
        let refuse = |why: String| Err(TensorMapError::Image(why));
        if !image.starts_with(MAGIC) {
            return refuse(format!("they begin with {:02x?}, not {MAGIC:02x?}", &image[..8]));
        }
        let (stored, computed) = (read(image, CHECKSUM_AT, 8), checksum(image));
        if stored != computed {
            return refuse(format!("their checksum is {computed:#018x}, not {stored:#018x}"));
        }
        let rank = image[8] as usize;
        if !(1..=5).contains(&rank) {
            return Err(TensorMapError::Rank(rank));
        }
        let dims: Vec<_> = (0..rank).map(|i| read(image, 24 + 4 * i, 4) + 1).collect();
        let box_dims: Vec<_> = image[44..44 + rank].iter().map(|b| *b as u32 + 1).collect();
        let element_strides: Vec<_> = image[49..49 + rank].iter().map(|b| *b as u32 + 1).collect();
        let strides: Vec<_> = (1..rank).map(|i| read(image, 48 + 8 * i, 8)).collect();
        let map = Self::tiled(TiledMap {
            element: coded(&ELEMENTS, image[9], "element type")?,
            address: read(image, 16, 8),
            dims: &dims,
            strides: &strides,
            box_dims: &box_dims,
            element_strides: &element_strides,
            interleave: Interleave::None,
            swizzle: coded(&SWIZZLES, image[10], "swizzle")?,
            oob: coded(&FILLS, image[11], "fill")?,
        })?;
        if map.encode() != *image {
            return refuse("bytes that no field has are not zero".to_string());
        }
        Ok(map)
    }
}

fn code<T: PartialEq>(all: &[T], one: T) -> u8 {
    all.iter().take_while(|other| **other != one).count() as u8
}

fn coded<T: Copy>(all: &[T], code: u8, what: &str) -> Result<T, TensorMapError> {
    let found = all.get(code as usize).copied();
    found.ok_or_else(|| TensorMapError::Image(format!("{what} {code} is not below {}", all.len())))
}

fn read(image: &[u8; 128], at: usize, bytes: usize) -> u64 {
    image[at..at + bytes].iter().rev().fold(0, |value, byte| value << 8 | *byte as u64)
}

/// FNV-1a, 64 bits.
fn checksum(image: &[u8; 128]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ *byte as u64).wrapping_mul(0x100_0000_01b3);
    image[..CHECKSUM_AT].iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

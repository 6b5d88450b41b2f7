//! A GGUF file's header: metadata, and where each tensor lies. Every length is held against what is
//! left of the file before anything of that length is read.
//!
//! Layout (ggml's docs/gguf.md, versions 2 and 3, little-endian): `GGUF`, version u32, tensors u64,
//! pairs u64; the pairs: key, type u32, value; the tensors: name, dimensions u32, that many u64 with
//! the contiguous one first, type u32, offset u64; padding up to `general.alignment`; the data.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of any width.
    Integer(i128),
    /// Of either width.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A string.
    Text(String),
    /// An array of integers or truth values.
    Integers(Vec<i128>),
    /// An array of floating-point numbers.
    Floats(Vec<f64>),
    /// An array of strings.
    Texts(Vec<String>),
}

/// Where a tensor lies.
pub struct Place {
    pub name: String,
    /// Outermost first.
    pub shape: Vec<usize>,
    /// ggml's number of its type.
    pub kind: u32,
    /// Bytes from the start of the file.
    pub offset: u64,
}

pub struct Header {
    pub metadata: BTreeMap<String, Value>,
    /// In the file's order.
    pub places: Vec<Place>,
}

type Result<T> = std::result::Result<T, String>;

/// Most dimensions of a tensor (ggml's GGML_MAX_DIMS).
const MAX_DIMENSIONS: u32 = 4;
/// What data is aligned to if the metadata does not say.
const ALIGNMENT: i128 = 32;

impl Header {
    pub fn read(file: &File, len: u64) -> Result<Self> {
        let mut r = Reader { from: BufReader::new(file), at: 0, len };
        if &r.array::<4>()? != b"GGUF" {
            return Err("it does not begin with GGUF".into());
        }
        match r.u32()? {
            2 | 3 => {}
            v => return Err(format!("GGUF version {v}; 2 and 3 can be read")),
        }
        let (tensors, pairs) = (r.u64()?, r.u64()?);
        let mut metadata = BTreeMap::new();
        for _ in 0..pairs {
            let key = r.text()?;
            let kind = r.u32()?;
            let value = r.value(kind).map_err(|e| format!("{key}: {e}"))?;
            if let Some(twice) = metadata.insert(key.clone(), value) {
                return Err(format!("{key} occurs twice, first as {twice:?}"));
            }
        }
        let mut places = Vec::new();
        for _ in 0..tensors {
            let name = r.text()?;
            let place = r.place(name.clone()).map_err(|e| format!("{name}: {e}"))?;
            places.push(place);
        }
        let alignment = match metadata.get("general.alignment") {
            None => ALIGNMENT,
            Some(Value::Integer(n)) if (1..=1 << 20).contains(n) => *n,
            Some(other) => return Err(format!("general.alignment is {other:?}")),
        };
        let data = r.at.next_multiple_of(alignment as u64);
        for place in &mut places {
            let offset = data.checked_add(place.offset).filter(|&o| o <= len);
            let far = || format!("{} begins at {} of {len} bytes", place.name, place.offset);
            place.offset = offset.ok_or_else(far)?;
        }
        Ok(Self { metadata, places })
    }
}

struct Reader<'a> {
    from: BufReader<&'a File>,
    at: u64,
    len: u64,
}

impl Reader<'_> {
    /// Fails unless that many bytes are left.
    fn need(&self, bytes: u64) -> Result<()> {
        match self.len - self.at {
            left if left >= bytes => Ok(()),
            left => Err(format!("{bytes} bytes are needed at {}, {left} are left", self.at)),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.need(N as u64)?;
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes).map_err(|e| e.to_string())?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn text(&mut self) -> Result<String> {
        let len = self.u64()?;
        self.need(len)?;
        let mut bytes = vec![0; len as usize];
        self.from.read_exact(&mut bytes).map_err(|e| e.to_string())?;
        self.at += len;
        String::from_utf8(bytes).map_err(|e| format!("a string at {}: {e}", self.at - len))
    }

    /// An integer or a truth value of that type. None: the type is another.
    fn integer(&mut self, kind: u32) -> Result<Option<i128>> {
        Ok(Some(match kind {
            0 => u8::from_le_bytes(self.array()?).into(),
            1 => i8::from_le_bytes(self.array()?).into(),
            2 => u16::from_le_bytes(self.array()?).into(),
            3 => i16::from_le_bytes(self.array()?).into(),
            4 => self.u32()?.into(),
            5 => i32::from_le_bytes(self.array()?).into(),
            10 => self.u64()?.into(),
            11 => i64::from_le_bytes(self.array()?).into(),
            7 => match self.array()? {
                [0] => 0,
                [1] => 1,
                [other] => return Err(format!("{other} as a truth value")),
            },
            _ => return Ok(None),
        }))
    }

    fn float(&mut self, kind: u32) -> Result<Option<f64>> {
        Ok(Some(match kind {
            6 => f32::from_le_bytes(self.array()?).into(),
            12 => f64::from_le_bytes(self.array()?),
            _ => return Ok(None),
        }))
    }

    fn value(&mut self, kind: u32) -> Result<Value> {
        match kind {
            7 => return Ok(Value::Bool(self.integer(kind)? == Some(1))),
            8 => return Ok(Value::Text(self.text()?)),
            9 => {}
            _ => {
                if let Some(n) = self.integer(kind)? {
                    return Ok(Value::Integer(n));
                }
                let float = self.float(kind)?.ok_or_else(|| format!("unknown type {kind}"))?;
                return Ok(Value::Float(float));
            }
        }
        // an array; each element takes a byte or more, so a false count ends at the file's end
        let (kind, count) = (self.u32()?, self.u64()?);
        self.need(count)?;
        if kind == 8 {
            return Ok(Value::Texts((0..count).map(|_| self.text()).collect::<Result<_>>()?));
        }
        if kind == 6 || kind == 12 {
            let mut values = Vec::new();
            for _ in 0..count {
                values.extend(self.float(kind)?);
            }
            return Ok(Value::Floats(values));
        }
        let mut values = Vec::new();
        for _ in 0..count {
            match self.integer(kind)? {
                Some(n) => values.push(n),
                None => return Err(format!("an array of type {kind}")),
            }
        }
        Ok(Value::Integers(values))
    }

    fn place(&mut self, name: String) -> Result<Place> {
        let dimensions = self.u32()?;
        if dimensions == 0 || dimensions > MAX_DIMENSIONS {
            return Err(format!("{dimensions} dimensions, not 1..={MAX_DIMENSIONS}"));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let n = self.u64()?;
            shape.push(usize::try_from(n).map_err(|_| format!("a dimension of {n}"))?);
        }
        shape.reverse();
        if shape.iter().try_fold(1usize, |all, &n| all.checked_mul(n)).is_none() {
            return Err(format!("{shape:?} has too many elements"));
        }
        Ok(Place { name, shape, kind: self.u32()?, offset: self.u64()? })
    }
}

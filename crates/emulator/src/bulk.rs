//! `cp.async.bulk` of plain bytes (PTX manual 9.7.9.25.4), and the blocks that a copy goes to.

/// The unit of a bulk copy: both addresses and the size are multiples of it.
pub(crate) const UNIT: u32 = 16;

/// The most blocks of a cluster to which a copy can be cast: `ctaMask` has 16 bits.
const MAX_CLUSTER: u32 = 16;

/// What the manual leaves undefined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BulkError {
    #[error("a bulk copy's {side} address {address:#x} is not a multiple of {UNIT}")]
    Align { side: &'static str, address: u64 },
    #[error("a bulk copy's size, {0} bytes, is not a multiple of {UNIT}")]
    Size(u32),
    #[error("{bytes} bytes at shared address {shared:#x} end past 32-bit addresses")]
    SharedEnd { shared: u32, bytes: u32 },
    #[error("{bytes} bytes at global address {global:#x} end past 64-bit addresses")]
    GlobalEnd { global: u64, bytes: u32 },
    #[error("the multicast mask {mask:#06x} names no block")]
    NoBlock { mask: u16 },
    #[error("the multicast mask {mask:#06x} names block {block} of a cluster of {cluster}")]
    NotInCluster { mask: u16, block: u32, cluster: u32 },
}

/// A copy whose addresses and size are checked, whichever way it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bulk {
    shared: u32,
    global: u64,
    bytes: u32,
}

impl Bulk {
    /// Between shared and global memory. No bytes are a multiple of 16, too: they do nothing.
    pub fn new(shared: u32, global: u64, bytes: u32) -> Result<Self, BulkError> {
        aligned("shared", shared as u64)?;
        aligned("global", global)?;
        if !bytes.is_multiple_of(UNIT) {
            return Err(BulkError::Size(bytes));
        }
        if shared as u64 + bytes as u64 > 1 << 32 {
            return Err(BulkError::SharedEnd { shared, bytes });
        }
        if global as u128 + bytes as u128 > 1 << 64 {
            return Err(BulkError::GlobalEnd { global, bytes });
        }
        Ok(Self { shared, global, bytes })
    }

    /// What `complete_tx` counts.
    pub fn bytes(self) -> u32 {
        self.bytes
    }
}

fn aligned(side: &'static str, address: u64) -> Result<(), BulkError> {
    if !address.is_multiple_of(UNIT as u64) {
        return Err(BulkError::Align { side, address });
    }
    Ok(())
}

/// The blocks, by their rank in the cluster, to which `.multicast::cluster` casts a copy; in each,
/// the data and the mbarrier lie at the same offsets as in the block that issues it.
///
/// A mask of no block, or of one that the cluster lacks, is undefined.
pub(crate) fn multicast(mask: u16, cluster: u32) -> Result<Vec<u32>, BulkError> {
    let blocks: Vec<_> = (0..MAX_CLUSTER).filter(|rank| mask >> rank & 1 == 1).collect();
    match blocks.last() {
        None => Err(BulkError::NoBlock { mask }),
        Some(&block) if block >= cluster => Err(BulkError::NotInCluster { mask, block, cluster }),
        Some(_) => Ok(blocks),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_kept() {
        assert_eq!(Bulk::new(0x100, 0x5000_0000_0010, 48).unwrap().bytes(), 48);
        assert_eq!(Bulk::new(16, 32, 0).unwrap().bytes(), 0);
        // The last bytes that there are.
        assert_eq!(Bulk::new(!15, !15, 16).unwrap().bytes(), 16);
    }

    #[test]
    fn what_is_undefined_is_refused() {
        for bad in (0..64).filter(|k| k % 16 != 0) {
            let address = bad as u64;
            let side = "shared";
            assert_eq!(Bulk::new(bad, 0, 16), Err(BulkError::Align { side, address }));
            let side = "global";
            assert_eq!(Bulk::new(0, address, 16), Err(BulkError::Align { side, address }));
            assert_eq!(Bulk::new(0, 0, bad), Err(BulkError::Size(bad)));
        }
        let (shared, bytes) = (!15, 32);
        assert_eq!(Bulk::new(shared, 0, bytes), Err(BulkError::SharedEnd { shared, bytes }));
        let global = !15;
        assert_eq!(Bulk::new(0, global, bytes), Err(BulkError::GlobalEnd { global, bytes }));
        let text = BulkError::Align { side: "global", address: 0x24 }.to_string();
        assert_eq!(text, "a bulk copy's global address 0x24 is not a multiple of 16");
    }

    #[test]
    fn a_mask_names_blocks_of_the_cluster() {
        assert_eq!(multicast(0b1, 1), Ok(vec![0]));
        assert_eq!(multicast(0b1010, 4), Ok(vec![1, 3]));
        assert_eq!(multicast(u16::MAX, 16), Ok((0..16).collect()));
        assert_eq!(multicast(0, 4), Err(BulkError::NoBlock { mask: 0 }));
        let outside = BulkError::NotInCluster { mask: 0b101, block: 2, cluster: 2 };
        assert_eq!(multicast(0b101, 2), Err(outside.clone()));
        let text = "the multicast mask 0x0005 names block 2 of a cluster of 2";
        assert_eq!(outside.to_string(), text);
    }
}

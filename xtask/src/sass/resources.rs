//! What `ptxas -v` says of a kernel, and what of it is a fault.

/// What `ptxas -v` reports of a kernel.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Resources {
    pub registers: u32,
    pub stack: u32,
    pub spill_stores: u32,
    pub spill_loads: u32,
    pub local: u32,
    pub shared: u32,
    pub warnings: u32,
    /// Lines that tell of a potential loss of performance: a `wgmma` that waits for the one before, a
    /// `setmaxnreg` that is not obeyed; or of a fence that the compiler adds. They are of level info.
    pub losses: Vec<String>,
}

/// The registers of a thread: `Used 168 registers`.
fn used(log: &str) -> Option<u32> {
    let (_, after) = log.split_once("Used ")?;
    after.split_once(" registers")?.0.parse().ok()
}

impl Resources {
    pub fn parse(log: &str) -> Self {
        let number = |unit: &str| {
            let end = log.find(unit)?;
            log[..end].trim_end().rsplit([' ', ',']).next()?.parse().ok()
        };
        Self {
            registers: used(log).unwrap_or(0),
            stack: number("bytes stack frame").unwrap_or(0),
            spill_stores: number("bytes spill stores").unwrap_or(0),
            spill_loads: number("bytes spill loads").unwrap_or(0),
            local: number("bytes lmem").unwrap_or(0),
            shared: number("bytes smem").unwrap_or(0),
            warnings: log.lines().filter(|l| l.contains("warning")).count() as u32,
            losses: log
                .lines()
                .filter(|l| l.contains(LOSS) || l.contains(INJECTED))
                .map(|l| l.trim().into())
                .collect(),
        }
    }

    pub fn faults(&self) -> impl Iterator<Item = String> {
        let rules = [
            (self.registers == 0, "ptxas -v names no register count".to_string()),
            (self.stack > 0, format!("{} bytes of stack", self.stack)),
            (self.spill_stores > 0, format!("{} bytes of spill stores", self.spill_stores)),
            (self.spill_loads > 0, format!("{} bytes of spill loads", self.spill_loads)),
            (self.local > 0, format!("{} bytes of local memory", self.local)),
            (self.warnings > 0, format!("{} warnings", self.warnings)),
        ];
        let rules = rules.into_iter().filter(|(bad, _)| *bad).map(|(_, why)| why);
        rules.chain(self.losses.iter().cloned())
    }
}

/// As ptxas 12 and 13 begin what they say of a serialised `wgmma`.
const LOSS: &str = "Potential Performance Loss";
/// As ptxas 12 ends what it says of a `wgmma.fence` that it thinks missing.
const INJECTED: &str = "is injected";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_ptxas_reports() {
        let log = "ptxas info    : 0 bytes gmem\n\
                   ptxas info    : Function properties for k\n    \
                   16 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads\n\
                   ptxas info    : Used 234 registers, used 1 barriers, 512 bytes smem\n";
        let used = Resources::parse(log);
        let want = Resources {
            registers: 234,
            stack: 16,
            spill_stores: 8,
            spill_loads: 4,
            shared: 512,
            ..Resources::default()
        };
        assert_eq!(used, want);
        assert_eq!(used.faults().count(), 3);
    }

    #[test]
    fn a_serialised_wgmma_is_a_fault() {
        let log = "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are \
                   serialized due to insufficient register resources for the wgmma pipeline in the \
                   function 'k'\n\
                   ptxas info    : Used 168 registers, used 1 barriers\n";
        let faults: Vec<_> = Resources::parse(log).faults().collect();
        assert!(matches!(&faults[..], [one] if one.contains("serialized")), "{faults:?}");
    }

    #[test]
    fn what_the_assembler_adds_is_a_fault() {
        for what in ["warpgroup.arrive", "warpgroup.wait", "wgmma.wait_group"] {
            let log = format!(
                "ptxas info    : {what} is injected in around line 9 by compiler to allow use of \
                 registers in GMMA in function 'k'\n\
                 ptxas info    : Used 168 registers, 64 bytes lmem\n"
            );
            let faults: Vec<_> = Resources::parse(&log).faults().collect();
            assert!(
                matches!(&faults[..], [local, added] if local.contains("local") && added.contains(what)),
                "{faults:?}"
            );
        }
    }
}

//! What nvdisasm prints, read: a kernel's instructions, its main loop, and its registers after each
//! `USETMAXREG`.

/// Instructions in order, and the labels before them.
pub(super) struct Code<'a> {
    text: Vec<&'a str>,
    labels: Vec<(&'a str, usize)>,
}

/// The steady loop of a kernel: the shortest backward branch that spans tensor-core instructions. What a
/// failed wait for an mbarrier repeats lies behind the kernel's end, and so outside.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct MainLoop {
    pub instructions: u32,
    pub mma: u32,
    pub sparse_mma: u32,
    /// Global to shared copies, and those of 128 bits.
    pub ldgsts: (u32, u32),
    /// `ldmatrix`, and those of four matrices.
    pub ldsm: (u32, u32),
    /// Shared loads, and those of 128 bits.
    pub lds: (u32, u32),
    /// Global loads, and those of 128 bits.
    pub ldg: (u32, u32),
    /// `@!PT LDS RZ, [RZ]`: never executed; the assembler puts three between a shared access and
    /// the `LDGSTS` that follows. They take issue slots and are counted as instructions.
    pub padding: u32,
    /// What waits for more than an mbarrier and the multiplies before the last group.
    pub stops: Vec<String>,
}

/// Registers of the code between a `USETMAXREG` and the next, or the end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Registers {
    pub allowed: u32,
    pub used: u32,
}

impl<'a> Code<'a> {
    pub fn parse(sass: &'a str) -> Self {
        let mut code = Self { text: vec![], labels: vec![] };
        for line in sass.lines().map(str::trim) {
            if let Some(label) = line.strip_suffix(':').filter(|l| l.starts_with(".L_")) {
                code.labels.push((label, code.text.len()));
            } else if let Some((_, rest)) = line.strip_prefix("/*").and_then(|l| l.split_once("*/"))
                && let Some((instruction, _)) = rest.split_once(';')
            {
                code.text.push(instruction.trim());
            }
        }
        code
    }

    pub fn main_loop(&self) -> Option<MainLoop> {
        let backward = self.text.iter().enumerate().filter_map(|(end, text)| {
            let start = text.contains("BRA").then(|| self.target(text)).flatten()?;
            (start <= end).then(|| &self.text[start..=end])
        });
        backward.filter(|body| body.iter().any(|i| is_mma(i))).min_by_key(|b| b.len()).map(count)
    }

    pub fn registers(&self) -> Vec<Registers> {
        let sets = self.text.iter().enumerate().filter(|(_, text)| is_setmaxreg(text));
        let region = |(at, text): (usize, &&str)| {
            let count = text.rsplit([' ', ',']).next()?.strip_prefix("0x")?;
            let allowed = u32::from_str_radix(count, 16).ok()?;
            let used = self.reached(at + 1).filter_map(highest).max().map_or(0, |r| r + 1);
            Some(Registers { allowed, used })
        };
        sets.filter_map(region).collect()
    }

    /// What may run from here on, as far as the next `USETMAXREG`.
    fn reached(&self, from: usize) -> impl Iterator<Item = &'a str> {
        let mut seen = vec![false; self.text.len()];
        let mut ahead = vec![from];
        while let Some(at) = ahead.pop() {
            let Some(text) = self.text.get(at).filter(|t| !seen[at] && !is_setmaxreg(t)) else {
                continue;
            };
            seen[at] = true;
            ahead.extend(self.target(text));
            if !["BRA `", "EXIT", "RET"].iter().any(|end| text.starts_with(end)) {
                ahead.push(at + 1);
            }
        }
        self.text.iter().zip(seen).filter(|(_, seen)| *seen).map(|(text, _)| *text)
    }

    /// The instruction whose label this one names.
    fn target(&self, text: &str) -> Option<usize> {
        let (name, _) = text.split_once("`(")?.1.split_once(')')?;
        self.labels.iter().find(|(label, _)| *label == name).map(|(_, at)| *at)
    }
}

impl MainLoop {
    pub fn per_mma(&self) -> f64 {
        self.instructions as f64 / self.mma as f64
    }
}

fn is_mma(instruction: &str) -> bool {
    let op = opcode(instruction);
    ["HMMA.", "QMMA.", "IMMA."].iter().any(|mma| op.starts_with(mma)) || is_gmma(op)
}

/// Of 16-bit values, of E4M3, of integers.
fn is_gmma(op: &str) -> bool {
    ["HGMMA.", "QGMMA.", "IGMMA."].iter().any(|gmma| op.starts_with(gmma))
}

fn is_setmaxreg(instruction: &str) -> bool {
    opcode(instruction).starts_with("USETMAXREG")
}

/// The opcode behind the guard.
fn opcode(instruction: &str) -> &str {
    instruction.split_whitespace().find(|word| !word.starts_with('@')).unwrap_or_default()
}

/// The highest register that an instruction takes. Of wide operands the first register is named; up to
/// four are aligned, and limits are multiples of eight, so that only accumulators may reach beyond one.
fn highest(instruction: &str) -> Option<u32> {
    let words = instruction.split(|c: char| !c.is_ascii_alphanumeric());
    let mut named = words.filter_map(|word| word.strip_prefix('R')?.parse::<u32>().ok()).peekable();
    let op = opcode(instruction);
    let sums = if is_gmma(op) { op.split('x').nth(1)?.parse::<u32>().ok()? / 2 } else { 1 };
    let last_sum = named.peek()? + sums - 1;
    named.max().map(|most| most.max(last_sum))
}

fn count(body: &[&str]) -> MainLoop {
    let mut main = MainLoop { instructions: body.len() as u32, ..MainLoop::default() };
    for text in body {
        let op = opcode(text);
        let tally = |pair: &mut (u32, u32), wide: &str| {
            pair.0 += 1;
            pair.1 += op.contains(wide) as u32;
        };
        match op.split('.').next().unwrap_or_default() {
            _ if is_mma(text) => {
                main.mma += 1;
                main.sparse_mma += op.contains(".SP.") as u32;
            }
            "LDGSTS" => tally(&mut main.ldgsts, ".128"),
            "LDSM" => tally(&mut main.ldsm, ".M88.4"),
            "LDS" if text.starts_with("@!PT") => main.padding += 1,
            "LDS" => tally(&mut main.lds, ".128"),
            "LDG" => tally(&mut main.ldg, ".128"),
            "WARPGROUP" if op.contains("DEPBAR") && !text.ends_with("gsb0, 0x1") => {
                main.stops.push(text.to_string());
            }
            "MEMBAR" | "DEPBAR" | "BAR" | "UCGABAR_WAIT" => main.stops.push(text.to_string()),
            _ => {}
        }
    }
    main
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_loop_that_holds_the_mmas() {
        let sass = "\
.L_x_0:
        /*0000*/  IADD3 R0, R0, 0x1, RZ ;
        /*0010*/  @P0 BRA `(.L_x_0) ;
.L_x_1:
        /*0020*/  @!PT LDS RZ, [RZ] ;
        /*0030*/  @P2 LDGSTS.E.BYPASS.LTC128B.128 [R1], [R2.64] ;
        /*0040*/  LDSM.16.M88.4 R4, [R8] ;
        /*0050*/  LDSM.16.M88.2 R4, [R8] ;
        /*0060*/  HMMA.SP.16832.F32 R4, R4, R4, R4, R9, 0x1 ;
        /*0070*/  @!P1 BRA `(.L_x_2) ;
        /*0080*/  BRA `(.L_x_1) ;
.L_x_2:
        /*0090*/  EXIT ;
";
        let want = MainLoop {
            instructions: 7,
            mma: 1,
            sparse_mma: 1,
            ldgsts: (1, 1),
            ldsm: (2, 1),
            padding: 1,
            ..MainLoop::default()
        };
        assert_eq!(Code::parse(sass).main_loop(), Some(want));
        assert_eq!(Code::parse("/*0*/ BRA `(.L_x_0) ;").main_loop(), None);
    }

    /// The wait's cold block lies behind the end, and branches back into the loop.
    #[test]
    fn cold_blocks_are_not_counted() {
        let sass = "\
.L_x_0:
        /*0000*/  SYNCS.PHASECHK.TRANS64.TRYWAIT P5, [UR4+0x2c000], R158 ;
        /*0010*/  @!P5 BRA `(.L_x_3) ;
.L_x_1:
        /*0020*/  QGMMA.SP.64x128x64.F32 R24, gdesc[UR8], R24, UP0, R161, 0x0 ;
        /*0030*/  IGMMA.64x128x32.S8.S8 R24, gdesc[UR8], R24, gsb0 ;
        /*0040*/  WARPGROUP.DEPBAR.LE gsb0, 0x1 ;
        /*0050*/  @!P0 BRA `(.L_x_0) ;
        /*0060*/  WARPGROUP.DEPBAR.LE gsb0, 0x0 ;
        /*0070*/  EXIT ;
.L_x_3:
        /*0080*/  SYNCS.PHASECHK.TRANS64.TRYWAIT P5, [UR4+0x2c000], R158 ;
        /*0090*/  @!P5 BRA `(.L_x_3) ;
        /*00a0*/  BRA `(.L_x_1) ;
";
        let want = MainLoop { instructions: 6, mma: 2, sparse_mma: 1, ..MainLoop::default() };
        assert_eq!(Code::parse(sass).main_loop(), Some(want));
    }

    #[test]
    fn each_side_of_a_kernel_has_its_registers() {
        let sass = "\
        /*0000*/  MOV R250, R1 ;
        /*0010*/  @P0 BRA `(.L_x_2) ;
        /*0020*/  USETMAXREG.TRY_ALLOC.CTAPOOL UP0, 0xe8 ;
        /*0030*/  HGMMA.SP.64x256x32.F32 R96, gdesc[UR8], R96, UP0, R200, 0x0 ;
        /*0040*/  @P1 BRA `(.L_x_3) ;
        /*0050*/  BRA `(.L_x_4) ;
.L_x_2:
        /*0060*/  USETMAXREG.DEALLOC.CTAPOOL 0x28 ;
        /*0070*/  LDG.E.128 R36, desc[UR16][R2.64+0x4] ;
        /*0080*/  BRA `(.L_x_4) ;
.L_x_3:
        /*0090*/  MOV R226, UR200 ;
.L_x_4:
        /*00a0*/  EXIT ;
";
        let [consumer, producer] = &Code::parse(sass).registers()[..] else { panic!("two") };
        assert_eq!(*consumer, Registers { allowed: 232, used: 227 });
        assert_eq!(*producer, Registers { allowed: 40, used: 37 });
        assert_eq!(highest("HGMMA.64x256x16.F32 R104, R4, gdesc[UR8], R104"), Some(231));
        assert_eq!(highest("UMOV UR8, UR6"), None);
    }
}

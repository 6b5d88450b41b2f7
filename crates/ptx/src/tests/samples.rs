//! Operands that reach every form of a text, and the kernel that declares what they name.

use crate::*;

/// A row's fields are dealt until so many deals have shown nothing new.
pub(crate) const PATIENCE: u32 = 500;

/// Chooses among values, the same way in each run (splitmix64).
pub(crate) struct Deal(u64);

impl Deal {
    pub fn new(turn: u64) -> Self {
        Self(turn.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub fn pick<T>(&mut self, mut values: Vec<T>) -> Option<T> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        if values.is_empty() { None } else { Some(values.swap_remove(z as usize % values.len())) }
    }
}

/// Each two parts of the mnemonic that follow each other.
pub(crate) fn neighbours(inst: &Inst) -> impl Iterator<Item = (String, String)> {
    let text = inst.text();
    let mnemonic = text.split([' ', ';']).next().unwrap_or("");
    let parts: Vec<_> = mnemonic.split('.').map(str::to_string).collect();
    parts.clone().into_iter().zip(parts.into_iter().skip(1).chain([String::new()]))
}

/// Registers of each class in [`kernel_of`].
const REGISTERS: [(Kind, &str, u16); 6] = [
    (Kind::Pred, "p", 8),
    (Kind::B16, "h", 8),
    (Kind::B32, "r", 128),
    (Kind::B64, "rd", 8),
    (Kind::F32, "f", 128),
    (Kind::F64, "fd", 8),
];

fn array(kind: Kind) -> impl Iterator<Item = Arg> {
    let known = REGISTERS.iter().filter(move |(k, ..)| *k == kind);
    known.flat_map(move |&(kind, role, count)| {
        (0..count).map(move |i| Arg::Reg(AnyReg { kind, role: role.into(), index: Some(i) }))
    })
}

/// Operands without a vector, or with so many elements, among which are those that `good` takes.
pub(crate) fn args(kinds: &[Kind], count: usize, good: impl Fn(&Arg) -> bool) -> Vec<Arg> {
    let mut all = vec![Arg::Sink];
    if count == 0 {
        for (kind, role, _) in REGISTERS {
            all.extend(array(kind).take(3));
            let role = format!("{role}one");
            all.push(Arg::Reg(AnyReg { kind, role: Name::new(&role), index: None }));
        }
        let p = AnyReg { kind: Kind::Pred, role: "p".into(), index: Some(1) };
        all.push(Arg::Not(p));
        let integers = [0, 1, -1, -7, 16, 64, 65535, 65536, 0xffff_ffff, i64::MIN, i64::MAX];
        all.extend(integers.map(Arg::Int));
        all.extend([0.0f32, -1.5, f32::NAN].map(|v| Arg::F32(v.to_bits())));
        all.extend([0.0f64, -1.5, f64::NAN].map(|v| Arg::F64(v.to_bits())));
        all.extend(Special::ALL.iter().copied().map(Arg::Special));
        all.extend([0, 16, -8].map(|offset| Arg::Symbol("smem".into(), offset)));
        if good(&Arg::Special(Special::TidX)) {
            all.push(Arg::Symbol("x".into(), 0)); // a parameter's address is taken by `mov` alone
        }
        for (kind, n) in [(Kind::B16, 2), (Kind::B16, 4), (Kind::B32, 2), (Kind::F32, 2)] {
            let parts: Vec<_> = array(kind).take(n).collect();
            let mut low = parts.clone();
            low[n - 1] = Arg::Sink;
            all.extend([Arg::Vector(parts), Arg::Vector(low)]);
        }
    }
    for &kind in kinds.iter().filter(|_| count > 0) {
        let whole: Vec<_> = array(kind).take(count).collect();
        for other in [Arg::Sink, Arg::Int(3), Arg::F32(0)] {
            let mut mixed = whole.clone();
            mixed[0] = other;
            all.push(Arg::Vector(mixed));
        }
        all.push(Arg::Vector(whole));
    }
    if count > 0 {
        all.extend(array(Kind::B64).take(1));
    }
    all.retain(good);
    all
}

/// Addresses that `good` takes.
pub(crate) fn addresses(good: impl Fn(&Address) -> bool) -> Vec<Address> {
    let mut all = Vec::new();
    for offset in [0, 16, -32] {
        for (kind, role) in [(Kind::B32, "r"), (Kind::B64, "rd")] {
            let base = Base::Reg(AnyReg { kind, role: role.into(), index: Some(2) });
            all.push(Address { base, offset });
        }
        all.push(Address { base: Base::Symbol("smem".into()), offset: offset.abs() });
        all.push(Address { base: Base::Param("x".into()), offset: offset.abs() });
        all.push(Address { base: Base::Absolute, offset: 16 });
    }
    all.retain(good);
    all
}

/// A kernel that declares every name that the samples use, with these instructions.
pub(crate) fn kernel_of(instructions: &[Inst]) -> Module {
    let mut k = Kernel::new("rows");
    k.param("x", ParamKind::Bytes { align: 64, len: 128 });
    for (name, kind) in [("m", ParamKind::U32), ("scale", ParamKind::F32), ("z", ParamKind::B8)] {
        k.param(name, kind);
    }
    k.static_shared("smem", 128, 1024);
    k.dynamic_shared("rest", 16);
    k.limits.max_threads = Some(128.into());
    let p = k.regs::<Pred, 8>("p");
    k.regs::<B16, 8>("h");
    k.regs::<B32, 128>("r");
    k.regs::<B64, 8>("rd");
    k.regs::<F32, 128>("f");
    k.regs::<F64, 8>("fd");
    k.reg::<Pred>("pone");
    k.reg::<B16>("hone");
    k.reg::<B32>("rone");
    k.reg::<B64>("rdone");
    k.reg::<F32>("fone");
    k.reg::<F64>("fdone");
    k.section("every row").note("and every form of its operands: n ≥ 2·m\n\n  indented");
    k.place("k_loop");
    for (i, inst) in instructions.iter().enumerate() {
        // what a whole warpgroup or block does together has no guard
        match i % 3 {
            _ if inst.row().exact || inst.row().template.starts_with(['b', '.']) => &mut k,
            0 => &mut k,
            1 => k.when(p[i % 8]),
            _ => k.unless(p[i % 8]),
        };
        k.inst(inst.clone());
    }
    k.ret();
    Module::new("rows: every row of the table\n\nplan: none", k)
}

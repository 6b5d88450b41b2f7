//! The PTX of a probe: one kernel that executes one multiply per block, and nothing else of note.
//!
//! Block i takes words i·w..(i+1)·w of each operand, w being the words of a trial. Register r of lane l
//! is word r·lanes + l of A and B. Registers of C and D go in pairs, as they hold neighbouring columns:
//! register r of lane l is word 2·(⌊r/2⌋·lanes + l) + r mod 2. An image in shared memory is copied as it
//! is. Where an operand's elements belong in a matrix is not said here: that is what a probe is to find
//! out.

use super::forms::{Engine, Form, Image, Place, Swizzle};

/// The entry point of every probe.
pub const ENTRY: &str = "probe";

/// A form, a selector, and the text that executes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The form.
    pub form: &'static Form,
    /// The sparsity selector; 0 for a dense form.
    pub selector: u32,
    /// PTX; its entry point is [`ENTRY`], its parameters are the addresses of A, B, C, the metadata
    /// where the form is sparse, and D.
    pub text: String,
}

impl Probe {
    /// Writes the probe of a form and one of its selectors.
    pub fn new(form: &'static Form, selector: u32) -> Self {
        let text = match form.engine {
            Engine::Mma | Engine::MmaSp | Engine::MmaSpOrdered => warp(form, selector),
            Engine::Wgmma | Engine::WgmmaSp => warpgroup(form, selector),
        };
        Self { form, selector, text }
    }
}

/// Bytes of both images; each begins at a multiple of 1024, where the 128-byte pattern starts.
fn shared_bytes(form: &Form) -> usize {
    let sizes = [form.a_image(), form.b_image()].map(|i| i.map_or(0, |i| i.bytes));
    sizes[0].next_multiple_of(1024) + sizes[1]
}

/// A probe of a warp's multiply: fragments from global memory, the multiply, the fragment of D.
fn warp(form: &Form, selector: u32) -> String {
    let mut w = Writer::head(form, selector);
    let (a, b, d) = (form.a_registers(), form.b_registers(), form.d_registers());
    w.declare(".b32", &format!("%thread, %block, %a<{a}>, %b<{b}>{}", w.metadata(", %metadata")));
    w.declare(&format!(".{}", d_class(form)), &format!("%c<{d}>, %d<{d}>"));
    w.addresses();
    w.section("one fragment per lane");
    w.fragment("a", a);
    w.fragment("b", b);
    w.load_c("c");
    w.load_metadata();
    w.section("the multiply");
    let mut operands = ["d", "a", "b", "c"].map(|o| vector(o, w.registers(o))).join(", ");
    if form.is_sparse() {
        operands += &format!(", %metadata, {selector}");
    }
    w.inst_wide(&form.mnemonic(), &operands);
    w.store_d();
    w.text
}

/// A probe of a warpgroup's multiply: images to shared memory, fragments to registers, the multiply
/// between its fences, the fragment of D.
fn warpgroup(form: &Form, selector: u32) -> String {
    let mut w = Writer::head(form, selector);
    let d = form.d_registers();
    let mut words = String::from("%thread, %block, %word, %smem, %to, %enc, %one");
    if form.a == Place::Registers {
        words += &format!(", %a<{}>", form.a_registers());
    }
    w.declare(".pred", "%accumulate");
    w.declare(".b32", &(words + w.metadata(", %metadata")));
    w.declare(&format!(".{}", d_class(form)), &format!("%d<{d}>"));
    w.addresses();
    w.inst("mov.u32", "%smem, smem");

    w.section("images to shared memory; the fence shows them to the async proxy");
    let images = [("a", form.a_image()), ("b", form.b_image())];
    let mut at = 0;
    let mut descriptors = Vec::new();
    for (operand, image) in images.into_iter().filter_map(|(o, i)| Some((o, i?))) {
        w.copy(operand, image, at);
        descriptors.push((operand, image, at));
        at += image.bytes.next_multiple_of(1024);
    }
    w.inst("fence.proxy.async.shared::cta", "");
    w.inst("bar.sync", "0");

    w.section("descriptors (9.7.15.5.1): bits 13:0 are the address / 16");
    for (operand, image, at) in descriptors {
        w.note(&describe(image));
        w.inst("add.u32", &format!("%enc, %smem, {at}"));
        w.inst("and.b32", "%enc, %enc, 0x3ffff");
        w.inst("shr.u32", "%enc, %enc, 4");
        w.inst("cvt.u64.u32", &format!("%{operand}_desc, %enc"));
        let constant = descriptor(image);
        w.inst("or.b64", &format!("%{operand}_desc, %{operand}_desc, {constant:#018x}"));
    }

    w.section("fragments; D begins as C");
    if form.a == Place::Registers {
        w.fragment("a", form.a_registers());
    }
    w.load_c("d");
    w.load_metadata();

    w.section("the multiply: registers were written, so a fence comes first (9.7.15.7.1)");
    w.inst("mov.u32", "%one, 1");
    w.inst("setp.ne.u32", "%accumulate, %one, 0");
    w.inst("wgmma.fence.sync.aligned", "");
    let a = match form.a {
        Place::Registers => vector("a", form.a_registers()),
        Place::Shared(_) => "%a_desc".into(),
    };
    let mut operands = format!("{}, {a}, %b_desc", vector("d", d));
    if form.is_sparse() {
        operands += &format!(", %metadata, {selector}");
    }
    w.inst_wide(&form.mnemonic(), &(operands + ", %accumulate" + immediates(form)));
    w.inst("wgmma.commit_group.sync.aligned", "");
    w.inst("wgmma.wait_group.sync.aligned", "0");
    w.store_d();
    w.text
}

/// Scales of A and B, +1 each, which integers do not have; then for 16-bit types whether a matrix in
/// shared memory is transposed: A if it is there, and B.
fn immediates(form: &Form) -> &'static str {
    use super::element::Element::*;
    match (form.element, form.a) {
        (S8, _) => "",
        (F16 | Bf16, Place::Shared(_)) => ", 1, 1, 0, 0",
        (F16 | Bf16, Place::Registers) => ", 1, 1, 0",
        (Tf32 | E4m3 | E5m2, _) => ", 1, 1",
    }
}

/// The constant bits of a descriptor (9.7.15.5.1.2): leading offset / 16 in 29:16, stride offset / 16
/// in 45:32, base offset 0, the swizzle in 63:62 (0 none, 1 of 128 bytes).
fn descriptor(image: Image) -> u64 {
    let swizzle = match image.swizzle {
        Swizzle::None => 0,
        Swizzle::B128 => 1,
    };
    (image.leading as u64 >> 4) << 16 | (image.stride as u64 >> 4) << 32 | swizzle << 62
}

fn describe(image: Image) -> String {
    let Image { leading, stride, .. } = image;
    match image.swizzle {
        Swizzle::None => {
            format!("core columns {leading} bytes apart, groups of eight rows {stride}, no swizzle")
        }
        Swizzle::B128 => {
            format!("groups of eight rows {stride} bytes apart, 128-byte swizzle")
        }
    }
}

/// The class of a lane's registers of C and D.
fn d_class(form: &Form) -> &'static str {
    if form.element.accumulator() == "f32" { "f32" } else { "b32" }
}

/// `{%a0, %a1}`
fn vector(role: &str, count: usize) -> String {
    let registers: Vec<String> = (0..count).map(|i| format!("%{role}{i}")).collect();
    format!("{{{}}}", registers.join(", "))
}

/// Writes a probe line by line.
struct Writer<'a> {
    form: &'a Form,
    lanes: usize,
    text: String,
}

impl<'a> Writer<'a> {
    /// Everything up to the declarations.
    fn head(form: &'a Form, selector: u32) -> Self {
        let mut w = Self { form, lanes: form.lanes(), text: String::new() };
        let isa = form.isa;
        w.line(&format!("// {}, selector {selector}", form.name));
        w.line("//");
        w.line("// one multiply per block: block i takes the i-th trial of each operand");
        w.line(&format!(".version {}.{}", isa / 10, isa % 10));
        w.line(&format!(".target {}", form.target));
        w.line(".address_size 64\n");
        if shared_bytes(form) > 0 {
            w.line(&format!(".shared .align 1024 .b8 smem[{}];\n", shared_bytes(form)));
        }
        w.line(&format!(".visible .entry {ENTRY}("));
        let names: Vec<&str> = w.operands().collect();
        let params: Vec<String> = names.iter().map(|n| format!("    .param .u64 {n}")).collect();
        w.line(&params.join(",\n"));
        w.line(")");
        w.line(&format!(".reqntid {}", form.lanes()));
        w.line("{");
        w
    }

    fn line(&mut self, text: &str) {
        self.text += text;
        self.text.push('\n');
    }

    fn section(&mut self, text: &str) {
        self.line(&format!("\n    // ---- {text}"));
    }

    fn note(&mut self, text: &str) {
        self.line(&format!("    // {text}"));
    }

    fn inst(&mut self, mnemonic: &str, operands: &str) {
        let text = format!("    {mnemonic:<23} {operands}");
        self.line(&format!("{};", text.trim_end()));
    }

    /// An instruction whose operands have a line of their own.
    fn inst_wide(&mut self, mnemonic: &str, operands: &str) {
        self.line(&format!("    {mnemonic}\n        {operands};"));
    }

    fn declare(&mut self, class: &str, registers: &str) {
        self.line(&format!("    .reg {class:<5} {registers};"));
    }

    /// The parameters, in order.
    fn operands(&self) -> impl Iterator<Item = &'static str> + use<> {
        let sparse = self.form.is_sparse();
        ["a", "b", "c", "metadata", "d"].into_iter().filter(move |o| sparse || *o != "metadata")
    }

    /// `text` where the form is sparse.
    fn metadata(&self, text: &'static str) -> &'static str {
        if self.form.is_sparse() { text } else { "" }
    }

    fn registers(&self, operand: &str) -> usize {
        match operand {
            "a" => self.form.a_registers(),
            "b" => self.form.b_registers(),
            _ => self.form.d_registers(),
        }
    }

    /// 32-bit words of an operand in one trial.
    fn words(&self, operand: &str) -> usize {
        match operand {
            "a" => self.form.a_words(),
            "b" => self.form.b_words(),
            "metadata" => self.lanes,
            _ => self.form.d_words(),
        }
    }

    /// `%x_at` of each operand: where this lane begins in this block's trial.
    fn addresses(&mut self) {
        let mut wide: Vec<String> = self.operands().map(|o| format!("%{o}_at")).collect();
        for (operand, image) in [("a", self.form.a_image()), ("b", self.form.b_image())] {
            wide.extend(image.map(|_| format!("%{operand}_desc")));
        }
        self.declare(".b64", &wide.join(", "));
        self.section("where this lane begins in this block's trial");
        self.inst("mov.u32", "%thread, %tid.x");
        self.inst("mov.u32", "%block, %ctaid.x");
        for o in self.operands() {
            let bytes = 4 * self.words(o);
            self.inst("ld.param.u64", &format!("%{o}_at, [{o}]"));
            self.inst("cvta.to.global.u64", &format!("%{o}_at, %{o}_at"));
            self.inst("mad.wide.u32", &format!("%{o}_at, %block, {bytes}, %{o}_at"));
            let step = if matches!(o, "c" | "d") { 8 } else { 4 };
            self.inst("mad.wide.u32", &format!("%{o}_at, %thread, {step}, %{o}_at"));
        }
    }

    /// Loads a lane's registers of A or B.
    fn fragment(&mut self, operand: &str, count: usize) {
        for r in 0..count {
            let offset = 4 * r * self.lanes;
            self.inst("ld.global.b32", &format!("%{operand}{r}, [%{operand}_at+{offset}]"));
        }
    }

    /// Loads a lane's registers of C, in pairs, into those called `role`.
    fn load_c(&mut self, role: &str) {
        let mnemonic = format!("ld.global.v2.{}", d_class(self.form));
        for r in (0..self.form.d_registers()).step_by(2) {
            let offset = 4 * r * self.lanes;
            self.inst(&mnemonic, &format!("{{%{role}{r}, %{role}{}}}, [%c_at+{offset}]", r + 1));
        }
    }

    fn load_metadata(&mut self) {
        if self.form.is_sparse() {
            self.inst("ld.global.b32", "%metadata, [%metadata_at]");
        }
    }

    /// Copies an image word by word to byte `at` of the shared array.
    fn copy(&mut self, operand: &str, image: Image, at: usize) {
        self.inst("mad.lo.u32", "%to, %thread, 4, %smem");
        for offset in (0..image.bytes).step_by(4 * self.lanes) {
            self.inst("ld.global.b32", &format!("%word, [%{operand}_at+{offset}]"));
            self.inst("st.shared.b32", &format!("[%to+{}], %word", at + offset));
        }
    }

    fn store_d(&mut self) {
        self.section("D");
        let mnemonic = format!("st.global.v2.{}", d_class(self.form));
        for r in (0..self.form.d_registers()).step_by(2) {
            let offset = 4 * r * self.lanes;
            self.inst(&mnemonic, &format!("[%d_at+{offset}], {{%d{r}, %d{}}}", r + 1));
        }
        self.inst("ret", "");
        self.line("}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::forms::form;

    #[test]
    fn a_descriptor_has_its_fields() {
        let image = |name| form(name).unwrap().b_image().unwrap();
        let plain = descriptor(image("wgmma_sp_m64n64k32_f16_rs"));
        assert_eq!((plain >> 16 & 0x3FFF, plain >> 32 & 0x3FFF, plain >> 62), (64, 8, 0));
        let swizzled = descriptor(image("wgmma_sp_m64n8k32_f16_ss_sw128"));
        assert_eq!((swizzled >> 16 & 0x3FFF, swizzled >> 32 & 0x3FFF, swizzled >> 62), (1, 64, 1));
    }

    #[test]
    fn immediates_follow_the_type_and_the_place_of_a() {
        let last = |name: &str| {
            let text = Probe::new(form(name).unwrap(), 0).text;
            let line = text.lines().find(|l| l.contains("%accumulate, ") && l.contains('{'));
            let line = line.or(text.lines().find(|l| l.contains("%accumulate;"))).unwrap();
            line.split_once("%accumulate").unwrap().1.to_string()
        };
        assert_eq!(last("wgmma_sp_m64n8k32_f16_ss"), ", 1, 1, 0, 0;");
        assert_eq!(last("wgmma_sp_m64n8k32_bf16_rs"), ", 1, 1, 0;");
        assert_eq!(last("wgmma_sp_m64n8k16_tf32_rs"), ", 1, 1;");
        assert_eq!(last("wgmma_sp_m64n8k64_s8_rs"), ";");
    }
}

//! The instruction table. A row is one form of the language, for all of its types: it gives the
//! variant of [`Inst`], the printer, the parser (the template read backwards), the rule of each
//! operand, and the least PTX version and target.
//!
//! In a template `{x}` is an operand; `{|x}` one that is written `|x` if it is there, and `{m?x}`
//! one that is written `, x` if the modifier `m` says so ([`Arg::Sink`] if not). `x: Arg = rule` states what the
//! operand must be, in terms of the fields before it. After `or` stands another order of
//! the modifiers that people write and ptxas takes. Section numbers are those of the PTX ISA manual,
//! chapter 9.7; which combinations of modifiers exist says `legal.rs`.

#[macro_use]
mod arithmetic;
#[macro_use]
mod copy;
#[macro_use]
mod matrix;
#[macro_use]
mod memory;
#[macro_use]
mod order;
mod legal;
mod needs;
mod row;
mod types;

use crate::cursor::{Cursor, Fault};
use crate::modifier::*;
use crate::operand::*;
use crate::rule::*;
use crate::typed::Label;
pub use row::{BASE_ISA, BASE_SM, Row};
use row::{Marks, fill, filled, given, pick};
use types::*;

/// Most arrivals of an mbarrier's phase (9.7.13.15.2).
const MOST_ARRIVALS: i64 = (1 << 20) - 1;

/// Most bytes of a bulk copy.
const MOST_BULK: i64 = (1 << 20) - 16;

type Parse = fn(&mut Cursor<'_>, &'static str) -> Result<Inst, Fault>;

macro_rules! isa {
    ({ $(
        $(#[$doc:meta])*
        $Name:ident { $($field:ident : $ty:ty $(= $rule:expr)?),* }
        $(isa $isa:literal)? $(sm $sm:literal)? $(exact $exact:ident)? => $template:literal $(or $other:literal)?;
    )* }) => {
        /// An instruction: one variant per row of the table.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Inst { $(
            $(#[$doc])*
            #[doc = concat!("\n\n`", $template, "`")]
            $Name { $(
                #[doc = concat!("`", stringify!($field), "` of the template.")]
                $field: $ty
            ),* }
        ),* }

        /// Every row, in the order of [`Inst`].
        pub const TABLE: &[Row] = &[ $( Row {
            name: stringify!($Name),
            template: $template,
            isa: pick(&[$($isa,)? BASE_ISA]),
            sm: pick(&[$($sm,)? BASE_SM]),
            exact: given(&[$(stringify!($exact))?]),
            others: &[$($other)?],
        } ),* ];

        const PARSERS: &[Parse] = &[ $( |c, template| {
            $( let mut $field: Option<$ty> = None; )*
            #[allow(unused_mut)] // in rows without operands
            let mut marks = Marks::new(c);
            c.template(template, |c, name| match name {
                $( stringify!($field) => {
                    marks.mark(c, name);
                    fill(c, &mut $field)
                } )*
                _ => Err(c.fault("a template without such an operand")),
            })?;
            let inst = Inst::$Name { $( $field: filled(c, $field)? ),* };
            marks.judge(c, inst.faulty())?;
            Ok(inst)
        } ),* ];

        impl Inst {
            /// Its place in [`TABLE`].
            fn index(&self) -> usize {
                #[allow(clippy::enum_variant_names)] // they are the rows' names
                #[repr(usize)]
                enum Index { $( $Name ),* }
                match self { $( Self::$Name { .. } => Index::$Name as usize ),* }
            }

            #[allow(unused_variables)] // in rows without operands
            fn operand(&self, name: &str) -> String {
                match self { $( Self::$Name { $($field),* } => {
                    $( if name == stringify!($field) { return $field.to_string(); } )*
                } )* }
                String::new()
            }

            /// The operand that breaks its row's rule, and how; without a name, what is wrong with
            /// the combination of its modifiers.
            #[allow(unused_variables)] // in rows without rules
            fn faulty(&self) -> Result<(), (&'static str, String)> {
                match self { $( Self::$Name { $($field),* } => {
                    $( $( $field.meets(&$rule).map_err(|why| (stringify!($field), why))?; )? )*
                } )* }
                self.legal().map_err(|why| ("", why))
            }

            /// The least PTX ISA version × 10 that it and its operands ask for.
            pub fn isa(&self) -> u16 {
                let mut isa = self.row().isa.max(self.needs().0);
                match self { $( Self::$Name { $($field),* } => {
                    $( isa = isa.max($field.isa()); )*
                } )* }
                isa
            }

            /// The least target that it and its operands ask for.
            pub fn sm(&self) -> u16 {
                let mut sm = self.row().sm.max(self.needs().1);
                match self { $( Self::$Name { $($field),* } => {
                    $( sm = sm.max($field.sm()); )*
                } )* }
                sm
            }
        }

        /// [`dealt`], once for all tests.
        #[cfg(test)]
        pub(crate) fn samples() -> Vec<Inst> {
            static ALL: std::sync::OnceLock<Vec<Inst>> = std::sync::OnceLock::new();
            ALL.get_or_init(dealt).clone()
        }

        /// Instructions that show every value of every field of every row, in some legal company, and
        /// neighbours in mnemonics: which conversions and products there are.
        #[cfg(test)]
        fn dealt() -> Vec<Inst> {
            let mut all = Vec::new();
            $( {
                let mut seen = std::collections::HashSet::new();
                let mut idle = 0;
                for _turn in 0.. {
                    idle += 1;
                    if idle > crate::tests::PATIENCE {
                        break;
                    }
                    let mut _deal = crate::tests::Deal::new(_turn);
                    $(
                        let Some($field) = _deal.pick(isa!(@samples $ty $(, $rule)?)) else {
                            continue;
                        };
                        let $field = &$field;
                    )*
                    let inst = Inst::$Name { $( $field: $field.clone() ),* };
                    let fresh = crate::tests::neighbours(&inst)
                        .chain([$( (stringify!($field).to_string(), $field.to_string()) ),*]);
                    let fresh: Vec<_> = fresh.collect();
                    if fresh.iter().any(|f| !seen.contains(f)) && inst.faulty().is_ok() {
                        seen.extend(fresh);
                        idle = 0;
                        all.push(inst);
                    }
                }
            } )*
            all
        }
    };
    (@samples $ty:ty) => { <$ty>::samples() };
    (@samples $ty:ty, $rule:expr) => { <$ty as Ruled>::samples_of(&$rule) };
}

// The parts hand their rows on, and the last one gives them all to the macro above.
memory! { {} copy order matrix arithmetic isa }

impl Inst {
    /// Its row.
    pub fn row(&self) -> &'static Row {
        &TABLE[self.index()]
    }

    /// Whether its operands and modifiers are such as the manual allows, else why not.
    pub fn check(&self) -> Result<(), String> {
        self.faulty().map_err(|(field, why)| match field {
            "" => why,
            field => format!("{field}: {why}"),
        })
    }

    /// Its text, `mnemonic operands;`, on one line.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for (i, piece) in self.row().template.split('{').enumerate() {
            match piece.split_once('}') {
                Some((name, literal)) if i > 0 => {
                    let (before, name) = match (name.strip_prefix('|'), name.split_once('?')) {
                        (Some(name), _) => ("|", name),
                        (_, Some((_, name))) => (", ", name),
                        _ => ("", name),
                    };
                    let text = self.operand(name);
                    if before.is_empty() || text != "_" {
                        out.push_str(before);
                        out.push_str(&text);
                    }
                    out.push_str(literal);
                }
                _ => out.push_str(piece),
            }
        }
        out
    }

    /// The row that the text fits, from the cursor to after the semicolon. Where none does, the
    /// fault of the row whose rules it breaks, else that of the row that fitted furthest.
    pub(crate) fn parse(c: &mut Cursor<'_>) -> Result<Self, Fault> {
        let start = c.position();
        let mnemonic = c.mnemonic();
        let mut furthest: Option<Fault> = None;
        let texts =
            |row: &'static Row| std::iter::once(row.template).chain(row.others.iter().copied());
        let rows = TABLE.iter().zip(PARSERS);
        for (template, parser) in
            rows.flat_map(|(row, parser)| texts(row).map(move |t| (t, parser)))
        {
            let prefix = template.split([' ', '{']).next().unwrap_or("");
            if !c.starts_with(prefix) {
                continue;
            }
            let mut attempt = c.fork();
            match parser(&mut attempt, template) {
                Ok(inst) => {
                    *c = attempt;
                    return Ok(inst);
                }
                Err(fault) if furthest.as_ref().is_none_or(|f| f.rank() < fault.rank()) => {
                    furthest = Some(fault);
                }
                Err(_) => {}
            }
        }
        match furthest {
            // the operands did not fit
            Some(fault) if fault.judged || fault.position >= start + mnemonic.len() => Err(fault),
            Some(Fault { position, message, .. }) if position > start => {
                Err(c.fault_at(position, &format!("`{mnemonic}`: {message}")))
            }
            Some(Fault { message, .. }) => Err(c.fault_at(start, &message)),
            None => {
                let message = format!("no such instruction in the table: `{mnemonic}`");
                Err(c.fault_at(start, &message))
            }
        }
    }
}

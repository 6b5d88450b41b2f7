//! Mutants counted by what became of them.

use super::argued::Argued;
use super::judge::{Judged, Objection, Verdict};
use std::fmt;

/// How many mutants met which end.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// By [`Objection`].
    killed: [usize; COLUMNS.len()],
    /// Survivors that are argued for.
    pub argued: usize,
    /// Survivors that are not.
    pub survived: usize,
}

const COLUMNS: [(Objection, &str); 7] = [
    (Objection::Race, "race"),
    (Objection::Poison, "poison"),
    (Objection::Bounds, "bounds"),
    (Objection::Barrier, "barrier"),
    (Objection::Trap, "trap"),
    (Objection::Hang, "hang"),
    (Objection::Wrong, "wrong"),
];

impl Tally {
    /// Counts mutants.
    pub fn of<'a>(mutants: impl IntoIterator<Item = &'a Judged>) -> Self {
        let mut tally = Self::default();
        for mutant in mutants {
            match (&mutant.verdict, Argued::of(mutant)) {
                (Verdict::Killed(objection, _), _) => {
                    let column = COLUMNS.iter().zip(&mut tally.killed);
                    column.filter(|(c, _)| c.0 == *objection).for_each(|(_, n)| *n += 1);
                }
                (Verdict::Survived(_), Some(_)) => tally.argued += 1,
                (Verdict::Survived(_), None) => tally.survived += 1,
            }
        }
        tally
    }

    fn killed(&self) -> usize {
        self.killed.iter().sum()
    }

    /// All mutants.
    pub fn all(&self) -> usize {
        self.killed() + self.argued + self.survived
    }

    /// Of those that are not argued for, how many of a hundred the emulator objects to; rounded down.
    pub fn percent(&self) -> f64 {
        match self.killed() + self.survived {
            0 => 100.0,
            all => (1e4 * self.killed() as f64 / all as f64).floor() / 100.0,
        }
    }

    /// The names of the columns.
    pub fn header() -> String {
        let columns = COLUMNS.map(|(_, name)| format!("{name:>8}")).concat();
        format!("{:>8}{columns}{:>8}{:>9}{:>8}", "mutants", "argued", "survived", "killed")
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8}", self.all())?;
        self.killed.iter().try_for_each(|n| write!(f, "{n:>8}"))?;
        write!(f, "{:>8}{:>9}{:>7}%", self.argued, self.survived, self.percent())
    }
}

//! Loss over steps, as text.

use std::fmt::Write;

/// One step of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Optimiser steps taken, this one included.
    pub step: u64,
    /// Loss of the step's batch.
    pub train: f64,
    /// Held-out loss after the step, where it was measured.
    pub validation: Option<f64>,
}

/// The points as CSV, every number in its shortest exact form.
pub(crate) fn to_csv(points: &[Point]) -> String {
    let mut text = String::from("step,train,validation\n");
    for Point { step, train, validation } in points {
        let validation = validation.map(|v| v.to_string()).unwrap_or_default();
        // writing to a string cannot fail
        let _ = writeln!(text, "{step},{train},{validation}");
    }
    text
}

/// The inverse of [`to_csv`]. `Err`: the first line, counted from 1, that is no point.
pub(crate) fn from_csv(text: &str) -> Result<Vec<Point>, usize> {
    let mut lines = text.lines();
    if lines.next() != Some("step,train,validation") {
        return Err(1);
    }
    lines.enumerate().map(|(i, line)| point(line).ok_or(i + 2)).collect()
}

fn point(line: &str) -> Option<Point> {
    let mut fields = line.split(',');
    let step = fields.next()?.parse().ok()?;
    let train = fields.next()?.parse().ok()?;
    let validation = match fields.next()? {
        "" => None,
        text => Some(text.parse().ok()?),
    };
    fields.next().is_none().then_some(Point { step, train, validation })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_is_exact() {
        let point = |step, train, validation| Point { step, train, validation };
        let points = [
            point(1, 0.1 + 0.2, None),
            point(2, 1e-300, Some(f64::MAX)),
            point(u64::MAX, 5.0, Some(f64::MIN_POSITIVE)),
        ];
        assert_eq!(from_csv(&to_csv(&points)), Ok(points.to_vec()));
        assert_eq!(from_csv(""), Err(1));
        assert_eq!(from_csv("step,train,validation\n1,2,\n1,2"), Err(3));
        assert_eq!(from_csv("step,train,validation\n1,2,,"), Err(2));
    }
}

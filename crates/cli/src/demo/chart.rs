//! Two pictures as inline SVG: loss curves and the mask of a layer. Colours are CSS classes of the
//! page, so that both follow the reader's light or dark scheme.

use crate::html::escape;
use std::fmt::Write;

/// A curve: `class` names its colour in the page's style.
pub struct Series<'a> {
    /// What the legend calls it.
    pub name: &'a str,
    /// CSS class.
    pub class: &'a str,
    /// (step, bits per byte), steps rising.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 42.0;

/// Held-out loss over steps; each curve is labelled at its end.
pub fn loss_curves(series: &[Series]) -> String {
    let all =
        || series.iter().flat_map(|s| &s.points).filter(|p| p.0.is_finite() && p.1.is_finite());
    let x_max = all().map(|p| p.0).fold(1.0, f64::max);
    let (mut y_min, mut y_max) =
        all().fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), p| (lo.min(p.1), hi.max(p.1)));
    if y_min > y_max {
        (y_min, y_max) = (0.0, 1.0);
    }
    // The first evaluations (8 bits per byte: nothing learnt) would flatten all that matters.
    y_max = y_max.min(y_min + 2.5);
    let step = tick_step(y_max - y_min);
    let (y_min, y_max) = ((y_min / step).floor() * step, (y_max / step).ceil() * step);

    let x_at = |x: f64| LEFT + (WIDTH - LEFT - RIGHT) * x / x_max;
    let y_at = |y: f64| TOP + (HEIGHT - TOP - BOTTOM) * (y_max - y) / (y_max - y_min);
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);

    let mut svg = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"Held-out loss over training steps\">\n\
         <clipPath id=\"plot\"><rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{}\" height=\"{}\"/></clipPath>\n",
        right - LEFT + 4.0,
        bottom - TOP + 2.0
    );
    for i in 0..=((y_max - y_min) / step).round() as u32 {
        let y = y_min + i as f64 * step;
        let at = y_at(y);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{y:.*}</text>",
            LEFT - 8.0,
            at + 4.0,
            if step < 0.1 { 2 } else { 1 },
        );
    }
    let x_step = tick_step(x_max);
    for i in 0..=(x_max / x_step + 1e-9).floor() as u32 {
        let x = i as f64 * x_step;
        let _ = writeln!(
            svg,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{x}</text>",
            x_at(x),
            bottom + 18.0
        );
    }
    let _ = writeln!(
        svg,
        "<text class=\"label\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">training step</text>",
        (LEFT + right) / 2.0,
        HEIGHT - 6.0
    );
    let mut labels: Vec<(f64, &Series)> = Vec::new();
    for s in series {
        let Some(last) = s.points.last() else { continue };
        let points: String =
            s.points.iter().map(|&(x, y)| format!("{:.1},{:.1} ", x_at(x), y_at(y))).collect();
        let _ = writeln!(
            svg,
            "<polyline class=\"curve {}\" clip-path=\"url(#plot)\" points=\"{}\"/>\
             <circle class=\"dot {}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>",
            s.class,
            points.trim_end(),
            s.class,
            x_at(last.0),
            y_at(last.1)
        );
        labels.push((y_at(last.1), s));
    }
    for (y, s) in spread(labels, 17.0, bottom) {
        let _ = writeln!(
            svg,
            "<text class=\"end {}\" x=\"{:.1}\" y=\"{:.1}\">{} {:.3}</text>",
            s.class,
            right + 10.0,
            y + 4.0,
            escape(s.name),
            s.points.last().map_or(0.0, |p| p.1)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Moves labels apart so that neighbours are at least `gap` from each other and none is below
/// `bottom`.
fn spread<'a, T>(mut labels: Vec<(f64, T)>, gap: f64, bottom: f64) -> Vec<(f64, T)>
where
    T: 'a,
{
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    for i in 1..labels.len() {
        labels[i].0 = labels[i].0.max(labels[i - 1].0 + gap);
    }
    let mut limit = bottom;
    for label in labels.iter_mut().rev() {
        label.0 = label.0.min(limit);
        limit = label.0 - gap;
    }
    labels
}

/// A step of 1, 2 or 5 times a power of ten that gives four to ten ticks.
fn tick_step(range: f64) -> f64 {
    let raw = (range / 5.0).max(1e-6);
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0].map(|f| f * power).into_iter().find(|&s| s >= raw * 0.999);
    step.unwrap_or(10.0 * power)
}

/// A layer's weights and which of them are kept, both `rows × columns`.
pub struct Layer<'a> {
    /// Output features.
    pub rows: usize,
    /// Input features.
    pub columns: usize,
    /// Row-major; `true` is kept.
    pub mask: &'a [bool],
    /// Row-major.
    pub weights: &'a [f32],
}

/// The whole mask, a pixel an element: one path of horizontal runs.
pub fn mask_whole(layer: &Layer) -> String {
    let mut path = String::new();
    for row in 0..layer.rows {
        let mut column = 0;
        while column < layer.columns {
            let start = column;
            while column < layer.columns && layer.mask[row * layer.columns + column] {
                column += 1;
            }
            if column > start {
                let _ = write!(path, "M{start} {row}h{}", column - start);
            }
            column += 1;
        }
    }
    // strokes are centred on their line
    format!(
        "<svg class=\"mask\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"Kept weights of the \
         whole layer\"><g transform=\"translate(0 .5)\"><path d=\"{path}\"/></g></svg>\n",
        layer.columns, layer.rows
    )
}

/// The corner of the layer, its kept weights shaded by magnitude, groups of four apart.
pub fn mask_corner(layer: &Layer, rows: usize, columns: usize) -> String {
    let (rows, columns) = (rows.min(layer.rows), columns.min(layer.columns) / 4 * 4);
    let at = |r: usize, c: usize| r * layer.columns + c;
    let kept = |r: usize, c: usize| layer.mask[at(r, c)];
    let largest = (0..rows)
        .flat_map(|r| (0..columns).map(move |c| (r, c)))
        .filter(|&(r, c)| kept(r, c))
        .map(|(r, c)| layer.weights[at(r, c)].abs())
        .fold(1e-12, f32::max);
    let (cell, gap) = (16.0, 6.0);
    let x_of = |c: usize| c as f64 * cell + (c / 4) as f64 * gap;
    let mut svg = format!(
        "<svg class=\"corner\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"The layer's first \
         {rows} rows and {columns} columns\">\n",
        x_of(columns) - gap,
        rows as f64 * cell
    );
    for r in 0..rows {
        for c in 0..columns {
            let w = layer.weights[at(r, c)];
            let (class, opacity) = match kept(r, c) {
                false => ("dropped", 1.0),
                true if w < 0.0 => ("negative", 0.25 + 0.75 * (w.abs() / largest) as f64),
                true => ("positive", 0.25 + 0.75 * (w.abs() / largest) as f64),
            };
            let _ = write!(
                svg,
                "<rect class=\"{class}\" x=\"{:.0}\" y=\"{:.0}\" width=\"14\" height=\"14\" rx=\"2\" \
                 opacity=\"{opacity:.2}\"/>",
                x_of(c) + 1.0,
                r as f64 * cell + 1.0
            );
        }
        svg.push('\n');
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_the_mask_cover_what_is_kept() {
        let mask = [true, true, false, false, false, true, false, true];
        let layer = Layer { rows: 2, columns: 4, mask: &mask, weights: &[1.0; 8] };
        assert!(mask_whole(&layer).contains("d=\"M0 0h2M1 1h1M3 1h1\""));
    }

    #[test]
    fn labels_are_apart_and_above_the_bottom() {
        let at: Vec<f64> = spread(vec![(98.0, 'a'), (99.0, 'b'), (10.0, 'c')], 10.0, 100.0)
            .into_iter()
            .map(|l| l.0)
            .collect();
        assert_eq!(at, [10.0, 90.0, 100.0]);
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!([0.9, 2.5, 400.0].map(tick_step), [0.2, 0.5, 100.0]);
    }

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escape("<b>\u{1b}&\"\n"), "&lt;b&gt;\u{fffd}&amp;&quot;\n");
    }
}

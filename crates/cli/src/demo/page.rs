//! `report.html`: one self-contained file, light or dark as the reader's system is.

use super::chart::{Layer, Series, loss_curves, mask_corner, mask_whole};
use super::report::Report;
use crate::html::{self, escape};
use quickpick_prune::Masks;
use quickpick_transformer::Weights;
use quickpick_transformer::config::{self, in_block};
use std::fmt::Write;

/// The layer whose mask is drawn, and its name.
pub struct Drawn<'a> {
    /// Its tensor's name.
    pub name: &'a str,
    /// The layer.
    pub layer: Layer<'a>,
}

impl<'a> Drawn<'a> {
    /// The query projection of the middle block: square, so its picture is, too. `None` if it is
    /// dense.
    pub fn middle_query(weights: &'a Weights, masks: &'a Masks) -> Option<Self> {
        let name = in_block(weights.config().layers / 2, config::Q);
        let (name, mask) = masks.get_key_value(&name)?;
        let (rows, columns) = (mask.rows(), mask.cols());
        let weights = &weights.tensors().get(name)?.data;
        Some(Self { name, layer: Layer { rows, columns, mask: mask.kept(), weights } })
    }
}

/// The page.
pub fn page(report: &Report, drawn: Option<&Drawn>) -> String {
    let lead = format!(
        "A tiny transformer, its 2:4 lottery ticket and the controls, run on <strong>{}</strong>.",
        escape(&report.backend)
    );
    let mut html = html::open("Quickpick demo", &lead, &report.facts);
    table(&mut html, report);
    html.push_str(
        "<section><h2>Held-out loss while training</h2>\n<p>Bits per byte; lower is \
                   better. All sparse arms keep half of each block linear.</p>\n",
    );
    let series: Vec<Series> = report
        .arms
        .iter()
        .zip(["c0", "c1", "c2", "c3", "c4"].iter().cycle())
        .map(|(arm, class)| Series { name: &arm.name, class, points: arm.curve.clone() })
        .collect();
    let _ = writeln!(html, "{}</section>", loss_curves(&series));
    if let Some(drawn) = drawn {
        mask(&mut html, drawn);
    }
    texts(&mut html, report);
    html::close(&mut html, &report.notes);
    html
}

fn table(html: &mut String, report: &Report) {
    let table = report.table();
    html.push_str("<section><h2>Result</h2>\n<div class=\"scroll\"><table>\n<thead>");
    html.push_str("<tr>");
    for (title, columns) in table.groups() {
        let class = if columns > 1 { " class=\"group\"" } else { "" };
        let _ = write!(html, "<th colspan=\"{columns}\"{class}>{}</th>", escape(title));
    }
    html.push_str("</tr><tr>");
    for (_, name) in &table.head {
        let _ = write!(html, "<th>{}</th>", escape(name));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for (row, class) in table.rows.iter().zip(["c0", "c1", "c2", "c3", "c4"].iter().cycle()) {
        html.push_str("<tr>");
        for (i, cell) in row.iter().enumerate() {
            match (i, cell.split_once("  ")) {
                (0, _) => {
                    let _ = write!(html, "<th><i class=\"key {class}\"></i>{}</th>", escape(cell));
                }
                (_, Some((value, ratio))) => {
                    let _ = write!(
                        html,
                        "<td>{} <small>{}</small></td>",
                        escape(value),
                        escape(ratio.trim())
                    );
                }
                (_, None) => {
                    let _ = write!(html, "<td>{}</td>", escape(cell));
                }
            }
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div>\n");
    for line in report.findings() {
        let _ = writeln!(html, "<p>{}</p>", escape(&line));
    }
    html.push_str("</section>\n");
}

fn mask(html: &mut String, drawn: &Drawn) {
    let Drawn { name, layer } = drawn;
    let _ = writeln!(
        html,
        "<section><h2>The mask of one layer</h2>\n<p><code>{}</code>, {} × {}. Left: each kept \
         weight is a mark. Right: the first rows, in groups of four columns, two kept in each; \
         <span class=\"positive-text\">positive</span> and <span class=\"negative-text\">negative\
         </span> weights, stronger where larger.</p>\n<div class=\"masks\">\n{}{}</div></section>",
        escape(name),
        layer.rows,
        layer.columns,
        mask_whole(layer),
        mask_corner(layer, 24, 24)
    );
}

fn texts(html: &mut String, report: &Report) {
    let _ = writeln!(
        html,
        "<section><h2>What they write</h2>\n<p>After the prompt <code>{}</code>: at temperature 0, \
         then sampled at temperature {} with the same seed.</p>\n<div class=\"texts\">",
        escape(report.prompt.trim_end()),
        report.temperature
    );
    for arm in report.arms.iter().filter(|a| a.name == "dense" || a.name == "ticket") {
        let _ = writeln!(
            html,
            "<figure><figcaption>{}</figcaption><pre><b>{p}</b>{}</pre><pre><b>{p}</b>{}</pre></figure>",
            escape(&arm.name),
            escape(&arm.text),
            escape(&arm.sampled),
            p = escape(&report.prompt),
        );
    }
    html.push_str("</div></section>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html() -> String {
        let mask: Vec<bool> = (0..64 * 64).map(|i| (i / 4 + i % 4) % 2 == 0).collect();
        let weights: Vec<f32> = (0..64 * 64).map(|i| (i as f32 * 0.7).sin()).collect();
        let layer = Layer { rows: 64, columns: 64, mask: &mask, weights: &weights };
        page(
            &super::super::report::tests::report(),
            Some(&Drawn { name: "layers.0.mlp.up", layer }),
        )
    }

    #[test]
    fn the_page_needs_nothing_from_outside() {
        let html = html();
        for outside in ["http", "<script", "<link", "src=", "@import"] {
            assert!(!html.contains(outside), "{outside}");
        }
        assert!(html.contains("prefers-color-scheme: dark"));
        assert!(html.contains("let x = &lt;T&gt;::new();"));
    }

    #[test]
    fn elements_are_closed() {
        let html = html();
        for tag in ["section", "table", "tr", "td", "th", "div", "figure", "pre", "svg", "p", "dl"]
        {
            let opened = html.matches(&format!("<{tag}>")).count()
                + html.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }
}

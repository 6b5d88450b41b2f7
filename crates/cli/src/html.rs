//! Self-contained pages, light or dark as the reader's system is.

use std::fmt::Write;

const STYLE: &str = include_str!("page.css");

/// A page from its start to its facts; [`close`] ends it. `lead` is HTML, all else is text.
pub fn open(title: &str, lead: &str, facts: &[(String, String)]) -> String {
    let title = escape(title);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n<main>\n\
         <header><h1>{title}</h1>\n<p class=\"lead\">{lead}</p></header>\n"
    );
    html.push_str("<dl class=\"facts\">\n");
    for (name, value) in facts {
        let _ = writeln!(html, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
    }
    html.push_str("</dl>\n");
    html
}

/// Notes, and the page's end.
pub fn close(html: &mut String, notes: &[String]) {
    html.push_str("<section><h2>How the figures were taken</h2>\n<ul>\n");
    for note in notes {
        let _ = writeln!(html, "<li>{}</li>", escape(note));
    }
    html.push_str("</ul></section>\n</main>\n</html>\n");
}

/// A section with a table: the first column is names, the others figures.
pub fn table(html: &mut String, title: &str, head: &[&str], rows: &[Vec<String>]) {
    let _ = write!(
        html,
        "<section><h2>{}</h2>\n<div class=\"scroll\"><table>\n<thead><tr>",
        escape(title)
    );
    for name in head {
        let _ = write!(html, "<th>{}</th>", escape(name));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        html.push_str("<tr>");
        for (i, cell) in row.iter().enumerate() {
            let tag = if i == 0 { "th" } else { "td" };
            let _ = write!(html, "<{tag}>{}</{tag}>", escape(cell));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div></section>\n");
}

/// Text for an HTML or SVG element.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

//! Generated parts of hand-written files: the text between `<!-- begin NAME -->` and
//! `<!-- end NAME -->`.

use crate::error::{Result, failed};

/// `text` with what stands between the marks of `name` replaced.
pub fn replace(text: &str, name: &str, with: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- begin {name} -->"), format!("<!-- end {name} -->"));
    let (Some(from), Some(to)) = (text.find(&begin), text.find(&end)) else {
        return failed(format!("the marks `{begin}` and `{end}` are missing"));
    };
    let from = from + begin.len();
    if from > to {
        return failed(format!("`{end}` stands before `{begin}`"));
    }
    Ok(format!("{}\n{}\n{}", &text[..from], with.trim_end(), &text[to..]))
}

#[cfg(test)]
mod tests {
    use super::replace;

    #[test]
    fn replaces_only_between_the_marks() {
        let text = "a\n<!-- begin t -->\nold\n<!-- end t -->\nb\n";
        let new = replace(text, "t", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- begin t -->\nnew\n<!-- end t -->\nb\n");
        assert_eq!(replace(&new, "t", "new").unwrap(), new);
        assert!(replace(text, "u", "").is_err());
    }
}

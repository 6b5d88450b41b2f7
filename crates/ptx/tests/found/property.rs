//! What holds for every text; the fuzz target `parse` tries it on arbitrary ones.

use quickpick_ptx::parse;

/// A text is refused, or what was read prints and reads back as itself.
pub fn reads_back(text: &str) {
    if let Ok(module) = parse(text) {
        let printed = module.to_string();
        assert_eq!(parse(&printed), Ok(module), "printed:\n{printed}");
    }
}

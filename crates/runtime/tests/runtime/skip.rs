//! Tests that need a device.

/// The backend, or `None`, said loudly; a failure where `QUICKPICK_REQUIRE` names the rung.
pub fn unless_open<B>(rung: &str, opened: quickpick::Result<B>) -> Option<B> {
    if let Err(why) = &opened {
        let required = std::env::var("QUICKPICK_REQUIRE").unwrap_or_default();
        let must = required.split(',').any(|word| word.trim() == rung || word.trim() == "all");
        assert!(!must, "QUICKPICK_REQUIRE={required}, and {why}");
        eprintln!("skipped: {rung}: {why}");
    }
    opened.ok()
}

//! Tests that need an adapter.

/// The wgpu backend, or `None`, said loudly; a failure where `QUICKPICK_REQUIRE` names `wgpu`.
pub fn wgpu() -> Option<quickpick::Wgpu> {
    match quickpick::Wgpu::open() {
        Ok(wgpu) => Some(wgpu),
        Err(why) => {
            let required = std::env::var("QUICKPICK_REQUIRE").unwrap_or_default();
            let must =
                required.split(',').any(|rung| rung.trim() == "wgpu" || rung.trim() == "all");
            assert!(!must, "QUICKPICK_REQUIRE={required}, and {why}");
            eprintln!("skipped: wgpu: {why}");
            None
        }
    }
}

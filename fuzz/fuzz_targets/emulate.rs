//! Arbitrary programs, as far as they parse: run to an end, a trap, or out of a budget.
#![no_main]

#[path = "../../crates/emulator/tests/found/property.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        property::ends(text, property::CASES[bytes.len() % property::CASES.len()]);
    }
});

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    quickpick_fuzz::mutate(data, size, max_size, seed)
});

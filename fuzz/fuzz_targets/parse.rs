//! Arbitrary bytes as PTX: refused, or read, printed and read back as themselves.
#![no_main]

#[path = "../../crates/ptx/tests/found/property.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        property::reads_back(text);
    }
});

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    quickpick_fuzz::mutate(data, size, max_size, seed)
});

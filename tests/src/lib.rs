//! Tests across crates: golden, emulate, parity, attack

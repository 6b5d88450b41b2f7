//! Runs PTX on a CPU, stricter than hardware

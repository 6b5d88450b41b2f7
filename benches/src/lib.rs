//! Benchmarks: shapes as data, rivals, records

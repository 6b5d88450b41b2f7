//! A small Llama-style byte-level decoder: train, prune, generate on any backend

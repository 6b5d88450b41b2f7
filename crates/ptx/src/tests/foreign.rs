//! What others write.

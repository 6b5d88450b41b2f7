//! Folders that go with the test.

use std::fs;
use std::path::PathBuf;

/// A folder for temporary files, gone with this.
#[derive(Debug)]
pub struct TempDir(pub PathBuf);

impl TempDir {
    /// One of this process.
    ///
    /// Errors: the system's.
    pub fn new(name: &str) -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("quickpick-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|why| format!("{}: {why}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // what is left lies among temporary files
    }
}

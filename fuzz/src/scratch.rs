//! A folder for inputs that are read from files; each thread has one, which stays for all of its inputs.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder that goes when this does.
pub struct Scratch(TempDir);

impl Scratch {
    /// An empty folder, in memory where the system has such a place.
    ///
    /// # Panics
    /// If none can be made.
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        Self(folder.expect("a temporary folder can be made"))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, and the folders above it.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).expect("a folder can be made");
        }
        std::fs::write(&path, bytes).expect("a file can be written");
        path
    }

    /// Removes all that is in it.
    ///
    /// # Panics
    /// If something cannot be removed.
    pub fn clear(&self) {
        for entry in std::fs::read_dir(self.path()).expect("the folder can be read").flatten() {
            let path = entry.path();
            let removed =
                if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.expect("what was written can be removed");
        }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// Calls `work` with this thread's folder, empty.
pub fn with<T>(work: impl FnOnce(&Scratch) -> T) -> T {
    thread_local! {
        static SCRATCH: Scratch = Scratch::new();
    }
    SCRATCH.with(|scratch| {
        scratch.clear();
        work(scratch)
    })
}

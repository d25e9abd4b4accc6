//! Files are read whole, within a bound; and results become files, named so that no two collide and written whole
//! or not at all.
//!
//! A file is written under a temporary name beside its place and then renamed, so that a reader sees the
//! old file or the new one and an interrupted run leaves nothing half-written. That guards against crashes
//! of the program, not of the machine: nothing waits for the disk.

mod escape;
mod mark;
mod names;
mod pictures;
mod read;
mod write;

pub use escape::{escaped, unescaped};
pub use mark::{SOFTWARE, is_own_png};
pub use names::{Names, path_of, slug};
pub use pictures::{png, save_indexed_png, save_npy, save_png};
pub use read::read_bounded;
pub use write::{prepare_folder, remove_leftovers, write_atomically};

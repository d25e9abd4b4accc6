//! Files are read whole, within a bound; and results become files, named so that no two collide and written whole
//! or not at all.
//!
//! A file is written without a name, or under a temporary one beside its place, and named when its contents are on the
//! disk: a reader sees the old file or the new one, a run that is interrupted leaves nothing half-written, and after a
//! power cut there is no file without its contents. Whether the name itself survives a power cut is up to the file
//! system until [`sync_folder`] returns.

mod escape;
mod interrupt;
mod layer;
mod mark;
mod names;
mod pictures;
mod read;
mod target;
mod temporary;
mod write;

pub use escape::{escaped, serialize_path, unescaped};
pub use interrupt::{Leftover, Registered, stop_writing, uninterrupted};
pub use mark::{SOFTWARE, is_own_png};
pub use names::{Names, path_of, shown, slug};
pub use pictures::{npy, png, save_indexed_png, save_npy, save_png};
pub use read::{read_bounded, read_npy};
pub use target::Target;
pub use temporary::remove_leftovers;
pub use write::{Output, open_stream, prepare_folder, sync_folder, write_atomically};

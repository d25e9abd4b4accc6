//! Loading: a name in, a ready model out.

pub mod source;

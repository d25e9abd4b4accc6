//! What maintainers run: `cargo xtask`.

fn main() {}

//! Chainable setters for options: the structs can get new fields without breaking those who make them.

/// Gives a struct one setter per field, each of which returns the struct: `setters!(PhotoOptions { pixel_limit: u64 });`.
///
/// The struct is `#[non_exhaustive]`: outside its crate it is made by `default()` and these.
#[macro_export]
macro_rules! setters {
    ($type:ident { $($field:ident: $kind:ty),+ $(,)? }) => {
        impl $type {
            $(
                #[doc = concat!("The same with another [`", stringify!($field), "`](Self#structfield.", stringify!($field), ").")]
                #[must_use]
                pub fn $field(mut self, $field: $kind) -> Self {
                    self.$field = $field;
                    self
                }
            )+
        }
    };
}

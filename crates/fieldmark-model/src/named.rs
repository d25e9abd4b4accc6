//! Choices that have names: an enum's names are listed once, and serve the command line, the JSON and messages.

/// A choice among values that have names.
///
/// [`named!`](crate::named!) implements it, together with `Display`, `FromStr` and serde's two traits, all by the same
/// names.
pub trait Named: Copy + PartialEq + Send + Sync + 'static {
    /// What is chosen, as messages call it: the option of the command line, where there is one.
    const CHOICE: &'static str;

    /// Every value, in the order in which they are listed.
    const ALL: &'static [Self];

    /// The names of [`ALL`](Self::ALL), in the same order.
    const NAMES: &'static [&'static str];

    /// The name on the command line and in results.
    fn name(self) -> &'static str;

    /// The value of that name.
    fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|value| value.name() == name)
    }
}

/// Alternatives in words: `a`, `a or b`, `a, b or c`.
pub fn alternatives(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [others @ .., last] => format!("{} or {last}", others.join(", ")),
    }
}

/// Gives the values of an enum their names: `named!(Fit, "fit", Whole => "whole", Crop => "crop");`.
///
/// The string after the type is [`Named::CHOICE`]. The values are listed in the order of [`Named::ALL`]; a value that is
/// left out does not compile.
#[macro_export]
macro_rules! named {
    ($type:ident, $choice:literal, $($value:ident => $name:literal),+ $(,)?) => {
        #[allow(unreachable_pub, reason = "the type may be private")]
        impl $type {
            /// Every value, in the order in which they are listed.
            pub const ALL: &'static [Self] = &[$(Self::$value),+];

            /// Their names, in the same order.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// The name on the command line and in results.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$value => $name),+ }
            }
        }

        impl $crate::named::Named for $type {
            const CHOICE: &'static str = $choice;
            const ALL: &'static [Self] = Self::ALL;
            const NAMES: &'static [&'static str] = Self::NAMES;

            fn name(self) -> &'static str {
                $type::name(self)
            }
        }

        #[cfg(feature = "schema")]
        impl ::schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                ::schemars::json_schema!({"type": "string", "enum": Self::NAMES})
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, formatter: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                formatter.pad($type::name(*self))
            }
        }

        impl ::std::str::FromStr for $type {
            type Err = $crate::Error;

            fn from_str(text: &str) -> ::std::result::Result<Self, Self::Err> {
                <Self as $crate::named::Named>::find(text).ok_or_else(|| $crate::Error::Option {
                    option: $choice,
                    reason: format!("expected {}, found {text:?}", $crate::named::alternatives(Self::NAMES)),
                })
            }
        }

        impl ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> ::std::result::Result<S::Ok, S::Error> {
                serializer.serialize_str($type::name(*self))
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> ::std::result::Result<Self, D::Error> {
                let name = <::std::borrow::Cow<'_, str> as ::serde::Deserialize>::deserialize(deserializer)?;
                name.parse().map_err(::serde::de::Error::custom)
            }
        }
    };
}

/// Makes a type's JSON its text: what `Display` writes and `FromStr` reads.
#[macro_export]
macro_rules! as_text {
    ($type:ident) => {
        #[cfg(feature = "schema")]
        impl ::schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                ::schemars::json_schema!({"type": "string"})
            }
        }

        impl ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::std::result::Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::std::result::Result<Self, D::Error> {
                let text = <::std::borrow::Cow<'_, str> as ::serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(::serde::de::Error::custom)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Bird {
        Sparrow,
        RedWing,
        Wren,
    }

    named!(Bird, "bird", Sparrow => "sparrow", RedWing => "red-wing", Wren => "wren");

    #[test]
    fn names_are_read_as_they_are_written() {
        assert_eq!(Bird::NAMES, ["sparrow", "red-wing", "wren"]);
        for bird in Bird::ALL {
            assert_eq!(bird.to_string().parse::<Bird>().unwrap(), *bird);
            let json = serde_json::to_string(bird).unwrap();
            assert_eq!(json, format!("\"{bird}\""));
            assert_eq!(serde_json::from_str::<Bird>(&json).unwrap(), *bird);
        }
        assert_eq!(format!("{:>8}|", Bird::RedWing), "red-wing|");
        assert_eq!(format!("{:<8}|", Bird::Wren), "wren    |");
    }

    #[test]
    fn an_unknown_name_is_refused_with_those_that_are_known() {
        let expected = "bird: expected sparrow, red-wing or wren, found \"Wren\"";
        assert_eq!("Wren".parse::<Bird>().unwrap_err().to_string(), expected);
        let error = serde_json::from_str::<Bird>("\"Wren\"").unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
        // Escapes, and a reader that owns its text.
        assert_eq!(serde_json::from_str::<Bird>(r#""wr\u0065n""#).unwrap(), Bird::Wren);
        assert_eq!(serde_json::from_value::<Bird>("wren".into()).unwrap(), Bird::Wren);
        assert!(serde_json::from_str::<Bird>("1").is_err());
    }

    #[test]
    fn alternatives_read_as_a_sentence() {
        assert_eq!(alternatives(&[]), "");
        assert_eq!(alternatives(&["a"]), "a");
        assert_eq!(alternatives(&["a", "b"]), "a or b");
        assert_eq!(alternatives(&["a", "b", "c"]), "a, b or c");
    }
}

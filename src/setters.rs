//! Setters of configurations, which gain fields from version to version.

/// Adds a method for each field that sets it and returns the rest unchanged.
macro_rules! setters {
    ($($field:ident: $value:ty),* $(,)?) => {$(
        #[doc = concat!(
            "Sets [`", stringify!($field), "`](Self#structfield.", stringify!($field), ")."
        )]
        #[must_use]
        pub fn $field(mut self, $field: $value) -> Self {
            self.$field = $field.into();
            self
        }
    )*};
}

pub(crate) use setters;

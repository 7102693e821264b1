//! Metrics in the text format of Prometheus, version 0.0.4.

mod event_loop;
mod text;

pub(crate) use event_loop::write_loop;
pub(crate) use text::Samples;

/// The content type of metrics.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A family of samples. `W` writes them.
pub(crate) struct Family<W> {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) help: &'static str,
    pub(crate) write: W,
}

/// Writes families. `call` calls the function of each.
pub(crate) fn write_families<W>(
    text: &mut String,
    families: &[Family<W>],
    call: impl Fn(&W, &mut Samples<'_>),
) {
    for family in families {
        let mut samples = Samples::begin(text, family.name, family.kind, family.help);
        call(&family.write, &mut samples);
    }
}

/// A table of families. A row is `kind "name", "help": |out, figures| samples;`.
macro_rules! families {
    ($($kind:ident $name:literal, $help:literal: $write:expr;)*) => {
        &[$($crate::metrics::Family {
            name: $name,
            kind: stringify!($kind),
            help: $help,
            write: $write,
        }),*]
    };
}
pub(crate) use families;

//! The text format: families of samples, each with its help and type.

use std::fmt::{self, Display, Write};

use super::figures::Figures;
use crate::distributor::Histogram;

/// A family of samples, and how they are read.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) help: &'static str,
    pub(super) write: fn(&mut Samples<'_>, &Figures<'_>),
}

impl Family {
    /// Appends the family to `text`.
    pub(super) fn write(&self, text: &mut String, figures: &Figures<'_>) {
        let Family {
            name, kind, help, ..
        } = self;
        let mut samples = Samples { name, text };
        samples.line(format_args!("# HELP {name} {help}"));
        samples.line(format_args!("# TYPE {name} {kind}"));
        (self.write)(&mut samples, figures);
    }
}

/// Writes the samples of one family.
pub(super) struct Samples<'t> {
    name: &'static str,
    text: &'t mut String,
}

impl Samples<'_> {
    /// Writes the only sample of a family.
    pub(super) fn one(&mut self, value: impl Display) {
        let name = self.name;
        self.line(format_args!("{name} {value}"));
    }

    /// Writes a sample for each value of a label.
    pub(super) fn each<'l, V: Display>(
        &mut self,
        label: &str,
        values: impl IntoIterator<Item = (&'l str, V)>,
    ) {
        let name = self.name;
        for (of, value) in values {
            let of = escape(of);
            self.line(format_args!("{name}{{{label}=\"{of}\"}} {value}"));
        }
    }

    pub(super) fn buckets(&mut self, histogram: Option<&Histogram>) {
        let Some(histogram) = histogram else {
            return;
        };
        let (name, count) = (self.name, histogram.count);
        for (bound, count) in histogram.cumulative() {
            let bound = bound.as_secs_f64();
            self.line(format_args!("{name}_bucket{{le=\"{bound}\"}} {count}"));
        }
        self.line(format_args!("{name}_bucket{{le=\"+Inf\"}} {count}"));
        let sum = histogram.sum.as_secs_f64();
        self.line(format_args!("{name}_sum {sum}"));
        self.line(format_args!("{name}_count {count}"));
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // A `String` returns no errors.
        let _ = writeln!(self.text, "{line}");
    }
}

/// Escapes the value of a label.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_labels() {
        let mut text = String::new();
        let mut samples = Samples {
            name: "a",
            text: &mut text,
        };
        samples.each("b", [("c\"d\\e\nf", 1), ("g", 2)]);
        assert_eq!(text, "a{b=\"c\\\"d\\\\e\\nf\"} 1\na{b=\"g\"} 2\n");
    }
}

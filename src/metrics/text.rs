//! The text format: families of samples, each with its help and type.

use std::fmt::{self, Display, Write};

use crate::histogram::Histogram;

/// Writes the samples of one family.
pub(crate) struct Samples<'t> {
    name: &'static str,
    text: &'t mut String,
}

impl Samples<'_> {
    /// Writes the help and the type of a family.
    pub(super) fn begin<'t>(
        text: &'t mut String,
        name: &'static str,
        kind: &str,
        help: &str,
    ) -> Samples<'t> {
        let mut samples = Samples { name, text };
        samples.line(format_args!("# HELP {name} {help}"));
        samples.line(format_args!("# TYPE {name} {kind}"));
        samples
    }

    /// Writes the only sample of a family.
    pub(crate) fn one(&mut self, value: impl Display) {
        let name = self.name;
        self.line(format_args!("{name} {value}"));
    }

    /// Writes a sample for each value of a label.
    pub(crate) fn each<'l, V: Display>(
        &mut self,
        label: &str,
        values: impl IntoIterator<Item = (&'l str, V)>,
    ) {
        let name = self.name;
        for (label_value, value) in values {
            let quoted = escape(label_value);
            self.line(format_args!("{name}{{{label}=\"{quoted}\"}} {value}"));
        }
    }

    /// Writes the samples of a histogram.
    pub(crate) fn buckets(&mut self, histogram: Option<&Histogram>) {
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
        // Writing to a `String` never fails.
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

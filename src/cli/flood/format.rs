//! Figures as people read them.

use clap::ValueEnum;
use serde::Serialize;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    Seconds,
    Bytes,
    Count,
    PerSecond,
}

impl Unit {
    pub(crate) fn format(self, value: f64) -> String {
        const SECONDS: [(f64, &str); 4] = [(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")];
        const KIB: f64 = 1024.0;
        const BYTES: [(f64, &str); 4] = [
            (KIB * KIB * KIB, "GiB"),
            (KIB * KIB, "MiB"),
            (KIB, "KiB"),
            (1.0, "B"),
        ];
        match self {
            Unit::Seconds => scaled(value, SECONDS),
            Unit::Bytes => scaled(value, BYTES),
            Unit::Count => plain(value),
            Unit::PerSecond => format!("{}/s", plain(value)),
        }
    }
}

pub(crate) fn ratio(value: f64) -> String {
    if value.is_infinite() {
        "∞".to_owned()
    } else {
        format!("{value:.2}×")
    }
}

/// Uses the largest unit that leaves a digit before the point, or the smallest one.
fn scaled(value: f64, units: [(f64, &str); 4]) -> String {
    let [.., smallest] = units;
    let fitting = units.into_iter().find(|(size, _)| value.abs() >= *size);
    let (size, unit) = fitting.unwrap_or(smallest);
    format!("{} {unit}", plain(value / size))
}

fn plain(value: f64) -> String {
    // What is whole but for rounding is whole.
    let is_whole = (value - value.round()).abs() < 1e-9;
    let digits = match value.abs() {
        size if is_whole || size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

/// What a value is called on the command line.
pub(crate) fn name_of(value: impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_their_units() {
        for (unit, value, text) in [
            (Unit::Seconds, 0.0, "0 ns"),
            (Unit::Seconds, 0.000_012_34, "12.3 µs"),
            (Unit::Seconds, 0.25, "250 ms"),
            (Unit::Seconds, 61.0, "61 s"),
            (Unit::Bytes, 512.0, "512 B"),
            (Unit::Bytes, 1536.0, "1.50 KiB"),
            (Unit::Bytes, 3_145_728.0, "3 MiB"),
            (Unit::Count, 2.333, "2.33"),
            (Unit::PerSecond, 12_345.6, "12346/s"),
        ] {
            assert_eq!(unit.format(value), text);
        }
        assert_eq!(ratio(1.2345), "1.23×");
    }
}

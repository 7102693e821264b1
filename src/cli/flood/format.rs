//! Figures as people read them.

use serde::Serialize;

/// What a figure counts.
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
        match self {
            Unit::Seconds => scaled(
                value * 1e9,
                &[(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")],
            ),
            Unit::Bytes => {
                const KIB: f64 = 1024.0;
                let units = [
                    (KIB * KIB * KIB, "GiB"),
                    (KIB * KIB, "MiB"),
                    (KIB, "KiB"),
                    (1.0, "B"),
                ];
                scaled(value, &units)
            }
            Unit::Count => plain(value),
            Unit::PerSecond => format!("{}/s", plain(value)),
        }
    }
}

pub(crate) fn ratio(value: f64) -> String {
    match value.is_infinite() {
        true => "∞".to_owned(),
        false => format!("{value:.2}×"),
    }
}

/// In the largest unit that leaves something before the point, with about three digits.
fn scaled(value: f64, units: &[(f64, &str)]) -> String {
    let fitting = units.iter().find(|(size, _)| value.abs() >= *size);
    let Some((size, unit)) = fitting.or(units.last()) else {
        return plain(value);
    };
    format!("{} {unit}", plain(value / size))
}

fn plain(value: f64) -> String {
    let digits = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
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

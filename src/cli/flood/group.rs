//! Groups of figures by what they measure.

use serde::Serialize;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Group {
    Latency,
    Throughput,
    Traffic,
    Cpu,
    Memory,
    Counts,
}

impl Group {
    /// All groups, in the order of the page.
    pub(crate) const ALL: [Group; 6] = [
        Group::Latency,
        Group::Throughput,
        Group::Traffic,
        Group::Cpu,
        Group::Memory,
        Group::Counts,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Group::Latency => "Latency",
            Group::Throughput => "Throughput",
            Group::Traffic => "Traffic",
            Group::Cpu => "Server CPU",
            Group::Memory => "Server memory",
            Group::Counts => "Counts",
        }
    }
}

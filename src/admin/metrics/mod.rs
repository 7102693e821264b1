//! Metrics in the text format of Prometheus, version 0.0.4.

mod cache;
mod families;
mod figures;
mod text;

pub(super) use cache::Cache;
pub(super) use figures::Figures;

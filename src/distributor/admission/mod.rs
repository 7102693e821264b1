//! Admission: which peers may register and are sent the list.

mod access;
mod address_range;
mod token_mark;
mod tokens;

pub use access::Access;
pub(crate) use access::{Admission, not_admitted};
pub use address_range::AddressRange;
pub(crate) use token_mark::{Salt, TokenMark};
pub use tokens::Tokens;

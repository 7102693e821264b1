//! The bytes of which the parts of a message consist (RFC 9110, RFC 3986). Pure.

/// Returns whether a byte may be part of a method or of a header's name.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Returns whether a byte may be part of a header's value.
pub(super) fn is_field_value(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

/// Returns whether this is the name and the value of one header.
pub(super) fn is_header(name: &[u8], value: &[u8]) -> bool {
    let is_name = !name.is_empty() && name.iter().copied().all(is_token);
    is_name && value.iter().copied().all(is_field_value)
}

/// Returns whether a byte may be part of a host and a port.
pub(super) fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+;=".contains(&byte)
}

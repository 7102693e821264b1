//! HTTP statuses of replies with an errorcode.

/// Returns the status for the errorcode of a reply.
pub(super) fn status_of(errorcode: i64) -> u16 {
    // Codes from 100 belong to services, which may use those of HTTP.
    match errorcode {
        0 => 200,
        1 | 3 => 400,
        2 => 404,
        4 => 413,
        5 => 403,
        6 => 503,
        7 => 504,
        400..=599 => u16::try_from(errorcode).unwrap_or(500),
        100.. => 422,
        _ => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ErrorCode;

    #[test]
    fn each_errorcode_has_a_status() {
        for (code, status) in [
            (ErrorCode::Success, 200),
            (ErrorCode::InvalidParameters, 400),
            (ErrorCode::NotFound, 404),
            (ErrorCode::NotAnObject, 400),
            (ErrorCode::TooMuch, 413),
            (ErrorCode::NotAllowed, 403),
            (ErrorCode::Busy, 503),
            (ErrorCode::DeadlinePassed, 504),
            (ErrorCode::Internal, 500),
        ] {
            assert_eq!(status_of(code.into()), status, "{code:?}");
        }
        for (code, status) in [
            (-1, 500),
            (9, 500),
            (99, 500),
            (100, 422),
            (200, 422),
            (399, 422),
            (400, 400),
            (409, 409),
            (599, 599),
            (600, 422),
            (i64::MAX, 422),
            (i64::MIN, 500),
        ] {
            assert_eq!(status_of(code), status, "{code}");
        }
    }
}

//! Failed HTTP requests in words.

use std::io;

use crate::cli::failure::reason;

const LOOKUP: &str = "failed to lookup address information: ";

/// Returns whether the name has no address.
pub(crate) fn is_lookup(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => reason(error).starts_with(LOOKUP),
        ureq::Error::HostNotFound => true,
        _ => false,
    }
}

/// Formats a failed request.
pub(crate) fn describe(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            format!("invalid response: {}", reason(error))
        }
        ureq::Error::Io(error)
            if matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
            ) =>
        {
            "connection closed without a response; it may be the port for nodes".to_owned()
        }
        ureq::Error::Io(error) => {
            let why = reason(error);
            match why.strip_prefix(LOOKUP) {
                Some(why) => format!("cannot resolve the name: {why}"),
                None => format!("cannot connect: {why}"),
            }
        }
        ureq::Error::HostNotFound => "cannot resolve the name: it has no address".to_owned(),
        ureq::Error::ConnectionFailed => "cannot connect".to_owned(),
        ureq::Error::StatusCode(status) => format!("status {status}"),
        ureq::Error::Timeout(_) => "no response in time".to_owned(),
        ureq::Error::Protocol(_) => {
            "the response is not HTTP; it may be the port for nodes".to_owned()
        }
        other => format!("the request failed: {other}"),
    }
}

//! Errors of attempts, and the one table that decides whose fault each of them is.

use std::time::Duration;

/// A failed attempt. The reason is for operators and contains no secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ActionError {
    pub fault: Fault,
    pub reason: String,
    /// The target's minimum wait, as in the HTTP header.
    pub retry_after: Option<Duration>,
}

/// The side at fault. It decides what follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The target works and refuses this event. The event is dead-lettered at once.
    Event,
    /// The action cannot be rendered, encoded or signed for this event. The event is
    /// dead-lettered at once; the failure says nothing about the target.
    Handler,
    /// The target failed this attempt. Consecutive failures open the circuit.
    Target,
    /// The target fails every attempt: unreachable, read-only, or the handler's credentials are
    /// refused. The circuit opens at once.
    TargetDown,
}

/// What went wrong in an attempt, in terms of its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure<'a> {
    /// A template does not render for the event, or a token cannot be signed.
    NotRendered,
    /// A rendered value cannot be encoded in the protocol, or the target lacks the extension
    /// that it needs.
    NotEncoded,
    /// No connection: DNS, TCP, TLS, or a server without the required encryption or
    /// authentication.
    NotConnected,
    /// The response did not arrive in time.
    TimedOut,
    /// The connection broke, or the response cannot be parsed.
    Interrupted,
    /// An HTTP response that is no success.
    Http { status: u16 },
    /// An HTTP response with an error code of OAuth 2.0 (RFC 6749, section 5.2; RFC 7009), or
    /// of security event delivery (RFC 8935, section 2.4).
    HttpCode { status: u16, code: &'a str },
    /// An SMTP reply (RFC 5321, RFC 4954).
    Smtp { code: u16 },
    /// The first word of a Redis error.
    Redis { code: &'a str },
}

impl Failure<'_> {
    /// The side at fault. Wrong guesses correct themselves: an event that keeps failing while
    /// others succeed uses up its attempts, and one that was refused can be redriven.
    #[must_use]
    pub fn fault(self) -> Fault {
        match self {
            Self::NotRendered | Self::NotEncoded => Fault::Handler,
            Self::NotConnected => Fault::TargetDown,
            Self::TimedOut | Self::Interrupted => Fault::Target,
            Self::Http { status } => http_fault(status),
            Self::HttpCode { status, code } => match code {
                "invalid_client"
                | "unauthorized_client"
                | "authentication_failed"
                | "access_denied"
                | "invalid_key"
                | "invalid_issuer"
                | "invalid_audience" => Fault::TargetDown,
                "temporarily_unavailable" | "server_error" => Fault::Target,
                _ => http_fault(status),
            },
            Self::Smtp { code } => match code {
                // RFC 4954: authentication is missing, too weak or rejected. RFC 7504: the host
                // takes no mail.
                454 | 521 | 530 | 534 | 535 | 538 => Fault::TargetDown,
                500..=599 => Fault::Event,
                _ => Fault::Target,
            },
            Self::Redis { code } => match code {
                // The session's key has another type or serialization.
                "WRONGTYPE" | "SERIALIZER" => Fault::Event,
                // MOVED and ASK: a node of a cluster, and the action lacks `cluster: true`.
                "READONLY" | "NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED" | "MOVED" | "ASK" => {
                    Fault::TargetDown
                }
                // Deletions give the server no other reason to refuse a key: it is loading, busy,
                // full, has too many clients, or lacks the command.
                _ => Fault::Target,
            },
        }
    }
}

/// The side at fault of a status that is no success. Redirects are not followed: they belong to
/// the URL, not to the event.
fn http_fault(status: u16) -> Fault {
    match status {
        401 | 403 | 407 => Fault::TargetDown,
        408 | 425 | 429 => Fault::Target,
        400..=499 => Fault::Event,
        _ => Fault::Target,
    }
}

impl Fault {
    /// The name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Handler => "handler",
            Self::Target => "target",
            Self::TargetDown => "target_down",
        }
    }

    /// Whether the target rather than the event or the handler is at fault.
    #[must_use]
    pub fn is_target(self) -> bool {
        matches!(self, Self::Target | Self::TargetDown)
    }
}

impl ActionError {
    /// Creates the error of a failure; `reason` is for operators.
    pub fn new(failure: Failure<'_>, reason: impl Into<String>) -> Self {
        Self {
            fault: failure.fault(),
            reason: reason.into(),
            retry_after: None,
        }
    }

    /// Sets the target's minimum wait.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        Self {
            retry_after,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_statuses_are_the_events_fault_only_where_the_target_works() {
        for (statuses, fault) in [
            (&[401, 403, 407][..], Fault::TargetDown),
            (&[408, 425, 429, 500, 502, 503, 504, 302], Fault::Target),
            (&[400, 404, 405, 409, 410, 413, 422], Fault::Event),
        ] {
            for &status in statuses {
                assert_eq!(Failure::Http { status }.fault(), fault, "{status}");
            }
        }
    }

    #[test]
    fn an_error_code_outweighs_the_status() {
        for (status, code, fault) in [
            (400, "invalid_client", Fault::TargetDown),
            (401, "invalid_client", Fault::TargetDown),
            (400, "unauthorized_client", Fault::TargetDown),
            (400, "authentication_failed", Fault::TargetDown),
            (400, "invalid_issuer", Fault::TargetDown),
            (400, "invalid_audience", Fault::TargetDown),
            (400, "temporarily_unavailable", Fault::Target),
            (400, "server_error", Fault::Target),
            (400, "invalid_request", Fault::Event),
            (400, "unsupported_token_type", Fault::Event),
            (503, "unsupported_token_type", Fault::Target),
        ] {
            let failure = Failure::HttpCode { status, code };
            assert_eq!(failure.fault(), fault, "{status} {code}");
        }
    }

    #[test]
    fn mail_servers_that_refuse_the_login_are_down_and_unknown_addresses_are_the_events() {
        for (code, fault) in [
            (535, Fault::TargetDown),
            (454, Fault::TargetDown),
            (521, Fault::TargetDown),
            (421, Fault::Target),
            (450, Fault::Target),
            (550, Fault::Event),
            (553, Fault::Event),
        ] {
            assert_eq!(Failure::Smtp { code }.fault(), fault, "{code}");
        }
    }

    #[test]
    fn redis_refuses_an_event_only_if_its_key_is_of_another_kind() {
        for (code, fault) in [
            ("READONLY", Fault::TargetDown),
            ("NOAUTH", Fault::TargetDown),
            ("MOVED", Fault::TargetDown),
            ("LOADING", Fault::Target),
            ("MISCONF", Fault::Target),
            ("ERR", Fault::Target),
            ("WRONGTYPE", Fault::Event),
            ("SERIALIZER", Fault::Event),
        ] {
            assert_eq!(Failure::Redis { code }.fault(), fault, "{code}");
        }
    }
}

//! Pages of which origins may send events (the Fetch standard, CORS protocol).

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::problem::ApiProblem;

/// How long browsers may keep the answer to a preflight request.
const MAX_AGE: &str = "600";

/// The origin of a request, if it is sent by a page.
///
/// # Errors
/// If its pages may not send events.
pub fn check_origin<'a>(
    headers: &'a HeaderMap,
    allowed: &[String],
) -> Result<Option<&'a HeaderValue>, ApiProblem> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(None);
    };
    let is_allowed = allowed
        .iter()
        .any(|one| one.as_bytes() == origin.as_bytes());
    if is_allowed {
        return Ok(Some(origin));
    }
    let origin = String::from_utf8_lossy(origin.as_bytes()).into_owned();
    Err(ApiProblem::Forbidden(format!(
        "pages of the origin {origin} may not send events: pass --http-allowed-origin"
    )))
}

/// Answers a preflight request. Beacons of other types than text are sent with credentials.
pub fn preflight(headers: &HeaderMap, allowed: &[String]) -> Response {
    match check_origin(headers, allowed) {
        Ok(origin) => {
            let mut response = StatusCode::NO_CONTENT.into_response();
            let values = [
                (header::ACCESS_CONTROL_ALLOW_METHODS, "POST"),
                (
                    header::ACCESS_CONTROL_ALLOW_HEADERS,
                    "authorization, content-type",
                ),
                (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE),
            ];
            let values = values.map(|(name, value)| (name, HeaderValue::from_static(value)));
            response.headers_mut().extend(values);
            allow(response, origin)
        }
        Err(problem) => allow(problem.into_response(), None),
    }
}

/// Lets pages of `origin` read the response.
pub fn allow(mut response: Response, origin: Option<&HeaderValue>) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        let yes = HeaderValue::from_static("true");
        let shown: [(HeaderName, HeaderValue); 3] = [
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()),
            (header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes),
            (
                header::ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static("retry-after"),
            ),
        ];
        headers.extend(shown);
    }
    response
}

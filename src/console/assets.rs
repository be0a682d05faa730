//! Static files of the pages, embedded in the binary.

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

const FILES: [(&str, &str, &str); 3] = [
    (
        "console.css",
        "text/css; charset=utf-8",
        include_str!("assets/console.css"),
    ),
    (
        "console.js",
        "text/javascript; charset=utf-8",
        include_str!("assets/console.js"),
    ),
    (
        "favicon.svg",
        "image/svg+xml",
        include_str!("assets/favicon.svg"),
    ),
];

/// `GET /assets/{name}`
pub async fn serve(Path(name): Path<String>) -> Response {
    let file = FILES.iter().find(|(known, _, _)| *known == name);
    let Some((_, kind, text)) = file else {
        return Problem::NotFound(format!("there is no asset '{name}'")).into_response();
    };
    // A short lifetime, because another release may serve different files under these names.
    let headers = [
        (header::CONTENT_TYPE, *kind),
        (header::CACHE_CONTROL, "private, max-age=60"),
    ];
    (headers, *text).into_response()
}

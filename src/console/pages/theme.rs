//! The choice between the light and the dark theme, kept in a cookie.

use axum::extract::Form;
use axum::response::{Redirect, Response};
use serde::Deserialize;

use super::THEME_COOKIE;
use super::login::with_cookie;
use super::menu::DASHBOARD;

/// The body of `POST /theme`.
#[derive(Debug, Deserialize)]
pub struct ThemeForm {
    #[serde(default)]
    theme: String,
    /// Path of the page to return to.
    #[serde(default)]
    back: String,
}

/// `POST /theme`: requires neither the token nor JavaScript.
pub async fn set(Form(form): Form<ThemeForm>) -> Response {
    let theme = if form.theme == "dark" {
        "dark"
    } else {
        "light"
    };
    // Browsers resolve `//host` and `/\host` to another origin.
    let path = form.back.strip_prefix('/');
    let is_local = path.is_some_and(|rest| !rest.starts_with(['/', '\\']) && rest.is_ascii());
    let back = if is_local {
        form.back.as_str()
    } else {
        DASHBOARD.path
    };
    let cookie = format!("{THEME_COOKIE}={theme}; Path=/; Max-Age=31536000; SameSite=Strict");
    with_cookie(Redirect::to(back), &cookie)
}

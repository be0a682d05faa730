//! Proxies in front of the console: a base path, and what trusted proxies report about their clients.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::uri::{PathAndQuery, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;

use crate::http::server::PeerAddr;

/// Limit on a page whose links are changed, in bytes.
const MAX_PAGE_BYTES: usize = 64 << 20;
/// The attributes of the pages that hold links. Values are escaped, so that quotes only delimit
/// attributes.
const LINKS: [&str; 3] = [" href=\"/", " action=\"/", " src=\"/"];
/// What stands before the path in a `Refresh` header of the console.
pub const REFRESH_TO: &str = "0; url=";
/// Headers with the user of a proxy that authenticates, such as oauth2-proxy.
const USER_HEADERS: [&str; 4] = [
    "x-forwarded-email",
    "x-auth-request-email",
    "x-forwarded-user",
    "x-auth-request-user",
];
/// Limit on a user's name in audit records, in characters.
const MAX_USER_CHARS: usize = 200;

/// The path under which a proxy serves the console; empty for the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasePath(String);

impl FromStr for BasePath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.trim_end_matches('/');
        let is_safe = |letter: char| letter.is_ascii_alphanumeric() || "/-_.~".contains(letter);
        let is_path = path.starts_with('/') && !path.contains("//") && path.chars().all(is_safe);
        if path.is_empty() || is_path {
            Ok(Self(path.to_owned()))
        } else {
            Err("must be a path such as /sundown")
        }
    }
}

impl BasePath {
    /// Puts the base path before the links of a page.
    #[must_use]
    pub fn prefix_links(&self, page: String) -> String {
        if self.0.is_empty() {
            return page;
        }
        LINKS.iter().fold(page, |page, link| {
            let open = link.trim_end_matches('/');
            page.replace(link, &format!("{open}{}/", self.0))
        })
    }

    /// Removes the base path from the start of a request's path. Proxies that remove it themselves
    /// are served too.
    fn strip(&self, uri: &Uri) -> Option<Uri> {
        let path = uri.path_and_query()?.as_str().strip_prefix(&self.0)?;
        let path = match path.chars().next() {
            Some('/') => path.to_owned(),
            Some('?') | None => format!("/{path}"),
            // The path only begins like the base path.
            Some(_) => return None,
        };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::from_str(&path).ok()?);
        Uri::from_parts(parts).ok()
    }
}

/// The user of a request, as a trusted proxy names it.
#[derive(Clone, Debug)]
pub struct ForwardedUser(pub Arc<str>);

/// What the console knows of the proxies in front of it.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    pub base_path: BasePath,
    /// Whose `X-Forwarded-*` headers are believed.
    pub trusted: Vec<IpNet>,
}

/// Serves `router` behind these proxies.
pub fn behind(proxies: Proxies, router: Router) -> Router {
    Router::new()
        .fallback_service(router)
        .layer(middleware::from_fn_with_state(proxies, translate))
}

async fn translate(State(proxies): State<Proxies>, mut request: Request, next: Next) -> Response {
    let base = &proxies.base_path;
    if let Some(uri) = base.strip(request.uri()) {
        *request.uri_mut() = uri;
    }
    let peer = request.extensions().get::<PeerAddr>().copied();
    if let Some(PeerAddr(peer)) = peer.filter(|peer| proxies.trusts(peer.0.ip())) {
        let headers = request.headers();
        let client = proxies.client(headers).unwrap_or(peer.ip());
        let user = forwarded_user(headers);
        // The host and the origin that the browser knows.
        let host = headers.get("x-forwarded-host").cloned();
        let address = PeerAddr(SocketAddr::new(client, peer.port()));
        request.extensions_mut().insert(address);
        if let Some(user) = user {
            request.extensions_mut().insert(ForwardedUser(user.into()));
        }
        if let Some(host) = host {
            request.headers_mut().insert(header::HOST, host);
        }
    }
    let response = next.run(request).await;
    if base.0.is_empty() {
        response
    } else {
        base.translate(response).await
    }
}

impl BasePath {
    /// Puts the base path before the links, the redirections and the cookies' paths of a response.
    async fn translate(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        for (name, before) in [(header::LOCATION, ""), (header::REFRESH, REFRESH_TO)] {
            let target = headers.get(&name).and_then(|target| target.to_str().ok());
            let path = target.and_then(|target| target.strip_prefix(before));
            if let Some(path) = path.filter(|path| path.starts_with('/')) {
                // The base path and the target are valid header values.
                if let Ok(target) = HeaderValue::from_str(&format!("{before}{}{path}", self.0)) {
                    headers.insert(name, target);
                }
            }
        }
        let cookies: Vec<_> = headers
            .get_all(header::SET_COOKIE)
            .iter()
            .cloned()
            .collect();
        headers.remove(header::SET_COOKIE);
        for cookie in cookies {
            let text = cookie.to_str().unwrap_or_default();
            let text = text.replace("; Path=/;", &format!("; Path={};", self.0));
            headers.append(
                header::SET_COOKIE,
                HeaderValue::from_str(&text).unwrap_or(cookie),
            );
        }
        let kind = headers.get(header::CONTENT_TYPE);
        let is_page = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        if !is_page {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        let page = to_bytes(body, MAX_PAGE_BYTES).await;
        let Some(page) = page
            .ok()
            .and_then(|page| String::from_utf8(page.into()).ok())
        else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        parts.headers.remove(header::CONTENT_LENGTH);
        Response::from_parts(parts, Body::from(self.prefix_links(page)))
    }
}

impl Proxies {
    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted
            .iter()
            .any(|network| network.contains(&address))
    }

    /// The last address that a trusted proxy has seen and that is not a trusted proxy itself: earlier
    /// ones are claims of the client.
    fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let lists = headers.get_all("x-forwarded-for").into_iter();
        let lists = lists.filter_map(|list| list.to_str().ok());
        let addresses: Vec<_> = lists.flat_map(|list| list.split(',')).collect();
        let addresses = addresses.into_iter().rev();
        let mut addresses = addresses.map(|address| address.trim().parse::<IpAddr>().ok());
        addresses.find_map(|address| match address {
            Some(address) if self.trusts(address) => None,
            address => Some(address),
        })?
    }
}

fn forwarded_user(headers: &HeaderMap) -> Option<String> {
    let mut users = USER_HEADERS.iter().filter_map(|name| headers.get(*name));
    let user = users.find_map(|user| user.to_str().ok())?;
    (!user.is_empty()).then(|| user.chars().take(MAX_USER_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_prefixed_and_text_is_not() {
        let base: BasePath = "/sundown/".parse().unwrap();
        let page = r#"<a href="/health">/health</a><form action="/sessions"><input value="/x">"#;
        assert_eq!(
            base.prefix_links(page.to_owned()),
            r#"<a href="/sundown/health">/health</a><form action="/sundown/sessions"><input value="/x">"#
        );
        assert_eq!(BasePath::default().prefix_links(page.to_owned()), page);
        for wrong in ["sundown", "//evil", "/a\"b", "/a b"] {
            assert!(wrong.parse::<BasePath>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_base_path_is_removed_from_requests() {
        let base: BasePath = "/sundown".parse().unwrap();
        let stripped = |path: &str| {
            base.strip(&path.parse().unwrap())
                .map(|uri| uri.to_string())
        };
        assert_eq!(
            stripped("/sundown/health?a=b").as_deref(),
            Some("/health?a=b")
        );
        assert_eq!(stripped("/sundown").as_deref(), Some("/"));
        assert_eq!(stripped("/sundown?a=b").as_deref(), Some("/?a=b"));
        assert_eq!(stripped("/sundowner"), None);
        assert_eq!(stripped("/health"), None);
    }

    #[test]
    fn the_client_is_the_last_address_that_is_no_proxy() {
        let proxies = Proxies {
            base_path: BasePath::default(),
            trusted: vec!["10.0.0.0/8".parse().unwrap()],
        };
        let client = |list: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", HeaderValue::from_static(list));
            proxies.client(&headers).map(|address| address.to_string())
        };
        assert_eq!(
            client("192.0.2.9, 192.0.2.1, 10.1.1.1").as_deref(),
            Some("192.0.2.1")
        );
        assert_eq!(client("2001:db8::1").as_deref(), Some("2001:db8::1"));
        assert_eq!(client("192.0.2.9, unknown"), None);
        assert_eq!(client("10.1.1.1"), None);
    }
}

//! The recipes of `docs/how-to/choose-an-action.md` on the real products (`tests/third-party/`). Keycloak's are
//! beside the actions, and in [`idle_session`].

mod idle_session;
mod mail_server;
mod openid;
mod signals;
mod stores;

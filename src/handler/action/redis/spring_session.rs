//! `layout: spring-session-indexed`: ends a session of Spring Session's indexed repository
//! (`RedisIndexedSessionRepository`) as its `deleteById` does.
//!
//! Applications learn of the end from the keyspace event of the key `…:sessions:expires:ID`, and
//! then read the session's hash to publish a `SessionDeletedEvent` and to remove the session
//! from the index of its principal. So the hash has to survive that key, and must not be valid
//! any more.

use redis::{Cmd, RedisResult};

use super::connection::Session;
use crate::handler::action::error::ActionError;
use crate::handler::fields::Literal;
use crate::handler::template::{Template, TemplateContext};

const DEFAULT_NAMESPACE: &str = "spring:session";
const PRINCIPAL_INDEX: &str =
    "index:org.springframework.session.FindByIndexNameSessionRepository.PRINCIPAL_NAME_INDEX_NAME";

/// Sets the session's `maxInactiveInterval` to 0, so that it has expired, and keeps its hash for
/// five minutes, as Spring Session does. The value is a serialized `java.lang.Integer`, whose
/// last four bytes are its value, or a number in JSON.
const EXPIRE: &str = r"
local interval = redis.call('HGET', KEYS[1], 'maxInactiveInterval')
if not interval then return 0 end
local zero
if string.sub(interval, 1, 2) == '\172\237' then
  zero = string.sub(interval, 1, -5) .. '\0\0\0\0'
elseif string.match(interval, '^%-?%d+$') then
  zero = '0'
else
  return redis.error_reply('SERIALIZER maxInactiveInterval is neither Java nor JSON')
end
redis.call('HSET', KEYS[1], 'maxInactiveInterval', zero)
redis.call('PEXPIRE', KEYS[1], 300000)
return 1
";

/// A repository of Spring Session.
pub(super) struct SpringSessionIndexed {
    namespace: String,
    session: Template,
    principal: Option<Template>,
}

/// The keys of one session.
pub(super) struct SessionKeys {
    hash: String,
    expires: String,
    /// The set of the principal's sessions, and how this session may be a member of it.
    index: Option<(String, [Vec<u8>; 3])>,
}

impl SpringSessionIndexed {
    pub(super) fn new(
        namespace: Option<Literal>,
        session: Template,
        principal: Option<Template>,
    ) -> Self {
        let namespace = namespace.map(Literal::into_string);
        Self {
            namespace: namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
            session,
            principal,
        }
    }

    pub(super) fn keys(&self, context: &TemplateContext) -> Result<SessionKeys, ActionError> {
        let namespace = &self.namespace;
        let id = self.session.render(context)?;
        let principal = self.principal.as_ref();
        let principal = principal.map(|principal| principal.render(context));
        Ok(SessionKeys {
            hash: format!("{namespace}:sessions:{id}"),
            expires: format!("{namespace}:sessions:expires:{id}"),
            index: principal.transpose()?.map(|principal| {
                let key = format!("{namespace}:{PRINCIPAL_INDEX}:{principal}");
                (key, members(&id))
            }),
        })
    }
}

impl SessionKeys {
    /// Ends the session. Each command has one key: in a cluster, each may be on another node.
    pub(super) async fn delete(&self, session: &Session) -> RedisResult<()> {
        let expire = Cmd::new()
            .arg("EVAL")
            .arg(EXPIRE)
            .arg(1)
            .arg(&self.hash)
            .to_owned();
        session.query::<()>(&expire).await?;
        // Not UNLINK: older servers have keyspace events of DEL alone.
        let delete = Cmd::new().arg("DEL").arg(&self.expires).to_owned();
        session.query::<()>(&delete).await?;
        if let Some((index, members)) = &self.index {
            let remove = Cmd::new().arg("SREM").arg(index).arg(members).to_owned();
            session.query::<()>(&remove).await?;
        }
        Ok(())
    }
}

/// The id as Java serializes it, in JSON, and as text.
fn members(id: &str) -> [Vec<u8>; 3] {
    let mut java = b"\xac\xed\x00\x05t".to_vec();
    java.extend_from_slice(&u16::try_from(id.len()).unwrap_or(u16::MAX).to_be_bytes());
    java.extend_from_slice(id.as_bytes());
    let json = format!("\"{id}\"").into_bytes();
    [java, json, id.as_bytes().to_vec()]
}

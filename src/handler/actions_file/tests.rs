use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::super::actions_file::*;
use crate::handler::action::testing::signing_key;
use crate::handler::secret::{SecretError, SecretRef};

/// Loads a file with this text. Returns the names of its actions, or the error.
fn load(text: &str) -> Result<Vec<String>, String> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("actions.yaml");
    fs::write(&path, text).unwrap();
    let loaded = Actions::load(&path).map_err(|error| {
        let prefix = format!("{}: ", path.display());
        let message = error.to_string();
        message
            .strip_prefix(&prefix)
            .expect("the error starts with the file name")
            .to_owned()
    });
    let names = |actions: Actions| actions.list.iter().map(|a| a.name.to_string()).collect();
    loaded.map(names)
}

#[test]
fn the_documented_file_loads() {
    let folder = TempDir::new().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "hush\n").unwrap();
    let text = format!(
        "actions:
  - name: notify-backend
    type: webhook
    url: https://backend.example/sessions
    secret: {{valueFrom: {{file: {}}}}}
    timeout: 5s
  - name: audit
    type: log
    showIds: true
retry: {{attempts: 8, initialBackoff: 200ms, maxBackoff: 30s, total: 5m}}
",
        secret.display()
    );
    assert_eq!(load(&text).unwrap(), ["notify-backend", "audit"]);
}

#[test]
fn every_example_in_the_documentation_loads() {
    let pages = [
        include_str!("../../../docs/reference/actions.md"),
        include_str!("../../../docs/how-to/choose-an-action.md"),
    ];
    let folder = TempDir::new().unwrap();
    let mut documented = BTreeSet::new();
    let examples = pages.map(|page| page.split("```yaml\n").skip(1));
    for example in examples.into_iter().flatten() {
        let (text, _) = example.split_once("```").unwrap();
        // An environment variable that is always set, and key files that exist.
        let mut text = with_word_after(text, "env: ", "PATH");
        for algorithm in ["es256", "rs256"] {
            let name = algorithm.to_uppercase();
            signing_key(&folder, &name);
            let file = folder.path().join(format!("{name}.pem"));
            text = text.replace(&format!("{algorithm}.pem"), file.to_str().unwrap());
        }
        let lines = text.lines();
        let types = lines.filter_map(|line| line.trim().strip_prefix("type: "));
        documented.extend(types.map(str::to_owned));
        assert!(load(&text).is_ok_and(|names| !names.is_empty()), "{text}");
    }
    assert_eq!(
        documented.len(),
        7,
        "an example of each type: {documented:?}"
    );
}

/// Replaces every word after `mark`.
fn with_word_after(text: &str, mark: &str, word: &str) -> String {
    let mut parts = text.split(mark);
    let mut replaced = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find('}').expect("the word ends");
        replaced += &format!("{mark}{word}{}", &part[end..]);
    }
    replaced
}

/// Returns the error of a webhook whose valid lines are replaced or followed by these.
fn wrong_webhook(lines: &str) -> String {
    let mut fields = vec!["name: a", "type: webhook", "url: https://host"];
    fields.push("secret: {valueFrom: {env: PATH}}");
    for line in lines.lines() {
        let key = line.split(':').next().unwrap_or_default();
        fields.retain(|field| field.split(':').next() != Some(key));
        fields.push(line);
    }
    let text = format!("actions:\n- {}\n", fields.join("\n  "));
    load(&text).unwrap_err()
}

/// Returns the error of a file with this text.
fn wrong(text: &str) -> String {
    load(text).unwrap_err()
}

#[test]
fn errors_name_line_and_field() {
    let log = "actions:\n- {name: a, type: log}\n";
    insta::assert_snapshot!(
        [
            wrong(""),
            wrong("actions: []"),
            wrong("actions:\n- {name: a, type: log, color: red}"),
            wrong("actions:\n- {name: a, type: tapdance}"),
            wrong("actions:\n- {type: log}"),
            wrong("actions:\n- {name: A_b, type: log}"),
            wrong(&format!("{log}- {{name: a, type: log}}")),
            wrong_webhook("url: ftp://host"),
            wrong_webhook("url: nowhere"),
            wrong_webhook("url: https://user:password@host"),
            wrong_webhook("timeout: 0s"),
            wrong_webhook("timeout: 5"),
            wrong_webhook("secret: inline"),
            wrong_webhook("secret: {valueFrom: {env: PATH, file: /path}}"),
            wrong_webhook("secret: {valueFrom: {env: SUNDOWN_NO_SUCH_VARIABLE}}"),
            wrong_webhook("secret: {valueFrom: {file: /no/such/file}}"),
            wrong_webhook("retries: 5"),
            wrong_webhook("body: '{{ session_id'"),
            wrong_webhook("on: []"),
            wrong_webhook("on: [ending, birth]"),
            wrong_webhook("caFile: /no/such/file"),
            wrong("actions:\n- {name: a, type: redis, servers: ['http://host'], keys: [k]}"),
            wrong("actions:\n- {name: a, type: redis, servers: ['redis://:word@host'], keys: [k]}"),
            wrong("actions:\n- {name: a, type: redis, servers: ['redis://a', 'redis://b'], keys: [k]}"),
            wrong("actions:\n- {name: a, type: smtp, server: host, from: a@b, to: a, subject: a, body: a}"),
            wrong(&format!("{log}retry: {{attempts: 0}}")),
            wrong(&format!("{log}retry:\n  total: 5")),
            wrong(&format!("{log}retry: {{initialBackoff: 2s, maxBackoff: 1s}}")),
            wrong(&format!("{log}retries: {{attempts: 1}}")),
        ]
        .join("\n"),
        @r#"
    missing field `actions`
    the list of actions is empty; to only log endings, omit --actions
    actions[0]: unknown field `color`, expected one of `name`, `type`, `showIds`, `on`, `reasons` at line 2 column 24
    actions[0].type: unknown variant `tapdance`, expected one of `log`, `webhook`, `oauth-revocation`, `oidc-backchannel-logout`, `shared-signals`, `redis`, `smtp` at line 2 column 19
    actions[0]: missing field `name` at line 2 column 3
    actions[0].name: 'A_b' is not a valid action name: use up to 63 lower-case letters, digits and inner hyphens at line 2 column 10
    two actions are named 'a'; rename one of them
    actions[0].url: must start with https:// or http://, not ftp: at line 5 column 8
    actions[0].url: not a URL: relative URL without a base; write it like https://host/sessions/{{ session_id }} at line 5 column 8
    actions[0].url: must not contain a user name or password; secrets do not belong in this file at line 5 column 8
    actions[0].timeout: must be longer than 0s at line 6 column 12
    actions[0].timeout: '5' is not a duration: a unit is missing or unknown; use a format such as 90s, 15m, 1h30m or 250ms at line 6 column 12
    actions[0].secret: invalid type: string "inline", expected valueFrom: {env: NAME} or valueFrom: {file: PATH} at line 5 column 11
    actions[0].secret: valueFrom needs exactly one of env and file at line 5 column 11
    action 'a', secret: the environment variable SUNDOWN_NO_SUCH_VARIABLE is not set; set it, or reference another one
    action 'a', secret: cannot read /no/such/file: No such file or directory (os error 2); mount it, or reference another file
    actions[0]: unknown field `retries`, expected one of `name`, `type`, `on`, `reasons`, `method`, `url`, `headers`, `auth`, `secret`, `secrets`, `body`, `contentType`, `success`, `insecure`, `timeout`, `caFile` at line 6 column 3
    actions[0].body: not a template: syntax error: unexpected end of input, expected end of variable block (in template:1) at line 6 column 9
    actions[0]: on: is empty, so the action would never run; name a trigger or omit the field at line 2 column 3
    actions[0].on[1]: unknown variant `birth`, expected `ending` or `warning` at line 6 column 16
    action 'a', caFile: cannot read /no/such/file: No such file or directory (os error 2)
    actions[0].servers[0]: must start with rediss:// or redis://, not http: at line 2 column 36
    actions[0].servers[0]: must not contain a user name or password; secrets do not belong in this file at line 2 column 36
    action 'a', servers: needs exactly one server, or one or more with cluster: true or sentinel
    actions[0].server: 'host' is not of the form HOST:PORT at line 2 column 33
    retry: attempts must be from 1 to 1000
    retry.total: '5' is not a duration: a unit is missing or unknown; use a format such as 90s, 15m, 1h30m or 250ms at line 4 column 10
    retry: initialBackoff must not be longer than maxBackoff
    unknown field `retries`, expected `actions` or `retry` at line 3 column 1
    "#
    );
}

#[test]
fn errors_of_statuses_reasons_and_fixed_texts_name_line_and_field() {
    let unknown_reason = wrong_webhook("reasons: [boredom]");
    assert!(
        unknown_reason.starts_with("actions[0].reasons[0]: unknown variant `boredom`"),
        "{unknown_reason}"
    );
    insta::assert_snapshot!(
        [
            wrong_webhook("reasons: []"),
            wrong_webhook("url: https://{{ attributes.host }}/"),
            wrong_webhook("success: [2xx, teapot]"),
            wrong("actions:\n- {name: a, type: shared-signals, url: 'https://{{ a }}'}"),
            wrong("actions:\n- {name: a, type: shared-signals, url: 'https://a', issuer: '{{ a }}'}"),
        ]
        .join("\n"),
        @r#"
    actions[0]: reasons: is empty, so the action would never run; name a reason or omit the field at line 2 column 3
    actions[0].url: scheme and host cannot come from a template; write it like https://host/sessions/{{ session_id }} at line 5 column 8
    actions[0].success[1]: 'teapot' is not a status; write 404 or 2xx at line 6 column 18
    actions[0].url: takes no template; write a fixed URL without braces at line 2 column 40
    actions[0].issuer: takes no template; write a fixed text without braces at line 2 column 61
    "#
    );
}

#[test]
fn two_keys_with_one_id_are_rejected() {
    let folder = TempDir::new().unwrap();
    let action = |name: &str, algorithm: &str| {
        let key = signing_key(&folder, algorithm).replacen('{', "{kid: k1, ", 1);
        format!(
            "- {{name: {name}, type: oidc-backchannel-logout, url: 'https://host', \
             issuer: i, audience: a, sid: s, signingKeys: [{key}]}}\n"
        )
    };
    let shared = action("a", "ES256") + &action("b", "ES256");
    assert!(load(&format!("actions:\n{shared}")).is_ok());
    let clash = action("a", "ES256") + &action("b", "RS256");
    let error = load(&format!("actions:\n{clash}")).unwrap_err();
    assert!(error.contains("the kid 'k1'"), "{error}");
}

#[test]
fn a_missing_file_is_named_together_with_its_flag() {
    let path = PathBuf::from("/no/such/actions.yaml");
    let error = Actions::load(&path).unwrap_err().to_string();
    assert!(
        error.contains("/no/such/actions.yaml") && error.contains("--actions"),
        "{error}"
    );
}

#[test]
fn a_secret_excludes_the_final_line_break_and_is_redacted_in_debug_output() {
    let folder = TempDir::new().unwrap();
    let read = |content: &str| {
        let path = folder.path().join("secret");
        fs::write(&path, content).unwrap();
        let text = format!("valueFrom: {{file: {}}}", path.display());
        serde_yaml::from_str::<SecretRef>(&text).unwrap().read()
    };
    for content in ["hush", "hush\n", "hush\r\n"] {
        assert_eq!(read(content).unwrap().expose(), b"hush");
    }
    assert!(matches!(read("\n"), Err(SecretError::Empty(_))));
    assert!(!format!("{:?}", read("hush").unwrap()).contains("hush"));
}

#[test]
fn names_are_valid_in_headers_and_labels() {
    let longest = "a".repeat(63);
    for name in ["a", "0", "a-1", longest.as_str()] {
        assert!(name.parse::<ActionName>().is_ok(), "{name}");
    }
    for name in [
        "",
        "-a",
        "a-",
        "A",
        "a_b",
        "a.b",
        "a,b",
        "a b",
        "ä",
        &(longest + "a"),
    ] {
        assert!(name.parse::<ActionName>().is_err(), "{name}");
    }
}
